package warren_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/amqp091"
	"github.com/warrenmq/warren/intercept"
)

// policy is an interceptor of some methods of the user guest; a test prepares its
// broker with channels of nobody's.
type policy struct {
	methods []string
	do      func(intercept.Client, intercept.Method) (intercept.Method, error)
}

func (p policy) Methods() []string { return p.methods }

func (p policy) Intercept(c intercept.Client, m intercept.Method) (intercept.Method, error) {
	if c.User != "guest" {
		return m, nil
	}
	return p.do(c, m)
}

// amqpChannel is what the official client's channels and those of package amqp091
// have in common.
type amqpChannel interface {
	amqp.Acknowledger
	Publish(exchange, key string, mandatory, immediate bool, msg amqp.Publishing) error
	Consume(queue, consumer string, autoAck, exclusive, noLocal, noWait bool, args amqp.Table) (<-chan amqp.Delivery, error)
	Get(queue string, autoAck bool) (msg amqp.Delivery, ok bool, err error)
	Qos(prefetchCount, prefetchSize int, global bool) error
	Recover(requeue bool) error
	QueueDeclare(name string, durable, autoDelete, exclusive, noWait bool, args amqp.Table) (amqp.Queue, error)
	QueueBind(name, key, exchange string, noWait bool, args amqp.Table) error
	QueueUnbind(name, key, exchange string, args amqp.Table) error
	QueuePurge(name string, noWait bool) (int, error)
	QueueDelete(name string, ifUnused, ifEmpty, noWait bool) (int, error)
	ExchangeDeclare(name, kind string, durable, autoDelete, internal, noWait bool, args amqp.Table) error
	ExchangeDelete(name string, ifUnused, noWait bool) error
	ExchangeBind(destination, key, source string, noWait bool, args amqp.Table) error
	ExchangeUnbind(destination, key, source string, noWait bool, args amqp.Table) error
	Confirm(noWait bool) error
	Tx() error
	TxCommit() error
	TxRollback() error
	NotifyClose(c chan *amqp.Error) chan *amqp.Error
}

type amqpConnection interface {
	Close() error
	NotifyClose(c chan *amqp.Error) chan *amqp.Error
}

// way is a way into a broker, as the user guest. Its open gives what asks for one
// of the methods in asked, and what waits for the refusal that ended the channel or,
// with hard, the connection.
type way struct {
	name string
	open func(t testing.TB, b *warren.Broker) (ask func(question) error, ended func(hard bool) (code int, text string))
}

var ways = []way{
	{"tcp", func(t testing.TB, b *warren.Broker) (func(question) error, func(bool) (int, string)) {
		conn := dial(t, serve(t, b, listen(t)))
		return overAMQP(t, conn, channel(t, conn))
	}},
	{"pipe", func(t testing.TB, b *warren.Broker) (func(question) error, func(bool) (int, string)) {
		conn, err := amqp.DialConfig("amqp://", amqp.Config{Dial: b.Dial})
		require.NoError(t, err)
		return overAMQP(t, conn, channel(t, conn))
	}},
	{"amqp091", func(t testing.TB, b *warren.Broker) (func(question) error, func(bool) (int, string)) {
		conn, err := amqp091.Open(b, warren.User("guest"))
		require.NoError(t, err)
		ch, err := conn.Channel()
		require.NoError(t, err)
		return overAMQP(t, conn, ch)
	}},
	{"native", func(t testing.TB, b *warren.Broker) (func(question) error, func(bool) (int, string)) {
		ch := native(t, b, warren.User("guest"))
		return func(q question) error { return q.native(t.Context(), ch) }, func(bool) (int, string) {
			await(t, ch.Done())
			var e *warren.Error
			require.ErrorAs(t, ch.Err(), &e)
			return int(e.Code), e.Error()
		}
	}},
}

func overAMQP(t testing.TB, conn amqpConnection, ch amqpChannel) (func(question) error, func(bool) (int, string)) {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() }) // the broker may have closed it
	connClosed := conn.NotifyClose(make(chan *amqp.Error, 1))
	chClosed := ch.NotifyClose(make(chan *amqp.Error, 1))
	return func(q question) error { return q.amqp(ch) }, func(hard bool) (int, string) {
		e := await(t, chClosed)
		if hard {
			e = await(t, connClosed)
		} else {
			require.Empty(t, connClosed)
		}
		require.NotNil(t, e)
		return e.Code, e.Reason
	}
}

// question is one method as the faces ask for it, and what of the broker shows that
// it was carried out as rewritten.
type question struct {
	amqp   func(amqpChannel) error
	native func(context.Context, *warren.Channel) error
	shows  string
}

// take takes both messages of a queue, and leaves them unsettled.
func take(ch amqpChannel) error {
	for range 2 {
		if _, ok, err := ch.Get("a", false); err != nil || !ok {
			return fmt.Errorf("get: %v, %w", ok, err)
		}
	}
	return nil
}

func takeNative(ctx context.Context, ch *warren.Channel) (first warren.Delivery, err error) {
	for i := range 2 {
		d, ok, err := ch.Get(ctx, "a")
		if err != nil || !ok {
			return d, fmt.Errorf("get: %v, %w", ok, err)
		}
		if i == 0 {
			first = d
		}
	}
	return first, nil
}

// after is b, if a has no error.
func after(a error, b func() error) error {
	if a != nil {
		return a
	}
	return b()
}

// prepare makes what the questions are about.
func prepare(t testing.TB, b *warren.Broker) {
	t.Helper()
	ctx, ch := t.Context(), native(t, b)
	filled(t, ch, "a", "1", "2")
	filled(t, ch, "b", "1", "2", "3")
	for _, x := range []string{"x", "y"} {
		require.NoError(t, ch.DeclareExchange(ctx, x, "direct"))
	}
	require.NoError(t, ch.BindQueue(ctx, "a", "x", "k"))
	require.NoError(t, ch.BindQueue(ctx, "b", "y", "k"))
	require.NoError(t, ch.BindExchange(ctx, "x", "y", "k"))
	require.NoError(t, ch.BindExchange(ctx, "y", "x", "k"))
	require.NoError(t, ch.Close())
}

// seen writes down what can be seen of a broker.
func seen(t testing.TB, b *warren.Broker) string {
	var s strings.Builder
	queues, err := b.Queues("/")
	require.NoError(t, err)
	for _, q := range queues {
		fmt.Fprintf(&s, "queue %s: %d ready, %d unacked, %d consumers\n", q.Name, q.Ready, q.Unacked, q.Consumers)
	}
	exchanges, err := b.Exchanges("/")
	require.NoError(t, err)
	for _, x := range exchanges {
		fmt.Fprintf(&s, "exchange %s\n", x.Name)
	}
	bindings, err := b.Bindings("/")
	require.NoError(t, err)
	for _, x := range bindings {
		fmt.Fprintf(&s, "%s to %s by %s\n", x.Source, x.Destination, x.RoutingKey)
	}
	for _, c := range b.Connections() {
		for _, ch := range c.Channels {
			fmt.Fprintf(&s, "channel: prefetch %d, confirm %v, tx %v\n", ch.Prefetch, ch.Confirm, ch.Transactional)
		}
	}
	return s.String()
}

// pulled begins to consume natively.
func pulled(ctx context.Context, ch *warren.Channel, queue string) error {
	next, stop := iter.Pull2(ch.Consume(ctx, queue))
	_, err, _ := next()
	if err != nil {
		stop()
		return err
	}
	context.AfterFunc(ctx, stop)
	return nil
}
