package conformance

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseScenario(t *testing.T) {
	t.Parallel()
	s, err := ParseScenario("area/name", []byte(`
// a comment
@title What it shows
@needs setup quorum
@timeout 20s
@serial
@note odd
connect c ch=1
c.1 publish rk="a b" body=""
`))
	require.NoError(t, err)
	require.Equal(t, "area", s.Area())
	require.Equal(t, "What it shows", s.Title)
	require.Equal(t, []string{"setup", "quorum"}, s.Needs)
	require.Equal(t, []string{"odd"}, s.Notes)
	require.True(t, s.Serial)
	require.Equal(t, 20*time.Second, s.Timeout)
	require.Equal(t, []string{"connect c ch=1", `c.1 publish rk="a b" body=""`}, s.Steps())
}

func TestAScenarioSleepsIfOneOfItsStepsDoes(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]bool{
		"@title sleep\nconnect c":                               false,
		"@title x\nconnect c\nc.1 publish rk=~q body=\"sleep\"": false,
		"@title x\nconnect c\nsleep 100ms":                      true,
	} {
		s, err := ParseScenario("area/name", []byte(src))
		require.NoError(t, err)
		require.Equal(t, want, s.Sleeps(), src)
	}
}

func TestParseScenarioSaysWhichLineIsWrong(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		"connect c":                          "no @title",
		"@title x":                           "no steps",
		"@title x\n@foo":                     "line 2: unknown directive @foo",
		"@title x\n@timeout soon\nconnect c": "line 2: ",
		"@title x\nc publish body=\"":        "line 2: unbalanced",
	} {
		_, err := ParseScenario("a/b", []byte(src))
		require.ErrorContains(t, err, want, "%q", src)
	}
}

func TestSplitWords(t *testing.T) {
	t.Parallel()
	got, err := splitWords(`c.1  publish rk="a \" b" args={x=1, y="}"}	rep("a b",3)`)
	require.NoError(t, err)
	require.Equal(t, []string{"c.1", "publish", `rk="a \" b"`, `args={x=1, y="}"}`, `rep("a b",3)`}, got)
	for _, bad := range []string{`a="b`, `a={b`, `a)`} {
		_, err := splitWords(bad)
		require.Error(t, err, bad)
	}
}

func TestSplitList(t *testing.T) {
	t.Parallel()
	require.Empty(t, splitList(" "))
	require.Equal(t, []string{"a=1", `b="x,y"`, "c={d=1, e=2}"}, splitList(`a=1, b="x,y", c={d=1, e=2}`))
}

func TestStrings(t *testing.T) {
	t.Parallel()
	v := &vars{prefix: "p.", m: map[string]string{"gen1": "amq.gen-1", "gen10": "amq.gen-10"}}
	for in, want := range map[string]string{
		`~q`: "p.q", `"a~q/~r"`: "ap.q/p.r", `"~"`: "~", `$gen1`: "amq.gen-1", `$gen10`: "amq.gen-10",
		`rep("ab",3)`: "ababab", `fill(6)`: "p.nnnn", `"\x00x"`: "\x00x",
	} {
		got, err := v.str(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	for _, bad := range []string{`"open`, `rep(x)`, `rep(x,-1)`, `rep(rep(x,99999),99999)`, `fill(1)`, `fill(x)`} {
		_, err := v.str(bad)
		require.Error(t, err, bad)
	}
}

func TestWordsThatNothingAskedForAreAnError(t *testing.T) {
	t.Parallel()
	w := newWords([]string{"q=a", "nowait", "typo"}, &vars{})
	f, err := w.methodFields(methodsByName["queue.purge"])
	require.NoError(t, err)
	require.Equal(t, "a", f["queue"])
	require.Equal(t, true, f["no-wait"])
	require.ErrorContains(t, w.done(), "typo")
	require.ErrorContains(t, newWords([]string{"foo=1"}, &vars{}).done(), "foo")
}

func TestParseSetup(t *testing.T) {
	t.Parallel()
	v := &vars{prefix: "p."}
	s, err := parseSetup([]string{"policy", "~p", "pattern=^~x", "priority=3", `definition="{\"a\":1}"`}, "/", v)
	require.NoError(t, err)
	p, err := s.policy()
	require.NoError(t, err)
	require.Equal(t, Policy{Name: "p.p", Pattern: "^p.x", ApplyTo: "all", Priority: 3, Definition: map[string]any{"a": 1.0}}, p)
	back, ok := s.undo()
	require.True(t, ok)
	require.Equal(t, setup{verb: "delete-policy", name: "p.p", vhost: "/"}, back)

	s, err = parseSetup([]string{"operator-policy", "~o", `definition="{}"`}, "v", v)
	require.NoError(t, err)
	back, ok = s.undo()
	require.True(t, ok)
	require.Equal(t, setup{verb: "delete-operator-policy", name: "p.o", vhost: "v"}, back)

	s, err = parseSetup([]string{"permission", "user=~u", "vhost=~v", "read=.*"}, "/", v)
	require.NoError(t, err)
	require.Equal(t, "p.v", s.vhost)
	require.Equal(t, Permissions{Read: ".*"}, s.permissions())
	_, ok = s.undo()
	require.False(t, ok)

	_, err = parseSetup([]string{"user", "a", "b"}, "/", v)
	require.Error(t, err)
	require.Error(t, setup{verb: "nonsense"}.do(nil))
}

func TestParsePending(t *testing.T) {
	t.Parallel()
	got, err := ParsePending([]byte("# why\n\nttl/a   needs TTL\nttl/b x\n"))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"ttl/a": "needs TTL", "ttl/b": "x"}, got)
	_, err = ParsePending([]byte("\nttl/a\n"))
	require.ErrorContains(t, err, "line 2")
	_, err = ParsePending([]byte("a/b x\na/b y\n"))
	require.ErrorContains(t, err, "twice")
}

func TestParseTarget(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]Target{
		"amqp://127.0.0.1":           {Addr: "127.0.0.1:5672", User: "guest", Password: "guest", VHost: "/"},
		"amqp://a:b@[::1]:1234/v%2f": {Addr: "[::1]:1234", User: "a", Password: "b", VHost: "v/"},
		"amqp://a@h/":                {Addr: "h:5672", User: "a", Password: "guest", VHost: "/"},
	} {
		got, err := ParseTarget(uri)
		require.NoError(t, err, uri)
		require.Equal(t, want, got, uri)
	}
	_, err := ParseTarget("amqps://h")
	require.Error(t, err)
}

// FuzzScript checks that no script makes the reader of scenarios panic, nor the
// readers of values that playing would call.
func FuzzScript(f *testing.F) {
	f.Add("@title x\nc.1 queue.declare q=~q args={a=[1, b(2)], b={c=void}} nowait")
	f.Add("@title x\n@timeout 1s\nrepeat 3 c.1 publish rk=rep(\"a\",3) headers={x=D(1,2)} body=fill(20)")
	f.Fuzz(func(t *testing.T, src string) {
		s, err := ParseScenario("a/b", []byte(src))
		if err != nil {
			return
		}
		v := &vars{prefix: "p.", m: map[string]string{"i": "1"}}
		for _, st := range s.steps {
			for _, word := range st.words {
				_, raw, _ := strings.Cut(word, "=")
				if len(raw) < 200 { // rep() may ask for megabytes at each level
					_, _ = v.value(strings.ReplaceAll(raw, "rep", ""))
				}
			}
		}
	})
}
