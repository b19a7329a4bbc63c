//go:build !race

// The race detector allocates by itself, and empties pools at random.

package warren_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/message"
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

// A publish that is to be confirmed costs its Confirmation, and in a batch not even
// that.
//
// It is not parallel: the allocations of other tests would count.
func TestConfirmsAllocateNoMoreThanTheirConfirmation(t *testing.T) {
	const burst = 500
	ctx := t.Context()
	ch := native(t, newBroker(t, warren.Options{}))
	_, err := ch.DeclareQueue(ctx, "q", warren.Arg("x-max-length", 10))
	require.NoError(t, err)
	m := warren.Message{Body: make([]byte, 16)}
	m.DeliveryMode = message.Persistent
	batch := make([]warren.Publishing, burst)
	for i := range batch {
		batch[i] = warren.Publishing{RoutingKey: "q", Message: m}
	}
	waiting := make([]*warren.Confirmation, 0, burst)
	for name, c := range map[string]struct {
		publish func() error
		most    float64
	}{
		"one by one": {func() error {
			waiting = waiting[:0]
			for range burst {
				w, err := ch.PublishAsync(ctx, "", "q", m)
				if err != nil {
					return err
				}
				waiting = append(waiting, w)
			}
			for _, w := range waiting {
				if err := w.Wait(ctx); err != nil {
					return err
				}
			}
			return nil
		}, 1.05},
		"in a batch": {func() error { return ch.PublishBatch(ctx, batch) }, 0.05},
	} {
		t.Run(name, func(t *testing.T) {
			var failed error
			allocs := testing.AllocsPerRun(100, func() {
				if err := c.publish(); err != nil {
					failed = err
				}
			}) / burst
			require.NoError(t, failed)
			require.Less(t, allocs, c.most, "allocations for each message")
			t.Logf("%.4f allocations for each message", allocs)
		})
	}
}
