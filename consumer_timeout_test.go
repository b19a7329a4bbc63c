package warren_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
)

const timeoutText = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms. " +
	"This timeout value can be configured, see consumers doc guide to learn more"

// withTimeout runs a test in a bubble, with a queue q of three messages.
func withTimeout(t *testing.T, o warren.Options, f func(t *testing.T, b *warren.Broker)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, err := warren.New(o)
		require.NoError(t, err)
		ch, err := b.Channel(t.Context())
		require.NoError(t, err)
		_, err = ch.DeclareQueue(t.Context(), "q")
		require.NoError(t, err)
		for _, body := range []string{"1", "2", "3"} {
			require.NoError(t, ch.PublishConfirmed(t.Context(), "", "q", warren.Message{Body: []byte(body)}))
		}
		f(t, b)
		require.NoError(t, b.Close())
		synctest.Wait()
	})
}

func watchedChannel(t *testing.T, conn *amqp.Connection) (*amqp.Channel, <-chan *amqp.Error) {
	t.Helper()
	ch, err := conn.Channel()
	require.NoError(t, err)
	return ch, ch.NotifyClose(make(chan *amqp.Error, 1))
}

func TestAChannelThatDoesNotSettleInHalfAnHourIsClosed(t *testing.T) {
	withTimeout(t, warren.Options{}, func(t *testing.T, b *warren.Broker) {
		conn := dialBubble(t, b, time.Minute)
		defer conn.Close()
		ch, closed := watchedChannel(t, conn)
		other, otherClosed := watchedChannel(t, conn)
		require.NoError(t, ch.Qos(2, 0, false))
		ds, err := ch.Consume("q", "c", false, false, false, false, nil)
		require.NoError(t, err)
		first := <-ds
		<-ds
		time.Sleep(20 * time.Minute)
		require.NoError(t, first.Ack(false)) // the second is as old
		<-ds

		begin := time.Now()
		why := <-closed
		require.Equal(t, &amqp.Error{Code: 406, Reason: timeoutText, Server: true, Recover: true}, why)
		require.WithinRange(t, time.Now(), begin.Add(10*time.Minute), begin.Add(11*time.Minute))
		synctest.Wait()
		info, err := b.Queue("/", "q")
		require.NoError(t, err)
		require.Equal(t, [2]int{2, 0}, [2]int{info.Ready, info.Unacked})

		// The connection goes on.
		require.Empty(t, otherClosed)
		again, err := conn.Channel()
		require.NoError(t, err)
		m, ok, err := again.Get("q", false)
		require.NoError(t, err)
		require.True(t, ok)
		require.True(t, m.Redelivered)
		require.NoError(t, m.Ack(false))
		require.NoError(t, other.Close())
	})
}

func TestABasicGetHasToBeSettledInTimeToo(t *testing.T) {
	withTimeout(t, warren.Options{}, func(t *testing.T, b *warren.Broker) {
		conn := dialBubble(t, b, time.Minute)
		defer conn.Close()
		ch, closed := watchedChannel(t, conn)
		_, _, err := ch.Get("q", false)
		require.NoError(t, err)
		require.Equal(t, timeoutText, (<-closed).Reason)
	})
}

func TestAChannelThatSettlesInTimeStaysOpen(t *testing.T) {
	withTimeout(t, warren.Options{}, func(t *testing.T, b *warren.Broker) {
		conn := dialBubble(t, b, time.Minute)
		defer conn.Close()
		ch, closed := watchedChannel(t, conn)
		require.NoError(t, ch.Qos(1, 0, false))
		ds, err := ch.Consume("q", "", false, false, false, false, nil)
		require.NoError(t, err)
		for range 12 { // requeued, one of them is always there
			d := <-ds
			time.Sleep(29 * time.Minute)
			require.NoError(t, d.Nack(false, true))
		}
		require.NoError(t, (<-ds).Ack(false))
		for range 2 {
			require.NoError(t, (<-ds).Ack(false))
		}
		time.Sleep(3 * time.Hour)
		require.Empty(t, closed)
	})
}

