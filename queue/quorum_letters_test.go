package queue

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// letterQueue is a quorum queue that sends dead letters at least once.
func letterQueue(t *testing.T, log *fakeLog, l *letters, a ...any) *rig {
	a = append([]any{argDeadLetterExchange, "d", "x-dead-letter-strategy", "at-least-once", "x-overflow", "reject-publish"}, a...)
	l.r = newQuorum(t, log, args(a...), func(_ *Spec, env *HostEnv) {
		env.DeadLetter = l.take
	})
	return l.r
}

func TestADeadLetterStaysUntilAllOfItsQueuesHaveIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 1))
		log := newFakeLog()
		l := &letters{}
		r := letterQueue(t, log, l, "x-max-length", int32(9))
		ready, _ := newRuled(t, nil, named("ready"))
		full, _ := newRuled(t, args("x-max-length", int32(0), "x-overflow", "reject-publish"), named("full"))
		r.post("1", "2")
		log.settleAll(rnd)
		got, _ := r.get(false)
		r.settle(Discard, got)
		log.settleAll(rnd)
		require.Equal(t, []string{"1 rejected d "}, l.taken())
		require.Equal(t, []string{"1", "2"}, log.left(), "nobody takes it")
		require.Equal(t, Stat{Ready: 1, ReadyBytes: 1}, r.stat())
		wait(retryLetter - time.Second)
		require.Empty(t, l.taken())

		l.sendTo(ready.h, full.h)
		wait(2 * time.Second)
		log.settleAll(rnd)
		require.Equal(t, []string{"1 rejected d "}, l.taken())
		require.Equal(t, 1, ready.stat().Ready)
		require.Equal(t, []string{"1", "2"}, log.left(), "one refused it")

		roomy, _ := newRuled(t, nil, named("roomy"))
		l.sendTo(ready.h, roomy.h)
		wait(retryLetter + time.Second)
		log.settleAll(rnd)
		require.Len(t, l.taken(), 1)
		require.Equal(t, 1, ready.stat().Ready, "it has it already")
		require.Equal(t, 1, roomy.stat().Ready)
		require.Equal(t, []string{"2"}, log.left())
		wait(2 * retryLetter)
		require.Empty(t, l.taken())
		for _, x := range []*rig{ready, full, roomy, r} {
			x.deleteAndBalance()
		}
	})
}

// named names a queue.
func named(name string) func(*Spec, *HostEnv) { return func(s *Spec, _ *HostEnv) { s.Name = name } }

func TestDeadLettersSurviveARestartWithTheirReason(t *testing.T) {
	bubble(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 1))
		log := newFakeLog()
		l := &letters{}
		limit := []any{argDeliveryLimit, int32(0)}
		r := letterQueue(t, log, l, limit...)
		b := NewBatch()
		p := r.publish("expired", false)
		p.Msg.SetTTL(5)
		b.Publish(p)
		r.h.Post(b)
		log.settleAll(rnd)
		wait(10 * time.Millisecond)
		r.post("rejected", "returned", "good")
		for _, o := range []Outcome{Discard, Return} {
			got, _ := r.getLate(log, rnd)
			r.settle(o, got)
		}
		log.settleAll(rnd)
		require.Len(t, l.taken(), 3)

		log = log.crash()
		r.h.StopTimer()
		l.sendTo()
		r = letterQueue(t, log, l, limit...)
		log.settleAll(rnd)
		require.Equal(t, []string{"expired expired d ", "rejected rejected d ", "returned delivery_limit d "}, l.taken())
		require.Equal(t, 1, r.stat().Ready)
		target, _ := newRuled(t, nil, named("target"))
		l.sendTo(target.h)
		wait(retryLetter + time.Second)
		log.settleAll(rnd)
		require.Equal(t, []string{"good"}, log.left())
		require.Equal(t, []string{"expired", "rejected", "returned"}, target.drain())
		target.deleteAndBalance()
		r.deleteAndBalance()
	})
}

func TestOnlySoManyDeadLettersAreUnderWayAndTheRestWaitsInTheStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 1))
		log := newFakeLog()
		l := &letters{}
		r := letterQueue(t, log, l)
		const n = 4 * maxLetters
		r.post(bodies1to(n)...)
		log.settleAll(rnd)
		in := r.consume(Consumer{})
		r.settle(Discard, in.want(bodies1to(n)...)...)
		log.settleAll(rnd)
		require.Len(t, l.taken(), maxLetters)
		q := r.h.q.(*quorum)
		inMemory := 0
		for _, x := range q.letters.byID {
			if x.msg != nil {
				inMemory++
			}
		}
		require.LessOrEqual(t, inMemory, 2*maxLetters+1)
		target, _ := newRuled(t, nil, named("target"))
		l.sendTo(target.h)
		wait(retryLetter + time.Second)
		for range n {
			log.settleAll(rnd)
			wait(time.Millisecond)
		}
		require.Empty(t, log.left())
		require.Equal(t, bodies1to(n), target.drain(), "in the order in which they died")
		target.deleteAndBalance()
		r.deleteAndBalance()
	})
}

