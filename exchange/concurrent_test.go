package exchange

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRouteWhileTheTopologyChanges binds and deletes beside readers, who must
// always find what is never changed.
func TestRouteWhileTheTopologyChanges(t *testing.T) {
	t.Parallel()
	types, err := NewTypes()
	require.NoError(t, err)
	var queues sync.Map
	for i := range 40 {
		name := fmt.Sprint("q", i)
		queues.Store(name, queueNamed(name))
	}
	topology := NewTopology("/", types, func(name string) *Destination {
		d, _ := queues.Load(name)
		q, _ := d.(*Destination)
		return q
	})
	bind := func(source, queue, key string) {
		// The queue or the exchange may be gone.
		_, _ = topology.BindQueue(source, queue, key, nil, nil)
	}
	exchanges := []string{"amq.direct", "amq.fanout", "amq.topic", "amq.headers"}
	for _, x := range exchanges {
		bind(x, "q0", "k")
	}

	var stop atomic.Bool
	var readers, writers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			var s Subject
			var to []*Destination
			for i := 0; !stop.Load(); i++ {
				x, ok := topology.Lookup(exchanges[i%len(exchanges)])
				if !ok {
					t.Error("a predeclared exchange is gone")
					return
				}
				s.Reset(nil, "k")
				to, _ = topology.Route(x, &s, to[:0])
				if !slices.ContainsFunc(to, func(d *Destination) bool { return d.Name == "q0" }) {
					t.Errorf("%s lost a binding that nobody touched", x.Name())
					return
				}
			}
		})
	}
	for n := range 3 {
		writers.Go(func() {
			for i := range 300 {
				q := fmt.Sprint("q", 1+(i*(n+1))%39)
				auto := fmt.Sprint("auto", i%3)
				_, _, err := topology.Declare(Spec{Name: auto, Type: "fanout", AutoDelete: true})
				if err != nil {
					t.Error(err)
				}
				for _, x := range exchanges {
					bind(x, q, "k")
					_, _ = topology.BindExchange(x, auto, "k", nil)
				}
				bind(auto, q, "")
				switch i % 3 {
				case 0:
					if d, ok := queues.LoadAndDelete(q); ok {
						topology.Forget(d.(*Destination))
						queues.Store(q, queueNamed(q))
						topology.Touch()
					}
				case 1:
					_, _ = topology.UnbindQueue(auto, q, "", nil, nil)
				default:
					_, _ = topology.Delete(auto, false)
				}
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()

	for i := range 40 {
		d, _ := queues.LoadAndDelete(fmt.Sprint("q", i))
		topology.Forget(d.(*Destination))
	}
	for i := range 3 {
		_, err := topology.Delete(fmt.Sprint("auto", i), false)
		require.NoError(t, err)
	}
	require.Empty(t, topology.Bindings(), "no binding to a queue that was forgotten")
	require.Empty(t, topology.in)
}

func TestConcurrentDeclaresCreateOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var created atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 200 {
				_, isNew, err := w.Declare(Spec{Name: fmt.Sprint("x", i), Type: "topic"})
				if err != nil {
					t.Error(err)
				}
				if isNew {
					created.Add(1)
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 200, created.Load())
}
