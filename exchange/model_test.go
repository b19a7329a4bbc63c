package exchange

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// model is a topology as simple as can be: lists, and no thought for speed.
type model struct {
	queues    map[string]bool
	exchanges map[string]Spec
	bindings  []modelBinding
}

type modelBinding struct {
	source string
	kind   Kind
	name   string
	key    string
	args   message.Table
}

func (b modelBinding) equal(c modelBinding) bool {
	return b.source == c.source && b.kind == c.kind && b.name == c.name && b.key == c.key && b.args.Equal(c.args)
}

func (b modelBinding) String() string {
	return fmt.Sprintf("%s > %s %s %q %v", b.source, b.kind, b.name, b.key, b.args)
}

func (m *model) has(kind Kind, name string) bool {
	if kind == KindQueue {
		return m.queues[name]
	}
	_, ok := m.exchanges[name]
	return ok
}

func (m *model) bind(b modelBinding) {
	if m.has(KindExchange, b.source) && m.has(b.kind, b.name) && !slices.ContainsFunc(m.bindings, b.equal) {
		m.bindings = append(m.bindings, b)
	}
}

// remove removes the bindings that match and what that drags along.
func (m *model) remove(match func(modelBinding) bool) {
	sources := map[string]bool{}
	m.bindings = slices.DeleteFunc(m.bindings, func(b modelBinding) bool {
		if match(b) {
			sources[b.source] = true
			return true
		}
		return false
	})
	for x := range sources {
		isSource := func(b modelBinding) bool { return b.source == x }
		if m.exchanges[x].AutoDelete && !slices.ContainsFunc(m.bindings, isSource) {
			m.deleteExchange(x)
		}
	}
}

func (m *model) deleteExchange(x string) {
	delete(m.exchanges, x)
	m.bindings = slices.DeleteFunc(m.bindings, func(b modelBinding) bool { return b.source == x })
	m.remove(func(b modelBinding) bool { return b.kind == KindExchange && b.name == x })
}

func (m *model) deleteQueue(q string) {
	delete(m.queues, q)
	m.remove(func(b modelBinding) bool { return b.kind == KindQueue && b.name == q })
}

func (m *model) matches(b modelBinding, key string, headers message.Table) bool {
	switch m.exchanges[b.source].Type {
	case "direct":
		return b.key == key
	case "topic":
		return matchesNaively(wordsOf(b.key), wordsOf(key))
	case "headers":
		for _, f := range b.args {
			if v, ok := headers.Get(f.Name); !ok || !looselyEqual(f.Value, v) {
				return false
			}
		}
	}
	return true
}

func (m *model) route(x string, keys []string, headers message.Table) []string {
	queues, seen, work := map[string]bool{}, map[string]bool{x: true}, []string{x}
	if x == "" {
		for _, key := range keys {
			if m.queues[key] {
				queues[key] = true
			}
		}
		work = nil
	}
	for ; len(work) > 0; work = work[1:] {
		var next []string
		matched := false
		for _, b := range m.bindings {
			if b.source != work[0] {
				continue
			}
			for _, key := range keys {
				if !m.matches(b, key, headers) {
					continue
				}
				matched = true
				if b.kind == KindQueue {
					queues[b.name] = true
				} else {
					next = append(next, b.name)
				}
			}
		}
		if ae, ok := m.exchanges[work[0]].Arguments.Get("alternate-exchange"); ok && !matched {
			next = append(next, ae.(string))
		}
		for _, y := range next {
			if m.has(KindExchange, y) && !seen[y] {
				seen[y] = true
				work = append(work, y)
			}
		}
	}
	names := []string{}
	for q := range queues {
		names = append(names, q)
	}
	slices.Sort(names)
	return names
}

func TestTopologyAgreesWithAModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			runModel(t, rand.New(rand.NewPCG(seed, 99)), 1000)
		})
	}
}

