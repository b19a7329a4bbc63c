package warren_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store/memstore"
	"github.com/warrenmq/warren/store/storetest"
	"github.com/warrenmq/warren/wire"
)

// arguments has a value of each type, and a name and a text of any octets.
func arguments() warren.Table {
	return warren.Table{
		{Name: "x-a\x00\xff", Value: "text \xfe\x00"},
		{Name: "x-table", Value: warren.Table{{Name: "in", Value: warren.Table{{Name: "in", Value: int8(-1)}}}}},
		{Name: "x-list", Value: []any{true, int16(-2), int32(3), int64(1) << 60, float32(1.5), 2.25, nil}},
		{Name: "x-bytes", Value: []byte{0, 1, 255}},
		{Name: "x-decimal", Value: message.Decimal{Scale: 2, Value: 314}},
	}
}

func asOptions[T any](args warren.Table, of func(string, any) T) (all []T) {
	for _, f := range args {
		all = append(all, of(f.Name, f.Value))
	}
	return all
}

// deep gives a table that is nested as deeply as one may be.
func deep() warren.Table {
	t := warren.Table{{Name: "x", Value: "bottom"}}
	for range message.MaxTableDepth - 1 {
		t = warren.Table{{Name: "x-deep", Value: t}}
	}
	return t
}

// defineAll makes durable definitions of every kind.
func defineAll(t *testing.T, b *warren.Broker) {
	t.Helper()
	ctx := t.Context()
	long := strings.Repeat("ä\x00\xff", 64)[:255]
	require.NoError(t, b.AddVHost(long+"/vhost"))
	require.NoError(t, b.AddVHost(""))
	for _, name := range []string{"/", long + "/vhost"} {
		ch := native(t, b, warren.VHost(name))
		for _, kind := range []string{"direct", "fanout", "topic", "headers"} {
			require.NoError(t, ch.DeclareExchange(ctx, "x-"+kind, kind, warren.Durable()))
		}
		exArgs := asOptions(arguments(), func(n string, v any) warren.ExchangeOption { return warren.Arg(n, v) })
		require.NoError(t, ch.DeclareExchange(ctx, "x-all", "topic", append(exArgs, warren.Durable(), warren.AutoDelete(),
			warren.Internal(), warren.Arg("alternate-exchange", "not there"))...))
		require.NoError(t, ch.DeclareExchange(ctx, long, "fanout", warren.Durable()))
		qArgs := asOptions(arguments(), func(n string, v any) warren.QueueOption { return warren.Arg(n, v) })
		for _, q := range []string{"q", long} {
			_, err := ch.DeclareQueue(ctx, q, append(qArgs, warren.Durable())...)
			require.NoError(t, err)
		}
		_, err := ch.DeclareQueue(ctx, "q-deep", warren.Durable(), warren.Arg(deep()[0].Name, deep()[0].Value))
		require.NoError(t, err)
		_, err = ch.DeclareQueue(ctx, "q-auto", warren.Durable(), warren.AutoDelete(), warren.Arg("x-queue-type", "classic"))
		require.NoError(t, err)
		_, err = ch.DeclareQueue(ctx, "", warren.Durable())
		require.NoError(t, err)
		bArgs := asOptions(arguments(), func(n string, v any) warren.BindOption { return warren.Arg(n, v) })
		require.NoError(t, ch.BindQueue(ctx, "q", "x-direct", long))
		require.NoError(t, ch.BindQueue(ctx, "q", "x-direct", "", bArgs...))
		require.NoError(t, ch.BindQueue(ctx, "q", "amq.topic", "a.*.#"))
		require.NoError(t, ch.BindQueue(ctx, long, long, "k", warren.Arg(deep()[0].Name, deep()[0].Value)))
		require.NoError(t, ch.BindQueue(ctx, "q", "x-headers", "", warren.Arg("x-match", "any"), warren.Arg("h", int32(1))))
		require.NoError(t, ch.BindExchange(ctx, "x-all", "x-topic", "a.#", bArgs...))
		require.NoError(t, ch.BindExchange(ctx, "x-topic", "x-all", "b"))
		require.NoError(t, ch.BindExchange(ctx, long, long, "to itself"))
		p := warren.Policy{Name: long + "/policy", Pattern: "^q", Priority: -3, Definition: warren.Table{
			{Name: "max-length", Value: 7}, {Name: "dead-letter-exchange", Value: long}, {Name: "message-ttl", Value: int64(1) << 62},
			{Name: "ha-mode", Value: "nodes"}, {Name: "ha-params", Value: []any{"a", "b"}},
		}}
		require.NoError(t, b.SetPolicy(name, p))
		p.Name, p.ApplyTo, p.Pattern = "", warren.ApplyToExchanges, `x-(topic|\xff)`
		require.NoError(t, b.SetPolicy(name, p))
		require.NoError(t, b.SetOperatorPolicy(name, warren.Policy{Name: "", ApplyTo: warren.ApplyToQueues,
			Definition: warren.Table{{Name: "max-length", Value: uint8(5)}}}))
	}
	users := b.Auth()
	require.NoError(t, users.AddUser("alice", "secret", "management", "own tag \xff"))
	require.NoError(t, users.AddUserHash("nobody", auth.PasswordHash{}))
	require.NoError(t, users.AddUser(strings.Repeat("long", 200), "p"))
	require.NoError(t, users.SetLimit("alice", warren.UserMaxChannels, 3))
	require.NoError(t, users.SetLimit("alice", warren.UserLimit(strings.Repeat("own", 100)), 0))
	require.NoError(t, users.SetPermissions(warren.Permission{User: "alice", VHost: "/", Configure: "^a", Write: "", Read: ".*"}))
	require.NoError(t, users.SetPermissions(warren.Permission{User: "alice", VHost: "not there yet", Configure: ".*"}))
	require.NoError(t, users.SetTopicPermissions(warren.TopicPermission{User: "alice", VHost: "/", Exchange: "amq.topic", Write: "^{username}", Read: "x"}))
	require.NoError(t, b.AddVHost("closed"))
	require.NoError(t, b.SetVHostLimit("closed", warren.VHostMaxConnections, 0))
	require.NoError(t, b.SetVHostLimit("", warren.VHostMaxQueues, 1))
}

func TestDurableDefinitionsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	b, d := durableBroker(t)
	defineAll(t, b)
	before := definitionsOf(t, b)
	require.Len(t, before.Queues["/"], 5)
	require.Len(t, before.Bindings["/"], 8)
	require.Equal(t, before, definitionsOf(t, afterCrash(t, d)), "each of them is durable when its method returns")
	for range 2 {
		b = restarted(t, b, d)
		require.Equal(t, before, definitionsOf(t, b))
	}
	// What was declared is the same for a declare, too.
	ch := native(t, b)
	qArgs := asOptions(arguments(), func(n string, v any) warren.QueueOption { return warren.Arg(n, v) })
	_, err := ch.DeclareQueue(t.Context(), "q", append(qArgs, warren.Durable())...)
	require.NoError(t, err)
	// The limits are obeyed.
	_, err = b.Channel(t.Context(), warren.VHost("closed"))
	require.ErrorIs(t, err, warren.NotAllowed)
	ch = native(t, b, warren.VHost(""))
	_, err = ch.DeclareQueue(t.Context(), "1")
	require.NoError(t, err)
	_, err = ch.DeclareQueue(t.Context(), "2")
	require.ErrorIs(t, err, warren.PreconditionFailed)
	_, err = b.Auth().Authenticate("PLAIN", []byte("\x00alice\x00secret"), nil)
	require.NoError(t, err)
}

func TestWhatIsNotDurableDoesNotComeBack(t *testing.T) {
	t.Parallel()
	b, d := durableBroker(t)
	before := definitionsOf(t, b)
	ctx := t.Context()
	ch := native(t, b)
	declare := func(name string, o ...warren.QueueOption) string {
		q, err := ch.DeclareQueue(ctx, name, o...)
		require.NoError(t, err)
		return q.Name
	}
	declare("transient")
	declare("exclusive", warren.Exclusive())
	declare("both", warren.Exclusive(), warren.Durable())
	declare("")
	require.NoError(t, ch.DeclareExchange(ctx, "x-transient", "fanout"))
	for _, q := range []string{"transient", "exclusive", "both"} {
		require.NoError(t, ch.BindQueue(ctx, q, "amq.fanout", ""))
	}
	require.NoError(t, ch.BindExchange(ctx, "x-transient", "amq.fanout", ""))
	require.NoError(t, ch.BindExchange(ctx, "amq.fanout", "x-transient", ""))
	require.Equal(t, before, definitionsOf(t, afterCrash(t, d)))

	declare("kept", warren.Durable())
	require.NoError(t, ch.BindQueue(ctx, "kept", "x-transient", ""))
	after := definitionsOf(t, afterCrash(t, d))
	require.Equal(t, []string{"kept"}, queueNames(t, afterCrash(t, d), "/"))
	require.Empty(t, after.Bindings["/"], "a binding needs two ends that are durable")
	require.Equal(t, before.Exchanges, after.Exchanges)
}

