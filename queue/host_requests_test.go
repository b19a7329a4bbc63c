package queue

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

func TestRequestsRaceWithPostsAndEachOther(t *testing.T) {
	t.Parallel()
	const rounds = 200
	var inside atomic.Int32
	typ := hooked{
		Type: Classic(),
		before: func(call string) {
			if !inside.CompareAndSwap(0, 1) {
				t.Errorf("%s was called while another call was running", call)
			}
		},
		after: func(string, *Actions) { inside.Store(0) },
	}
	r := newRig(t, typ, nil)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { // a publisher
			for i := range rounds {
				b := NewBatch()
				for range 1 + i%3 {
					b.Publish(Publish{Msg: r.message("x", false)})
				}
				r.h.Post(b)
			}
		})
		all.Go(func() { // a consumer that comes and goes, and settles all it got
			for i := range rounds / 4 {
				in := &inbox{t: t}
				require.NoError(t, r.h.Consume(Consumer{Prefetch: 1 + i%4}, in, in.attach, func() {}))
				r.settle(Requeue, in.take()...)
				r.h.Resume(in.id, false)
				r.settle(Ack, in.take()...)
				r.h.Cancel(in.id)
				last := in.take()
				r.settle(Ack, last...)
				if _, err := r.h.Stat(); err != nil {
					t.Error(err)
				}
				if n := len(in.take()); n > 0 {
					t.Errorf("%d deliveries after Cancel returned", n)
				}
			}
		})
		all.Go(func() { // somebody with basic.get
			for i := range rounds {
				got, reply := r.get(i%2 == 0)
				if reply.Err != nil {
					t.Error(reply.Err)
				}
				if got.body != "" && i%2 == 1 {
					r.settle(Discard, got)
				}
			}
		})
		all.Go(func() {
			for range rounds / 10 {
				if _, err := r.h.Purge(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	require.Zero(t, r.stat().Unacked)
	r.deleteAndBalance()
}

func TestRequestsRaceWithDelete(t *testing.T) {
	t.Parallel()
	for range 50 {
		r := newRig(t, Classic(), nil)
		in := r.consume(Consumer{NoAck: true})
		var all sync.WaitGroup
		var deleted atomic.Int32
		const publishes = 60
		b := NewBatch()
		for i := range publishes {
			b.Publish(r.publish("x", false))
			if i%3 == 2 {
				full := b
				all.Go(func() { r.h.Post(full) })
				b = NewBatch()
			}
		}
		for range 2 {
			all.Go(func() {
				if err := r.h.Delete(false, false, func(int) {
					if in.cancels() != 0 {
						t.Error("a consumer heard of the delete before who asked for it")
					}
				}); err == nil {
					deleted.Add(1)
				} else if err != ErrGone {
					t.Error(err)
				}
			})
			all.Go(func() { r.get(true) })
			all.Go(func() {
				if _, err := r.h.Purge(); err != nil && err != ErrGone {
					t.Error(err)
				}
			})
			all.Go(func() {
				late := &inbox{t: t}
				err := r.h.Consume(Consumer{NoAck: true}, late, late.attach, func() {})
				if err != nil && err != ErrGone {
					t.Error(err)
				}
			})
			all.Go(func() { r.h.Cancel(99) })
		}
		all.Wait()
		r.running.Wait()
		require.EqualValues(t, 1, deleted.Load())
		require.NoError(t, r.gone())
		require.Equal(t, 1, in.cancels())
		// Every publish was taken or came to a queue that is no more; both are
		// confirmed (contract 06 §6).
		r.answers.want(seqs(1, publishes), nil)
		r.balance()
	}
}

func TestDeleteTellsTheCallerBeforeTheConsumers(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), nil)
	a, b := r.consume(Consumer{Prefetch: 1}), r.consume(Consumer{Prefetch: 1})
	r.post("1", "2", "3", "4")
	require.ErrorIs(t, r.h.Delete(true, false, nil), ErrInUse)
	require.ErrorIs(t, r.h.Delete(false, true, nil), ErrNotEmpty)
	require.Empty(t, r.ends)
	told := 0
	require.NoError(t, r.h.Delete(false, false, func(n int) {
		told++
		require.Equal(t, 2, n, "ready messages")
		require.NoError(t, r.gone(), "the broker must have forgotten the queue by now")
		require.Zero(t, a.cancels()+b.cancels())
	}))
	require.Equal(t, 1, told)
	require.Equal(t, 1, a.cancels())
	require.Equal(t, 1, b.cancels())
	require.NoError(t, r.gone())
	a.want("1")
	b.want("2")
	r.balance()
}

func TestConsumersOfADeletedQueueHearOfItInTheOrderOfTheirTags(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), nil)
	var told []string
	for _, tag := range []string{"c", "a", "d", "b", ""} {
		sink := toldCancelled(func() { told = append(told, tag) })
		require.NoError(t, r.h.Consume(Consumer{Tag: tag}, sink, func(message.ConsumerID) {}, func() {}))
	}
	require.NoError(t, r.h.Delete(false, false, func(int) {}))
	require.Equal(t, []string{"", "a", "b", "c", "d"}, told)
}

