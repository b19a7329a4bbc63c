package queue

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// panicsIn is a classic type whose queues panic in one of their calls.
func panicsIn(call string) Type {
	begun := false // by the first event
	return hooked{Type: Classic(), before: func(c string) {
		if c == "Event" && !begun {
			begun = true
		} else if c == call {
			panic("no " + c)
		}
	}}
}

func TestATypeThatPanicsFailsOnlyItsOwnQueue(t *testing.T) {
	t.Parallel()
	// Each case makes the queue do what it panics in, and gives the error of a
	// request if it made one. The queue has one consumer that takes nothing more.
	tests := map[string]func(r *rig, in *inbox) error{
		"Enqueue": func(r *rig, _ *inbox) error { r.post("x"); return ErrGone },
		"Settle":  func(r *rig, _ *inbox) error { r.settle(Ack, received{id: 1}); return ErrGone },
		"Consume": func(r *rig, _ *inbox) error {
			refused := &inbox{t: r.t}
			defer func() { require.Zero(r.t, refused.cancels(), "it never consumed") }()
			return r.h.Consume(Consumer{}, refused, refused.attach, func() { r.t.Error("consumes") })
		},
		"Cancel": func(r *rig, in *inbox) error { r.h.Cancel(in.id); return ErrGone },
		"Get":    func(r *rig, _ *inbox) error { _, g := r.get(true); return g.Err },
		"Event":  func(r *rig, in *inbox) error { r.h.Resume(in.id, false); r.running.Wait(); return ErrGone },
		"Purge":  func(r *rig, _ *inbox) error { _, err := r.h.Purge(); return err },
		"Delete": func(r *rig, _ *inbox) error { return r.h.Delete(false, false, func(int) { r.t.Error("deleted") }) },
		"Stat":   func(r *rig, _ *inbox) error { _, err := r.h.Stat(); return err },
	}
	for call, do := range tests {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			other := newRig(t, Classic(), nil)
			calm := other.consume(Consumer{})

			r := newRig(t, panicsIn(call), nil)
			in := &inbox{t: t}
			if call == "Consume" {
				in = nil
			} else {
				in = r.consume(Consumer{Prefetch: 1})
			}
			require.ErrorIs(t, do(r, in), ErrGone)

			err := r.gone()
			require.ErrorContains(t, err, "queue 'q' in vhost '/': its type classic panicked: no "+call)
			require.ErrorContains(t, err, "host_fail_test.go", "who looks for the cause needs the stack")
			if in != nil {
				require.Equal(t, 1, in.cancels())
			}
			_, rejected := r.answers.given()
			require.Len(t, rejected, int(r.seq), "what it was given is rejected")
			r.post("later")
			r.h.PostLater(NewBatch())
			r.answers.want(nil, seqs(1, r.seq))
			_, err = r.h.Stat()
			require.ErrorIs(t, err, ErrGone)

			other.post("1")
			calm.want("1")
			other.deleteAndBalance()
		})
	}
}

func TestATypeThatPanicsWhenAQueueIsOpened(t *testing.T) {
	t.Parallel()
	_, err := NewHost(opensBadly{}, Spec{Name: "q", VHost: "/", Type: "bad"}, HostEnv{})
	require.ErrorContains(t, err, "queue 'q' in vhost '/': its type bad panicked: cannot open")
}

type opensBadly struct{ Type }

func (opensBadly) Open(Spec, Env) (Queue, error) { panic("cannot open") }

// failing is a classic type whose queues ask for something impossible after one
// of their calls.
func failing(call string, ask func(*Actions)) Type {
	return hooked{Type: Classic(), after: func(c string, out *Actions) {
		if c == call {
			ask(out)
		}
	}}
}

func TestATypeThatBreaksTheContractFailsOnlyItsOwnQueue(t *testing.T) {
	t.Parallel()
	m := message.New("", "q", []byte{0, 0}, 0)
	tests := map[string]struct {
		ask  func(*Actions)
		want string
	}{
		"delivers to an unknown consumer": {
			func(out *Actions) { out.Deliver = append(out.Deliver, Delivery{Consumer: 99, Msg: m}) },
			"a delivery for a consumer the queue does not have"},
		"stores without a store": {
			func(out *Actions) { out.Store = append(out.Store, store.Op{Kind: store.Remove}) },
			"panicked"},
		"loads without a store": {
			func(out *Actions) { out.Load = append(out.Load, store.Range{}) },
			"panicked"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, failing("Enqueue", tt.ask), nil)
			in := r.consume(Consumer{Prefetch: 1})
			r.post("1", "2")
			require.ErrorContains(t, r.gone(), tt.want)
			require.Equal(t, 1, in.cancels())
			_, rejected := r.answers.given()
			require.Subset(t, seqs(1, 2), rejected)
			confirmed, _ := r.answers.given()
			require.Len(t, append(confirmed, rejected...), 2, "every publish is answered")
		})
	}
}

