package queue

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

func TestAnIdleHostRunsOnItsCaller(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), nil)
	in := r.consume(Consumer{})
	r.post("1", "2")
	held := in.want("1", "2") // before Post returned
	r.settle(Ack, held...)
	require.Zero(t, r.stat().Unacked)
	require.Zero(t, r.started.Load(), "a goroutine was started")
	r.deleteAndBalance()
}

func TestPostLaterAndResumeStartARunner(t *testing.T) {
	t.Parallel()
	var held []func()
	r := newRig(t, Classic(), func(_ *Spec, env *HostEnv) {
		env.Go = func(f func()) bool {
			held = append(held, f)
			return true
		}
	})
	gate := &countedGate{}
	in := r.consume(Consumer{NoAck: true, Gate: gate})
	b := NewBatch()
	b.Publish(r.publish("1", false))
	r.h.PostLater(b)
	r.post("2") // joins what the runner will find
	require.Len(t, held, 1)
	held[0]()
	in.want()

	gate.room = 9
	r.h.Resume(in.id, false)
	require.Len(t, held, 2)
	in.want()
	held[1]()
	in.want("1", "2")
	r.deleteAndBalance()
}

func TestTheMailboxKeepsTheOrderOfEachPoster(t *testing.T) {
	t.Parallel()
	const posters, batches, size = 4, 50, 7
	r := newRig(t, Classic(), nil)
	in := r.consume(Consumer{NoAck: true})
	var posting sync.WaitGroup
	for p := range posters {
		posting.Go(func() {
			n := 0
			for i := range batches {
				b := NewBatch()
				for range size {
					b.Publish(Publish{Msg: r.message(fmt.Sprint(p, ":", n), false)})
					n++
				}
				if i%2 == 0 {
					r.h.Post(b)
				} else {
					r.h.PostLater(b)
				}
			}
		})
	}
	posting.Wait()
	require.Zero(t, r.stat().Ready)
	next := map[string]int{}
	got := in.take()
	require.Len(t, got, posters*batches*size)
	for _, d := range got {
		poster, number := d.body[:1], d.body[2:]
		require.Equal(t, strconv.Itoa(next[poster]), number, "of poster %s", poster)
		next[poster]++
	}
	r.deleteAndBalance()
}

// A channel settles, and then says that its gate has room: that is the order in which
// those who wait for room come to it (contract 05 §8).
func TestAResumeComesAfterWhatWasPostedBeforeIt(t *testing.T) {
	t.Parallel()
	var calls []string
	typ := hooked{Type: Classic(), before: func(call string) { calls = append(calls, call) }}
	r := newRig(t, typ, nil)
	in := r.consume(Consumer{})
	in.onDeliver = func(ds []Delivery) {
		calls = nil // the queue is busy with this delivery meanwhile
		b := NewBatch()
		b.Settle(Settle{ID: ds[0].ID, Consumer: in.id, Outcome: Ack})
		r.h.PostLater(b)
		r.h.Resume(in.id, true)
		r.h.Resume(in.id, false)
	}
	r.post("1")
	r.running.Wait()
	require.Equal(t, []string{"Settle", "Event", "Event"}, calls)
	in.want("1")
	r.deleteAndBalance()
}

// feed makes a consumer post a further message for each of the first n it gets,
// from within the turn, so that the mailbox is never empty when the turn ends.
func feed(r *rig, in *inbox, n int) {
	in.onDeliver = func([]Delivery) {
		if n > 0 {
			n--
			b := NewBatch()
			b.Publish(r.publish("more", false))
			r.h.PostLater(b)
		}
	}
}

func TestABusyPosterHandsTheRestOver(t *testing.T) {
	t.Parallel()
	var held []func()
	r := newRig(t, Classic(), func(_ *Spec, env *HostEnv) {
		env.Go = func(f func()) bool {
			held = append(held, f)
			return true
		}
	})
	in := r.consume(Consumer{NoAck: true})
	const more = 5 * maxTurns
	feed(r, in, more)
	r.post("first")
	require.Len(t, held, 1, "the rest must go to one goroutine")
	n := len(in.take())
	require.LessOrEqual(t, n, maxTurns)
	require.Positive(t, n)
	held[0]()
	require.Len(t, held, 1, "a runner of its own hands nothing over")
	require.Equal(t, more+1-n, len(in.take()))
	r.deleteAndBalance()
}

