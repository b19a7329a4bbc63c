package queue

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
)

// wholeAtom is an atom that n entries will be posted for.
func wholeAtom(n int) (a *store.Atom, told *[]error) {
	a, told = store.NewAtom(), new([]error)
	a.Join(n)
	a.Leave(nil)
	a.Whole(func(err error) { *told = append(*told, err) })
	return a, told
}

func (r *rig) inAtom(a *store.Atom, body string, persistent bool) Publish {
	p := r.publish(body, persistent)
	p.Atom = a
	return p
}

// The atom is whole when everything of it has been submitted, and not before.
func TestAnAtomIsWholeOnceAllOfItIsSubmitted(t *testing.T) {
	t.Parallel()
	r, log := bounded(t, Bounds{})
	other, otherLog := bounded(t, Bounds{})
	a, told := wholeAtom(4)
	r.postStored("before")
	held := r.consume(Consumer{}).want("before")
	b := NewBatch()
	b.Publish(r.publish("not in it", true))
	b.Publish(r.inAtom(a, "1", true))
	b.Publish(r.inAtom(a, "2", true))
	b.Publish(r.publish("nor this", true))
	b.Settle(Settle{ID: held[0].id, Consumer: held[0].consumer, Outcome: Ack, Atom: a})
	r.h.Post(b)
	require.Empty(t, *told)
	require.Equal(t, 1, a.Participants())
	last := NewBatch()
	last.Publish(other.inAtom(a, "3", true))
	a.Whole(func(error) { require.Equal(t, []string{"append 0"}, otherLog.journal) })
	other.h.Post(last)
	require.Equal(t, []error{nil}, *told)
	for _, s := range log.submits {
		for _, op := range s.ops {
			require.Same(t, s.ops[0].Atom, op.Atom, "a submit belongs to one atom or to none")
		}
	}
	r.deleteAndBalance()
	other.deleteAndBalance()
}

// A queue that has nothing to store leaves all the same.
func TestAnAtomDoesNotWaitForWhatNeedsNoStore(t *testing.T) {
	t.Parallel()
	for name, post := range map[string]func(*rig, *store.Atom){
		"transient": func(r *rig, a *store.Atom) {
			b := NewBatch()
			b.Publish(r.inAtom(a, "1", false))
			r.h.Post(b)
		},
		"straight to a consumer": func(r *rig, a *store.Atom) {
			in := r.consume(Consumer{NoAck: true})
			b := NewBatch()
			b.Publish(r.inAtom(a, "1", true))
			r.h.Post(b)
			in.want("1")
		},
		"an ack of what was never stored": func(r *rig, a *store.Atom) {
			r.post("1")
			b := NewBatch()
			got, _ := r.get(false)
			b.Settle(Settle{ID: got.id, Outcome: Ack, Atom: a})
			r.h.Post(b)
		},
		"an ack of what is not there": func(r *rig, a *store.Atom) {
			b := NewBatch()
			b.Settle(Settle{ID: 77, Outcome: Ack, Atom: a})
			r.h.Post(b)
		},
		"a requeue": func(r *rig, a *store.Atom) {
			r.postStored("1")
			got, _ := r.get(false)
			b := NewBatch()
			b.Settle(Settle{ID: got.id, Outcome: Requeue, Atom: a})
			r.h.Post(b)
		},
		"a queue that was deleted": func(r *rig, a *store.Atom) {
			require.NoError(r.t, r.h.Delete(false, false, nil))
			b := NewBatch()
			b.Publish(r.inAtom(a, "1", true))
			r.h.Post(b)
		},
		"an ack to a queue that is deleted in the same turn": func(r *rig, a *store.Atom) {
			b := NewBatch()
			b.control(func(bool) { require.NoError(r.t, r.h.remove(false, false, nil)) })
			b.Settle(Settle{ID: 1, Outcome: Ack, Atom: a})
			r.h.Post(b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, log := bounded(t, Bounds{})
			a, told := wholeAtom(1)
			post(r, a)
			require.Equal(t, []error{nil}, *told)
			for _, s := range log.submits {
				require.Nil(t, s.ops[0].Atom)
			}
			if !log.dropped {
				require.NoError(t, r.h.Delete(false, false, nil))
			}
			r.balance()
		})
	}
}

