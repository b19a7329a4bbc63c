package warren_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/amqp091"
	"github.com/warrenmq/warren/intercept"
)

// intercepting gives a broker with interceptors, and a channel of it.
func intercepting(t *testing.T, is ...intercept.Interceptor) (*warren.Broker, *warren.Channel) {
	t.Helper()
	b := newBroker(t, warren.Options{Interceptors: is})
	return b, native(t, b)
}

func TestInterceptorsThatCannotBe(t *testing.T) {
	t.Parallel()
	publish := intercept.On(func(intercept.Client, *intercept.Publish) error { return nil })
	for name, c := range map[string]struct {
		is   []intercept.Interceptor
		want string
	}{
		"two of the same method": {
			[]intercept.Interceptor{publish, policy{methods: []string{"basic.get", "basic.publish"}}},
			"interceptors intercept.On[basic.publish] and warren_test.policy both claim 'basic.publish'",
		},
		"one twice": {
			[]intercept.Interceptor{policy{methods: []string{"basic.get", "basic.get"}}},
			"interceptors warren_test.policy and warren_test.policy both claim 'basic.get'",
		},
		"an unknown method": {
			[]intercept.Interceptor{publish, policy{methods: []string{"basic.publsh"}}},
			"interceptor warren_test.policy claims 'basic.publsh', which is no method that can be intercepted",
		},
		"a method of leaving": {
			[]intercept.Interceptor{policy{methods: []string{"channel.close"}}},
			"interceptor warren_test.policy claims 'channel.close', which is no method that can be intercepted",
		},
		"none": {[]intercept.Interceptor{publish, policy{}}, "interceptor warren_test.policy claims no method"},
		"on any method": {
			[]intercept.Interceptor{intercept.On(func(intercept.Client, intercept.Method) error { return nil })},
			"interceptor intercept.On[] claims no method",
		},
		"nil": {[]intercept.Interceptor{publish, nil}, "interceptor 2 of 2 is nil"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := warren.New(warren.Options{Interceptors: c.is})
			require.EqualError(t, err, "warren: Options.Interceptors: "+c.want)
		})
	}
}

func TestAnInterceptorIsToldWhoAsks(t *testing.T) {
	t.Parallel()
	seen := make(chan intercept.Client, 1)
	b := newBroker(t, warren.Options{Interceptors: []intercept.Interceptor{
		intercept.On(func(c intercept.Client, _ *intercept.TxSelect) error { seen <- c; return nil }),
	}})
	require.NoError(t, b.AddVHost("v"))
	require.NoError(t, b.Auth().AddUser("u", "secret"))
	require.NoError(t, b.Auth().SetPermissions(warren.Permission{User: "u", VHost: "v", Configure: ".*", Write: ".*", Read: ".*"}))
	// told compares what an interceptor was told with what the broker says of its one
	// connection.
	told := func(t *testing.T, channel int, user string) {
		t.Helper()
		conns := b.Connections()
		require.Len(t, conns, 1)
		require.NotEmpty(t, conns[0].Name)
		require.Equal(t, intercept.Client{
			Connection: conns[0].ID, Channel: channel, Name: conns[0].Name, ClientName: conns[0].ClientName,
			User: user, VHost: "v",
		}, await(t, seen))
	}

	addr := serve(t, b, listen(t))
	conn, err := amqp.DialConfig("amqp://u:secret@"+addr+"/v", amqp.Config{Properties: amqp.Table{"connection_name": "me"}})
	require.NoError(t, err)
	channel(t, conn)
	require.NoError(t, channel(t, conn).Tx())
	require.Equal(t, "me", b.Connections()[0].ClientName)
	told(t, 2, "u")
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool { return len(b.Connections()) == 0 }, patience, 1e6)

	mem, err := amqp091.Open(b, warren.VHost("v"), warren.User("u"))
	require.NoError(t, err)
	_, err = mem.Channel()
	require.NoError(t, err)
	ch, err := mem.Channel()
	require.NoError(t, err)
	require.NoError(t, ch.Tx())
	told(t, 2, "u")
	require.NoError(t, mem.Close())

	for _, user := range []string{"u", ""} {
		options := []warren.ChannelOption{warren.VHost("v")}
		if user != "" {
			options = append(options, warren.User(user))
		}
		nat := native(t, b, options...)
		require.NoError(t, nat.TxSelect(t.Context()))
		told(t, 1, user)
		require.NoError(t, nat.Close())
	}
}

