package queue

import (
	"math"

	"github.com/warrenmq/warren/message"
)

const (
	argDeliveryLimit    = "x-delivery-limit"
	policyDeliveryLimit = "delivery-limit"
)

// noLimit lets a message come back as often as it likes.
const noLimit = math.MaxInt64

// deliveryLimit gives how often a message may come back: the lower one of a queue's
// argument and its policy, or without either the broker's default, where 0 is none.
// limited is false if there is none.
//
// RabbitMQ compares the count with whatever the argument is, and numbers are less
// than anything else, so that a value that is no number is a limit that nobody
// reaches, but one all the same.
func deliveryLimit(arguments, policy message.Table, byDefault int) (limit int64, limited bool) {
	limit = noLimit
	for _, v := range []struct {
		from message.Table
		name string
	}{{arguments, argDeliveryLimit}, {policy, policyDeliveryLimit}} {
		value, ok := v.from.Get(v.name)
		if !ok || value == nil {
			continue
		}
		limited = true
		if n, ok := message.Int(value); ok {
			limit = min(limit, n)
		}
	}
	if !limited && byDefault > 0 {
		return int64(byDefault), true
	}
	return limit, limited
}

// limitDeliveries makes the rules those of a queue that counts.
func (r *rules) limitDeliveries(limit int64) { r.any, r.counts, r.limit = true, true, limit }

// tooOften reports whether a message that somebody holds may not come back once more.
func (q *classic) tooOften(s slot) bool {
	return q.rules.counts && int64(s.count())+1 > q.rules.limit
}

// comeBack takes a message back that a consumer had, unless it came back too often.
// It was taken out of account. later is what movesLater says.
func (q *classic) comeBack(e *Settle, s slot, later bool, out *Actions) {
	if q.rules.counts {
		dies := q.tooOften(s)
		s.setCount(s.count() + 1)
		if dies {
			q.lay(e.ID, s, LimitReached, e.Atom, out)
			return
		}
	}
	if q.rules.toTail && e.Outcome == Requeue {
		q.move(e, s, later, out)
		q.dropReturned(out) // each on its own
		return
	}
	q.giveBack(e.ID, s)
	q.account(e.ID, s, 1)
	if q.inTurn && s.is(kept) && q.memory.crowded() {
		q.evict(e.ID, s) // it is not the next one, as it would be at its old place
	}
}

// endDoomed ends the messages that came back once too often with the end of an
// earlier run, so that one which brings the whole broker down does not do so for
// ever.
func (q *classic) endDoomed(out *Actions) {
	if !q.rules.counts {
		return
	}
	var doomed []uint64
	q.each(func(seq uint64, s slot) {
		if s.is(slotReady|redelivered) && int64(s.count()) > q.rules.limit {
			doomed = append(doomed, seq)
		}
	})
	for _, seq := range doomed {
		s := q.at(seq)
		q.account(seq, s, -1)
		q.die(seq, s, LimitReached, nil, out)
	}
}
