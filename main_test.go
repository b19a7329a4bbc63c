package warren_test

import (
	"context"
	"net"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/warrenmq/warren"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// newBroker gives a broker that is closed at the end of the test.
func newBroker(t testing.TB, o warren.Options) *warren.Broker {
	t.Helper()
	b, err := warren.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// listen gives a listener on a free port of this machine.
func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// serve serves a listener until the broker ends, and gives its address.
func serve(t testing.TB, b *warren.Broker, l net.Listener) string {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- b.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, b.Close())
		require.ErrorIs(t, await(t, served), warren.ErrClosed)
	})
	return l.Addr().String()
}

// start gives a broker and the address it serves.
func start(t testing.TB, o warren.Options) (*warren.Broker, string) {
	t.Helper()
	b := newBroker(t, o)
	return b, serve(t, b, listen(t))
}

// await receives from c.
func await[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
	}
	return v
}

// account is as whom and where a test connects.
type account struct{ user, password, vhost string }

var guest = account{"guest", "guest", "/"}

// dialAs connects with the official client.
func dialAs(addr string, a account) (*amqp.Connection, error) {
	return amqp.DialConfig("amqp://"+addr, amqp.Config{
		SASL:  []amqp.Authentication{&amqp.PlainAuth{Username: a.user, Password: a.password}},
		Vhost: a.vhost,
	})
}

// dial connects as guest until the end of the test.
func dial(t testing.TB, addr string) *amqp.Connection {
	t.Helper()
	return mustDial(t, addr, guest)
}

func mustDial(t testing.TB, addr string, a account) *amqp.Connection {
	t.Helper()
	conn, err := dialAs(addr, a)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // the broker may have closed it
	return conn
}

// channel opens a channel.
func channel(t testing.TB, conn *amqp.Connection) *amqp.Channel {
	t.Helper()
	ch, err := conn.Channel()
	require.NoError(t, err)
	return ch
}

// declare declares a queue that is neither durable nor exclusive, without a name of
// its own if name is empty, and gives its name.
func declare(t testing.TB, ch *amqp.Channel, name string) string {
	t.Helper()
	q, err := ch.QueueDeclare(name, false, false, false, false, nil)
	require.NoError(t, err)
	return q.Name
}

// publish publishes and waits for the confirm of a channel in confirm mode.
func publish(t testing.TB, ch *amqp.Channel, exchange, key, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := ch.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false, amqp.Publishing{Body: []byte(body)})
	require.NoError(t, err)
	if c != nil {
		acked, err := c.WaitContext(ctx)
		require.NoError(t, err)
		require.True(t, acked)
	}
}

// requireCode checks that the broker refused with that code and reply text.
func requireCode(t testing.TB, err error, code int, text string) {
	t.Helper()
	var e *amqp.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, text, e.Reason)
	require.Equal(t, code, e.Code)
}

// closed gives why the broker closed a connection.
func closed(conn *amqp.Connection) <-chan *amqp.Error {
	return conn.NotifyClose(make(chan *amqp.Error, 1))
}
