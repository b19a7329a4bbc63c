package queue

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// crashRun is the life of a durable queue whose store answers late and sometimes
// fails, and whose broker dies now and then.
type crashRun struct {
	*rig
	t    *testing.T
	rnd  *rand.Rand
	log  *fakeLog
	next int

	ready []string // as they must be delivered
	last  string   // the highest one delivered in this step
	held  []received
	open  []*inbox
	seen  map[string]bool // delivered in this life, or known to have been before
	ever  map[string]bool // delivered in any life
	// persistent are the messages that may come back, with the number of their
	// publish in this life, 0 for recovered ones.
	persistent map[string]uint64
	done       map[string]bool // settled, purged or delivered without acknowledgement
	bounds     Bounds
}

// What was confirmed and not settled is there after a crash, in order and with
// its redelivered flag; nothing else comes that was not published, and nothing
// is delivered twice without having been requeued.
func TestCrashesLoseNothingThatWasConfirmed(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			run := &crashRun{
				t: t, rnd: rand.New(rand.NewPCG(seed, 31)),
				ever: map[string]bool{}, persistent: map[string]uint64{}, done: map[string]bool{},
			}
			if seed%4 > 1 { // everything goes through the store all the time
				run.bounds = Bounds{Messages: 1 + int(seed)%7, Octets: 30}
			}
			run.begin(newFakeLog())
			for range 600 {
				run.step(seed%2 == 1)
			}
			run.finish()
		})
	}
}

// begin starts a life with what a log holds.
func (run *crashRun) begin(log *fakeLog) {
	run.log = log
	run.rig = newRig(run.t, Classic(), func(s *Spec, env *HostEnv) {
		inline(s, env)
		log.with(s, env)
		env.Memory = run.bounds
	})
	run.ready, run.held, run.open = nil, nil, nil
	run.seen = map[string]bool{}
	before := run.persistent
	run.persistent = map[string]uint64{}
	for _, seq := range slices.Sorted(maps.Keys(log.kept)) {
		k := log.kept[seq]
		body := string(k.msg.Body())
		require.Contains(run.t, before, body, "it was never published, or not as persistent")
		if k.redelivered {
			require.True(run.t, run.ever[body], "%s was never delivered", body)
		}
		run.ready = append(run.ready, body)
		run.persistent[body] = 0
		run.seen[body] = k.redelivered
		delete(run.done, body) // its removal was not stored
	}
	require.True(run.t, slices.IsSorted(run.ready))
	log.recoverIn(1+run.rnd.IntN(7), nil)
}

func (run *crashRun) step(failing bool) {
	rnd := run.rnd
	run.last = ""
	switch n := rnd.IntN(200); {
	case n < 60:
		run.publishSome()
	case n < 110 && len(run.held) > 0:
		run.settleSome()
	case n < 120 && len(run.open) < 4:
		in := &inbox{t: run.t}
		c := Consumer{Prefetch: rnd.IntN(5), NoAck: rnd.IntN(6) == 0}
		in.onDeliver = func(ds []Delivery) { run.delivered(ds, c.NoAck) }
		require.NoError(run.t, run.h.Consume(c, in, in.attach, func() {}))
		run.open = append(run.open, in)
	case n < 126 && len(run.open) > 0:
		i := rnd.IntN(len(run.open))
		run.h.Cancel(run.open[i].id)
		run.open = slices.Delete(run.open, i, i+1)
	case n < 127:
		got, err := run.h.Purge()
		require.NoError(run.t, err)
		require.Equal(run.t, len(run.ready), got)
		for _, body := range run.ready {
			run.done[body] = true
		}
		run.ready = nil
	case n < 130:
		run.crash()
	case n < 134:
		run.get(rnd.IntN(2) == 0)
	case n < 137 && failing:
		run.log.failSubmit[run.log.submitted+1] = errDisk
	case n < 140 && failing:
		run.log.failLoad[run.log.loaded+1] = errDisk
	default:
		run.log.step(rnd)
	}
	run.forgetRejected()
	if len(run.ready) > 0 && run.last > run.ready[0] {
		run.t.Fatalf("%s was passed over, %s was delivered", run.ready[0], run.last)
	}
	s := run.stat()
	require.Equal(run.t, len(run.ready), s.Ready)
	require.Equal(run.t, len(run.held), s.Unacked)
	checkMemory(run.t, run.h)
	if run.t.Failed() {
		run.t.FailNow()
	}
}

