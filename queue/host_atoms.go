package queue

import (
	"sync/atomic"

	"github.com/warrenmq/warren/store"
)

// atomSubmit is a submit of changes that belong to an atom, for which the atom is
// owed one answer: the Log's or, as a Log gives none after it was dropped, that of
// the queue's deletion.
type atomSubmit struct {
	atom     *store.Atom
	answered atomic.Bool
}

func (s *atomSubmit) answer(err error) {
	if s.answered.CompareAndSwap(false, true) {
		s.atom.Answered(err)
	}
}

// submitted notes that changes of an atom are about to be submitted.
func (h *Host) submitted(a *store.Atom) *atomSubmit {
	if h.inAtoms == nil {
		h.inAtoms = &fifo[*atomSubmit]{}
	}
	for h.inAtoms.len() > 0 && (*h.inAtoms.first()).answered.Load() {
		h.inAtoms.pop()
	}
	s := &atomSubmit{atom: a}
	h.inAtoms.push(s)
	a.Submitted()
	return s
}

// answerAtoms answers what a Log that was dropped leaves open: what is in a queue
// that was deleted needs not be stored.
func (h *Host) answerAtoms() {
	if h.inAtoms == nil {
		return
	}
	for _, s := range h.inAtoms.all() {
		s.answer(nil)
	}
	h.inAtoms = nil
}

// atomRun is what a queue was handed in one call, to leave the atoms of it once
// what the queue wants stored has been submitted.
//
// Each publish and each settle is a participant of its atom. It leaves whether or
// not its queue had anything to store: a message that is transient or went
// straight to a consumer, an acknowledgement of one that the store never had, a
// queue that was deleted meanwhile. So a store never waits for a queue that has
// nothing to say.
type atomRun struct {
	publishes []Publish
	settles   []Settle
}

// leave leaves the atoms; err says why what belongs to them was not submitted.
func (r *atomRun) leave(err error) {
	for i := range r.publishes {
		if a := r.publishes[i].Atom; a != nil {
			a.Leave(err)
		}
	}
	for i := range r.settles {
		if a := r.settles[i].Atom; a != nil {
			a.Leave(err)
		}
	}
	r.publishes, r.settles = nil, nil
}
