package connection

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// readHeader takes the protocol header and answers with connection.start, or
// with the header that would have been right (contract 01 §1).
func (c *Conn) readHeader() error {
	err := c.listen()
	c.logAccepted(err)
	for err == nil && c.in.buffered() < len(wire.ProtocolHeader) {
		err = c.listen()
	}
	if err != nil {
		return err
	}
	h := c.in.bytes(len(wire.ProtocolHeader))
	switch binary.BigEndian.Uint64(h) {
	case header(0, 0, 9, 1), header(1, 1, 0, 9):
		c.start(0, 9, c.ServerProperties)
	case header(1, 1, 8, 0), header(1, 1, 9, 1):
		// A client of 0-8 gets the answer RabbitMQ gives it: a start of its own
		// version that names no capability.
		c.start(8, 0, without(c.ServerProperties, "capabilities"))
	default:
		what := "bad_header," + wire.ErlangBinary(h)
		if string(h[:4]) == "AMQP" {
			what = fmt.Sprintf("bad_version,{%d,%d,%d,%d}", h[4], h[5], h[6], h[7])
		}
		c.log(slog.LevelError, fmt.Sprintf("closing AMQP connection (%s): {%s}", c.name, what))
		c.out.octets(wire.ProtocolHeader)
		return errEnd
	}
	c.enter(stateStarting)
	return nil
}

func header(b ...byte) uint64 {
	return binary.BigEndian.Uint64(append([]byte("AMQP"), b...))
}

// without gives a copy of server properties with an empty table in one place.
func without(t message.Table, name string) message.Table {
	out := make(message.Table, 0, len(t))
	for _, f := range t {
		if f.Name == name {
			f.Value = message.Table{}
		}
		out = append(out, f)
	}
	return out
}

func (c *Conn) start(major, minor uint8, props message.Table) {
	c.send(&wire.ConnectionStart{
		VersionMajor: major, VersionMinor: minor, ServerProperties: props,
		Mechanisms: c.Broker.Mechanisms(), Locales: "en_US",
	})
}

// send puts a method on channel 0 into the outbox.
func (c *Conn) send(m wire.Method) { c.sendOn(0, m) }

// sendOn puts a method into the outbox. One that cannot be encoded was filled
// wrongly by the broker itself; the client would wait for it for ever.
func (c *Conn) sendOn(channel uint16, m wire.Method) {
	if err := c.out.method(channel, m); err != nil {
		c.log(slog.LevelError, fmt.Sprintf("closing AMQP connection (%s): %v", c.name, err))
		c.Abort()
	}
}

// startOK authenticates the client (contract 02 §2).
func (c *Conn) startOK(m *wire.ConnectionStartOK) error {
	if caps, ok := m.ClientProperties.Get("capabilities"); ok {
		t, _ := caps.(message.Table)
		c.caps.consumerCancelNotify = isTrue(t, "consumer_cancel_notify")
		c.caps.authenticationFailureClose = isTrue(t, "authentication_failure_close")
		c.caps.connectionBlocked = isTrue(t, "connection.blocked")
	}
	if name, ok := m.ClientProperties.Get("connection_name"); ok {
		if c.given, ok = name.(string); ok {
			c.log(slog.LevelInfo, fmt.Sprintf("connection (%s) has a client-provided name: %s", c.name, c.given))
		}
	}
	user, err := c.Broker.Authenticate(m.Mechanism, m.Response, c.nc.RemoteAddr())
	if err != nil {
		return c.loginFailed(err)
	}
	c.user = user
	c.view.show(func(i *Info) {
		i.User, i.Mechanism, i.ClientName, i.ClientProperties = user.Name(), m.Mechanism, c.given, m.ClientProperties
	})
	c.enter(stateTuning)
	c.send(&wire.ConnectionTune{ChannelMax: c.ChannelMax, FrameMax: c.FrameMax, Heartbeat: c.Heartbeat})
	return nil
}

