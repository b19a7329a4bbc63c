package policy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ pattern, yes, no string }{ // names, with commas between
		{"", ",a", ""},
		{".*", ",a\nb,\xff", ""},
		{"^", ",a", ""},
		{"b", "b,abc", ",a"},
		{"^$", "", "a"},
		{"^a|b$", "ac,cb", "ca,bc"},
		{`^(?!amq\.).*`, ",amq,amqx,xamq.", "amq.,amq.topic"},
		{`^(?!amq\.)`, "q", "amq.gen-1"},
		{`^(?!a|b)c*`, ",c,x", "a,b,ac"},
		{`^(?!a)(?!b).+$`, "c,ca", ",a,b,ab"},
		{`^(?=.*x)(?!.*y)a`, "ax,abx", "a,ay,axy,x,bx"},
		{`^(?!(a|b)\))c?`, "a,b,c", "a),b)d"},
		{`^(?![)(\]a])x?`, "x,b,\\", "),(,],ax"},
		{`^(?![])])x?`, "x,[", "],)"},
		{`^(?![[:digit:])])`, "x,[,:", "1,)"},
		{`^(?!\))(a|b)`, "a,bx", "),x,)a"},
		{`^(?!a$)`, ",ab,b", "a"},
	} {
		p, fault := compilePattern(c.pattern)
		require.Empty(t, fault, c.pattern)
		for _, name := range strings.Split(c.yes, ",") {
			require.True(t, c.yes == "" && c.pattern != "" || p.match(name), "%q matches %q", c.pattern, name)
		}
		for _, name := range strings.Split(c.no, ",") {
			require.False(t, c.no != "" && p.match(name), "%q matches %q", c.pattern, name)
		}
	}
}

// Look-ahead elsewhere, and what is wrong in it, is refused.
func TestLookAroundThatIsNotKnown(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{
		"(?!a)b", "a(?!b)", "^(?!a)b|c", "^a(?!b)", "^(?!a", "^(?!a(?!b))c", "^(?!a)b(?=c)", "^(?<!a)b", "^(?!()c", "^(?!a))", "(?i)^(?!a)",
		`^(?!a)(b)\1`, "^(?!", `^(?!a\`, "^(?![a", "^(?!a)[", "^(?!*)b",
		`^(?!a)\Q[\Eb|c`, "^(?!a)*b", "^(?!a)?b", "^(?!a){0}b",
	} {
		_, fault := compilePattern(pattern)
		require.Contains(t, fault, "pattern should be regular expression but is invalid: {", pattern)
	}
}

func FuzzPattern(f *testing.F) {
	for _, p := range []string{`^(?!amq\.).*`, `^(?=[[:alpha:])])(?!a|(b))c|d`, "^(?![]a]", "(", `\`} {
		f.Add(p, "amq.topic")
	}
	f.Fuzz(func(t *testing.T, s, name string) {
		p, fault := compilePattern(s)
		if fault == "" {
			p.match(name)
		}
	})
}
