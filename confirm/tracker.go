package confirm

import (
	"sync"
	"weak"
)

// Answer is one basic.ack or basic.nack for the publisher.
type Answer struct {
	// Tag is the number of the publish.
	Tag uint64
	// Multiple says that the answer is for every publish up to Tag that was not
	// answered before.
	Multiple bool
	// Nack says that it is a basic.nack.
	Nack bool
}

// Tracker is the account of one channel. Its users are the channel, which adds
// publishes; the queues, which confirm or reject them (it is a
// message.Publisher); and the connection's writer, which drains the answers. All
// of them may call at once: a call holds a lock for a few instructions and never
// waits.
//
// In the steady state nothing is allocated per publish. Memory follows the
// number of publishes that wait for an answer, and shrinks after a burst.
type Tracker struct {
	notify func()

	mu      sync.Mutex
	closed  bool
	next    uint64 // the number the next publish gets
	waiting window
	// What is settled and not drained yet.
	acks, nacks spans

	// Only Drain touches these: what it took out last time, for reuse.
	drainedAcks, drainedNacks spans
}

// New makes the account of a channel whose next publish has the number 1.
//
// notify, which may be nil, is called whenever there is something to drain for
// the first time since the last Drain. It is called without a lock from within
// Add, Confirm or Reject, so it must not block; it may call Drain. A Drain that
// runs at the same time may have been faster, and then finds nothing later.
func New(notify func()) *Tracker {
	return &Tracker{notify: notify, next: 1, waiting: newWindow(1)}
}

// Publisher implements message.Publisher: it stands for the tracker's channel.
func (t *Tracker) Publisher() any { return weak.Make(t) }

// Add takes publish seq into the account; it was routed to so many queues, and
// none (0) confirms it at once. It has to be called before the publish is posted
// to the first queue, and after everything was queued for the publisher that
// must precede the answer: a basic.return.
//
// Numbers start with 1 and come without a gap from one goroutine at a time; any
// other number is ignored.
func (t *Tracker) Add(seq uint64, queues int) {
	t.mu.Lock()
	if t.closed || seq != t.next {
		t.mu.Unlock()
		return
	}
	t.next++
	was := t.drainable()
	t.waiting.push(max(queues, 0))
	if queues <= 0 {
		t.acks.add(seq)
	}
	t.unlock(was)
}

// Confirm says that for each of the publishes from..to, both included, one of
// its queues took it. A publish is acknowledged when all of its queues have.
// Numbers that are unknown or settled are ignored.
func (t *Tracker) Confirm(from, to uint64) {
	t.mu.Lock()
	was := t.drainable()
	if !t.closed {
		t.waiting.confirm(from, to, &t.acks)
	}
	t.unlock(was)
}

// Reject says that one of the queues of publish seq refused it: the publish is
// answered with a nack right away, whatever the other queues say. A number that
// is unknown or settled is ignored.
func (t *Tracker) Reject(seq uint64) {
	t.mu.Lock()
	was := t.drainable()
	if !t.closed && t.waiting.settle(seq) {
		t.nacks.add(seq)
	}
	t.unlock(was)
}

// Outstanding is the number of publishes that wait for an answer of a queue.
func (t *Tracker) Outstanding() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0
	}
	return t.waiting.count
}

// Close ends the account: what is settled can still be drained, nothing else will
// be, and nothing is notified any more, but for a notification that another
// goroutine has begun. The publisher has to take what is outstanding as unknown.
func (t *Tracker) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if !t.drainable() {
		t.waiting = newWindow(t.next)
	}
}

func (t *Tracker) drainable() bool { return len(t.acks)+len(t.nacks) > 0 }

// unlock ends a change: it releases the lock and tells those who have to know.
// was is drainable from before the change.
func (t *Tracker) unlock(was bool) {
	tell := t.notify != nil && !was && t.drainable()
	t.mu.Unlock()
	if tell {
		t.notify()
	}
}