func TestWhatWasDeletedDoesNotComeBack(t *testing.T) {
	t.Parallel()
	b, d := durableBroker(t)
	ctx := t.Context()
	ch := native(t, b)
	durableQueue(t, ch, "q", "old")
	require.NoError(t, ch.DeclareExchange(ctx, "x", "fanout", warren.Durable()))
	require.NoError(t, ch.BindQueue(ctx, "q", "x", ""))
	require.NoError(t, ch.BindQueue(ctx, "q", "amq.direct", "key", warren.Arg("a", "b")))
	require.NoError(t, ch.BindQueue(ctx, "q", "amq.direct", "other"))
	require.NoError(t, ch.UnbindQueue(ctx, "q", "amq.direct", "other"))
	one := definitionsOf(t, afterCrash(t, d))
	require.Len(t, one.Bindings["/"], 2)

	n, err := ch.DeleteQueue(ctx, "q")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoError(t, ch.DeleteExchange(ctx, "x"))
	require.Empty(t, queueNames(t, afterCrash(t, d), "/"))
	durableQueue(t, ch, "q")
	require.NoError(t, ch.DeclareExchange(ctx, "x", "fanout", warren.Durable()))
	for _, b := range []*warren.Broker{afterCrash(t, d), restarted(t, b, d)} {
		require.Empty(t, definitionsOf(t, b).Bindings["/"], "bindings are those of the one that was deleted")
		require.Empty(t, drained(t, native(t, b), "q"), "and so are messages")
	}
}

func TestADeletedVHostComesBackEmpty(t *testing.T) {
	t.Parallel()
	b, d := durableBroker(t)
	ctx := t.Context()
	require.NoError(t, b.AddVHost("v"))
	require.NoError(t, b.SetVHostLimit("v", warren.VHostMaxQueues, 1))
	require.NoError(t, b.Auth().SetPermissions(warren.Permission{User: "guest", VHost: "v", Read: ".*"}))
	ch, err := b.Channel(ctx, warren.VHost("v"))
	require.NoError(t, err)
	durableQueue(t, ch, "q", "m")
	require.NoError(t, ch.DeclareExchange(ctx, "x", "fanout", warren.Durable()))
	require.NoError(t, ch.BindQueue(ctx, "q", "x", ""))
	require.NoError(t, b.DeleteVHost("v"))
	require.Equal(t, []string{"/"}, afterCrash(t, d).VHosts())
	require.NoError(t, b.AddVHost("v"))
	before := definitionsOf(t, b)
	for _, b := range []*warren.Broker{afterCrash(t, d), restarted(t, b, d)} {
		require.Equal(t, before, definitionsOf(t, b))
		ch := native(t, b, warren.VHost("v"))
		durableQueue(t, ch, "q")
		durableQueue(t, ch, "no limit")
		require.Empty(t, drained(t, ch, "q"))
	}
}

func TestADeletedGuestStaysDeleted(t *testing.T) {
	t.Parallel()
	b, d := durableBroker(t)
	require.NoError(t, b.Auth().DeleteUser("guest"))
	for _, b := range []*warren.Broker{afterCrash(t, d), restarted(t, b, d)} {
		require.Empty(t, b.Auth().Users())
		require.Empty(t, b.Auth().ListPermissions())
	}
}

