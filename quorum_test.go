package warren_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/store/memstore"
)

// declareNative declares a durable queue with arguments.
func declareNative(t testing.TB, ch *warren.Channel, name string, options ...warren.QueueOption) {
	t.Helper()
	_, err := ch.DeclareQueue(t.Context(), name, append(options, warren.Durable())...)
	require.NoError(t, err)
}

// send publishes messages and waits for their confirms.
func send(t testing.TB, ch *warren.Channel, queue string, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		require.NoError(t, ch.PublishConfirmed(t.Context(), "", queue, warren.Message{Body: []byte(body)}))
	}
}

// countOf is how often a delivery says that its message was delivered before.
func countOf(d warren.Delivery) any {
	n, _ := d.Properties().Headers.Get("x-delivery-count")
	return n
}

func TestQuorumQueuesKeepEverythingOverACrash(t *testing.T) {
	t.Parallel()
	b, d := durableBroker(t)
	ch := native(t, b)
	declareNative(t, ch, "q", warren.Arg("x-queue-type", "quorum"))
	send(t, ch, "q", "1", "2", "3", "4", "5") // transient
	all := taken(t, ch, "q", 4)
	require.NoError(t, all[0].Nack(true)) // to the end
	require.NoError(t, all[2].Ack())
	flushed(t, b)
	require.Equal(t, []string{"2*", "4*", "5", "1*"}, readyAfterCrash(t, d, "q"))
	b = restarted(t, b, d)
	ch = native(t, b)
	got := taken(t, ch, "q", 4)
	for i, want := range []struct {
		body  string
		count int64
	}{{"2", 1}, {"4", 1}, {"5", 0}, {"1", 1}} {
		require.Equal(t, want.body, string(got[i].Body))
		require.Equal(t, want.count, countOf(got[i]))
	}
	require.NoError(t, ch.Ack(t.Context(), got[3].DeliveryTag, true))
	flushed(t, b)
	require.Empty(t, readyAfterCrash(t, d, "q"))
}

func TestAPoisonMessageDoesNotOutliveItsDeliveryLimit(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{"quorum", "classic"} {
		t.Run(typ, func(t *testing.T) {
			t.Parallel()
			o := warren.Options{DefaultDeliveryLimit: 2, ClassicDeliveryLimit: true}
			d := memstore.NewDisk()
			b, _ := brokerOn(t, d, o)
			ch := native(t, b)
			declareNative(t, ch, "dead")
			declareNative(t, ch, "q", warren.Arg("x-queue-type", typ),
				warren.Arg("x-dead-letter-exchange", ""), warren.Arg("x-dead-letter-routing-key", "dead"))
			require.NoError(t, ch.PublishConfirmed(t.Context(), "", "q", persistent("poison")))
			for range 3 { // each delivery takes the broker down
				taken(t, native(t, b), "q", 1)
				flushed(t, b)
				d = d.Crash()
				b, _ = brokerOn(t, d, o)
			}
			ch = native(t, b)
			require.Eventually(t, func() bool {
				q, err := b.Queue("/", "dead")
				return err == nil && q.Ready == 1
			}, 10*time.Second, time.Millisecond)
			got := taken(t, ch, "dead", 1)[0]
			reason, _ := got.Properties().Headers.Get("x-first-death-reason")
			require.Equal(t, "delivery_limit", reason)
			require.Equal(t, "poison", string(got.Body))
		})
	}
}

func TestClassicQueuesKnowNoDeliveryLimitUnlessTheyAreToldTo(t *testing.T) {
	t.Parallel()
	limit := warren.Arg("x-delivery-limit", int32(1))
	b := newBroker(t, warren.Options{DefaultDeliveryLimit: 1})
	_, err := native(t, b).DeclareQueue(t.Context(), "q", limit)
	require.ErrorIs(t, err, warren.PreconditionFailed)
	require.True(t, strings.HasSuffix(err.Error(), "of queue type rabbit_classic_queue"), err)

	ch := native(t, b)
	declareNative(t, ch, "classic")
	declareNative(t, ch, "quorum", warren.Arg("x-queue-type", "quorum"))
	for queue, left := range map[string]int{"classic": 1, "quorum": 0} {
		send(t, ch, queue, "m")
		for range 2 {
			require.NoError(t, taken(t, ch, queue, 1)[0].Nack(true))
		}
		require.Len(t, drained(t, ch, queue), left, queue)
	}

	ch = native(t, newBroker(t, warren.Options{ClassicDeliveryLimit: true}))
	declareNative(t, ch, "q", limit)
	send(t, ch, "q", "m")
	for range 2 {
		require.NoError(t, taken(t, ch, "q", 1)[0].Nack(true))
	}
	require.Empty(t, drained(t, ch, "q"))
}

