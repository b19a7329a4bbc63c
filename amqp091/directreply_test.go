package amqp091_test

import (
	"context"
	"net"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
)

// TestDirectRepliesFindTheirWay asks over every way in a service that is reached over
// every other.
func TestDirectRepliesFindTheirWay(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- b.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, b.Close())
		require.ErrorIs(t, <-served, warren.ErrClosed)
	})
	ways := map[string]func() (connection, func() (channel, error), error){
		"TCP": func() (connection, func() (channel, error), error) {
			c, err := amqp.Dial("amqp://guest:guest@" + l.Addr().String())
			if err != nil {
				return nil, nil, err
			}
			return c, func() (channel, error) { return orNil(c.Channel()) }, nil
		},
	}
	for _, face := range faces {
		ways[face.name] = func() (connection, func() (channel, error), error) { return face.dial(b) }
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	ask := map[string]func(t *testing.T, queue, question string) string{
		"native": func(t *testing.T, queue, question string) string {
			ch, err := b.Channel(ctx, warren.User("guest"))
			require.NoError(t, err)
			defer ch.Close()
			d, err := ch.Request(ctx, "", queue, warren.Message{Body: []byte(question)})
			require.NoError(t, err)
			return string(d.Body)
		},
	}
	for name, dial := range ways {
		serveOver(t, dial, name)
		ask[name] = func(t *testing.T, queue, question string) string { return askOver(t, dial, queue, question) }
	}
	native, err := b.Channel(ctx)
	require.NoError(t, err)
	_, err = native.DeclareQueue(ctx, "native")
	require.NoError(t, err)
	handled := make(chan error, 1)
	go func() {
		handled <- native.Handle(ctx, "native", 2, func(ctx context.Context, d warren.Delivery) error {
			p := d.Properties()
			reply := warren.Message{Properties: warren.Properties{CorrelationID: p.CorrelationID}, Body: []byte("re: " + string(d.Body))}
			return native.Publish(ctx, "", p.ReplyTo, reply)
		})
	}()
	t.Cleanup(func() {
		require.NoError(t, native.Close())
		require.ErrorIs(t, <-handled, context.Canceled)
	})
	for from, f := range ask {
		for _, to := range []string{"native", "TCP", "memory", "client over a pipe"} {
			t.Run(from+" asks "+to, func(t *testing.T) {
				for _, question := range []string{"one", "two"} {
					require.Equal(t, "re: "+question, f(t, to, question))
				}
			})
		}
	}
}

// serveOver answers what comes to a queue until the end of the test.
func serveOver(t *testing.T, dial func() (connection, func() (channel, error), error), queue string) {
	conn, open, err := dial()
	require.NoError(t, err)
	ch, err := open()
	require.NoError(t, err)
	_, err = ch.QueueDeclare(queue, false, false, false, false, nil)
	require.NoError(t, err)
	requests, err := ch.Consume(queue, "", true, false, false, false, nil)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for d := range requests {
			reply := amqp.Publishing{CorrelationId: d.CorrelationId, Body: []byte("re: " + string(d.Body))}
			if ch.Publish("", d.ReplyTo, false, false, reply) != nil {
				return // the test misses the reply
			}
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		<-done
	})
}

func askOver(t *testing.T, dial func() (connection, func() (channel, error), error), queue, question string) string {
	conn, open, err := dial()
	require.NoError(t, err)
	defer conn.Close()
	ch, err := open()
	require.NoError(t, err)
	replies, err := ch.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	require.NoError(t, err)
	require.NoError(t, ch.Publish("", queue, true, false, amqp.Publishing{
		ReplyTo: "amq.rabbitmq.reply-to", CorrelationId: "c", Body: []byte(question),
	}))
	d := await(t, replies)
	require.Equal(t, "c", d.CorrelationId)
	require.Empty(t, d.Exchange)
	require.Regexp(t, `^amq\.rabbitmq\.reply-to\.`, d.RoutingKey)
	require.False(t, d.Redelivered)
	return string(d.Body)
}
