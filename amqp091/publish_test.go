package amqp091_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

func TestPropertiesArriveAsPublished(t *testing.T) {
	at := time.Date(2020, 2, 3, 4, 5, 6, 7, time.UTC)
	whole := time.Unix(at.Unix(), 0)
	for _, tc := range []struct {
		name string
		give amqp.Publishing
		want amqp.Delivery
	}{
		{"none", amqp.Publishing{}, amqp.Delivery{Body: []byte{}}},
		{"a body", amqp.Publishing{Body: []byte("x")}, amqp.Delivery{Body: []byte("x")}},
		{"all", amqp.Publishing{
			ContentType: "t", ContentEncoding: "e", DeliveryMode: 2, Priority: 9, CorrelationId: "c",
			ReplyTo: "r", MessageId: "m", Timestamp: at, Type: "y", UserId: "guest", AppId: "a",
		}, amqp.Delivery{
			ContentType: "t", ContentEncoding: "e", DeliveryMode: 2, Priority: 9, CorrelationId: "c",
			ReplyTo: "r", MessageId: "m", Timestamp: whole, Type: "y", UserId: "guest", AppId: "a", Body: []byte{},
		}},
		{"no headers", amqp.Publishing{Headers: amqp.Table{}}, amqp.Delivery{Body: []byte{}}},
		{"headers", amqp.Publishing{Headers: amqp.Table{
			"bool": true, "byte": byte(255), "int8": int8(-1), "int16": int16(-2), "int": -3, "int32": int32(-4),
			"int64": int64(-5), "uint16": uint16(6), "uint32": uint32(7), "float32": float32(0.5), "float64": 0.25,
			"string": "s", "bytes": []byte("b"), "empty": []byte{}, "nil": nil, "time": at,
			"decimal": amqp.Decimal{Scale: 2, Value: -12345},
			"table":   amqp.Table{"in": amqp.Table{}, "int": 1}, "array": []any{1, "two", amqp.Table{"n": int64(3)}, nil},
			"nothing": []any{}, "wide int": math.MaxInt32 + 2,
		}}, amqp.Delivery{Headers: amqp.Table{
			"bool": true, "byte": byte(255), "int8": int8(-1), "int16": int16(-2), "int": int32(-3), "int32": int32(-4),
			"int64": int64(-5), "uint16": uint16(6), "uint32": uint32(7), "float32": float32(0.5), "float64": 0.25,
			"string": "s", "bytes": []byte("b"), "empty": []byte{}, "nil": nil, "time": whole,
			"decimal": amqp.Decimal{Scale: 2, Value: -12345},
			"table":   amqp.Table{"in": amqp.Table{}, "int": int32(1)}, "array": []any{int32(1), "two", amqp.Table{"n": int64(3)}, nil},
			"nothing": []any(nil), "wide int": int32(math.MinInt32 + 1),
		}, Body: []byte{}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			both(t, func(w *world) {
				ch := w.channel()
				returns := ch.NotifyReturn(make(chan amqp.Return, 1))
				q := w.queue(ch, "q")
				ds, err := ch.Consume(q, "c", true, false, false, false, nil)
				require.NoError(w, err)
				require.NoError(w, ch.Publish("amq.direct", "nowhere", true, false, tc.give))
				require.NoError(w, ch.Publish("", q, false, false, tc.give))

				got, want := await(w, ds), tc.want
				require.Equal(w, amqp.Acknowledger(ch), got.Acknowledger)
				got.Acknowledger = nil
				want.ConsumerTag, want.DeliveryTag, want.RoutingKey = "c", 1, q
				require.Equal(w, want, got)

				ret := await(w, returns)
				require.Equal(w, amqp.Return{
					ReplyCode: amqp.NoRoute, ReplyText: "NO_ROUTE", Exchange: "amq.direct", RoutingKey: "nowhere",
					Headers: want.Headers, ContentType: want.ContentType, ContentEncoding: want.ContentEncoding,
					DeliveryMode: want.DeliveryMode, Priority: want.Priority, CorrelationId: want.CorrelationId,
					ReplyTo: want.ReplyTo, Expiration: want.Expiration, MessageId: want.MessageId,
					Timestamp: want.Timestamp, Type: want.Type, UserId: want.UserId, AppId: want.AppId, Body: want.Body,
				}, ret)

				require.NoError(w, ch.Publish("", q, false, false, tc.give))
				require.Equal(w, want.Headers, await(w, ds).Headers)
			})
		})
	}
}

func TestWhatIsPublishedMayBeChangedAfterwards(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		q := w.queue(ch, "")
		msg := amqp.Publishing{Body: []byte("one"), Headers: amqp.Table{"k": []byte("one")}}
		require.NoError(w, ch.Publish("", q, false, false, msg))
		copy(msg.Body, "two")
		copy(msg.Headers["k"].([]byte), "two")
		d := w.get(ch, q)
		require.Equal(w, "one", string(d.Body))
		require.Equal(w, []byte("one"), d.Headers["k"])
		d.Body = append(d.Body, '!')
	})
}

