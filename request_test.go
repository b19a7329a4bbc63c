package warren_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/wire"
)

const directReply = "amq.rabbitmq.reply-to"

// echo serves a queue until the end of the test. It replies to all but "quiet", and to
// "twice" two times.
func echo(t *testing.T, b *warren.Broker, queue string) {
	t.Helper()
	ch := native(t, b)
	_, err := ch.DeclareQueue(t.Context(), queue)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- ch.Handle(ctx, queue, 4, func(ctx context.Context, d warren.Delivery) error {
			p := d.Properties()
			reply := warren.Message{
				Properties: warren.Properties{CorrelationID: p.CorrelationID, Type: "echo"},
				Body:       []byte("re: " + string(d.Body)),
			}
			switch string(d.Body) {
			case "quiet":
				return nil
			case "twice":
				if err := ch.Publish(ctx, "", p.ReplyTo, reply); err != nil {
					return err
				}
			}
			return ch.Publish(ctx, "", p.ReplyTo, reply)
		})
	}()
	t.Cleanup(func() {
		stop()
		require.ErrorIs(t, <-done, context.Canceled)
	})
}

func TestARequestGetsItsReply(t *testing.T) {
	t.Parallel()
	b, ch := nativePair(t)
	echo(t, b, "svc")
	m := text("hello")
	m.CorrelationID, m.ReplyTo = "c1", "does not count"
	d, err := ch.Request(t.Context(), "", "svc", m)
	require.NoError(t, err)
	require.Equal(t, "re: hello", string(d.Body))
	require.Equal(t, "c1", d.Properties().CorrelationID)
	require.Equal(t, "echo", d.Properties().Type)
	require.Empty(t, d.Exchange)
	require.True(t, strings.HasPrefix(d.RoutingKey, directReply+"."), d.RoutingKey)
	require.False(t, d.Redelivered)
	require.NotEmpty(t, d.ConsumerTag)
	require.Equal(t, "does not count", m.ReplyTo, "the program's message is its own")
	require.Error(t, d.Ack(), "there is nothing to settle")
	require.NoError(t, ch.Err())
}

func TestRequestsMayBeUnderWayAtOnce(t *testing.T) {
	t.Parallel()
	b, ch := nativePair(t)
	echo(t, b, "svc")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 50 {
				question := fmt.Sprint(i, "-", j)
				if j%10 == 0 {
					question = "twice"
				}
				d, err := ch.Request(t.Context(), "", "svc", text(question))
				if err != nil || string(d.Body) != "re: "+question {
					t.Errorf("%s: %s %v", question, d.Body, err)
				}
			}
		})
	}
	all.Wait()
	require.NoError(t, ch.Err())
}

func TestARequestWithoutAReply(t *testing.T) {
	t.Parallel()
	b, ch := nativePair(t)
	echo(t, b, "svc")
	_, err := ch.Request(t.Context(), "", "nobody", text("hello"))
	var ret *warren.ReturnError
	require.ErrorAs(t, err, &ret)
	require.Equal(t, warren.ReturnError{RoutingKey: "nobody"}, *ret)

	_, err = ch.Request(t.Context(), "", strings.Repeat("x", 256), text("hello"))
	require.Error(t, err)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = ch.Request(ended, "", "svc", text("hello"))
	require.ErrorIs(t, err, context.Canceled)

	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = ch.Request(brief, "", "svc", text("quiet"))
	require.ErrorIs(t, err, context.DeadlineExceeded)

	d, err := ch.Request(t.Context(), "", "svc", text("hello"))
	require.NoError(t, err, "the channel is as it was")
	require.Equal(t, "re: hello", string(d.Body))
}

func TestARequestThatAQueueRefuses(t *testing.T) {
	withLate(t, func(t *testing.T, _ *warren.Broker, ch *warren.Channel, _ late) {
		_, err := ch.Request(t.Context(), "amq.fanout", "k", text("no"))
		var nack *warren.NackError
		require.ErrorAs(t, err, &nack)
		require.Equal(t, warren.NackError{Exchange: "amq.fanout", RoutingKey: "k"}, *nack)
	})
}

