package amqp091_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

func TestDeliveriesComeInOrderAndAreSettled(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		q := w.queue(ch, "")
		ds, err := ch.Consume(q, "", false, false, false, false, nil)
		require.NoError(w, err)
		const n = 500
		go func() {
			for i := range n {
				if ch.Publish("", q, false, false, amqp.Publishing{Body: fmt.Append(nil, i)}) != nil {
					return // the test sees that something is missing
				}
			}
		}()
		for i := range n {
			d := await(w, ds)
			require.Equal(w, fmt.Sprint(i), string(d.Body))
			require.EqualValues(w, i+1, d.DeliveryTag)
			require.NotEmpty(w, d.ConsumerTag)
			require.Zero(w, d.MessageCount)
			if i%10 == 9 {
				require.NoError(w, d.Ack(true))
			}
		}
		require.NoError(w, ch.Close())
		awaitClosed(w, ds)
		w.requireReady(q, 0)
	})
}

func TestAcknowledger(t *testing.T) {
	for _, tc := range []struct {
		name   string
		settle func(d amqp.Delivery) error
		ready  int
	}{
		{"ack", func(d amqp.Delivery) error { return d.Ack(false) }, 0},
		{"nack", func(d amqp.Delivery) error { return d.Nack(false, false) }, 0},
		{"nack and requeue", func(d amqp.Delivery) error { return d.Nack(false, true) }, 1},
		{"reject", func(d amqp.Delivery) error { return d.Reject(false) }, 0},
		{"reject and requeue", func(d amqp.Delivery) error { return d.Reject(true) }, 1},
		{"ack by tag", func(d amqp.Delivery) error { return d.Acknowledger.Ack(d.DeliveryTag, true) }, 0},
		{"ack all", func(d amqp.Delivery) error { return d.Acknowledger.Ack(0, true) }, 0},
		{"recover", func(d amqp.Delivery) error { return d.Acknowledger.(channel).Recover(true) }, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			both(t, func(w *world) {
				ch := w.channel()
				q := w.queue(ch, "q")
				w.put(q, "x")
				d := w.get(ch, q)
				require.False(w, d.Redelivered)
				require.NoError(w, tc.settle(d))
				w.requireReady(q, tc.ready)
				if tc.ready > 0 {
					d := w.get(ch, q)
					require.True(w, d.Redelivered)
					require.EqualValues(w, 2, d.DeliveryTag)
				}
			})
		})
	}
}

func TestGet(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		q := w.queue(ch, "")
		d, ok, err := ch.Get(q, true)
		require.NoError(w, err)
		require.False(w, ok)
		require.Zero(w, d)
		w.put(q, "a", "b", "c")
		d, ok, err = ch.Get(q, true)
		require.NoError(w, err)
		require.True(w, ok)
		d.Acknowledger = nil
		require.Equal(w, amqp.Delivery{DeliveryTag: 1, MessageCount: 2, RoutingKey: q, Body: []byte("a")}, d)
	})
}

func TestPrefetchLimitsWhatIsUnsettled(t *testing.T) {
	for _, global := range []bool{false, true} {
		t.Run(fmt.Sprintf("global %t", global), func(t *testing.T) {
			both(t, func(w *world) {
				ch := w.channel()
				q := w.queue(ch, "")
				require.NoError(w, ch.Qos(65536+2, 0, global), "16 bits count")
				ds, err := ch.Consume(q, "", false, false, false, false, nil)
				require.NoError(w, err)
				w.put(q, "a", "b", "c", "d")
				w.requireReady(q, 2)
				require.NoError(w, await(w, ds).Ack(false))
				w.requireReady(q, 1)
				await(w, ds)
				require.NoError(w, await(w, ds).Ack(true))
				w.requireReady(q, 0)
				require.Equal(w, "d", string(await(w, ds).Body))
			})
		})
	}
}

func TestCancelLetsWhatCameBeforeBeReceivedAndSettled(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		q := w.queue(ch, "")
		ds, err := ch.Consume(q, "tag", false, false, false, false, nil)
		require.NoError(w, err)
		const n = 100 // more than wait in the Go channel
		for range n {
			require.NoError(w, ch.Publish("", q, false, false, amqp.Publishing{}))
		}
		w.requireReady(q, 0)
		require.NoError(w, ch.Qos(0, 0, false)) // all deliveries are here
		require.NoError(w, ch.Cancel("tag", false))
		require.NoError(w, ch.Cancel("tag", false), "a second time")
		require.NoError(w, ch.Cancel("nobody", true))
		w.put(q, "late")
		for i := range n {
			d := await(w, ds)
			require.EqualValues(w, i+1, d.DeliveryTag)
			require.NoError(w, d.Ack(false))
		}
		awaitClosed(w, ds)
		w.requireReady(q, 1)
		ds, err = ch.Consume(q, "tag", true, false, false, true, nil)
		require.NoError(w, err)
		require.Equal(w, "late", string(await(w, ds).Body))
	})
}

func TestConsumerEndsWithItsContext(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		q := w.queue(ch, "")
		ctx, cancel := context.WithCancel(w.Context())
		ds, err := ch.ConsumeWithContext(ctx, q, "", false, false, false, false, nil)
		require.NoError(w, err)
		w.put(q, "x")
		d := await(w, ds)
		cancel()
		awaitClosed(w, ds)
		require.NoError(w, d.Ack(false))
		state, err := ch.QueueInspect(q)
		require.NoError(w, err)
		require.Equal(w, amqp.Queue{Name: q}, state)
	})
}