func TestConfirmsComeInTheirOrder(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		q := w.queue(ch, "")
		require.EqualValues(w, 1, ch.GetNextPublishSeqNo())
		d, err := ch.PublishWithDeferredConfirm("", q, false, false, amqp.Publishing{})
		require.NoError(w, err)
		require.Nil(w, d, "not in confirm mode")
		require.EqualValues(w, 1, ch.GetNextPublishSeqNo())

		require.NoError(w, ch.Confirm(false))
		const n = 100
		both := ch.NotifyPublish(make(chan amqp.Confirmation, n))
		acks, nacks := ch.NotifyConfirm(make(chan uint64, n), make(chan uint64, n))
		var ds []*amqp.DeferredConfirmation
		for i := range uint64(n) {
			require.Equal(w, i+1, ch.GetNextPublishSeqNo())
			key := q
			if i%3 == 0 {
				key = "nowhere"
			}
			d, err := ch.PublishWithDeferredConfirmWithContext(w.Context(), "", key, false, false, amqp.Publishing{})
			require.NoError(w, err)
			require.Equal(w, i+1, d.DeliveryTag)
			ds = append(ds, d)
		}
		for i, d := range ds {
			w.acked(d, true)
			require.True(w, d.Acked())
			require.Equal(w, amqp.Confirmation{DeliveryTag: uint64(i + 1), Ack: true}, await(w, both))
			require.Equal(w, uint64(i+1), await(w, acks))
		}
		require.NoError(w, ch.Close())
		awaitClosed(w, both)
		awaitClosed(w, acks)
		awaitClosed(w, nacks)
	})
}

func TestReturnsComeBeforeTheirConfirms(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		require.NoError(w, ch.Confirm(false))
		returns := ch.NotifyReturn(make(chan amqp.Return, 1))
		confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 1))
		for range 50 {
			d, err := ch.PublishWithDeferredConfirm("", "nowhere", true, false, amqp.Publishing{})
			require.NoError(w, err)
			require.True(w, await(w, confirms).Ack)
			select {
			case <-returns:
			default:
				require.Fail(w, "confirmed but not returned")
			}
			w.acked(d, true)
		}
	})
}

func TestOneListenerForAcksAndNacks(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		require.NoError(w, ch.Confirm(false))
		one := make(chan uint64, 1)
		ch.NotifyConfirm(one, one)
		require.NoError(w, ch.Publish("", "nowhere", false, false, amqp.Publishing{}))
		require.EqualValues(w, 1, await(w, one))
		require.NoError(w, ch.Close())
		awaitClosed(w, one)
	})
}

func TestManyReturnsAreAllTold(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		const n = 5000
		returns := ch.NotifyReturn(make(chan amqp.Return))
		got := make(chan int)
		go func() {
			count := 0
			for range returns {
				count++
			}
			got <- count
		}()
		for range n {
			require.NoError(w, ch.Publish("", "nowhere", true, false, amqp.Publishing{Body: []byte("x")}))
		}
		// What is called has an answer when all before it was told.
		require.NoError(w, ch.Qos(0, 0, false))
		require.NoError(w, ch.Close())
		require.Equal(w, n, await(w, got))
	})
}

func TestDeferredConfirmsAreGivenUpWithTheChannel(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		require.NoError(w, ch.Confirm(false))
		end := closes(ch)
		d, err := ch.PublishWithDeferredConfirm("none", "", false, false, amqp.Publishing{})
		require.NoError(w, err)
		require.Error(w, await(w, end))
		w.acked(d, false)
		require.False(w, d.Acked())
		d, err = ch.PublishWithDeferredConfirm("", "", false, false, amqp.Publishing{})
		require.ErrorIs(w, err, amqp.ErrClosed)
		require.Nil(w, d)
	})
}

