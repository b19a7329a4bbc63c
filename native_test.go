package warren_test

import (
	"context"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/auth"
)

// native opens a channel that is closed at the end of the test.
func native(t testing.TB, b *warren.Broker, options ...warren.ChannelOption) *warren.Channel {
	t.Helper()
	ch, err := b.Channel(t.Context(), options...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ch.Close()) })
	return ch
}

// nativePair gives a broker and one channel of it.
func nativePair(t testing.TB) (*warren.Broker, *warren.Channel) {
	t.Helper()
	b := newBroker(t, warren.Options{})
	return b, native(t, b)
}

func text(body string) warren.Message { return warren.Message{Body: []byte(body)} }

// filled declares a queue with messages.
func filled(t testing.TB, ch *warren.Channel, queue string, bodies ...string) {
	t.Helper()
	_, err := ch.DeclareQueue(t.Context(), queue)
	require.NoError(t, err)
	for _, body := range bodies {
		require.NoError(t, ch.Publish(t.Context(), "", queue, text(body)))
	}
}

// got is a delivery in short; one that was delivered before has a star.
func got(d warren.Delivery) string {
	if d.Redelivered {
		return string(d.Body) + "*"
	}
	return string(d.Body)
}

// drained takes everything out of a queue.
func drained(t testing.TB, ch *warren.Channel, queue string) (all []string) {
	t.Helper()
	for {
		d, ok, err := ch.Get(t.Context(), queue, warren.NoAck())
		require.NoError(t, err)
		if !ok {
			return all
		}
		all = append(all, got(d))
	}
}

// requireRefusal checks that a channel was closed by err, a refusal.
func requireRefusal(t testing.TB, ch *warren.Channel, err error, code error, want string) {
	t.Helper()
	var e *warren.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, want, e.Error())
	require.ErrorIs(t, err, code)
	await(t, ch.Done())
	require.Same(t, e, ch.Err())
	_, again := ch.DeclareQueue(t.Context(), "q")
	require.Same(t, e, again)
	require.Same(t, e, ch.Publish(t.Context(), "", "q", warren.Message{}))
}

func TestNativeTopology(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	ctx := t.Context()
	q, err := ch.DeclareQueue(ctx, "q", warren.Durable(), warren.Arg("x-max-priority-of-mine", 3))
	require.NoError(t, err)
	require.Equal(t, warren.Queue{Name: "q"}, q)
	made, err := ch.DeclareQueue(ctx, "")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(made.Name, "amq.gen-"), made.Name)
	_, err = ch.DeclareQueue(ctx, made.Name, warren.Passive())
	require.NoError(t, err)

	for kind, name := range map[string]string{"direct": "d", "fanout": "f", "topic": "t", "headers": "h"} {
		require.NoError(t, ch.DeclareExchange(ctx, name, kind, warren.AutoDelete()))
	}
	require.NoError(t, ch.DeclareExchange(ctx, "inner", "fanout", warren.Internal(), warren.Durable()))
	require.NoError(t, ch.DeclareExchange(ctx, "inner", "fanout", warren.Passive()))
	require.NoError(t, ch.BindQueue(ctx, "q", "h", "", warren.Arg("x-match", "all"), warren.Arg("n", 1)))
	require.NoError(t, ch.BindExchange(ctx, "inner", "t", "a.#"))
	require.NoError(t, ch.BindQueue(ctx, "q", "inner", ""))

	// A Go int is what a client's int is.
	one := warren.Message{Properties: warren.Properties{Headers: warren.Table{{Name: "n", Value: int32(1)}}}}
	require.NoError(t, ch.PublishConfirmed(ctx, "h", "", one))
	require.NoError(t, ch.PublishConfirmed(ctx, "t", "a.b", text("t")))
	q, err = ch.DeclareQueue(ctx, "q", warren.Durable(), warren.Arg("x-max-priority-of-mine", 3))
	require.NoError(t, err)
	require.Equal(t, 2, q.Messages)
	n, err := ch.PurgeQueue(ctx, "q")
	require.NoError(t, err)
	require.Equal(t, 2, n)

	require.NoError(t, ch.UnbindExchange(ctx, "inner", "t", "a.#"))
	require.NoError(t, ch.UnbindExchange(ctx, "inner", "t", "a.#"), "its source went with its last binding")
	require.NoError(t, ch.UnbindQueue(ctx, "q", "h", "", warren.Arg("x-match", "all"), warren.Arg("n", 1)))
	require.NoError(t, ch.DeleteExchange(ctx, "inner"))
	require.NoError(t, ch.DeleteExchange(ctx, "inner"))
	require.NoError(t, ch.DeleteExchange(ctx, "d", warren.IfUnused()))
	require.NoError(t, ch.Publish(ctx, "", "q", text("left")))
	n, err = ch.DeleteQueue(ctx, "q", warren.IfUnused())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = ch.DeleteQueue(ctx, "q", warren.IfEmpty())
	require.NoError(t, err)
	require.Zero(t, n)
}

