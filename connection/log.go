package connection

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// The log lines are those an operator of RabbitMQ knows (contract 02 §12): what
// happened, to which connection, and why, in the words the client was told.

// place describes the connection in a log line.
func (c *Conn) place() string {
	var b strings.Builder
	b.WriteString(c.longName())
	if c.user != nil {
		vhost := c.vhostName
		if c.state < stateRunning {
			vhost = "none"
		}
		fmt.Fprintf(&b, ", vhost: '%s', user: '%s'", vhost, c.user.Name())
	}
	return b.String()
}

func (c *Conn) logConnectionError(s *session, e *reply.Error) {
	c.told = true
	switch {
	case c.state < stateRunning:
		c.log(slog.LevelError, fmt.Sprintf("Error on AMQP connection (%s, state: %s): %v", c.place(), c.state, e))
	case e.Code == reply.ConnectionForced:
		c.log(slog.LevelInfo, fmt.Sprintf("closing AMQP connection (%s): %s", c.place(), e.Text))
	default:
		number := uint16(0)
		if s != nil {
			number = s.number
		}
		c.log(slog.LevelError, fmt.Sprintf("Error on AMQP connection (%s, state: %s), channel %d: operation %s caused a connection exception %s: %q",
			c.place(), c.state, number, operation(e), strings.ToLower(e.Code.Name()), e.Text))
	}
}

func (c *Conn) logChannelError(s *session, e *reply.Error) {
	c.log(slog.LevelError, fmt.Sprintf("Channel error on connection (%s), channel %d: operation %s caused a channel exception %s: %s",
		c.place(), s.number, operation(e), strings.ToLower(e.Code.Name()), e.Text))
}

func operation(e *reply.Error) string {
	if e.Class == 0 {
		return "none"
	}
	return wire.MakeID(e.Class, e.Method).String()
}

func (c *Conn) logSecret(reason string) {
	c.log(slog.LevelInfo, fmt.Sprintf("connection (%s): user '%s' updated secret, reason: %s", c.longName(), c.user.Name(), reason))
}

// logAccepted says that a client is there, once it has sent its first octet; one
// that goes before is no matter (contract 02 §12). err is that of the first read.
func (c *Conn) logAccepted(err error) {
	level := slog.LevelInfo
	if err != nil && !c.late.Load() {
		level = slog.LevelDebug
	}
	c.log(level, "accepting AMQP connection ("+c.name+")")
}

// logEnd says how the connection ended, if it was not said yet.
func (c *Conn) logEnd(err error) {
	closing := func(level slog.Level, why string) {
		c.log(level, fmt.Sprintf("closing AMQP connection (%s): %s", c.place(), why))
	}
	switch {
	case c.orderly:
		c.log(slog.LevelInfo, fmt.Sprintf("closing AMQP connection (%s)", c.place()))
	case c.told, errors.Is(err, errEnd):
	case c.late.Load() && c.state < stateRunning:
		at := "frame_header"
		if c.state == stateHeader {
			at = "handshake"
		}
		closing(slog.LevelError, "{handshake_timeout,"+at+"}")
	case c.missed.Load():
		closing(slog.LevelError, c.missedHeartbeats())
	case c.received.Load() == 0:
		closing(slog.LevelDebug, "connection_closed_with_no_data_received")
	case errors.Is(err, io.EOF) || isReset(err):
		closing(slog.LevelWarn, clientGone)
	case c.aborted():
		closing(slog.LevelDebug, cutOff)
	default:
		closing(slog.LevelError, fmt.Sprintf("{inet_error,%v}", err))
	}
}
