package queue

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInfoCountsWhatHappened(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), inline)
	r.get(true)
	r.post("1", "2", "3", "4", "5", "6")
	got, _ := r.get(false)
	r.get(true)
	in := r.consume(Consumer{Prefetch: 2})
	ds := in.take()
	r.settle(Requeue, ds[0])
	again := in.take()
	r.settle(Ack, again[0])
	r.settle(Discard, ds[1], got)
	r.h.Cancel(in.id)
	quick := r.consume(Consumer{NoAck: true})
	info, err := r.h.Info()
	require.NoError(t, err)
	require.Equal(t, Counters{
		Published: 6, Delivered: 5, DeliveredNoAck: uint64(len(quick.take())),
		Got: 1, GotNoAck: 1, GotEmpty: 1, Redelivered: 1,
		Acked: 1, Requeued: 1, Discarded: 2, Confirmed: 6,
	}, info.Counters)
	require.Equal(t, 1, info.Consumers)
	require.Equal(t, 2, info.Unacked)

	require.NoError(t, r.h.Delete(false, false, func(int) {}))
	_, err = r.h.Info()
	require.ErrorIs(t, err, ErrGone)
}
