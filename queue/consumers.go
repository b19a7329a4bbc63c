package queue

import "github.com/warrenmq/warren/message"

// consumers are the consumers of a classic queue. Those that can take a
// delivery stand in a ring and are served in turn; a consumer that is full
// stands outside and joins the end when it has room again (contract 05 §4,
// rabbit_queue_consumers).
type consumers struct {
	byID      map[message.ConsumerID]*taker
	first     *taker // of the ring
	exclusive bool
	last      *taker // the one settled last, to look it up without the map
}

// taker is one consumer.
type taker struct {
	Consumer
	held       int
	inRing     bool
	gated      bool // its gate said no; waits for Resume
	next, prev *taker
}

// admits asks the consumer's gate for room.
func (t *taker) admits(size int) bool {
	if t.Gate == nil || t.Gate.TryTake(size) {
		return true
	}
	t.gated = true
	return false
}

// full reports that the consumer holds as many deliveries as it may.
func (t *taker) full() bool { return !t.NoAck && t.Prefetch > 0 && t.held >= t.Prefetch }

func (c *consumers) add(spec Consumer) error {
	if c.exclusive || spec.Exclusive && len(c.byID) > 0 {
		return ErrExclusiveUse
	}
	t := &taker{Consumer: spec}
	c.byID[spec.ID] = t
	c.exclusive = spec.Exclusive
	c.join(t)
	return nil
}

// remove reports whether the consumer was there.
func (c *consumers) remove(id message.ConsumerID) bool {
	t := c.byID[id]
	if t == nil {
		return false
	}
	delete(c.byID, id)
	c.leave(t)
	if t == c.last {
		c.last = nil
	}
	c.exclusive = false
	return true
}

// front gives the consumer whose turn it is, or nil.
func (c *consumers) front() *taker { return c.first }

// rotate ends the turn of a consumer that got a delivery.
func (c *consumers) rotate(t *taker) {
	if t.full() {
		c.leave(t)
		return
	}
	c.first = t.next
}

// block takes a consumer whose gate is shut out of the ring.
func (c *consumers) block(t *taker) { c.leave(t) }

// resume lets a consumer whose gate was shut try again. It is not full: it stood
// in the ring when its gate was asked.
func (c *consumers) resume(id message.ConsumerID) {
	if t := c.byID[id]; t != nil && t.gated {
		t.gated = false
		c.join(t)
	}
}

// returned notes that a consumer's delivery was settled.
func (c *consumers) returned(id message.ConsumerID) {
	t := c.last
	if t == nil || t.ID != id {
		if t = c.byID[id]; t == nil {
			return // cancelled since
		}
		c.last = t
	}
	t.held--
	if !t.gated {
		c.join(t)
	}
}

func (c *consumers) join(t *taker) {
	switch {
	case t.inRing:
		return
	case c.first == nil:
		c.first, t.next, t.prev = t, t, t
	default:
		last := c.first.prev
		last.next, t.prev = t, last
		t.next, c.first.prev = c.first, t
	}
	t.inRing = true
}

func (c *consumers) leave(t *taker) {
	if !t.inRing {
		return
	}
	t.inRing = false
	if t.next == t {
		c.first = nil
	} else {
		t.prev.next, t.next.prev = t.next, t.prev
		if c.first == t {
			c.first = t.next
		}
	}
	t.next, t.prev = nil, nil
}
