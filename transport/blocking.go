package transport

import (
	"context"
	"fmt"
	"iter"
	"sync"
)

// Blocking says that an alarm of the broker begins to make publishes wait, or
// that they go on. It is what connection.blocked and connection.unblocked are to
// a client elsewhere.
type Blocking struct {
	Active bool
	// Reason is why, such as "low on memory"; empty if not Active.
	Reason string
}

// episodes is what a connection knows of the alarms it has run into.
type episodes struct {
	mu      sync.Mutex
	waiting int // publishes that wait
	// The latest episode of alarms in which something was published.
	reason  string
	over    <-chan struct{} // nil if there was none
	changed chan struct{}   // closed with the next one; nil if nobody waits for it
}

// begin notes that a publish waits.
func (e *episodes) begin(reason string, over <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting++
	if e.over == over || isClosed(over) {
		return // told already, or not worth it any more
	}
	e.reason, e.over = reason, over
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

func (e *episodes) end() {
	e.mu.Lock()
	e.waiting--
	e.mu.Unlock()
}

// latest gives the latest episode, and what is closed when there is another one.
func (e *episodes) latest() (reason string, over, changed <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	return e.reason, e.over, e.changed
}

// Admit waits until the broker has no alarm. Publish does so by itself; who
// publishes by Do calls Admit before it. Nothing else waits, so that consumers of
// the same channel go on. The error is that of ctx, with the reason of the wait, or
// of the channel, if one of them ends first.
func (m *Memory) Admit(ctx context.Context) error {
	alarms := m.conn.cfg.Alarms
	for alarms.Any() {
		reason, over := alarms.Episode()
		if over == nil {
			return nil
		}
		if err := m.await(ctx, reason, over); err != nil {
			return err
		}
	}
	return nil
}

func (m *Memory) await(ctx context.Context, reason string, over <-chan struct{}) error {
	e := &m.conn.episodes
	e.begin(reason, over)
	defer e.end()
	select {
	case <-over:
		return nil
	case <-m.done:
		return m.Err()
	case <-ctx.Done():
		return fmt.Errorf("not published, as the broker is %s: %w", reason, ctx.Err())
	}
}

// Blocked gives to a range loop when publishes of the connection begin to wait for
// an alarm and when they go on, by turns, once for each episode of alarms in which
// something is published. An episode that is under way when the loop begins is its
// first. The loop ends when ctx or the connection does; the last thing it gets is
// then the reason. Of what happens while its body runs it gets the latest episode.
// Any number of loops may run at once, and each gets everything.
func (l *Local) Blocked(ctx context.Context) iter.Seq2[Blocking, error] {
	return func(yield func(Blocking, error) bool) {
		// wait waits for c, and reports false when the loop has come to its end.
		wait := func(c <-chan struct{}) bool {
			select {
			case <-c:
				return true
			case <-l.done:
				yield(Blocking{}, l.Err())
			case <-ctx.Done():
				yield(Blocking{}, ctx.Err())
			}
			return false
		}
		reason, over, changed := l.episodes.latest()
		if over == nil || isClosed(over) {
			if !wait(changed) {
				return
			}
			reason, over, changed = l.episodes.latest()
		}
		for {
			if !yield(Blocking{Active: true, Reason: reason}, nil) || !wait(over) ||
				!yield(Blocking{}, nil) || !wait(changed) {
				return
			}
			reason, over, changed = l.episodes.latest()
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// State is RabbitMQ's name for how the connection stands to the broker's alarms
// (contract 02 §1): blocked while a publish waits for one to clear, blocking during
// an alarm otherwise, and running without.
func (l *Local) State() string {
	l.episodes.mu.Lock()
	waiting := l.episodes.waiting > 0
	l.episodes.mu.Unlock()
	switch {
	case waiting:
		return "blocked"
	case l.cfg.Alarms.Any():
		return "blocking"
	}
	return "running"
}
