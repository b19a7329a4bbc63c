package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// newStoredRig hosts a durable classic queue over a log that holds the given
// messages from an earlier run; every second one had been delivered. It runs on
// one goroutine and has not recovered yet.
func newStoredRig(t testing.TB, kept ...string) (*rig, *fakeLog) {
	log := newFakeLog()
	r := newRig(t, Classic(), func(s *Spec, env *HostEnv) {
		inline(s, env)
		log.with(s, env)
	})
	for i, body := range kept {
		log.put(uint64(100+i), r.message(body, true), i%2 == 1)
	}
	return r, log
}

// recovered is newStoredRig after the recovery.
func recovered(t testing.TB, kept ...string) (*rig, *fakeLog) {
	r, log := newStoredRig(t, kept...)
	log.recoverIn(3, nil)
	return r, log
}

func TestAPersistentPublishIsConfirmedWhenItIsStored(t *testing.T) {
	t.Parallel()
	r, log := recovered(t)
	in := r.consume(Consumer{Prefetch: 2})
	r.postStored("1", "2")
	r.post("transient")
	r.postStored("4")
	in.want("1", "2") // consumers need not wait for the disk
	r.answers.want(seqs(3, 3), nil)
	log.commit(1)
	r.answers.want(seqs(1, 3), nil)
	log.commit(9)
	r.answers.want(seqs(1, 4), nil)
	require.Equal(t, []string{"append 0", "append 1", "delivered 0", "delivered 1", "append 3"}, log.journal)
	require.Equal(t, []string{"1", "2", "4"}, log.left())
	r.deleteAndBalance()
	require.True(t, log.dropped)
}

func TestAnAcknowledgedMessageIsConfirmedBeforeItIsStored(t *testing.T) {
	t.Parallel()
	r, log := recovered(t)
	in := r.consume(Consumer{})
	r.postStored("1", "2", "3")
	held := in.want("1", "2", "3")
	r.settle(Ack, held[1])
	r.answers.want(seqs(2, 2), nil)
	r.settle(Discard, held[0])
	r.answers.want(seqs(1, 2), nil)
	log.settleAll(rand.New(rand.NewPCG(1, 1)))
	r.answers.want(seqs(1, 3), nil)
	require.Equal(t, []string{"3"}, log.left())
	r.deleteAndBalance()
}

func TestAPublishThatCannotBeStoredIsRejectedAndTheQueueGoesOn(t *testing.T) {
	t.Parallel()
	r, log := recovered(t)
	log.failSubmit[2] = errDisk
	r.postStored("1")
	r.postStored("2", "3")
	r.postStored("4")
	log.commit(9)
	r.answers.want([]uint64{1, 4}, []uint64{2, 3})
	in := r.consume(Consumer{})
	r.settle(Ack, in.want("1", "4")...)
	log.commit(9)
	require.Zero(t, r.stat().Unacked)
	r.deleteAndBalance()
}

func TestADeleteConfirmsWhatWaitsForTheStore(t *testing.T) {
	t.Parallel()
	r, log := recovered(t)
	r.postStored("1", "2")
	log.commit(1)
	r.postStored("3", "4")
	r.deleteAndBalance()
	r.answers.want(seqs(1, 4), nil)
}

func TestAPurgeDuringALoad(t *testing.T) {
	t.Parallel()
	r, log := recovered(t, "1", "2")
	in := r.consume(Consumer{NoAck: true})
	n, err := r.h.Purge()
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.True(t, log.load(), "the store has not heard of the purge yet")
	r.postStored("3")
	in.want("3")
	log.settleAll(rand.New(rand.NewPCG(1, 1)))
	require.Empty(t, log.left())
	r.deleteAndBalance()
}

func TestWhatWasKeptComesBackInOrder(t *testing.T) {
	t.Parallel()
	r, log := newStoredRig(t, bodies1to(9)...)
	// Asked for before the recovery: it waits in the mailbox.
	r.postStored("new")
	var full []<-chan struct{}
	b := NewBatch()
	for range maxMailbox {
		b.Publish(Publish{Msg: r.message("x", false)})
	}
	full = append(full, r.h.Post(b).C)
	require.NotNil(t, full[0])
	log.recoverIn(4, nil)
	<-full[0]
	require.Equal(t, 9+1+maxMailbox, r.stat().Ready)
	n, err := r.h.Purge()
	require.NoError(t, err)
	require.Equal(t, 9+1+maxMailbox, n)
	r.deleteAndBalance()
	r.answers.want(seqs(1, 1), nil)
}

