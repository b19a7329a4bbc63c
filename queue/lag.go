package queue

import (
	"sync"
	"sync/atomic"
)

// A queue lags when this many octets of bodies wait in it although it has
// consumers, and has caught up when only so many are left. Between them lies
// what fits into a processor's cache together with the buffers of its sockets.
const (
	lagging  = 128 << 10
	caughtUp = lagging / 2
)

// lag is how publishers and consumers of a queue keep step. A backlog that
// outgrows the processor's cache costs a broker a quarter more for each message,
// so a publisher pauses for consumers that are about to catch up. It is a matter
// of speed only: the pause is short, and is not repeated for consumers that did
// not catch up in it, until they have.
type lag struct {
	behind   atomic.Bool // written by the goroutine that runs the queue
	hopeless bool        // guarded by mu, like done

	mu   sync.Mutex
	done chan struct{} // closed when the queue has caught up; nil if nobody waits
}

// note tells how many octets wait for consumers after a turn.
func (l *lag) note(waiting int64) {
	behind := l.behind.Load()
	switch {
	case !behind && waiting > lagging:
		l.behind.Store(true)
	case behind && waiting <= caughtUp:
		l.behind.Store(false)
		l.mu.Lock()
		l.hopeless = false
		if l.done != nil {
			close(l.done)
			l.done = nil
		}
		l.mu.Unlock()
	}
}

// pause gives a channel that is closed when the queue has caught up, or nil if
// there is no point in waiting.
func (l *lag) pause() <-chan struct{} {
	if !l.behind.Load() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hopeless || !l.behind.Load() {
		return nil
	}
	if l.done == nil {
		l.done = make(chan struct{})
	}
	return l.done
}

func (l *lag) giveUp() {
	l.mu.Lock()
	l.hopeless = l.behind.Load()
	l.mu.Unlock()
}

// Wait is what a queue asks of who posted publishes to it. The zero Wait asks
// nothing.
type Wait struct {
	// C is closed when it is over; nil if there is nothing to wait for.
	C <-chan struct{}
	// lag is set if the wait is for consumers to catch up and may be cut short.
	lag *lag
}

// Optional says that the wait only makes things faster: the queue's consumers are
// a little behind. Who waits for it does so for a few milliseconds at the most,
// and calls GiveUp if C was not closed by then.
func (w Wait) Optional() bool { return w.lag != nil }

// GiveUp ends an optional wait that was too long, so that nobody waits for these
// consumers again before they have caught up.
func (w Wait) GiveUp() { w.lag.giveUp() }
