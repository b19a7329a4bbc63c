package amqp091_test

import (
	"context"
	"crypto/tls"
	"net"
	"reflect"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/amqp091"
)

// The interfaces that programs put before the client, from small to all.
type (
	publisher interface {
		Publish(exchange, key string, mandatory, immediate bool, msg amqp.Publishing) error
		PublishWithContext(ctx context.Context, exchange, key string, mandatory, immediate bool, msg amqp.Publishing) error
		PublishWithDeferredConfirm(exchange, key string, mandatory, immediate bool, msg amqp.Publishing) (*amqp.DeferredConfirmation, error)
		PublishWithDeferredConfirmWithContext(ctx context.Context, exchange, key string, mandatory, immediate bool, msg amqp.Publishing) (*amqp.DeferredConfirmation, error)
		Confirm(noWait bool) error
		GetNextPublishSeqNo() uint64
		NotifyConfirm(ack, nack chan uint64) (chan uint64, chan uint64)
		NotifyPublish(confirm chan amqp.Confirmation) chan amqp.Confirmation
		NotifyReturn(c chan amqp.Return) chan amqp.Return
	}
	consumer interface {
		amqp.Acknowledger
		Consume(queue, consumer string, autoAck, exclusive, noLocal, noWait bool, args amqp.Table) (<-chan amqp.Delivery, error)
		ConsumeWithContext(ctx context.Context, queue, consumer string, autoAck, exclusive, noLocal, noWait bool, args amqp.Table) (<-chan amqp.Delivery, error)
		Cancel(consumer string, noWait bool) error
		Get(queue string, autoAck bool) (msg amqp.Delivery, ok bool, err error)
		Qos(prefetchCount, prefetchSize int, global bool) error
		Recover(requeue bool) error
		NotifyCancel(c chan string) chan string
	}
	declarer interface {
		QueueDeclare(name string, durable, autoDelete, exclusive, noWait bool, args amqp.Table) (amqp.Queue, error)
		QueueDeclarePassive(name string, durable, autoDelete, exclusive, noWait bool, args amqp.Table) (amqp.Queue, error)
		QueueInspect(name string) (amqp.Queue, error)
		QueueBind(name, key, exchange string, noWait bool, args amqp.Table) error
		QueueUnbind(name, key, exchange string, args amqp.Table) error
		QueuePurge(name string, noWait bool) (int, error)
		QueueDelete(name string, ifUnused, ifEmpty, noWait bool) (int, error)
		ExchangeDeclare(name, kind string, durable, autoDelete, internal, noWait bool, args amqp.Table) error
		ExchangeDeclarePassive(name, kind string, durable, autoDelete, internal, noWait bool, args amqp.Table) error
		ExchangeDelete(name string, ifUnused, noWait bool) error
		ExchangeBind(destination, key, source string, noWait bool, args amqp.Table) error
		ExchangeUnbind(destination, key, source string, noWait bool, args amqp.Table) error
	}
	transactor interface {
		Tx() error
		TxCommit() error
		TxRollback() error
	}
	// ender is what channels and connections have in common.
	ender interface {
		Close() error
		IsClosed() bool
		Reconnect() error
		NotifyClose(c chan *amqp.Error) chan *amqp.Error
		NotifyStateChange(c chan *amqp.StateChanged)
		NotifyRecoveryCancel(receiver chan struct{}) chan struct{}
	}
	channel interface {
		publisher
		consumer
		declarer
		transactor
		ender
		Flow(active bool) error
		NotifyFlow(c chan bool) chan bool
		TopologyConfiguration(global bool) amqp.TopologyConfiguration
	}
	// connection leaves out Channel, of which the result differs.
	connection interface {
		ender
		CloseDeadline(deadline time.Time) error
		NotifyBlocked(receiver chan amqp.Blocking) chan amqp.Blocking
		UpdateSecret(newSecret, reason string) error
		LocalAddr() net.Addr
		RemoteAddr() net.Addr
		ConnectionState() tls.ConnectionState
		IsRecoveryEnabled() bool
		IsConnectionRecoveryEnabled() bool
		IsTopologyRecoveryEnabled() bool
		MaxRetryCount() int
		RetryInterval() time.Duration
	}
)

var (
	_ channel           = (*amqp.Channel)(nil)
	_ channel           = (*amqp091.Channel)(nil)
	_ connection        = (*amqp.Connection)(nil)
	_ connection        = (*amqp091.Connection)(nil)
	_ amqp.Acknowledger = (*amqp091.Channel)(nil)
)

// differs are the methods of which the signature cannot be the client's.
var differs = map[string]string{
	"Connection.Channel": "gives this package's *Channel",
}

func TestMethodsAndFieldsAreTheClients(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ theirs, ours, complete reflect.Type }{
		{reflect.TypeFor[*amqp.Channel](), reflect.TypeFor[*amqp091.Channel](), reflect.TypeFor[channel]()},
		{reflect.TypeFor[*amqp.Connection](), reflect.TypeFor[*amqp091.Connection](), reflect.TypeFor[connection]()},
	} {
		t.Run(tc.theirs.Elem().Name(), func(t *testing.T) {
			t.Parallel()
			require.Equal(t, signatures(tc.theirs), signatures(tc.ours))
			for name := range signatures(tc.theirs) {
				_, listed := tc.complete.MethodByName(name)
				_, known := differs[tc.theirs.Elem().Name()+"."+name]
				require.True(t, listed != known, name)
			}
			require.Equal(t, fields(tc.theirs.Elem()), fields(tc.ours.Elem()))
		})
	}
}

// signatures gives the type of each method, without its receiver, by name. That
// of one that differs is why it does.
func signatures(t reflect.Type) map[string]any {
	all := map[string]any{}
	for i := range t.NumMethod() {
		m := t.Method(i)
		if why, ok := differs[t.Elem().Name()+"."+m.Name]; ok {
			all[m.Name] = why
			continue
		}
		var in, out []reflect.Type
		for i := 1; i < m.Type.NumIn(); i++ {
			in = append(in, m.Type.In(i))
		}
		for i := range m.Type.NumOut() {
			out = append(out, m.Type.Out(i))
		}
		all[m.Name] = reflect.FuncOf(in, out, m.Type.IsVariadic())
	}
	return all
}

func fields(t reflect.Type) map[string]reflect.Type {
	all := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		if f.IsExported() {
			all[f.Name] = f.Type
		}
	}
	return all
}