func TestRefusedPublishesCloseTheChannel(t *testing.T) {
	body := func(w *world, ch channel, msg amqp.Publishing) error {
		return ch.PublishWithContext(w.Context(), "", "q", false, false, msg)
	}
	for _, tc := range []struct {
		name string
		do   func(w *world, ch channel) error
		code int
		text string
	}{
		{"no exchange", func(_ *world, ch channel) error {
			return ch.Publish("none", "", false, false, amqp.Publishing{})
		}, amqp.NotFound, "NOT_FOUND - no exchange 'none' in vhost '/'"},
		{"immediate", func(_ *world, ch channel) error {
			return ch.Publish("", "", false, true, amqp.Publishing{})
		}, amqp.NotImplemented, "NOT_IMPLEMENTED - immediate=true"},
		{"another user", func(w *world, ch channel) error {
			return body(w, ch, amqp.Publishing{UserId: "root"})
		}, amqp.PreconditionFailed, "PRECONDITION_FAILED - user_id property set to 'root' but authenticated user was 'guest'"},
		{"delivery mode", func(w *world, ch channel) error {
			return body(w, ch, amqp.Publishing{DeliveryMode: 3})
		}, amqp.PreconditionFailed, "PRECONDITION_FAILED - invalid message: {delivery_mode_unknown,3}"},
		{"a float that is not finite", func(w *world, ch channel) error {
			return body(w, ch, amqp.Publishing{Headers: amqp.Table{"nan": math.NaN()}})
		}, amqp.InternalError, "INTERNAL_ERROR"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			both(t, func(w *world) {
				ch := w.channel()
				end, connEnd := closes(ch), closes(w)
				require.NoError(w, tc.do(w, ch))
				requireError(w, await(w, end), tc.code, tc.text)
				awaitClosed(w, end)
				require.True(w, ch.IsClosed())
				require.ErrorIs(w, ch.Publish("", "", false, false, amqp.Publishing{}), amqp.ErrClosed)
				if tc.code < 500 {
					require.False(w, w.IsClosed())
					return
				}
				requireError(w, await(w, connEnd), tc.code, tc.text)
				require.True(w, w.IsClosed())
			})
		})
	}
}

func TestWhatTheClientRefusesToSend(t *testing.T) {
	long := strings.Repeat("x", 256)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		name   string
		do     func(ch channel) error
		want   error // if it is one to compare with
		closes bool
	}{
		{"a header of no type", func(ch channel) error {
			return ch.Publish("", "", false, false, amqp.Publishing{Headers: amqp.Table{"k": struct{}{}}})
		}, amqp.Table{"k": struct{}{}}.Validate(), false},
		{"an argument of no type", func(ch channel) error {
			_, err := ch.QueueDeclare("", false, false, false, false, amqp.Table{"k": []any{uint64(1)}})
			return err
		}, amqp.Table{"k": []any{uint64(1)}}.Validate(), false},
		{"a context that has ended", func(ch channel) error {
			return ch.PublishWithContext(cancelled, "", "", false, false, amqp.Publishing{})
		}, context.Canceled, false},
		{"a consumer's context that has ended", func(ch channel) error {
			_, err := ch.ConsumeWithContext(cancelled, "q", "", false, false, false, false, nil)
			return err
		}, context.Canceled, false},
		{"a prefetch below 0", func(ch channel) error { return ch.Qos(-1, 0, false) }, nil, false},
		{"a long routing key", func(ch channel) error {
			return ch.Publish("", long, false, false, amqp.Publishing{})
		}, nil, true},
		{"a long property", func(ch channel) error {
			return ch.Publish("", "", false, false, amqp.Publishing{AppId: long})
		}, nil, true},
		{"a long header name", func(ch channel) error {
			return ch.Publish("", "", false, false, amqp.Publishing{Headers: amqp.Table{"t": []any{amqp.Table{long: 1}}}})
		}, nil, true},
		{"a long queue name", func(ch channel) error { _, err := ch.QueueInspect(long); return err }, nil, true},
		{"a long queue name to get from", func(ch channel) error { _, _, err := ch.Get(long, true); return err }, nil, true},
		{"a long queue name to purge", func(ch channel) error { _, err := ch.QueuePurge(long, false); return err }, nil, true},
		{"a long consumer tag", func(ch channel) error { return ch.Cancel(long, false) }, nil, true},
		{"a long exchange name", func(ch channel) error { return ch.ExchangeDelete(long, false, false) }, nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			both(t, func(w *world) {
				ch := w.channel()
				end := closes(w)
				err := tc.do(ch)
				require.Error(w, err)
				if tc.want != nil {
					require.Equal(w, tc.want, err)
				}
				if !tc.closes {
					require.NoError(w, ch.Qos(0, 0, false))
					return
				}
				e := await(w, end)
				require.Equal(w, &amqp.Error{Code: amqp.FrameError, Reason: err.Error()}, e)
				require.ErrorIs(w, tc.do(ch), amqp.ErrClosed)
			})
		})
	}
}

func TestTransactions(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		q := w.queue(ch, "")
		requireError(w, w.channel().TxCommit(), amqp.PreconditionFailed, "PRECONDITION_FAILED - channel is not transactional")
		require.NoError(w, ch.Tx())
		require.NoError(w, ch.Publish("", q, false, false, amqp.Publishing{Body: []byte("a")}))
		require.NoError(w, ch.TxRollback())
		require.NoError(w, ch.Publish("", q, false, false, amqp.Publishing{Body: []byte("b")}))
		w.requireReady(q, 0)
		require.NoError(w, ch.TxCommit())
		w.requireReady(q, 1)
		d := w.get(ch, q)
		require.Equal(w, "b", string(d.Body))
		require.NoError(w, d.Ack(false))
		requireError(w, ch.Confirm(false), amqp.PreconditionFailed, "PRECONDITION_FAILED - cannot switch from tx to confirm mode")
		w.requireReady(q, 1)
	})
}
