package exchange

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

var sizes = []int{1, 1000, 100_000}

var builtIn = []string{"direct", "fanout", "topic", "headers"}

// benchWorld has n bindings on one exchange, each to a queue of its own. A
// message of benchSubject matches one of them, but all of a fanout.
func benchWorld(b *testing.B, typ string, n int) (*world, *Exchange) {
	w := newWorld(b)
	x := w.declare(Spec{Name: "x", Type: typ})
	for i := range n {
		name := fmt.Sprint("q", i)
		w.queues[name] = queueNamed(name)
		key, args := benchBinding(typ, i)
		w.bind("x", name, key, args...)
	}
	return w, x
}

func benchBinding(typ string, i int) (string, message.Table) {
	switch typ {
	case "topic":
		return fmt.Sprintf("orders.*.%d.#", i), nil
	case "headers":
		return "", message.Table{f("format", "pdf"), f("customer", i)}
	}
	return fmt.Sprintf("orders.eu.%d", i), nil
}

func benchSubject(s *Subject) {
	s.Reset(nil, "orders.eu.0")
	s.SetHeaders(message.Table{f("format", "pdf"), f("customer", 0), f("other", "x")})
}

func BenchmarkRoute(b *testing.B) {
	for _, typ := range builtIn {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", typ, n), func(b *testing.B) {
				w, x := benchWorld(b, typ, n)
				want := 1
				if typ == "fanout" {
					want = n
				}
				var s Subject
				benchSubject(&s)
				var to []*Destination
				to, _ = w.Route(x, &s, to)
				require.Len(b, to, want)
				b.ReportAllocs()
				for b.Loop() {
					to, _ = w.Route(x, &s, to[:0])
				}
			})
		}
	}
}

// BenchmarkRouteTopicToMany is the one built-in route of many queues that has
// to look for repetitions.
func BenchmarkRouteTopicToMany(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w, x := benchWorld(b, "topic", 0)
			for i := range n {
				name := fmt.Sprint("q", i)
				w.queues[name] = queueNamed(name)
				w.bind("x", name, "orders.#")
			}
			var s Subject
			benchSubject(&s)
			var to []*Destination
			b.ReportAllocs()
			for b.Loop() {
				to, _ = w.Route(x, &s, to[:0])
			}
			require.Len(b, to, n)
		})
	}
}

// BenchmarkBind binds and unbinds one more binding.
func BenchmarkBind(b *testing.B) {
	for _, typ := range builtIn {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", typ, n), func(b *testing.B) {
				w, _ := benchWorld(b, typ, n)
				w.queues["one more"] = queueNamed("one more")
				key, args := benchBinding(typ, n)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := w.BindQueue("x", "one more", key, args, nil); err != nil {
						b.Fatal(err)
					}
					if _, err := w.UnbindQueue("x", "one more", key, args, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
