package amqp091

import (
	"context"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren/channel"
)

// Publish sends a message to an exchange. It waits while a queue is behind, and
// while the broker has an alarm, see Connection.NotifyBlocked.
// What the broker refuses closes the channel, see NotifyClose; a message without a
// route is dropped, or comes back to NotifyReturn if it is mandatory.
func (ch *Channel) Publish(exchange, key string, mandatory, immediate bool, msg amqp.Publishing) error {
	_, err := ch.publish(context.Background(), exchange, key, mandatory, immediate, &msg, false)
	return err
}

// PublishWithContext is Publish that waits no longer than ctx lasts. Without a
// message sent the error is ctx's, and says so if the wait was for an alarm; a
// message that waits for its queue stays sent.
func (ch *Channel) PublishWithContext(ctx context.Context, exchange, key string, mandatory, immediate bool, msg amqp.Publishing) error {
	_, err := ch.publish(ctx, exchange, key, mandatory, immediate, &msg, false)
	return err
}

// PublishWithDeferredConfirm is Publish that gives something to wait for the
// confirmation with. Outside of confirm mode it is nil.
func (ch *Channel) PublishWithDeferredConfirm(exchange, key string, mandatory, immediate bool, msg amqp.Publishing) (*amqp.DeferredConfirmation, error) {
	return ch.publish(context.Background(), exchange, key, mandatory, immediate, &msg, true)
}

// PublishWithDeferredConfirmWithContext is PublishWithDeferredConfirm with the
// context of PublishWithContext.
func (ch *Channel) PublishWithDeferredConfirmWithContext(ctx context.Context, exchange, key string, mandatory, immediate bool, msg amqp.Publishing) (*amqp.DeferredConfirmation, error) {
	return ch.publish(ctx, exchange, key, mandatory, immediate, &msg, true)
}

func (ch *Channel) publish(ctx context.Context, exchange, key string, mandatory, immediate bool, msg *amqp.Publishing, deferred bool) (*amqp.DeferredConfirmation, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := msg.Headers.Validate(); err != nil {
		return nil, err
	}
	if err := ch.writable(exchange, key); err != nil {
		return nil, err
	}
	props, err := propertiesOf(msg)
	if err != nil {
		return nil, ch.conn.fail(err)
	}
	if err := ch.m.Admit(ctx); err != nil {
		if ctx.Err() == nil {
			err = amqp.ErrClosed
		}
		return nil, err
	}
	m, unfit := encode(&props, msg.Body)
	var d *amqp.DeferredConfirmation
	sent := false
	err = ch.send(ctx, func(c *channel.Channel) error {
		sent = true
		d = ch.confirms.add(deferred)
		if unfit != nil {
			return unfit // as the broker refuses what it cannot decode
		}
		p := &ch.pub
		p.Exchange = append(p.Exchange[:0], exchange...)
		p.RoutingKey = append(p.RoutingKey[:0], key...)
		p.Mandatory, p.Immediate, p.Msg, p.Size = mandatory, immediate, m, uint64(m.Size())
		err := c.Publish(p)
		p.Msg = nil
		return err
	})
	if !sent && m != nil {
		m.Release()
	}
	if mandatory {
		ch.yield(ctx)
	}
	return d, err
}

// Confirm puts the channel into confirm mode: from now on each publish has a tag,
// beginning with 1, and is confirmed when all its queues have taken it. The
// parameter does not matter: the client waits for an answer with noWait too,
// although the broker then gives none.
func (ch *Channel) Confirm(_ bool) error {
	return ch.call(func(c *channel.Channel) error {
		if err := c.ConfirmSelect(); err != nil {
			return err
		}
		ch.confirms.begin()
		return nil
	})
}

// GetNextPublishSeqNo gives the tag of the next publish in confirm mode.
func (ch *Channel) GetNextPublishSeqNo() uint64 { return ch.confirms.next() }

// Tx makes the channel transactional: publishes and settles take effect with
// TxCommit.
func (ch *Channel) Tx() error { return ch.call((*channel.Channel).TxSelect) }

// TxCommit carries the transaction out and begins a new one. It waits for the
// queues to take what was published, and until what is to be durable of it is.
func (ch *Channel) TxCommit() error {
	var commit *channel.Commit
	err := ch.call(func(c *channel.Channel) (err error) {
		commit, err = c.TxCommit()
		return err
	})
	if err != nil {
		return err
	}
	select {
	case <-commit.Done():
	case <-ch.m.Done():
		return amqp.ErrClosed
	}
	if commit.Err() == nil {
		return nil
	}
	return ch.call(func(*channel.Channel) error { return commit.Err() })
}

// TxRollback drops what was published in the transaction; what was settled in it
// is unsettled again.
func (ch *Channel) TxRollback() error { return ch.call((*channel.Channel).TxRollback) }

// Flow asks the broker to pause or resume deliveries. Like RabbitMQ it refuses to
// pause them.
func (ch *Channel) Flow(active bool) error {
	return ch.call(func(c *channel.Channel) error { return c.Flow(active) })
}
