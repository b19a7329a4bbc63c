package warren_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/wire"
)

// rawClient is a client of few words. It writes what it is told and reads frame
// by frame from one buffer, without an allocation, so that the broker is what a
// benchmark measures.
type rawClient struct {
	net.Conn
	buf      []byte
	from, to int
}

// connectRaw connects without a word.
func connectRaw(t testing.TB, addr string) *rawClient {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, patience)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() }) // a test may have done it
	require.NoError(t, nc.SetReadDeadline(time.Now().Add(3*patience)))
	return &rawClient{Conn: nc, buf: make([]byte, 256<<10)}
}

// dialRaw connects as guest and opens the virtual host "/" and channel 1. There
// are no heartbeats.
func dialRaw(t testing.TB, addr string) *rawClient {
	t.Helper()
	c := connectRaw(t, addr)
	c.login(t, "guest", "guest")
	return c
}

func (c *rawClient) login(t testing.TB, user, password string) {
	t.Helper()
	c.startOK(t, user, password)
	c.expect(t, wire.ConnectionTuneID)
	c.send(t, 0, &wire.ConnectionTuneOK{ChannelMax: 2047, FrameMax: 131072})
	c.send(t, 0, &wire.ConnectionOpen{VirtualHost: "/"})
	c.expect(t, wire.ConnectionOpenOKID)
	c.send(t, 1, &wire.ChannelOpen{})
	c.expect(t, wire.ChannelOpenOKID)
}

// startOK goes as far as the user's name and password.
func (c *rawClient) startOK(t testing.TB, user, password string) {
	t.Helper()
	c.write(t, []byte(wire.ProtocolHeader))
	c.expect(t, wire.ConnectionStartID)
	c.send(t, 0, &wire.ConnectionStartOK{
		ClientProperties: message.Table{{Name: "capabilities", Value: message.Table{
			{Name: "authentication_failure_close", Value: true},
			{Name: "consumer_cancel_notify", Value: true},
		}}},
		Mechanism: "PLAIN", Response: []byte("\x00" + user + "\x00" + password), Locale: "en_US",
	})
}

func (c *rawClient) write(t testing.TB, p []byte) {
	t.Helper()
	_, err := c.Write(p)
	require.NoError(t, err)
}

func (c *rawClient) send(t testing.TB, channel uint16, m wire.Method) {
	t.Helper()
	p, err := wire.AppendMethodFrame(nil, channel, m)
	require.NoError(t, err)
	c.write(t, p)
}

// call sends a method on channel 1 and waits for its answer.
func (c *rawClient) call(t testing.TB, m wire.Method, answer wire.ID) {
	t.Helper()
	c.send(t, 1, m)
	c.expect(t, answer)
}

// expect gives the arguments of the next method, which must be the one named.
func (c *rawClient) expect(t testing.TB, id wire.ID) []byte {
	t.Helper()
	f, err := c.next()
	require.NoError(t, err)
	got, ok := wire.MethodID(f.Payload)
	require.True(t, ok && f.Type == wire.FrameMethod, "%+v", f)
	require.Equal(t, id.String(), got.String(), "%q", f.Payload)
	return f.Payload[4:]
}

// expectEnd reads until the broker ends the connection.
func (c *rawClient) expectEnd(t testing.TB) {
	t.Helper()
	for {
		_, err := c.next()
		if err == nil {
			continue
		}
		var timeout net.Error
		require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the broker did not end the connection")
		return
	}
}

// next gives the next frame. It is valid until the next call.
func (c *rawClient) next() (wire.Frame, error) {
	for {
		f, n, err := wire.ParseFrame(c.buf[c.from:c.to], 1<<20)
		if err != nil || n > 0 {
			c.from += n
			return f, err
		}
		if c.from > 0 {
			c.to = copy(c.buf, c.buf[c.from:c.to])
			c.from = 0
		}
		if c.to == len(c.buf) {
			return f, fmt.Errorf("a frame of more than %d octets: %w", len(c.buf), io.ErrShortBuffer)
		}
		n, err = c.Read(c.buf[c.to:])
		c.to += n
		if err != nil && n == 0 {
			return f, err
		}
	}
}

// buffered reports whether a whole frame is there without another read.
func (c *rawClient) buffered() bool {
	n, ok := wire.FrameLength(c.buf[c.from:c.to])
	return ok && n <= uint64(c.to-c.from)
}

// delivery reads the next delivery and gives its tag, and the length of its body.
func (c *rawClient) delivery() (tag uint64, size int, err error) {
	f, err := c.next()
	if err != nil {
		return 0, 0, err
	}
	// class and method, consumer tag, delivery tag
	id, _ := wire.MethodID(f.Payload)
	if id != wire.BasicDeliverID {
		return 0, 0, fmt.Errorf("%v instead of a delivery", id)
	}
	tag = binary.BigEndian.Uint64(f.Payload[5+int(f.Payload[4]):])
	if f, err = c.next(); err != nil {
		return tag, 0, err
	}
	h, err := wire.ParseContentHeader(f.Payload)
	if err != nil {
		return tag, 0, err
	}
	for size < int(h.BodySize) {
		if f, err = c.next(); err != nil {
			return tag, size, err
		}
		size += len(f.Payload)
	}
	return tag, size, nil
}

// confirm reads the next confirm and gives its tag, and whether it is for all up
// to it.
func (c *rawClient) confirm() (tag uint64, multiple bool, err error) {
	f, err := c.next()
	if err != nil {
		return 0, false, err
	}
	var m wire.BasicAck
	if id, _ := wire.MethodID(f.Payload); id != wire.BasicAckID {
		return 0, false, fmt.Errorf("%v instead of a confirm", id)
	}
	err = m.Decode(f.Payload[4:])
	return m.DeliveryTag, m.Multiple, err
}

// publishFrames gives the frames of a publish on channel 1.
func publishFrames(t testing.TB, exchange, key string, size int) []byte {
	t.Helper()
	p, err := wire.AppendMethodFrame(nil, 1, &wire.BasicPublish{Exchange: []byte(exchange), RoutingKey: []byte(key)})
	require.NoError(t, err)
	p = wire.AppendHeaderFrame(p, 1, 60, uint64(size), []byte{0, 0})
	return wire.AppendBodyFrames(p, 1, bytes.Repeat([]byte{'x'}, size), 131072)
}
