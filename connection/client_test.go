package connection

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// patience is how long a client waits for something that must come. In a bubble
// it costs nothing.
const patience = time.Minute

// client speaks raw frames. What it sends goes through a queue without end, so
// that sending never blocks; what it receives is kept in order.
type client struct {
	t    testing.TB
	b    *fakeBroker
	conn *Conn // the other side
	nc   net.Conn

	frames chan wire.Frame
	closed chan struct{} // closed when the broker's side has ended

	mu      sync.Mutex
	out     []byte
	more    *sync.Cond
	hungUp  bool
	halted  chan struct{} // nobody reads while it is open; nil to read on
	gone    chan struct{} // closed by hangUp
	goOnce  sync.Once
	running sync.WaitGroup
}

// frameRaw is the type of a pseudo frame: a protocol header.
const frameRaw = 'A'

// addressed gives a pipe the addresses of a TCP connection.
type addressed struct{ net.Conn }

const testName = "127.0.0.1:50000 -> 127.0.0.1:5672"

func (addressed) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50000}
}

func (addressed) LocalAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5672}
}

// inBubble runs a test with a broker and virtual time, and checks that nothing of
// them is left.
func inBubble(t *testing.T, f func(t *testing.T, b *fakeBroker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBroker(t)
		f(t, b)
		b.wg.Wait()
		b.balanced(t)
	})
}

// dial connects a client by a pipe. change, if not nil, may change the
// connection's configuration.
func (b *fakeBroker) dial(t testing.TB, change func(*Config)) *client {
	here, there := net.Pipe()
	return b.serve(t, 1, addressed{there}, here, change)
}

func (b *fakeBroker) serve(t testing.TB, id uint64, there, here net.Conn, change func(*Config)) *client {
	cfg := b.config()
	if change != nil {
		change(&cfg)
	}
	c := &client{
		t: t, b: b, nc: here, conn: New(id, there, cfg),
		frames: make(chan wire.Frame, 1<<16), closed: make(chan struct{}), gone: make(chan struct{}),
	}
	c.more = sync.NewCond(&c.mu)
	b.wg.Go(c.conn.Serve)
	c.running.Go(c.readAll)
	c.running.Go(c.writeAll)
	t.Cleanup(c.hangUp)
	return c
}

// dialTCP connects a client over loopback.
func (b *fakeBroker) dialTCP(t testing.TB, id uint64, change func(*Config)) *client {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	here, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	there, err := l.Accept()
	require.NoError(t, err)
	return b.serve(t, id, there, here, change)
}

func (c *client) readAll() {
	defer close(c.closed)
	defer close(c.frames)
	var buf []byte
	p := make([]byte, 64<<10)
	for {
		c.mu.Lock()
		halted := c.halted
		c.mu.Unlock()
		if halted != nil {
			select {
			case <-halted:
			case <-c.gone:
			}
		}
		n, err := c.nc.Read(p)
		buf = append(buf, p[:n]...)
		for {
			f, size, err := wire.ParseFrame(buf, 0)
			if bytes.HasPrefix(buf, []byte("AMQP")) && len(buf) >= 8 {
				f, size, err = wire.Frame{Type: frameRaw, Payload: buf[:8]}, 8, nil
			}
			if err != nil {
				c.t.Errorf("the broker sent what is no frame: %v", err)
				return
			}
			if size == 0 {
				break
			}
			f.Payload = bytes.Clone(f.Payload)
			c.frames <- f
			buf = buf[size:]
		}
		if err != nil {
			return
		}
	}
}

func (c *client) writeAll() {
	for {
		c.mu.Lock()
		for len(c.out) == 0 && !c.hungUp {
			c.more.Wait()
		}
		p := c.out
		c.out = nil
		end := c.hungUp
		c.mu.Unlock()
		if _, err := c.nc.Write(p); err != nil || end && len(p) == 0 {
			return
		}
	}
}

// halt makes the client stop reading until the result is called.
func (c *client) halt() (resume func()) {
	halted := make(chan struct{})
	c.mu.Lock()
	c.halted = halted
	c.mu.Unlock()
	return sync.OnceFunc(func() {
		c.mu.Lock()
		c.halted = nil
		c.mu.Unlock()
		close(halted)
	})
}

// hangUp closes the client's side of the connection without a word and waits
// until the broker's has ended. It may be called again.
func (c *client) hangUp() {
	c.goOnce.Do(func() { close(c.gone) })
	c.mu.Lock()
	c.hungUp = true
	c.more.Signal()
	c.mu.Unlock()
	c.nc.Close()
	c.running.Wait()
	<-c.conn.Done()
}

