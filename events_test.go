package warren_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/amqp091"
	"github.com/warrenmq/warren/auth"
	chinfo "github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/queue"
)

// heard listens to a broker from its making, and gives what happened one by one.
type heard struct {
	t      testing.TB
	events chan warren.Event
}

// listenTo listens until the end of the test.
func listenTo(t testing.TB, b *warren.Broker) *heard {
	h := &heard{t, make(chan warren.Event)}
	ctx, cancel := context.WithCancel(context.Background())
	s := b.Events(ctx, 0)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(h.events)
		for _, e := range s.All() {
			select {
			case h.events <- e:
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() { cancel(); await(t, ended) })
	return h
}

// next gives the next event, nil at the stream's end.
func (h *heard) next() warren.Event {
	h.t.Helper()
	return await(h.t, h.events)
}

// all expects these events next, in this order.
func (h *heard) all(want ...warren.Event) {
	h.t.Helper()
	for _, w := range want {
		require.Equal(h.t, w, h.next())
	}
}

// any expects these events next, in any order.
func (h *heard) any(want ...warren.Event) {
	h.t.Helper()
	var got []warren.Event
	for range want {
		got = append(got, h.next())
	}
	require.ElementsMatch(h.t, want, got)
}

// channel opens a native channel and takes in what is told of it; it gives the ID
// of its connection.
func (h *heard) channel(b *warren.Broker, o ...warren.ChannelOption) (*warren.Channel, uint64) {
	h.t.Helper()
	ch, err := b.Channel(h.t.Context(), o...)
	require.NoError(h.t, err)
	c, ok := h.next().(warren.ConnectionCreated)
	require.True(h.t, ok)
	require.IsType(h.t, warren.ChannelCreated{}, h.next())
	return ch, c.ID
}

func binding(source, destination, key string) warren.BindingInfo {
	return warren.BindingInfo{VHost: "/", Source: source, Destination: destination, RoutingKey: key}
}

func TestEventsOfTheTopology(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	h := listenTo(t, b)
	ctx := t.Context()
	ch, _ := h.channel(b)
	declare := func(name string, o ...warren.QueueOption) warren.QueueCreated {
		t.Helper()
		_, err := ch.DeclareQueue(ctx, name, o...)
		require.NoError(t, err)
		e, ok := h.next().(warren.QueueCreated)
		require.True(t, ok)
		require.Equal(t, name, e.Name)
		return e
	}

	q := declare("q", warren.Durable(), warren.Arg("x-queue-type", "classic"))
	require.Equal(t, queue.Spec{
		Name: "q", VHost: "/", Durable: true, Type: "classic", Arguments: q.Arguments,
	}, q.Spec)
	require.Len(t, q.Arguments, 1)
	_, err := ch.DeclareQueue(ctx, "q", warren.Durable(), warren.Arg("x-queue-type", "classic"))
	require.NoError(t, err, "nothing is told of a queue that is there")

	require.NoError(t, ch.DeclareExchange(ctx, "x", "topic", warren.AutoDelete()))
	h.all(warren.ExchangeCreated{Spec: exchange.Spec{Name: "x", VHost: "/", Type: "topic", AutoDelete: true}})
	require.NoError(t, ch.DeclareExchange(ctx, "x", "topic", warren.AutoDelete()))

	require.NoError(t, ch.BindQueue(ctx, "q", "x", "a.*"))
	require.NoError(t, ch.BindQueue(ctx, "q", "x", "a.*"))
	require.NoError(t, ch.BindQueue(ctx, "q", "x", "b"))
	h.all(warren.BindingCreated{BindingInfo: binding("x", "q", "a.*")}, warren.BindingCreated{BindingInfo: binding("x", "q", "b")})
	require.NoError(t, ch.UnbindQueue(ctx, "q", "x", "b"))
	require.NoError(t, ch.UnbindQueue(ctx, "q", "x", "b"))
	h.all(warren.BindingDeleted{BindingInfo: binding("x", "q", "b")})
	require.NoError(t, ch.BindExchange(ctx, "x", "amq.direct", "k"))
	between := binding("amq.direct", "x", "k")
	between.ToExchange = true
	h.all(warren.BindingCreated{BindingInfo: between})

	// With the queue goes its binding, with that the exchange, with that another
	// binding.
	_, err = ch.DeleteQueue(ctx, "q")
	require.NoError(t, err)
	h.all(
		warren.BindingDeleted{BindingInfo: binding("x", "q", "a.*")},
		warren.BindingDeleted{BindingInfo: between},
		warren.ExchangeDeleted{VHost: "/", Name: "x"},
		warren.QueueDeleted{VHost: "/", Name: "q"},
	)
	_, err = ch.DeleteQueue(ctx, "q")
	require.NoError(t, err)

	require.NoError(t, ch.DeclareExchange(ctx, "y", "fanout"))
	require.NoError(t, ch.DeleteExchange(ctx, "y"))
	h.all(
		warren.ExchangeCreated{Spec: exchange.Spec{Name: "y", VHost: "/", Type: "fanout"}},
		warren.ExchangeDeleted{VHost: "/", Name: "y"},
	)
	require.NoError(t, b.Close())
	require.IsType(t, warren.ChannelClosed{}, h.next(), "nothing was told of what did not change")
}

func TestEventsOfConsumers(t *testing.T) {
	t.Parallel()
	byClient := warren.ChannelClosed{Connection: 1, Number: 1, Reason: warren.CloseReason{By: warren.ByClient}}
	for name, tc := range map[string]struct {
		end  func(*amqp091.Connection, *amqp091.Channel) error
		then []warren.Event
	}{
		"cancelled": {func(_ *amqp091.Connection, ch *amqp091.Channel) error { return ch.Cancel("c", false) }, nil},
		"its channel is closed": {
			func(_ *amqp091.Connection, ch *amqp091.Channel) error { return ch.Close() },
			[]warren.Event{byClient},
		},
		"its connection is closed": {
			func(conn *amqp091.Connection, _ *amqp091.Channel) error { return conn.Close() },
			[]warren.Event{byClient, warren.ConnectionClosed{
				ID: 1, Name: "memory-1", VHost: "/", Reason: warren.CloseReason{By: warren.ByClient},
			}},
		},
		"its queue is deleted": {
			func(_ *amqp091.Connection, ch *amqp091.Channel) error {
				_, err := ch.QueueDelete("q", false, false, false)
				return err
			},
			[]warren.Event{warren.QueueDeleted{VHost: "/", Name: "q"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t, warren.Options{})
			conn, err := amqp091.Open(b)
			require.NoError(t, err)
			defer conn.Close() // the case may have done it
			ch, err := conn.Channel()
			require.NoError(t, err)
			_, err = ch.QueueDeclare("q", false, false, false, false, nil)
			require.NoError(t, err)
			require.NoError(t, ch.Qos(5, 0, false))
			h := listenTo(t, b)
			_, err = ch.Consume("q", "c", true, true, false, false, nil)
			require.NoError(t, err)
			h.all(warren.ConsumerCreated{VHost: "/", Connection: 1, Channel: 1, ConsumerInfo: chinfo.ConsumerInfo{
				Tag: "c", Queue: "q", NoAck: true, Exclusive: true, Active: true, Prefetch: 5,
			}})
			require.NoError(t, tc.end(conn, ch))
			h.all(warren.ConsumerDeleted{VHost: "/", Connection: 1, Channel: 1, Queue: "q", Tag: "c"})
			h.all(tc.then...)
		})
	}
}

func TestAConsumerThatWasRefusedMakesNoEvent(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	ch, err := b.Channel(t.Context())
	require.NoError(t, err)
	_, err = ch.DeclareQueue(t.Context(), "q")
	require.NoError(t, err)
	h := listenTo(t, b)
	for range 2 {
		ch, id := h.channel(b)
		for _, err := range ch.Consume(t.Context(), "q", warren.Arg("x-priority", "high")) {
			require.ErrorIs(t, err, warren.PreconditionFailed)
		}
		closed, ok := h.next().(warren.ChannelClosed)
		require.True(t, ok)
		require.Equal(t, id, closed.Connection)
		require.EqualValues(t, 406, closed.Reason.Code)
		require.IsType(t, warren.ConnectionClosed{}, h.next())
	}
}

// An auto-delete queue goes with its last consumer, an exclusive one with its
// connection.
func TestEventsOfQueuesThatGoByThemselves(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	ctx := t.Context()
	h := listenTo(t, b)
	ch, id := h.channel(b)
	_, err := ch.DeclareQueue(ctx, "auto", warren.AutoDelete())
	require.NoError(t, err)
	require.NoError(t, ch.BindQueue(ctx, "auto", "amq.direct", "k"))
	_, err = ch.DeclareQueue(ctx, "mine", warren.Exclusive())
	require.NoError(t, err)
	require.NoError(t, ch.PublishConfirmed(ctx, "", "auto", warren.Message{}))
	for d, err := range ch.Consume(ctx, "auto") {
		require.NoError(t, err)
		require.NoError(t, d.Ack())
		break
	}
	spec := queue.Spec{VHost: "/", Type: "classic"}
	auto, mine := spec, spec
	auto.Name, auto.AutoDelete = "auto", true
	mine.Name, mine.Exclusive, mine.Owner = "mine", true, id
	h.all(warren.QueueCreated{Spec: auto}, warren.BindingCreated{BindingInfo: binding("amq.direct", "auto", "k")}, warren.QueueCreated{Spec: mine})
	c, ok := h.next().(warren.ConsumerCreated)
	require.True(t, ok)
	h.all(
		warren.ConsumerDeleted{VHost: "/", Connection: id, Channel: 1, Queue: "auto", Tag: c.Tag},
		warren.BindingDeleted{BindingInfo: binding("amq.direct", "auto", "k")},
		warren.QueueDeleted{VHost: "/", Name: "auto"},
	)
	require.NoError(t, ch.Close())
	reason := warren.CloseReason{By: warren.ByClient}
	h.all(
		warren.ChannelClosed{Connection: id, Number: 1, Reason: reason},
		warren.QueueDeleted{VHost: "/", Name: "mine"},
		warren.ConnectionClosed{ID: id, Name: "memory-1", VHost: "/", Reason: reason},
	)
}

// A queue whose type panics takes nothing along, and its event says why.
func TestTheEventOfAQueueThatFailed(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{QueueTypes: []queue.Type{brittle{queue.Classic()}}})
	h := listenTo(t, b)
	ch, _ := h.channel(b)
	_, err := ch.DeclareQueue(t.Context(), "q", warren.Arg("x-queue-type", "brittle"))
	require.NoError(t, err)
	require.IsType(t, warren.QueueCreated{}, h.next())
	_, err = ch.PurgeQueue(t.Context(), "q")
	require.ErrorIs(t, err, warren.NotFound)
	deleted, ok := h.next().(warren.QueueDeleted)
	require.True(t, ok)
	require.Equal(t, "q", deleted.Name)
	require.ErrorContains(t, deleted.Err, "purged once too often")
}

