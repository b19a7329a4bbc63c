package queue

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// coreOf gives what all queues have of a classic or quorum one.
func coreOf(h *Host) *classic {
	if q, ok := h.q.(*quorum); ok {
		return &q.classic
	}
	return h.q.(*classic)
}

// checkMemory recounts what a classic queue counts of its memory and checks that
// the bounds hold.
func checkMemory(t testing.TB, h *Host) {
	t.Helper()
	q := coreOf(h)
	m := &q.memory
	var warm, bodies, held, settled, settledHeld amount
	perSegment := map[*segment][2]int{}
	q.each(func(seq uint64, s slot) {
		here := s.msg() != nil
		n := perSegment[s.seg]
		n[0]++
		switch {
		case s.dying() && q.letters != nil: // its body may be on its way with a letter
		case s.dying():
			near := 0
			c := q.grave.find(seq, &near)
			require.True(t, c != nil && (c.msg != nil || c.lost || s.is(stored|kept)), "%d is nowhere", seq)
		case !here:
			require.True(t, s.is(stored|kept), "%d is nowhere", seq)
		case s.is(slotHeld):
			require.True(t, q.levels != nil || seq < m.edge, "%d was taken", seq)
			held.add(1, s.size())
			if s.is(kept) {
				settledHeld.add(1, s.size())
			}
		default:
			bodies.add(1, s.size())
			if s.is(kept) {
				settled.add(1, s.size())
			}
		}
		if here {
			n[1]++
		}
		if s.is(slotReady) && seq < q.memory.edge && (here || s.is(loading)) {
			warm.add(1, s.size())
		}
		perSegment[s.seg] = n
	})
	for seg, n := range perSegment {
		require.Equal(t, [2]int{int(seg.live), int(seg.bodies)}, n)
	}
	require.Equal(t, []amount{warm, bodies, held}, []amount{m.warm, m.bodies, m.held})
	require.LessOrEqual(t, len(m.loads), maxLoads)
	// As many as the bound above the edge, below it, and requeued ones; and the
	// head is loaded whether or not there is room.
	if q.levels == nil { // or as much of a level as one load brings
		require.LessOrEqual(t, settled.messages, 3*m.max.Messages+maxLoads)
	}
	require.LessOrEqual(t, settledHeld.messages, m.max.Messages)
}

// bounded is a durable queue that keeps few messages in memory.
func bounded(t testing.TB, b Bounds, kept ...string) (*rig, *fakeLog) {
	log := newFakeLog()
	r := newRig(t, Classic(), func(s *Spec, env *HostEnv) {
		inline(s, env)
		log.with(s, env)
		env.Memory = b
	})
	for i, body := range kept {
		log.put(uint64(100+i), r.message(body, true), i%2 == 1)
	}
	log.recoverIn(3, nil)
	return r, log
}

// inMemory counts the bodies that the queue itself holds.
func (r *rig) inMemory() int {
	n := 0
	coreOf(r.h).each(func(_ uint64, s slot) {
		if s.msg() != nil {
			n++
		}
	})
	return n
}

func TestBodiesBeyondTheBoundLeaveMemoryOnceTheyAreStored(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]Bounds{"messages": {Messages: 4}, "octets": {Octets: 4}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, log := bounded(t, b)
			r.postStored(bodies1to(9)...)
			require.Equal(t, 9, r.inMemory(), "they are not safe yet")
			log.commit(1)
			require.Equal(t, 4, r.inMemory())
			in := r.consume(Consumer{NoAck: true})
			in.want("1", "2", "3", "4") // the head stayed
			log.settleAll(rand.New(rand.NewPCG(1, 1)))
			in.want("5", "6", "7", "8", "9")
			require.Empty(t, log.left())
			r.deleteAndBalance()
		})
	}
}

func TestTransientMessagesArePagedOutBeyondTheBoundOnly(t *testing.T) {
	t.Parallel()
	r, log := bounded(t, Bounds{Messages: 4})
	r.post("1", "2", "3", "4")
	require.Empty(t, log.journal)
	r.post("5", "6")
	r.answers.want(seqs(1, 6), nil) // they do not wait for the store
	require.Equal(t, []string{"page out 4", "page out 5"}, log.journal)
	log.commit(1)
	require.Equal(t, 4, r.inMemory())
	in := r.consume(Consumer{Prefetch: 5})
	log.settleAll(rand.New(rand.NewPCG(1, 1)))
	r.settle(Ack, in.want("1", "2", "3", "4", "5")...)
	in.want("6")
	log.commit(9)
	require.Equal(t, []string{"page out 4", "page out 5", "remove 4"}, log.journal)
	r.deleteAndBalance()
}

func TestTransientMessagesDoNotComeBackAfterARestart(t *testing.T) {
	t.Parallel()
	r, log := bounded(t, Bounds{Messages: 1})
	r.post("1", "2", "3")
	r.postStored("4")
	log.commit(9)
	next := log.crash()
	require.Equal(t, []string{"4"}, next.left())
	next.clear()
	require.NoError(t, r.h.Delete(false, false, nil))
	r.balance()
}