// Each refusal has the code and the text that a client hears over TCP, and closes
// this channel and no other.
func TestNativeRefusalsAreThoseOfTCP(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	setup := native(t, b)
	filled(t, setup, "full", "m")
	require.NoError(t, setup.DeclareExchange(t.Context(), "x", "direct"))
	require.NoError(t, setup.BindQueue(t.Context(), "full", "x", "k"))
	_, err := setup.DeclareQueue(t.Context(), "mine", warren.Exclusive())
	require.NoError(t, err)
	ctx := t.Context()
	for name, c := range map[string]struct {
		native func(*warren.Channel) error
		tcp    func(*amqp.Channel) error
		code   error
	}{
		"no queue": {
			func(ch *warren.Channel) error { _, err := ch.DeclareQueue(ctx, "no", warren.Passive()); return err },
			func(ch *amqp.Channel) error {
				_, err := ch.QueueDeclarePassive("no", false, false, false, false, nil)
				return err
			}, warren.NotFound},
		"no exchange": {
			func(ch *warren.Channel) error { return ch.BindQueue(ctx, "full", "no", "k") },
			func(ch *amqp.Channel) error { return ch.QueueBind("full", "k", "no", false, nil) }, warren.NotFound},
		"other properties": {
			func(ch *warren.Channel) error { _, err := ch.DeclareQueue(ctx, "full", warren.Durable()); return err },
			func(ch *amqp.Channel) error {
				_, err := ch.QueueDeclare("full", true, false, false, false, nil)
				return err
			}, warren.PreconditionFailed},
		"another's exclusive queue": {
			func(ch *warren.Channel) error { _, err := ch.PurgeQueue(ctx, "mine"); return err },
			func(ch *amqp.Channel) error { _, err := ch.QueuePurge("mine", false); return err }, warren.ResourceLocked},
		"reserved name": {
			func(ch *warren.Channel) error { return ch.DeclareExchange(ctx, "amq.x", "direct") },
			func(ch *amqp.Channel) error {
				return ch.ExchangeDeclare("amq.x", "direct", false, false, false, false, nil)
			}, warren.AccessRefused},
		"not empty": {
			func(ch *warren.Channel) error { _, err := ch.DeleteQueue(ctx, "full", warren.IfEmpty()); return err },
			func(ch *amqp.Channel) error { _, err := ch.QueueDelete("full", false, true, false); return err },
			warren.PreconditionFailed},
		"in use": {
			func(ch *warren.Channel) error { return ch.DeleteExchange(ctx, "x", warren.IfUnused()) },
			func(ch *amqp.Channel) error { return ch.ExchangeDelete("x", true, false) }, warren.PreconditionFailed},
		"get": {
			func(ch *warren.Channel) error { _, _, err := ch.Get(ctx, "no"); return err },
			func(ch *amqp.Channel) error { _, _, err := ch.Get("no", true); return err }, warren.NotFound},
		"no transaction": {
			func(ch *warren.Channel) error { return ch.TxCommit(ctx) },
			(*amqp.Channel).TxCommit, warren.PreconditionFailed},
		"unknown exchange type is hard": {
			func(ch *warren.Channel) error { return ch.DeclareExchange(ctx, "y", "odd") },
			func(ch *amqp.Channel) error { return ch.ExchangeDeclare("y", "odd", false, false, false, false, nil) },
			nil},
		"consume": {
			func(ch *warren.Channel) (err error) {
				for _, err = range ch.Consume(ctx, "no") {
				}
				return err
			},
			func(ch *amqp.Channel) error {
				_, err := ch.Consume("no", "", false, false, false, false, nil)
				return err
			}, warren.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, addr)
			var want *amqp.Error
			require.ErrorAs(t, c.tcp(channel(t, conn)), &want)
			ch := native(t, b)
			code := c.code
			err := c.native(ch)
			var e *warren.Error
			require.ErrorAs(t, err, &e)
			require.EqualValues(t, want.Code, e.Code)
			if code == nil {
				code = e.Code
			}
			requireRefusal(t, ch, err, code, want.Reason)
			require.NoError(t, setup.Err())
		})
	}
}

