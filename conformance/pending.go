package conformance

import (
	"fmt"
	"strings"
)

// ParsePending reads a list of scenarios that need not pass yet: on each line
// AREA/NAME and the reason, which may not be missing. Empty lines and those
// that begin with # do not count.
func ParsePending(src []byte) (map[string]string, error) {
	out := map[string]string{}
	n := 0
	for line := range strings.Lines(string(src)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, _ := strings.Cut(line, " ")
		reason = strings.TrimSpace(reason)
		if reason == "" {
			return nil, fmt.Errorf("line %d: %s: no reason", n, name)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("line %d: %s stands there twice", n, name)
		}
		out[name] = reason
	}
	return out, nil
}
