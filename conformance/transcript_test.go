package conformance

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNamesThatDifferBetweenRunsAreHidden(t *testing.T) {
	t.Parallel()
	n := &normaliser{prefix: "cf-1.", madeUp: map[string]string{}, start: time.Now()}
	n.learn("amq.gen-abc", "<gen1:amq.gen>")
	got := n.text("queue 'cf-1.q' and amq.gen-abc at <0.12.3> for amq.rabbitmq.reply-to.g1AAA.x== from 127.0.0.1:4711")
	require.Equal(t, "queue '~q' and <gen1:amq.gen> at <pid> for <reply-to> from <addr>", got)
	require.Equal(t, "T:<now>", n.value(value{'T', time.Now().Unix()}))
	require.Equal(t, "T:12", n.value(value{'T', int64(12)}))
}

func TestTablesArePrintedByKey(t *testing.T) {
	t.Parallel()
	n := &normaliser{prefix: "p.", madeUp: map[string]string{}}
	got := n.table(table{{"b", value{'A', []value{{'I', int64(2)}, {'I', int64(1)}}}}, {"a", value{tag: 'V'}}, {"c d", value{'S', "x"}}})
	require.Equal(t, `{"c d"=S:x, a=void, b=[I:2, I:1]}`, got)
}

func TestCompare(t *testing.T) {
	t.Parallel()
	want := Transcript{"> one", "< x a=1", "    text: this", "> two", "< y"}
	for name, c := range map[string]struct {
		got     Transcript
		verdict Verdict
		shows   []string
	}{
		"equal":         {want, Pass, nil},
		"other text":    {Transcript{"> one", "< x a=1", "    text: that", "> two", "< y"}, Text, []string{"this", "that"}},
		"other field":   {Transcript{"> one", "< x a=2", "ABORTED"}, Fail, []string{"- x a=1", "+ x a=2", "(not reached) > two"}},
		"missing text":  {Transcript{"> one", "< x a=1", "> two", "< y"}, Text, []string{"this"}},
		"one more step": {append(want[:5:5], "> (left over)", "< z LEFT-OVER"), Fail, []string{"+< z LEFT-OVER"}},
		"twice":         {append(want[:5:5], "< y"), Fail, []string{"> two", "+ < y"}},
		"other script":  {Transcript{"> uno"}, Fail, []string{"not the one recorded"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, diff := Compare(want, c.got)
			require.Equal(t, c.verdict, v)
			require.Equal(t, c.verdict == Pass, diff == "")
			for _, s := range c.shows {
				require.Contains(t, diff, s)
			}
		})
	}
}

func TestBlankedFieldsDoNotCount(t *testing.T) {
	t.Parallel()
	a := Transcript{"> x a=1", `< x a=1 b="2 3" c={d=4}`}
	b := Transcript{"> x a=1", `< x a=2 b="5 6" c={d=7}`}
	v, _ := Compare(a.Blank("a", "b", "c"), b.Blank("a", "b", "c"))
	require.Equal(t, Pass, v)
	v, _ = Compare(a.Blank("a"), b.Blank("a"))
	require.Equal(t, Fail, v)
}

func TestTranscriptFilesRoundTrip(t *testing.T) {
	t.Parallel()
	tr := Transcript{"> one", "< x", ""}
	require.Equal(t, tr, ParseTranscript([]byte(tr.String())))
	require.True(t, Transcript{"> one", "< c TIMEOUT", "ABORTED"}.TimedOut())
	require.False(t, tr.TimedOut())
}

func TestSortedEventsKeepTheirDetails(t *testing.T) {
	t.Parallel()
	lines := []string{"< b", "    content: 1", "< a", "    text: x", "    content: 2"}
	sortEvents(lines)
	require.Equal(t, []string{"< a", "    text: x", "    content: 2", "< b", "    content: 1"}, lines)
	sortEvents(nil)
}

func TestRanges(t *testing.T) {
	t.Parallel()
	require.Equal(t, "1-3,5,9", ranges([]uint64{5, 1, 2, 3, 9}))
	require.Equal(t, "none", ranges(nil))
}
