package channel

import (
	"time"

	"github.com/warrenmq/warren/reply"
)

// timeoutTicks is how often a channel looks at its deliveries in the time they may
// stay unsettled: once a minute in half an hour, as RabbitMQ does.
const timeoutTicks = 30

// minTick bounds how often a channel looks if that time is very short.
const minTick = time.Millisecond

// watch finds deliveries that are not settled in time (contract 03 §11). It costs
// a delivery nothing: tags are in the order of time, so that it is enough to know
// the last tag of each tick. There is a timer only while there are unsettled
// deliveries, and it is not touched by them.
type watch struct {
	timer   *time.Timer
	ticking bool
	ticks   int
	// tags are the last delivery tags at the latest ticks.
	tags [timeoutTicks]uint64
}

// watchUnacked sees that somebody looks at the channel's unsettled deliveries, to
// which one was just added. The caller holds mu.
func (ch *Channel) watchUnacked() {
	w := ch.watch
	if ch.ConsumerTimeout <= 0 || w != nil && w.ticking {
		return
	}
	if w == nil {
		w = &watch{}
		ch.watch = w
	}
	w.ticking, w.ticks, w.tags[0] = true, 0, ch.tag
	if w.timer == nil {
		w.timer = time.AfterFunc(ch.tick(), ch.lookForTimeout)
	} else {
		w.timer.Reset(ch.tick())
	}
}

func (ch *Channel) tick() time.Duration { return max(ch.ConsumerTimeout/timeoutTicks, minTick) }

// lookForTimeout runs once a tick.
func (ch *Channel) lookForTimeout() {
	tag, late := ch.timedOut()
	if !late {
		return
	}
	e := reply.Errorf(reply.PreconditionFailed,
		"delivery acknowledgement on channel %d timed out. Timeout value used: %d ms. "+
			"This timeout value can be configured, see consumers doc guide to learn more",
		ch.Number, ch.ConsumerTimeout.Milliseconds())
	e.NoMethod = true
	ch.Out.TimedOut(tag, e)
}

// timedOut reports whether the oldest delivery is not settled in time, and to which
// consumer it went. Unless it is, the next look is arranged.
func (ch *Channel) timedOut() (consumerTag string, late bool) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	w := ch.watch
	if ch.closed {
		return "", false
	}
	if ch.unacked.live == 0 && ch.mode.UncommittedAcks == 0 { // which a rollback gives back
		w.ticking = false
		return "", false
	}
	w.ticks++
	last := &w.tags[w.ticks%timeoutTicks]
	if w.ticks >= timeoutTicks && ch.unacked.live > 0 {
		if e := ch.unacked.at(0); e.tag <= *last {
			return ch.tagOf(e), true
		}
	}
	*last = ch.tag
	w.timer.Reset(ch.tick())
	return "", false
}

// tagOf gives the tag of the consumer that a delivery went to; none if it is gone,
// or if it was a basic.get. The caller holds mu.
func (ch *Channel) tagOf(e *unackedEntry) string {
	for tag, c := range ch.consumers {
		if c.host == e.host && c.id == e.consumer {
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