// A crash at any moment leaves all of an operation or nothing.
func TestACrashLeavesAllOrNothingOfAnOperation(t *testing.T) {
	t.Parallel()
	const many = 40
	set := func(t *testing.T) *memstore.Disk {
		b, d := durableBroker(t)
		ctx := t.Context()
		require.NoError(t, b.AddVHost("v"))
		require.NoError(t, b.Auth().AddUser("alice", "a"))
		require.NoError(t, b.Auth().SetPermissions(warren.Permission{User: "guest", VHost: "v"}))
		require.NoError(t, b.Auth().SetTopicPermissions(warren.TopicPermission{User: "guest", VHost: "v", Exchange: "x"}))
		for i := range many {
			p := warren.Permission{User: "alice", VHost: fmt.Sprint("v", i)}
			require.NoError(t, b.Auth().SetPermissions(p))
			require.NoError(t, b.Auth().SetTopicPermissions(warren.TopicPermission{User: "alice", VHost: p.VHost, Exchange: "x"}))
		}
		for _, v := range []string{"/", "v"} {
			ch, err := b.Channel(ctx, warren.VHost(v))
			require.NoError(t, err)
			durableQueue(t, ch, "q", "1", "2", "3")
			durableQueue(t, ch, "other")
			require.NoError(t, ch.DeclareExchange(ctx, "x", "topic", warren.Durable()))
			for i := range many {
				require.NoError(t, ch.BindQueue(ctx, "q", "x", fmt.Sprint(i)))
			}
			for i := range 5 {
				name := fmt.Sprint("auto", i)
				require.NoError(t, ch.DeclareExchange(ctx, name, "fanout", warren.Durable(), warren.AutoDelete()))
				to := "x"
				if i > 0 {
					to = fmt.Sprint("auto", i-1)
				}
				require.NoError(t, ch.BindExchange(ctx, to, name, ""))
			}
		}
		require.NoError(t, b.Close())
		return d
	}
	for name, op := range map[string]func(*testing.T, *warren.Broker){
		"delete a queue": func(t *testing.T, b *warren.Broker) {
			_, err := native(t, b).DeleteQueue(context.Background(), "q")
			require.NoError(t, err)
		},
		"delete an exchange": func(t *testing.T, b *warren.Broker) {
			require.NoError(t, native(t, b).DeleteExchange(context.Background(), "x"))
		},
		"delete a user": func(t *testing.T, b *warren.Broker) {
			require.NoError(t, b.Auth().DeleteUser("alice"))
		},
		"delete a virtual host": func(t *testing.T, b *warren.Broker) {
			require.NoError(t, b.DeleteVHost("v"))
		},
		"add a virtual host": func(t *testing.T, b *warren.Broker) { require.NoError(t, b.AddVHost("w")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := set(t)
			var after world
			all := images(t, d, func(b *warren.Broker) {
				op(t, b)
				after = definitionsOf(t, b)
			})
			b := afterCrash(t, all[0])
			before := definitionsOf(t, b)
			require.NotEqual(t, before, after)
			carriedOut := 0
			for i, image := range all {
				b, err := brokerWith(image)
				require.NoError(t, err)
				now := definitionsOf(t, b)
				if carriedOut == 0 && i < len(all)-1 && equalWorlds(now, before) {
					require.NoError(t, b.Close())
					continue
				}
				carriedOut++
				require.Equal(t, after, now, "image %d of %d", i, len(all))
				for _, v := range now.VHosts {
					if len(now.Queues[v]) == 2 {
						q, err := b.Queue(v, "q")
						require.NoError(t, err)
						require.Equal(t, 3, q.Ready)
					}
				}
				require.NoError(t, b.Close())
				// And nothing comes back with namesakes, or the next time.
				next, err := brokerWith(image)
				require.NoError(t, err)
				require.Equal(t, after, definitionsOf(t, next))
				if name == "delete a virtual host" {
					require.NoError(t, next.AddVHost("v"))
					require.Empty(t, definitionsOf(t, next).Queues["v"])
					require.Equal(t, after.Permissions, definitionsOf(t, next).Permissions)
				}
				require.NoError(t, next.Close())
			}
		})
	}
}

func equalWorlds(a, b world) bool { return fmt.Sprintf("%#v", a) == fmt.Sprintf("%#v", b) }

// brokerWith gives a broker on a disk.
func brokerWith(d *memstore.Disk) (*warren.Broker, error) {
	s, err := d.Open()
	if err != nil {
		return nil, err
	}
	return warren.New(warren.Options{Store: s})
}

