package queue

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

// newQuorum hosts a quorum queue with arguments; log may be nil.
func newQuorum(t testing.TB, log *fakeLog, a message.Table, change func(*Spec, *HostEnv)) *rig {
	t.Helper()
	r := newRig(t, Quorum(), func(s *Spec, env *HostEnv) {
		inline(s, env)
		s.Durable, s.Arguments = true, a
		if log != nil {
			log.with(s, env)
		}
		if change != nil {
			change(s, env)
		}
	})
	if log != nil {
		log.recoverIn(3, nil)
	}
	return r
}

// drain takes all that is ready.
func (r *rig) drain() []string {
	var bodies []string
	for {
		got, reply := r.get(true)
		if reply.Msg == nil {
			return bodies
		}
		bodies = append(bodies, got.body)
	}
}

func TestAQuorumQueueConfirmsWhatTheStoreHasAndNothingEarlier(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	r := newQuorum(t, log, nil, nil)
	in := r.consume(Consumer{NoAck: true})
	r.post("transient", "no-ack")
	in.want("transient", "no-ack")
	r.h.Cancel(in.id)
	r.post("acked")
	got, _ := r.get(false)
	r.settle(Ack, got)
	r.postStored("purged")
	_, err := r.h.Purge()
	require.NoError(t, err)
	r.answers.want(nil, nil)
	log.commit(9)
	r.answers.want(seqs(1, 4), nil)
	r.post("refused")
	log.failSubmit[log.submitted] = errDisk
	log.commit(1)
	r.answers.want(seqs(1, 4), seqs(5, 5))
	r.post("deleted")
	require.NoError(t, r.h.Delete(false, false, nil))
	r.answers.want(append(seqs(1, 4), 6), seqs(5, 5))
	r.balance()
}

func TestWithoutAStoreAQuorumQueueConfirmsAtOnce(t *testing.T) {
	t.Parallel()
	r := newQuorum(t, nil, nil, nil)
	r.postStored("1", "2")
	r.answers.want(seqs(1, 2), nil)
	r.deleteAndBalance()
}

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

func TestAFullQuorumQueueRefusesUntilItIsUnderFourFifths(t *testing.T) {
	t.Parallel()
	r := newQuorum(t, nil, args("x-max-length", int32(5), "x-overflow", "reject-publish"), nil)
	r.post(bodies1to(8)...)
	r.answers.want(seqs(1, 6), seqs(7, 8))
	r.get(true)
	r.post("9")
	r.answers.want(seqs(1, 6), seqs(7, 9))

	other := &answers{t: t, verdicts: map[uint64]bool{}}
	b := NewBatch()
	b.Publish(Publish{Msg: r.message("new", false), Ref: message.PublishRef{By: other, Seq: 1}})
	b.Publish(Publish{Msg: r.message("new again", false), Ref: message.PublishRef{By: other, Seq: 2}})
	b.Publish(Publish{Msg: r.message("dead letter", false), Ref: deadLetterRef})
	r.h.Post(b)
	other.want(seqs(1, 1), seqs(2, 2))
	require.Equal(t, 7, r.stat().Ready)

	for range 2 {
		r.get(true)
	}
	r.post("10")
	r.answers.want(seqs(1, 6), seqs(7, 10))
	r.get(true)
	r.post("11")
	r.answers.want(append(seqs(1, 6), 11), seqs(7, 10))
	r.deleteAndBalance()
}

// What goes back to a consumer at once never was too much, though it has to be loaded.
func TestAFullQuorumQueueDoesNotRefuseForWhatIsLoadedForAConsumer(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 1))
	log := newFakeLog()
	r := newQuorum(t, log, args("x-max-length", int32(2), "x-overflow", "reject-publish"), func(_ *Spec, env *HostEnv) {
		env.Memory = Bounds{Messages: 1}
	})
	in := r.consume(Consumer{Prefetch: 2})
	r.post(bodies1to(4)...)
	log.settleAll(rnd)
	held := in.want("1", "2")
	r.settle(Return, held...)
	log.settleAll(rnd)
	in.want("1", "2")
	r.post("5")
	log.settleAll(rnd)
	r.post("6")
	log.settleAll(rnd)
	r.answers.want(seqs(1, 5), []uint64{6})
	r.deleteAndBalance()
}

// What a client requeues was there all the time, though it has to be loaded.
func TestAFullQuorumQueueRefusesWhileItLoadsWhatIsRequeued(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 1))
	log := newFakeLog()
	r := newQuorum(t, log, args("x-max-length", int32(10), "x-overflow", "reject-publish"), func(_ *Spec, env *HostEnv) {
		env.Memory = Bounds{Messages: 1}
	})
	r.post(bodies1to(11)...)
	log.settleAll(rnd)
	in := r.consume(Consumer{Prefetch: 2})
	log.settleAll(rnd)
	held := in.want("1", "2")
	r.settle(Requeue, held[1])
	require.Equal(t, Stat{Ready: 9, Unacked: 2, ReadyBytes: 11, Consumers: 1}, r.stat())
	log.settleAll(rnd)
	in.want("3")
	r.post("12")
	log.settleAll(rnd)
	r.answers.want(seqs(1, 11), []uint64{12})
	r.deleteAndBalance()
}