// raw sends octets.
func (c *client) raw(p []byte) {
	c.mu.Lock()
	c.out = append(c.out, p...)
	c.more.Signal()
	c.mu.Unlock()
}

func (c *client) frame(typ uint8, channel uint16, payload []byte) {
	c.raw(frame(typ, channel, payload))
}

func frame(typ uint8, channel uint16, payload []byte) []byte {
	p := wire.AppendFrameHeader(nil, typ, channel, uint32(len(payload)))
	return append(append(p, payload...), wire.FrameEnd)
}

func (c *client) send(channel uint16, ms ...wire.Method) {
	for _, m := range ms {
		c.raw(encoded(c.t, channel, m))
	}
}

func encoded(t testing.TB, channel uint16, m wire.Method) []byte {
	t.Helper()
	p, err := wire.AppendMethodFrame(nil, channel, m)
	require.NoError(t, err)
	return p
}

// publish sends a message to a queue through the default exchange.
func (c *client) publish(channel uint16, queue string, body []byte) {
	c.raw(published(c.t, channel, &wire.BasicPublish{RoutingKey: []byte(queue)}, body, 131072))
}

func published(t testing.TB, channel uint16, m *wire.BasicPublish, body []byte, frameMax uint32) []byte {
	t.Helper()
	p := encoded(t, channel, m)
	p = wire.AppendHeaderFrame(p, channel, classBasic, uint64(len(body)), []byte{0, 0})
	return wire.AppendBodyFrames(p, channel, body, frameMax)
}

// next gives the next frame.
func (c *client) next() wire.Frame {
	c.t.Helper()
	select {
	case f, ok := <-c.frames:
		if !ok {
			require.FailNow(c.t, "the broker closed the connection", "%q", c.b.log.all())
		}
		return f
	case <-time.After(patience):
		require.FailNow(c.t, "the broker is silent", "%q", c.b.log.all())
	}
	panic("unreachable")
}

// method gives the next frame that is no heartbeat, which has to be a method.
func (c *client) method() (wire.Method, uint16) {
	c.t.Helper()
	f := c.next()
	for f.Type == wire.FrameHeartbeat {
		f = c.next()
	}
	require.EqualValues(c.t, wire.FrameMethod, f.Type, "type of the frame")
	m, err := wire.Decode(f.Payload)
	require.NoError(c.t, err)
	return m, f.Channel
}

// expect checks the next method.
func (c *client) expect(channel uint16, want wire.Method) {
	c.t.Helper()
	m, ch := c.method()
	require.Equal(c.t, want, m)
	require.Equal(c.t, channel, ch, "channel")
}

// await gives the next method, which must be an M on that channel.
func await[M wire.Method](c *client, channel uint16) M {
	c.t.Helper()
	m, ch := c.method()
	got, ok := m.(M)
	require.True(c.t, ok, "%T came: %+v", m, m)
	require.Equal(c.t, channel, ch, "channel")
	return got
}

// content gives the properties and the body that follow a method with content,
// and the size of each body frame.
func (c *client) content(channel uint16) (props, body []byte, chunks []int) {
	c.t.Helper()
	f := c.next()
	require.EqualValues(c.t, wire.FrameHeader, f.Type)
	require.Equal(c.t, channel, f.Channel)
	h, err := wire.ParseContentHeader(f.Payload)
	require.NoError(c.t, err)
	require.EqualValues(c.t, classBasic, h.Class)
	for uint64(len(body)) < h.BodySize {
		f := c.next()
		require.EqualValues(c.t, wire.FrameBody, f.Type)
		require.Equal(c.t, channel, f.Channel)
		body = append(body, f.Payload...)
		chunks = append(chunks, len(f.Payload))
	}
	require.Len(c.t, body, int(h.BodySize))
	return h.Props, body, chunks
}

// nothing checks, in a bubble, that all came to rest and nothing more was sent.
func (c *client) nothing() {
	c.t.Helper()
	synctest.Wait()
	select {
	case f, ok := <-c.frames:
		if ok {
			require.FailNow(c.t, "unexpected frame", "%+v %s", f, shown(f))
		}
		require.FailNow(c.t, "the broker closed the connection", "%q", c.b.log.all())
	default:
	}
}

func shown(f wire.Frame) string {
	m, err := wire.Decode(f.Payload)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%T %+v", m, m)
}

