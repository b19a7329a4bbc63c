package channel

import (
	"time"

	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// timeoutTicks is how often a channel looks at its deliveries in the time they may
// stay unsettled: once a minute in half an hour, as RabbitMQ does.
const timeoutTicks = 30

// minTick and maxTick bound how often a channel looks if that time is very short, or
// long, or without end. Another policy may change it meanwhile.
const (
	minTick = time.Millisecond
	maxTick = time.Minute
)

// maxMarks is how many marks a watch keeps before it gives up every other one.
const maxMarks = 2 * timeoutTicks

// watch finds deliveries that are not settled in time (contract 03 §11). It costs
// a delivery nothing: tags are in the order of time, so that it is enough to note now
// and then which was the last. There is a timer only while there are unsettled
// deliveries, and it is not touched by them.
type watch struct {
	timer   *time.Timer
	ticking bool
	// begun is when the ticking began, marks are the last delivery tags at some
	// times since then, each higher than the one before.
	begun time.Time
	marks []mark
}

// mark says that deliveries up to tag have been there since at, counted from the
// beginning.
type mark struct {
	tag uint64
	at  time.Duration
}

// watchUnacked sees that somebody looks at the channel's unsettled deliveries, to
// which one was just added. The caller holds mu.
func (ch *Channel) watchUnacked() {
	w := ch.watch
	if w != nil && w.ticking {
		return
	}
	if w == nil {
		w = &watch{}
		ch.watch = w
	}
	w.ticking, w.begun = true, time.Now()
	w.marks = append(w.marks[:0], mark{ch.tag, 0})
	tick := ch.tick()
	if w.timer == nil {
		w.timer = time.AfterFunc(tick, ch.lookForTimeout)
	} else {
		w.timer.Reset(tick)
	}
}

// patience is how long a delivery from a queue may stay unsettled; ok is false if that
// is without end. What the queue has goes before what the broker has, as in RabbitMQ
// 3.12.
func (ch *Channel) patience(h *queue.Host) (d time.Duration, ok bool) {
	if d, ok = h.ConsumerTimeout(); ok {
		return d, true
	}
	return ch.ConsumerTimeout, ch.ConsumerTimeout > 0
}

// tick is how long to wait until the next look: it is the oldest delivery, and no
// other, that is looked at. The caller holds mu.
func (ch *Channel) tick() time.Duration {
	if ch.unacked.live > 0 {
		if d, ok := ch.patience(ch.unacked.at(0).host); ok {
			return min(max(d/timeoutTicks, minTick), maxTick)
		}
	}
	return maxTick
}

// lookForTimeout runs once a tick.
func (ch *Channel) lookForTimeout() {
	tag, after, late := ch.timedOut()
	if !late {
		return
	}
	e := reply.Errorf(reply.PreconditionFailed,
		"delivery acknowledgement on channel %d timed out. Timeout value used: %d ms. "+
			"This timeout value can be configured, see consumers doc guide to learn more",
		ch.Number, after.Milliseconds())
	e.NoMethod = true
	ch.Out.TimedOut(tag, e)
}

// timedOut reports whether the oldest delivery is not settled in time, to which
// consumer it went, and what the time was. Unless it is, the next look is arranged.
func (ch *Channel) timedOut() (consumerTag string, after time.Duration, late bool) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	w := ch.watch
	if ch.closed.Load() {
		return "", 0, false
	}
	uncommitted := ch.mode.UncommittedAcks > 0 // which a rollback gives back
	if ch.unacked.live == 0 && !uncommitted {
		w.ticking = false
		return "", 0, false
	}
	now := time.Since(w.begun)
	if ch.unacked.live > 0 {
		oldest := ch.unacked.at(0)
		if d, ok := ch.patience(oldest.host); ok && w.age(oldest.tag, now) >= d {
			return ch.tagOf(oldest), d, true
		}
		if !uncommitted {
			w.forget(oldest.tag)
		}
	}
	w.note(ch.tag, now)
	w.timer.Reset(ch.tick())
	return "", 0, false
}

// age is how old a delivery is at least.
func (w *watch) age(tag uint64, now time.Duration) time.Duration {
	for _, m := range w.marks {
		if m.tag >= tag {
			return now - m.at
		}
	}
	return 0
}

// forget drops the marks that are of no use when the oldest delivery is that of tag.
func (w *watch) forget(tag uint64) {
	n := 0
	for n < len(w.marks) && w.marks[n].tag < tag {
		n++
	}
	w.marks = w.marks[:copy(w.marks, w.marks[n:])]
}

// note marks the last delivery of now. When there are too many marks every other one
// goes, but for the last.
func (w *watch) note(tag uint64, now time.Duration) {
	if n := len(w.marks); n > 0 && w.marks[n-1].tag == tag {
		return
	}
	w.marks = append(w.marks, mark{tag, now})
	if len(w.marks) <= maxMarks {
		return
	}
	kept := w.marks[:0]
	for i, m := range w.marks {
		if (len(w.marks)-1-i)%2 == 0 {
			kept = append(kept, m)
		}
	}
	w.marks = kept
}

// tagOf gives the tag of the consumer that a delivery went to; none if it is gone,
// or if it was a basic.get. The caller holds mu.
func (ch *Channel) tagOf(e *unackedEntry) string {
	for tag, c := range ch.consumers {
		if c.host == e.host && c == e.by {
			return tag
		}
	}
	return ""
}

// stopWatch ends the looking. The caller holds mu.
func (ch *Channel) stopWatch() {
	if ch.watch != nil {
		ch.watch.timer.Stop()
	}
}
