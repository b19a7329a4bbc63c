package connection

import (
	"errors"
	"time"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// badFrame is the error for a frame of an unknown type, or one that cannot be
// what its type says (contract 01 §8).
func badFrame(f wire.Frame) *reply.Error {
	return &reply.Error{Code: reply.FrameError, Text: wire.FrameExplanation(f.Type, f.Payload, "unknown_frame"), NoMethod: true}
}

// unexpectedFrame is the error for a frame that must not come on its channel.
func unexpectedFrame(f wire.Frame) *reply.Error {
	return &reply.Error{Code: reply.UnexpectedFrame, Text: wire.FrameExplanation(f.Type, f.Payload, ""), NoMethod: true}
}

// wellFormed reports that a frame is what its type says. RabbitMQ looks at that
// before anything else.
func wellFormed(f wire.Frame) bool {
	switch f.Type {
	case wire.FrameMethod:
		_, ok := wire.MethodID(f.Payload)
		return ok
	case wire.FrameHeader:
		_, err := wire.ParseContentHeader(f.Payload)
		return err == nil
	case wire.FrameBody:
		return true
	case wire.FrameHeartbeat:
		return len(f.Payload) == 0
	}
	return false
}

// handle carries out one frame. Its error ends the reader.
func (c *Conn) handle(f wire.Frame) error {
	switch {
	case f.Channel == 0:
		return c.handleZero(f)
	case c.state == stateClosed:
		return nil
	case c.state < stateRunning:
		return c.fault(nil, unexpectedFrame(f))
	case !wellFormed(f):
		return c.fault(nil, badFrame(f))
	case f.Type == wire.FrameHeartbeat:
		return c.fault(nil, unexpectedFrame(f))
	}
	s, err := c.session(f.Channel)
	if err != nil {
		return c.fault(nil, err)
	}
	return c.channelFrame(s, f)
}

// channelFrame carries out a frame of a running connection's channel.
func (c *Conn) channelFrame(s *session, f wire.Frame) error {
	ct := &s.content
	if ct.stage != wantMethod {
		complete, err := ct.frame(f, c.MaxMessageSize)
		if err != nil {
			return c.fault(s, err)
		}
		if complete {
			err = c.contentMethod(s)
		}
		if err == nil && c.alarmed {
			err = c.block()
		}
		return err
	}
	if f.Type != wire.FrameMethod {
		return c.fault(s, &reply.Error{Code: reply.UnexpectedFrame, Text: "expected method frame, got non method frame instead", NoMethod: true})
	}
	id, _ := wire.MethodID(f.Payload)
	args := f.Payload[4:]
	if id.HasContent() {
		if err := ct.begin(id, args); err != nil {
			return c.fault(s, malformed(id, err))
		}
		return nil
	}
	return c.method(s, id, args)
}

// contentMethod carries out a method whose content is complete.
func (c *Conn) contentMethod(s *session) error {
	id := s.content.id
	p := s.content.publish()
	switch {
	case s.closing:
		p.Msg.Release()
		return nil
	case s.ch == nil:
		p.Msg.Release()
		return c.fault(s, notOpen(id))
	case id != wire.BasicPublishID:
		p.Msg.Release()
		return c.fault(s, unimplemented(id))
	}
	if err := s.ch.Publish(&p); err != nil {
		return c.refused(s, id, err)
	}
	c.touch(s)
	return nil
}

// malformed turns a decoder's error into what RabbitMQ says, or, where RabbitMQ's
// reader crashes, into the answer that contract 01 §8 recommends.
func malformed(id wire.ID, err error) *reply.Error {
	switch {
	case errors.Is(err, wire.ErrUnknownMethod):
		return &reply.Error{Code: reply.CommandInvalid, Text: "unknown method " + id.String(), NoMethod: true}
	case errors.Is(err, message.ErrBadTable):
		return reply.Errorf(reply.SyntaxError, "%v", err).With(id.Class(), id.Method())
	case errors.Is(err, wire.ErrUTF8):
		return &reply.Error{Code: reply.FrameError, Text: wire.Explanation(err), NoMethod: true}
	}
	return (&reply.Error{Code: reply.FrameError, Text: wire.Explanation(err)}).With(id.Class(), id.Method())
}

func notOpen(id wire.ID) *reply.Error {
	return reply.Errorf(reply.ChannelError, "expected 'channel.open'").With(id.Class(), id.Method())
}

func unimplemented(id wire.ID) *reply.Error {
	return reply.Errorf(reply.CommandInvalid, "unimplemented method").With(id.Class(), id.Method())
}

// refused deals with an error of a channel's method: a soft one closes the
// channel, a hard one the connection.
func (c *Conn) refused(s *session, id wire.ID, err error) error {
	if errors.Is(err, channel.ErrUnsettled) {
		return errAborted
	}
	e := reply.From(err).With(id.Class(), id.Method())
	if e.Code.Hard() {
		return c.fault(s, e)
	}
	c.closeChannel(s, e)
	return nil
}

// closeChannel closes a channel with a soft error.
func (c *Conn) closeChannel(s *session, e *reply.Error) {
	c.logChannelError(s, e)
	s.end(e.Reason())
	s.closing = true
	s.send(&wire.ChannelClose{ReplyCode: uint16(e.Code), ReplyText: e.ReplyText(), ClassID: e.Class, MethodID: e.Method})
}

// distrust ends a connection that is not authenticated yet: the client is kept
// waiting and told nothing.
func (c *Conn) distrust(e *reply.Error) error {
	c.logConnectionError(nil, e)
	c.pause()
	return errEnd
}

// fault ends the connection with a hard error: everything is torn down, the
// client is told, and is given time to answer.
func (c *Conn) fault(s *session, err error) error {
	e := reply.From(err)
	if c.state < stateOpening {
		return c.distrust(e)
	}
	c.logConnectionError(s, e)
	c.sendClose(e)
	return c.awaitCloseOK(c.closeWait())
}

// sendClose tears everything down and tells the client why.
func (c *Conn) sendClose(e *reply.Error) {
	c.tearDown(e)
	c.send(&wire.ConnectionClose{ReplyCode: uint16(e.Code), ReplyText: e.ReplyText(), ClassID: e.Class, MethodID: e.Method})
}

// tearDown ends everything there was in a connection but its socket.
func (c *Conn) tearDown(why *reply.Error) {
	c.handshake.Stop()
	c.release(why.Reason())
	c.enter(stateClosed)
}

// closeWait is how long the broker waits at the end of a connection.
func (c *Conn) closeWait() time.Duration {
	if c.heartbeat > 0 {
		return min(time.Duration(c.heartbeat)*time.Second, maxCloseWait)
	}
	return maxCloseWait
}

// awaitCloseOK ignores what comes but the end of the close handshake.
func (c *Conn) awaitCloseOK(limit time.Duration) error {
	if len(c.broken) > 0 {
		return errEnd // the client was told nothing it could answer
	}
	c.readUntil(time.Now().Add(limit))
	for {
		f, err := c.in.frame(c.maxPayload())
		for err == errIncomplete {
			if err = c.in.fill(); err != nil {
				return errEnd
			}
			f, err = c.in.frame(c.maxPayload())
		}
		if err != nil {
			return errEnd // not worth another word
		}
		if err := c.handle(f); err != nil {
			return err
		}
	}
}

// badFrame ends a connection whose input can no longer be split into frames.
// RabbitMQ reads nothing more of it and drops it a little later.
func (c *Conn) badFrame(err error) error {
	if c.state == stateClosed {
		return errEnd
	}
	e := &reply.Error{Code: reply.FrameError, Text: wire.Explanation(err), NoMethod: true}
	if c.state < stateOpening {
		return c.distrust(e)
	}
	c.logConnectionError(nil, e)
	c.sendClose(e)
	c.pause()
	return errEnd
}

// handleZero carries out a frame on channel 0.
func (c *Conn) handleZero(f wire.Frame) error {
	switch {
	case !wellFormed(f):
		return c.zeroFault(badFrame(f))
	case f.Type == wire.FrameHeartbeat:
		return nil
	case f.Type != wire.FrameMethod:
		return c.zeroFault(unexpectedFrame(f))
	}
	m, err := wire.Decode(f.Payload)
	if err == nil {
		return c.zeroMethod(m)
	}
	id, _ := wire.MethodID(f.Payload)
	var short *wire.DecodeError
	switch {
	case c.state == stateClosed && errors.Is(err, wire.ErrUnknownMethod):
		return errEnd // it cannot be told; RabbitMQ drops the socket, too
	case c.state == stateRunning && errors.As(err, &short):
		return c.fault(nil, &reply.Error{Code: reply.InternalError, NoMethod: true})
	case c.state == stateOpening && errors.As(err, &short):
		return c.distrust(malformed(id, err)) // as RabbitMQ: nothing is said
	case errors.Is(err, wire.ErrUTF8):
		return c.zeroFault((&reply.Error{Code: reply.FrameError, Text: wire.Explanation(err)}).With(id.Class(), id.Method()))
	}
	return c.zeroFault(malformed(id, err))
}

func (c *Conn) zeroFault(e *reply.Error) error {
	if c.state == stateClosed {
		return nil
	}
	return c.fault(nil, e)
}

// zeroMethod carries out a method of channel 0 (contract 02 §1).
func (c *Conn) zeroMethod(m wire.Method) error {
	if c.state == stateClosed {
		switch m.(type) {
		case *wire.ConnectionClose:
			c.send(&wire.ConnectionCloseOK{})
		case *wire.ConnectionCloseOK:
			return errEnd
		}
		return nil
	}
	switch m := m.(type) {
	case *wire.ConnectionStartOK:
		if c.state == stateStarting {
			return c.startOK(m)
		}
	case *wire.ConnectionTuneOK:
		if c.state == stateTuning {
			return c.tuneOK(m)
		}
	case *wire.ConnectionOpen:
		if c.state == stateOpening {
			return c.open(m)
		}
	case *wire.ConnectionClose:
		if c.state == stateRunning {
			return c.closedByClient(m)
		}
	case *wire.ConnectionUpdateSecret:
		if c.state == stateRunning {
			c.logSecret(m.Reason)
			c.send(&wire.ConnectionUpdateSecretOK{})
			return nil
		}
	}
	id := m.ID()
	return c.fault(nil, reply.Errorf(reply.ChannelError,
		"unexpected method in connection state %s", c.state).With(id.Class(), id.Method()))
}

// closedByClient carries out connection.close: when the answer goes out, the
// connection's exclusive queues are gone and its deliveries are back in their
// queues (contract 02 §8).
func (c *Conn) closedByClient(m *wire.ConnectionClose) error {
	c.flush()
	c.release(reply.Reason{By: reply.ByClient, Code: reply.Code(m.ReplyCode), Text: m.ReplyText})
	c.enter(stateClosed)
	c.send(&wire.ConnectionCloseOK{})
	c.orderly = true
	return c.awaitCloseOK(c.closeWait())
}