// brittle queues are classic ones that panic when they are purged.
type brittle struct{ queue.Type }

func (brittle) Name() string { return "brittle" }

func (b brittle) Open(s queue.Spec, e queue.Env) (queue.Queue, error) {
	q, err := b.Type.Open(s, e)
	return brittleQueue{q}, err
}

type brittleQueue struct{ queue.Queue }

func (brittleQueue) Purge(*queue.Actions) int { panic("purged once too often") }

func TestEventsOfUsersAndPermissions(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	h := listenTo(t, b)
	users := b.Auth()
	for _, err := range []error{
		users.AddUser("u", "p", "monitoring"),
		users.ChangePassword("u", "q"),
		users.ChangePasswordHash("u", auth.PasswordHash{}),
		users.SetTags("u", "management", "mine"),
		users.SetLimit("u", warren.UserMaxChannels, 3),
		users.ClearLimit("u", warren.UserMaxChannels),
	} {
		require.NoError(t, err)
	}
	h.all(
		warren.UserCreated{User: "u", Tags: []string{"monitoring"}},
		warren.UserPasswordChanged{User: "u"},
		warren.UserPasswordCleared{User: "u"},
		warren.UserTagsSet{User: "u", Tags: []string{"management", "mine"}},
		warren.UserLimitSet{User: "u", Limit: warren.UserMaxChannels, N: 3},
		warren.UserLimitCleared{User: "u", Limit: warren.UserMaxChannels},
	)

	require.Error(t, users.AddUser("u", "p"))
	require.Error(t, users.SetTags("nobody"))
	require.Error(t, users.DeleteUser("nobody"))
	p := warren.Permission{User: "u", VHost: "/", Configure: "a", Write: "b", Read: "c"}
	topic := warren.TopicPermission{User: "u", VHost: "/", Exchange: "amq.topic", Write: "w", Read: "r"}
	require.NoError(t, users.SetPermissions(p))
	require.NoError(t, users.SetTopicPermissions(topic))
	h.all(warren.PermissionCreated{Permission: p}, warren.TopicPermissionCreated{TopicPermission: topic})
	cleared(t, true)(users.ClearPermissions("u", "/"))
	cleared(t, false)(users.ClearPermissions("u", "/"))
	cleared(t, true)(users.ClearTopicPermissions("u", "/"))
	cleared(t, false)(users.ClearTopicPermissions("u", "/"))
	gone := []warren.Event{
		warren.TopicPermissionDeleted{User: "u", VHost: "/", Exchange: "amq.topic"},
		warren.PermissionDeleted{User: "u", VHost: "/"},
	}
	h.all(gone[1], gone[0])

	require.NoError(t, users.SetPermissions(p))
	require.NoError(t, users.SetTopicPermissions(topic))
	h.all(warren.PermissionCreated{Permission: p}, warren.TopicPermissionCreated{TopicPermission: topic})
	require.NoError(t, users.DeleteUser("u"))
	h.all(append(gone, warren.UserDeleted{User: "u"})...)
}