func TestNativeUnknownTagClosesTheChannel(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(context.Context, *warren.Channel) error{
		"ack":  func(ctx context.Context, ch *warren.Channel) error { return ch.Ack(ctx, 1, false) },
		"nack": func(ctx context.Context, ch *warren.Channel) error { return ch.Nack(ctx, 1, true, true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, ch := nativePair(t)
			requireRefusal(t, ch, f(t.Context(), ch), warren.PreconditionFailed, "PRECONDITION_FAILED - unknown delivery tag 1")
		})
	}
}

// What no client could put on a wire is refused here, and the channel goes on.
func TestNativeWhatCannotBeSentLeavesTheChannelOpen(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	ctx, long, odd := t.Context(), strings.Repeat("x", 256), warren.Arg("n", struct{}{})
	filled(t, ch, "q")
	_, declare := ch.DeclareQueue(ctx, "a", odd)
	_, longQueue := ch.DeclareQueue(ctx, long)
	consume := func(options ...warren.ConsumeOption) (err error) {
		for _, err = range ch.Consume(ctx, "q", options...) {
		}
		return err
	}
	for name, err := range map[string]error{
		"queue argument": declare, "queue name": longQueue,
		"exchange argument": ch.DeclareExchange(ctx, "x", "fanout", odd),
		"exchange name":     ch.DeclareExchange(ctx, long, "fanout"),
		"binding argument":  ch.BindQueue(ctx, "q", "amq.fanout", "", odd),
		"binding key":       ch.BindQueue(ctx, "q", "amq.direct", long),
		"consumer argument": consume(odd),
		"consumer tag":      consume(warren.Tag(long)),
		"routing key":       ch.Publish(ctx, "", long, text("")),
		"confirmed":         ch.PublishConfirmed(ctx, long, "", text("")),
		"property":          ch.Publish(ctx, "", "q", warren.Message{Properties: warren.Properties{ContentType: long}}),
		"header": ch.Publish(ctx, "", "q", warren.Message{
			Properties: warren.Properties{Headers: warren.Table{{Name: "n", Value: struct{}{}}}}}),
	} {
		require.Error(t, err, name)
		var e *warren.Error
		require.NotErrorAs(t, err, &e, name)
	}
	require.NoError(t, ch.Err())
	require.NoError(t, ch.Publish(ctx, "", "q", text("m")))
}

func TestNativeExclusiveQueuesGoWithTheChannel(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *warren.Channel){
		"close": func(t *testing.T, ch *warren.Channel) { require.NoError(t, ch.Close()) },
		"refusal": func(t *testing.T, ch *warren.Channel) {
			_, _, err := ch.Get(t.Context(), "no")
			require.ErrorIs(t, err, warren.NotFound)
		},
		"hard refusal": func(t *testing.T, ch *warren.Channel) {
			require.Error(t, ch.DeclareExchange(t.Context(), "y", "odd"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, ch := nativePair(t)
			_, err := ch.DeclareQueue(t.Context(), "mine", warren.Exclusive())
			require.NoError(t, err)
			end(t, ch)
			_, err = native(t, b).DeclareQueue(t.Context(), "mine", warren.Durable())
			require.NoError(t, err, "the name is free")
			require.NoError(t, ch.Close())
			require.NoError(t, ch.Close())
		})
	}
}

