package queue

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

func TestWhatAQuorumQueueGetsBackIsInItsOwnOrder(t *testing.T) {
	t.Parallel()
	limit := args(argDeliveryLimit, int32(9))
	for name, c := range map[string]struct {
		arguments message.Table
		outcome   Outcome
		want      []string
	}{
		"requeued":              {nil, Requeue, []string{"4", "5", "2", "1", "3"}},
		"requeued with a limit": {limit, Requeue, []string{"2", "1", "3", "4", "5"}},
		"returned":              {nil, Return, []string{"2", "1", "3", "4", "5"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newQuorum(t, nil, c.arguments, nil)
			r.post("1", "2", "3", "4", "5")
			var held []received
			for range 3 {
				got, _ := r.get(false)
				held = append(held, got)
			}
			r.settle(c.outcome, held[1])
			r.settle(c.outcome, held[0], held[2])
			require.Equal(t, c.want, r.drain())
			r.deleteAndBalance()
		})
	}
}

func TestAMessageMovesInTheStoreAsOne(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	r := newQuorum(t, log, nil, nil)
	r.post("1", "2")
	one, _ := r.get(false)
	two, _ := r.get(false)
	log.commit(9)
	log.journal = nil
	r.settle(Requeue, one, two)
	require.Equal(t, []string{"append 2", "remove 0", "append 3", "remove 1"}, log.journal)
	require.Len(t, log.submits, 1, "so that they are one change")
	atom := log.submits[0].ops[0].Atom
	require.NotNil(t, atom)
	require.Zero(t, atom.Participants(), "nobody is waited for")
	for _, op := range log.submits[0].ops {
		require.Same(t, atom, op.Atom)
	}
	require.EqualValues(t, 1, log.submits[0].ops[0].Deliveries)
	log.commit(1)
	next := log.crash()
	r = newQuorum(t, next, nil, nil)
	got, reply := r.getLate(next, rand.New(rand.NewPCG(1, 1)))
	require.Equal(t, "1", got.body)
	require.EqualValues(t, 1, reply.Count)
}

func TestMessagesWhoseBodiesLeftMemoryMoveInOrder(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 1))
	log := newFakeLog()
	r := newQuorum(t, log, nil, func(_ *Spec, env *HostEnv) { env.Memory = Bounds{Messages: 2} })
	r.post(bodies1to(6)...)
	var held []received
	for range 6 {
		got, _ := r.getLate(log, rnd)
		held = append(held, got)
	}
	require.Less(t, r.inMemory(), 3)
	r.settle(Requeue, held...)
	require.Equal(t, 6, r.stat().Ready, "those that are on their way count")
	log.settleAll(rnd)
	in := r.consume(Consumer{NoAck: true})
	log.settleAll(rnd)
	in.want(bodies1to(6)...)
	log.settleAll(rnd)
	require.Empty(t, log.left())
	r.deleteAndBalance()
}

// What comes back goes to consumers before it is too much (rules.lateDrop), and that its
// body is no longer in memory changes nothing.
func TestWhatComesBackIsNotDroppedWhileItIsLoadedForAConsumer(t *testing.T) {
	t.Parallel()
	for _, o := range []Outcome{Return, Requeue} {
		rnd := rand.New(rand.NewPCG(1, 1))
		log := newFakeLog()
		r := newQuorum(t, log, args("x-max-length", int32(0)), func(_ *Spec, env *HostEnv) {
			env.Memory = Bounds{Messages: 1}
		})
		first, second := r.consume(Consumer{Tag: "a", Prefetch: 3}), r.consume(Consumer{Tag: "b", Prefetch: 1})
		r.post(bodies1to(4)...)
		log.settleAll(rnd)
		second.want("2")
		held := first.want("1", "3", "4")
		require.Less(t, r.inMemory(), 3)
		r.settle(o, held...)
		log.settleAll(rnd)
		held = first.want("1", "3", "4")
		r.h.CancelEnded(first.id)
		r.settle(o, held...)
		log.settleAll(rnd)
		require.Empty(t, second.take(), "it is full")
		require.Zero(t, r.stat().Ready, "nobody can take them")
		require.Len(t, log.left(), 1)
		r.deleteAndBalance()
	}
}