// ends checks, in a bubble, that the broker says nothing more and closes the
// socket after exactly that time.
func (c *client) ends(after time.Duration) {
	c.t.Helper()
	begin := time.Now()
	for f := range c.frames {
		if f.Type != wire.FrameHeartbeat {
			require.FailNow(c.t, "unexpected frame", "%+v %s", f, shown(f))
		}
	}
	require.Equal(c.t, after, time.Since(begin), "time to the end of the connection")
	c.hangUp()
}

// plain is a start-ok for guest.
func plain(properties ...message.Field) *wire.ConnectionStartOK {
	return &wire.ConnectionStartOK{
		ClientProperties: properties, Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest"), Locale: "en_US",
	}
}

func withCapabilities(names ...string) message.Field {
	t := message.Table{}
	for _, n := range names {
		t = append(t, message.Field{Name: n, Value: true})
	}
	return message.Field{Name: "capabilities", Value: t}
}

// Stages of the handshake, for toStage.
const (
	afterHeader = iota + 1
	afterStartOK
	afterTuneOK
	afterOpen
)

// toStage goes through the handshake up to a stage, with the given tune-ok, or
// one without heartbeats.
func (c *client) toStage(stage int, tune *wire.ConnectionTuneOK) *client {
	c.t.Helper()
	if tune == nil {
		tune = &wire.ConnectionTuneOK{ChannelMax: 2047, FrameMax: 131072}
	}
	c.raw([]byte(wire.ProtocolHeader))
	await[*wire.ConnectionStart](c, 0)
	if stage >= afterStartOK {
		c.send(0, plain(withCapabilities("consumer_cancel_notify", "connection.blocked")))
		await[*wire.ConnectionTune](c, 0)
	}
	if stage >= afterTuneOK {
		c.send(0, tune)
	}
	if stage >= afterOpen {
		c.send(0, &wire.ConnectionOpen{VirtualHost: "/"})
		await[*wire.ConnectionOpenOK](c, 0)
	}
	return c
}

// open goes through the whole handshake.
func (c *client) open() *client { c.t.Helper(); return c.toStage(afterOpen, nil) }

// channel opens a channel.
func (c *client) channel(n uint16) *client {
	c.t.Helper()
	c.send(n, &wire.ChannelOpen{})
	c.expect(n, &wire.ChannelOpenOK{})
	return c
}

// declare makes a queue on an open channel.
func (c *client) declare(n uint16, name string) *client {
	c.t.Helper()
	c.send(n, &wire.QueueDeclare{Queue: name})
	c.expect(n, &wire.QueueDeclareOK{Queue: name})
	return c
}

// refused checks that the broker closes the connection like this, and answers.
func (c *client) refused(code reply.Code, text string, id wire.ID) {
	c.t.Helper()
	c.expect(0, closeWith(code, text, id))
	c.send(0, &wire.ConnectionCloseOK{})
	c.ends(0)
}

func closeWith(code reply.Code, text string, id wire.ID) *wire.ConnectionClose {
	return &wire.ConnectionClose{
		ReplyCode: uint16(code), ReplyText: (&reply.Error{Code: code, Text: text}).ReplyText(),
		ClassID: id.Class(), MethodID: id.Method(),
	}
}

// close goes through the close handshake.
func (c *client) close() {
	c.t.Helper()
	c.send(0, &wire.ConnectionClose{ReplyCode: 200, ReplyText: "bye"})
	c.expect(0, &wire.ConnectionCloseOK{})
	c.hangUp()
}

var _ Broker = (*fakeBroker)(nil)

// nothingBut takes what has come, all of that type, and gives their number.
func (c *client) nothingBut(typ uint8) (n int) {
	c.t.Helper()
	synctest.Wait()
	for len(c.frames) > 0 {
		f := c.next()
		require.Equal(c.t, typ, f.Type, "unexpected frame: %+v %s", f, shown(f))
		n++
	}
	return n
}

// owe makes the broker owe at least that many octets of answers on channel 1.
func (c *client) owe(octets int) {
	long := string(bytes.Repeat([]byte("q"), 255))
	one := encoded(c.t, 1, &wire.BasicCancel{ConsumerTag: long})
	c.raw(bytes.Repeat(one, octets/len(one)+1))
}

// owed takes those answers.
func (c *client) owed(octets int) {
	c.t.Helper()
	long := string(bytes.Repeat([]byte("q"), 255))
	one := encoded(c.t, 1, &wire.BasicCancel{ConsumerTag: long})
	for range octets/len(one) + 1 {
		m := await[*wire.BasicCancelOK](c, 1)
		require.Equal(c.t, long, m.ConsumerTag)
	}
}
