package channel

import "github.com/warrenmq/warren/intercept"

// intercepted gives what the interceptors make of a method. It comes before all
// checks, with shortcuts expanded (contract 03 §2). Where there are no interceptors
// it costs nothing.
func intercepted[T any, P interface {
	*T
	intercept.Method
}](ch *Channel, m T) (T, error) {
	if ch.Interceptors == nil || !ch.Interceptors.Claims(P(nil).Name()) {
		return m, nil
	}
	shown := m
	out, err := intercept.Apply(ch.Interceptors, ch.Client, P(&shown))
	if err != nil {
		return m, err
	}
	return *out, nil
}

// refusable asks the interceptors about a method that has nothing to rewrite.
func refusable[T any, P interface {
	*T
	intercept.Method
}](ch *Channel) error {
	_, err := intercepted[T, P](ch, *new(T))
	return err
}

// interceptPublish lets an interceptor rewrite a publish. The message is replaced if
// its content was changed. A message whose body was too large to be kept is left to
// the checks, which refuse it.
func (ch *Channel) interceptPublish(p *Publish) (drop bool, err error) {
	if p.Size > uint64(ch.MaxMessageSize) {
		return false, nil
	}
	in := intercept.Publish{
		Exchange: string(p.Exchange), RoutingKey: string(p.RoutingKey),
		Mandatory: p.Mandatory, Immediate: p.Immediate,
	}
	out, msg, err := ch.Interceptors.Publish(ch.Client, &in, p.Msg)
	if err != nil {
		return false, err
	}
	if msg != p.Msg {
		p.Msg.Release()
		p.Msg, p.Size = msg, uint64(msg.Size())
	}
	p.Exchange, p.RoutingKey = []byte(out.Exchange), []byte(out.RoutingKey)
	p.Mandatory, p.Immediate = out.Mandatory, out.Immediate
	return out.Drop, nil
}

// drop takes a publish that shall go nowhere: it counts as taken by a queue.
func (ch *Channel) drop(p *Publish) {
	switch {
	case p.Confirm != nil:
		p.Confirm.Routed(1)
		p.Confirm.Confirm(p.Seq, p.Seq)
	case ch.mode.Confirm:
		ch.seq++
		ch.confirms.Add(ch.seq, 0)
	}
	p.Msg.Release()
}

func (ch *Channel) interceptQueueDeclare(d *QueueDeclare) error {
	m, err := intercepted(ch, intercept.QueueDeclare{
		Queue: d.Name, Passive: d.Passive, Durable: d.Durable, Exclusive: d.Exclusive,
		AutoDelete: d.AutoDelete, Arguments: d.Arguments,
	})
	d.Name, d.Passive, d.Durable, d.Exclusive = m.Queue, m.Passive, m.Durable, m.Exclusive
	d.AutoDelete, d.Arguments = m.AutoDelete, m.Arguments
	return err
}

func (ch *Channel) interceptExchangeDeclare(d *ExchangeDeclare) error {
	m, err := intercepted(ch, intercept.ExchangeDeclare{
		Exchange: d.Name, Type: d.Type, Passive: d.Passive, Durable: d.Durable,
		AutoDelete: d.AutoDelete, Internal: d.Internal, Arguments: d.Arguments,
	})
	d.Name, d.Type, d.Passive, d.Durable = m.Exchange, m.Type, m.Passive, m.Durable
	d.AutoDelete, d.Internal, d.Arguments = m.AutoDelete, m.Internal, m.Arguments
	return err
}

// interceptConsume also expands the queue's name.
func (ch *Channel) interceptConsume(c *Consume) error {
	name, err := ch.queueName(c.Queue)
	if err != nil {
		return err
	}
	m, err := intercepted(ch, intercept.Consume{
		Queue: name, Tag: c.Tag, NoAck: c.NoAck, Exclusive: c.Exclusive, Arguments: c.Arguments,
	})
	c.Queue, c.Tag, c.NoAck, c.Exclusive, c.Arguments = m.Queue, m.Tag, m.NoAck, m.Exclusive, m.Arguments
	return err
}
