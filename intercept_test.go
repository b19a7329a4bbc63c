package warren_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/intercept"
	"github.com/warrenmq/warren/reply"
)

// asked has a question for each method. What it shows is that rewritten took place.
var asked = map[string]question{
	"basic.publish": {
		func(ch amqpChannel) error {
			return ch.Publish("", "a", false, false, amqp.Publishing{Body: []byte("new")})
		},
		func(ctx context.Context, ch *warren.Channel) error { return ch.Publish(ctx, "", "a", text("new")) },
		"queue b: 4 ready",
	},
	"basic.consume": {
		func(ch amqpChannel) error {
			_, err := ch.Consume("a", "", false, false, false, false, nil)
			return err
		},
		func(ctx context.Context, ch *warren.Channel) error { return pulled(ctx, ch, "a") },
		"queue b: 0 ready, 3 unacked, 1 consumers",
	},
	"basic.get": {
		func(ch amqpChannel) error { _, _, err := ch.Get("a", false); return err },
		func(ctx context.Context, ch *warren.Channel) error { _, _, err := ch.Get(ctx, "a"); return err },
		"queue b: 2 ready, 1 unacked",
	},
	"basic.ack": {
		func(ch amqpChannel) error { return after(take(ch), func() error { return ch.Ack(1, false) }) },
		func(ctx context.Context, ch *warren.Channel) error {
			d, err := takeNative(ctx, ch)
			return after(err, d.Ack)
		},
		"queue a: 0 ready, 0 unacked",
	},
	"basic.nack": {
		func(ch amqpChannel) error { return after(take(ch), func() error { return ch.Nack(1, false, true) }) },
		func(ctx context.Context, ch *warren.Channel) error {
			d, err := takeNative(ctx, ch)
			return after(err, func() error { return d.Nack(true) })
		},
		"queue a: 0 ready, 1 unacked",
	},
	"basic.reject": {
		func(ch amqpChannel) error { return after(take(ch), func() error { return ch.Reject(1, true) }) },
		func(ctx context.Context, ch *warren.Channel) error {
			d, err := takeNative(ctx, ch)
			return after(err, func() error { return d.Reject(true) })
		},
		"queue a: 0 ready, 1 unacked",
	},
	"basic.recover": {
		func(ch amqpChannel) error { return after(take(ch), func() error { return ch.Recover(false) }) },
		func(ctx context.Context, ch *warren.Channel) error {
			_, err := takeNative(ctx, ch)
			return after(err, func() error { return ch.Recover(ctx) })
		},
		"queue a: 2 ready, 0 unacked",
	},
	"basic.qos": {
		func(ch amqpChannel) error { return ch.Qos(1, 0, false) },
		func(ctx context.Context, ch *warren.Channel) error { return ch.Qos(ctx, 1, false) },
		"prefetch 7",
	},
	"queue.declare": {
		func(ch amqpChannel) error {
			_, err := ch.QueueDeclare("c", false, false, false, false, nil)
			return err
		},
		func(ctx context.Context, ch *warren.Channel) error { _, err := ch.DeclareQueue(ctx, "c"); return err },
		"queue renamed:",
	},
	"queue.bind": {
		func(ch amqpChannel) error { return ch.QueueBind("a", "new", "x", false, nil) },
		func(ctx context.Context, ch *warren.Channel) error { return ch.BindQueue(ctx, "a", "x", "new") },
		"y to b by renamed",
	},
	"queue.unbind": {
		func(ch amqpChannel) error { return ch.QueueUnbind("a", "k", "x", nil) },
		func(ctx context.Context, ch *warren.Channel) error { return ch.UnbindQueue(ctx, "a", "x", "k") },
		"x to a by k\nx to y by k\ny to x by k\n",
	},
	"queue.purge": {
		func(ch amqpChannel) error { _, err := ch.QueuePurge("a", false); return err },
		func(ctx context.Context, ch *warren.Channel) error { _, err := ch.PurgeQueue(ctx, "a"); return err },
		"queue b: 0 ready",
	},
	"queue.delete": {
		func(ch amqpChannel) error { _, err := ch.QueueDelete("a", false, false, false); return err },
		func(ctx context.Context, ch *warren.Channel) error { _, err := ch.DeleteQueue(ctx, "a"); return err },
		"queue a: 2 ready, 0 unacked, 0 consumers\nexchange",
	},
	"exchange.declare": {
		func(ch amqpChannel) error {
			return ch.ExchangeDeclare("z", "direct", false, false, false, false, nil)
		},
		func(ctx context.Context, ch *warren.Channel) error { return ch.DeclareExchange(ctx, "z", "direct") },
		"exchange renamed",
	},
	"exchange.delete": {
		func(ch amqpChannel) error { return ch.ExchangeDelete("x", false, false) },
		func(ctx context.Context, ch *warren.Channel) error { return ch.DeleteExchange(ctx, "x") },
		"exchange x\nx to a",
	},
	"exchange.bind": {
		func(ch amqpChannel) error { return ch.ExchangeBind("y", "new", "x", false, nil) },
		func(ctx context.Context, ch *warren.Channel) error { return ch.BindExchange(ctx, "y", "x", "new") },
		"y to x by renamed",
	},
	"exchange.unbind": {
		func(ch amqpChannel) error { return ch.ExchangeUnbind("y", "k", "x", false, nil) },
		func(ctx context.Context, ch *warren.Channel) error { return ch.UnbindExchange(ctx, "y", "x", "k") },
		"x to a by k\nx to y by k\ny to b by k\nchannel",
	},
	"confirm.select": {
		func(ch amqpChannel) error { return ch.Confirm(false) },
		nil, // a native channel has no such mode
		"confirm true",
	},
	"tx.select": {
		amqpChannel.Tx,
		func(ctx context.Context, ch *warren.Channel) error { return ch.TxSelect(ctx) },
		"tx true",
	},
	"tx.commit": {
		func(ch amqpChannel) error {
			return after(ch.Tx(), func() error {
				return after(ch.Publish("", "a", false, false, amqp.Publishing{}), ch.TxCommit)
			})
		},
		func(ctx context.Context, ch *warren.Channel) error {
			return after(ch.TxSelect(ctx), func() error {
				return after(ch.Publish(ctx, "", "a", text("")), func() error { return ch.TxCommit(ctx) })
			})
		},
		"queue a: 3 ready",
	},
	"tx.rollback": {
		func(ch amqpChannel) error {
			return after(ch.Tx(), func() error {
				return after(ch.Publish("", "a", false, false, amqp.Publishing{}), ch.TxRollback)
			})
		},
		func(ctx context.Context, ch *warren.Channel) error {
			return after(ch.TxSelect(ctx), func() error {
				return after(ch.Publish(ctx, "", "a", text("")), func() error { return ch.TxRollback(ctx) })
			})
		},
		"queue a: 2 ready",
	},
}

