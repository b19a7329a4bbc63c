package amqp091_test

import (
	"context"
	"crypto/tls"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/amqp091"
	"github.com/warrenmq/warren/auth"
)

// listeners are one of each kind.
type listeners struct {
	chCloses   <-chan *amqp.Error
	chFlows    <-chan bool
	chReturns  <-chan amqp.Return
	chCancels  <-chan string
	chConfirms <-chan amqp.Confirmation
	chAcks     <-chan uint64
	chNacks    <-chan uint64
	chRecovery <-chan struct{}
	chStates   chan *amqp.StateChanged

	closes   <-chan *amqp.Error
	blocks   <-chan amqp.Blocking
	recovery <-chan struct{}
	states   chan *amqp.StateChanged

	deliveries <-chan amqp.Delivery
}

func listen(w *world, ch channel) (l listeners) {
	w.Helper()
	l.chCloses = ch.NotifyClose(make(chan *amqp.Error, 1))
	l.chFlows = ch.NotifyFlow(make(chan bool))
	l.chReturns = ch.NotifyReturn(make(chan amqp.Return))
	l.chCancels = ch.NotifyCancel(make(chan string))
	l.chConfirms = ch.NotifyPublish(make(chan amqp.Confirmation))
	l.chAcks, l.chNacks = ch.NotifyConfirm(make(chan uint64), make(chan uint64))
	l.chRecovery = ch.NotifyRecoveryCancel(make(chan struct{}))
	l.chStates = make(chan *amqp.StateChanged, 2)
	ch.NotifyStateChange(l.chStates)
	ch.NotifyStateChange(l.chStates)
	ch.NotifyStateChange(nil)
	l.closes = w.NotifyClose(make(chan *amqp.Error, 1))
	l.blocks = w.NotifyBlocked(make(chan amqp.Blocking))
	l.recovery = w.NotifyRecoveryCancel(make(chan struct{}))
	l.states = make(chan *amqp.StateChanged, 2)
	w.NotifyStateChange(l.states)
	var err error
	l.deliveries, err = ch.Consume(w.queue(ch, ""), "", false, false, false, false, nil)
	require.NoError(w, err)
	return l
}

// requireStates checks what a listener is told of an end.
func requireStates(w *world, states <-chan *amqp.StateChanged, asked bool, err *amqp.Error) {
	w.Helper()
	switch {
	case asked:
		require.Equal(w, &amqp.StateChanged{From: amqp.StateOpen, To: amqp.StateClosing}, await(w, states))
		require.Equal(w, &amqp.StateChanged{From: amqp.StateClosing, To: amqp.StateClosed}, await(w, states))
	case err == nil:
		require.Equal(w, &amqp.StateChanged{From: amqp.StateOpen, To: amqp.StateClosed}, await(w, states))
	default:
		s := await(w, states)
		require.Equal(w, [2]amqp.LifeCycleState{amqp.StateOpen, amqp.StateClosed}, [2]amqp.LifeCycleState{s.From, s.To})
		var e *amqp.Error
		require.ErrorAs(w, s.Err, &e)
		require.Equal(w, err, e)
	}
	awaitClosed(w, states)
}

