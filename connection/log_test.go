package connection

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// Contract 02 §12.
func TestLogOfAClientThatGoesWithoutAWord(t *testing.T) {
	t.Parallel()
	const unexpected = ": client unexpectedly closed TCP connection"
	accepting := "INFO accepting AMQP connection (" + testName + ")"
	granted := "INFO connection (" + testName + "): user 'guest' authenticated and granted access to vhost '/'"
	for name, c := range map[string]struct {
		until func(*client)
		log   []string
	}{
		"a health check, which sends nothing": {func(*client) {}, []string{
			"DEBUG accepting AMQP connection (" + testName + ")",
			"DEBUG closing AMQP connection (" + testName + "): connection_closed_with_no_data_received",
		}},
		"one octet": {func(c *client) { c.raw([]byte("A")) }, []string{
			accepting, "WARN closing AMQP connection (" + testName + ")" + unexpected,
		}},
		"after the header": {func(c *client) { c.toStage(afterHeader, nil) }, []string{
			accepting, "WARN closing AMQP connection (" + testName + ")" + unexpected,
		}},
		"after start-ok": {func(c *client) { c.toStage(afterStartOK, nil) }, []string{
			accepting, "WARN closing AMQP connection (" + testName + ", vhost: 'none', user: 'guest')" + unexpected,
		}},
		"after tune-ok": {func(c *client) { c.toStage(afterTuneOK, nil) }, []string{
			accepting, "WARN closing AMQP connection (" + testName + ", vhost: 'none', user: 'guest')" + unexpected,
		}},
		"open": {func(c *client) { c.open() }, []string{
			accepting, granted, "WARN closing AMQP connection (" + testName + ", vhost: '/', user: 'guest')" + unexpected,
		}},
		"in half a frame": {func(c *client) { c.open().raw([]byte{1, 0, 1, 0}) }, []string{
			accepting, granted, "WARN closing AMQP connection (" + testName + ", vhost: '/', user: 'guest')" + unexpected,
		}},
		"after its close": {func(c *client) { c.open().close() }, []string{
			accepting, granted, "INFO closing AMQP connection (" + testName + ", vhost: '/', user: 'guest')",
		}},
		"instead of a close-ok": {func(c *client) {
			c.open().conn.Close(reply.Errorf(reply.ConnectionForced, "broker forced connection closure with reason 'shutdown'"))
			await[*wire.ConnectionClose](c, 0)
		}, []string{
			accepting, granted, "INFO closing AMQP connection (" + testName +
				", vhost: '/', user: 'guest'): broker forced connection closure with reason 'shutdown'",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil)
				c.until(cl)
				time.Sleep(time.Second)
				cl.hangUp()
				require.Equal(t, c.log, b.log.all())
			})
		})
	}
}

func TestLogOfAHardError(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(3)
		cl.send(3, &wire.BasicQos{PrefetchSize: 7})
		cl.refused(reply.NotImplemented, "prefetch_size!=0 (7)", wire.BasicQosID)
		require.Equal(t, []string{"ERROR Error on AMQP connection (" + testName + ", vhost: '/', user: 'guest', state: running), channel 3: " +
			`operation basic.qos caused a connection exception not_implemented: "prefetch_size!=0 (7)"`}, b.log.above())
	})
}

// faulty is a socket whose reads or writes begin to fail.
type faulty struct {
	net.Conn
	mu          sync.Mutex
	read, write error
}

func (f *faulty) fail(read, write error) {
	f.mu.Lock()
	f.read, f.write = read, write
	f.mu.Unlock()
}

func (f *faulty) errors() (read, write error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read, f.write
}

func (f *faulty) Read(p []byte) (int, error) {
	if err, _ := f.errors(); err != nil {
		return 0, err
	}
	return f.Conn.Read(p)
}

func (f *faulty) Write(p []byte) (int, error) {
	if _, err := f.errors(); err != nil {
		return 0, err
	}
	return f.Conn.Write(p)
}

func TestSocketErrors(t *testing.T) {
	t.Parallel()
	place := " closing AMQP connection (" + testName + ", vhost: '/', user: 'guest'): "
	for name, c := range map[string]struct {
		read, write error
		log         string
	}{
		"read":        {errors.New("etimedout"), nil, "ERROR" + place + "{inet_error,etimedout}"},
		"read reset":  {syscall.ECONNRESET, nil, "WARN" + place + "client unexpectedly closed TCP connection"},
		"write":       {nil, errors.New("etimedout"), "ERROR" + place + "{inet_error,etimedout}"},
		"write reset": {nil, syscall.EPIPE, "WARN" + place + "client unexpectedly closed TCP connection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				here, there := net.Pipe()
				f := &faulty{Conn: addressed{there}}
				cl := b.serve(t, 1, f, here, nil).open().channel(1).declare(1, "q")
				cl.nothing()
				f.fail(c.read, c.write)
				if c.write != nil {
					cl.send(1, &wire.BasicQos{})
					time.Sleep(time.Second)
					// What a client sent before it went counts.
					cl.publish(1, "q", []byte("x"))
					cl.ends(penalty - time.Second)
					require.Equal(t, 1, b.ready(t, "q"))
				} else {
					cl.frame(wire.FrameHeartbeat, 0, nil)
					cl.ends(0)
				}
				require.Equal(t, []string{c.log}, b.log.above())
			})
		})
	}
}
