package exchange

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

func alternate(name string) message.Table { return message.Table{f("alternate-exchange", name)} }

func TestDefaultExchangeRoutesByQueueName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q", "r")
	require.Equal(t, []string{"q"}, w.route("", "q"))
	require.Equal(t, []string{"q", "r"}, w.route("", "q", "r", "q", "none"))
	require.Empty(t, w.route("", "none"))
	require.Empty(t, w.route("", ""))
	require.Empty(t, w.route(""))
}

func TestDirectRoutesByExactKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q", "r")
	w.bind("amq.direct", "q", "k")
	w.bind("amq.direct", "r", "k", f("x", 1))
	w.bind("amq.direct", "r", "K")
	w.bind("amq.direct", "q", "")
	for key, want := range map[string][]string{"k": {"q", "r"}, "K": {"r"}, "k ": {}, "*": {}, "": {"q"}} {
		require.Equal(t, want, w.route("amq.direct", key), key)
	}
	require.Equal(t, []string{"q", "r"}, w.route("amq.direct", "none", "K", ""), "CC and BCC keys count")
}

func TestFanoutRoutesToAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q", "r")
	w.bind("amq.fanout", "q", "one")
	w.bind("amq.fanout", "q", "two")
	w.bind("amq.fanout", "r", "")
	require.Equal(t, []string{"q", "r"}, w.route("amq.fanout", "whatever"))
	require.Equal(t, []string{"q", "r"}, w.route("amq.fanout"))
	_, err := w.UnbindQueue("amq.fanout", "q", "one", nil, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"q", "r"}, w.route("amq.fanout"))
}

func TestRandomRoutesToOneOfItsBindings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q", "r")
	_, _, err := w.Declare(Spec{Name: "x", Type: "x-random"})
	require.NoError(t, err)
	require.Empty(t, w.route("x", "k"))
	w.bind("x", "q", "one")
	w.bind("x", "q", "two")
	w.bind("x", "r", "")
	count := func() (q, r int) {
		for range 1000 {
			to := w.route("x", "two", "one")
			require.Len(t, to, 1)
			if to[0] == "q" {
				q++
			} else {
				r++
			}
		}
		return q, r
	}
	q, r := count()
	require.Greater(t, q, r, "it is bound twice")
	require.NotZero(t, r)
	_, err = w.UnbindQueue("x", "q", "one", nil, nil)
	require.NoError(t, err)
	q, r = count()
	require.NotZero(t, q)
	require.NotZero(t, r)
	_, err = w.UnbindQueue("x", "q", "two", nil, nil)
	require.NoError(t, err)
	q, _ = count()
	require.Zero(t, q)
	_, err = w.UnbindQueue("x", "r", "", nil, nil)
	require.NoError(t, err)
	require.Empty(t, w.route("x", "k"))
}

func TestManyDestinationsOnOneKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 300 {
		name := fmt.Sprint("q", i)
		w.queues[name] = queueNamed(name)
		for _, x := range []string{"amq.direct", "amq.fanout", "amq.topic", "amq.headers"} {
			w.bind(x, name, "k")
		}
		w.bind("amq.topic", name, "*")
	}
	for _, x := range []string{"amq.direct", "amq.fanout", "amq.topic", "amq.headers"} {
		require.Len(t, w.route(x, "k", "k"), 300, x)
	}
	for i := range 299 {
		w.Forget(w.queues[fmt.Sprint("q", i)])
	}
	for _, x := range []string{"amq.direct", "amq.fanout", "amq.topic", "amq.headers"} {
		require.Equal(t, []string{"q299"}, w.route(x, "k"), x)
	}
	require.Len(t, w.Bindings(), 5)
}

func TestAlternateExchange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q", "un")
	w.declare(Spec{Name: "ae", Type: "fanout", Internal: true})
	w.declare(Spec{Name: "x", Type: "direct", Arguments: alternate("ae")})
	w.bind("x", "q", "known")
	w.bind("ae", "un", "")
	require.Equal(t, []string{"q"}, w.route("x", "known"))
	require.Equal(t, []string{"un"}, w.route("x", "unknown"))
	require.Equal(t, []string{"q"}, w.route("x", "unknown", "known"), "one key that matches is enough")

	t.Run("of the alternate exchange", func(t *testing.T) {
		w.declare(Spec{Name: "b", Type: "direct", Arguments: alternate("x")})
		w.declare(Spec{Name: "a", Type: "direct", Arguments: alternate("b")})
		require.Equal(t, []string{"un"}, w.route("a", "unknown"))
		require.Equal(t, []string{"q"}, w.route("a", "known"))
	})
	t.Run("that is missing has no effect", func(t *testing.T) {
		w.declare(Spec{Name: "m", Type: "direct", Arguments: alternate("nowhere")})
		require.Empty(t, w.route("m", "k"))
		w.declare(Spec{Name: "nowhere", Type: "fanout"})
		w.bind("nowhere", "q", "")
		require.Equal(t, []string{"q"}, w.route("m", "k"), "it may come later")
	})
	t.Run("not if an exchange matched that routes nowhere", func(t *testing.T) {
		w.declare(Spec{Name: "e", Type: "direct", Arguments: alternate("ae")})
		w.declare(Spec{Name: "dead-end", Type: "direct"})
		w.bindx("e", "dead-end", "k")
		require.Empty(t, w.route("e", "k"))
		require.Equal(t, []string{"un"}, w.route("e", "other"))
	})
	t.Run("of a destination exchange", func(t *testing.T) {
		w.declare(Spec{Name: "first", Type: "fanout"})
		w.bindx("first", "x", "")
		require.Equal(t, []string{"un"}, w.route("first", "unknown"))
	})
	t.Run("in a circle", func(t *testing.T) {
		w.declare(Spec{Name: "c1", Type: "direct", Arguments: alternate("c2")})
		w.declare(Spec{Name: "c2", Type: "direct", Arguments: alternate("c1")})
		w.declare(Spec{Name: "self", Type: "direct", Arguments: alternate("self")})
		require.Empty(t, w.route("c1", "k"))
		require.Empty(t, w.route("self", "k"))
	})
	t.Run("that is the default exchange has no bindings", func(t *testing.T) {
		w.declare(Spec{Name: "d", Type: "direct", Arguments: alternate("")})
		require.Empty(t, w.route("d", "q"))
	})
}