func TestWhatARolledBackTransactionHadAcknowledgedIsStillDue(t *testing.T) {
	withTimeout(t, warren.Options{}, func(t *testing.T, b *warren.Broker) {
		conn := dialBubble(t, b, time.Minute)
		defer conn.Close()
		ch, closed := watchedChannel(t, conn)
		require.NoError(t, ch.Tx())
		m, _, err := ch.Get("q", false)
		require.NoError(t, err)
		require.NoError(t, m.Ack(false))
		time.Sleep(25 * time.Minute)
		require.NoError(t, ch.TxRollback())
		require.Empty(t, closed)
		begin := time.Now()
		require.Equal(t, timeoutText, (<-closed).Reason)
		require.WithinRange(t, time.Now(), begin.Add(5*time.Minute), begin.Add(6*time.Minute))
	})
}

func TestAChannelOfTheProgramThatDoesNotSettleInTimeIsClosed(t *testing.T) {
	withTimeout(t, warren.Options{ConsumerTimeout: time.Minute}, func(t *testing.T, b *warren.Broker) {
		ch, err := b.Channel(t.Context())
		require.NoError(t, err)
		begin := time.Now()
		n := 0
		for d, err := range ch.Consume(t.Context(), "q", warren.Prefetch(1)) {
			if err != nil {
				require.ErrorIs(t, err, warren.PreconditionFailed)
				require.ErrorContains(t, err, "timed out. Timeout value used: 60000 ms.")
				break
			}
			require.Equal(t, "1", string(d.Body))
			n++
		}
		require.Equal(t, 1, n)
		require.WithinRange(t, time.Now(), begin.Add(time.Minute), begin.Add(time.Minute+2*time.Second))
		<-ch.Done()
		require.ErrorIs(t, ch.Err(), warren.PreconditionFailed)
		info, err := b.Queue("/", "q")
		require.NoError(t, err)
		require.Equal(t, 3, info.Ready)
	})
}

// An alarm keeps the broker from reading a connection, and not from closing its
// channels.
func TestABlockedConnectionsChannelTimesOut(t *testing.T) {
	withTimeout(t, warren.Options{}, func(t *testing.T, b *warren.Broker) {
		conn := dialBubble(t, b, 0)
		defer conn.Close()
		ch, _ := watchedChannel(t, conn)
		_, _, err := ch.Get("q", false)
		require.NoError(t, err)
		b.SetAlarm(warren.MemoryAlarm)
		require.NoError(t, ch.PublishWithContext(context.Background(), "", "q", false, false, amqp.Publishing{}))
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		info, err := b.Queue("/", "q")
		require.NoError(t, err)
		require.Zero(t, info.Unacked)
		b.ClearAlarm(warren.MemoryAlarm)
	})
}

func TestWithoutAConsumerTimeoutNothingHasToBeSettled(t *testing.T) {
	withTimeout(t, warren.Options{ConsumerTimeout: -1}, func(t *testing.T, b *warren.Broker) {
		conn := dialBubble(t, b, time.Minute)
		defer conn.Close()
		ch, closed := watchedChannel(t, conn)
		_, _, err := ch.Get("q", false)
		require.NoError(t, err)
		time.Sleep(48 * time.Hour)
		require.Empty(t, closed)
	})
}

