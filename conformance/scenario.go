package conformance

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Scenario is one script: what to send to a broker, and when to look at what
// came back. It does not change after it has been parsed.
type Scenario struct {
	Name  string   // AREA/NAME
	Title string   // what it shows
	Needs []string // what the broker must have: setup, quorum, stream, …
	Notes []string // quirks worth knowing when it fails
	// Serial scenarios are not played beside others.
	Serial bool
	// Timeout, if it is not zero, is the least time to give each step.
	Timeout time.Duration

	steps []step
}

// step is one line of a script.
type step struct {
	line  int
	src   string
	words []string
}

// Sleeps reports whether the script lets time pass. What comes then may depend on how
// much of it really passed: a machine that stalls may change it.
func (s *Scenario) Sleeps() bool {
	return slices.ContainsFunc(s.steps, func(st step) bool { return st.words[0] == "sleep" })
}

// Area gives the first part of the scenario's name.
func (s *Scenario) Area() string {
	area, _, _ := strings.Cut(s.Name, "/")
	return area
}

// Steps gives the script without comments and directives, a step per line.
func (s *Scenario) Steps() []string {
	out := make([]string, len(s.steps))
	for i, st := range s.steps {
		out[i] = st.src
	}
	return out
}

// ParseScenario reads a script. The error says which line is wrong; what a
// step means is looked at when it is played.
func ParseScenario(name string, src []byte) (*Scenario, error) {
	s := &Scenario{Name: name}
	lines := bufio.NewScanner(bytes.NewReader(src))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "//") {
			continue
		}
		if err := s.parseLine(n, line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if s.Title == "" {
		return nil, errors.New("no @title")
	}
	if len(s.steps) == 0 {
		return nil, errors.New("no steps")
	}
	return s, nil
}

func (s *Scenario) parseLine(n int, line string) error {
	if directive, ok := strings.CutPrefix(line, "@"); ok {
		return s.directive(directive)
	}
	words, err := splitWords(line)
	if err != nil {
		return err
	}
	s.steps = append(s.steps, step{n, line, words})
	return nil
}

func (s *Scenario) directive(text string) error {
	key, rest, _ := strings.Cut(text, " ")
	switch key {
	case "title":
		s.Title = rest
	case "needs":
		s.Needs = append(s.Needs, strings.Fields(rest)...)
	case "serial":
		s.Serial = true
	case "note":
		s.Notes = append(s.Notes, rest)
	case "timeout":
		d, err := time.ParseDuration(rest)
		if err != nil {
			return err
		}
		s.Timeout = d
	default:
		return fmt.Errorf("unknown directive @%s", key)
	}
	return nil
}

// splitWords splits at blanks outside quotes and brackets.
func splitWords(line string) ([]string, error) {
	words, closed := splitOutside(line, " \t")
	if !closed {
		return nil, fmt.Errorf("unbalanced quotes or brackets: %s", line)
	}
	out := words[:0]
	for _, w := range words {
		if w != "" {
			out = append(out, w)
		}
	}
	return out, nil
}

// splitList splits at commas outside quotes and brackets; an empty list has no
// elements.
func splitList(s string) []string {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	out, _ := splitOutside(s, ",")
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	return out
}

// splitOutside cuts s at each of the separators that stands outside quotes and
// brackets, and says whether all quotes and brackets are closed at the end.
func splitOutside(s, separators string) (parts []string, closed bool) {
	depth, quoted, start := 0, false, 0
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; {
		case quoted:
			if ch == '\\' {
				i++
			} else if ch == '"' {
				quoted = false
			}
		case ch == '"':
			quoted = true
		case strings.IndexByte("({[", ch) >= 0:
			depth++
		case strings.IndexByte(")}]", ch) >= 0:
			depth--
		case depth == 0 && strings.IndexByte(separators, ch) >= 0:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:]), !quoted && depth == 0
}
