package store

import (
	"cmp"
	"sync"
)

// Atom is a set of changes, possibly of several queues, that becomes durable as
// one: after a crash all of them are there, or none. It is identified by its
// address.
//
// Who may still add a change to it is a participant. Whoever makes an atom is
// its first one; it lets others Join, for instance one for each publish and
// settle it sends to a queue, and every participant leaves exactly once, when it
// has submitted what it had, be that nothing: a message that needs no store, a
// queue that is gone. When the last one has left the atom is whole, and a store
// waits for nobody any more.
//
// Who submits changes of it says so with Submitted, and with Answered what became
// of them, so that Settled can tell when the store has answered for all.
//
// All methods may be called from any goroutine.
type Atom struct {
	mu           sync.Mutex
	participants int
	err          error
	whole        []func(error)

	unanswered int
	failed     error // the first of Answered
	settled    []func(error)
}

// NewAtom makes an atom with one participant: its maker.
func NewAtom() *Atom { return &Atom{participants: 1} }

// Join adds n participants. Only one that has not left yet may let others in.
func (a *Atom) Join(n int) {
	a.mu.Lock()
	a.participants += n
	a.mu.Unlock()
}

// Leave says that one participant has submitted all it had. With an error it
// could not do so, and nothing of the atom may be carried out; the first such
// error is the atom's.
func (a *Atom) Leave(err error) {
	a.mu.Lock()
	a.participants--
	if a.err == nil {
		a.err = err
	}
	if a.participants > 0 {
		a.mu.Unlock()
		return
	}
	whole := a.whole
	a.whole = nil
	err = a.err
	settled, failed := a.takeSettled()
	a.mu.Unlock()
	for _, f := range whole {
		f(err)
	}
	for _, f := range settled {
		f(failed)
	}
}

// Submitted says that changes of the atom went to the store, for which Answered
// follows exactly once. Only a participant may call it.
func (a *Atom) Submitted() {
	a.mu.Lock()
	a.unanswered++
	a.mu.Unlock()
}

// Answered says what became of changes that went to the store.
func (a *Atom) Answered(err error) {
	a.mu.Lock()
	a.unanswered--
	if a.failed == nil {
		a.failed = err
	}
	settled, failed := a.takeSettled()
	a.mu.Unlock()
	for _, f := range settled {
		f(failed)
	}
}

// Settled has f called once when the last participant has left and the store has
// answered for all that was submitted, with the first error of either: under the
// rules of Whole, and at once if that is so already.
func (a *Atom) Settled(f func(error)) {
	a.mu.Lock()
	a.settled = append(a.settled, f)
	settled, failed := a.takeSettled()
	a.mu.Unlock()
	for _, f := range settled {
		f(failed)
	}
}

// takeSettled gives those to be told that the atom is settled, if it is. The lock
// is held.
func (a *Atom) takeSettled() ([]func(error), error) {
	if a.participants > 0 || a.unanswered > 0 {
		return nil, nil
	}
	settled := a.settled
	a.settled = nil
	return settled, cmp.Or(a.err, a.failed)
}

// Participants is how many have not left yet; 0 says that the atom is whole.
func (a *Atom) Participants() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return max(a.participants, 0)
}

// Err is why the atom must not be carried out, nil if it may. It does not change
// once the atom is whole.
func (a *Atom) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// Whole has f called once with the atom's error when the last participant has
// left: by the goroutine that leaves, which may be one that runs a queue, so
// that f must not block; or at once if the atom is whole already.
func (a *Atom) Whole(f func(error)) {
	a.mu.Lock()
	if a.participants > 0 {
		a.whole = append(a.whole, f)
		a.mu.Unlock()
		return
	}
	err := a.err
	a.mu.Unlock()
	f(err)
}
