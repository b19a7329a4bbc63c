//go:build !race

// The race detector has its own memory.

package warren_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/memstore"
)

// Very many queues that expire, and whose messages do, cost little each while
// nothing happens, and nothing that runs: issue 5 says less than 2 KiB. Not parallel:
// it measures the heap.
func TestAHundredThousandQueuesThatExpireCostLittle(t *testing.T) {
	for _, c := range []struct {
		name   string
		n      int
		store  func() store.Store
		option []warren.QueueOption
		most   int64
	}{
		{"in memory", 100_000, func() store.Store { return nil }, nil, 2 << 10},
		// With what their definitions are on the disk, which is in memory here.
		{"durable", 20_000, func() store.Store { return memstore.New() }, []warren.QueueOption{warren.Durable()}, 3 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBroker(t, warren.Options{Store: c.store()})
			ch := native(t, b)
			options := append(c.option, warren.Arg("x-message-ttl", int32(60_000)), warren.Arg("x-expires", int32(3_600_000)))
			_, err := ch.DeclareQueue(t.Context(), "the first", options...)
			require.NoError(t, err)
			memory, goroutines := inUse(), runtime.NumGoroutine()
			for i := range c.n {
				_, err := ch.DeclareQueue(t.Context(), fmt.Sprintf("session.%08d", i), options...)
				require.NoError(t, err)
			}
			each := (inUse() - memory) / int64(c.n)
			t.Logf("%d queues, %d octets each, %d goroutines in all", c.n, each, runtime.NumGoroutine())
			require.Less(t, each, c.most)
			require.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
			require.Equal(t, c.n+1, b.Stats().Queues)
		})
	}
}

// inUse gives the octets in use on the heap and for stacks, without what only pools
// hold.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc + s.StackInuse)
}
