package policy

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/warrenmq/warren/internal/erlang"
)

// pattern is a compiled pattern; the zero pattern matches every name.
type pattern struct {
	re    *regexp.Regexp
	ahead []lookAhead
}

// lookAhead is what the beginning of a name must match, or must not.
type lookAhead struct {
	re  *regexp.Regexp
	not bool
}

func (p *pattern) match(name string) bool {
	for _, a := range p.ahead {
		if a.re.MatchString(name) == a.not {
			return false
		}
	}
	return p.re == nil || p.re.MatchString(name)
}

// compilePattern also gives what is wrong with a pattern that is refused.
func compilePattern(s string) (p pattern, fault string) {
	switch s {
	case "", "^", ".*", "^.*":
		return p, ""
	}
	re, err := regexp.Compile(s)
	if err == nil {
		return pattern{re: re}, ""
	}
	if p, ok := compileAhead(s); ok {
		return p, ""
	}
	return p, "pattern should be regular expression but is invalid: " + patternFault(s, err)
}

// compileAhead compiles a pattern that begins with ^ and look-ahead, and goes on as one
// that RE2 knows.
func compileAhead(s string) (p pattern, ok bool) {
	rest, anchored := strings.CutPrefix(s, "^")
	if !anchored || strings.Contains(s, `\Q`) { // groupEnd does not know quotes
		return p, false
	}
	for strings.HasPrefix(rest, "(?!") || strings.HasPrefix(rest, "(?=") {
		end, _ := groupEnd(rest[1:])
		if end < 0 {
			return p, false
		}
		re, err := regexp.Compile("^(?:" + rest[len("(?!"):1+end] + ")")
		if err != nil {
			return p, false
		}
		p.ahead = append(p.ahead, lookAhead{re, rest[2] == '!'})
		rest = rest[1+end+1:]
	}
	if rest != "" && strings.Contains("*+?{", rest[:1]) {
		return p, false // it would be of the look-ahead
	}
	// In ^(?!a)b|c the look-ahead is not for c.
	if end, alternatives := groupEnd(rest); end >= 0 || alternatives {
		return p, false
	}
	re, err := regexp.Compile("^" + rest)
	p.re = re
	return p, err == nil
}

// groupEnd gives the place of the parenthesis that ends the group which s is the inside
// of, negative if there is none, and whether the group has alternatives.
func groupEnd(s string) (end int, alternatives bool) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '[':
			i += classEnd(s[i:])
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				return i, alternatives
			}
		case '|':
			alternatives = alternatives || depth == 0
		}
	}
	return -1, alternatives
}

// classEnd gives the place of the bracket that ends the class with which s begins. A
// bracket that comes first stands for itself, and [: :] is inside of it.
func classEnd(s string) int {
	i := 1
	if strings.HasPrefix(s[i:], "^") {
		i++
	}
	if strings.HasPrefix(s[i:], "]") {
		i++
	}
	for ; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case strings.HasPrefix(s[i:], "[:"):
			if n := strings.Index(s[i:], ":]"); n > 0 {
				i += n + 1
			}
		case s[i] == ']':
			return i
		}
	}
	return len(s)
}

// patternFault says what is wrong with a pattern: as Erlang does where package regexp
// tells as much, and else in the words of the latter.
func patternFault(pattern string, err error) string {
	fault, at := err.Error(), 0
	if e := (*syntax.Error)(nil); errors.As(err, &e) {
		switch e.Code {
		case syntax.ErrMissingParen:
			fault, at = "missing )", len(pattern)
		case syntax.ErrMissingBracket:
			fault, at = "missing terminating ] for character class", len(pattern)
		case syntax.ErrTrailingBackslash:
			fault, at = `\ at end of pattern`, len(pattern)
		case syntax.ErrUnexpectedParen:
			fault, at = "unmatched parentheses", firstFault(pattern, e.Code)
		case syntax.ErrMissingRepeatArgument:
			fault, at = "nothing to repeat", firstFault(pattern, e.Code)
		}
	}
	return "{" + string(erlang.AppendString(nil, fault)) + "," + strconv.Itoa(at) + "}"
}

// firstFault gives the place of the first octet with which a pattern has a fault.
func firstFault(pattern string, fault syntax.ErrorCode) int {
	for i := range pattern {
		var e *syntax.Error
		if _, err := syntax.Parse(pattern[:i+1], syntax.Perl); errors.As(err, &e) && e.Code == fault {
			return i
		}
	}
	return len(pattern) - 1
}
