package warren

import (
	"context"
	"weak"

	"github.com/warrenmq/warren/channel"
)

// directReply is the pseudo-queue from which a channel consumes its direct replies.
const directReply = "amq.rabbitmq.reply-to"

// Request publishes a message and waits for the first reply to it. It is RabbitMQ's
// direct reply-to: the broker puts an address for this one request into its ReplyTo,
// and whoever serves it, over any way in, publishes the reply to the default exchange
// with that address as the routing key. No queue is declared for it. The message's own
// ReplyTo does not count; its CorrelationID goes along for the service, and is not
// needed to tell replies apart. Any number of goroutines may have requests under way.
//
// The error is a *ReturnError if the request had no route, so that nobody will reply,
// a *NackError if a queue refused it, and that of ctx or of the channel if one of them
// ended first: then the request may still be served, and its reply is dropped. Give it
// a context with an end: a service that fails or that does not reply is not noticed.
// There is nothing to settle in the Delivery.
//
// A service replies with Publish. PublishConfirmed to an address gives a *ReturnError
// even if the reply arrives, because no queue has it.
//
// While it waits a request has a channel of its own beside this one, which counts
// for a user's limit of channels, and is not part of a transaction. If the request is
// refused, both are closed.
func (c *Channel) Request(ctx context.Context, exchange, key string, m Message) (Delivery, error) {
	m.ReplyTo = directReply
	msg, err := encode(exchange, key, &m)
	if err != nil {
		return Delivery{}, err
	}
	own, err := c.conn.Channel()
	if err != nil {
		msg.Release()
		return Delivery{}, err
	}
	defer own.Close()
	in, err := own.Consume(ctx, channel.Consume{Queue: directReply, NoAck: true})
	if err != nil {
		msg.Release()
		return Delivery{}, err
	}
	defer in.Stop()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	if err := own.Publish(ctx, exchange, key, false, msg, &request{exchange, key, fail}); err != nil {
		return Delivery{}, err
	}
	items, err := in.Next(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return Delivery{}, err
	}
	defer in.Release(items)
	var bodies arena
	d := newDelivery(items[0].Msg, &bodies)
	d.ConsumerTag, d.DeliveryTag = in.Tag(), items[0].Tag
	return d, nil
}

// request hears what becomes of a message to which a reply is expected. It
// implements channel.Confirmation.
type request struct {
	exchange, key string
	fail          context.CancelCauseFunc
}

// Publisher implements message.Publisher: a request has a channel of its own.
func (r *request) Publisher() any { return weak.Make(r) }

// Routed implements channel.Confirmation.
func (r *request) Routed(queues int) {
	if queues == 0 {
		r.fail(&ReturnError{r.exchange, r.key})
	}
}

// Confirm implements message.Confirmer. That the queues have the request says
// nothing of a reply.
func (r *request) Confirm(_, _ uint64) {}

// Reject implements message.Confirmer.
func (r *request) Reject(uint64) { r.fail(&NackError{r.exchange, r.key}) }