func TestAllListenersAreClosedAtTheEnd(t *testing.T) {
	forced := &amqp.Error{
		Code: amqp.ConnectionForced, Server: true,
		Reason: "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
	}
	notFound := &amqp.Error{
		Code: amqp.NotFound, Server: true, Recover: true,
		Reason: "NOT_FOUND - no queue 'none' in vhost '/'",
	}
	noRequeue := &amqp.Error{Code: amqp.NotImplemented, Server: true, Reason: "NOT_IMPLEMENTED - requeue=false"}
	for _, tc := range []struct {
		name string
		end  func(w *world, ch channel)
		want *amqp.Error
		conn bool // the connection ends too
	}{
		{"channel close", func(w *world, ch channel) { require.NoError(w, ch.Close()) }, nil, false},
		{"channel refused", func(w *world, ch channel) {
			_, err := ch.QueueInspect("none")
			require.Equal(w, error(notFound), err)
		}, notFound, false},
		{"connection close", func(w *world, _ channel) { require.NoError(w, w.Close()) }, nil, true},
		{"connection close until a deadline", func(w *world, _ channel) {
			require.NoError(w, w.CloseDeadline(time.Now().Add(patience)))
		}, nil, true},
		{"connection refused", func(w *world, ch channel) {
			require.Equal(w, error(noRequeue), ch.Recover(false))
		}, noRequeue, true},
		{"shutdown of the broker", func(w *world, _ channel) {
			require.NoError(w, w.broker.Shutdown(w.Context()))
		}, forced, true},
		{"close of the broker", func(w *world, _ channel) {
			require.NoError(w, w.broker.Close())
		}, &amqp.Error{Code: amqp.FrameError, Reason: io.EOF.Error()}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			both(t, func(w *world) {
				want := tc.want
				ch := w.channel()
				l := listen(w, ch)
				tc.end(w, ch)
				if want != nil {
					require.Equal(w, want, await(w, l.chCloses))
				}
				awaitClosed(w, l.chCloses)
				awaitClosed(w, l.chFlows)
				awaitClosed(w, l.chReturns)
				awaitClosed(w, l.chCancels)
				awaitClosed(w, l.chConfirms)
				awaitClosed(w, l.chAcks)
				awaitClosed(w, l.chNacks)
				awaitClosed(w, l.chRecovery)
				awaitClosed(w, l.deliveries)
				requireStates(w, l.chStates, want == nil && !tc.conn, want)
				require.True(w, ch.IsClosed())
				require.NoError(w, ch.Close())
				require.ErrorIs(w, ch.Qos(1, 0, false), amqp.ErrClosed)
				require.ErrorIs(w, ch.Ack(1, false), amqp.ErrClosed)
				listenTooLate(w, ch)
				require.Equal(w, tc.conn, w.IsClosed())
				if !tc.conn {
					require.NoError(w, w.UpdateSecret("new", "why not"))
					require.NoError(w, w.Close())
					want = nil
				}
				if want != nil {
					require.Equal(w, want, await(w, l.closes))
				}
				awaitClosed(w, l.closes)
				awaitClosed(w, l.blocks)
				awaitClosed(w, l.recovery)
				requireStates(w, l.states, want == nil, want)
				require.ErrorIs(w, w.Close(), amqp.ErrClosed)
				require.ErrorIs(w, w.CloseDeadline(time.Now()), amqp.ErrClosed)
				require.ErrorIs(w, w.UpdateSecret("new", "too late"), amqp.ErrClosed)
				_, err := w.open()
				require.ErrorIs(w, err, amqp.ErrClosed)
				awaitClosed(w, w.NotifyClose(make(chan *amqp.Error)))
				awaitClosed(w, w.NotifyBlocked(make(chan amqp.Blocking)))
			})
		})
	}
}

// listenTooLate registers listeners with a channel that has ended.
func listenTooLate(w *world, ch channel) {
	w.Helper()
	awaitClosed(w, ch.NotifyClose(make(chan *amqp.Error)))
	awaitClosed(w, ch.NotifyReturn(make(chan amqp.Return)))
	awaitClosed(w, ch.NotifyPublish(make(chan amqp.Confirmation)))
	acks, nacks := ch.NotifyConfirm(make(chan uint64), make(chan uint64))
	awaitClosed(w, acks)
	awaitClosed(w, nacks)
	one := make(chan uint64)
	ch.NotifyConfirm(one, one)
	awaitClosed(w, one)
	states := make(chan *amqp.StateChanged)
	ch.NotifyStateChange(states)
	awaitClosed(w, states)
}

func TestClosedConnectionLeavesNothingExclusive(t *testing.T) {
	both(t, func(w *world) {
		conn, open := w.connect()
		ch, err := open()
		require.NoError(w, err)
		_, err = ch.QueueDeclare("mine", false, false, true, false, nil)
		require.NoError(w, err)
		require.NoError(w, conn.Close())
		_, err = w.channel().QueueInspect("mine")
		requireError(w, err, amqp.NotFound, "NOT_FOUND - no queue 'mine' in vhost '/'")
	})
}

