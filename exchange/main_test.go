package exchange

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a topology and the queues beside it.
type world struct {
	*Topology
	t      testing.TB
	queues map[string]*Destination
}

func newWorld(t testing.TB, queues ...string) *world {
	t.Helper()
	types, err := NewTypes()
	require.NoError(t, err)
	w := &world{t: t, queues: map[string]*Destination{}}
	for _, q := range queues {
		w.queues[q] = queueNamed(q)
	}
	w.Topology = NewTopology("/", types, func(name string) *Destination { return w.queues[name] })
	return w
}

func queueNamed(name string) *Destination { return &Destination{Kind: KindQueue, Name: name} }

func (w *world) declare(s Spec) *Exchange {
	w.t.Helper()
	x, _, err := w.Declare(s)
	require.NoError(w.t, err)
	return x
}

func (w *world) bind(x, q, key string, args ...message.Field) {
	w.t.Helper()
	_, err := w.BindQueue(x, q, key, args, nil)
	require.NoError(w.t, err)
}

func (w *world) bindx(source, destination, key string) {
	w.t.Helper()
	_, err := w.BindExchange(source, destination, key, nil)
	require.NoError(w.t, err)
}

func (w *world) exists(name string) bool {
	_, ok := w.Lookup(name)
	return ok
}

// route gives the sorted names of the queues, of which each comes once.
func (w *world) route(x string, keys ...string) []string {
	w.t.Helper()
	return w.routeHeaders(x, nil, keys...)
}

func (w *world) routeHeaders(name string, headers message.Table, keys ...string) []string {
	w.t.Helper()
	x, err := w.Find(name)
	require.NoError(w.t, err)
	var s Subject
	s.Reset(nil, keys...)
	s.SetHeaders(headers)
	to, _ := w.Route(x, &s, nil)
	for _, d := range to {
		require.Equal(w.t, KindQueue, d.Kind)
	}
	return namesOf(to)
}

func namesOf(to []*Destination) []string {
	names := []string{}
	for _, d := range to {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	return names
}

func requireRefusal(t testing.TB, err error, code reply.Code, text string) {
	t.Helper()
	var e *reply.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code)
	require.Equal(t, text, e.Text)
}