func TestNativeCloseEndsEverything(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	filled(t, ch, "q")
	ended := make(chan error, 2)
	go func() {
		for _, err := range ch.Consume(t.Context(), "q") {
			ended <- err
		}
	}()
	go func() {
		for _, err := range ch.Returns(t.Context()) {
			ended <- err
		}
	}()
	require.NoError(t, ch.Err())
	require.NoError(t, ch.Close())
	require.ErrorIs(t, await(t, ended), warren.ErrChannelClosed)
	require.ErrorIs(t, await(t, ended), warren.ErrChannelClosed)
	await(t, ch.Done())
	require.ErrorIs(t, ch.Err(), warren.ErrChannelClosed)
	require.ErrorIs(t, ch.Publish(t.Context(), "", "q", text("m")), warren.ErrChannelClosed)
}

func TestNativeUsersAndVHosts(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	ctx := t.Context()
	open := func(options ...warren.ChannelOption) error {
		ch, err := b.Channel(ctx, options...)
		if err == nil {
			require.NoError(t, ch.Close())
		}
		return err
	}
	require.NoError(t, open(warren.User("guest")))
	require.ErrorIs(t, open(warren.User("nobody")), auth.ErrNoUser)
	require.ErrorIs(t, open(warren.VHost("v")), warren.NotAllowed)
	require.ErrorContains(t, open(warren.VHost("v")), "NOT_ALLOWED - vhost v not found")
	require.NoError(t, b.AddVHost("v"))
	require.ErrorContains(t, open(warren.VHost("v"), warren.User("guest")),
		"NOT_ALLOWED - access to vhost 'v' refused for user 'guest'")
	require.NoError(t, b.SetVHostLimit("v", warren.VHostMaxConnections, 0))
	require.ErrorContains(t, open(warren.VHost("v")), "connection limit (0) is reached")
	require.NoError(t, b.SetVHostLimit("v", warren.VHostMaxConnections, -1))
	require.NoError(t, b.Auth().SetLimit("guest", warren.UserMaxChannels, 0))
	require.ErrorContains(t, open(warren.User("guest")), "has reached the maximum allowed user limit of (0)")

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err := b.Channel(cancelled)
	require.ErrorIs(t, err, context.Canceled)

	require.NoError(t, b.Auth().AddUser("app", "secret"))
	allow := func(write string) {
		require.NoError(t, b.Auth().SetPermissions(warren.Permission{
			User: "app", VHost: "v", Configure: ".*", Write: write, Read: ".*"}))
	}
	allow("^(amq\\.default|q)$")
	filled(t, native(t, b, warren.VHost("v")), "q")
	app := native(t, b, warren.VHost("v"), warren.User("app"))
	require.NoError(t, app.PublishConfirmed(ctx, "", "q", text("m")))
	refused := native(t, b, warren.VHost("v"), warren.User("app"))
	requireRefusal(t, refused, refused.Publish(ctx, "amq.direct", "", text("")), warren.AccessRefused,
		"ACCESS_REFUSED - access to exchange 'amq.direct' in vhost 'v' refused for user 'app'")
	allow("^$")
	requireRefusal(t, app, app.Publish(ctx, "", "q", text("")), warren.AccessRefused,
		"ACCESS_REFUSED - access to exchange 'amq.default' in vhost 'v' refused for user 'app'")

	allow(".*")
	app = native(t, b, warren.VHost("v"), warren.User("app"))
	as := warren.Message{Properties: warren.Properties{UserID: "guest"}}
	requireRefusal(t, app, app.Publish(ctx, "", "q", as), warren.PreconditionFailed,
		"PRECONDITION_FAILED - user_id property set to 'guest' but authenticated user was 'app'")

	app = native(t, b, warren.VHost("v"), warren.User("app"))
	require.NoError(t, b.Auth().DeleteUser("app"))
	requireRefusal(t, app, app.Err(), warren.ConnectionForced, "CONNECTION_FORCED - user 'app' is deleted")

	ch := native(t, b, warren.VHost("v"))
	require.NoError(t, b.DeleteVHost("v"))
	requireRefusal(t, ch, ch.Err(), warren.ConnectionForced, "CONNECTION_FORCED - vhost 'v' is deleted")
}

