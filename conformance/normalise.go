package conformance

import (
	"fmt"
	"hash/crc32"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// normaliser prints events so that two plays of one scenario against equal
// brokers give equal lines: it hides what differs from run to run (names,
// times, process ids, addresses) and sorts what has no order.
type normaliser struct {
	prefix string
	start  time.Time
	madeUp map[string]string // names the broker made up, and what to show
	order  []string          // the same names in the order they were learnt
}

const (
	longText = 300 // a longer string is shown by its checksum
	longBody = 200 // a longer body is shown by its checksum
	nearNow  = 86400
)

var (
	pidRE     = regexp.MustCompile(`<\d+\.\d+\.\d+>`)
	replyToRE = regexp.MustCompile(`amq\.rabbitmq\.reply-to\.[A-Za-z0-9+/=_.-]+`)
	madeUpRE  = regexp.MustCompile(`amq\.(gen|ctag)-[A-Za-z0-9_-]{22}`)
	addrRE    = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	plainRE   = regexp.MustCompile(`^[A-Za-z0-9_.:~<>/#*$@+-]+$`)
)

// learn sets what is shown for a name that the broker made up.
func (n *normaliser) learn(name, shown string) {
	if _, known := n.madeUp[name]; !known && name != "" {
		n.madeUp[name] = shown
		n.order = append(n.order, name)
	}
}

// text hides all names that differ between runs.
func (n *normaliser) text(s string) string {
	for _, name := range n.order {
		s = strings.ReplaceAll(s, name, n.madeUp[name])
	}
	s = strings.ReplaceAll(s, n.prefix, "~")
	s = pidRE.ReplaceAllString(s, "<pid>")
	s = madeUpRE.ReplaceAllString(s, "<amq.$1>")
	s = replyToRE.ReplaceAllString(s, "<reply-to>")
	return addrRE.ReplaceAllString(s, "<addr>")
}

func (n *normaliser) str(raw string) string {
	s := n.text(raw)
	if len(s) > longText {
		return fmt.Sprintf("%q...(%d bytes, crc %08x)", s[:20], len(raw), crc32.ChecksumIEEE([]byte(s)))
	}
	if plainRE.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}

func (n *normaliser) body(b []byte) string {
	if len(b) > longBody {
		return fmt.Sprintf("body(%d bytes, crc %08x)", len(b), crc32.ChecksumIEEE(b))
	}
	return strconv.Quote(n.text(string(b)))
}

// time hides a time that lies near the run's own.
func (n *normaliser) time(t int64) string {
	if d := t - n.start.Unix(); d > -nearNow && d < nearNow {
		return "<now>"
	}
	return strconv.FormatInt(t, 10)
}

func (n *normaliser) value(v value) string {
	switch x := v.v.(type) {
	case nil:
		return "void"
	case bool:
		return strconv.FormatBool(x)
	case string:
		return string(v.tag) + ":" + n.str(x)
	case float64:
		return string(v.tag) + ":" + strconv.FormatFloat(x, 'g', -1, 64)
	case decimal:
		return fmt.Sprintf("D:%d,%d", x.scale, x.n)
	case table:
		return n.table(x)
	case []value:
		list := make([]string, len(x))
		for i, e := range x {
			list[i] = n.value(e)
		}
		return "[" + strings.Join(list, ", ") + "]"
	case int64:
		if v.tag == 'T' {
			return "T:" + n.time(x)
		}
	}
	return fmt.Sprintf("%c:%v", v.tag, v.v)
}

// table prints a table sorted by key: the order carries no meaning to clients.
func (n *normaliser) table(t table) string {
	list := make([]string, len(t))
	for i, e := range t {
		list[i] = n.str(e.key) + "=" + n.value(e.value)
	}
	sort.Strings(list)
	return "{" + strings.Join(list, ", ") + "}"
}

// serverProperties prints what a client may rely on: the capabilities in full,
// and only the type of everything else.
func (n *normaliser) serverProperties(t table) string {
	list := make([]string, len(t))
	for i, e := range t {
		list[i] = e.key + "=" + string(e.value.tag)
		if e.key == "capabilities" {
			list[i] = e.key + "=" + n.value(e.value)
		}
	}
	sort.Strings(list)
	return "{" + strings.Join(list, ", ") + "}"
}

func (n *normaliser) field(domain string, v any) string {
	switch x := v.(type) {
	case string:
		return n.str(x)
	case table:
		return n.table(x)
	case uint64:
		if domain == "timestamp" {
			return n.time(int64(x))
		}
	}
	return fmt.Sprint(v)
}

func (n *normaliser) properties(p fields) string {
	var list []string
	for _, fd := range basicProperties {
		if v, ok := p[fd.name]; ok {
			list = append(list, fd.name+"="+n.field(fd.domain, v))
		}
	}
	return "{" + strings.Join(list, " ") + "}"
}

// style is how much of an event is printed.
type style struct {
	anyTag bool // no delivery tag
	brief  bool // the method's name only, unless it closes
	noText bool // no reply text, for texts that differ from play to play
}

// event prints one event as transcript lines: what came, then, indented, its
// reply text and its content. who names the connection and channel.
func (n *normaliser) event(who string, e *event, how style) []string {
	switch e.kind {
	case eventEOF:
		return []string{"< " + who + " EOF"}
	case eventProtocolHeader:
		return []string{"< " + who + " PROTOCOL-HEADER " + e.note}
	case eventViolation:
		return []string{"< " + who + " VIOLATION " + e.note}
	}
	head := "< " + who + " " + e.method.name
	if how.brief && !strings.HasSuffix(e.method.name, ".close") {
		return []string{head}
	}
	for _, fd := range e.method.fields {
		if s, shown := n.argument(fd, e.f[fd.name], how); shown {
			head += " " + fd.name + "=" + s
		}
	}
	if e.note != "" {
		head += " REMARK:" + e.note
	}
	lines := []string{head}
	if text := n.text(e.f.str("reply-text")); text != "" && !how.noText {
		// A transcript's line is one line.
		lines = append(lines, textMark+strings.ReplaceAll(text, "\n", `\n`))
	}
	if e.props != nil {
		content := "    content: " + n.properties(e.props) + " " + n.body(e.body)
		if e.frames > 1 {
			content += fmt.Sprintf(" in %d frames", e.frames)
		}
		lines = append(lines, content)
	}
	return lines
}

// argument prints one argument of a method, if it is to be shown in its line.
func (n *normaliser) argument(fd field, v any, how style) (string, bool) {
	switch {
	case strings.HasPrefix(fd.name, "reserved-"), fd.name == "reply-text":
		return "", false
	case fd.name == "server-properties":
		t, _ := v.(table)
		return n.serverProperties(t), true
	case fd.name == "mechanisms":
		s, _ := v.(string)
		list := strings.Fields(s)
		sort.Strings(list)
		v = strings.Join(list, " ")
	case fd.name == "delivery-tag" && how.anyTag:
		v = "_"
	}
	return n.field(fd.domain, v), true
}