func TestAPosterGoesOnWhenTheBrokerStartsNothingAnyMore(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), func(_ *Spec, env *HostEnv) {
		env.Go = func(func()) bool { return false }
	})
	in := r.consume(Consumer{NoAck: true})
	const more = 3 * maxTurns
	feed(r, in, more)
	r.post("first")
	require.Len(t, in.take(), more+1)

	b := NewBatch()
	b.Publish(r.publish("late", false))
	r.h.PostLater(b)
	in.want("late")
	r.deleteAndBalance()
}

func TestNoLockIsHeldWhileTheTypeRuns(t *testing.T) {
	t.Parallel()
	var r *rig
	calls := map[string]bool{}
	check := func(call string) {
		if r == nil || r.h == nil {
			return
		}
		calls[call] = true
		if !r.h.mu.TryLock() {
			t.Errorf("the host's lock is held during %s", call)
			return
		}
		r.h.mu.Unlock()
	}
	typ := hooked{Type: Classic(), before: check, after: func(call string, _ *Actions) { check(call) }}
	r = newRig(t, typ, nil)
	in := r.consume(Consumer{})
	in.onDeliver = func([]Delivery) { check("Deliver") }
	r.post("1", "2")
	r.settle(Ack, in.want("1", "2")...)
	r.h.Resume(in.id, false)
	r.running.Wait()
	r.get(true)
	r.stat()
	_, err := r.h.Purge()
	require.NoError(t, err)
	r.h.Cancel(in.id)
	r.deleteAndBalance()
	require.Len(t, calls, 10, "%v", calls)
}

func TestConfirmsOfConsecutivePublishesComeInOneCall(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), nil)
	other := &answers{t: t, verdicts: map[uint64]bool{}}
	b := NewBatch()
	for range 3 {
		b.Publish(r.publish("x", false)) // 1 to 3
	}
	b.Publish(Publish{Msg: r.message("x", false), Ref: message.PublishRef{By: other, Seq: 7}})
	b.Publish(Publish{Msg: r.message("x", false)})
	b.Publish(r.publish("x", false)) // 4
	b.Publish(r.publish("x", false)) // 5
	r.seq++                          // 6 went elsewhere
	b.Publish(r.publish("x", false)) // 7
	r.h.Post(b)
	require.Equal(t, []string{"1-3", "4-5", "7-7"}, r.answers.calls)
	require.Equal(t, []string{"7-7"}, other.calls)
	r.deleteAndBalance()
}

func TestDeliveriesOfATurnComeInOneCallForEachConsumer(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), nil)
	r.post(bodies1to(9)...)
	a := r.consume(Consumer{NoAck: true})
	a.want(bodies1to(9)...)
	require.Equal(t, 1, a.calls)
	b, c := r.consume(Consumer{NoAck: true}), r.consume(Consumer{NoAck: true})
	r.post(bodies1to(9)...)
	a.want("1", "4", "7")
	b.want("2", "5", "8")
	c.want("3", "6", "9")
	require.Equal(t, []int{2, 1, 1}, []int{a.calls, b.calls, c.calls})
	r.deleteAndBalance()
}

// placed is an inbox at a place, which notes what all of its inboxes get.
type placed struct {
	*inbox
	place *[]string
}

func (p placed) Place() any { return p.place }

func (p placed) Deliver(ds []Delivery) {
	for i := range ds {
		*p.place = append(*p.place, string(ds[i].Msg.Body()))
	}
	p.inbox.Deliver(ds)
}

