package warren

import (
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
// A change that cannot be written for lack of space is in force all the same, and
// is written with the next one. Its own asker gets the error.
type definitions struct {
	ms *msgstore.Store
	// restoring is set while New makes anew what was kept: nothing of that is a
	// change.
	restoring atomic.Bool

	mu       sync.Mutex
	next     uint64 // the next number to be given out
	reserved uint64 // numbers below it may have been given out, says the disk
	handed   uint64 // commits handed over
	durable  uint64 // commits answered
	// latest is the last commit of each key that is not answered yet.
	latest  map[string]uint64
	unsaved map[string]msgstore.Definition // what could not be written
	err     error                          // why; nil if there is nothing unsaved
	waiting []settling
}

// settling is somebody who waits for a commit.
type settling struct {
	commit uint64
	then   func(error)
}

func newDefinitions(ms *msgstore.Store) *definitions {
	d := &definitions{ms: ms, latest: map[string]uint64{}, unsaved: map[string]msgstore.Definition{}}
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
	for _, c := range changes {
		delete(d.unsaved, keyOf(c))
	}
	for _, c := range d.unsaved {
		changes = append(changes, c)
	}
	clear(d.unsaved)
	d.handed++
	n := d.handed
	for _, c := range changes {
		d.latest[keyOf(c)] = n
	}
	d.ms.Define(changes, func(err error) { d.answered(n, changes, err) })
}

func keyOf(c msgstore.Definition) string { return string(c.Kind) + string(c.Key) }

// answered takes the store's word for a commit. Commits are answered in order.
func (d *definitions) answered(n uint64, changes []msgstore.Definition, err error) {
	d.mu.Lock()
	for _, c := range changes {
		key := keyOf(c)
		if d.latest[key] != n {
			continue // changed again meanwhile
		}
		delete(d.latest, key)
		if err != nil {
			d.unsaved[key] = c
		}
	}
	d.durable = n
	d.err = nil
	if len(d.unsaved) > 0 {
		d.err = err
	}
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

// retry tries again what could not be written.
func (d *definitions) retry() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.unsaved) > 0 {
		d.commitLocked(nil)
	}
}

// settle calls then once everything committed before is durable, or with the error
// for which it is not: at once, or from another goroutine.
func (d *definitions) settle(then func(error)) {
	d.mu.Lock()
	if d.durable == d.handed {
		err := d.err
		d.mu.Unlock()
		then(err)
		return
	}
	d.waiting = append(d.waiting, settling{d.handed, then})
	d.mu.Unlock()
}

// wait is settle for somebody who waits. No lock may be held.
func (d *definitions) wait() error {
	done := make(chan error, 1)
	d.settle(func(err error) { done <- err })
	if err := <-done; err != nil {
		return fmt.Errorf("warren: not durable: %w", err)
	}
	return nil
}

// settled waits until what was changed before is durable. No lock may be held.
func (b *Broker) settled() error {
	if b.defs == nil {
		return nil
	}
	return b.defs.wait()
}
