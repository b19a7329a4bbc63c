package warren

import (
	"context"
	"errors"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/transport"
)

// Properties are a message's properties; those with the zero value are absent. See
// message.Properties for what each is.
type Properties = message.Properties

// Message is a message to publish. Body and Headers are copied: they may be changed
// again once the call returned.
type Message struct {
	Properties
	Body []byte
}

// ErrReject, wrapped in the error of a Handle function, discards the delivery
// instead of giving it back to its queue: trying again would not help.
var ErrReject = errors.New("the message is rejected")

// errNotDelivered is the error of settling a Delivery that is not one.
var errNotDelivered = errors.New("warren: settle a delivery that came from no channel")

// Delivery is a message from a queue. Its strings and its body are the
// receiver's to keep, but not to change: copies of a Delivery share them. It may be
// handed to other goroutines, and settled by any of them, once.
//
// Its methods that settle give ErrConsumerStopped if the consumer has ended and the
// message is back in its queue, the channel's error if that has ended, and a
// PreconditionFailed *Error, which closes the channel, if the delivery was settled
// before. With NoAck there is nothing to settle.
type Delivery struct {
	Body []byte
	// Exchange and RoutingKey are what the message was published with.
	Exchange    string
	RoutingKey  string
	ConsumerTag string // empty for Get
	DeliveryTag uint64 // counts the channel's deliveries from 1; for Channel.Ack and Nack
	// Redelivered says that the message was delivered before.
	Redelivered bool
	// MessageCount is how many ready messages Get left in the queue.
	MessageCount int

	props []byte
	c     *Channel
	in    *transport.Inbox // nil for Get
}

// Properties decodes the message's properties.
func (d Delivery) Properties() Properties {
	// The channel refused a publish whose properties cannot be decoded, so that
	// there is no error here.
	p, _ := message.DecodeProperties(d.props)
	return p
}

// Ack settles the delivery: the message is done with, and leaves its queue.
func (d Delivery) Ack() error {
	return d.settle(func(ch *channel.Channel) error { return ch.Ack(d.DeliveryTag, false) })
}

// Nack settles the delivery: with requeue the message goes back to its queue, at its
// old place and marked as redelivered; without, it is discarded.
func (d Delivery) Nack(requeue bool) error {
	return d.settle(func(ch *channel.Channel) error { return ch.Nack(d.DeliveryTag, false, requeue) })
}

// Reject is Nack by AMQP's older name.
func (d Delivery) Reject(requeue bool) error {
	return d.settle(func(ch *channel.Channel) error { return ch.Reject(d.DeliveryTag, requeue) })
}

func (d Delivery) settle(f func(*channel.Channel) error) error {
	switch {
	case d.in != nil:
		return d.in.Settle(f)
	case d.c == nil:
		return errNotDelivered
	}
	return d.c.m.Do(context.Background(), f)
}

// handled settles the delivery by what its handler said.
func (d Delivery) handled(err error) error {
	if err != nil {
		return d.Nack(!errors.Is(err, ErrReject))
	}
	return d.Ack()
}

// newDelivery copies a message for the program. Copies of small ones share an
// allocation.
func newDelivery(m *message.Message, a *arena) Delivery {
	props, body := m.Props(), m.Body()
	buf := a.take(len(props) + len(body))
	n := copy(buf, props)
	copy(buf[n:], body)
	return Delivery{
		Body: buf[n:len(buf):len(buf)], props: buf[:n:n],
		Exchange: m.Exchange(), RoutingKey: m.RoutingKey(),
	}
}

// arena hands out memory in pieces of larger allocations, which begin small and
// grow with what is asked for.
type arena struct {
	free []byte
	size int
}

const (
	minChunk = 256
	maxChunk = 16 << 10
)

func (a *arena) take(n int) []byte {
	if n > maxChunk/4 {
		return make([]byte, n)
	}
	if n > len(a.free) {
		a.size = min(max(2*a.size, minChunk, 2*n), maxChunk)
		a.free = make([]byte, a.size)
	}
	p := a.free[:n:n]
	a.free = a.free[n:]
	return p
}
