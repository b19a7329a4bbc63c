package channel

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

type unwatched struct{ VHost }

func (unwatched) Watcher() Watcher { return nil }

// Room that comes after a consumer was refused and before it is seen to wait
// wakes nobody. So the consumer has to ask again.
func TestRoomThatComesWhileAConsumerBeginsToWait(t *testing.T) {
	t.Parallel()
	ch := New(Config{VHost: unwatched{}, Out: struct{ Out }{}, MaxUnsent: Cost(1)})
	c := &consumer{ch: ch}
	require.True(t, c.TryTake(1))

	ch.mu.Lock() // c cannot begin to wait
	took := make(chan bool)
	go func() { took <- c.TryTake(1) }()
	for !ch.window.Closed() {
		runtime.Gosched()
	}
	require.True(t, ch.window.Release(Cost(1)))
	ch.mu.Unlock()
	require.True(t, <-took)
}
