package conformance

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// words are a step's key=value words and bare flags. Each is taken once; done
// reports those that nothing asked for, so that a misspelt word is an error.
type words struct {
	kv   map[string]string
	bare []string
	vars *vars
}

// shortNames are what a script may write for the longer names of arguments.
var shortNames = map[string]string{
	"q": "queue", "x": "exchange", "rk": "routing-key", "args": "arguments",
	"ctag": "consumer-tag", "dtag": "delivery-tag", "nowait": "no-wait",
	"src": "source", "dst": "destination", "code": "reply-code", "text": "reply-text",
}

func longName(name string) string {
	if long, ok := shortNames[name]; ok {
		return long
	}
	return name
}

// newWords sorts a step's words. vars gives the values of names in them.
func newWords(list []string, v *vars) *words {
	w := &words{kv: map[string]string{}, vars: v}
	for _, word := range list {
		key, raw, ok := strings.Cut(word, "=")
		if ok && key != "" && !strings.ContainsAny(key, `"({[`) {
			w.kv[longName(key)] = raw
		} else {
			w.bare = append(w.bare, longName(word))
		}
	}
	return w
}

// take gives the unread value of a key.
func (w *words) take(key string) (string, bool) {
	raw, ok := w.kv[key]
	delete(w.kv, key)
	return raw, ok
}

// flag says whether a bare word, or key=true, is there.
func (w *words) flag(key string) bool {
	for i, b := range w.bare {
		if b == key {
			w.bare = append(append([]string{}, w.bare[:i]...), w.bare[i+1:]...)
			return true
		}
	}
	raw, _ := w.take(key)
	return raw == "true"
}

// str reads a string, or gives def if the key is not there.
func (w *words) str(key, def string) (string, error) {
	raw, ok := w.take(key)
	if !ok {
		return def, nil
	}
	return w.vars.str(raw)
}

// num reads an integer, or gives def if the key is not there.
func (w *words) num(key string, def int64) (int64, error) {
	raw, ok := w.take(key)
	if !ok {
		return def, nil
	}
	return strconv.ParseInt(w.vars.expand(raw), 0, 64)
}

// duration reads a duration, or gives def if the key is not there.
func (w *words) duration(key string, def time.Duration) (time.Duration, error) {
	raw, ok := w.take(key)
	if !ok {
		return def, nil
	}
	return time.ParseDuration(raw)
}

// done reports a word that nothing asked for.
func (w *words) done() error {
	for key := range w.kv {
		return fmt.Errorf("unknown argument %q", key)
	}
	if len(w.bare) > 0 {
		return fmt.Errorf("unknown word %q", w.bare[0])
	}
	return nil
}

