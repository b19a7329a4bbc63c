package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// class, method and argument are what methods.spec says of them.
type class struct {
	id      uint16
	name    string
	methods []method
}

type method struct {
	class      *class
	id         uint16
	name       string
	fromClient bool
	fromServer bool
	sync       bool
	content    bool
	args       []argument
}

type argument struct {
	name string // ignored if it is "_"
	typ  string
}

// argumentTypes are the types that an argument can have.
var argumentTypes = [...]string{"bit", "u8", "u16", "u32", "u64", "table", "short", "long", "text"}

// parse reads a description of methods; methods.spec explains its syntax.
func parse(r io.Reader) ([]*class, error) {
	var classes []*class
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		var err error
		switch {
		case words[0] == "class":
			var c *class
			if c, err = parseClass(words); err == nil {
				classes = append(classes, c)
			}
		case len(classes) == 0:
			err = fmt.Errorf("a method before the first class")
		default:
			c := classes[len(classes)-1]
			var m method
			if m, err = parseMethod(c, words); err == nil {
				c.methods = append(c.methods, m)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return classes, lines.Err()
}

func parseClass(words []string) (*class, error) {
	if len(words) != 3 {
		return nil, fmt.Errorf("want: class ID NAME")
	}
	id, err := strconv.ParseUint(words[1], 10, 16)
	if err != nil {
		return nil, err
	}
	return &class{id: uint16(id), name: words[2]}, nil
}

func parseMethod(c *class, words []string) (method, error) {
	m := method{class: c}
	if len(words) < 3 {
		return m, fmt.Errorf("want: ID NAME SENDERS [sync] [content] [ARGUMENT:TYPE ...]")
	}
	id, err := strconv.ParseUint(words[0], 10, 16)
	if err != nil {
		return m, err
	}
	m.id, m.name = uint16(id), words[1]
	m.fromClient, m.fromServer = strings.Contains(words[2], "C"), strings.Contains(words[2], "S")
	if strings.Trim(words[2], "CS") != "" {
		return m, fmt.Errorf("senders %q are none of C, S, CS", words[2])
	}
	for _, word := range words[3:] {
		switch word {
		case "sync":
			m.sync = true
		case "content":
			m.content = true
		default:
			a, err := parseArgument(word)
			if err != nil {
				return m, err
			}
			m.args = append(m.args, a)
		}
	}
	return m, nil
}

func parseArgument(word string) (argument, error) {
	name, typ, _ := strings.Cut(word, ":")
	for _, t := range argumentTypes {
		if t == typ && name != "" {
			return argument{name, typ}, nil
		}
	}
	return argument{}, fmt.Errorf("argument %q is not NAME:TYPE", word)
}

// goName gives the Go name for words joined by hyphens.
func goName(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "-") {
		switch word {
		case "id", "ok":
			b.WriteString(strings.ToUpper(word))
		case "nowait":
			b.WriteString("NoWait")
		default:
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

func (m method) goName() string { return goName(m.class.name) + goName(m.name) }

func (m method) amqpName() string { return m.class.name + "." + m.name }
