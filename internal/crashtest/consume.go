package crashtest

import (
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"
)

// holding is what a consumer was given and has not settled, oldest first.
type holding struct {
	copies []*Copy
	tags   []uint64
}

// consumer consumes one queue after another, and settles in all ways there are.
func consumer(queues ...string) func(a *actor) error {
	return func(a *actor) error {
		for {
			c, err := a.open()
			if err != nil {
				return err
			}
			if err := a.consume(c, pick(a.r, a.t.among(queues...))); err != nil {
				return err
			}
		}
	}
}

// consume consumes from a queue for a while.
func (a *actor) consume(c *channel, q *Queue) error {
	if err := c.confirms(50); err != nil {
		return err
	}
	if err := c.Qos(pick(a.r, []int{1, 10, 100, 0}), 0, false); err != nil {
		return err
	}
	defer a.l.Consuming(q)()
	deliveries, err := c.Consume(q.name, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	var h holding
	every := pick(a.r, []int{1, 5, 50}) // deliveries are settled together
	poke := pick(a.r, []int{5, 50, 1000})
	for n := 1; n < 5000; n++ {
		var d amqp.Delivery
		var ok bool
		select {
		case d, ok = <-deliveries:
		case <-a.ctx.Done():
			return a.ctx.Err()
		}
		if !ok {
			return errors.New("the consumer ended")
		}
		m := a.l.Delivered(q, c.log.name, &d)
		if m == nil {
			return errors.New("a violation")
		}
		h.copies, h.tags = append(h.copies, m), append(h.tags, d.DeliveryTag)
		if len(h.copies) >= every || a.r.IntN(20) == 0 || len(deliveries) == 0 {
			if err := a.settle(c, q, &h); err != nil {
				return err
			}
		}
		if n%poke == 0 {
			// Its confirm says that what was settled before is durable.
			if err := a.send(c, c.nextID(true), route{"", q.name, []*Queue{q}}); err != nil {
				return err
			}
		}
		if a.r.IntN(3000) == 0 {
			break
		}
	}
	// The end of the channel gives back what is held, here or on the way.
	c.log.Requeue(h.copies...)
	if err := c.Close(); err != nil {
		return err
	}
	<-c.drained
	return nil
}

// settle settles some of what is held.
func (a *actor) settle(c *channel, q *Queue, h *holding) error {
	n := 1 + a.r.IntN(len(h.copies))
	some, tags := h.copies[:n], h.tags[:n]
	h.copies, h.tags = h.copies[n:], h.tags[n:]
	last := tags[n-1]
	switch k := a.r.IntN(20); {
	case k == 0:
		c.log.Requeue(some...)
		return c.Nack(last, true, true)
	case k == 1 && n > 1:
		// Those on top, and then the rest.
		c.log.Requeue(some[n-1])
		if err := c.Reject(last, true); err != nil {
			return err
		}
		c.log.Ack(some[:n-1]...)
		return c.Ack(tags[n-2], true)
	case k < 6:
		for _, i := range a.r.Perm(n) {
			c.log.Ack(some[i])
			if err := c.Ack(tags[i], false); err != nil {
				return err
			}
		}
		return nil
	case k < 10 && q.name == "source":
		for i, m := range some {
			c.log.Reject(m, a.t.queues["dead"])
			if err := c.Reject(tags[i], false); err != nil {
				return err
			}
		}
		a.moment()
		return nil
	}
	c.log.Ack(some...)
	return c.Ack(last, true)
}

// getter takes single messages.
func getter(a *actor) error {
	c, err := a.open()
	if err != nil {
		return err
	}
	for {
		q := pick(a.r, a.t.among("q0", "q4", "q5", "prio", "dead", "passing", "quorum", "limited"))
		m, tag, err := a.get(c, q)
		if err != nil {
			return err
		}
		switch {
		case m == nil:
		case a.r.IntN(4) == 0:
			c.log.Requeue(m)
			err = c.Nack(tag, false, true)
		default:
			c.log.Ack(m)
			err = c.Ack(tag, false)
		}
		if err != nil {
			return err
		}
	}
}

// taker takes messages that need no acknowledgement, and purges now and then.
func taker(a *actor) error {
	c, err := a.open()
	if err != nil {
		return err
	}
	q := a.t.queues["lossy"]
	defer a.l.Consuming(q)()
	for {
		if a.r.IntN(50) == 0 {
			if _, err := c.QueuePurge(q.name, false); err != nil {
				return err
			}
		}
		d, ok, err := c.Get(q.name, true)
		if err != nil {
			return err
		}
		if ok {
			m := a.l.Delivered(q, c.log.name, &d)
			if m == nil {
				return errors.New("a violation")
			}
			c.log.Ack(m)
		}
	}
}
