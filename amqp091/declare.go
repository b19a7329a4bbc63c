package amqp091

import (
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
)

// QueueDeclare makes a queue, or finds that the one of that name is as asked for.
// An empty name lets the broker make one up. With noWait the result has only the
// name that was given.
func (ch *Channel) QueueDeclare(name string, durable, autoDelete, exclusive, noWait bool, args amqp.Table) (amqp.Queue, error) {
	return ch.declareQueue(noWait, args, channel.QueueDeclare{
		Name: name, Durable: durable, AutoDelete: autoDelete, Exclusive: exclusive, NoCounts: noWait,
	})
}

// QueueDeclarePassive gives the state of a queue, and is refused if there is none
// of that name. The other parameters do not matter.
func (ch *Channel) QueueDeclarePassive(name string, durable, autoDelete, exclusive, noWait bool, args amqp.Table) (amqp.Queue, error) {
	return ch.declareQueue(noWait, args, channel.QueueDeclare{
		Name: name, Passive: true, Durable: durable, AutoDelete: autoDelete, Exclusive: exclusive, NoCounts: noWait,
	})
}

func (ch *Channel) declareQueue(noWait bool, args amqp.Table, d channel.QueueDeclare) (amqp.Queue, error) {
	q := amqp.Queue{Name: d.Name}
	err := ch.withTable(noWait, args, func(c *channel.Channel, t message.Table) error {
		d.Arguments = t
		info, err := c.DeclareQueue(d)
		if !noWait {
			q = amqp.Queue{Name: info.Name, Messages: info.Ready, Consumers: info.Consumers}
		}
		return err
	}, d.Name)
	if err != nil {
		return amqp.Queue{}, err
	}
	return q, nil
}

// QueueInspect is QueueDeclarePassive by its older name.
func (ch *Channel) QueueInspect(name string) (amqp.Queue, error) {
	q, err := ch.declareQueue(false, nil, channel.QueueDeclare{Name: name, Passive: true})
	q.Name = name
	return q, err
}

// QueueBind lets what exchange routes with key go to the queue. Without a name it
// is the queue declared last.
func (ch *Channel) QueueBind(name, key, exchange string, noWait bool, args amqp.Table) error {
	return ch.withTable(noWait, args, func(c *channel.Channel, t message.Table) error {
		return c.BindQueue(name, exchange, key, t)
	}, name, exchange, key)
}

// QueueUnbind takes a binding away; one that is not there is fine.
func (ch *Channel) QueueUnbind(name, key, exchange string, args amqp.Table) error {
	return ch.withTable(false, args, func(c *channel.Channel, t message.Table) error {
		return c.UnbindQueue(name, exchange, key, t)
	}, name, exchange, key)
}

// QueuePurge drops the ready messages of a queue and gives their number, or 0 with
// noWait.
func (ch *Channel) QueuePurge(name string, noWait bool) (int, error) {
	return ch.counted(noWait, name, func(c *channel.Channel, n *int) (err error) {
		*n, err = c.PurgeQueue(name)
		return err
	})
}

// QueueDelete deletes a queue and gives the number of ready messages it had, or 0
// with noWait; one that does not exist is fine.
func (ch *Channel) QueueDelete(name string, ifUnused, ifEmpty, noWait bool) (int, error) {
	return ch.counted(noWait, name, func(c *channel.Channel, n *int) error {
		return c.DeleteQueue(name, ifUnused, ifEmpty, func(had int) { *n = had })
	})
}

// counted is for methods on a queue that answer with a number of messages.
func (ch *Channel) counted(noWait bool, name string, f func(c *channel.Channel, n *int) error) (int, error) {
	if err := ch.writable(name); err != nil {
		return 0, err
	}
	n := 0
	err := ch.invoke(noWait, func(c *channel.Channel) error { return f(c, &n) })
	if noWait {
		n = 0
	}
	return n, err
}

// ExchangeDeclare makes an exchange, or finds that the one of that name is as
// asked for.
func (ch *Channel) ExchangeDeclare(name, kind string, durable, autoDelete, internal, noWait bool, args amqp.Table) error {
	return ch.declareExchange(noWait, args, channel.ExchangeDeclare{
		Name: name, Type: kind, Durable: durable, AutoDelete: autoDelete, Internal: internal,
	})
}

// ExchangeDeclarePassive is refused if there is no exchange of that name. The
// other parameters do not matter.
func (ch *Channel) ExchangeDeclarePassive(name, kind string, durable, autoDelete, internal, noWait bool, args amqp.Table) error {
	return ch.declareExchange(noWait, args, channel.ExchangeDeclare{
		Name: name, Type: kind, Passive: true, Durable: durable, AutoDelete: autoDelete, Internal: internal,
	})
}

func (ch *Channel) declareExchange(noWait bool, args amqp.Table, d channel.ExchangeDeclare) error {
	return ch.withTable(noWait, args, func(c *channel.Channel, t message.Table) error {
		d.Arguments = t
		return c.DeclareExchange(d)
	}, d.Name, d.Type)
}

// ExchangeDelete deletes an exchange; one that does not exist is fine.
func (ch *Channel) ExchangeDelete(name string, ifUnused, noWait bool) error {
	if err := ch.writable(name); err != nil {
		return err
	}
	return ch.invoke(noWait, func(c *channel.Channel) error { return c.DeleteExchange(name, ifUnused) })
}

// ExchangeBind lets what source routes with key go to destination.
func (ch *Channel) ExchangeBind(destination, key, source string, noWait bool, args amqp.Table) error {
	return ch.withTable(noWait, args, func(c *channel.Channel, t message.Table) error {
		return c.BindExchange(destination, source, key, t)
	}, destination, source, key)
}

// ExchangeUnbind takes a binding away; one that is not there is fine.
func (ch *Channel) ExchangeUnbind(destination, key, source string, noWait bool, args amqp.Table) error {
	return ch.withTable(noWait, args, func(c *channel.Channel, t message.Table) error {
		return c.UnbindExchange(destination, source, key, t)
	}, destination, source, key)
}
