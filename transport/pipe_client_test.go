package transport_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/transport"
)

// withClient runs f with the official client, connected by a pipe to a broker of
// its own, and ends both in order. The user is guest, who has to be local.
func withClient(t testing.TB, f func(c *amqp.Connection)) {
	t.Helper()
	b, err := warren.New(warren.Options{})
	require.NoError(t, err)
	l := transport.ListenPipe(transport.Names("app", "broker"))
	served := make(chan error, 1)
	go func() { served <- b.Serve(l) }()
	c, err := amqp.DialConfig("amqp://", amqp.Config{
		Dial: func(string, string) (net.Conn, error) { return l.Dial(context.Background()) },
	})
	require.NoError(t, err)
	require.Equal(t, "app-1", c.LocalAddr().String())
	f(c)
	require.NoError(t, c.Close())
	require.NoError(t, b.Shutdown(context.Background()))
	require.ErrorIs(t, <-served, warren.ErrClosed)
}

// openQueue gives a channel in confirm mode and an exclusive queue.
func openQueue(t testing.TB, c *amqp.Connection) (*amqp.Channel, string) {
	t.Helper()
	ch, err := c.Channel()
	require.NoError(t, err)
	require.NoError(t, ch.Confirm(false))
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	require.NoError(t, err)
	return ch, q.Name
}

func publishConfirmed(t testing.TB, ch *amqp.Channel, queue string, body []byte) {
	t.Helper()
	confirm, err := ch.PublishWithDeferredConfirmWithContext(context.Background(), "", queue, false, false, amqp.Publishing{Body: body})
	require.NoError(t, err)
	acked, err := confirm.WaitContext(context.Background())
	require.NoError(t, err)
	require.True(t, acked)
}

func TestOfficialClientPublishesAndConsumes(t *testing.T) {
	t.Parallel()
	withClient(t, func(c *amqp.Connection) {
		ch, q := openQueue(t, c)
		require.NoError(t, ch.Qos(10, 0, false))
		deliveries, err := ch.Consume(q, "", false, false, false, false, nil)
		require.NoError(t, err)
		const count = 500
		go func() {
			for i := range count {
				err := ch.Publish("", q, false, false, amqp.Publishing{Body: fmt.Append(nil, i)})
				assert.NoError(t, err)
			}
		}()
		for i := range count {
			d := <-deliveries
			require.Equal(t, fmt.Sprint(i), string(d.Body))
			require.NoError(t, d.Ack(false))
		}
		// One that takes many frames and is larger than the pipe's way back.
		large := make([]byte, 1<<20)
		large[len(large)-1] = 'x'
		publishConfirmed(t, ch, q, large)
		d := <-deliveries
		require.Equal(t, large, d.Body)
		require.NoError(t, d.Ack(false))
	})
}

func TestOfficialClientIdlesForHalfAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		withClient(t, func(c *amqp.Connection) {
			ch, q := openQueue(t, c)
			deliveries, err := ch.Consume(q, "", false, false, false, false, nil)
			require.NoError(t, err)
			begin := time.Now()
			for range 2 {
				publishConfirmed(t, ch, q, []byte("hello"))
				d := <-deliveries
				require.Equal(t, "hello", string(d.Body))
				require.NoError(t, d.Ack(false))
				time.Sleep(30 * time.Minute)
			}
			require.Equal(t, time.Hour, time.Since(begin))
			require.False(t, c.IsClosed())
		})
	})
}

// BenchmarkOfficialClient publishes with confirms and consumes with acks.
func BenchmarkOfficialClient(b *testing.B) {
	withClient(b, func(c *amqp.Connection) {
		ch, q := openQueue(b, c)
		confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 1<<16))
		go func() {
			for range confirms {
			}
		}()
		deliveries, err := ch.Consume(q, "", false, false, false, false, nil)
		require.NoError(b, err)
		body := make([]byte, 64)
		b.ReportAllocs()
		b.ResetTimer()
		go func() {
			for range b.N {
				if ch.Publish("", q, false, false, amqp.Publishing{Body: body}) != nil {
					return
				}
			}
		}()
		for range b.N {
			d := <-deliveries
			if err := d.Ack(false); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
	})
}