func TestExchangeToExchange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q", "r")
	w.declare(Spec{Name: "a", Type: "topic"})
	w.declare(Spec{Name: "b", Type: "fanout"})
	w.declare(Spec{Name: "c", Type: "direct"})
	w.bindx("a", "b", "k.*")
	w.bindx("a", "c", "#")
	w.bind("b", "q", "")
	w.bind("c", "q", "k.1")
	w.bind("c", "r", "z")
	require.Equal(t, []string{"q"}, w.route("a", "k.1"), "one copy by two ways")
	require.Equal(t, []string{"r"}, w.route("a", "z"), "the next exchange sees the same key")
	require.Equal(t, []string{"q", "r"}, w.route("a", "k.2", "z"), "and the others")
	require.Empty(t, w.route("a", "y"))

	w.bindx("b", "a", "")
	w.bindx("b", "b", "")
	w.bindx("c", "a", "k.1")
	require.Equal(t, []string{"q"}, w.route("a", "k.1"), "circles are harmless")

	_, err := w.Delete("b", false)
	require.NoError(t, err)
	require.Empty(t, w.route("a", "k.2"))
}

func TestCacheableOnlyIfAllVisitedRouteByKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q")
	w.declare(Spec{Name: "plain", Type: "direct"})
	w.declare(Spec{Name: "to-headers", Type: "topic"})
	w.declare(Spec{Name: "alternate-headers", Type: "direct", Arguments: alternate("amq.headers")})
	w.bindx("to-headers", "amq.headers", "k.#")
	w.bind("alternate-headers", "q", "k")
	for _, c := range []struct {
		exchange, key string
		cacheable     bool
	}{
		{"", "q", true}, {"plain", "k", true}, {"amq.fanout", "", true}, {"amq.headers", "k", false},
		{"to-headers", "k", false}, {"to-headers", "z", true},
		{"alternate-headers", "k", true}, {"alternate-headers", "z", false},
	} {
		x, err := w.Find(c.exchange)
		require.NoError(t, err)
		var s Subject
		s.Reset(nil, c.key)
		_, cacheable := w.Route(x, &s, nil)
		require.Equal(t, c.cacheable, cacheable, "%s with %s", c.exchange, c.key)
	}
}

func TestRouteAppends(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q")
	w.bind("amq.fanout", "q", "")
	x, err := w.Find("amq.fanout")
	require.NoError(t, err)
	var s Subject
	to := []*Destination{w.queues["q"]}
	to, _ = w.Route(x, &s, to)
	require.Equal(t, []string{"q", "q"}, namesOf(to), "what was there already is not looked at")
}

func TestRouteDoesNotAllocate(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		name := fmt.Sprint("q", i)
		w.queues[name] = queueNamed(name)
		w.bind("amq.direct", name, "a.b")
		w.bind("amq.direct", name, "c")
		w.bind("amq.fanout", name, "")
		w.bind("amq.topic", name, "a.*")
		w.bind("amq.topic", name, "#.b."+strings.Repeat("#.", i%9)+"#")
		w.bind("amq.headers", name, "", f("b", nil), f("i", i%3))
		w.declare(Spec{Name: fmt.Sprint("x", i), Type: "fanout"})
		w.bind(fmt.Sprint("x", i), name, "")
		w.bindx("amq.match", fmt.Sprint("x", i), "")
	}
	w.declare(Spec{Name: "alternate", Type: "direct", Arguments: alternate("amq.match")})
	var s Subject
	var to []*Destination
	headers := message.Table{f("i", 1.0), f("b", []byte("binary"))}
	for name, want := range map[string]int{
		"": 1, "amq.direct": 100, "amq.fanout": 100, "amq.topic": 100, "amq.headers": 33, "amq.match": 100, "alternate": 100,
	} {
		x, err := w.Find(name)
		require.NoError(t, err)
		allocs := testing.AllocsPerRun(20, func() {
			s.Reset(nil, "a.b", "c", "q7")
			s.SetHeaders(headers)
			to, _ = w.Route(x, &s, to[:0])
			if len(to) != want {
				t.Fatalf("%s: %d queues", name, len(to))
			}
		})
		require.Zero(t, allocs, name)
	}
}

func TestPointerSetAgreesWithAMap(t *testing.T) {
	t.Parallel()
	var s pointerSet[int]
	for _, n := range []int{3, 5000, 9, 0, 100, 40_000, 12} {
		pointers := make([]int, n)
		for range 2 {
			want := map[*int]bool{}
			for i := range 2 * n {
				p := &pointers[(i*7)%n]
				require.Equal(t, !want[p], s.add(p))
				want[p] = true
			}
			require.Len(t, s.items, n)
			s.reset()
			for _, p := range s.table[:cap(s.table)] {
				if p != nil {
					t.Fatal("a pointer was kept")
				}
			}
		}
	}
}