// toldCancelled is a consumer that gets nothing.
type toldCancelled func()

func (f toldCancelled) Deliver([]Delivery) {}
func (f toldCancelled) Cancelled()         { f() }

func TestAHostThatIsGoneRefusesRequestsAndConfirmsPublishes(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), nil)
	in := r.consume(Consumer{})
	r.post("1")
	require.NoError(t, r.h.Delete(false, false, nil))

	r.post("2", "3")
	later := NewBatch()
	later.Publish(r.publish("4", false))
	later.Publish(Publish{Msg: r.message("nobody asks", false)})
	r.h.PostLater(later)
	r.settle(Requeue, in.want("1")...)
	r.h.Resume(in.id, false)
	r.h.Cancel(in.id)
	r.answers.want(seqs(1, 4), nil)

	_, reply := r.get(true)
	require.ErrorIs(t, reply.Err, ErrGone)
	_, err := r.h.Purge()
	require.ErrorIs(t, err, ErrGone)
	_, err = r.h.Stat()
	require.ErrorIs(t, err, ErrGone)
	require.ErrorIs(t, r.h.Delete(false, false, func(int) { t.Error("deleted twice") }), ErrGone)
	require.ErrorIs(t, r.h.Consume(Consumer{}, in,
		func(message.ConsumerID) { t.Error("attached") }, func() { t.Error("consumes") }), ErrGone)
	require.Equal(t, 1, in.cancels())
	require.NoError(t, r.gone())
	r.balance()
}

// A get and a delete can stand in the mailbox together: the get came first and
// has its message.
func TestAGetBeforeADeleteHasItsMessage(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), nil)
	r.post("1")
	b := NewBatch()
	var got []string
	b.control(r.h.getter(true, func(g GetReply) {
		require.NoError(t, g.Err)
		got = append(got, string(g.Msg.Body()))
		g.Msg.Release()
	}, make(chan struct{})))
	b.control(func(gone bool) {
		require.False(t, gone)
		require.NoError(t, r.h.remove(false, false, nil))
	})
	r.h.Post(b)
	require.Equal(t, []string{"1"}, got)
	r.balance()
}

func TestAnAutoDeleteQueueGoesWithItsLastConsumer(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), func(s *Spec, _ *HostEnv) { s.AutoDelete = true })
	a, b := r.consume(Consumer{}), r.consume(Consumer{})
	r.post("1", "2", "3")
	r.h.Cancel(a.id)
	require.Empty(t, r.ends)
	r.h.Cancel(b.id)
	require.NoError(t, r.gone())
	require.Zero(t, a.cancels()+b.cancels(), "who cancelled needs no telling")
	require.ErrorIs(t, r.h.Delete(false, false, nil), ErrGone)
	r.settle(Ack, a.take()...)
	r.balance()
}

// A type may want to go in any of its calls; what stands behind in the same
// batch comes to a queue that is no more.
func TestAQueueThatEndsItselfInTheMiddleOfABatch(t *testing.T) {
	t.Parallel()
	typ := hooked{Type: Classic(), after: func(call string, out *Actions) {
		if call == "Settle" {
			out.Gone = true
		}
	}}
	r := newRig(t, typ, nil)
	in := r.consume(Consumer{})
	b := NewBatch()
	b.Publish(r.publish("1", false))
	b.Settle(Settle{ID: 99, Outcome: Ack})
	b.Publish(r.publish("2", false))
	b.Settle(Settle{ID: 99, Outcome: Ack})
	gone := false
	b.control(func(g bool) { gone = g })
	r.h.Post(b)
	in.want("1")
	require.Equal(t, 1, in.cancels())
	require.True(t, gone)
	require.NoError(t, r.gone())
	r.answers.want(seqs(1, 2), nil)
	r.balance()
}