// methodFields reads a method's arguments.
func (w *words) methodFields(m *method) (fields, error) {
	f := fields{}
	for _, fd := range m.fields {
		if fd.domain == "bit" {
			f[fd.name] = w.flag(fd.name)
		} else if err := w.field(f, fd); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// properties reads content properties.
func (w *words) properties() (fields, error) {
	f := fields{}
	if w.flag("persistent") {
		f["delivery-mode"] = uint64(2)
	}
	for _, fd := range basicProperties {
		if err := w.field(f, fd); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (w *words) field(f fields, fd field) error {
	raw, ok := w.take(fd.name)
	if !ok {
		return nil
	}
	v, err := w.vars.field(fd.domain, raw)
	if err != nil {
		return fmt.Errorf("%s: %w", fd.name, err)
	}
	f[fd.name] = v
	return nil
}

// vars resolves names and values while a scenario plays.
type vars struct {
	prefix string            // what a ~ in front of a name stands for
	m      map[string]string // what $NAME stands for
}

var tildeRE = regexp.MustCompile(`~([A-Za-z0-9_.-])`)

// expand puts the prefix for ~ and the values for $NAME.
func (v *vars) expand(s string) string {
	s = tildeRE.ReplaceAllString(s, v.prefix+"$1")
	if !strings.Contains(s, "$") {
		return s
	}
	// The longest name first: $gen10 is not $gen1 and a zero.
	names := make([]string, 0, len(v.m))
	for name := range v.m {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool { return len(names[i]) > len(names[j]) })
	for _, name := range names {
		s = strings.ReplaceAll(s, "$"+name, v.m[name])
	}
	return s
}

// str reads a string: bare, quoted with Go escapes, rep("x",n) for n times x,
// or fill(n), a unique name padded to n bytes.
func (v *vars) str(s string) (string, error) {
	if strings.HasPrefix(s, `"`) {
		plain, err := strconv.Unquote(s)
		if err != nil {
			return "", fmt.Errorf("string %s: %w", s, err)
		}
		return v.expand(plain), nil
	}
	if in, ok := inside(s, "rep(", ")"); ok {
		i := strings.LastIndexByte(in, ',')
		if i < 0 {
			return "", fmt.Errorf("bad %s", s)
		}
		n, err := strconv.Atoi(strings.TrimSpace(in[i+1:]))
		if err != nil || n < 0 || n > largestRead {
			return "", fmt.Errorf("bad count in %s", s)
		}
		one, err := v.str(strings.TrimSpace(in[:i]))
		if err != nil || len(one)*n > largestRead {
			return "", fmt.Errorf("bad %s", s)
		}
		return strings.Repeat(one, n), nil
	}
	if in, ok := inside(s, "fill(", ")"); ok {
		n, err := strconv.Atoi(in)
		if err != nil || n < len(v.prefix) || n > largestRead {
			return "", fmt.Errorf("bad %s", s)
		}
		return v.prefix + strings.Repeat("n", n-len(v.prefix)), nil
	}
	return v.expand(s), nil
}

// inside gives what stands between a head and a tail.
func inside(s, head, tail string) (string, bool) {
	in, ok := strings.CutPrefix(s, head)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(in, tail)
}

// table reads {k=v, k=v}.
func (v *vars) table(s string) (table, error) {
	in, ok := inside(s, "{", "}")
	if !ok {
		return nil, fmt.Errorf("not a table: %s", s)
	}
	t := table{}
	for _, item := range splitList(in) {
		k, raw, ok := strings.Cut(item, "=")
		if !ok {
			return nil, fmt.Errorf("table entry %q", item)
		}
		key, err := v.str(strings.TrimSpace(k))
		if err != nil {
			return nil, err
		}
		val, err := v.value(strings.TrimSpace(raw))
		if err != nil {
			return nil, err
		}
		t = append(t, entry{key, val})
	}
	return t, nil
}

var taggedRE = regexp.MustCompile(`^([a-zA-Z?])\((.*)\)$`)

// value reads one typed value. TAG(...) says the type; otherwise a whole
// number is I (or l when it does not fit), true and false are t, void is V,
// {..} is F, [..] is A and anything else is S.
func (v *vars) value(s string) (value, error) {
	if m := taggedRE.FindStringSubmatch(s); m != nil {
		return v.tagged(m[1][0], strings.TrimSpace(m[2]))
	}
	switch {
	case s == "true" || s == "false":
		return value{'t', s == "true"}, nil
	case s == "void":
		return value{tag: 'V'}, nil
	case strings.HasPrefix(s, "{"):
		t, err := v.table(s)
		return value{'F', t}, err
	}
	if in, ok := inside(s, "[", "]"); ok {
		list := []value{}
		for _, item := range splitList(in) {
			e, err := v.value(item)
			if err != nil {
				return value{}, err
			}
			list = append(list, e)
		}
		return value{'A', list}, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if int64(int32(n)) == n {
			return value{'I', n}, nil
		}
		return value{'l', n}, nil
	}
	str, err := v.str(s)
	return value{'S', str}, err
}

// tagged reads the inside of TAG(...). An unknown tag takes raw bytes.
func (v *vars) tagged(tag byte, in string) (value, error) {
	switch tag {
	case 'b', 'B', 's', 'u', 'I', 'i', 'l', 'L', 'T':
		n, err := strconv.ParseInt(in, 10, 64)
		return value{tag, n}, err
	case 'f', 'd':
		n, err := strconv.ParseFloat(in, 64)
		return value{tag, n}, err
	case 't':
		return value{tag, in == "true"}, nil
	case 'D':
		scale, digits, _ := strings.Cut(in, ",")
		a, err := strconv.ParseUint(strings.TrimSpace(scale), 10, 8)
		if err != nil {
			return value{}, err
		}
		b, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 32)
		return value{tag, decimal{byte(a), uint32(b)}}, err
	case 'V':
		return value{tag: 'V'}, nil
	default:
		str, err := v.str(in)
		return value{tag, str}, err
	}
}

// field reads a method argument or property of the given domain.
func (v *vars) field(domain, s string) (any, error) {
	switch domain {
	case "shortstr", "longstr":
		return v.str(s)
	case "table":
		return v.table(s)
	case "bit":
		return s == "true", nil
	default:
		return strconv.ParseUint(v.expand(s), 0, 64)
	}
}