// RabbitMQ looks how full the queue is after what each consumer settled.
func TestAFullQuorumQueueTakesMoreBetweenWhatTwoConsumersSettle(t *testing.T) {
	t.Parallel()
	r := newQuorum(t, nil, args("x-max-length", int32(5), "x-overflow", "reject-publish"), nil)
	in := r.consume(Consumer{Prefetch: 1})
	r.post(bodies1to(7)...)
	got, _ := r.get(false)
	require.Equal(t, "2", got.body)
	held := in.want("1")
	b := NewBatch()
	b.Settle(Settle{ID: held[0].id, Consumer: held[0].consumer, Outcome: Ack})
	b.Settle(Settle{ID: got.id, Outcome: Requeue})
	r.h.Post(b)
	require.Equal(t, 5, r.stat().Ready)
	r.post("8")
	r.post("9")
	r.answers.want(seqs(1, 8), []uint64{9})
	r.deleteAndBalance()
}

func TestAQuorumQueueRemembersNoMorePublishersThanItNeeds(t *testing.T) {
	t.Parallel()
	r := newQuorum(t, nil, args("x-max-length", int32(5), "x-overflow", "reject-publish"), nil)
	r.post("1", "2", "3", "4")
	q := r.h.q.(*quorum)
	require.Empty(t, q.publishers)
	r.post("5")
	for range 2 * maxPublishers {
		b := NewBatch()
		by := &answers{t: t, verdicts: map[uint64]bool{}}
		b.Publish(Publish{Msg: r.message("m", false), Ref: message.PublishRef{By: by, Seq: 1}})
		r.h.Post(b)
	}
	require.LessOrEqual(t, len(q.publishers), maxPublishers)
	_, err := r.h.Purge()
	require.NoError(t, err)
	require.Empty(t, q.publishers)
	r.deleteAndBalance()
}

func TestWhatAQuorumQueueDoesNotDo(t *testing.T) {
	t.Parallel()
	r := newQuorum(t, nil, args(argSingleActive, true), nil)
	r.post("1")
	_, got := r.get(true)
	var e *reply.Error
	require.ErrorAs(t, got.Err, &e)
	require.Equal(t, reply.ResourceLocked, e.Code)
	require.ErrorAs(t, r.h.Delete(true, true, nil), &e)
	require.Equal(t, reply.NotImplemented, e.Code)
	require.Contains(t, e.Text, "with if-unused flag set")
	require.ErrorAs(t, r.h.Delete(false, true, nil), &e)
	require.Contains(t, e.Text, "with if-empty flag set")
	require.Equal(t, 1, r.stat().Ready, "it goes on")
	r.deleteAndBalance()
}

func TestTheNextSingleActiveConsumerOfAQuorumQueueIsTheOldest(t *testing.T) {
	t.Parallel()
	r := newQuorum(t, nil, args(argSingleActive, true), nil)
	first := r.consume(Consumer{Prefetch: 2})
	second := r.consume(Consumer{})
	third := r.consume(Consumer{Arguments: args(argConsumerPriority, int32(9))})
	r.post("1", "2", "3", "4")
	held := first.want("1", "2")
	require.Equal(t, 3, r.stat().Consumers)
	require.Equal(t, 2, r.stat().Waiting)
	r.h.Cancel(first.id)
	second.want("3", "4")
	require.Equal(t, 3, r.stat().Consumers, "the one that is gone holds something")
	r.settle(Requeue, held...)
	second.want("1", "2")
	require.Equal(t, 2, r.stat().Consumers)
	require.Equal(t, 1, r.stat().Waiting)
	r.h.CancelEnded(second.id)
	third.want()
	r.post("5")
	r.deleteAndBalance()
}

func TestTheEndOfAChannelGivesBackBeforeTheNextOneBegins(t *testing.T) {
	t.Parallel()
	r := newQuorum(t, nil, args(argSingleActive, true), nil)
	first, second := r.consume(Consumer{Prefetch: 2}), r.consume(Consumer{})
	r.post("1", "2", "3")
	held := first.want("1", "2")
	r.h.CancelEnded(first.id)
	second.want()
	r.settle(Return, held...)
	second.want("1", "2", "3")
	r.deleteAndBalance()
}

func TestAQuorumQueueExpiresWhenNobodyHoldsAnything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newQuorum(t, nil, args("x-expires", int32(1000)), nil)
		r.post("1")
		wait(900 * time.Millisecond)
		got, _ := r.get(false)
		wait(5 * time.Second)
		_, err := r.h.Declared()
		require.NoError(t, err, "who holds a message uses the queue")
		r.settle(Ack, got)
		wait(900 * time.Millisecond)
		_, err = r.h.Declared()
		require.NoError(t, err)
		wait(200 * time.Millisecond)
		require.NoError(t, r.gone(), "a declare is no use of it")
		r.balance()
	})
}

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

func TestAPolicyChangesAQuorumQueueAtOnce(t *testing.T) {
	t.Parallel()
	r := newQuorum(t, nil, args("x-max-length", int32(4), argDeliveryLimit, int32(5)), nil)
	r.post(bodies1to(6)...)
	require.Equal(t, 4, r.stat().Ready)
	r.h.SetPolicy(message.Table{{Name: "max-length", Value: int64(3)}, {Name: "delivery-limit", Value: int64(0)}, {Name: "overflow", Value: "reject-publish"}})
	require.Equal(t, 4, r.stat().Ready, "what is refused drops nothing")
	got, _ := r.get(false)
	r.settle(Requeue, got)
	require.Equal(t, 3, r.stat().Ready, "the lower limit ends it")
	r.h.SetPolicy(message.Table{{Name: "max-length", Value: int64(1)}})
	require.Equal(t, 1, r.stat().Ready)
	r.h.SetPolicy(nil)
	r.post("a", "b", "c", "d")
	require.Equal(t, 4, r.stat().Ready)
	r.deleteAndBalance()
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