func TestARefusedRequestClosesTheChannel(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	_, err := ch.Request(t.Context(), "nowhere", "k", text("hello"))
	const refusal = "NOT_FOUND - no exchange 'nowhere' in vhost '/'"
	require.EqualError(t, err, refusal)
	require.EqualError(t, ch.Err(), refusal)
	_, err = ch.Request(t.Context(), "", "k", text("hello"))
	require.EqualError(t, err, refusal)
}

func TestTheEndOfTheChannelEndsItsRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, ch := nativePair(t)
		echo(t, b, "svc")
		asked := make(chan error, 1)
		go func() {
			_, err := ch.Request(t.Context(), "", "svc", text("quiet"))
			asked <- err
		}()
		synctest.Wait()
		require.NoError(t, ch.Close())
		require.ErrorIs(t, <-asked, warren.ErrChannelClosed)
	})
}

// An address is good in its own virtual host only: RabbitMQ would deliver.
func TestRepliesStayInTheirVirtualHost(t *testing.T) {
	t.Parallel()
	b, ch := nativePair(t)
	require.NoError(t, b.AddVHost("other"))
	_, err := ch.DeclareQueue(t.Context(), "asked")
	require.NoError(t, err)
	asked := make(chan string, 1)
	requester := native(t, b)
	go func() {
		d, err := requester.Request(t.Context(), "", "asked", text("hello"))
		asked <- fmt.Sprint(string(d.Body), err)
	}()
	var address string
	for d, err := range ch.Consume(t.Context(), "asked", warren.NoAck()) {
		require.NoError(t, err)
		address = d.Properties().ReplyTo
		break
	}
	elsewhere := native(t, b, warren.VHost("other"))
	require.NoError(t, elsewhere.Publish(t.Context(), "", address, text("from elsewhere")))
	require.NoError(t, ch.Publish(t.Context(), "", address, text("from here")))
	require.Equal(t, "from here<nil>", await(t, asked))
}

// A client over TCP that reads nothing neither holds up who replies to it and to
// others, nor takes memory without end. What fits is not lost.
func TestAStuckRequesterOverTCP(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	server := native(t, b)
	_, err := server.DeclareQueue(t.Context(), "svc")
	require.NoError(t, err)
	stuck := dialRaw(t, addr)
	stuck.call(t, &wire.BasicConsume{Queue: directReply, NoAck: true}, wire.BasicConsumeOKID)
	props, err := message.Properties{ReplyTo: directReply}.Append(nil)
	require.NoError(t, err)
	p, err := wire.AppendMethodFrame(nil, 1, &wire.BasicPublish{RoutingKey: []byte("svc")})
	require.NoError(t, err)
	stuck.write(t, wire.AppendHeaderFrame(p, 1, 60, 0, props))
	var address string
	for d, err := range server.Consume(t.Context(), "svc", warren.NoAck()) {
		require.NoError(t, err)
		address = d.Properties().ReplyTo
		break
	}

	const replies, size = 600, 64 << 10
	for range replies {
		require.NoError(t, server.Publish(t.Context(), "", address, warren.Message{Body: make([]byte, size)}))
	}
	// The bound holds so many; more are in the sockets' buffers.
	for range 8<<20/(size+128) - 1 {
		_, got, err := stuck.delivery()
		require.NoError(t, err)
		require.Equal(t, size, got)
	}
	require.NoError(t, server.Publish(t.Context(), "", address, text("it reads again")))
	n := 8<<20/(size+128) - 1
	for got := size; got == size; n++ {
		_, got, err = stuck.delivery()
		require.NoError(t, err)
	}
	require.Less(t, n, replies, "some were dropped")
}

func BenchmarkRequest(b *testing.B) {
	broker, ch := nativePair(b)
	server := native(b, broker)
	_, err := server.DeclareQueue(b.Context(), "svc")
	require.NoError(b, err)
	done := make(chan error, 1)
	go func() {
		done <- server.Handle(context.Background(), "svc", 1, func(ctx context.Context, d warren.Delivery) error {
			return server.Publish(ctx, "", d.Properties().ReplyTo, warren.Message{Body: d.Body})
		}, warren.NoAck())
	}()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ch.Request(b.Context(), "", "svc", text("hello")); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, server.Close())
	require.ErrorIs(b, <-done, warren.ErrChannelClosed)
}
