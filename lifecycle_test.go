package warren_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/wire"
)

// The tests that look for goroutines left over are not parallel: those of other
// tests would be found, too.

func TestNewHoldsNoGoroutine(t *testing.T) {
	before := goleak.IgnoreCurrent()
	b, err := warren.New(warren.Options{})
	require.NoError(t, err)
	goleak.VerifyNone(t, before)
	require.NoError(t, b.Close())
}

func TestEndingIsIdempotentInAnyOrder(t *testing.T) {
	t.Parallel()
	shutdown := func(b *warren.Broker) error { return b.Shutdown(context.Background()) }
	for name, ends := range map[string][]func(*warren.Broker) error{
		"close twice":         {(*warren.Broker).Close, (*warren.Broker).Close},
		"shutdown twice":      {shutdown, shutdown},
		"shutdown then close": {shutdown, (*warren.Broker).Close},
		"close then shutdown": {(*warren.Broker).Close, shutdown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, addr := start(t, warren.Options{})
			conn := dial(t, addr)
			for _, end := range ends {
				require.NoError(t, end(b))
			}
			require.True(t, conn.IsClosed() || await(t, closed(conn)) != nil)
			_, err := net.Dial("tcp", addr)
			require.Error(t, err, "the listener is still there")
		})
	}
}

