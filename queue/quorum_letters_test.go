package queue

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// letterRig is a quorum queue that sends dead letters at least once, with its store.
type letterRig struct {
	*rig
	t         *testing.T
	log       *fakeLog
	rnd       *rand.Rand // of the order in which the store answers
	letters   letters
	arguments message.Table
}

func newLetterRig(t *testing.T, a ...any) *letterRig {
	a = append([]any{argDeadLetterExchange, "d", "x-dead-letter-strategy", "at-least-once", "x-overflow", "reject-publish"}, a...)
	r := &letterRig{t: t, log: newFakeLog(), rnd: rand.New(rand.NewPCG(1, 1)), arguments: args(a...)}
	r.open()
	return r
}

// open opens the queue with what the store has.
func (r *letterRig) open() {
	r.rig = newQuorum(r.t, r.log, r.arguments, func(_ *Spec, env *HostEnv) { env.DeadLetter = r.letters.take })
	r.letters.r = r.rig
}

// crash ends the run of the broker; what its letters became does not matter any more.
func (r *letterRig) crash() {
	r.log = r.log.crash()
	r.h.StopTimer()
	r.letters.taken()
}

// answer lets the store answer all that it is asked.
func (r *letterRig) answer() { r.log.settleAll(r.rnd) }

// target gives a queue to which the letters go from now on.
func (r *letterRig) target() *rig {
	target, _ := newRuled(r.t, nil, named("target"))
	r.letters.sendTo(target.h)
	return target
}

// wantFew checks that few letters are under way and few in memory.
func (r *letterRig) wantFew() {
	require.Len(r.t, r.letters.taken(), maxLetters)
	inMemory := 0
	for _, x := range r.h.q.(*quorum).letters.byID {
		if x.msg != nil {
			inMemory++
		}
	}
	require.LessOrEqual(r.t, inMemory, 2*maxLetters+1)
}

func TestADeadLetterStaysUntilAllOfItsQueuesHaveIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newLetterRig(t, "x-max-length", int32(9))
		ready, _ := newRuled(t, nil, named("ready"))
		full, _ := newRuled(t, args("x-max-length", int32(0), "x-overflow", "reject-publish"), named("full"))
		r.post("1", "2")
		r.answer()
		got, _ := r.get(false)
		r.settle(Discard, got)
		r.answer()
		require.Equal(t, []string{"1 rejected d "}, r.letters.taken())
		require.Equal(t, []string{"1", "2"}, r.log.left(), "nobody takes it")
		require.Equal(t, Stat{Ready: 1, ReadyBytes: 1}, r.stat())
		wait(retryLetter - time.Second)
		require.Empty(t, r.letters.taken())

		r.letters.sendTo(ready.h, full.h)
		wait(2 * time.Second)
		r.answer()
		require.Equal(t, []string{"1 rejected d "}, r.letters.taken())
		require.Equal(t, 1, ready.stat().Ready)
		require.Equal(t, []string{"1", "2"}, r.log.left(), "one refused it")

		roomy, _ := newRuled(t, nil, named("roomy"))
		r.letters.sendTo(ready.h, roomy.h)
		wait(retryLetter + time.Second)
		r.answer()
		require.Len(t, r.letters.taken(), 1)
		require.Equal(t, 1, ready.stat().Ready, "it has it already")
		require.Equal(t, 1, roomy.stat().Ready)
		require.Equal(t, []string{"2"}, r.log.left())
		wait(2 * retryLetter)
		require.Empty(t, r.letters.taken())
		for _, x := range []*rig{ready, full, roomy, r.rig} {
			x.deleteAndBalance()
		}
	})
}

// named names a queue.
func named(name string) func(*Spec, *HostEnv) { return func(s *Spec, _ *HostEnv) { s.Name = name } }

