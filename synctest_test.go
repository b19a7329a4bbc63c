package warren_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/wire"
)

// The promise of docs/concurrency.md: a broker in memory works inside a synctest
// bubble, with the native API and with the official client through memory, so
// that hours pass in no time.

func inBubble(t *testing.T, f func(t *testing.T, b *warren.Broker)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, err := warren.New(warren.Options{})
		require.NoError(t, err)
		f(t, b)
		require.NoError(t, b.Close())
		synctest.Wait()
	})
}

func dialBubble(t *testing.T, b *warren.Broker, heartbeat time.Duration) *amqp.Connection {
	t.Helper()
	conn, err := amqp.DialConfig("amqp://", amqp.Config{Dial: b.Dial, Heartbeat: heartbeat})
	require.NoError(t, err)
	return conn
}

// rawInBubble connects through memory and opens channel 1. It sends nothing by
// itself, no heartbeats either.
func rawInBubble(t *testing.T, b *warren.Broker, heartbeat uint16) *rawClient {
	t.Helper()
	nc, err := b.Dial("", "")
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	c := &rawClient{Conn: nc, buf: make([]byte, 256<<10)}
	c.startOK(t, "guest", "guest")
	c.expect(t, wire.ConnectionTuneID)
	c.send(t, 0, &wire.ConnectionTuneOK{ChannelMax: 2047, FrameMax: 131072, Heartbeat: heartbeat})
	c.send(t, 0, &wire.ConnectionOpen{VirtualHost: "/"})
	c.expect(t, wire.ConnectionOpenOKID)
	c.send(t, 1, &wire.ChannelOpen{})
	c.expect(t, wire.ChannelOpenOKID)
	return c
}

// muted is a connection whose reader hears nothing more once it is muted.
type muted struct {
	net.Conn
	deaf atomic.Bool
}

func (m *muted) Read(p []byte) (int, error) {
	for {
		n, err := m.Conn.Read(p)
		if err != nil || !m.deaf.Load() {
			return n, err
		}
	}
}

func TestBubbleHandshakeTimesOutAfterTenSeconds(t *testing.T) {
	inBubble(t, func(t *testing.T, b *warren.Broker) {
		nc, err := b.Dial("", "")
		require.NoError(t, err)
		defer nc.Close()
		start := time.Now()
		_, err = nc.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, 10*time.Second, time.Since(start))
	})
}

func TestBubbleIdleClientLivesByItsHeartbeats(t *testing.T) {
	inBubble(t, func(t *testing.T, b *warren.Broker) {
		conn := dialBubble(t, b, 10*time.Second)
		time.Sleep(2 * time.Hour)
		require.False(t, conn.IsClosed())
		ch, err := conn.Channel()
		require.NoError(t, err)
		_, err = ch.QueueDeclare("q", false, false, false, false, nil)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	})
}

func TestBubbleSilentClientIsDroppedAfterThreeIntervals(t *testing.T) {
	inBubble(t, func(t *testing.T, b *warren.Broker) {
		c := rawInBubble(t, b, 10)
		start := time.Now()
		c.expectEnd(t)
		require.Equal(t, 30*time.Second, time.Since(start))
	})
}

func TestBubbleClientNoticesASilentBroker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, err := warren.New(warren.Options{})
		require.NoError(t, err)
		m := new(muted)
		conn, err := amqp.DialConfig("amqp://", amqp.Config{Heartbeat: 10 * time.Second,
			Dial: func(network, addr string) (_ net.Conn, err error) {
				m.Conn, err = b.Dial(network, addr)
				return m, err
			}})
		require.NoError(t, err)
		closed := conn.NotifyClose(make(chan *amqp.Error, 1))
		time.Sleep(time.Minute) // the client watches from the first heartbeat on
		m.deaf.Store(true)
		why := <-closed
		require.NotNil(t, why)
		require.NoError(t, b.Close())
	})
}

func TestBubbleConsumerIdleForHalfAnHourGetsItsMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, b *warren.Broker) {
		conn := dialBubble(t, b, 0)
		ch, err := conn.Channel()
		require.NoError(t, err)
		_, err = ch.QueueDeclare("q", false, false, false, false, nil)
		require.NoError(t, err)
		deliveries, err := ch.Consume("q", "", false, false, false, false, nil)
		require.NoError(t, err)

		native, err := b.Channel(t.Context())
		require.NoError(t, err)
		defer native.Close()
		time.Sleep(30 * time.Minute)
		require.NoError(t, native.PublishConfirmed(t.Context(), "", "q", warren.Message{Body: []byte("late")}))
		d := <-deliveries
		require.Equal(t, "late", string(d.Body))
		require.NoError(t, d.Ack(false))
		require.NoError(t, conn.Close())
	})
}

