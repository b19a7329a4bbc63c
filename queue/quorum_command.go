package queue

import (
	"cmp"
	"slices"

	"github.com/warrenmq/warren/message"
)

// command is how many of settlements are one command in RabbitMQ, which looks after each
// how full the queue is: those of one consumer, of a transaction, or of a channel that
// is gone, and what one method requeues.
func command(in []Settle) int {
	for i := 1; i < len(in); i++ {
		next, last := &in[i], &in[i-1]
		switch {
		case next.Outcome == Return:
			if last.Outcome != Return {
				return i
			}
		case next.Consumer != last.Consumer && next.Atom == nil, next.First && next.Outcome == Requeue:
			return i
		}
	}
	return len(in)
}

// returnsAtOnce reports whether all messages of a command come back before anybody is
// given one of them. Where there is no delivery limit each is put to the end of the
// queue by a command of its own, and what basic.get took was a consumer each time.
func (q *quorum) returnsAtOnce(first Settle) bool {
	return first.Outcome == Return || first.Outcome == Requeue && !q.rules.toTail && first.Consumer != 0
}

// effects is how much of what a queue tells others was there before a command.
type effects struct{ delivered, dead int }

// arrange puts what follows from messages that came back at once into the order in which
// RabbitMQ sends it (rabbit_fifo:checkout/4): first what does not fit any more, then other
// dead letters; and deliveries in the order of the consumers' tags, those of one consumer
// together. The latter shows only in consumers of one channel.
func (q *quorum) arrange(before effects, out *Actions) {
	if dead := out.DeadLetter[before.dead:]; len(dead) > 1 {
		slices.SortStableFunc(dead, func(a, b Dead) int {
			return cmp.Compare(afterDrop(a), afterDrop(b))
		})
	}
	if ds := out.Deliver[before.delivered:]; len(ds) > 1 {
		slices.SortStableFunc(ds, func(a, b Delivery) int {
			return cmp.Compare(q.consumers.tag(a.Consumer), q.consumers.tag(b.Consumer))
		})
	}
}

// afterDrop is 0 for a message that did not fit, and 1 for one that died of something else.
func afterDrop(d Dead) int {
	if d.Reason == MaxLen {
		return 0
	}
	return 1
}

// tag gives the tag of a consumer that is there.
func (c *consumers) tag(id message.ConsumerID) string {
	if t := c.byID[id]; t != nil {
		return t.Tag
	}
	return ""
}