func TestNativeGet(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	ctx := t.Context()
	filled(t, ch, "q")
	_, ok, err := ch.Get(ctx, "q")
	require.NoError(t, err)
	require.False(t, ok)
	props := warren.Properties{ContentType: "text/plain", DeliveryMode: 2, MessageID: "id",
		Headers: warren.Table{{Name: "n", Value: int32(1)}}}
	body := []byte("a")
	require.NoError(t, ch.Publish(ctx, "", "q", warren.Message{Properties: props, Body: body}))
	body[0], props.Headers[0].Value = 'x', int32(2) // the caller's again
	require.NoError(t, ch.Publish(ctx, "", "q", text("")))

	d, ok, err := ch.Get(ctx, "q")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "a", got(d))
	require.Equal(t, "text/plain", d.Properties().ContentType)
	require.Equal(t, warren.Table{{Name: "n", Value: int32(1)}}, d.Properties().Headers)
	require.Equal(t, []any{"", "q", "", uint64(1), 1}, []any{d.Exchange, d.RoutingKey, d.ConsumerTag, d.DeliveryTag, d.MessageCount})
	require.NoError(t, d.Nack(true))
	d, _, err = ch.Get(ctx, "q")
	require.NoError(t, err)
	require.Equal(t, "a*", got(d))
	require.NoError(t, d.Ack())
	d, _, err = ch.Get(ctx, "q")
	require.NoError(t, err)
	require.Empty(t, d.Body)
	require.NoError(t, d.Reject(false))
	require.Empty(t, drained(t, ch, "q"))
	requireRefusal(t, ch, d.Ack(), warren.PreconditionFailed, "PRECONDITION_FAILED - unknown delivery tag 3")
}

func TestNativeTagsAndRecover(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	ctx := t.Context()
	filled(t, ch, "q", "a", "b", "c", "d", "e")
	get := func() (all string) {
		for {
			d, ok, err := ch.Get(ctx, "q")
			require.NoError(t, err)
			if !ok {
				return all
			}
			all += got(d)
		}
	}
	require.Equal(t, "abcde", get())
	require.NoError(t, ch.Ack(ctx, 2, true))
	require.NoError(t, ch.Nack(ctx, 4, false, false))
	require.NoError(t, ch.Nack(ctx, 3, false, true))
	require.Equal(t, "c*", get())
	require.NoError(t, ch.Recover(ctx))
	require.Equal(t, "c*e*", get())
	require.NoError(t, ch.Ack(ctx, 0, true))
	require.NoError(t, ch.Recover(ctx))
	require.Empty(t, get())
}

func TestNativeTransactions(t *testing.T) {
	t.Parallel()
	b, ch := nativePair(t)
	ctx := t.Context()
	filled(t, ch, "q", "old")
	other := native(t, b)
	require.NoError(t, ch.TxSelect(ctx))
	d, _, err := ch.Get(ctx, "q")
	require.NoError(t, err)
	require.NoError(t, ch.Publish(ctx, "", "q", text("dropped")))
	require.NoError(t, d.Ack())
	require.NoError(t, ch.TxRollback(ctx))
	require.NoError(t, ch.Publish(ctx, "", "q", text("new")))
	require.NoError(t, ch.Publish(ctx, "", "nowhere", text("back"), warren.Mandatory()))
	require.Empty(t, drained(t, other, "q"))
	require.NoError(t, d.Nack(true), "it is unsettled again")
	require.NoError(t, ch.TxCommit(ctx))
	for r, err := range ch.Returns(ctx) {
		require.NoError(t, err)
		require.Equal(t, "back", string(r.Body))
		break
	}
	require.Equal(t, []string{"old*", "new"}, drained(t, other, "q"))
	requireRefusal(t, ch, ch.PublishConfirmed(ctx, "", "q", text("")), warren.PreconditionFailed,
		"PRECONDITION_FAILED - cannot switch from tx to confirm mode")
}
