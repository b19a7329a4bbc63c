package metamorphic

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	histories = flag.Int("histories", 150, "how many histories to play")
	firstSeed = flag.Uint64("seed", 0, "the seed of the first history")
	length    = flag.Int("operations", 60, "how many operations a history has")
)

// TestAllWaysInAreAlike plays random histories over all ways into a broker. One
// that fails is played again with -seed and -histories 1.
func TestAllWaysInAreAlike(t *testing.T) {
	t.Parallel()
	for i := range uint64(*histories) {
		seed := *firstSeed + i
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(seed, *length)
			w, a, b := compare(t, h, patience)
			if w.name == "" {
				return
			}
			t.Logf("%s differs from %s, shrinking", w.name, ways[0].name)
			h, a, b = shrink(t, h, w, a, b)
			t.Error(difference(h, w, a, b))
		})
	}
}

// compare plays a history in all ways. It gives the first one that differs, with
// the two transcripts.
func compare(t testing.TB, h *history, patience time.Duration) (w way, a, b *transcript) {
	t.Helper()
	a = play(t, h, ways[0], nil, patience)
	for _, w := range ways[1:] {
		if w.native && h.wide {
			continue
		}
		if b = play(t, h, w, a, patience); differ(a, b) {
			return w, a, b
		}
	}
	return way{}, a, a
}

// differ also finds what did not come to the first player.
func differ(a, b *transcript) bool {
	return !slices.EqualFunc(a.steps, b.steps, func(x, y step) bool { return slices.Equal(x.seen, y.seen) })
}

// shrink takes operations out of a history in which a way differs, as long as it
// still does so: first many at once, then fewer. It gives up after a while, as a
// history in which something does not come takes its time.
func shrink(t testing.TB, h *history, w way, a, b *transcript) (*history, *transcript, *transcript) {
	t.Helper()
	const patience = time.Second
	late := time.Now().Add(time.Minute)
	// Nothing after the difference matters.
	cut := *h
	cut.ops = h.ops[:len(b.steps)]
	h = &cut
	for n := len(h.ops) / 2; n > 0; n /= 2 {
		for from := 0; from < len(h.ops) && time.Now().Before(late); {
			less := *h
			less.ops = slices.Delete(slices.Clone(h.ops), from, min(from+n, len(h.ops)))
			x := play(t, &less, ways[0], nil, patience)
			y := play(t, &less, w, x, patience)
			if differ(x, y) && len(y.steps) > 0 {
				less.ops = less.ops[:len(y.steps)]
				h, a, b = &less, x, y
			} else {
				from += n
			}
		}
	}
	return h, a, b
}

// difference shows a history and where it differs.
func difference(h *history, w way, a, b *transcript) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s differs from %s: seed %d, users %v, connections of the channels %v\n", w.name, ways[0].name, h.seed, h.users, h.slots)
	last := len(b.steps) - 1
	for _, step := range b.steps[:last] {
		fmt.Fprintln(&s, step.op)
	}
	fmt.Fprintf(&s, "%s: %s%s: %s", ways[0].name, a.steps[last], w.name, b.steps[last])
	return s.String()
}
