package transport

import (
	"sync"
	"time"
)

// side is the reading or the writing side of a stream. The stream's mutex, which
// is wake.L, guards it.
type side struct {
	wake    sync.Cond
	closed  bool
	expired bool // the deadline is past

	deadline time.Time   // zero for none
	timer    *time.Timer // made when it is first needed
	due      time.Time   // when timer fires; zero while it does not run
}

// close ends the side and wakes those who wait there.
func (e *side) close() {
	e.closed = true
	e.deadline = time.Time{}
	e.stopTimer()
	e.wake.Broadcast()
}

// setDeadline takes the mutex, unlike the other methods. It does nothing to a
// closed side.
//
// Clients put off the read deadline with every frame. Only a deadline that comes
// before the one the timer runs for costs more than storing it: otherwise the
// timer fires too early, and then goes on to the deadline of that time.
func (e *side) setDeadline(t time.Time) {
	e.wake.L.Lock()
	defer e.wake.L.Unlock()
	if e.closed {
		return
	}
	e.deadline, e.expired = t, false
	if t.IsZero() {
		e.stopTimer()
		return
	}
	if !e.due.IsZero() && !t.Before(e.due) && time.Until(t) > 0 {
		return
	}
	e.check()
}

// check finds out whether the deadline is past, and sets the timer for it if it
// is not.
func (e *side) check() {
	left := time.Until(e.deadline)
	switch {
	case left <= 0:
		e.expired = true
		e.stopTimer()
		e.wake.Broadcast()
		return
	case e.timer == nil:
		e.timer = time.AfterFunc(left, e.timeout)
	default:
		e.timer.Reset(left)
	}
	e.due = e.deadline
}

// timeout is what the timer does. A change of the deadline may overtake it, so
// it looks at what holds now.
func (e *side) timeout() {
	e.wake.L.Lock()
	defer e.wake.L.Unlock()
	if e.deadline.IsZero() || e.expired {
		return
	}
	e.check()
}

func (e *side) stopTimer() {
	if !e.due.IsZero() {
		e.timer.Stop()
		e.due = time.Time{}
	}
}