func TestDeletedQueueCancelsItsConsumers(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		q := w.queue(ch, "")
		cancels := ch.NotifyCancel(make(chan string, 1))
		ds, err := ch.Consume(q, "tag", false, false, false, false, nil)
		require.NoError(w, err)
		w.put(q, "x")
		w.requireReady(q, 0)
		n, err := w.channel().QueueDelete(q, false, false, false)
		require.NoError(w, err)
		require.Zero(w, n)
		require.Equal(w, "x", string(await(w, ds).Body))
		awaitClosed(w, ds)
		select {
		case tag := <-cancels:
			require.Equal(w, "tag", tag)
		default:
			require.Fail(w, "the deliveries end before it is told why")
		}
		// The tag is free again.
		q = w.queue(ch, "")
		_, err = ch.Consume(q, "tag", false, false, false, false, nil)
		require.NoError(w, err)
	})
}

func TestDeliveriesReturnToTheirQueueWithTheChannel(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(w *world, ch channel) error
	}{
		{"closed", func(_ *world, ch channel) error { return ch.Close() }},
		{"refused", func(w *world, ch channel) error {
			end := closes(ch)
			err := ch.Ack(999, false)
			requireError(w, await(w, end), amqp.PreconditionFailed, "PRECONDITION_FAILED - unknown delivery tag 999")
			return err
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			both(t, func(w *world) {
				ch := w.channel()
				q := w.queue(ch, "q")
				bodies := make([]string, 100)
				for i := range bodies {
					bodies[i] = fmt.Sprint(i)
				}
				w.put(q, bodies...)
				ds, err := ch.Consume(q, "", false, false, false, false, nil)
				require.NoError(w, err)
				d := await(w, ds)
				require.NoError(w, d.Ack(false))
				d = await(w, ds)
				w.requireReady(q, 0)
				require.NoError(w, tc.end(w, ch))
				for range ds { // one that was under way may come
				}
				require.ErrorIs(w, d.Ack(false), amqp.ErrClosed)
				w.requireReady(q, 99)
				d = w.get(w.channel(), q)
				require.True(w, d.Redelivered)
				require.Equal(w, "1", string(d.Body))
			})
		})
	}
}

func TestRefusedConsumers(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(w *world, ch channel, noWait bool) (<-chan amqp.Delivery, error)
		code int
		text string
	}{
		{"no queue", func(_ *world, ch channel, noWait bool) (<-chan amqp.Delivery, error) {
			return ch.Consume("none", "", false, false, false, noWait, nil)
		}, amqp.NotFound, "NOT_FOUND - no queue 'none' in vhost '/'"},
		{"exclusive", func(w *world, ch channel, noWait bool) (<-chan amqp.Delivery, error) {
			w.queue(ch, "q")
			_, err := ch.Consume("q", "", false, true, false, false, nil)
			require.NoError(w, err)
			return ch.Consume("q", "", false, false, false, noWait, nil)
		}, amqp.AccessRefused, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"},
		{"a tag in use", func(w *world, ch channel, noWait bool) (<-chan amqp.Delivery, error) {
			w.queue(ch, "q")
			_, err := ch.Consume("q", "tag", false, false, false, false, nil)
			require.NoError(w, err)
			return ch.Consume("q", "tag", false, false, false, noWait, nil)
		}, amqp.NotAllowed, "NOT_ALLOWED - attempt to reuse consumer tag 'tag'"},
	} {
		for _, noWait := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, no wait %t", tc.name, noWait), func(t *testing.T) {
				both(t, func(w *world) {
					ch := w.channel()
					end := closes(ch)
					ds, err := tc.do(w, ch, noWait)
					if noWait {
						require.NoError(w, err)
						awaitClosed(w, ds)
					} else {
						requireError(w, err, tc.code, tc.text)
						require.Nil(w, ds)
					}
					requireError(w, await(w, end), tc.code, tc.text)
					_, err = ch.Consume("q", "", false, false, false, false, nil)
					require.ErrorIs(w, err, amqp.ErrClosed)
				})
			})
		}
	}
}

func TestChannelsAreUsedFromManyGoroutines(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		q := w.queue(ch, "")
		require.NoError(w, ch.Confirm(false))
		confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 16))
		const publishers, consumers, each = 4, 3, 200
		var wg sync.WaitGroup
		for range publishers {
			wg.Go(func() {
				for range each {
					d, err := ch.PublishWithDeferredConfirm("", q, false, false, amqp.Publishing{})
					require.NoError(w, err)
					w.acked(d, true)
				}
			})
		}
		left := make(chan struct{}, publishers*each)
		inOrder := make(chan bool, 1)
		go func() { // the client reads nothing while it tells a listener
			for i := range uint64(publishers * each) {
				if c := <-confirms; c != (amqp.Confirmation{DeliveryTag: i + 1, Ack: true}) {
					inOrder <- false
					return
				}
			}
			inOrder <- true
		}()
		for range consumers {
			ds, err := ch.Consume(q, "", false, false, false, false, nil)
			require.NoError(w, err)
			wg.Go(func() {
				for d := range ds {
					require.NoError(w, d.Ack(false))
					left <- struct{}{}
				}
			})
		}
		for range publishers * each {
			await(w, left)
		}
		require.True(w, await(w, inOrder))
		require.NoError(w, ch.Qos(0, 0, false)) // the acks have arrived
		require.NoError(w, ch.Close())
		wg.Wait()
		w.requireReady(q, 0)
	})
}
