//go:build !race

// The race detector allocates by itself, and empties pools at random.

package warren_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
)

// The copy of a body is the receiver's to keep, so that it has to be allocated;
// small ones share allocations. Nothing else is.
//
// It is not parallel: the allocations of other tests would count.
func TestNativeMessageAllocatesLessThanOnce(t *testing.T) {
	const burst, most = 500, 0.5
	b := newBroker(t, warren.Options{})
	in, out := native(t, b), native(t, b)
	filled(t, in, "q")
	ctx := t.Context()
	m := warren.Message{Body: make([]byte, 16)}
	var failed error
	publish := func() {
		for range burst {
			if err := in.Publish(ctx, "", "q", m); err != nil {
				failed = err
			}
		}
	}
	publish()
	n := 0
	deliveries := out.Consume(ctx, "q", warren.NoAck())
	next := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, err := range deliveries {
			if err != nil {
				return
			}
			if n++; n == burst {
				n = 0
				next <- struct{}{}
			}
		}
	}()
	<-next
	round := func() {
		publish()
		<-next
	}
	for range 20 { // until buffers have grown
		round()
	}
	allocs := testing.AllocsPerRun(100, round) / burst
	require.NoError(t, failed)
	require.Less(t, allocs, most, "allocations for each message")
	t.Logf("%.4f allocations for each message", allocs)
	require.NoError(t, out.Close())
	<-done
}
