package queue

import (
	"maps"
	"math"
	"slices"

	"github.com/warrenmq/warren/message"
)

// credit is how many more deliveries a consumer wants, where it says so itself, by
// x-credit or basic.credit: the way of AMQP 1.0 links (rabbit_limiter). It takes the
// place of the consumer's prefetch, counts deliveries without acknowledgement too,
// and no acknowledgement gives any of it back.
type credit struct {
	// metered says that the consumer has one; left may be negative.
	metered bool
	// drains says that what is left is to be given up when the queue is empty.
	drains bool
	left   int64
}

// creditOf reads x-credit. RabbitMQ takes it for no credit at all unless it has the
// fields credit, a long, and drain, a bool.
func creditOf(args message.Table) credit {
	v, _ := args.Get(argCredit)
	t, _ := v.(message.Table)
	n, _ := t.Get("credit")
	d, _ := t.Get("drain")
	left, isLong := n.(int64)
	drains, isBool := d.(bool)
	if !isLong || !isBool {
		return credit{}
	}
	return credit{metered: true, drains: drains, left: left}
}

// set gives a consumer a credit instead of the one it had.
func (c *consumers) set(t *taker, cr credit) {
	if t.credit.drains {
		c.draining--
	}
	if cr.drains {
		c.draining++
	}
	t.credit = cr
}

// grant gives a consumer a credit in a queue with so many ready messages. One that is
// to be used up is gone at once if there are none.
func (c *consumers) grant(t *taker, cr credit, ready int, out *Actions) {
	c.set(t, cr)
	if cr.drains && ready == 0 {
		c.drain(t, out) // also if it is none
	}
	if !t.inTurn() {
		c.freed(t) // and leaves its ring again when it is its turn, if it has none left
	}
}

// drainAll gives up what is left of the credits to be used up: the queue is empty. Of one
// of which nothing is left nobody is told.
func (c *consumers) drainAll(out *Actions) {
	for _, id := range slices.Sorted(maps.Keys(c.byID)) {
		switch t := c.byID[id]; {
		case !t.credit.drains:
		case t.credit.left > 0:
			c.drain(t, out)
		default:
			c.set(t, credit{metered: true, left: t.credit.left})
		}
	}
}

// drain tells a consumer what is left of its credit, which is gone then.
func (c *consumers) drain(t *taker, out *Actions) {
	left := uint32(min(max(t.credit.left, 0), math.MaxUint32))
	out.Credit = append(out.Credit, CreditNote{Consumer: t.ID, Drained: true, N: left})
	c.set(t, credit{metered: true})
}

// credited carries out basic.credit.
func (q *classic) credited(ev Event, out *Actions) {
	t := q.consumers.byID[ev.Consumer]
	if t == nil {
		return // cancelled since
	}
	out.Credit = append(out.Credit, CreditNote{Consumer: t.ID, N: uint32(q.ready)})
	q.consumers.grant(t, credit{metered: true, drains: ev.Drain, left: int64(ev.Credit)}, q.ready, out)
}