// A queue with more bindings than the store writes at once.
func TestMoreBindingsThanOneApplyAreDeleted(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it makes ten thousand bindings")
	}
	b, d := durableBroker(t)
	ch := native(t, b)
	durableQueue(t, ch, "q")
	const many = 9000
	for i := range many {
		require.NoError(t, ch.BindQueue(t.Context(), "q", "amq.direct", fmt.Sprint(i)))
	}
	require.Len(t, definitionsOf(t, afterCrash(t, d)).Bindings["/"], many)
	require.NoError(t, b.Close())
	for _, image := range images(t, d, func(b *warren.Broker) {
		_, err := native(t, b).DeleteQueue(context.Background(), "q")
		require.NoError(t, err)
	}) {
		now := definitionsOf(t, afterCrash(t, image))
		require.Len(t, now.Bindings["/"], len(now.Queues["/"])*many)
	}
}

// The first start of a broker is one step.
func TestACrashOfTheFirstStartLeavesAllOrNothing(t *testing.T) {
	t.Parallel()
	d := memstore.NewDisk()
	for _, image := range images(t, d, func(*warren.Broker) {}) {
		require.Len(t, definitionsOf(t, afterCrash(t, image)).Permissions, 1)
	}
}

func TestDefinitionsAreAnsweredWhenTheyAreDurable(t *testing.T) {
	t.Parallel()
	for name, op := range map[string]func(context.Context, *warren.Broker, *warren.Channel) error{
		"declare a queue": func(ctx context.Context, _ *warren.Broker, ch *warren.Channel) error {
			_, err := ch.DeclareQueue(ctx, "new", warren.Durable())
			return err
		},
		"declare an exchange": func(ctx context.Context, _ *warren.Broker, ch *warren.Channel) error {
			return ch.DeclareExchange(ctx, "new", "direct", warren.Durable())
		},
		"bind a queue": func(ctx context.Context, _ *warren.Broker, ch *warren.Channel) error {
			return ch.BindQueue(ctx, "q", "x", "new")
		},
		"unbind a queue": func(ctx context.Context, _ *warren.Broker, ch *warren.Channel) error {
			return ch.UnbindQueue(ctx, "q", "x", "")
		},
		"bind an exchange": func(ctx context.Context, _ *warren.Broker, ch *warren.Channel) error {
			return ch.BindExchange(ctx, "x", "x", "new")
		},
		"delete a queue": func(ctx context.Context, _ *warren.Broker, ch *warren.Channel) error {
			_, err := ch.DeleteQueue(ctx, "q")
			return err
		},
		"delete an exchange": func(ctx context.Context, _ *warren.Broker, ch *warren.Channel) error {
			return ch.DeleteExchange(ctx, "x")
		},
		"add a virtual host":    func(_ context.Context, b *warren.Broker, _ *warren.Channel) error { return b.AddVHost("new") },
		"delete a virtual host": func(_ context.Context, b *warren.Broker, _ *warren.Channel) error { return b.DeleteVHost("v") },
		"limit a virtual host": func(_ context.Context, b *warren.Broker, _ *warren.Channel) error {
			return b.SetVHostLimit("v", warren.VHostMaxQueues, 0)
		},
		"add a user": func(_ context.Context, b *warren.Broker, _ *warren.Channel) error { return b.Auth().AddUser("new", "") },
		"delete a user": func(_ context.Context, b *warren.Broker, _ *warren.Channel) error {
			return b.Auth().DeleteUser("guest")
		},
		"tag a user": func(_ context.Context, b *warren.Broker, _ *warren.Channel) error { return b.Auth().SetTags("guest") },
		"permit": func(_ context.Context, b *warren.Broker, _ *warren.Channel) error {
			return b.Auth().SetPermissions(warren.Permission{User: "guest", VHost: "v"})
		},
		"forbid": func(_ context.Context, b *warren.Broker, _ *warren.Channel) error {
			_, err := b.Auth().ClearPermissions("guest", "/")
			return err
		},
		"forget the limits at topics": func(_ context.Context, b *warren.Broker, _ *warren.Channel) error {
			_, err := b.Auth().ClearTopicPermissions("guest", "/")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			begun := func() (*warren.Broker, *warren.Channel, *memstore.Disk, *storetest.Faulty) {
				d := memstore.NewDisk()
				b, s := brokerOn(t, d, warren.Options{})
				require.NoError(t, b.AddVHost("v"))
				require.NoError(t, b.Auth().SetTopicPermissions(warren.TopicPermission{User: "guest", VHost: "/", Exchange: "amq.topic"}))
				ch := native(t, b)
				durableQueue(t, ch, "q")
				require.NoError(t, ch.DeclareExchange(ctx, "x", "direct", warren.Durable()))
				require.NoError(t, ch.BindQueue(ctx, "q", "x", ""))
				return b, ch, d, s
			}
			b, ch, _, s := begun()
			s.FailApply(1, storetest.ErrInjected, false)
			require.Error(t, op(ctx, b, ch), "it cannot be durable")

			b, ch, d, s := begun()
			s.Hold()
			defer s.Release()
			done := make(chan error, 1)
			go func() { done <- op(ctx, b, ch) }()
			s.AwaitHeld()
			require.Empty(t, done, "it is not durable")
			s.Release()
			require.NoError(t, await(t, done))
			require.Equal(t, definitionsOf(t, b), definitionsOf(t, afterCrash(t, d)))
		})
	}
}