func TestTheContentOfAPublishIsRewritten(t *testing.T) {
	t.Parallel()
	withHeader := func(p warren.Properties) warren.Properties {
		p.Headers = append(p.Headers, warren.Field{Name: "seen", Value: 1})
		return p
	}
	for name, c := range map[string]struct {
		do         func(*intercept.Publish) error
		body, want warren.Message
	}{
		"not at all": {
			func(p *intercept.Publish) error { return nil },
			warren.Message{Body: []byte("b"), Properties: warren.Properties{AppID: "a"}},
			warren.Message{Body: []byte("b"), Properties: warren.Properties{AppID: "a"}},
		},
		"properties": {
			func(p *intercept.Publish) error {
				props, err := p.Content.Properties()
				p.Content.SetProperties(withHeader(props))
				return err
			},
			warren.Message{Body: []byte("b"), Properties: warren.Properties{AppID: "a"}},
			warren.Message{Body: []byte("b"), Properties: withHeader(warren.Properties{AppID: "a"})},
		},
		"body": {
			func(p *intercept.Publish) error {
				p.Content.SetBody(append([]byte("longer "), p.Content.Body()...))
				return nil
			},
			warren.Message{Body: []byte("b"), Properties: warren.Properties{AppID: "a"}},
			warren.Message{Body: []byte("longer b"), Properties: warren.Properties{AppID: "a"}},
		},
		"emptied": {
			func(p *intercept.Publish) error {
				p.Content.SetBody(nil)
				p.Content.SetProperties(warren.Properties{})
				return nil
			},
			warren.Message{Body: []byte("b"), Properties: warren.Properties{AppID: "a"}},
			warren.Message{},
		},
		"another": {
			func(p *intercept.Publish) error {
				p.Content = intercept.NewContent(warren.Properties{Type: "t"}, []byte("new"))
				return nil
			},
			warren.Message{Body: []byte("b"), Properties: warren.Properties{AppID: "a"}},
			warren.Message{Body: []byte("new"), Properties: warren.Properties{Type: "t"}},
		},
		"twice": {
			func(p *intercept.Publish) error {
				p.Content.SetProperties(warren.Properties{Type: "t"})
				props, err := p.Content.Properties()
				props.AppID = string(p.Content.Body())
				p.Content.SetProperties(props)
				p.Content.SetBody([]byte("x"))
				p.Content.SetBody(append(p.Content.Body(), 'y'))
				return err
			},
			warren.Message{Body: []byte("b")},
			warren.Message{Body: []byte("xy"), Properties: warren.Properties{Type: "t", AppID: "b"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, ch := intercepting(t, intercept.On(func(_ intercept.Client, p *intercept.Publish) error { return c.do(p) }))
			filled(t, ch, "q")
			require.NoError(t, ch.PublishConfirmed(t.Context(), "", "q", c.body))
			d, ok, err := ch.Get(t.Context(), "q", warren.NoAck())
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, string(c.want.Body), string(d.Body))
			raw, err := d.Properties().Append(nil)
			require.NoError(t, err)
			want, err := c.want.Properties.Append(nil)
			require.NoError(t, err)
			require.Equal(t, want, raw)
		})
	}
}