// rewritten changes a method so that it does something else.
func rewritten(m intercept.Method) intercept.Method {
	switch m := m.(type) {
	case *intercept.Publish:
		m.RoutingKey = "b"
	case *intercept.Consume:
		return &intercept.Consume{Queue: "b", Tag: "renamed"}
	case *intercept.Get:
		m.Queue = "b"
	case *intercept.Ack:
		m.DeliveryTag, m.Multiple = 2, true
	case *intercept.Nack:
		m.Requeue = false
	case *intercept.Reject:
		m.Requeue = false
	case *intercept.Recover:
		m.Requeue = true
	case *intercept.Qos:
		m.PrefetchCount = 7
	case *intercept.QueueDeclare:
		m.Queue = "renamed"
	case *intercept.QueueBind:
		return &intercept.QueueBind{Queue: "b", Exchange: "y", RoutingKey: "renamed"}
	case *intercept.QueueUnbind:
		m.Queue, m.Exchange = "b", "y"
	case *intercept.QueuePurge:
		m.Queue = "b"
	case *intercept.QueueDelete:
		m.Queue = "b"
	case *intercept.ExchangeDeclare:
		m.Exchange = "renamed"
	case *intercept.ExchangeDelete:
		m.Exchange = "y"
	case *intercept.ExchangeBind:
		return &intercept.ExchangeBind{Destination: "x", Source: "y", RoutingKey: "renamed"}
	case *intercept.ExchangeUnbind:
		m.Destination, m.Source = "x", "y"
	}
	return m
}

func TestThereIsAQuestionForEachMethod(t *testing.T) {
	t.Parallel()
	require.Equal(t, intercept.Names(), slices.Sorted(maps.Keys(asked)))
}

