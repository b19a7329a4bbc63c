package connection

import (
	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/intercept"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// session is one channel number in use, from its first frame to the end of its
// close handshake.
type session struct {
	c      *Conn
	number uint16
	// ch is nil until channel.open.
	ch *channel.Channel
	// closing says that the broker sent channel.close and waits for the answer.
	closing bool
	dirty   bool // stands in Conn.dirty
	content content
}

// The methods of channel.Out.

func (s *session) Deliver(consumerTag string, first uint64, ds []queue.Delivery) {
	s.c.out.deliver(s, consumerTag, first, ds)
}

func (s *session) Return(code reply.Code, m *message.Message) { s.c.out.returned(s, code, m) }

func (s *session) Cancelled(consumerTag string) {
	if s.c.caps.consumerCancelNotify {
		s.send(&wire.BasicCancel{ConsumerTag: consumerTag, NoWait: true})
	}
}

func (s *session) ConfirmsReady() { s.c.out.confirmsReady(s) }

// The methods of channel.CreditOut.

func (s *session) CreditOK(available uint32) { s.send(&wire.BasicCreditOK{Available: available}) }

func (s *session) CreditDrained(consumerTag string, unused uint32) {
	s.send(&wire.BasicCreditDrained{ConsumerTag: consumerTag, CreditDrained: unused})
}

func (s *session) send(m wire.Method) { s.c.sendOn(s.number, m) }

// session gives the session of a channel number; a first frame begins one
// (contract 02 §6).
func (c *Conn) session(number uint16) (*session, error) {
	if s := c.last; s != nil && s.number == number {
		return s, nil
	}
	s := c.sessions[number]
	if s == nil {
		if n := int(c.channelMax); n > 0 && len(c.sessions) >= n {
			return nil, notAllowed("number of channels opened (%d) has reached the negotiated channel_max (%d)", len(c.sessions), n)
		}
		if n, elsewhere := c.Broker.MaxChannels(c, c.user.Name()); n >= 0 && elsewhere+len(c.sessions) >= n {
			return nil, notAllowed("number of channels opened for user '%s' has reached the maximum allowed user limit of (%d)", c.user.Name(), n)
		}
		s = &session{c: c, number: number}
		c.sessions[number] = s
	}
	c.last = s
	return s, nil
}

func notAllowed(format string, args ...any) error {
	e := reply.Errorf(reply.NotAllowed, format, args...)
	e.NoMethod = true
	return e
}

// forget frees the channel number.
func (c *Conn) forget(s *session) {
	delete(c.sessions, s.number)
	c.view.closed(s.number)
	c.last = nil
}

// touch notes that the session's channel has something to flush.
func (c *Conn) touch(s *session) {
	if !s.dirty {
		s.dirty = true
		c.dirty = append(c.dirty, s)
	}
}

// open answers channel.open.
func (s *session) open() {
	c := s.c
	s.ch = channel.New(channel.Config{
		VHost: c.vhost, Access: c.access, User: c.user.Name(), Impersonator: c.user.MayImpersonate(),
		Connection: c.id, Number: uint64(s.number), Out: s, MaxMessageSize: c.MaxMessageSize, MaxUnsent: c.MaxUnsent,
		ConsumerTimeout: c.ConsumerTimeout,
		Interceptors:    c.Interceptors,
		Ended:           c.kill,
		Client: intercept.Client{
			Connection: c.id, Channel: int(s.number), Name: c.name, ClientName: c.given,
			User: c.user.Name(), VHost: c.vhostName,
		},
	})
	c.view.opened(s.number, s.ch)
	s.send(&wire.ChannelOpenOK{})
}

// end ends the session's channel. What is sent next tells the client so.
func (s *session) end(why reply.Reason) {
	s.ch.CloseBecause(why)
	s.c.out.lastConfirms(s)
}

// release gives back to the broker all there is of an open connection.
func (c *Conn) release(why reply.Reason) {
	c.endSessions(why)
	if c.vhost != nil {
		c.Broker.Release(c, why)
		c.vhost = nil
	}
}

// endSessions ends all channels.
func (c *Conn) endSessions(why reply.Reason) {
	c.interrupt.Lock()
	c.overdue, c.released = nil, true
	c.interrupt.Unlock()
	var channels []*channel.Channel
	for _, s := range c.sessions {
		if s.ch != nil {
			channels = append(channels, s.ch)
		}
	}
	channel.CloseAll(channels, why)
	for _, s := range c.sessions {
		if s.ch != nil {
			c.out.lastConfirms(s)
			c.view.closed(s.number)
		}
		s.content.drop()
	}
	clear(c.sessions)
	c.last, c.dirty = nil, nil
}