func TestAPublishThatIsRewrittenIsCheckedAnew(t *testing.T) {
	t.Parallel()
	var kept *intercept.Content
	for name, c := range map[string]struct {
		do         func(*intercept.Publish) error
		want, note string
	}{
		"no such exchange": {
			do:   func(p *intercept.Publish) error { p.Exchange = "nowhere"; return nil },
			want: "NOT_FOUND - no exchange 'nowhere' in vhost '/'",
		},
		"too large": {
			do:   func(p *intercept.Publish) error { p.Content.SetBody(make([]byte, 101)); return nil },
			want: "PRECONDITION_FAILED - message size 101 is larger than configured max size 100",
		},
		"a delivery mode": {
			do: func(p *intercept.Publish) error {
				p.Content.SetProperties(warren.Properties{DeliveryMode: 3})
				return nil
			},
			want: "PRECONDITION_FAILED - invalid message: {delivery_mode_unknown,3}",
		},
		"immediate": {
			do:   func(p *intercept.Publish) error { p.Immediate = true; return nil },
			want: "NOT_IMPLEMENTED - immediate=true",
		},
		"dropped to nowhere": {
			do:   func(p *intercept.Publish) error { p.Exchange, p.Drop = "nowhere", true; return nil },
			want: "NOT_FOUND - no exchange 'nowhere' in vhost '/'",
		},
		"no content": {
			do: func(p *intercept.Publish) error { p.Content = nil; return nil },
			want: "INTERNAL_ERROR - Interceptor: intercept.On[basic.publish] expected to return content iff content is provided" +
				" but content in = content; content out = none",
		},
		"another publish's content": {
			do: func(p *intercept.Publish) error {
				if kept == nil {
					kept = p.Content
					return nil
				}
				p.Content = kept
				return nil
			},
			want: "INTERNAL_ERROR", note: "the content of a publish that is over",
		},
		"unsendable properties": {
			do: func(p *intercept.Publish) error {
				p.Content.SetProperties(warren.Properties{Type: strings.Repeat("x", 256)})
				return nil
			},
			want: "INTERNAL_ERROR", note: "type of 256 octets, the longest is 255",
		},
		"unsendable key": {
			do:   func(p *intercept.Publish) error { p.RoutingKey = strings.Repeat("x", 256); return nil },
			want: "INTERNAL_ERROR", note: "a name of 256 octets",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log journal
			b := newBroker(t, warren.Options{Logger: log.logger(), MaxMessageSize: 100, Interceptors: []intercept.Interceptor{
				intercept.On(func(_ intercept.Client, p *intercept.Publish) error { return c.do(p) }),
			}})
			ch := native(t, b)
			err := ch.Publish(t.Context(), "", "q", text("1"))
			if err == nil {
				err = ch.Publish(t.Context(), "", "q", text("2"))
			}
			require.EqualError(t, err, c.want)
			require.Contains(t, log.String(), c.note)
			require.Equal(t, c.note != "", strings.Contains(log.String(), "interceptor failed"))
		})
	}
}

// A body that was too large to be kept is nothing to look at.
func TestAPublishThatIsTooLargeIsNotIntercepted(t *testing.T) {
	t.Parallel()
	for _, w := range ways {
		if w.name == "native" {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t, warren.Options{MaxMessageSize: 10, Interceptors: []intercept.Interceptor{
				intercept.On(func(_ intercept.Client, p *intercept.Publish) error { return errors.New("seen") }),
			}})
			ask, ended := w.open(t, b)
			require.NoError(t, ask(question{amqp: func(ch amqpChannel) error {
				return ch.Publish("", "q", false, false, amqp.Publishing{Body: make([]byte, 11)})
			}}))
			_, text := ended(false)
			require.Equal(t, "PRECONDITION_FAILED - message size 11 is larger than configured max size 10", text)
		})
	}
}

func TestADroppedPublishCountsAsTaken(t *testing.T) {
	t.Parallel()
	drop := intercept.On(func(_ intercept.Client, p *intercept.Publish) error {
		p.Drop = bytes.HasPrefix(p.Content.Body(), []byte("again"))
		return nil
	})
	ctx := t.Context()
	t.Run("native", func(t *testing.T) {
		t.Parallel()
		_, ch := intercepting(t, drop)
		filled(t, ch, "q")
		require.NoError(t, ch.PublishConfirmed(ctx, "", "q", text("first")))
		require.NoError(t, ch.PublishConfirmed(ctx, "", "q", text("again")))
		require.NoError(t, ch.PublishConfirmed(ctx, "", "nowhere", text("again")))
		require.Equal(t, []string{"first"}, drained(t, ch, "q"))
	})
	t.Run("in a transaction", func(t *testing.T) {
		t.Parallel()
		_, ch := intercepting(t, drop)
		filled(t, ch, "q")
		require.NoError(t, ch.TxSelect(ctx))
		require.NoError(t, ch.Publish(ctx, "", "q", text("again")))
		require.NoError(t, ch.Publish(ctx, "", "q", text("first")))
		require.NoError(t, ch.TxCommit(ctx))
		require.Equal(t, []string{"first"}, drained(t, ch, "q"))
	})
	t.Run("tcp", func(t *testing.T) {
		t.Parallel()
		_, addr := start(t, warren.Options{Interceptors: []intercept.Interceptor{drop}})
		ch := channel(t, dial(t, addr))
		returned := ch.NotifyReturn(make(chan amqp.Return, 9))
		require.NoError(t, ch.Confirm(false))
		declare(t, ch, "q")
		publish(t, ch, "", "q", "first")
		publish(t, ch, "", "q", "again")
		c, err := ch.PublishWithDeferredConfirm("", "nowhere", true, false, amqp.Publishing{Body: []byte("again")})
		require.NoError(t, err)
		acked, err := c.WaitContext(ctx)
		require.NoError(t, err)
		require.True(t, acked)
		require.Empty(t, returned)
		q, err := ch.QueueDeclarePassive("q", false, false, false, false, nil)
		require.NoError(t, err)
		require.Equal(t, 1, q.Messages)
	})
}

