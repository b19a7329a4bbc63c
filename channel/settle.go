package channel

import (
	"errors"

	"github.com/warrenmq/warren/intercept"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/store"
)

// Ack settles one delivery, or with multiple all up to it; tag 0 with multiple
// means all (contract 06 §2).
func (ch *Channel) Ack(tag uint64, multiple bool) error {
	m, err := intercepted(ch, intercept.Ack{DeliveryTag: tag, Multiple: multiple})
	if err != nil {
		return err
	}
	return ch.settleTags(m.DeliveryTag, m.Multiple, queue.Ack)
}

// Nack gives deliveries back to their queues, or rejects them.
func (ch *Channel) Nack(tag uint64, multiple, requeue bool) error {
	m, err := intercepted(ch, intercept.Nack{DeliveryTag: tag, Multiple: multiple, Requeue: requeue})
	if err != nil {
		return err
	}
	return ch.settleTags(m.DeliveryTag, m.Multiple, refusal(m.Requeue))
}

// Reject is Nack of one delivery.
func (ch *Channel) Reject(tag uint64, requeue bool) error {
	m, err := intercepted(ch, intercept.Reject{DeliveryTag: tag, Requeue: requeue})
	if err != nil {
		return err
	}
	return ch.settleTags(m.DeliveryTag, false, refusal(m.Requeue))
}

// refusal is what becomes of a delivery that its consumer did not want.
func refusal(requeue bool) queue.Outcome {
	if requeue {
		return queue.Requeue
	}
	return queue.Discard
}

// Recover requeues all deliveries of the channel that are not settled. ok is
// called before any of them can be delivered anew.
func (ch *Channel) Recover(requeue bool, ok func()) error {
	m, err := intercepted(ch, intercept.Recover{Requeue: requeue})
	if err != nil {
		return err
	}
	if !m.Requeue {
		return reply.Errorf(reply.NotImplemented, "requeue=false")
	}
	ch.flush()
	ch.mu.Lock()
	entries := ch.unacked.takeAll(ch.settled[:0])
	ch.mu.Unlock()
	ok()
	inOrder(entries)
	ch.settle(entries, queue.Requeue, nil)
	ch.keepScratch(entries)
	ch.flush()
	return nil
}

func (ch *Channel) settleTags(tag uint64, multiple bool, o queue.Outcome) error {
	ch.mu.Lock()
	entries, ok := ch.takeTags(tag, multiple, ch.settled[:0])
	ch.mu.Unlock()
	if !ok {
		return reply.Errorf(reply.PreconditionFailed, "unknown delivery tag %d", tag)
	}
	inOrder(entries)
	if ch.tx != nil {
		ch.tx.settle(ch, entries, o)
	} else {
		ch.settle(entries, o, nil)
	}
	ch.keepScratch(entries)
	ch.flushIfMany()
	return nil
}

// takeTags takes what a settling method names out of the unsettled deliveries.
func (ch *Channel) takeTags(tag uint64, multiple bool, es []unackedEntry) ([]unackedEntry, bool) {
	switch {
	case multiple && tag == 0:
		return ch.unacked.takeAll(es), true
	case multiple:
		return ch.unacked.takeUpTo(tag, es)
	}
	e, ok := ch.unacked.take(tag)
	return append(es, e), ok
}

// settle tells the queues, as part of an atom if there is one, and gives the
// shared prefetch its room back.
func (ch *Channel) settle(entries []unackedEntry, o queue.Outcome, atom *store.Atom) {
	if atom != nil {
		atom.Join(len(entries))
	}
	consumed := 0
	for i := range entries {
		e := &entries[i]
		first := i == 0 || e.by == nil || e.by != entries[i-1].by
		if e.by != nil {
			consumed++
		}
		ch.batch(e.host).Settle(queue.Settle{
			ID: e.id, Consumer: e.consumer(), Outcome: o, First: first && o != queue.Return, Atom: atom,
		})
	}
	if consumed == 0 || ch.global.Limit() == 0 {
		return
	}
	// The queues hear of the settling before those who wait for the shared room try
	// again. In a queue where nobody does, there is room at once for the consumer whose
	// delivery it was; elsewhere it comes behind them (queue's consumers), as in RabbitMQ.
	opened := ch.global.Release(consumed)
	ch.flush()
	if opened {
		ch.resume()
	}
}

// keepScratch keeps the memory of a settle for the next one, within reason.
func (ch *Channel) keepScratch(entries []unackedEntry) {
	if cap(entries) <= 4096 {
		clear(entries)
		ch.settled = entries[:0]
	}
}

// Got answers a basic.get. Reply.Msg is nil if the queue was empty; else it
// carries a reference.
type Got struct {
	Tag   uint64
	Reply queue.GetReply
}

// Get takes one message from a queue. got is called once, possibly on another
// goroutine but before Get returns, and in the order of the channel's other
// deliveries; it must not block.
func (ch *Channel) Get(q string, noAck bool, got func(Got)) error {
	ch.flush()
	name, err := ch.queueName(q)
	if err != nil {
		return err
	}
	m, err := intercepted(ch, intercept.Get{Queue: name, NoAck: noAck})
	if err != nil {
		return err
	}
	name = m.Queue
	if err := ch.mayReadQueue(name); err != nil {
		return err
	}
	h, err := ch.queue(name)
	if err != nil {
		return err
	}
	h.Get(m.NoAck, func(r queue.GetReply) {
		if err = r.Err; err != nil {
			return
		}
		ch.mu.Lock()
		defer ch.mu.Unlock()
		if r.Msg == nil {
			got(Got{Reply: r})
			return
		}
		ch.tag++
		if !m.NoAck {
			ch.unacked.push(unackedEntry{tag: ch.tag, host: h, id: r.ID})
			ch.watchUnacked()
		}
		got(Got{Tag: ch.tag, Reply: r})
	})
	if errors.Is(err, queue.ErrGone) {
		return ch.noQueue(name)
	}
	return err
}

// Credit is basic.credit, RabbitMQ's extension for AMQP 1.0 links: a consumer gets n
// more deliveries and no others, and with drain what is left of them ends when the
// queue is empty. Out is told if it is a CreditOut.
func (ch *Channel) Credit(consumerTag string, n uint32, drain bool) error {
	ch.flush()
	ch.mu.Lock()
	c := ch.consumers[consumerTag]
	ch.mu.Unlock()
	if c == nil {
		return reply.Errorf(reply.PreconditionFailed, "unknown consumer tag '%s'", consumerTag)
	}
	c.host.Credit(c.id, n, drain)
	return nil
}
