package queue

import (
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