func TestEventsOfAVirtualHost(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	h := listenTo(t, b)
	exchanges := func() {
		t.Helper()
		want, err := b.Exchanges("/")
		require.NoError(t, err)
		require.Len(t, want, 7)
		for _, x := range want {
			x.VHost = "v"
			h.all(warren.ExchangeCreated{Spec: x.Spec})
		}
	}
	require.NoError(t, b.AddVHost("v"))
	h.all(warren.VHostCreated{VHost: "v"})
	exchanges()
	require.NoError(t, b.SetVHostLimit("v", warren.VHostMaxQueues, 5))
	require.NoError(t, b.SetVHostLimit("v", warren.VHostMaxQueues, -1))
	h.all(
		warren.VHostLimitSet{VHost: "v", Limit: warren.VHostMaxQueues, N: 5},
		warren.VHostLimitCleared{VHost: "v", Limit: warren.VHostMaxQueues},
	)
	conn, err := amqp091.Open(b, warren.VHost("v"))
	require.NoError(t, err)
	ch, err := conn.Channel()
	require.NoError(t, err)
	_, err = ch.QueueDeclare("q", false, false, false, false, nil)
	require.NoError(t, err)
	require.NoError(t, ch.QueueBind("q", "k", "amq.direct", false, nil))
	require.NoError(t, ch.ExchangeBind("amq.fanout", "k", "amq.direct", false, nil))
	_, err = ch.Consume("q", "", false, false, false, false, nil)
	require.NoError(t, err)
	for range 6 {
		h.next()
	}

	require.NoError(t, b.DeleteVHost("v"))
	require.IsType(t, warren.ConsumerDeleted{}, h.next())
	toQueue, toExchange := binding("amq.direct", "q", "k"), binding("amq.direct", "amq.fanout", "k")
	toQueue.VHost, toExchange.VHost, toExchange.ToExchange = "v", "v", true
	h.all(
		warren.BindingDeleted{BindingInfo: toQueue},
		warren.QueueDeleted{VHost: "v", Name: "q"},
		warren.BindingDeleted{BindingInfo: toExchange},
	)
	var gone []warren.Event
	for _, name := range []string{"", "amq.direct", "amq.fanout", "amq.headers", "amq.match", "amq.rabbitmq.trace", "amq.topic"} {
		gone = append(gone, warren.ExchangeDeleted{VHost: "v", Name: name})
	}
	h.any(gone...)
	reason := warren.CloseReason{By: warren.ByBroker, Code: warren.ConnectionForced, Text: "CONNECTION_FORCED - vhost 'v' is deleted"}
	h.all(
		warren.VHostDeleted{VHost: "v"},
		warren.ChannelClosed{Connection: 1, Number: 1, Reason: reason},
		warren.ConnectionClosed{ID: 1, Name: "memory-1", VHost: "v", Reason: reason},
	)
	require.NoError(t, b.AddVHost("v"), "there is room for another of that name")
	h.all(warren.VHostCreated{VHost: "v"})
	exchanges()
}

// cleared checks what a Clear gave.
func cleared(t testing.TB, want bool) func(had bool, err error) {
	return func(had bool, err error) {
		t.Helper()
		require.NoError(t, err)
		require.Equal(t, want, had)
	}
}