func TestBubbleNativeConsumerIdleForHalfAnHourGetsItsMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, b *warren.Broker) {
		ch, err := b.Channel(t.Context())
		require.NoError(t, err)
		defer ch.Close()
		_, err = ch.DeclareQueue(t.Context(), "q")
		require.NoError(t, err)
		time.AfterFunc(30*time.Minute, func() {
			if err := ch.Publish(context.Background(), "", "q", warren.Message{Body: []byte("late")}); err != nil {
				t.Error(err)
			}
		})
		start := time.Now()
		for d, err := range ch.Consume(t.Context(), "q") {
			require.NoError(t, err)
			require.Equal(t, "late", string(d.Body))
			require.NoError(t, d.Ack())
			break
		}
		require.Equal(t, 30*time.Minute, time.Since(start))
	})
}

// A client that reads nothing for half an hour is no longer read itself: its
// calls wait in its own socket, and nothing is lost when it goes on.
func TestBubbleClientThatDoesNotReadIsHeldForHalfAnHour(t *testing.T) {
	inBubble(t, func(t *testing.T, b *warren.Broker) {
		c := rawInBubble(t, b, 0)
		call, err := wire.AppendMethodFrame(nil, 1, &wire.ChannelFlow{Active: true})
		require.NoError(t, err)
		const calls = 200_000 // whose answers are more than the broker keeps
		c.write(t, bytes.Repeat(call, calls))
		time.Sleep(30 * time.Minute)
		for range calls {
			c.expect(t, wire.ChannelFlowOKID)
		}
		require.NoError(t, c.Close())
	})
}

// A connection that publishes during an alarm is not read for half an hour, in which
// client and broker live by heartbeats alone. The client's own methods do not wait
// inside Write, as the pipe takes what it sends.
func TestBubbleConnectionBlockedForHalfAnHourGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *warren.Broker) {
		conn := dialBubble(t, b, 10*time.Second)
		blockings := conn.NotifyBlocked(make(chan amqp.Blocking, 2))
		ch, err := conn.Channel()
		require.NoError(t, err)
		_, err = ch.QueueDeclare("q", false, false, false, false, nil)
		require.NoError(t, err)
		require.NoError(t, ch.Confirm(false))

		b.SetAlarm(warren.MemoryAlarm)
		const n = 1000
		body := make([]byte, 16<<10) // all of them are more than a buffer of the broker's
		start := time.Now()
		var last *amqp.DeferredConfirmation
		for i := range n {
			body[0], body[1] = byte(i), byte(i>>8)
			last, err = ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{Body: body})
			require.NoError(t, err)
		}
		require.Equal(t, amqp.Blocking{Active: true, Reason: "low on memory"}, <-blockings)
		time.AfterFunc(30*time.Minute, func() { b.ClearAlarm(warren.MemoryAlarm) })
		// A method that waits for its answer waits in the client, too.
		declared, err := ch.QueueDeclarePassive("q", false, false, false, false, nil)
		require.NoError(t, err)
		require.Equal(t, n, declared.Messages)
		require.True(t, last.Wait())
		require.Equal(t, 30*time.Minute, time.Since(start))
		require.Equal(t, amqp.Blocking{}, <-blockings)

		for i := range n {
			d, ok, err := ch.Get("q", true)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, []byte{byte(i), byte(i >> 8)}, d.Body[:2])
		}
		require.NoError(t, conn.Close())
	})
}

func TestBubbleNativePublishBlockedForHalfAnHourGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *warren.Broker) {
		ch, err := b.Channel(t.Context())
		require.NoError(t, err)
		defer ch.Close()
		_, err = ch.DeclareQueue(t.Context(), "q")
		require.NoError(t, err)
		b.SetAlarm(warren.DiskAlarm)
		time.AfterFunc(30*time.Minute, func() { b.ClearAlarm(warren.DiskAlarm) })
		start := time.Now()
		require.NoError(t, ch.PublishConfirmed(t.Context(), "", "q", warren.Message{Body: []byte("late")}))
		require.Equal(t, 30*time.Minute, time.Since(start))
	})
}

func TestBubbleShutdownWithOpenConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, err := warren.New(warren.Options{})
		require.NoError(t, err)
		conn := dialBubble(t, b, 10*time.Second)
		closed := conn.NotifyClose(make(chan *amqp.Error, 1))
		native, err := b.Channel(t.Context())
		require.NoError(t, err)
		_, err = native.DeclareQueue(t.Context(), "q")
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() {
			for _, err := range native.Consume(context.Background(), "q") {
				ended <- err
			}
		}()
		handshaking, err := b.Dial("", "")
		require.NoError(t, err)
		defer handshaking.Close()
		synctest.Wait()

		require.NoError(t, b.Shutdown(t.Context()))
		require.EqualValues(t, 320, (<-closed).Code)
		require.ErrorIs(t, <-ended, warren.ConnectionForced)
		_, err = b.Channel(t.Context())
		require.ErrorIs(t, err, warren.ErrClosed)
		var e *warren.Error
		require.True(t, errors.As(native.Err(), &e))
	})
}