// eachWay runs a test for each method and way into the broker.
func eachWay(t *testing.T, f func(t *testing.T, method string, q question, w way)) {
	for method, q := range asked {
		for _, w := range ways {
			if w.name == "native" && q.native == nil {
				continue
			}
			t.Run(method+" by "+w.name, func(t *testing.T) {
				t.Parallel()
				f(t, method, q, w)
			})
		}
	}
}

func TestAMethodIsRewritten(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, method string, q question, w way) {
		b := newBroker(t, warren.Options{Interceptors: []intercept.Interceptor{policy{[]string{method},
			func(_ intercept.Client, m intercept.Method) (intercept.Method, error) { return rewritten(m), nil }}}})
		prepare(t, b)
		ask, _ := w.open(t, b)
		require.NoError(t, ask(q))
		require.Eventually(t, func() bool { return strings.Contains(seen(t, b), q.shows) }, patience, time.Millisecond,
			"%s", q.shows)
	})
}

func TestAMethodIsRefused(t *testing.T) {
	t.Parallel()
	other := func(m intercept.Method) intercept.Method {
		if _, ok := m.(*intercept.Get); ok {
			return &intercept.Qos{}
		}
		return &intercept.Get{}
	}
	for name, c := range map[string]struct {
		do   func(intercept.Method) (intercept.Method, error)
		code int
		text string // %s is the method, then what came back
		log  string
	}{
		"soft": {
			do: func(m intercept.Method) (intercept.Method, error) {
				return m, reply.Errorf(reply.AccessRefused, "not today")
			},
			code: 403, text: "ACCESS_REFUSED - not today",
		},
		"hard, and wrapped": {
			do: func(m intercept.Method) (intercept.Method, error) {
				return nil, fmt.Errorf("policy: %w", reply.Errorf(reply.NotAllowed, "not at all"))
			},
			code: 530, text: "NOT_ALLOWED - not at all",
		},
		"another error": {
			do:   func(m intercept.Method) (intercept.Method, error) { return m, errors.New("no database") },
			code: 541, text: "INTERNAL_ERROR", log: `error="no database"`,
		},
		"an error without a code": {
			do:   func(m intercept.Method) (intercept.Method, error) { return m, &warren.Error{Text: "hm"} },
			code: 541, text: "INTERNAL_ERROR", log: "hm",
		},
		"another type": {
			do:   func(m intercept.Method) (intercept.Method, error) { return other(m), nil },
			code: 541, text: "INTERNAL_ERROR - Interceptor: warren_test.policy expected to return method: '%s' but returned: '%s'",
		},
		"nothing": {
			do:   func(m intercept.Method) (intercept.Method, error) { return nil, nil },
			code: 541, text: "INTERNAL_ERROR - Interceptor: warren_test.policy expected to return method: '%s' but returned: undefined",
		},
		"panic": {
			do:   func(m intercept.Method) (intercept.Method, error) { panic("oops") },
			code: 541, text: "INTERNAL_ERROR", log: "panic=oops",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachWay(t, func(t *testing.T, method string, q question, w way) {
				var log journal
				b := newBroker(t, warren.Options{Logger: log.logger(), Interceptors: []intercept.Interceptor{policy{
					[]string{method},
					func(_ intercept.Client, m intercept.Method) (intercept.Method, error) { return c.do(m) },
				}}})
				prepare(t, b)
				ask, ended := w.open(t, b)
				_ = ask(q) // some methods have no answer
				code, text := ended(reply.Code(c.code).Hard())
				require.Equal(t, c.code, code)
				want := c.text
				switch strings.Count(want, "%s") {
				case 1:
					want = fmt.Sprintf(want, method)
				case 2:
					back := "basic.get"
					if method == back {
						back = "basic.qos"
					}
					want = fmt.Sprintf(want, method, back)
				}
				require.Equal(t, want, text)
				if c.log != "" {
					require.Contains(t, log.String(), c.log)
					require.Contains(t, log.String(), "interceptor=warren_test.policy method="+method)
				} else {
					require.NotContains(t, log.String(), "interceptor failed")
				}
				// The broker goes on.
				_, err := native(t, b).DeclareQueue(t.Context(), "still here")
				require.NoError(t, err)
			})
		})
	}
}
