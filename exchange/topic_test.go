package exchange

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// matchesNaively is the definition that the trie is held against.
func matchesNaively(pattern, key []string) bool {
	if len(pattern) == 0 {
		return len(key) == 0
	}
	switch pattern[0] {
	case "#":
		return matchesNaively(pattern[1:], key) || len(key) > 0 && matchesNaively(pattern, key[1:])
	case "*":
		return len(key) > 0 && matchesNaively(pattern[1:], key[1:])
	}
	return len(key) > 0 && key[0] == pattern[0] && matchesNaively(pattern[1:], key[1:])
}

func wordsOf(key string) []string {
	if key == "" {
		return nil
	}
	return strings.Split(key, ".")
}

func TestTopicMatchesAsTheContractSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, key string
		match        bool
	}{
		{"#", "", true},
		{"#", "a", true},
		{"#", "a.b.c", true},
		{"#", "...", true},
		{"*", "", false},
		{"", "", true},
		{"", "a", false},
		{"#.#", "", true},
		{"#.#", "a.b", true},
		{"*.#", "", false},
		{"*.#", "a", true},
		{"#.*", "a.b.c", true},
		{"#.*", "", false},
		{"*.*", ".", true},
		{"a.#", "a", true},
		{"a.#", "a.", true},
		{"a.#", "b", false},
		{"#.a", "a", true},
		{"a.#.b", "a.b", true},
		{"a.#.b", "a.x.y.z.b", true},
		{"a.#.b", "a.b.b", true},
		{"a.#.b", "a.b.c", false},
		{"a.*.b", "a..b", true},
		{"a..b", "a..b", true},
		{"a..b", "a.b", false},
		{"#.a.#", "x.a.y", true},
		{"#.a.#", "x.y", false},
		{"*", "a", true},
		{"*", "a.b", false},
		{"a.*", "a.*", true},
		{"a.*", "a.#", true},
		{"a.b", "a.*", false},
		{"a.b", "a.#", false},
		{"a#", "ab", false},
		{"a#", "a#", true},
		{"*x", "ax", false},
		{"*x", "*x", true},
		{"##", "a", false},
		{"A", "a", false},
		{"#.z.#.z.#.y", "a.z.b.c.z.d.e.f.y", true},
		{"#.z.#.z.#.y", "z.z.y", true},
		{"#.z.#.z.#.y", "z.y", false},
		{"#.z.#.z.#.y", "z.a.z.y.b", false},
		{strings.Repeat("*.", 60), strings.Repeat("w.", 60), true},
		{strings.Repeat("*.", 60), strings.Repeat("w.", 59) + "w", false},
	} {
		w := newWorld(t, "q")
		w.bind("amq.topic", "q", c.pattern)
		require.Equal(t, c.match, len(w.route("amq.topic", c.key)) == 1, "%q with %q", c.pattern, c.key)
		require.Equal(t, c.match, matchesNaively(wordsOf(c.pattern), wordsOf(c.key)), "naive: %q with %q", c.pattern, c.key)
	}
}

func TestTopicAgreesWithANaiveMatcher(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	words := func(of ...string) string {
		n := r.IntN(6)
		var key []string
		for range n {
			key = append(key, of[r.IntN(len(of))])
		}
		return strings.Join(key, ".")
	}
	var router Router = topicRouter{}
	patterns := map[string][]*Destination{}
	destinations := []*Destination{queueNamed("a"), queueNamed("b"), queueNamed("c")}
	var s Subject
	for range 20_000 {
		pattern := words("a", "b", "c", "", "*", "#", "#", "*")
		d := destinations[r.IntN(len(destinations))]
		at := slices.Index(patterns[pattern], d)
		b := Binding{Destination: d, Key: pattern}
		if at < 0 {
			router = router.Bind(b)
			patterns[pattern] = append(patterns[pattern], d)
		} else {
			router = router.Unbind(b)
			if patterns[pattern] = slices.Delete(patterns[pattern], at, at+1); len(patterns[pattern]) == 0 {
				delete(patterns, pattern)
			}
		}
		keys := []string{words("a", "b", "c", "", "*", "#")}
		if r.IntN(10) == 0 {
			keys = append(keys, words("a", "b"))
		}
		want := map[string]bool{}
		for p, ds := range patterns {
			for _, key := range keys {
				if matchesNaively(wordsOf(p), wordsOf(key)) {
					for _, d := range ds {
						want[d.Name] = true
					}
				}
			}
		}
		s.Reset(nil, keys...)
		got := map[string]bool{}
		for _, d := range router.Route(&s, nil) {
			got[d.Name] = true
		}
		require.Equal(t, want, got, "%q with %v", keys, patterns)
		if len(patterns) > 120 {
			for p, ds := range patterns {
				for _, d := range ds {
					router = router.Unbind(Binding{Destination: d, Key: p})
				}
			}
			clear(patterns)
			require.Nil(t, router.(topicRouter).root, "what is unbound leaves nothing behind")
		}
	}
}

func TestTopicWorkIsBoundedForManyHashes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q")
	// By backtracking this would take longer than the universe is old.
	w.bind("amq.topic", "q", strings.Repeat("#.a.", 60)+"b")
	require.Empty(t, w.route("amq.topic", strings.Repeat("a.", 120)+"c"))
	require.Equal(t, []string{"q"}, w.route("amq.topic", strings.Repeat("a.", 120)+"b"))
}

func TestTopicScratchKeepsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q")
	for _, p := range []string{"#", "#.#", "*.b", "a.*", "a.b.#", "#.b", "a.#.b.#"} {
		w.bind("amq.topic", "q", p)
	}
	x, err := w.Find("amq.topic")
	require.NoError(t, err)
	var s Subject
	s.Reset(nil, "a.b.c", "a.b")
	_, _ = w.Route(x, &s, nil)
	for _, nodes := range [][]*topicNode{s.topic.places, s.topic.next, s.topic.hashes.items, s.topic.hashes.table} {
		for _, n := range nodes[:cap(nodes)] {
			require.Nil(t, n)
		}
	}
	for _, x := range s.seen.items[:cap(s.seen.items)] {
		require.Nil(t, x)
	}
	for _, d := range s.queues.items[:cap(s.queues.items)] {
		require.Nil(t, d)
	}
}

func FuzzTopic(f *testing.F) {
	f.Add("a.#.b", "a.x.b")
	f.Add("#.#", "")
	f.Add("*.*", ".")
	f.Add("a#", "ab")
	f.Add("", ".")
	f.Fuzz(func(t *testing.T, pattern, key string) {
		// Longer ones take the naive matcher too long.
		if len(pattern) > 24 || len(key) > 24 {
			return
		}
		d := queueNamed("q")
		b := Binding{Destination: d, Key: pattern}
		other := Binding{Destination: d, Key: key}
		r := topicRouter{}.Bind(b)
		var s Subject
		s.Reset(nil, key)
		want := matchesNaively(wordsOf(pattern), wordsOf(key))
		if got := r.Route(&s, nil); (len(got) == 1) != want || len(got) > 1 {
			t.Fatalf("%q with %q: %d, want %v", pattern, key, len(got), want)
		}
		if r := r.Bind(other).Unbind(other).Unbind(b); r.(topicRouter).root != nil {
			t.Fatalf("%q and %q leave something behind", pattern, key)
		}
	})
}