func runModel(t *testing.T, r *rand.Rand, steps int) {
	types := []string{"direct", "fanout", "topic", "headers"}
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	xname := func() string { return pick("x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8") }
	qname := func() string { return pick("q1", "q2", "q3", "q4", "q5") }
	key := func() string { return pick("", "a", "b", "a.b", "*", "#", "a.*", "#.b", "q1", "q2") }

	w := newWorld(t)
	m := &model{queues: map[string]bool{}, exchanges: map[string]Spec{}}
	for x := range w.All() {
		m.exchanges[x.Name()] = x.Spec()
	}
	generation := w.Generation()
	var last string
	for range steps {
		before := m.describe()
		switch op := r.IntN(100); {
		case op < 15:
			s := Spec{Name: xname(), Type: pick(types...), AutoDelete: r.IntN(2) == 0}
			if r.IntN(3) == 0 {
				s.Arguments = alternate(xname())
			}
			_, created, _ := w.Declare(s)
			require.Equal(t, !m.has(KindExchange, s.Name), created)
			if created {
				m.exchanges[s.Name] = s
			}
		case op < 20:
			x, ifUnused := xname(), r.IntN(2) == 0
			used := slices.ContainsFunc(m.bindings, func(b modelBinding) bool { return b.source == x })
			_, err := w.Delete(x, ifUnused)
			require.Equal(t, used && ifUnused, err != nil)
			if err == nil && m.has(KindExchange, x) {
				m.deleteExchange(x)
			}
		case op < 30:
			q := qname()
			if !m.queues[q] {
				m.queues[q], w.queues[q] = true, queueNamed(q)
				w.Touch()
			}
		case op < 34:
			if q := qname(); m.queues[q] {
				gone := w.queues[q]
				delete(w.queues, q)
				w.Forget(gone)
				m.deleteQueue(q)
			}
		default:
			b := modelBinding{source: pick(xname(), "amq.topic"), name: qname(), key: key()}
			if r.IntN(2) == 0 {
				b.kind, b.name = KindExchange, xname()
			}
			if r.IntN(3) == 0 {
				b.args = message.Table{f("h", r.IntN(2))}
			}
			switch {
			case op < 75 && b.kind == KindQueue:
				_, err := w.BindQueue(b.source, b.name, b.key, b.args, nil)
				require.Equal(t, m.has(KindExchange, b.source) && m.has(b.kind, b.name), err == nil)
				m.bind(b)
			case op < 75:
				_, err := w.BindExchange(b.source, b.name, b.key, b.args)
				require.Equal(t, m.has(KindExchange, b.source) && m.has(b.kind, b.name), err == nil)
				m.bind(b)
			case b.kind == KindQueue:
				_, err := w.UnbindQueue(b.source, b.name, b.key, b.args, nil)
				require.NoError(t, err)
				m.remove(b.equal)
			default:
				_, err := w.UnbindExchange(b.source, b.name, b.key, b.args)
				require.NoError(t, err)
				m.remove(b.equal)
			}
		}
		if last = m.describe(); last != before {
			require.NotEqual(t, generation, w.Generation())
			generation = w.Generation()
		}
		require.Equal(t, last, describe(w))
		for x := range m.exchanges {
			keys := []string{pick("", "a", "b", "a.b", "q1", "x.b", "*")}
			if r.IntN(4) == 0 {
				keys = append(keys, pick("a", "b", "q2"))
			}
			headers := message.Table{f("h", float64(r.IntN(3)))}
			require.Equal(t, m.route(x, keys, headers), w.routeHeaders(x, headers, keys...), "%s with %q", x, keys)
		}
	}
	require.NotEmpty(t, last)
}

func (m *model) describe() string {
	lines := []string{}
	for x := range m.exchanges {
		lines = append(lines, x)
	}
	for _, b := range m.bindings {
		lines = append(lines, b.String())
	}
	for q := range m.queues {
		lines = append(lines, q)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// describe also checks that the topology's three records of bindings agree.
func describe(w *world) string {
	var m model
	m.queues, m.exchanges = map[string]bool{}, map[string]Spec{}
	for q := range w.queues {
		m.queues[q] = true
	}
	var from, to int
	for x := range w.All() {
		m.exchanges[x.Name()] = x.Spec()
		from += len(w.BindingsFrom(x))
		to += len(w.BindingsTo(x.Destination()))
	}
	for _, d := range w.queues {
		to += len(w.BindingsTo(d))
	}
	for _, b := range w.Bindings() {
		m.bindings = append(m.bindings, modelBinding{b.Source, b.Destination.Kind, b.Destination.Name, b.Key, b.Arguments})
	}
	if from != len(m.bindings) || to != from {
		return fmt.Sprintf("%d bindings, %d by source, %d by destination", len(m.bindings), from, to)
	}
	return m.describe()
}