// A queue that is not durable may have a log to page to.
func TestAQueueThatIsNotDurablePagesWhateverItGets(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	r := newRig(t, Classic(), func(s *Spec, env *HostEnv) {
		inline(s, env)
		env.Log, env.Memory = log, Bounds{Messages: 2}
	})
	log.recoverIn(1, nil)
	r.postStored("1", "2", "3")
	r.answers.want(seqs(1, 3), nil)
	require.Equal(t, []string{"page out 2"}, log.journal)
	r.deleteAndBalance()
}

// Who takes without end and never acknowledges must not fill the memory.
func TestBodiesOfHeldMessagesAreBounded(t *testing.T) {
	t.Parallel()
	r, log := bounded(t, Bounds{Messages: 4})
	in := r.consume(Consumer{})
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 10 {
		r.postStored(fmt.Sprint(2 * i))
		r.post(fmt.Sprint(2*i + 1))
		log.settleAll(rnd)
		checkMemory(t, r.h)
	}
	got := in.take()
	require.Len(t, got, 20)
	require.LessOrEqual(t, r.inMemory(), 4)
	r.h.Cancel(in.id)
	r.settle(Requeue, got...)
	again := r.consume(Consumer{})
	log.settleAll(rnd)
	var want []string
	for _, d := range got {
		want = append(want, d.body)
	}
	for _, d := range again.want(want...) {
		require.True(t, d.redelivered)
	}
	r.deleteAndBalance()
}

// What is delivered next is asked for before the queue runs dry.
func TestTheNextRangeIsLoadedBeforeTheQueueRunsDry(t *testing.T) {
	t.Parallel()
	r, log := bounded(t, Bounds{Messages: 8}, bodies1to(40)...)
	in := r.consume(Consumer{Prefetch: 1})
	rnd := rand.New(rand.NewPCG(1, 1))
	log.settleAll(rnd)
	for i := range 40 {
		held := in.want(fmt.Sprint(i + 1)) // without waiting for the log
		r.settle(Ack, held...)
		if i%3 == 0 {
			log.settleAll(rnd)
		}
		checkMemory(t, r.h)
	}
	log.settleAll(rnd)
	require.Greater(t, log.loaded, 5)
	require.Less(t, log.loaded, 15)
	r.deleteAndBalance()
}

func TestNothingIsLoadedWhileNobodyTakes(t *testing.T) {
	t.Parallel()
	r, log := bounded(t, Bounds{Messages: 8}, bodies1to(40)...)
	r.postStored("new")
	require.Zero(t, log.loaded)
	in := r.consume(Consumer{Prefetch: 1})
	log.settleAll(rand.New(rand.NewPCG(1, 1)))
	in.want("1")
	r.h.Cancel(in.id)
	loaded := log.loaded
	r.settle(Ack, received{id: 100})
	n, err := r.h.Purge()
	require.NoError(t, err)
	require.Equal(t, 40, n)
	require.Equal(t, loaded, log.loaded)
	r.deleteAndBalance()
}

func TestALoadIsBoundedByOctets(t *testing.T) {
	t.Parallel()
	r, log := newStoredRig(t)
	body := string(make([]byte, loadOctets/2))
	for i := range 6 {
		log.put(uint64(i), r.message(body, true), false)
	}
	log.put(6, r.message(body+body+body, true), false)
	log.put(7, r.message("small", true), false)
	log.recoverIn(9, nil)
	in := r.consume(Consumer{NoAck: true})
	for len(log.loads) > 0 {
		l := log.loads[0]
		require.True(t, l.r.To-l.r.From < 2 && (l.r.To < 6 || l.r.To == l.r.From), "%v", l.r)
		log.load()
	}
	require.Len(t, in.take(), 8)
	r.deleteAndBalance()
}

func TestAPurgeTakesRangesOffTheStore(t *testing.T) {
	t.Parallel()
	r, log := bounded(t, Bounds{Messages: 2})
	in := r.consume(Consumer{Prefetch: 2})
	r.postStored("1", "2", "3", "4", "5")
	r.post("6")
	r.postStored("7", "8")
	held := in.want("1", "2")
	log.settleAll(rand.New(rand.NewPCG(1, 1)))
	r.settle(Requeue, held[0])
	in.want("1")
	before := len(log.journal)
	n, err := r.h.Purge()
	require.NoError(t, err)
	require.Equal(t, 6, n)
	require.Equal(t, []string{"remove 2"}, log.journal[before:])
	log.settleAll(rand.New(rand.NewPCG(1, 1)))
	require.Equal(t, []string{"1", "2"}, log.left())
	checkMemory(t, r.h)
	r.settle(Requeue, held[1])
	r.postStored("9")
	log.settleAll(rand.New(rand.NewPCG(1, 1)))
	in.want("2")
	r.deleteAndBalance()
}