func TestRecoveredMessagesAreLoadedAndFlagged(t *testing.T) {
	t.Parallel()
	r, log := recovered(t, bodies1to(9)...)
	in := r.consume(Consumer{Prefetch: 5})
	r.postStored("new")
	in.want()
	require.True(t, log.load())
	for i, d := range in.want("1", "2", "3", "4", "5") {
		require.Equal(t, i%2 == 1, d.redelivered, d.body)
	}
	require.Equal(t, Stat{Ready: 5, Unacked: 5, ReadyBytes: 4 + 3, Consumers: 1}, r.stat())
	log.settleAll(rand.New(rand.NewPCG(1, 1)))
	r.deleteAndBalance()
}

func TestAGetWaitsForItsLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, log := recovered(t, "1", "2")
		log.failLoad[2] = errDisk
		log.put(100, r.message("replaced", true), false)
		got := make(chan received, 1)
		reply := make(chan GetReply, 1)
		get := func() {
			d, g := r.get(false)
			got <- d
			reply <- g
		}
		go get()
		synctest.Wait()
		require.Empty(t, got, "it must wait")
		r.post("3") // the queue works meanwhile
		require.True(t, log.load())
		require.Equal(t, "replaced", (<-got).body)
		require.Equal(t, 2, (<-reply).Remaining)
		go get()
		require.Equal(t, "2", (<-got).body, "it came with the same load")
		<-reply
		r.made[0].Release() // what was replaced
		r.deleteAndBalance()
	})
}

func TestALoadThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, log := recovered(t, "1", "2")
		log.failLoad[1], log.failLoad[2] = errDisk, errDisk
		replies := make(chan GetReply, 2)
		for range 2 {
			go func() {
				_, g := r.get(true)
				replies <- g
			}()
		}
		synctest.Wait()
		require.True(t, log.load())
		for range 2 {
			require.ErrorIs(t, (<-replies).Err, errDisk)
		}
		require.False(t, log.load(), "it must not try again and again by itself")
		in := r.consume(Consumer{NoAck: true})
		require.True(t, log.load())
		in.want()
		r.h.Resume(in.id, false)
		require.True(t, log.load())
		in.want("1", "2")
		r.deleteAndBalance()
	})
}

func TestAMessageThatTheStoreLostIsSkipped(t *testing.T) {
	t.Parallel()
	r, log := recovered(t, bodies1to(5)...)
	for _, seq := range []uint64{100, 103} {
		log.kept[seq].msg.Release()
		delete(log.kept, seq)
	}
	in := r.consume(Consumer{NoAck: true})
	require.True(t, log.load())
	in.want("2", "3", "5")
	require.Zero(t, r.stat().Ready)
	require.Zero(t, r.stat().ReadyBytes)
	r.deleteAndBalance()
}

// Acknowledged messages leave gaps; a load must reach over them, or a queue of
// which every second message is gone would be read one message at a time.
func TestALoadReachesOverGaps(t *testing.T) {
	t.Parallel()
	r, log := newStoredRig(t)
	const n = 256
	for i := range n {
		log.put(uint64(3*i), r.message(fmt.Sprint(i), true), false)
	}
	log.recoverIn(n, nil)
	in := r.consume(Consumer{NoAck: true})
	loads := 0
	for log.load() {
		loads++
	}
	require.Len(t, in.take(), n)
	require.LessOrEqual(t, loads, 4)
	r.deleteAndBalance()
}

func TestARecoveryThatFails(t *testing.T) {
	t.Parallel()
	r, log := newStoredRig(t, "1")
	r.postStored("2")
	log.recoverIn(9, errDisk)
	require.ErrorIs(t, r.gone(), errDisk)
	r.answers.want(nil, seqs(1, 1))
	require.False(t, log.dropped, "what is kept must stay")
	_, err := r.h.Stat()
	require.ErrorIs(t, err, ErrGone)
}

func TestAFailedQueueRejectsWhatWaitsForTheStore(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	r := newRig(t, panicsIn("Purge"), func(s *Spec, env *HostEnv) {
		inline(s, env)
		log.with(s, env)
	})
	log.recoverIn(1, nil)
	r.postStored("1", "2")
	log.commit(1)
	r.postStored("3", "4")
	r.post("5")
	_, err := r.h.Purge()
	require.ErrorIs(t, err, ErrGone)
	require.Error(t, r.gone())
	r.answers.want([]uint64{1, 2, 5}, []uint64{3, 4})
	require.False(t, log.dropped, "what is stored must stay for a next run")
	log.commit(9) // answers that come late hurt nobody
	r.answers.want([]uint64{1, 2, 5}, []uint64{3, 4})
	require.Equal(t, []string{"1", "2", "3", "4"}, log.left())
}

