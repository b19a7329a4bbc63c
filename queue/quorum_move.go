package queue

import (
	"slices"

	"github.com/warrenmq/warren/store"
)

// move puts a message that a consumer had, and that was taken out of account, to the
// end of the queue, here and in the store: a queue that has no delivery limit does
// that, so that one which nobody can deal with does not hold up the others. A body
// that only the store has is loaded first, and what is moved later waits behind it.
func (q *classic) move(e *Settle, s slot, later bool, out *Actions) {
	c := corpse{
		seq: e.ID, atom: e.Atom, returns: true, charged: later, consumer: e.Consumer,
		size: s.size(), count: s.count(), expiry: s.expiry(),
	}
	c.msg = q.retire(e.ID, s)
	if c.msg != nil && q.grave.waiting.len() == 0 {
		q.reenter(c, s, out)
		return
	}
	q.lineUp(c, s)
	q.grave.returning.add(1, c.size)
}

// movesLater reports whether what a consumer gives back counts as held by it until it
// is loaded. In a queue that drops what is too much each return is a command of its own
// in RabbitMQ: what the consumer gets for one goes out before the next one counts.
func (q *classic) movesLater(e *Settle, s slot) bool {
	return q.rules.toTail && e.Outcome == Requeue && q.rules.drops() &&
		(s.msg() == nil || q.grave.waiting.len() > 0)
}

// moves notes that a message is no longer on its way to the end of the queue, if it was.
func (q *classic) moves(c *corpse) {
	if !c.returns {
		return
	}
	q.grave.returning.add(-1, c.size)
	if c.charged {
		q.settledOf(c.consumer)
	}
}

// reenter gives a message that was retired its new place. s is gone if nothing has to
// be taken off the store.
func (q *classic) reenter(c corpse, s slot, out *Actions) {
	seq, to := q.push(c.msg, c.msg.Size())
	to.set(redelivered)
	to.setCount(c.count)
	if to.setExpiry(c.expiry); c.expiry != 0 {
		q.watch.timed = true // nothing else may have been left that expires
	}
	if s.is(stored) {
		if c.atom == nil {
			c.atom = q.atomOfDead(out)
		}
		to.set(stored)
		q.disk.others.push(pendingOp{op: q.disk.asked, seq: seq})
		c.msg.Retain(1)
		q.disk.add(store.Op{
			Kind: store.Append, Seq: seq, Msg: c.msg, Expiry: c.expiry, Deliveries: c.count, Atom: c.atom,
		}, out)
		q.disk.remove(store.Op{Kind: store.Remove, Seq: c.seq, Atom: c.atom}, out)
	}
	if s.seg != nil {
		q.bury(c.seq, s)
	}
	if q.paging {
		q.admit(seq, to)
	}
}

// dropReturning drops what is on its way to the end of the queue, which counts as
// ready, and gives its number.
func (q *classic) dropReturning(out *Actions) int {
	n := q.grave.returning.messages
	if n == 0 {
		return 0
	}
	w := &q.grave.waiting
	w.items, w.head = slices.DeleteFunc(slices.Clone(w.all()), func(c corpse) bool {
		if !c.returns {
			return false
		}
		q.moves(&c)
		if c.msg != nil {
			c.msg.Release()
		}
		if s := q.at(c.seq); !s.gone() {
			if s.is(stored) {
				q.disk.remove(store.Op{Kind: store.Remove, Seq: c.seq, Atom: c.atom}, out)
			}
			q.bury(c.seq, s)
		}
		if c.atom != nil {
			out.Atoms = append(out.Atoms, c.atom)
		}
		return true
	}), 0
	return n
}
