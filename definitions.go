package warren

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/warrenmq/warren/store/msgstore"
)

// definitions keeps what was declared durable: virtual hosts, users, permissions,
// exchanges, queues and bindings. A change is handed over under the lock of what it
// changes, so that the order on the disk is the order in memory; whoever asked for
// it waits afterwards, without a lock, until it is durable.
//
// A change that cannot be written for lack of space is in force all the same; its
// asker gets the error. The store writes it, before anything else, once there is
// space.
type definitions struct {
	ms *msgstore.Store
	// restoring is set while New makes anew what was kept: nothing of that is a
	// change.
	restoring atomic.Bool

	mu       sync.Mutex
	next     uint64 // the next number to be given out
	reserved uint64 // numbers below it may have been given out, says the disk
	holding  bool   // commits are held back, to become one
	held     []msgstore.Definition
	handed   uint64 // commits handed over
	answered uint64 // commits answered
	// err is why something is not durable. It holds until a commit succeeds that
	// was handed over after the failure was known, which is number doubted or later:
	// then all before it are durable, too.
	err     error
	doubted uint64
	waiting []settling
}

// settling is somebody who waits for a commit.
type settling struct {
	commit uint64
	then   func(error)
}

func newDefinitions(ms *msgstore.Store) *definitions {
	d := &definitions{ms: ms}
	d.restoring.Store(true)
	return d
}

// numbersAtATime is how many numbers are reserved at once, so that giving one out
// seldom writes.
const numbersAtATime = 1024

// number gives a number that was never given out before, and will not be after a
// restart. It may be called under any lock but the definitions' own.
func (d *definitions) number() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next == d.reserved {
		d.reserved += numbersAtATime
		d.commitLocked([]msgstore.Definition{define(counterRecord{Next: d.reserved})})
	}
	n := d.next
	d.next++
	return n
}

// commit hands changes over that become durable together. It does not wait and may
// be called under any lock but the definitions' own.
func (d *definitions) commit(changes ...msgstore.Definition) {
	if len(changes) == 0 || d.restoring.Load() {
		return
	}
	d.mu.Lock()
	d.commitLocked(changes)
	d.mu.Unlock()
}

func (d *definitions) commitLocked(changes []msgstore.Definition) {
	if d.holding {
		d.held = append(d.held, changes...)
		return
	}
	d.handed++
	n := d.handed
	d.ms.Define(changes, func(err error) { d.answer(n, err) })
}

// hold makes one commit of all until release.
func (d *definitions) hold() {
	d.mu.Lock()
	d.holding = true
	d.mu.Unlock()
}

func (d *definitions) release() {
	d.mu.Lock()
	d.holding = false
	d.commitLocked(d.held)
	d.held = nil
	d.mu.Unlock()
}

// answer takes the store's word for a commit.
func (d *definitions) answer(n uint64, err error) {
	d.mu.Lock()
	d.answered = max(d.answered, n) // a store that is closed answers in no order
	switch {
	case err != nil:
		d.err, d.doubted = err, d.handed+1
	case n >= d.doubted:
		d.err = nil
	}
	err = d.err
	told := 0
	for told < len(d.waiting) && d.waiting[told].commit <= n {
		told++
	}
	tell := d.waiting[:told:told]
	d.waiting = d.waiting[told:]
	d.mu.Unlock()
	for _, w := range tell {
		w.then(err)
	}
}

// settle calls then once everything committed before is durable, or with the error
// for which it is not: at once, or from another goroutine.
func (d *definitions) settle(then func(error)) {
	d.mu.Lock()
	if d.answered == d.handed {
		if d.err == nil {
			d.mu.Unlock()
			then(nil)
			return
		}
		// It may have been written meanwhile: a commit of nothing finds out.
		d.commitLocked(nil)
	}
	d.waiting = append(d.waiting, settling{d.handed, then})
	d.mu.Unlock()
}

// wait is settle for somebody who waits. No lock may be held.
func (d *definitions) wait() error {
	done := make(chan error, 1)
	d.settle(func(err error) { done <- err })
	return <-done
}

// settled waits until what was changed before is durable. No lock may be held.
func (b *Broker) settled() error {
	if b.defs == nil {
		return nil
	}
	err := b.defs.wait()
	if errors.Is(err, msgstore.ErrClosed) {
		err = ErrClosed // the store closes with the broker
	}
	if err != nil {
		return fmt.Errorf("warren: the change is not durable: %w", err)
	}
	return nil
}

// keep commits one change, if the broker has a store.
func (b *Broker) keep(change func() msgstore.Definition) {
	if b.defs != nil {
		b.defs.commit(change())
	}
}