func TestDeadLettersSurviveARestartWithTheirReason(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newLetterRig(t, argDeliveryLimit, int32(0))
		b := NewBatch()
		p := r.publish("expired", false)
		p.Msg.SetTTL(5)
		b.Publish(p)
		r.h.Post(b)
		r.answer()
		wait(10 * time.Millisecond)
		r.post("rejected", "returned", "good")
		for _, o := range []Outcome{Discard, Return} {
			got, _ := r.getLate(r.log, r.rnd)
			r.settle(o, got)
		}
		r.answer()
		require.Len(t, r.letters.taken(), 3)

		r.crash()
		r.open()
		r.answer()
		require.Equal(t, []string{"expired expired d ", "rejected rejected d ", "returned delivery_limit d "}, r.letters.taken())
		require.Equal(t, 1, r.stat().Ready)
		target := r.target()
		wait(retryLetter + time.Second)
		r.answer()
		require.Equal(t, []string{"good"}, r.log.left())
		require.Equal(t, []string{"expired", "rejected", "returned"}, target.drain())
		target.deleteAndBalance()
		r.deleteAndBalance()
	})
}

func TestOnlySoManyDeadLettersAreUnderWayAndTheRestWaitsInTheStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newLetterRig(t)
		const n = 4 * maxLetters
		r.post(bodies1to(n)...)
		r.answer()
		in := r.consume(Consumer{})
		r.settle(Discard, in.want(bodies1to(n)...)...)
		r.answer()
		r.wantFew()
		target := r.target()
		wait(retryLetter + time.Second)
		for range n {
			r.answer()
			wait(time.Millisecond)
		}
		require.Empty(t, r.log.left())
		require.Equal(t, bodies1to(n), target.drain(), "in the order in which they died")
		target.deleteAndBalance()
		r.deleteAndBalance()
	})
}

// A letter may die before the store has its message: it leaves memory later then.
func TestLettersThatWaitLeaveMemoryOnceTheStoreHasThem(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newLetterRig(t)
		const n = 8 * maxLetters
		in := r.consume(Consumer{})
		r.post(bodies1to(n)...)
		r.settle(Discard, in.want(bodies1to(n)...)...)
		r.answer()
		r.wantFew()
		target := r.target()
		wait(retryLetter + time.Second)
		r.answer()
		require.Empty(t, r.log.left())
		require.Equal(t, bodies1to(n), target.drain(), "in the order in which they died")
		target.deleteAndBalance()
		r.deleteAndBalance()
	})
}

// What stands between two letters is read with them, and must not be more than one
// load may bring.
func TestALoadOfLettersIsBoundedByAllThatItReads(t *testing.T) {
	t.Parallel()
	r := newLetterRig(t)
	const between = 2 * loadMessages
	r.post(bodies1to(between + 2)...)
	r.answer()
	in := r.consume(Consumer{Prefetch: between + 2})
	held := in.want(bodies1to(between + 2)...)
	r.settle(Discard, held[0], held[between+1])
	r.answer()
	r.crash()
	r.open()
	require.Len(t, r.log.loads, 1)
	require.Zero(t, r.log.loads[0].r.To-r.log.loads[0].r.From, "not to the other one")
	r.answer()
	require.Len(t, r.letters.taken(), 2)
	r.deleteAndBalance()
}

func TestDeadLettersThatCannotBeLoadedAreAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newLetterRig(t)
		r.post("1")
		r.answer()
		got, _ := r.get(false)
		r.settle(Discard, got)
		r.answer()
		r.crash()
		r.log.failLoad[1] = errDisk
		target := r.target()
		r.open()
		r.answer()
		require.Equal(t, 1, r.log.loadsSoFar(), "not at once")
		require.Empty(t, r.letters.taken())
		wait(retryLoad + time.Millisecond)
		r.answer()
		require.Len(t, r.letters.taken(), 1)
		r.answer()
		require.Empty(t, r.log.left())
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
	r := newLetterRig(t)
	target := r.target()
	require.NoError(t, target.h.Delete(false, false, nil))
	r.post("1")
	r.answer()
	got, _ := r.get(false)
	r.settle(Discard, got)
	r.answer()
	require.Equal(t, []string{"1"}, r.log.left())
	require.Equal(t, 1, r.h.q.(*quorum).letters.kept.messages)
	r.h.StopTimer()
	r.deleteAndBalance()
}
