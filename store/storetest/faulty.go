package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/warrenmq/warren/store"
)

// ErrInjected is an error that a test asked for.
var ErrInjected = errors.New("storetest: injected error")

// Faulty is a store that does what another one does until it is told to fail.
// Its own methods may be called from any goroutine at any time.
type Faulty struct {
	store.Store

	mu      sync.Mutex
	turn    sync.Cond // signalled when hold changes
	applied int
	failAt  int // the number of the Apply that fails; 0 for none
	failErr error
	after   bool
	failed  error
	space   *store.Space
	hold    bool
	holdAt  int // the number of the Apply that begins Hold; 0 for none
	waiting int
}

// NewFaulty puts a Faulty in front of s.
func NewFaulty(s store.Store) *Faulty {
	f := &Faulty{Store: s}
	f.turn.L = &f.mu
	return f
}

// FailApply makes the n-th Apply from now fail with err; the next one is 1. If
// written is set its changes reach the store all the same, as when a disk fails
// after it has written. Every later Apply fails with the same error, as the
// contract says, unless err is store.ErrNoSpace, which fails once.
func (f *Faulty) FailApply(n int, err error, written bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failAt, f.failErr, f.after = f.applied+n, err, written
}

// SetSpace makes Space return sp, and Apply fail with store.ErrNoSpace while
// sp.Free is below sp.Reserve, save for what only deletes and shrinks, which passes
// down to three quarters of it. Nil gives the word back to the store.
func (f *Faulty) SetSpace(sp *store.Space) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.space = sp
}

// Hold makes Apply wait, before it does anything, until Release.
func (f *Faulty) Hold() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = true
}

// HoldApply is Hold from the n-th Apply from now on; the next one is 1.
func (f *Faulty) HoldApply(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holdAt = f.applied + n
}

// Release ends Hold.
func (f *Faulty) Release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = false
	f.turn.Broadcast()
}

// AwaitHeld returns when an Apply waits in Hold.
func (f *Faulty) AwaitHeld() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.waiting == 0 {
		f.turn.Wait()
	}
}

// Applied is how many times Apply was called.
func (f *Faulty) Applied() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.applied
}

// Apply implements store.Store.
func (f *Faulty) Apply(changes []store.Change) error {
	written, err := f.next(changes)
	if err == nil {
		return f.Store.Apply(changes)
	}
	if written {
		if real := f.Store.Apply(changes); real != nil {
			return real
		}
	}
	return err
}

// next waits for Hold to end and says whether this Apply fails.
func (f *Faulty) next(changes []store.Change) (written bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied++
	n := f.applied
	f.hold = f.hold || n == f.holdAt
	f.waiting++
	f.turn.Broadcast()
	for f.hold {
		f.turn.Wait()
	}
	f.waiting--
	switch {
	case f.failed != nil:
		return false, f.failed
	case n == f.failAt:
		if !errors.Is(f.failErr, store.ErrNoSpace) {
			f.failed = f.failErr
		}
		return f.after, f.failErr
	case f.space != nil && f.space.Free < f.space.Reserve &&
		(f.space.Free < f.space.Reserve-f.space.Reserve/4 || slices.ContainsFunc(changes, needsRoom)):
		return false, fmt.Errorf("%w: %d octets are free, %d are kept in reserve", store.ErrNoSpace, f.space.Free, f.space.Reserve)
	}
	return false, nil
}

func needsRoom(c store.Change) bool { return !c.Delete && !c.Shrinks }

// Space implements store.Store.
func (f *Faulty) Space() (store.Space, error) {
	f.mu.Lock()
	sp := f.space
	f.mu.Unlock()
	if sp != nil {
		return *sp, nil
	}
	return f.Store.Space()
}