func TestWhatComesToTheEndOfAQueueStillExpires(t *testing.T) {
	bubble(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 1))
		log := newFakeLog()
		r := newQuorum(t, log, nil, func(_ *Spec, env *HostEnv) { env.Memory = Bounds{Messages: 1} })
		post := func(body string, ttl int64) {
			b := NewBatch()
			p := r.publish(body, true)
			p.Msg.SetTTL(ttl)
			b.Publish(p)
			r.h.Post(b)
		}
		var held []received
		for _, body := range bodies1to(3) {
			post(body, 1000)
			log.settleAll(rnd)
			got, _ := r.getLate(log, rnd)
			held = append(held, got)
		}
		require.Equal(t, 1, r.inMemory())
		r.settle(Ack, held[0])
		r.settle(Requeue, held[1:]...)
		require.Equal(t, 2, r.stat().Ready)
		post("gone", 0) // so that there was nothing left for a moment that could expire
		log.settleAll(rnd)
		require.Equal(t, 2, r.stat().Ready)
		wait(2 * time.Second)
		log.settleAll(rnd)
		require.Zero(t, r.stat().Ready)
		require.Empty(t, log.left())
		r.deleteAndBalance()
	})
}

// What comes back to a quorum queue stands behind what came back before, so that its body
// is not needed soon.
func TestWhatComesBackInTurnDoesNotFillTheMemory(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 1))
	log := newFakeLog()
	r := newQuorum(t, log, args(argDeliveryLimit, int32(100)), func(_ *Spec, env *HostEnv) { env.Memory = Bounds{Messages: 2} })
	const n = 30
	r.post(bodies1to(n)...)
	get := func(n int) (held []received) {
		for range n {
			got, _ := r.getLate(log, rnd)
			held = append(held, got)
		}
		return held
	}
	r.settle(Requeue, get(n)...)
	for range n {
		r.settle(Requeue, get(2)...)
		log.settleAll(rnd)
		checkMemory(t, r.h)
	}
	require.Less(t, r.inMemory(), 6)
	require.Equal(t, bodies1to(n), bodiesOf(get(n)))
	r.deleteAndBalance()
}

// So many are on their way to the end of the queue that nothing expires for now. What has
// expired is then at the head, and nobody gets it, so that they do not wait for it either.
func TestWhatHasExpiredDoesNotHoldUpWhatMovesToTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 1))
		log := newFakeLog()
		r := newQuorum(t, log, args("x-max-length", int32(1<<20), "x-dead-letter-exchange", "dlx"), func(_ *Spec, env *HostEnv) {
			env.Memory = Bounds{Messages: 1}
		})
		all := bodies1to(burst.Messages + 1)
		first := r.consume(Consumer{Tag: "a", Prefetch: len(all)})
		r.post(all...)
		log.settleAll(rnd)
		held := first.want(all...)

		gone := r.consume(Consumer{Tag: "b", Prefetch: 2})
		r.post("x")
		b := NewBatch()
		mortal := r.publish("y", true)
		mortal.Msg.SetTTL(1000)
		b.Publish(mortal)
		r.h.Post(b)
		log.settleAll(rnd)
		returned := gone.want("x", "y")
		r.h.CancelEnded(gone.id)
		r.settle(Return, returned...)
		log.settleAll(rnd)

		in := r.consume(Consumer{Tag: "c", Prefetch: 5})
		r.h.Cancel(first.id)
		r.settle(Requeue, held...)
		wait(2 * time.Second)
		log.settleAll(rnd)
		in.want("x", "1", "2", "3", "4")
		r.deleteAndBalance()
	})
}