func TestATypeThatDeliversToACancelledConsumerFails(t *testing.T) {
	t.Parallel()
	r := newRig(t, failing("Purge", func(out *Actions) {
		out.Deliver = append(out.Deliver, Delivery{Consumer: 1})
	}), nil)
	in := r.consume(Consumer{NoAck: true})
	r.post("1")
	in.want("1")
	r.h.Cancel(in.id)
	_, err := r.h.Purge()
	require.NoError(t, err, "it had been carried out")
	require.ErrorContains(t, r.gone(), "a delivery for a consumer the queue does not have")
	require.Zero(t, in.cancels(), "it had cancelled itself")
}

// A reply that nobody waits for would otherwise keep its message for ever.
func TestAnAnswerToAGetThatNobodyAskedForIsReleased(t *testing.T) {
	t.Parallel()
	var stray *message.Message
	typ := failing("Purge", func(out *Actions) { out.Got = append(out.Got, GetReply{Ref: 77, Msg: stray}) })
	r := newRig(t, typ, nil)
	stray = r.message("stray", false)
	_, err := r.h.Purge()
	require.NoError(t, err)
	r.deleteAndBalance()
}

var errStays = errors.New("stays")

// stubborn wants to go and refuses to be deleted.
type stubborn struct{ hooked }

func (t stubborn) Open(s Spec, env Env) (Queue, error) {
	q, err := t.hooked.Open(s, env)
	return stubbornQueue{q}, err
}

type stubbornQueue struct{ Queue }

func (stubbornQueue) Delete(bool, bool, *Actions) (int, error) { return 0, errStays }

func TestAQueueThatWantsToGoAndRefusesToBeDeletedFails(t *testing.T) {
	t.Parallel()
	typ := stubborn{hooked{Type: Classic(), after: func(call string, out *Actions) {
		if call == "Purge" {
			out.Gone = true
		}
	}}}
	r := newRig(t, typ, nil)
	in := r.consume(Consumer{})
	_, err := r.h.Purge()
	require.NoError(t, err)
	require.ErrorIs(t, r.gone(), errStays)
	require.Equal(t, 1, in.cancels())
}

// What was answered before the failure stays answered; what stands behind it was
// never handed over.
func TestAFailureInTheMiddleOfABatch(t *testing.T) {
	t.Parallel()
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprint("stored ", stored), func(t *testing.T) {
			t.Parallel()
			log := newFakeLog()
			r := newRig(t, panicsIn("Settle"), func(s *Spec, env *HostEnv) {
				if stored {
					log.with(s, env)
				}
			})
			if stored {
				log.recoverIn(1, nil)
				r.running.Wait()
			}
			in := r.consume(Consumer{Prefetch: 1})
			b := NewBatch()
			b.Publish(r.publish("1", false))
			b.Publish(r.publish("2", true)) // waits for the store, if there is one
			b.Settle(Settle{ID: 7, Outcome: Ack})
			b.Publish(r.publish("3", true))
			b.Publish(Publish{Msg: r.message("nobody asks", false)})
			gone := 0
			b.control(func(g bool) {
				if g {
					gone++
				}
			})
			r.h.Post(b)
			in.want("1")
			require.Equal(t, 1, in.cancels())
			require.Equal(t, 1, gone)
			require.Error(t, r.gone())
			if stored {
				r.answers.want(seqs(1, 1), seqs(2, 3))
			} else {
				r.answers.want(seqs(1, 2), seqs(3, 3))
			}
			for _, m := range r.made[2:] {
				require.EqualValues(t, 1, m.Refs(), "%q was never handed over", m.Body())
			}
			log.commit(9)
		})
	}
}

func TestWhatWaitsInTheMailboxOfAQueueThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		enter, leave := make(chan struct{}), make(chan struct{})
		r := newRig(t, hooked{Type: Classic(), before: func(call string) {
			if call == "Purge" {
				close(enter)
				<-leave
				panic("no")
			}
		}}, nil)
		in := r.consume(Consumer{Prefetch: 1})
		type answer struct {
			call string
			err  error
		}
		got := make(chan answer, 9)
		ask := func(call string, f func() error) {
			go func() {
				err := f()
				if len(r.ends) != 1 {
					t.Errorf("%s returned before the broker knew that the queue is gone", call)
				}
				got <- answer{call, err}
			}()
		}
		ask("Purge", func() error { _, err := r.h.Purge(); return err })
		<-enter
		ask("Get", func() error { _, g := r.get(true); return g.Err })
		ask("Stat", func() error { _, err := r.h.Stat(); return err })
		ask("Delete", func() error { return r.h.Delete(false, false, nil) })
		r.post("1", "2")
		synctest.Wait()
		close(leave)
		for range 4 {
			a := <-got
			require.ErrorIs(t, a.err, ErrGone, a.call)
		}
		synctest.Wait()
		require.Error(t, r.gone())
		require.Equal(t, 1, in.cancels())
		r.answers.want(nil, seqs(1, 2)) // they are lost, not stored
		r.balance()
	})
}
