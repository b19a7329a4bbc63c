package amqp091

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/transport"
)

// Consume gives the deliveries of a queue. The channel of deliveries is closed
// when the consumer is cancelled, after what came before was received; and when
// the channel ends, with what was not received back in its queue unless autoAck
// is set. An empty consumer tag lets the broker make one up. noLocal does
// nothing, as in RabbitMQ.
func (ch *Channel) Consume(queue, consumer string, autoAck, exclusive, noLocal, noWait bool, args amqp.Table) (<-chan amqp.Delivery, error) {
	return ch.ConsumeWithContext(context.Background(), queue, consumer, autoAck, exclusive, noLocal, noWait, args)
}

// ConsumeWithContext is Consume that cancels the consumer when ctx ends.
func (ch *Channel) ConsumeWithContext(ctx context.Context, queue, consumer string, autoAck, exclusive, _, noWait bool, args amqp.Table) (<-chan amqp.Delivery, error) {
	if err := args.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	method := channel.Consume{Queue: queue, Tag: consumer, NoAck: autoAck, Exclusive: exclusive}
	err := ch.withTable(false, args, func(_ *channel.Channel, t message.Table) error {
		method.Arguments = t
		return nil
	}, queue, consumer)
	if err != nil {
		return nil, err
	}
	s := &subscriber{ch: ch, out: make(chan amqp.Delivery, deliveriesAhead)}
	if s.in, err = ch.m.Consume(context.Background(), method); err != nil {
		return s.refused(err, noWait)
	}
	ch.start(ctx, s)
	return s.out, nil
}

// deliveriesAhead is how many deliveries wait in a consumer's Go channel, so that
// not each of them costs a switch of goroutines.
const deliveriesAhead = 32

// subscriber is one consumer, and the goroutine that feeds it.
type subscriber struct {
	ch  *Channel
	in  *transport.Inbox
	out chan amqp.Delivery
	// stop ends the watch over the consumer's context.
	stop func() bool
	// cancelled says that the program ended the consumer, and so receives what
	// came before.
	cancelled atomic.Bool
}

// refused is the end of a consumer that was never there.
func (s *subscriber) refused(err error, noWait bool) (<-chan amqp.Delivery, error) {
	e := refusal(err)
	switch {
	case e == nil:
		return nil, amqp.ErrClosed
	case !e.Recover:
		<-s.ch.conn.told
	}
	if !noWait {
		return nil, e
	}
	close(s.out)
	return s.out, nil
}

// start feeds a consumer until it ends.
func (ch *Channel) start(ctx context.Context, s *subscriber) {
	ch.mu.Lock()
	over := ch.over
	if !over {
		s.stop = context.AfterFunc(ctx, func() {
			// The channel may have ended, and then there is nothing to do.
			_ = s.cancel()
		})
		ch.consumers[s.in.Tag()] = s
		ch.feeding.Go(s.feed)
	}
	ch.mu.Unlock()
	if over {
		s.drop()
		close(s.out)
	}
}

// feed hands deliveries to the program until the consumer ends.
func (s *subscriber) feed() {
	defer close(s.out)
	defer s.stop()
	defer s.ch.leave(s)
	for {
		items, err := s.in.Next(context.Background())
		if err != nil {
			switch {
			case errors.Is(err, transport.ErrCancelled):
				s.ch.flush()
			case !s.cancelled.Load():
				s.drop()
			}
			return
		}
		for i := range items {
			d := amqp.Delivery{
				Acknowledger: s.ch, ConsumerTag: s.in.Tag(),
				DeliveryTag: items[i].Tag, Redelivered: items[i].Redelivered,
			}
			fill(&d, items[i].Msg)
			s.in.Release(items[i : i+1])
			select {
			case s.out <- d:
			case <-s.ch.ended:
				s.in.Release(items[i+1:])
				s.drop()
				return
			}
		}
	}
}