func TestConsumersOfOnePlaceSeeTheOrderOfTheQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), nil)
	var here, there []string
	var ins []*inbox
	for _, place := range []*[]string{&here, &there, &here} {
		in := &inbox{t: t}
		require.NoError(t, r.h.Consume(Consumer{NoAck: true}, placed{in, place}, in.attach, func() {}))
		ins = append(ins, in)
	}
	r.post(bodies1to(6)...)
	require.Equal(t, []string{"1", "3", "4", "6"}, here)
	require.Equal(t, []string{"2", "5"}, there)
	ins[0].want("1", "4")
	ins[2].want("3", "6")
	require.Equal(t, []int{2, 1, 2}, []int{ins[0].calls, ins[1].calls, ins[2].calls})
	r.h.Cancel(ins[0].id)
	r.h.Cancel(ins[1].id)
	require.Len(t, r.h.lanes, 1)
	here = nil
	r.post("7", "8")
	require.Equal(t, []string{"7", "8"}, here)
	r.h.Cancel(ins[2].id)
	require.Empty(t, r.h.lanes)
	r.deleteAndBalance()
}

func TestAFullMailboxAsksPostersToWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		enter, leave := make(chan struct{}), make(chan struct{})
		r := newRig(t, Classic(), nil)
		in := r.consume(Consumer{NoAck: true})
		first := true
		in.onDeliver = func([]Delivery) {
			if first {
				first = false
				close(enter)
				<-leave
			}
		}
		go r.post("slow")
		<-enter
		var waiting []<-chan struct{}
		for i := range maxMailbox + 2 {
			b := NewBatch()
			b.Publish(Publish{Msg: r.message("x", false)})
			full := r.h.Post(b).C
			require.Equal(t, i >= maxMailbox, full != nil, "after %d", i+1)
			if full != nil {
				waiting = append(waiting, full)
			}
		}
		for _, full := range waiting {
			select {
			case <-full:
				t.Fatal("the mailbox is still full")
			default:
			}
		}
		close(leave)
		for _, full := range waiting {
			<-full
		}
		synctest.Wait()
		require.Len(t, in.take(), maxMailbox+3)
		r.deleteAndBalance()
	})
}

func TestADeleteLetsWaitingPostersGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		enter, leave := make(chan struct{}), make(chan struct{})
		r := newRig(t, hooked{Type: Classic(), after: func(call string, out *Actions) {
			if call == "Purge" {
				close(enter)
				<-leave
				out.Gone = true
			}
		}}, nil)
		go r.h.Purge()
		<-enter
		b := NewBatch()
		for range maxMailbox + 1 {
			b.Publish(r.publish("x", false))
		}
		full := r.h.Post(b).C
		require.NotNil(t, full)
		close(leave)
		<-full
		synctest.Wait()
		r.answers.want(seqs(1, maxMailbox+1), nil)
		r.balance()
	})
}

func TestWakeBringsTimeReachedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var woken []time.Duration
		var at []time.Duration
		start := time.Now()
		typ := hooked{
			Type: Classic(),
			before: func(call string) {
				if call == "Event" {
					woken = append(woken, time.Since(start))
				}
			},
			after: func(call string, out *Actions) {
				if call == "Purge" {
					out.Wake = start.Add(at[0])
					at = at[1:]
				}
			},
		}
		r := newRig(t, typ, nil)
		woken = nil // it was told to begin
		purge := func() {
			_, err := r.h.Purge()
			require.NoError(t, err)
		}
		at = []time.Duration{time.Hour, time.Minute, 3 * time.Minute, time.Hour}
		purge()
		purge() // replaces the first
		<-time.After(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, []time.Duration{time.Minute}, woken)
		purge()
		<-time.After(2 * time.Hour)
		synctest.Wait()
		require.Equal(t, []time.Duration{time.Minute, 3 * time.Minute}, woken)

		at = []time.Duration{5 * time.Hour}
		purge()
		r.deleteAndBalance()
		<-time.After(5 * time.Hour)
		synctest.Wait()
		require.Len(t, woken, 2, "a queue that is gone is not woken")
	})
}

// countedGate lets a number of deliveries through.
type countedGate struct{ room int }

func (g *countedGate) TryTake(int) bool {
	if g.room == 0 {
		return false
	}
	g.room--
	return true
}