func isTrue(t message.Table, name string) bool {
	v, _ := t.Get(name)
	b, _ := v.(bool)
	return b
}

// loginFailed ends a connection whose client could not be authenticated. The
// reason goes to the log only. To RabbitMQ a connection whose login was refused is
// closed, whether the client was told or not: it answers to the rest of a close
// handshake. One that sent something else than a login is not heard any more.
func (c *Conn) loginFailed(err error) error {
	c.log(slog.LevelError, fmt.Sprintf("Error on AMQP connection (%s, state: starting): %v", c.longName(), err))
	var refused *auth.RefusedError
	if !errors.As(err, &refused) {
		c.pause()
		return errEnd
	}
	if why := refused.Reply(); c.caps.authenticationFailureClose {
		c.sendClose(why)
	} else {
		c.tearDown(why)
	}
	return c.awaitCloseOK(penalty)
}

// tuneOK takes the client's choice (contract 02 §3). A choice that is not
// allowed ends the connection without a close, as it does in RabbitMQ.
func (c *Conn) tuneOK(m *wire.ConnectionTuneOK) error {
	if err := errors.Join(
		negotiated("frame_max", uint64(m.FrameMax), uint64(c.FrameMax), wire.FrameMinSize),
		negotiated("channel_max", uint64(m.ChannelMax), uint64(c.ChannelMax), 1),
	); err != nil {
		c.log(slog.LevelError, fmt.Sprintf("closing AMQP connection (%s): failed to negotiate connection parameters: %s",
			c.longName(), strings.ReplaceAll(err.Error(), "\n", "; ")))
		c.pause()
		return errEnd
	}
	c.channelMax, c.frameMax, c.heartbeat = m.ChannelMax, m.FrameMax, m.Heartbeat
	c.view.show(func(i *Info) {
		i.ChannelMax, i.FrameMax, i.Heartbeat = m.ChannelMax, m.FrameMax, m.Heartbeat
	})
	c.out.setFrameMax(m.FrameMax)
	c.enter(stateOpening)
	c.startHeartbeats()
	return nil
}

// negotiated checks one number of a tune-ok: client against what the server
// offered, where 0 means no limit.
func negotiated(name string, client, server, lowest uint64) error {
	shown := fmt.Sprint(client)
	if client == 0 {
		shown = "0 (no limit)"
	}
	switch {
	case client != 0 && client < lowest:
		return fmt.Errorf("negotiated %s = %s is lower than the minimum allowed value (%d)", name, shown, lowest)
	case server != 0 && (client == 0 || client > server):
		return fmt.Errorf("negotiated %s = %s is higher than the maximum allowed value (%d)", name, shown, server)
	}
	return nil
}

// open lets the client into a virtual host (contract 02 §5).
func (c *Conn) open(m *wire.ConnectionOpen) error {
	if !c.handshake.Stop() {
		<-c.kill // it was late by a moment
		return errAborted
	}
	vhost, access, err := c.Broker.Open(c, m.VirtualHost, c.user)
	if err != nil {
		return c.fault(nil, reply.From(err).With(wire.ConnectionOpenID.Class(), wire.ConnectionOpenID.Method()))
	}
	c.vhostName, c.vhost, c.access = m.VirtualHost, vhost, access
	c.view.show(func(i *Info) { i.VHost = m.VirtualHost })
	c.enter(stateRunning)
	c.Broker.Opened(c)
	c.send(&wire.ConnectionOpenOK{})
	c.log(slog.LevelInfo, fmt.Sprintf("connection (%s): user '%s' authenticated and granted access to vhost '%s'",
		c.longName(), c.user.Name(), m.VirtualHost))
	return nil
}

// longName is the connection's name with the one the client gave itself.
func (c *Conn) longName() string {
	if c.given == "" {
		return c.name
	}
	return c.name + " - " + c.given
}