// A queue's own timeout goes before the broker's, and the lower one of argument and
// policy counts (RabbitMQ 3.12).
func TestAQueueHasAConsumerTimeoutOfItsOwn(t *testing.T) {
	arg := func(v any) warren.QueueOption { return warren.Arg("x-consumer-timeout", v) }
	for name, c := range map[string]struct {
		global       time.Duration
		arg, policy  any
		want, within time.Duration
	}{
		"a longer argument":             {0, 3_600_000, nil, time.Hour, 2 * time.Minute},
		"a shorter argument":            {0, 60_000, nil, time.Minute, 2 * time.Second},
		"an argument alone":             {-1, int64(60_000), nil, time.Minute, 2 * time.Second},
		"a policy":                      {0, nil, 60_000, time.Minute, 2 * time.Second},
		"the lower policy":              {0, 120_000, 60_000, time.Minute, 2 * time.Second},
		"the lower argument":            {0, 60_000, 120_000, time.Minute, 2 * time.Second},
		"at once":                       {0, 0, nil, 0, 2 * time.Millisecond},
		"an argument that is no number": {time.Minute, "60000", nil, time.Minute, 2 * time.Second},
		"a negative argument":           {time.Minute, -5, nil, time.Minute, 2 * time.Second},
		"days":                          {0, 86_400_000 * 3, nil, 72 * time.Hour, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			withTimeout(t, warren.Options{ConsumerTimeout: c.global}, func(t *testing.T, b *warren.Broker) {
				ch, err := b.Channel(t.Context())
				require.NoError(t, err)
				var o []warren.QueueOption
				if c.arg != nil {
					o = append(o, arg(c.arg))
				}
				if c.policy != nil {
					require.NoError(t, b.SetPolicy("/", define("p", "own", "consumer-timeout", c.policy)))
				}
				_, err = ch.DeclareQueue(t.Context(), "own", o...)
				require.NoError(t, err)
				require.NoError(t, ch.PublishConfirmed(t.Context(), "", "own", warren.Message{}))
				_, _, err = ch.Get(t.Context(), "own")
				require.NoError(t, err)
				begin := time.Now()
				<-ch.Done()
				require.ErrorContains(t, ch.Err(), fmt.Sprintf("Timeout value used: %d ms.", c.want.Milliseconds()))
				require.WithinRange(t, time.Now(), begin.Add(c.want), begin.Add(c.want+c.within))
			})
		})
	}
}

func TestAConsumerTimeoutByPolicyIsForWhatWasDeliveredBefore(t *testing.T) {
	withTimeout(t, warren.Options{ConsumerTimeout: -1}, func(t *testing.T, b *warren.Broker) {
		ch, err := b.Channel(t.Context())
		require.NoError(t, err)
		_, _, err = ch.Get(t.Context(), "q")
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		p := define("p", "q", "consumer-timeout", 4*3_600_000)
		require.NoError(t, b.SetPolicy("/", p))
		begin := time.Now()
		time.Sleep(30 * time.Minute)
		require.NoError(t, b.ClearPolicy("/", "p"))
		time.Sleep(3 * time.Hour)
		require.NoError(t, ch.Err())
		require.NoError(t, b.SetPolicy("/", p))
		<-ch.Done()
		require.WithinRange(t, time.Now(), begin, begin.Add(3*time.Hour+32*time.Minute))
	})
}

// The oldest delivery is looked at: one of an impatient queue is due when those before
// it are settled.
func TestDeliveriesOfQueuesWithSeveralTimeouts(t *testing.T) {
	withTimeout(t, warren.Options{}, func(t *testing.T, b *warren.Broker) {
		ch, err := b.Channel(t.Context())
		require.NoError(t, err)
		_, err = ch.DeclareQueue(t.Context(), "impatient", warren.Arg("x-consumer-timeout", 10_000))
		require.NoError(t, err)
		require.NoError(t, ch.PublishConfirmed(t.Context(), "", "impatient", warren.Message{}))
		first, _, err := ch.Get(t.Context(), "q")
		require.NoError(t, err)
		_, _, err = ch.Get(t.Context(), "impatient")
		require.NoError(t, err)
		for range 120 { // deliveries and settlements behind it, for a long time
			time.Sleep(14 * time.Second)
			d, _, err := ch.Get(t.Context(), "q")
			require.NoError(t, err)
			require.NoError(t, d.Nack(true))
		}
		require.NoError(t, ch.Err())
		require.NoError(t, first.Ack())
		begin := time.Now()
		<-ch.Done()
		require.ErrorContains(t, ch.Err(), "Timeout value used: 10000 ms.")
		require.WithinRange(t, time.Now(), begin, begin.Add(time.Minute))
	})
}