func TestConnectionHasNothingToRecover(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		require.False(w, w.IsRecoveryEnabled())
		require.False(w, w.IsConnectionRecoveryEnabled())
		require.False(w, w.IsTopologyRecoveryEnabled())
		require.Zero(w, w.MaxRetryCount())
		require.Zero(w, w.RetryInterval())
		require.ErrorIs(w, w.Reconnect(), amqp.ErrClosed)
		require.ErrorIs(w, ch.Reconnect(), amqp.ErrClosed)
		w.queue(ch, "")
		require.Equal(w, amqp.TopologyConfiguration{
			Exchanges: map[string]amqp.ExchangeConfig{}, Queues: map[string]amqp.QueueConfig{},
		}, ch.TopologyConfiguration(true))
		require.Equal(w, tls.ConnectionState{}, w.ConnectionState())
		require.NotEmpty(w, w.LocalAddr().Network())
		require.NotEmpty(w, w.RemoteAddr().String())
	})
}

func TestNoMoreChannelsThanTheBrokerAllows(t *testing.T) {
	t.Parallel()
	b, err := warren.New(warren.Options{ChannelMax: 2})
	require.NoError(t, err)
	defer b.Close()
	for _, face := range faces {
		t.Run(face.name, func(t *testing.T) {
			conn, open, err := face.dial(b)
			require.NoError(t, err)
			one, err := open()
			require.NoError(t, err)
			_, err = open()
			require.NoError(t, err)
			_, err = open()
			require.ErrorIs(t, err, amqp.ErrChannelMax)
			require.NoError(t, one.Close())
			_, err = open()
			require.NoError(t, err)
			require.NoError(t, conn.Close())
		})
	}
}

func TestNoMoreChannelsThanTheUserMayHave(t *testing.T) {
	both(t, func(w *world) {
		require.NoError(w, w.broker.Auth().SetLimit("guest", auth.MaxChannels, 1))
		w.channel()
		_, err := w.open()
		requireError(w, err, amqp.NotAllowed,
			"NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user limit of (1)")
		require.True(w, w.IsClosed())
	})
}

func TestOpen(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	require.NoError(t, b.AddVHost("mine"))

	conn, err := amqp091.Open(b, warren.VHost("mine"))
	require.NoError(t, err)
	require.Equal(t, amqp.Config{Vhost: "mine", ChannelMax: 2047, Locale: "en_US"}, conn.Config)
	require.NotEmpty(t, conn.Properties["product"])
	require.Equal(t, true, conn.Properties["capabilities"].(amqp.Table)["basic.nack"])
	require.Equal(t, []string{"en_US"}, conn.Locales)
	require.Equal(t, [2]int{0, 9}, [2]int{conn.Major, conn.Minor})
	require.NoError(t, conn.Close())

	_, err = amqp091.Open(b, warren.VHost("none"))
	requireError(t, err, amqp.NotAllowed, "NOT_ALLOWED - vhost none not found")
	_, err = amqp091.Open(b, warren.VHost("mine"), warren.User("guest"))
	requireError(t, err, amqp.NotAllowed, "NOT_ALLOWED - access to vhost 'mine' refused for user 'guest'")
	_, err = amqp091.Open(b, warren.User("nobody"))
	require.ErrorIs(t, err, auth.ErrNoUser)
	require.NoError(t, b.Close())
	_, err = amqp091.Open(b)
	require.ErrorIs(t, err, warren.ErrClosed)
}

// inBubble runs a test with a connection of this package in a bubble of synctest.
func inBubble(t *testing.T, f func(t *testing.T, conn *amqp091.Connection, ch *amqp091.Channel)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, err := warren.New(warren.Options{})
		require.NoError(t, err)
		conn, err := amqp091.Open(b)
		require.NoError(t, err)
		ch, err := conn.Channel()
		require.NoError(t, err)
		f(t, conn, ch)
		require.NoError(t, b.Close())
	})
}

