package warren_test

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	chinfo "github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/queue"
)

func TestInfoShowsWhatIsThere(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	ctx := t.Context()
	require.NoError(t, b.AddVHost("other"))

	conn, err := amqp.DialConfig("amqp://", amqp.Config{Dial: b.Dial, Properties: amqp.Table{"connection_name": "mine"}})
	require.NoError(t, err)
	defer conn.Close()
	ch, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, ch.Confirm(false))
	require.NoError(t, ch.Qos(7, 0, false))
	require.NoError(t, ch.Qos(9, 0, true))
	_, err = ch.QueueDeclare("q", true, false, false, false, amqp.Table{"x-queue-type": "classic"})
	require.NoError(t, err)
	require.NoError(t, ch.ExchangeDeclare("x", "topic", true, false, false, false, nil))
	require.NoError(t, ch.QueueBind("q", "a.*", "x", false, nil))
	require.NoError(t, ch.ExchangeBind("x", "k", "amq.direct", false, nil))
	deliveries, err := ch.Consume("q", "c", false, true, false, false, nil)
	require.NoError(t, err)

	native, err := b.Channel(ctx, warren.VHost("/"))
	require.NoError(t, err)
	defer native.Close()
	require.NoError(t, native.PublishConfirmed(ctx, "x", "a.b", warren.Message{Body: []byte("abc")}))
	<-deliveries

	queues, err := b.Queues("/")
	require.NoError(t, err)
	require.Len(t, queues, 1)
	q := queues[0]
	require.Equal(t, "q", q.Name)
	require.Equal(t, "classic", q.Type)
	require.True(t, q.Durable)
	require.Equal(t, queue.Stat{Unacked: 1, Consumers: 1}, q.Stat)
	require.Equal(t, queue.Counters{Published: 1, Delivered: 1, Confirmed: 1}, q.Counters)
	one, err := b.Queue("/", "q")
	require.NoError(t, err)
	require.Equal(t, q, one)

	conns := b.Connections()
	require.Len(t, conns, 2)
	c := conns[0]
	require.False(t, c.Memory)
	require.Equal(t, "mine", c.ClientName)
	require.Equal(t, "running", c.State)
	require.Equal(t, "guest", c.User)
	require.Equal(t, "/", c.VHost)
	require.Equal(t, "PLAIN", c.Mechanism)
	require.EqualValues(t, 131072, c.FrameMax)
	require.Equal(t, "pipe", c.PeerAddr.Network())
	require.Positive(t, c.Received)
	require.Positive(t, c.Sent)
	require.False(t, c.ConnectedAt.IsZero())
	require.Len(t, c.Channels, 1)
	require.EqualValues(t, 1, c.Channels[0].Number)
	require.Equal(t, chinfo.Info{
		Mode: chinfo.Mode{Confirm: true, Prefetch: 7}, Unacknowledged: 1, GlobalPrefetch: 9,
		Consumers: []chinfo.ConsumerInfo{{Tag: "c", Queue: "q", Exclusive: true, Active: true, Prefetch: 7}},
	}, c.Channels[0].Info)
	require.True(t, conns[1].Memory)
	require.Len(t, conns[1].Channels, 1)

	exchanges, err := b.Exchanges("/")
	require.NoError(t, err)
	require.Len(t, exchanges, 8)
	require.Empty(t, exchanges[0].Name)
	require.Equal(t, "x", exchanges[7].Name)
	bindings, err := b.Bindings("/")
	require.NoError(t, err)
	require.Equal(t, []warren.BindingInfo{
		{VHost: "/", Source: "amq.direct", Destination: "x", ToExchange: true, RoutingKey: "k"},
		{VHost: "/", Source: "x", Destination: "q", RoutingKey: "a.*"},
	}, bindings)
	require.Equal(t, warren.Stats{
		VHosts: 2, Connections: 2, Channels: 2, Consumers: 1, Exchanges: 8 + 7, Queues: 1, Unacked: 1,
	}, b.Stats())
}

func TestInfoOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	_, err := b.Queues("none")
	require.ErrorIs(t, err, warren.ErrNoVHost)
	_, err = b.Queue("none", "q")
	require.ErrorIs(t, err, warren.ErrNoVHost)
	_, err = b.Queue("/", "q")
	require.ErrorIs(t, err, warren.NotFound)
	require.EqualError(t, err, "NOT_FOUND - no queue 'q' in vhost '/'")
	_, err = b.Exchanges("none")
	require.ErrorIs(t, err, warren.ErrNoVHost)
	_, err = b.Bindings("none")
	require.ErrorIs(t, err, warren.ErrNoVHost)
	require.Empty(t, b.Connections())
}

func TestInfoOfATransaction(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	ctx := t.Context()
	ch, err := b.Channel(ctx)
	require.NoError(t, err)
	defer ch.Close()
	_, err = ch.DeclareQueue(ctx, "q")
	require.NoError(t, err)
	require.NoError(t, ch.Publish(ctx, "", "q", warren.Message{}))
	_, ok, err := ch.Get(ctx, "q")
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, ch.TxSelect(ctx))
	require.NoError(t, ch.Publish(ctx, "", "q", warren.Message{}))
	require.NoError(t, ch.Publish(ctx, "", "q", warren.Message{}))
	require.NoError(t, ch.Ack(ctx, 0, true))
	mode := func() chinfo.Mode { return b.Connections()[0].Channels[0].Mode }
	require.Equal(t, chinfo.Mode{Transactional: true, UncommittedPublishes: 2, UncommittedAcks: 1}, mode())
	require.NoError(t, ch.TxRollback(ctx))
	require.Equal(t, chinfo.Mode{Transactional: true}, mode())
}
