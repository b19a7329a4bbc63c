package metamorphic

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/amqp091"
	"github.com/warrenmq/warren/intercept"
)

// way is a way into a broker.
type way struct {
	name string
	// native says that it is only for histories in the narrow dialect.
	native bool
	// dial connects as a user. Address is where the broker listens, if listens is
	// set.
	dial    func(b *testBroker, address, user string) (peer, error)
	listens bool
}

// ways are all there are. The first one sees what was sent to it, and tells the
// others how much they have to wait for.
var ways = []way{
	{name: "TCP", listens: true, dial: func(_ *testBroker, address, user string) (peer, error) {
		return dialClient(user, func(string, string) (net.Conn, error) { return net.Dial("tcp", address) })
	}},
	{name: "Pipe", dial: func(b *testBroker, _, user string) (peer, error) {
		return dialClient(user, b.Dial)
	}},
	{name: "amqp091", dial: func(b *testBroker, _, user string) (peer, error) {
		c, err := amqp091.Open(b.Broker, warren.User(user))
		if err != nil {
			return nil, err
		}
		return newClientPeer(c, func() (clientChannel, error) { return orNil(c.Channel()) }), nil
	}},
	{name: "Memory", native: true, dial: func(b *testBroker, _, user string) (peer, error) {
		return &nativePeer{broker: b, user: user, log: newEventLog()}, nil
	}},
}

// peer is one connection. Its methods are called by one goroutine.
type peer interface {
	// open opens a channel, of which the events are those of a slot.
	open(slot int) (session, error)
	// close ends the connection.
	close() error
	// roundTrip returns when all that was sent before has been carried out, and
	// what was to be said of it has been received. It does nothing where every
	// call does so.
	roundTrip()
	// sent is how many events the broker has sent; ok is false where nobody knows.
	sent() (n int, ok bool)
	// end is why the connection has ended, nil while it is open.
	end() error
	// connections is what the broker counts.
	connections() int
	// events are what has been received.
	events() *eventLog
}

// declarer has the client's methods for queues and exchanges, settler those for
// deliveries and transactions.
type (
	declarer interface {
		QueueDeclare(name string, durable, autoDelete, exclusive, noWait bool, args amqp.Table) (amqp.Queue, error)
		QueueDeclarePassive(name string, durable, autoDelete, exclusive, noWait bool, args amqp.Table) (amqp.Queue, error)
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
	settler interface {
		Get(queue string, autoAck bool) (msg amqp.Delivery, ok bool, err error)
		Ack(tag uint64, multiple bool) error
		Nack(tag uint64, multiple, requeue bool) error
		Reject(tag uint64, requeue bool) error
		Recover(requeue bool) error
		Qos(prefetchCount, prefetchSize int, global bool) error
		Tx() error
		TxCommit() error
		TxRollback() error
		Close() error
	}
)

// session is one channel.
type session interface {
	declarer
	settler
	// publish publishes, and in confirm mode waits for the outcome, which is empty
	// without it.
	publish(p publish) (outcome string, err error)
	confirm() error
	consume(c consume) error
	// cancel takes a consumer away. With requeue, what it was given and did not
	// settle returns to its queue, for which requeue is called where it does not do
	// so anyway.
	cancel(tag string, requeue func() error) error
	// end is why the channel has ended, nil while it is open.
	end() error
}

type publish struct {
	exchange, key        string
	mandatory, immediate bool
	msg                  amqp.Publishing
}

type consume struct {
	queue, tag         string
	autoAck, exclusive bool
	args               amqp.Table
}

// event is something that comes by itself.
type event struct {
	slot int
	// stream is what comes in order: a kind of event, or one consumer's deliveries.
	stream string
	// tag is a delivery's.
	tag  uint64
	text string
}

// The streams that are not a consumer's deliveries, and the name of consumers
// without one.
const (
	returned  = "returned"
	cancelled = "cancelled"
	nameless  = "nameless"
)

// eventLog is what has come.
type eventLog struct {
	mu    sync.Mutex
	all   []event
	total int
	more  chan struct{} // has one place
}

func newEventLog() *eventLog { return &eventLog{more: make(chan struct{}, 1)} }

func (l *eventLog) add(e event) {
	l.mu.Lock()
	l.all = append(l.all, e)
	l.total++
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default: // who waits will look anyway
	}
}

// await waits until so many events have come in all. It reports false if they do
// not come.
func (l *eventLog) await(total int, patience time.Duration) bool {
	late := time.After(patience)
	for {
		l.mu.Lock()
		enough := l.total >= total
		l.mu.Unlock()
		if enough {
			return true
		}
		select {
		case <-l.more:
		case <-late:
			return false
		}
	}
}

// take gives the events since the last call.
func (l *eventLog) take() []event {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.all
	l.all = nil
	return all
}

// added is how many events have come in all.
func (l *eventLog) added() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// The users of a history. The second one may do less.
const (
	guest   = "guest"
	limited = "limited"
)

// testBroker is a broker that tells how often it was asked for a consumer.
type testBroker struct {
	*warren.Broker
	consumes atomic.Int64
}

// newBroker makes a broker for one player, and gives where it listens.
func newBroker(t testing.TB, listens bool) (b *testBroker, address string, end func()) {
	t.Helper()
	b = new(testBroker)
	// Frames are small, so that bodies need several. Nothing depends on when a
	// socket was written to.
	var err error
	b.Broker, err = warren.New(warren.Options{FrameMax: minFrame, MaxUnsent: 16 << 20, Interceptors: []intercept.Interceptor{
		intercept.On(func(intercept.Client, *intercept.Consume) error {
			b.consumes.Add(1)
			return nil
		}),
	}})
	require.NoError(t, err)
	require.NoError(t, b.Auth().AddUser(limited, limited))
	require.NoError(t, b.Auth().SetPermissions(warren.Permission{
		User: limited, VHost: vhost,
		Configure: `^(q[012]|e[0123]|amq\.gen.*)$`, Write: `^(q[01]|e[0124]|amq\.(gen.*|default|topic))$`, Read: `^(q[02]|e[023]|amq\.gen.*)$`,
	}))
	require.NoError(t, b.Auth().SetTopicPermissions(warren.TopicPermission{
		User: limited, VHost: vhost, Exchange: "e1", Write: "^a", Read: "^a",
	}))
	if !listens {
		return b, "", func() { require.NoError(t, b.Close()) }
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- b.Serve(l) }()
	return b, l.Addr().String(), func() {
		require.NoError(t, b.Close())
		require.ErrorIs(t, <-served, warren.ErrClosed)
	}
}

const (
	vhost    = "/"
	minFrame = 4096
)

// refusal gives a broker's code and text.
func refusal(code int, text string) error { return fmt.Errorf("%d %s", code, text) }
