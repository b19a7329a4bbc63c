package queue

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// prioritised is a consumer with an x-priority.
func prioritised(p int32, c Consumer) Consumer {
	c.Arguments = args(argConsumerPriority, p)
	return c
}

func TestALowerPriorityGetsWhileAllHigherOnesAreBlocked(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), inline)
	gate := &countedGate{room: 1}
	low := r.consume(prioritised(-1, Consumer{}))
	mid := r.consume(Consumer{Gate: gate})
	high := r.consume(prioritised(7, Consumer{Prefetch: 1}))
	r.post("1", "2", "3")
	first := high.want("1")
	mid.want("2")
	low.want("3")

	gate.room = 1
	r.post("4")
	low.want("4") // nobody said that the gate has room
	r.h.Resume(mid.id)
	r.settle(Ack, first...)
	r.post("5", "6", "7")
	second := high.want("5")
	mid.want("6")
	low.want("7")

	r.h.Cancel(mid.id)
	r.settle(Requeue, second...)
	require.True(t, high.want("5")[0].redelivered)
	r.post("8")
	low.want("8")
	r.deleteAndBalance()
}

func TestAConsumerThatSettlesBeforeItsTurnKeepsIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), inline)
	a, b, c := r.consume(Consumer{Prefetch: 1}), r.consume(Consumer{Prefetch: 1}), r.consume(Consumer{Prefetch: 1})
	r.post("1", "2")
	of1, of2 := a.want("1"), b.want("2")
	r.settle(Ack, of2...)
	r.settle(Ack, of1...)
	r.post("3", "4", "5")
	of3 := c.want("3")
	of1, of2 = a.want("4"), b.want("5")

	// All are passed over now, and join the end as they settle.
	r.post("6", "7")
	r.settle(Ack, of2...)
	r.settle(Ack, of3...)
	r.settle(Ack, of1...)
	b.want("6")
	c.want("7")
	r.post("8")
	a.want("8")
	r.deleteAndBalance()
}
