package queue

import (
	"testing"
	"time"

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
	r.h.Resume(mid.id, false)
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

// activeInbox is an inbox that hears when its consumer becomes the active one.
type activeInbox struct {
	inbox
	active int
}

func (in *activeInbox) Activated() { in.active++ }

// consumeActive is rig.consume with an activeInbox. The consumer is what want says
// when it is announced.
func (r *rig) consumeActive(c Consumer, want int) *activeInbox {
	r.t.Helper()
	in := &activeInbox{inbox: inbox{t: r.t}}
	require.NoError(r.t, r.h.Consume(c, in, in.attach, func() { require.Equal(r.t, want, in.active) }))
	return in
}

// Conformance scenarios ack/requeue-by-consumer and ack/multiple-refills-by-consumer.
func TestWhatOneConsumerSettlesGoesOutBeforeTheNextOneSettles(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), inline)
	a, b := r.consume(Consumer{Prefetch: 2}), r.consume(Consumer{Prefetch: 2})
	r.post("1", "2", "3", "4", "5", "6", "7", "8")
	held := append(a.want("1", "3"), b.want("2", "4")...)
	r.settle(Ack, held...)
	held = append(a.want("5", "6"), b.want("7", "8")...)
	r.settle(Requeue, held...)
	a.want("5", "6")
	b.want("7", "8")
	r.deleteAndBalance()
}

// Conformance scenario qos/global-gone-in-turn.
func TestThoseWhoseGatesOpenTogetherAreServedInTurn(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), inline)
	g := &countedGate{}
	a, b := r.consume(Consumer{Gate: g}), r.consume(Consumer{Gate: g})
	r.post("1", "2", "3", "4")
	g.room = 4
	r.h.Resume(a.id, true)
	a.want()
	r.h.Resume(b.id, false)
	a.want("1", "3")
	b.want("2", "4")
	r.deleteAndBalance()
}

func singleActive(s *Spec, env *HostEnv) {
	inline(s, env)
	s.Arguments = args(argSingleActive, true)
}

func TestASingleActiveConsumerAndItsSuccessors(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), singleActive)
	a := r.consumeActive(prioritised(-3, Consumer{Prefetch: 2}), 1)
	b := r.consumeActive(Consumer{}, 0)
	c := r.consumeActive(prioritised(3, Consumer{}), 0)
	d := r.consumeActive(prioritised(3, Consumer{}), 0)
	r.post("1", "2", "3")
	held := a.want("1", "2")
	require.Equal(t, Stat{Ready: 1, Unacked: 2, ReadyBytes: 1, Consumers: 4}, r.stat())

	r.h.Cancel(a.id) // the highest priority follows, and of equals who came first
	require.Equal(t, [3]int{0, 1, 0}, [3]int{b.active, c.active, d.active})
	c.want()
	r.settle(Requeue, held[0])
	c.want("1", "3")
	r.settle(Ack, held[1])

	r.h.Cancel(d.id) // one that waits
	r.post("4")
	c.want("4")
	r.h.Cancel(c.id)
	require.Equal(t, 1, b.active)
	r.post("5")
	b.want("5")
	r.h.Cancel(b.id)
	r.post("6")
	e := r.consumeActive(Consumer{}, 1)
	e.want("6")
	require.Equal(t, [4]int{1, 1, 1, 0}, [4]int{a.active, b.active, c.active, d.active})
	r.deleteAndBalance()
}

// As in RabbitMQ, whose queue does not look at its consumers then.
func TestWhoAsksDoesNotWakeTheSuccessorOfASingleActiveConsumer(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), singleActive)
	a := r.consumeActive(Consumer{Prefetch: 1}, 1)
	b := r.consumeActive(Consumer{}, 0)
	r.post("1", "2", "3", "4")
	held := a.want("1")
	r.h.Cancel(a.id)
	b.want()
	st, err := r.h.Declared()
	require.NoError(t, err)
	require.Equal(t, Stat{Ready: 3, Unacked: 1, ReadyBytes: 3, Consumers: 1}, st)
	got, _ := r.get(true)
	require.Equal(t, "2", got.body)
	b.want()
	r.settle(Ack, held...)
	b.want("3", "4")
	r.deleteAndBalance()
}

// What a successor gets it gets when the one before gives something back, or when
// there is something new, as in RabbitMQ.
func TestASuccessorWaitsWhateverElseHappens(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Classic(), func(s *Spec, env *HostEnv) {
			singleActive(s, env)
			s.Arguments = append(s.Arguments, args("x-max-length", int32(4), "x-overflow", "reject-publish")...)
		})
		a := r.consumeActive(Consumer{Prefetch: 1}, 1)
		r.post("1")
		r.expiring("2", 10)
		r.post("3", "4", "5")
		b := r.consumeActive(Consumer{}, 0)
		held := a.want("1")
		r.h.Cancel(a.id)
		require.Equal(t, 1, b.active)
		r.post("is refused")
		wait(20 * time.Millisecond) // 2 expires
		_, err := r.h.Declared()
		require.NoError(t, err)
		got, _ := r.get(true)
		require.Equal(t, "3", got.body)
		b.want()
		r.settle(Requeue, held...)
		b.want("1", "4", "5")
		r.deleteAndBalance()
	})
}

func TestWhatASingleActiveConsumerDidNotTakeGoesToTheNextAtOnceIfItHoldsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), singleActive)
	a := r.consume(Consumer{NoAck: true, Gate: &countedGate{}})
	b := r.consume(Consumer{})
	r.post("1", "2")
	b.want()
	r.h.Cancel(a.id)
	b.want("1", "2")
	r.deleteAndBalance()
}

func TestASingleActiveConsumerCannotBeExclusive(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), singleActive)
	in := &inbox{t: t}
	refuse := func() {
		require.ErrorIs(t, r.h.Consume(Consumer{Exclusive: true}, in, in.attach, func() {}), ErrExclusiveUse)
	}
	refuse()
	r.consume(Consumer{})
	refuse()
	r.deleteAndBalance()
}