func TestAnInterceptorAddsArguments(t *testing.T) {
	t.Parallel()
	b, ch := intercepting(t, intercept.On(func(_ intercept.Client, d *intercept.ExchangeDeclare) error {
		d.Arguments = append(d.Arguments, warren.Field{Name: "limit", Value: 7})
		return nil
	}), intercept.On(func(_ intercept.Client, d *intercept.QueueDeclare) error {
		d.Arguments = append(d.Arguments, warren.Field{Name: "x-queue-type", Value: "classic"})
		return nil
	}))
	ctx := t.Context()
	require.NoError(t, ch.DeclareExchange(ctx, "x", "direct", warren.Arg("mine", true)))
	_, err := ch.DeclareQueue(ctx, "q")
	require.NoError(t, err)
	q, err := b.Queue("/", "q")
	require.NoError(t, err)
	require.Equal(t, warren.Table{{Name: "x-queue-type", Value: "classic"}}, q.Arguments)
	exchanges, err := b.Exchanges("/")
	require.NoError(t, err)
	x := exchanges[len(exchanges)-1]
	require.Equal(t, "x", x.Name)
	// A Go int is what a client's would be.
	require.Equal(t, warren.Table{{Name: "mine", Value: true}, {Name: "limit", Value: int32(7)}}, x.Arguments)
}

// Whatever is claimed, an interceptor sees the queue that an empty name stands for.
func TestAnInterceptorSeesWhatShortcutsMean(t *testing.T) {
	t.Parallel()
	var seen []intercept.Method
	_, ch := intercepting(t, intercept.On(func(_ intercept.Client, m *intercept.QueueBind) error {
		seen = append(seen, m)
		return nil
	}), intercept.On(func(_ intercept.Client, m *intercept.Get) error {
		seen = append(seen, m)
		m.Queue = "" // is not filled in again
		return nil
	}))
	ctx := t.Context()
	filled(t, ch, "q")
	require.NoError(t, ch.BindQueue(ctx, "", "amq.direct", ""))
	_, _, err := ch.Get(ctx, "")
	require.EqualError(t, err, "NOT_FOUND - no queue '' in vhost '/'")
	require.Equal(t, []intercept.Method{
		&intercept.QueueBind{Queue: "q", Exchange: "amq.direct", RoutingKey: "q"}, &intercept.Get{},
	}, seen)
}

func TestAnInterceptorMayUseTheBroker(t *testing.T) {
	t.Parallel()
	var b *warren.Broker
	var audit *warren.Channel
	b, _ = intercepting(t, policy{[]string{"queue.delete"}, func(c intercept.Client, m intercept.Method) (intercept.Method, error) {
		ctx := context.Background()
		q, err := b.Queue(c.VHost, m.(*intercept.QueueDelete).Queue)
		if err != nil {
			return nil, err
		}
		if q.Ready > 0 {
			return nil, &warren.Error{Code: warren.PreconditionFailed, Text: "not empty"}
		}
		return m, audit.PublishConfirmed(ctx, "", "audit", text(c.Name+" deletes "+q.Name))
	}})
	audit = native(t, b)
	filled(t, audit, "audit")
	filled(t, audit, "full", "1")
	filled(t, audit, "empty")
	ch := native(t, b, warren.User("guest"))
	_, err := ch.DeleteQueue(t.Context(), "empty")
	require.NoError(t, err)
	_, err = ch.DeleteQueue(t.Context(), "full")
	require.EqualError(t, err, "PRECONDITION_FAILED - not empty")
	all := drained(t, audit, "audit")
	require.Len(t, all, 1)
	require.Contains(t, all[0], " deletes empty")
}