func TestListenerThatDoesNotReceiveLosesWhatItIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *amqp091.Connection, ch *amqp091.Channel) {
		returns := ch.NotifyReturn(make(chan amqp.Return))
		for _, key := range []string{"lost", "waited for"} {
			require.NoError(t, ch.Publish("", key, true, false, amqp.Publishing{}))
		}
		time.Sleep(6 * time.Second)
		require.Equal(t, "waited for", (<-returns).RoutingKey)
	})
}

func TestCloseWaitsForListenersOnlySoLong(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *amqp091.Connection, ch *amqp091.Channel) {
		ch.NotifyReturn(make(chan amqp.Return))
		states := make(chan *amqp.StateChanged)
		ch.NotifyStateChange(states)
		for range 1000 {
			require.NoError(t, ch.Publish("", "nowhere", true, false, amqp.Publishing{}))
		}
		begin := time.Now()
		require.NoError(t, ch.Close())
		require.LessOrEqual(t, time.Since(begin), 10*time.Second)
		time.Sleep(6 * time.Second)
		_, told := <-states
		require.False(t, told)
	})
}

func TestCloseDeadlineLeavesListenersBehind(t *testing.T) {
	inBubble(t, func(t *testing.T, conn *amqp091.Connection, ch *amqp091.Channel) {
		ch.NotifyReturn(make(chan amqp.Return))
		require.NoError(t, ch.Publish("", "nowhere", true, false, amqp.Publishing{}))
		begin := time.Now()
		require.ErrorIs(t, conn.CloseDeadline(begin.Add(time.Second)), os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begin))
		require.True(t, conn.IsClosed())
		time.Sleep(6 * time.Second)
	})
}

func TestPublishersWaitForListenersOfReturns(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *amqp091.Connection, ch *amqp091.Channel) {
		returns := ch.NotifyReturn(make(chan amqp.Return))
		publish := func(ctx context.Context) {
			require.NoError(t, ch.PublishWithContext(ctx, "", "nowhere", true, false, amqp.Publishing{Body: make([]byte, 1<<20)}))
		}
		begin := time.Now()
		publish(t.Context())
		synctest.Wait() // the feeder waits for the listener
		for range 15 {
			publish(t.Context())
		}
		require.Zero(t, time.Since(begin))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		publish(ctx)
		require.Equal(t, time.Second, time.Since(begin))
		go func() {
			time.Sleep(time.Second)
			<-returns
		}()
		publish(t.Context())
		require.Equal(t, 2*time.Second, time.Since(begin))
		for range 17 {
			<-returns
		}
	})
}

func TestConsumerIdlesForHalfAnHour(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *amqp091.Connection, ch *amqp091.Channel) {
		q, err := ch.QueueDeclare("", false, false, true, false, nil)
		require.NoError(t, err)
		ds, err := ch.Consume(q.Name, "", true, false, false, false, nil)
		require.NoError(t, err)
		time.Sleep(30 * time.Minute)
		require.NoError(t, ch.Publish("", q.Name, false, false, amqp.Publishing{Body: []byte("late")}))
		require.Equal(t, "late", string((<-ds).Body))
	})
}

func TestContextOfAConsumerDoesNotEndTheNextOfItsTag(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *amqp091.Connection, ch *amqp091.Channel) {
		q, err := ch.QueueDeclare("", false, false, false, false, nil)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		first, err := ch.ConsumeWithContext(ctx, q.Name, "tag", false, false, false, false, nil)
		require.NoError(t, err)
		for range 100 { // more than wait in the Go channel, so that it does not end
			require.NoError(t, ch.Publish("", q.Name, false, false, amqp.Publishing{}))
		}
		require.NoError(t, ch.Cancel("tag", false))
		second, err := ch.Consume(q.Name, "tag", false, false, false, false, nil)
		require.NoError(t, err)
		cancel()
		synctest.Wait()
		require.NoError(t, ch.Publish("", q.Name, false, false, amqp.Publishing{Body: []byte("second")}))
		require.Equal(t, "second", string((<-second).Body))
		for range 100 {
			require.Empty(t, (<-first).Body)
		}
		_, more := <-first
		require.False(t, more)
	})
}