func TestEndingFromManyGoroutinesAtOnce(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	for range 5 {
		dial(t, addr)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			var err error
			if i%2 == 0 {
				err = b.Close()
			} else {
				err = b.Shutdown(context.Background())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestAClosedBrokerServesNothing(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	require.NoError(t, b.Close())
	l := listen(t)
	require.ErrorIs(t, b.Serve(l), warren.ErrClosed)
	_, err := l.Accept()
	require.ErrorIs(t, err, net.ErrClosed, "Serve closes its listener whatever it returns")
	require.ErrorIs(t, b.ListenAndServe("127.0.0.1:0"), warren.ErrClosed)
	require.ErrorIs(t, b.AddVHost("v"), warren.ErrClosed)
}

func TestABrokerThatNeverServedEnds(t *testing.T) {
	t.Parallel()
	b, err := warren.New(warren.Options{})
	require.NoError(t, err)
	require.NoError(t, b.Shutdown(t.Context()))
}

func TestShutdownTellsClientsWhy(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	why := closed(dial(t, addr))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, b.Shutdown(ctx))
	requireCode(t, await(t, why), amqp.ConnectionForced,
		"CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'")
}

func TestCloseCutsClientsOff(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	c := dialRaw(t, addr)
	require.NoError(t, b.Close())
	_, err := c.next()
	require.Error(t, err, "not another word")
}

// deaf are clients that do not answer connection.close.
func deaf(t *testing.T, addr string, n int) []*rawClient {
	t.Helper()
	clients := make([]*rawClient, n)
	for i := range clients {
		clients[i] = dialRaw(t, addr)
	}
	return clients
}

func TestShutdownCutsOffWhoDoesNotAnswerInTime(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	clients := deaf(t, addr, 3)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Shutdown(ctx) }()
	for _, c := range clients {
		c.expect(t, wire.ConnectionCloseID)
	}
	select {
	case err := <-ended:
		require.FailNow(t, "Shutdown did not wait for the answers", err)
	default:
	}
	cancel()
	require.ErrorIs(t, await(t, ended), context.Canceled)
	for _, c := range clients {
		c.expectEnd(t)
	}
}

// Who has not opened a virtual host is dropped without a word and without a wait.
func TestShutdownDoesNotWaitForHandshakes(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	silent := connectRaw(t, addr)
	begun := connectRaw(t, addr)
	begun.write(t, []byte(wire.ProtocolHeader))
	begun.expect(t, wire.ConnectionStartID)
	known := connectRaw(t, addr)
	known.startOK(t, "guest", "guest")
	known.expect(t, wire.ConnectionTuneID)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // the wait would be 3 s
	defer cancel()
	require.NoError(t, b.Shutdown(ctx))
	for _, c := range []*rawClient{silent, begun, known} {
		c.expectEnd(t)
	}
}

func TestCloseHurriesAShutdownUp(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	clients := deaf(t, addr, 3)
	ended := make(chan error, 1)
	go func() { ended <- b.Shutdown(context.Background()) }()
	for _, c := range clients {
		c.expect(t, wire.ConnectionCloseID)
	}
	require.NoError(t, b.Close())
	require.NoError(t, await(t, ended), "ctx did not end")
}

// A shutdown whose context has ended already asks clients to go and cuts them off
// at the same moment, and must not lose either.
func TestShutdownWithoutAnyTimeIsShort(t *testing.T) {
	t.Parallel()
	for range 10 {
		b, addr := start(t, warren.Options{})
		deaf(t, addr, 10)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		ended := make(chan error, 1)
		go func() { ended <- b.Shutdown(ctx) }()
		select {
		case err := <-ended:
			require.ErrorIs(t, err, context.Canceled)
		case <-time.After(5 * time.Second):
			require.FailNow(t, "it waited for clients")
		}
	}
}

// mixture opens connections in all kinds of states.
func mixture(t *testing.T, addr string) {
	t.Helper()
	connectRaw(t, addr) // not a word yet
	c := connectRaw(t, addr)
	c.write(t, []byte(wire.ProtocolHeader[:5]))
	c = connectRaw(t, addr)
	c.write(t, []byte(wire.ProtocolHeader))
	c.expect(t, wire.ConnectionStartID)
	c = connectRaw(t, addr)
	c.startOK(t, "guest", "guest")
	c.expect(t, wire.ConnectionTuneID)

	dial(t, addr) // idle
	dialRaw(t, addr)

	conn := dial(t, addr) // holds what it did not acknowledge, and more waits
	ch := channel(t, conn)
	require.NoError(t, ch.Confirm(false))
	q := declare(t, ch, "")
	require.NoError(t, ch.Qos(5, 0, false))
	ds, err := ch.Consume(q, "", false, false, false, false, nil)
	require.NoError(t, err)
	for range 20 {
		publish(t, ch, "", q, "x")
	}
	for range 5 {
		await(t, ds)
	}

	busy := dialRaw(t, addr) // publishes as fast as it can
	frames := publishFrames(t, "", q, 1000)
	go func() {
		for {
			if _, err := busy.Write(frames); err != nil {
				return
			}
		}
	}()

	half := dialRaw(t, addr) // stopped in the middle of a publish
	half.write(t, frames[:len(frames)/2])

	// One reads nothing of what it is sent, more than sockets can hold.
	blocked := dialRaw(t, addr)
	blocked.call(t, &wire.QueueDeclare{Queue: "flood"}, wire.QueueDeclareOKID)
	blocked.call(t, &wire.BasicConsume{Queue: "flood", NoAck: true}, wire.BasicConsumeOKID)
	flood := publishFrames(t, "", "flood", 100_000)
	for range 200 {
		blocked.write(t, flood)
	}
	// And one does not read the answers to what it asks for, so that its reader
	// in the broker stands.
	got := dialRaw(t, addr)
	get, err := wire.AppendMethodFrame(nil, 1, &wire.BasicGet{Queue: "flood", NoAck: true})
	require.NoError(t, err)
	for range 500 {
		got.write(t, get)
	}

	tx := channel(t, dial(t, addr)) // has a transaction open
	require.NoError(t, tx.Tx())
	require.NoError(t, tx.PublishWithContext(t.Context(), "", q, false, false, amqp.Publishing{Body: []byte("held")}))
	other := declare(t, ch, "")
	publish(t, ch, "", other, "x")
	msg, ok, err := tx.Get(other, false)
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, msg.Ack(false))
}

func TestNothingIsLeftOfAnyMixtureOfConnections(t *testing.T) {
	for name, end := range map[string]func(*warren.Broker) error{
		"close": (*warren.Broker).Close,
		"shutdown": func(b *warren.Broker) error {
			// Some of them never answer.
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, b.Shutdown(ctx), context.DeadlineExceeded)
			return nil
		},
		"shutdown in a hurry": func(b *warren.Broker) error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			require.ErrorIs(t, b.Shutdown(ctx), context.Canceled)
			return nil
		},
	} {
		// The whole of it is in the subtest, so that the clients' goroutines are
		// gone when it ends.
		before := goleak.IgnoreCurrent()
		t.Run(name, func(t *testing.T) {
			b, addr := start(t, warren.Options{})
			mixture(t, addr)
			ended := make(chan error, 1)
			go func() { ended <- end(b) }()
			require.NoError(t, await(t, ended))
		})
		goleak.VerifyNone(t, before)
	}
}