func TestLoadedMessagesThatComeTooLateAreReleased(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"after the delete", "in the mailbox of the delete", "in the mailbox of a failure", "behind an event that fails"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			log := newFakeLog()
			var during func()
			failing := false
			typ := hooked{Type: Classic(), before: func(call string) {
				if call == "Purge" {
					during()
				}
				if call == "Event" && failing {
					panic("no")
				}
			}}
			r := newRig(t, typ, func(s *Spec, env *HostEnv) {
				inline(s, env)
				log.with(s, env)
			})
			log.put(1, r.message("1", true), false)
			log.recoverIn(1, nil)
			in := r.consume(Consumer{})
			late := log.loads[0]
			during = func() {
				r.h.Resume(in.id, false)
				log.load()
				switch how {
				case "in the mailbox of a failure":
					panic("no")
				case "behind an event that fails":
					failing = true
				}
			}
			switch how {
			case "after the delete":
				require.NoError(t, r.h.Delete(false, false, nil))
				late.done(nil, errDisk) // a Log must not, but if it did
			case "in the mailbox of the delete":
				b := NewBatch()
				b.control(func(bool) {
					during()
					require.NoError(t, r.h.remove(false, false, nil))
				})
				r.h.Post(b)
			default:
				_, err := r.h.Purge()
				require.Equal(t, !failing, errors.Is(err, ErrGone))
				require.Error(t, r.gone())
				log.Drop()
			}
			r.balance()
		})
	}
}

// Posters, consumers, gets and a log of its own goroutine all at once: run with
// -race.
func TestAStoredQueueUnderLoad(t *testing.T) {
	t.Parallel()
	const publishers, batches = 3, 40
	log := newFakeLog()
	log.asked = make(chan struct{}, 1)
	stop := make(chan struct{})
	var serving, working sync.WaitGroup
	r := newRig(t, Classic(), log.with)
	for i := range 5 {
		log.put(uint64(i), r.message("kept", true), false)
	}
	serving.Go(func() { log.serve(rand.New(rand.NewPCG(1, 2)), stop) })
	for p := range publishers {
		working.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(p), 3))
			for i := range batches {
				b := NewBatch()
				for j := range 5 {
					seq := uint64((p*batches+i)*5 + j + 1)
					m := r.message("x", rnd.IntN(4) > 0)
					b.Publish(Publish{Msg: m, Ref: message.PublishRef{By: r.answers, Seq: seq}})
				}
				if w := r.h.Post(b); w.C != nil {
					<-w.C
				}
			}
		})
		working.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(p), 4))
			in := r.consume(Consumer{Prefetch: 1 + p})
			for range batches {
				r.settle([]Outcome{Ack, Requeue, Discard}[rnd.IntN(3)], in.take()...)
				if rnd.IntN(4) == 0 {
					if got, reply := r.get(false); reply.Msg != nil {
						r.settle(Ack, got)
					}
				}
			}
			r.h.Cancel(in.id)
			r.settle(Requeue, in.take()...)
		})
	}
	working.Wait()
	drain := r.consume(Consumer{NoAck: true})
	for r.stat().Ready > 0 {
	}
	drain.take()
	r.h.Cancel(drain.id)
	require.Zero(t, r.stat().Unacked)
	close(stop)
	serving.Wait()
	log.settleAll(rand.New(rand.NewPCG(1, 5)))
	r.running.Wait()
	r.answers.want(seqs(1, publishers*batches*5), nil)
	require.Empty(t, log.left())
	r.deleteAndBalance()
}

// A crash between a delete and its becoming durable brings the queue back, and a
// confirmed message has to be in it then.
func TestWhatGoesWithAQueueIsConfirmedWhenTheQueueIsGoneForGood(t *testing.T) {
	t.Parallel()
	for name, unsettled := range map[string]error{"it is": nil, "it cannot be": errDisk} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log := newFakeLog()
				var waiting []func(error)
				r := newRig(t, Classic(), func(s *Spec, env *HostEnv) {
					inline(s, env)
					log.with(s, env)
					env.Settle = func(then func(error)) { waiting = append(waiting, then) }
				})
				log.recoverIn(3, nil)
				r.postStored("1", "2")
				deleted := make(chan error, 1)
				go func() { deleted <- r.h.Delete(false, false, nil) }()
				synctest.Wait()
				r.postStored("3") // too late for the queue
				r.answers.want(nil, nil)
				for _, then := range waiting {
					then(unsettled)
				}
				require.Equal(t, unsettled, <-deleted)
				if unsettled == nil {
					r.answers.want(seqs(1, 3), nil)
				} else {
					r.answers.want(nil, seqs(1, 3))
				}
				r.balance()
			})
		})
	}
}
