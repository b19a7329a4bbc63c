package crashtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// probeType is the type property of messages that only look for bindings.
const probeType = "probe"

// deliveryWait is how long a message may take that is known to be there.
const deliveryWait = 30 * time.Second

// inspector looks at everything after a restart.
type inspector struct {
	actor
	c *Checker
}

// inspect compares all queues with the books, and leaves their messages there,
// takes them, or takes some of them.
func (i *inspector) inspect(ctx context.Context) error {
	for _, q := range i.l.Queues() {
		if err := i.queue(ctx, q); err != nil {
			return fmt.Errorf("inspect queue %s: %w", q.name, err)
		}
	}
	i.c.Finish()
	return nil
}

func (i *inspector) queue(ctx context.Context, q *Queue) error {
	c, err := i.open()
	if err != nil {
		return err
	}
	if err := c.confirms(10); err != nil {
		return err
	}
	found, err := takeAll(ctx, i.l, c.Channel, q)
	var e *amqp.Error
	if errors.As(err, &e) && e.Code == amqp.NotFound {
		i.l.Violate(nil, "queue %s is gone", q.name)
		<-c.drained
		return nil
	}
	if err != nil {
		return err
	}
	var mine []amqp.Delivery
	for _, d := range found {
		if d.Type != probeType {
			mine = append(mine, d)
		} else if err := c.Ack(d.DeliveryTag, false); err != nil {
			return err
		}
	}
	copies := i.c.Queue(q, mine)
	if err := i.dispose(c, q, mine, copies); err != nil {
		return err
	}
	if err := c.Close(); err != nil {
		return err
	}
	<-c.drained
	return nil
}

// dispose settles what was found in one of several ways.
func (i *inspector) dispose(c *channel, q *Queue, found []amqp.Delivery, copies []*Copy) error {
	var known []*Copy
	for _, m := range copies {
		if m != nil {
			known = append(known, m)
		}
	}
	if len(known) < len(copies) || len(known) == 0 {
		return nil // a violation, or nothing
	}
	last := found[len(found)-1].DeliveryTag
	switch k := i.r.IntN(4); {
	case k < 2 || len(found) > maxBacklog/10:
		c.log.Ack(known...)
		if err := c.Ack(last, true); err != nil {
			return err
		}
	case k == 2:
		for n, m := range known {
			var err error
			if i.r.IntN(2) == 0 {
				c.log.Ack(m)
				err = c.Ack(found[n].DeliveryTag, false)
			} else {
				c.log.Requeue(m)
				err = c.Nack(found[n].DeliveryTag, false, true)
			}
			if err != nil {
				return err
			}
		}
	default:
		c.log.Requeue(known...) // by the end of the channel
	}
	if i.r.IntN(2) == 0 {
		if err := i.send(c, c.nextID(true), route{"", q.name, []*Queue{q}}); err != nil {
			return err
		}
		return i.quiesce(c)
	}
	return nil
}

// takeAll takes all that is in a queue, and gives it back unsettled.
func takeAll(ctx context.Context, l *Ledger, ch *amqp.Channel, q *Queue) ([]amqp.Delivery, error) {
	info, err := ch.QueueDeclarePassive(q.name, false, false, false, false, nil)
	if err != nil {
		return nil, err
	}
	if q.get {
		return getAll(l, ch, q, info.Messages)
	}
	if q.keeps { // a quorum queue, to which no prefetch is one of 2000
		if err := ch.Qos(math.MaxUint16, 0, false); err != nil {
			return nil, err
		}
	}
	tag := fmt.Sprintf("inspector-%d", rand.Uint64())
	in, err := ch.Consume(q.name, tag, false, false, false, false, nil)
	if err != nil {
		return nil, err
	}
	found := make([]amqp.Delivery, 0, info.Messages)
	patience := time.NewTimer(deliveryWait)
	defer patience.Stop()
	for len(found) < info.Messages {
		select {
		case d, ok := <-in:
			if !ok {
				return nil, errors.New("the consumer ended")
			}
			found = append(found, d)
			if len(found)%100 == 0 {
				patience.Reset(deliveryWait)
			}
		case <-patience.C:
			l.Violate(nil, "queue %s said it has %d messages, but no more than %d came", q.name, info.Messages, len(found))
			return found, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := ch.Cancel(tag, false); err != nil {
		return nil, err
	}
	for d := range in {
		found = append(found, d)
		l.Violate(nil, "queue %s said it has %d messages, but there was one more: %s", q.name, info.Messages, d.MessageId)
	}
	return found, nil
}

// getAll is takeAll by basic.get.
func getAll(l *Ledger, ch *amqp.Channel, q *Queue, n int) ([]amqp.Delivery, error) {
	var found []amqp.Delivery
	for {
		d, ok, err := ch.Get(q.name, false)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		found = append(found, d)
	}
	if len(found) != n {
		l.Violate(nil, "queue %s said it has %d messages, but %d came", q.name, n, len(found))
	}
	return found, nil
}