// A durable exchange may go with the binding of a queue that never touched the disk.
func TestADurableExchangeThatGoesWithATransientQueueIsGoneBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	for name, op := range map[string]func(context.Context, *warren.Channel) error{
		"delete": func(ctx context.Context, ch *warren.Channel) error {
			_, err := ch.DeleteQueue(ctx, "q")
			return err
		},
		"unbind": func(ctx context.Context, ch *warren.Channel) error { return ch.UnbindQueue(ctx, "q", "x", "") },
		"unbind the exchange before": func(ctx context.Context, ch *warren.Channel) error {
			return ch.UnbindExchange(ctx, "brief", "y", "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := memstore.NewDisk()
				b, s := brokerOn(t, d, warren.Options{})
				ctx := t.Context()
				ch := native(t, b)
				for _, x := range []string{"x", "y"} {
					require.NoError(t, ch.DeclareExchange(ctx, x, "direct", warren.Durable(), warren.AutoDelete()))
				}
				require.NoError(t, ch.DeclareExchange(ctx, "brief", "direct"))
				require.NoError(t, ch.BindExchange(ctx, "brief", "y", ""))
				_, err := ch.DeclareQueue(ctx, "q")
				require.NoError(t, err)
				require.NoError(t, ch.BindQueue(ctx, "q", "x", ""))
				s.Hold()
				defer s.Release()
				done := make(chan error, 1)
				go func() { done <- op(ctx, ch) }()
				synctest.Wait()
				require.Empty(t, done, "the exchange would come back")
				s.Release()
				require.NoError(t, <-done)
				after := definitionsOf(t, afterCrash(t, d))
				require.Equal(t, len(definitionsOf(t, b).Exchanges["/"])-1, len(after.Exchanges["/"]), "all but the transient one")
			})
		})
	}
}

// Over AMQP the answers come in the order they have in memory, when they are
// durable.
func TestDeleteOKComesBeforeCancelWhenItIsDurable(t *testing.T) {
	t.Parallel()
	d := memstore.NewDisk()
	b, s := brokerOn(t, d, warren.Options{})
	nc, err := b.Dial("", "")
	require.NoError(t, err)
	defer nc.Close()
	c := &rawClient{Conn: nc, buf: make([]byte, 64<<10)}
	c.login(t, "guest", "guest")
	c.call(t, &wire.QueueDeclare{Queue: "q", Durable: true}, wire.QueueDeclareOKID)
	c.call(t, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"}, wire.BasicConsumeOKID)
	s.Hold()
	c.send(t, 1, &wire.QueueDelete{Queue: "q"})
	s.AwaitHeld()
	answered := make(chan wire.ID, 1)
	go func() {
		f, _ := c.next()
		id, _ := wire.MethodID(f.Payload)
		answered <- id
	}()
	require.Empty(t, answered, "it is not durable")
	s.Release()
	require.Equal(t, wire.QueueDeleteOKID, await(t, answered))
	c.expect(t, wire.BasicCancelID)
	require.Empty(t, queueNames(t, afterCrash(t, d), "/"))

	conn, err := amqp.DialConfig("amqp://", amqp.Config{Dial: b.Dial})
	require.NoError(t, err)
	defer conn.Close()
	ch := channel(t, conn)
	s.Hold()
	declared := make(chan error, 1)
	go func() {
		_, err := ch.QueueDeclare("q", true, false, false, false, nil)
		declared <- err
	}()
	s.AwaitHeld()
	require.Empty(t, declared)
	s.Release()
	require.NoError(t, await(t, declared))
	require.Equal(t, []string{"q"}, queueNames(t, afterCrash(t, d), "/"))
}
