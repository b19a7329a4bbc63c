package amqp091_test

import (
	"context"
	"errors"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/amqp091"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

func newBroker(t testing.TB) *warren.Broker {
	t.Helper()
	b, err := warren.New(warren.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// world is a broker and how a test reaches it.
type world struct {
	testing.TB
	broker *warren.Broker
	dial   func() (conn connection, open func() (channel, error), err error)
	connection
	open func() (channel, error)
}

// faces are the two ways to reach a broker that have to be alike.
var faces = []struct {
	name string
	dial func(b *warren.Broker) (connection, func() (channel, error), error)
}{
	{"client over a pipe", func(b *warren.Broker) (connection, func() (channel, error), error) {
		c, err := amqp.DialConfig("amqp://", amqp.Config{Dial: b.Dial})
		if err != nil {
			return nil, nil, err
		}
		return c, func() (channel, error) { return orNil(c.Channel()) }, nil
	}},
	{"memory", func(b *warren.Broker) (connection, func() (channel, error), error) {
		c, err := amqp091.Open(b, warren.User("guest"))
		if err != nil {
			return nil, nil, err
		}
		return c, func() (channel, error) { return orNil(c.Channel()) }, nil
	}},
}

// orNil keeps a nil pointer from becoming an interface that is not nil.
func orNil[C interface {
	comparable
	channel
}](c C, err error) (channel, error) {
	var none C
	if c == none {
		return nil, err
	}
	return c, err
}

// both runs a test with each face and a broker of its own.
func both(t *testing.T, f func(w *world)) {
	t.Helper()
	t.Parallel()
	for _, face := range faces {
		t.Run(face.name, func(t *testing.T) {
			t.Parallel()
			f(newWorld(t, face.dial))
		})
	}
}

func newWorld(t testing.TB, dial func(*warren.Broker) (connection, func() (channel, error), error)) *world {
	t.Helper()
	w := &world{TB: t, broker: newBroker(t)}
	w.dial = func() (connection, func() (channel, error), error) { return dial(w.broker) }
	w.connection, w.open = w.connect()
	return w
}

// connect gives another connection, until the end of the test.
func (w *world) connect() (connection, func() (channel, error)) {
	w.Helper()
	c, open, err := w.dial()
	require.NoError(w, err)
	w.Cleanup(func() {
		if err := c.Close(); err != nil {
			require.ErrorIs(w, err, amqp.ErrClosed) // the test closed it
		}
	})
	return c, open
}

func (w *world) channel() channel {
	w.Helper()
	ch, err := w.open()
	require.NoError(w, err)
	return ch
}

// queue declares a queue.
func (w *world) queue(ch channel, name string) string {
	w.Helper()
	q, err := ch.QueueDeclare(name, false, false, false, false, nil)
	require.NoError(w, err)
	return q.Name
}

// put publishes through the default exchange, and waits until the queue has it.
func (w *world) put(queue string, bodies ...string) {
	w.Helper()
	ch := w.channel()
	require.NoError(w, ch.Confirm(false))
	for _, body := range bodies {
		d, err := ch.PublishWithDeferredConfirm("", queue, false, false, amqp.Publishing{Body: []byte(body)})
		require.NoError(w, err)
		w.acked(d, true)
	}
	require.NoError(w, ch.Close())
}

func (w *world) acked(d *amqp.DeferredConfirmation, want bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	ack, err := d.WaitContext(ctx)
	require.NoError(w, err)
	require.Equal(w, want, ack)
}

// get takes a message that must be there, and has to be settled.
func (w *world) get(ch channel, queue string) amqp.Delivery {
	w.Helper()
	d, ok, err := ch.Get(queue, false)
	require.NoError(w, err)
	require.True(w, ok)
	return d
}

// requireReady checks how many ready messages a queue has, soon if not now.
func (w *world) requireReady(queue string, n int) {
	w.Helper()
	ch := w.channel()
	require.Eventually(w, func() bool {
		q, err := ch.QueueInspect(queue)
		return err == nil && q.Messages == n
	}, patience, time.Millisecond)
	require.NoError(w, ch.Close())
}

// await receives from c.
func await[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	v, ok := awaitMaybe(t, c)
	require.True(t, ok, "closed")
	return v
}

// awaitClosed expects that nothing more comes from c.
func awaitClosed[T any](t testing.TB, c <-chan T) {
	t.Helper()
	v, ok := awaitMaybe(t, c)
	require.False(t, ok, "%v", v)
}

func awaitMaybe[T any](t testing.TB, c <-chan T) (v T, ok bool) {
	t.Helper()
	select {
	case v, ok = <-c:
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
	}
	return v, ok
}

// requireError checks an error of the broker.
func requireError(t testing.TB, err error, code int, text string) {
	t.Helper()
	var e *amqp.Error
	require.True(t, errors.As(err, &e), "%v", err)
	soft := code < 500 && code != amqp.ConnectionForced
	require.Equal(t, &amqp.Error{Code: code, Reason: text, Server: true, Recover: soft}, e)
}

func closes(c interface {
	NotifyClose(chan *amqp.Error) chan *amqp.Error
}) <-chan *amqp.Error {
	return c.NotifyClose(make(chan *amqp.Error, 1))
}
