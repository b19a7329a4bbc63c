package connection

import (
	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// method carries out a method without content on a channel, in the order of
// checks of contract 03 §2.
func (c *Conn) method(s *session, id wire.ID, args []byte) error {
	if s.ch != nil && !s.closing {
		if done, err := c.settling(s, id, args); done {
			return err
		}
	}
	m, ok := wire.New(id)
	if !ok {
		return c.fault(s, malformed(id, wire.ErrUnknownMethod))
	}
	if err := m.Decode(args); err != nil {
		return c.fault(s, malformed(id, err))
	}
	switch {
	case s.ch == nil && id == wire.ChannelOpenID:
		s.open()
		return nil
	case s.ch == nil:
		return c.fault(s, notOpen(id))
	case id == wire.ChannelOpenID:
		return c.fault(s, reply.Errorf(reply.ChannelError, "second 'channel.open' seen").With(id.Class(), id.Method()))
	case s.closing:
		c.closingMethod(s, id)
		return nil
	}
	return c.do(s, m)
}

// closingMethod carries out what counts on a channel that the broker closed and
// the client has not answered for yet: a close of the client's own that crossed
// it, and the answer. All else is ignored.
func (c *Conn) closingMethod(s *session, id wire.ID) {
	switch id {
	case wire.ChannelCloseID:
		s.send(&wire.ChannelCloseOK{})
	case wire.ChannelCloseOKID:
		c.forget(s)
	}
}

// settling carries out the methods of which there may be one for each message,
// without an allocation, and reports whether it was one of them.
func (c *Conn) settling(s *session, id wire.ID, args []byte) (done bool, err error) {
	switch id {
	case wire.BasicAckID:
		var m wire.BasicAck
		if err = m.Decode(args); err == nil {
			err = s.ch.Ack(m.DeliveryTag, m.Multiple)
		}
	case wire.BasicNackID:
		var m wire.BasicNack
		if err = m.Decode(args); err == nil {
			err = s.ch.Nack(m.DeliveryTag, m.Multiple, m.Requeue)
		}
	case wire.BasicRejectID:
		var m wire.BasicReject
		if err = m.Decode(args); err == nil {
			err = s.ch.Reject(m.DeliveryTag, m.Requeue)
		}
	default:
		return false, nil
	}
	if err == nil {
		c.touch(s)
		return true, nil
	}
	if _, refused := err.(*reply.Error); !refused {
		return true, c.fault(s, malformed(id, err))
	}
	return true, c.refused(s, id, err)
}

// do carries out any other method on an open channel and answers it.
func (c *Conn) do(s *session, m wire.Method) error {
	answer, err := s.do(m)
	if err == errAborted {
		return err
	}
	if err != nil {
		return c.refused(s, m.ID(), err)
	}
	if m.ID() == wire.ChannelCloseID {
		c.forget(s)
	}
	if answer != nil {
		s.send(answer)
	}
	c.touch(s)
	return nil
}

// unless gives the answer to a method, or none if the client asked for none.
func unless(noWait bool, answer wire.Method, err error) (wire.Method, error) {
	if noWait {
		return nil, err
	}
	return answer, err
}

// do carries out a method. It gives the answer that is still to be sent; some
// methods answer by themselves, because something follows the answer at once.
func (s *session) do(m wire.Method) (wire.Method, error) {
	ch := s.ch
	switch m := m.(type) {
	case *wire.ChannelFlow:
		return &wire.ChannelFlowOK{Active: true}, ch.Flow(m.Active)
	case *wire.ChannelClose:
		s.end(reply.Reason{By: reply.ByClient, Code: reply.Code(m.ReplyCode), Text: m.ReplyText})
		return &wire.ChannelCloseOK{}, nil
	case *wire.AccessRequest:
		return &wire.AccessRequestOK{Ticket: 1}, nil

	case *wire.ExchangeDeclare:
		return unless(m.NoWait, &wire.ExchangeDeclareOK{}, ch.DeclareExchange(channel.ExchangeDeclare{
			Name: m.Exchange, Type: m.Type, Passive: m.Passive, Durable: m.Durable,
			AutoDelete: m.AutoDelete, Internal: m.Internal, Arguments: m.Arguments,
		}))
	case *wire.ExchangeDelete:
		return unless(m.NoWait, &wire.ExchangeDeleteOK{}, ch.DeleteExchange(m.Exchange, m.IfUnused))
	case *wire.ExchangeBind:
		return unless(m.NoWait, &wire.ExchangeBindOK{}, ch.BindExchange(m.Destination, m.Source, m.RoutingKey, m.Arguments))
	case *wire.ExchangeUnbind:
		return unless(m.NoWait, &wire.ExchangeUnbindOK{}, ch.UnbindExchange(m.Destination, m.Source, m.RoutingKey, m.Arguments))

	case *wire.QueueDeclare:
		return s.declareQueue(m)
	case *wire.QueueBind:
		return unless(m.NoWait, &wire.QueueBindOK{}, ch.BindQueue(m.Queue, m.Exchange, m.RoutingKey, m.Arguments))
	case *wire.QueueUnbind:
		return &wire.QueueUnbindOK{}, ch.UnbindQueue(m.Queue, m.Exchange, m.RoutingKey, m.Arguments)
	case *wire.QueuePurge:
		n, err := ch.PurgeQueue(m.Queue)
		return unless(m.NoWait, &wire.QueuePurgeOK{MessageCount: uint32(n)}, err)
	case *wire.QueueDelete:
		return nil, ch.DeleteQueue(m.Queue, m.IfUnused, m.IfEmpty, func(n int) {
			if !m.NoWait {
				s.send(&wire.QueueDeleteOK{MessageCount: uint32(n)})
			}
		})

	case *wire.BasicQos:
		return &wire.BasicQosOK{}, ch.Qos(m.PrefetchSize, int(m.PrefetchCount), m.Global)
	case *wire.BasicConsume:
		return nil, ch.Consume(channel.Consume{
			Queue: m.Queue, Tag: m.ConsumerTag, NoAck: m.NoAck, Exclusive: m.Exclusive, Arguments: m.Arguments,
		}, func(tag string) {
			if !m.NoWait {
				s.send(&wire.BasicConsumeOK{ConsumerTag: tag})
			}
		})
	case *wire.BasicCancel:
		return unless(m.NoWait, &wire.BasicCancelOK{ConsumerTag: m.ConsumerTag}, ch.Cancel(m.ConsumerTag))
	case *wire.BasicGet:
		return nil, ch.Get(m.Queue, m.NoAck, func(g channel.Got) {
			if g.Reply.Msg == nil {
				s.send(&wire.BasicGetEmpty{})
				return
			}
			s.c.out.getOK(s, g.Tag, g.Reply)
		})
	case *wire.BasicRecover:
		return nil, ch.Recover(m.Requeue, func() { s.send(&wire.BasicRecoverOK{}) })
	case *wire.BasicRecoverAsync:
		return nil, ch.Recover(m.Requeue, func() {})
	case *wire.BasicCredit:
		return nil, ch.Credit(m.ConsumerTag, m.Credit, m.Drain)

	case *wire.ConfirmSelect:
		return unless(m.NoWait, &wire.ConfirmSelectOK{}, ch.ConfirmSelect())
	case *wire.TxSelect:
		return &wire.TxSelectOK{}, ch.TxSelect()
	case *wire.TxCommit:
		return &wire.TxCommitOK{}, s.commit()
	case *wire.TxRollback:
		return &wire.TxRollbackOK{}, ch.TxRollback()
	}
	return nil, unimplemented(m.ID())
}

func (s *session) declareQueue(m *wire.QueueDeclare) (wire.Method, error) {
	info, err := s.ch.DeclareQueue(channel.QueueDeclare{
		Name: m.Queue, Passive: m.Passive, Durable: m.Durable, Exclusive: m.Exclusive,
		AutoDelete: m.AutoDelete, Arguments: m.Arguments, NoCounts: m.NoWait,
	})
	if err != nil {
		return nil, err
	}
	return unless(m.NoWait, &wire.QueueDeclareOK{
		Queue: info.Name, MessageCount: uint32(info.Ready), ConsumerCount: uint32(info.Consumers),
	}, nil)
}

// commit carries out tx.commit and waits for the queues and the store, unless the
// connection is aborted meanwhile.
func (s *session) commit() error {
	commit, err := s.ch.TxCommit()
	if err != nil {
		return err
	}
	select {
	case <-commit.Done():
		return commit.Err()
	case <-s.c.kill:
		return errAborted
	}
}
