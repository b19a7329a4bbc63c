package conformance

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// Transcript is what a play of a scenario wrote down: each step ("> step"),
// what came of it ("< event") and indented details of the line before.
type Transcript []string

const (
	stepMark  = "> "
	eventMark = "< "
	textMark  = "    text: "
	// leftOver stands in the place of a step before events nobody asked for.
	leftOver = stepMark + "(left over)"
	// aborted ends a transcript whose last step waited in vain.
	aborted = "ABORTED"
)

// ParseTranscript reads what String wrote.
func ParseTranscript(b []byte) Transcript {
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// String gives the transcript as it stands in a file, with a last newline.
func (t Transcript) String() string { return strings.Join(t, "\n") + "\n" }

// TimedOut says whether a step waited in vain.
func (t Transcript) TimedOut() bool {
	return slices.ContainsFunc(t, func(l string) bool {
		return l == aborted || strings.HasPrefix(l, eventMark) && strings.Contains(l, " TIMEOUT")
	})
}

// Fits says whether the transcript was made by the scenario as it stands now.
func (t Transcript) Fits(s *Scenario) bool {
	var steps []string
	for _, l := range t {
		if src, ok := strings.CutPrefix(l, stepMark); ok && l != leftOver {
			steps = append(steps, src)
		}
	}
	return slices.Equal(steps, s.Steps())
}

// Blank gives a copy with a star for the value of the named fields, to see
// past one widespread difference.
func (t Transcript) Blank(names ...string) Transcript {
	if len(names) == 0 {
		return t
	}
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = regexp.QuoteMeta(n)
	}
	re := regexp.MustCompile(`\b(` + strings.Join(quoted, "|") + `)=(\{[^}]*\}|"[^"]*"|\S+)`)
	out := slices.Clone(t)
	for i, l := range out {
		if !strings.HasPrefix(l, stepMark) {
			out[i] = re.ReplaceAllString(l, "$1=*")
		}
	}
	return out
}

// Verdict is the result of comparing a play with what RabbitMQ did.
type Verdict string

// The verdicts, best first.
const (
	Pass Verdict = "PASS" // the same in everything
	Text Verdict = "TEXT" // the same but for reply texts
	Fail Verdict = "FAIL" // something else came, or nothing, or too much
	Skip Verdict = "SKIP" // not played, or nothing to compare with
)

// Compare gives the verdict on what came against what RabbitMQ sent, and the
// steps that differ: '-' RabbitMQ, '+' this broker.
func Compare(want, got Transcript) (Verdict, string) {
	if d := diff(want.withoutTexts(), got.withoutTexts()); d != "" {
		// Show the texts, too, now that the steps are looked at.
		return Fail, diff(want, got)
	}
	if d := diff(want, got); d != "" {
		return Text, d
	}
	return Pass, ""
}

func (t Transcript) withoutTexts() Transcript {
	return slices.DeleteFunc(slices.Clone(t), func(l string) bool { return strings.HasPrefix(l, textMark) })
}

// diff shows the steps that are not alike, and "" if all are.
func diff(want, got Transcript) string {
	a, b := want.blocks(), got.blocks()
	var out strings.Builder
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			fmt.Fprintf(&out, "+%s\n", strings.Join(b[i], "\n+"))
		case i >= len(b):
			fmt.Fprintf(&out, "-(not reached) %s\n", a[i][0])
			return out.String()
		case a[i][0] != b[i][0]:
			fmt.Fprintf(&out, "the scenario is not the one recorded: %q, %q\n", a[i][0], b[i][0])
			return out.String()
		case !slices.Equal(a[i], b[i]):
			diffBlock(&out, a[i], b[i])
		}
	}
	return out.String()
}

// diffBlock shows one step whose events are not alike.
func diffBlock(out *strings.Builder, want, got []string) {
	fmt.Fprintf(out, "%s\n", want[0])
	shown := false
	only := func(mark string, lines, others []string) {
		for _, l := range lines {
			if !slices.Contains(others, l) {
				fmt.Fprintf(out, "  %s %s\n", mark, strings.TrimPrefix(l, eventMark))
				shown = true
			}
		}
	}
	only("-", want[1:], got)
	only("+", got[1:], want)
	if !shown {
		// The same lines, but in another order or not as often.
		fmt.Fprintf(out, "  - %s\n", strings.Join(want[1:], "\n  - "))
		fmt.Fprintf(out, "  + %s\n", strings.Join(got[1:], "\n  + "))
	}
}

// blocks groups a transcript by step.
func (t Transcript) blocks() [][]string {
	var out [][]string
	for _, l := range t {
		if strings.HasPrefix(l, stepMark) || len(out) == 0 {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], l)
	}
	return out
}

// sortEvents orders the events of a block, keeping each with its details.
func sortEvents(lines []string) {
	var groups []string
	for _, l := range lines {
		if strings.HasPrefix(l, "    ") && len(groups) > 0 {
			groups[len(groups)-1] += "\n" + l
		} else {
			groups = append(groups, l)
		}
	}
	sort.Strings(groups)
	if len(groups) > 0 {
		copy(lines, strings.Split(strings.Join(groups, "\n"), "\n"))
	}
}