// drop forgets what was not received when the channel ended.
func (s *subscriber) drop() {
	for {
		items, err := s.in.Next(context.Background())
		if err != nil {
			break
		}
		s.in.Release(items)
	}
	for len(s.out) > 0 {
		select {
		case <-s.out:
		default: // the program was faster
		}
	}
}

func (s *subscriber) cancel() error {
	s.cancelled.Store(true)
	return s.in.Cancel(context.Background())
}

// leave forgets a consumer.
func (ch *Channel) leave(s *subscriber) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.consumers[s.in.Tag()] == s {
		delete(ch.consumers, s.in.Tag())
	}
}

// flush waits until the listeners have been told what there is to tell now.
func (ch *Channel) flush() {
	passed := make(chan struct{})
	if !ch.later(func(*feeder) { close(passed) }) {
		return
	}
	select {
	case <-passed:
	case <-ch.ended:
	}
}

// Cancel ends a consumer. What was delivered to it before can still be received,
// and has to be settled; then its deliveries are closed. A tag that nobody has is
// fine.
func (ch *Channel) Cancel(consumer string, noWait bool) error {
	if err := ch.writable(consumer); err != nil {
		return err
	}
	ch.mu.Lock()
	s := ch.consumers[consumer]
	ch.mu.Unlock()
	if s == nil {
		return ch.invoke(noWait, func(c *channel.Channel) error { return c.Cancel(consumer) })
	}
	if err := s.cancel(); err != nil {
		return amqp.ErrClosed
	}
	return nil
}

// Get takes one message from a queue; ok is false if there is none. Without
// autoAck it has to be settled.
func (ch *Channel) Get(queue string, autoAck bool) (msg amqp.Delivery, ok bool, err error) {
	if err := ch.writable(queue); err != nil {
		return amqp.Delivery{}, false, err
	}
	var got channel.Got
	err = ch.call(func(c *channel.Channel) error {
		return c.Get(queue, autoAck, func(g channel.Got) { got = g })
	})
	if err != nil || got.Reply.Msg == nil {
		return amqp.Delivery{}, false, err
	}
	msg = amqp.Delivery{
		Acknowledger: ch, MessageCount: uint32(got.Reply.Remaining),
		DeliveryTag: got.Tag, Redelivered: got.Reply.Redelivered,
	}
	fill(&msg, got.Reply.Msg)
	got.Reply.Msg.Release()
	return msg, true, nil
}

// Qos limits the unsettled deliveries of each consumer to come, or with global of
// all consumers of the channel together; 0 is no limit. Of prefetchCount 16 bits
// count. A prefetchSize other than 0 is refused by the broker.
func (ch *Channel) Qos(prefetchCount, prefetchSize int, global bool) error {
	if prefetchCount < 0 || prefetchSize < 0 {
		return fmt.Errorf("amqp091: a prefetch below 0: count %d, size %d", prefetchCount, prefetchSize)
	}
	return ch.call(func(c *channel.Channel) error {
		return c.Qos(uint32(prefetchSize), int(uint16(prefetchCount)), global)
	})
}

// Ack settles a delivery; with multiple all up to it, and all there are for tag 0.
// An unknown tag closes the channel.
func (ch *Channel) Ack(tag uint64, multiple bool) error {
	return ch.send(context.Background(), func(c *channel.Channel) error { return c.Ack(tag, multiple) })
}

// Nack gives deliveries back to their queues, or rejects them.
func (ch *Channel) Nack(tag uint64, multiple, requeue bool) error {
	return ch.send(context.Background(), func(c *channel.Channel) error { return c.Nack(tag, multiple, requeue) })
}

// Reject is Nack of one delivery.
func (ch *Channel) Reject(tag uint64, requeue bool) error {
	return ch.send(context.Background(), func(c *channel.Channel) error { return c.Reject(tag, requeue) })
}

// Recover requeues all unsettled deliveries of the channel. Like RabbitMQ it
// refuses not to requeue them.
func (ch *Channel) Recover(requeue bool) error {
	return ch.call(func(c *channel.Channel) error { return c.Recover(requeue, func() {}) })
}