func TestADeadLetterWithoutAQueueIsSentWhenThereIsOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, err := warren.New(warren.Options{})
		require.NoError(t, err)
		defer func() { require.NoError(t, b.Close()) }()
		ch, err := b.Channel(t.Context())
		require.NoError(t, err)
		declareNative(t, ch, "q", warren.Arg("x-queue-type", "quorum"), warren.Arg("x-dead-letter-exchange", "late"),
			warren.Arg("x-dead-letter-strategy", "at-least-once"), warren.Arg("x-overflow", "reject-publish"))
		send(t, ch, "q", "1")
		require.NoError(t, taken(t, ch, "q", 1)[0].Nack(false))
		time.Sleep(time.Hour)
		require.NoError(t, ch.DeclareExchange(t.Context(), "late", "fanout"))
		declareNative(t, ch, "dead")
		require.NoError(t, ch.BindQueue(t.Context(), "dead", "late", ""))
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		got := taken(t, ch, "dead", 1)[0]
		require.Equal(t, "1", string(got.Body))
		require.Nil(t, countOf(got))
	})
}

// A quorum queue that was over its limit refuses who published to it before until it is
// down to four fifths, and lets in who comes new. Who that is, is a matter of channels,
// however their publishes are confirmed.
func TestToAFullQuorumQueueAChannelIsOnePublisher(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		begin   func(context.Context, *warren.Channel) error
		publish func(context.Context, *warren.Channel) error
		silent  bool // nobody hears of a refusal
	}{
		"message by message": {
			publish: func(ctx context.Context, ch *warren.Channel) error {
				return ch.PublishConfirmed(ctx, "", "q", text("m"))
			},
		},
		"in batches": {
			publish: func(ctx context.Context, ch *warren.Channel) error {
				return ch.PublishBatch(ctx, batchTo("", "q", "m"))
			},
		},
		"in transactions": {
			begin: func(ctx context.Context, ch *warren.Channel) error { return ch.TxSelect(ctx) },
			publish: func(ctx context.Context, ch *warren.Channel) error {
				if err := ch.Publish(ctx, "", "q", text("m")); err != nil {
					return err
				}
				return ch.TxCommit(ctx)
			},
			silent: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			b, taker := nativePair(t)
			declareNative(t, taker, "q", warren.Arg("x-queue-type", "quorum"),
				warren.Arg("x-max-length", 5), warren.Arg("x-overflow", "reject-publish"))
			early, late := native(t, b), native(t, b)
			for _, ch := range []*warren.Channel{early, late} {
				if c.begin != nil {
					require.NoError(t, c.begin(ctx, ch))
				}
			}
			// publishes checks whether a message gets in.
			publishes := func(ch *warren.Channel, ready int, in bool) {
				t.Helper()
				err := c.publish(ctx, ch)
				if in || c.silent {
					require.NoError(t, err)
				} else {
					var nack *warren.NackError
					require.ErrorAs(t, err, &nack)
				}
				q, err := b.Queue("/", "q")
				require.NoError(t, err)
				require.Equal(t, ready, q.Ready)
			}
			for i := range 6 {
				publishes(early, i+1, true)
			}
			publishes(early, 6, false)
			_, ok, err := taker.Get(ctx, "q", warren.NoAck())
			require.NoError(t, err)
			require.True(t, ok)
			publishes(early, 5, false)
			publishes(late, 6, true)
			publishes(late, 6, false)
		})
	}
}