// A letter may die before the store has its message: it leaves memory later then.
func TestLettersThatWaitLeaveMemoryOnceTheStoreHasThem(t *testing.T) {
	bubble(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 1))
		log := newFakeLog()
		l := &letters{}
		r := letterQueue(t, log, l)
		const n = 8 * maxLetters
		in := r.consume(Consumer{})
		r.post(bodies1to(n)...)
		r.settle(Discard, in.want(bodies1to(n)...)...)
		log.settleAll(rnd)
		require.Len(t, l.taken(), maxLetters)
		inMemory := 0
		for _, x := range r.h.q.(*quorum).letters.byID {
			if x.msg != nil {
				inMemory++
			}
		}
		require.LessOrEqual(t, inMemory, 2*maxLetters+1)
		target, _ := newRuled(t, nil, named("target"))
		l.sendTo(target.h)
		wait(retryLetter + time.Second)
		log.settleAll(rnd)
		require.Empty(t, log.left())
		require.Equal(t, bodies1to(n), target.drain(), "in the order in which they died")
		target.deleteAndBalance()
		r.deleteAndBalance()
	})
}

// What stands between two letters is read with them, and must not be more than one
// load may bring.
func TestALoadOfLettersIsBoundedByAllThatItReads(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 1))
	log := newFakeLog()
	l := &letters{}
	r := letterQueue(t, log, l)
	const between = 2 * loadMessages
	r.post(bodies1to(between + 2)...)
	log.settleAll(rnd)
	in := r.consume(Consumer{Prefetch: between + 2})
	held := in.want(bodies1to(between + 2)...)
	r.settle(Discard, held[0], held[between+1])
	log.settleAll(rnd)
	log = log.crash()
	l.taken()
	r = letterQueue(t, log, l)
	require.Len(t, log.loads, 1)
	require.Zero(t, log.loads[0].r.To-log.loads[0].r.From, "not to the other one")
	log.settleAll(rnd)
	require.Len(t, l.taken(), 2)
	r.deleteAndBalance()
}

func TestDeadLettersThatCannotBeLoadedAreAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 1))
		log := newFakeLog()
		l := &letters{}
		r := letterQueue(t, log, l)
		r.post("1")
		log.settleAll(rnd)
		got, _ := r.get(false)
		r.settle(Discard, got)
		log.settleAll(rnd)
		log = log.crash()
		r.h.StopTimer()
		l.taken()
		log.failLoad[1] = errDisk
		target, _ := newRuled(t, nil, named("target"))
		l.sendTo(target.h)
		r = letterQueue(t, log, l)
		log.settleAll(rnd)
		require.Equal(t, 1, log.loadsSoFar(), "not at once")
		require.Empty(t, l.taken())
		wait(retryLoad + time.Millisecond)
		log.settleAll(rnd)
		require.Len(t, l.taken(), 1)
		log.settleAll(rnd)
		require.Empty(t, log.left())
		target.deleteAndBalance()
		r.deleteAndBalance()
	})
}

func TestAPolicyThatEndsAtLeastOnceLetsTheLettersGo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policy message.Table
		died   int
	}{
		"once":     {message.Table{{Name: "dead-letter-exchange", Value: "other"}}, 2},
		"nowhere":  {nil, 0},
		"no limit": {message.Table{{Name: "dead-letter-exchange", Value: "d"}, {Name: "overflow", Value: "drop-head"}}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(1, 1))
			log := newFakeLog()
			l := &letters{}
			l.r = newQuorum(t, log, args("x-dead-letter-strategy", "at-least-once"), func(_ *Spec, env *HostEnv) {
				env.DeadLetter = l.take
				env.Policy = message.Table{{Name: "dead-letter-exchange", Value: "d"}, {Name: "overflow", Value: "reject-publish"}}
			})
			r := l.r
			r.post("1", "2", "3")
			log.settleAll(rnd)
			in := r.consume(Consumer{Prefetch: 2})
			r.settle(Discard, in.want("1", "2")...)
			in.want("3")
			log.settleAll(rnd)
			require.Len(t, l.taken(), 2)
			r.h.SetPolicy(c.policy)
			log.settleAll(rnd)
			require.Len(t, l.taken(), c.died)
			require.Equal(t, []string{"3"}, log.left())
			r.deleteAndBalance()
		})
	}
}

func TestMarksOfTheDead(t *testing.T) {
	t.Parallel()
	for _, why := range deadReasons {
		require.Equal(t, why, markedDead(markOf(why)))
	}
	for _, n := range []uint32{0, 1, 1 << 31, deadMark - 1, deadMark + 3} {
		require.Empty(t, markedDead(n), fmt.Sprint(n))
	}
}

func TestAQueueThatIsGoneHasTakenNoDeadLetter(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	rnd := rand.New(rand.NewPCG(1, 1))
	l := &letters{}
	r := letterQueue(t, log, l)
	target, _ := newRuled(t, nil, named("target"))
	l.sendTo(target.h)
	require.NoError(t, target.h.Delete(false, false, nil))
	r.post("1")
	log.settleAll(rnd)
	got, _ := r.get(false)
	r.settle(Discard, got)
	log.settleAll(rnd)
	require.Equal(t, []string{"1"}, log.left())
	require.Equal(t, 1, r.h.q.(*quorum).letters.kept.messages)
	r.h.StopTimer()
	r.deleteAndBalance()
}