func (run *crashRun) publishSome() {
	b := NewBatch()
	for range 1 + run.rnd.IntN(6) {
		run.next++
		body := fmt.Sprintf("%06d", run.next)
		p := run.publish(body, run.rnd.IntN(4) > 0)
		if p.Msg.Persistent() {
			run.persistent[body] = p.Ref.Seq
		}
		run.ready = append(run.ready, body)
		b.Publish(p)
	}
	run.h.Post(b)
}

// get asks for a message. The answer may have to wait for a load, or be that it
// failed.
func (run *crashRun) get(noAck bool) {
	run.ask(noAck, func(r GetReply) {
		if r.Msg != nil {
			run.delivered([]Delivery{{ID: r.ID, Msg: r.Msg, Redelivered: r.Redelivered}}, noAck)
			r.Msg.Release()
		}
	})
}

// forgetRejected forgets what could not be stored and nobody had seen.
func (run *crashRun) forgetRejected() {
	_, rejected := run.answers.given()
	run.ready = slices.DeleteFunc(run.ready, func(body string) bool {
		_, gone := slices.BinarySearch(rejected, run.persistent[body])
		return gone && !run.seen[body]
	})
}

// delivered checks deliveries of one consumer: with several consumers each gets
// some of the first ready ones, in order.
func (run *crashRun) delivered(ds []Delivery, noAck bool) {
	last := -1
	for i := range ds {
		body := string(ds[i].Msg.Body())
		at := slices.Index(run.ready, body)
		require.GreaterOrEqual(run.t, at, max(last, 0), "%s was not ready, or not next", body)
		last = at
		run.last = max(run.last, body)
		run.ready = slices.Delete(run.ready, at, at+1)
		require.Equal(run.t, run.seen[body], ds[i].Redelivered, body)
		run.seen[body], run.ever[body] = true, true
		if noAck {
			run.done[body] = true
			continue
		}
		run.held = append(run.held, received{body: body, id: ds[i].ID, consumer: ds[i].Consumer})
	}
}

func (run *crashRun) settleSome() {
	rnd := run.rnd
	rnd.Shuffle(len(run.held), func(i, j int) { run.held[i], run.held[j] = run.held[j], run.held[i] })
	n := 1 + rnd.IntN(len(run.held))
	batch := slices.Clone(run.held[:n])
	run.held = run.held[n:]
	o := []Outcome{Ack, Requeue, Discard}[rnd.IntN(3)]
	// One consumer's after the other's, as the queue does it: what one gives back may
	// go out before the next one's.
	slices.SortStableFunc(batch, func(a, b received) int { return cmp.Compare(a.consumer, b.consumer) })
	for len(batch) > 0 {
		n := 0
		for n < len(batch) && batch[n].consumer == batch[0].consumer {
			x := batch[n]
			n++
			if o != Requeue {
				run.done[x.body] = true
				continue
			}
			i, _ := slices.BinarySearch(run.ready, x.body)
			run.ready = slices.Insert(run.ready, i, x.body)
		}
		run.last = "" // what went out before this one's came back passed nothing over
		run.settle(o, batch[:n]...)
		batch = batch[n:]
	}
}

// crash ends a life without any order, and begins the next.
func (run *crashRun) crash() {
	confirmed, _ := run.answers.given()
	next := run.log.crash()
	left := next.left()
	for body, seq := range run.persistent {
		_, safe := slices.BinarySearch(confirmed, seq)
		if (seq == 0 || safe) && !run.done[body] {
			require.Contains(run.t, left, body, "it was confirmed")
		}
	}
	// What the old queue has in memory goes with it.
	run.begin(next)
}

// finish drains the queue and deletes it.
func (run *crashRun) finish() {
	clear(run.log.failSubmit)
	clear(run.log.failLoad)
	for _, in := range run.open {
		run.h.Cancel(in.id)
	}
	// The store works again: it hears of what it did not take before.
	run.publishSome()
	run.log.settleAll(run.rnd)
	run.forgetRejected()
	run.settle(Requeue, run.held...)
	for _, x := range run.held {
		run.ready = append(run.ready, x.body)
	}
	run.held = nil
	slices.Sort(run.ready)
	want := slices.Clone(run.ready)
	in := &inbox{t: run.t}
	in.onDeliver = func(ds []Delivery) { run.delivered(ds, true) }
	require.NoError(run.t, run.h.Consume(Consumer{NoAck: true}, in, in.attach, func() {}))
	run.log.settleAll(run.rnd)
	if got := bodiesOf(in.take()); !slices.Equal(want, got) {
		run.t.Fatalf("%v were left, want %v", got, want)
	}
	require.Empty(run.t, run.log.left())
	confirmed, rejected := run.answers.given()
	require.Len(run.t, append(confirmed, rejected...), int(run.seq), "every publish is answered")
	run.deleteAndBalance()
}