// What a queue that fails was handed is not submitted: nothing of the atom may be
// carried out, or half of it would be there after a restart.
func TestAnAtomFailsWithAQueueThatFails(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]string{"in the call": "Enqueue", "before it": "Settle", "in the mailbox": "Purge"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := newFakeLog()
			r := newRig(t, panicsIn(call), func(s *Spec, env *HostEnv) {
				inline(s, env)
				log.with(s, env)
			})
			log.recoverIn(1, nil)
			a, told := wholeAtom(2)
			b := NewBatch()
			if call == "Purge" {
				b.control(func(gone bool) {
					if !gone {
						r.h.q.Purge(&r.h.work.out)
					}
				})
			}
			b.Settle(Settle{ID: 1, Atom: a})
			b.Publish(r.inAtom(a, "1", true))
			r.h.Post(b)
			require.Len(t, *told, 1)
			require.Error(t, (*told)[0])
			require.Error(t, r.gone())
		})
	}
}

// A message that is published and acknowledged within one atom.
func TestAnAppendAndItsRemoveInOneAtom(t *testing.T) {
	t.Parallel()
	r, log := bounded(t, Bounds{})
	in := r.consume(Consumer{})
	a, told := wholeAtom(2)
	b := NewBatch()
	b.Publish(r.inAtom(a, "1", true))
	r.h.Post(b)
	d := in.want("1")[0]
	b = NewBatch()
	b.Settle(Settle{ID: d.id, Consumer: d.consumer, Outcome: Ack, Atom: a})
	r.h.Post(b)
	require.Equal(t, []error{nil}, *told)
	r.answers.want(nil, nil)
	require.Equal(t, []string{"append 0", "delivered 0", "remove 0"}, log.journal)
	log.commit(9)
	r.answers.want(seqs(1, 1), nil)
	require.Empty(t, log.left())
	r.deleteAndBalance()
}

// A crash before the transaction is durable leaves nothing of it: the message must
// be there then, and so it must have been stored when its publisher is told.
func TestAMessageAcknowledgedInATransactionIsConfirmedWhenItIsStored(t *testing.T) {
	t.Parallel()
	for _, outcome := range []Outcome{Ack, Discard} {
		r, log := bounded(t, Bounds{})
		in := r.consume(Consumer{})
		r.postStored("1", "2")
		held := in.want("1", "2")
		a, told := wholeAtom(1)
		b := NewBatch()
		b.Settle(Settle{ID: held[0].id, Consumer: held[0].consumer, Outcome: outcome, Atom: a})
		r.h.Post(b)
		require.Equal(t, []error{nil}, *told)
		r.answers.want(nil, nil)
		log.commit(1)
		r.answers.want(seqs(1, 2), nil)
		log.commit(9)
		r.answers.want(seqs(1, 2), nil)
		require.Equal(t, []string{"2"}, log.left())
		r.deleteAndBalance()
	}
}

// A Log that was dropped answers nobody; the queue's deletion does.
func TestAnAtomIsSettledByItsLogOrByTheQueuesDeletion(t *testing.T) {
	t.Parallel()
	for _, deleted := range []bool{false, true} {
		r, log := bounded(t, Bounds{})
		a, _ := wholeAtom(1)
		var settled []error
		a.Settled(func(err error) { settled = append(settled, err) })
		b := NewBatch()
		b.Publish(r.inAtom(a, "1", true))
		r.h.Post(b)
		require.Zero(t, a.Participants())
		require.Empty(t, settled, "the log has not answered")
		if !deleted {
			log.commit(1)
		}
		r.deleteAndBalance()
		require.Equal(t, []error{nil}, settled)
	}
}