// What could not be stored never counts as stored: it stays in memory, and the
// store is not asked to remove it.
func TestWhatTheStoreRefusedStaysInMemory(t *testing.T) {
	t.Parallel()
	r, log := bounded(t, Bounds{Messages: 1})
	log.failSubmit[1], log.failSubmit[2], log.failSubmit[3] = errDisk, errDisk, errDisk
	b := NewBatch()
	for _, body := range []string{"1", "2", "3"} {
		b.Publish(Publish{Msg: r.message(body, true)}) // nobody waits for an answer
	}
	r.h.Post(b)
	r.post("4", "5")
	r.postStored("rejected")
	log.settleAll(rand.New(rand.NewPCG(1, 1)))
	r.answers.want(seqs(1, 2), seqs(3, 3))
	require.Equal(t, 5, r.inMemory())
	asked := len(log.journal)
	in := r.consume(Consumer{NoAck: true})
	in.want("1", "2", "3", "4", "5")
	require.Len(t, log.journal, asked)
	r.deleteAndBalance()
}

func TestARemoveThatFailedIsAskedAgainWhenTheStoreWorks(t *testing.T) {
	t.Parallel()
	r, log := bounded(t, Bounds{}, "1", "2", "3")
	in := r.consume(Consumer{Prefetch: 1})
	log.load()
	log.failSubmit[2], log.failSubmit[3] = errDisk, errDisk
	r.settle(Ack, in.want("1")...)
	n, err := r.h.Purge()
	require.NoError(t, err)
	require.Equal(t, 1, n)
	r.settle(Ack, in.want("2")...)
	log.settleAll(rand.New(rand.NewPCG(1, 1)))
	require.Empty(t, log.left())
	r.deleteAndBalance()
}

// After a restart there is nothing of an atom that failed, also if the store works
// again before.
func TestARemoveOfAnAtomThatFailedIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	r, log := bounded(t, Bounds{}, "1", "2")
	in := r.consume(Consumer{})
	log.load()
	held := in.want("1", "2")
	log.settleAll(rand.New(rand.NewPCG(1, 1)))
	log.failSubmit[log.submitted+1] = errDisk
	a, _ := wholeAtom(1)
	b := NewBatch()
	b.Settle(Settle{ID: held[0].id, Consumer: held[0].consumer, Outcome: Ack, Atom: a})
	r.h.Post(b)
	r.settle(Ack, held[1])
	log.settleAll(rand.New(rand.NewPCG(1, 1)))
	require.Equal(t, []string{"1"}, log.left())
	r.deleteAndBalance()
}

// A persistent message that a consumer takes at once needs no store.
func TestAPersistentMessagePassesStraightThrough(t *testing.T) {
	t.Parallel()
	r, log := bounded(t, Bounds{})
	in := r.consume(Consumer{NoAck: true})
	r.postStored("1", "2")
	in.want("1", "2")
	r.answers.want(seqs(1, 2), nil)
	require.Empty(t, log.journal)
	r.deleteAndBalance()
}

func TestALoadAheadThatFailsLeavesWhatIsInMemoryAlone(t *testing.T) {
	t.Parallel()
	r, log := bounded(t, Bounds{Messages: 4})
	r.postStored(bodies1to(9)...)
	log.commit(1)
	log.failLoad[1], log.failLoad[2] = errDisk, errDisk
	in := r.consume(Consumer{NoAck: true})
	in.want("1", "2", "3", "4")
	for i := range 2 {
		require.True(t, log.load())
		require.Empty(t, log.loads, "it must not spin")
		if i == 0 {
			r.postStored("10") // something happens
		}
	}
	in.want()
	log.settleAll(rand.New(rand.NewPCG(1, 1)))
	in.want("5", "6", "7", "8", "9", "10")
	r.deleteAndBalance()
}

// A store that fails for good, from some moment on, takes nothing with it: what is
// in memory goes on, and every reference comes back.
func TestAStoreThatFailsForGood(t *testing.T) {
	t.Parallel()
	r, log := bounded(t, Bounds{Messages: 3}, bodies1to(9)...)
	rnd := rand.New(rand.NewPCG(1, 1))
	in := r.consume(Consumer{Prefetch: 2})
	log.settleAll(rnd)
	held := in.want("1", "2")
	for i := range 1000 {
		log.failSubmit[log.submitted+1+i], log.failLoad[log.loaded+1+i] = errDisk, errDisk
	}
	r.postStored("a", "b")
	r.post("c", "d", "e", "f")
	r.settle(Requeue, held[0])
	log.settleAll(rnd)
	r.answers.want(seqs(3, 6), seqs(1, 2))
	r.settle(Ack, append(in.want("1"), held[1])...)
	log.settleAll(rnd)
	r.settle(Ack, in.want("3", "4")...) // they were in memory
	log.settleAll(rnd)
	r.settle(Ack, in.want("5")...)
	log.settleAll(rnd)
	in.want()
	require.Equal(t, Stat{Ready: 4 + 4, ReadyBytes: 4 + 4, Consumers: 1}, r.stat())
	checkMemory(t, r.h)
	r.deleteAndBalance()
}
