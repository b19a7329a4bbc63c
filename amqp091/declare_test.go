package amqp091_test

import (
	"math"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

func TestTopology(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		require.NoError(w, ch.ExchangeDeclare("a", "topic", true, false, false, false, nil))
		require.NoError(w, ch.ExchangeDeclare("a", "topic", true, false, false, true, amqp.Table{}))
		require.NoError(w, ch.ExchangeDeclare("b", "headers", false, true, true, false, amqp.Table{"x-mine": int32(1)}))
		require.NoError(w, ch.ExchangeDeclarePassive("b", "does", true, true, false, false, nil))
		q, err := ch.QueueDeclare("q", true, false, false, false, nil)
		require.NoError(w, err)
		require.Equal(w, amqp.Queue{Name: "q"}, q)
		require.NoError(w, ch.ExchangeBind("b", "x.#", "a", false, nil))
		require.NoError(w, ch.QueueBind("q", "", "b", false, amqp.Table{"x-match": "all", "n": 1, "t": amqp.Table{"s": "v"}}))
		publish := func(headers amqp.Table) {
			require.NoError(w, ch.Publish("a", "x.y", false, false, amqp.Publishing{Headers: headers}))
		}
		match := amqp.Table{"n": 1, "t": amqp.Table{"s": "v"}, "more": 2}
		publish(match)
		publish(amqp.Table{"n": 2})
		q, err = ch.QueueInspect("q")
		require.NoError(w, err)
		require.Equal(w, amqp.Queue{Name: "q", Messages: 1}, q)
		require.NoError(w, ch.QueueUnbind("q", "", "b", amqp.Table{"x-match": "all", "n": int32(1), "t": amqp.Table{"s": "v"}}))
		require.NoError(w, ch.QueueUnbind("q", "", "b", nil), "again, but the exchange went with its last binding")
		publish(match)
		n, err := ch.QueuePurge("q", false)
		require.NoError(w, err)
		require.Equal(w, 1, n)
		require.NoError(w, ch.ExchangeUnbind("b", "x.#", "a", false, nil))
		require.NoError(w, ch.ExchangeDelete("a", true, false))
		w.put("q", "one", "two")
		n, err = ch.QueueDelete("q", true, false, false)
		require.NoError(w, err)
		require.Equal(w, 2, n)
		n, err = ch.QueueDelete("q", false, false, false)
		require.NoError(w, err)
		require.Zero(w, n)
	})
}

func TestNoWait(t *testing.T) {
	both(t, func(w *world) {
		ch := w.channel()
		q, err := ch.QueueDeclare("q", false, false, false, true, nil)
		require.NoError(w, err)
		require.Equal(w, amqp.Queue{Name: "q"}, q)
		q, err = ch.QueueDeclare("", false, false, true, true, nil)
		require.NoError(w, err)
		require.Equal(w, amqp.Queue{}, q, "only the broker knows its name")
		q, err = ch.QueueDeclarePassive("q", false, false, false, true, nil)
		require.NoError(w, err)
		require.Equal(w, amqp.Queue{Name: "q"}, q)
		require.NoError(w, ch.ExchangeDeclare("x", "fanout", false, false, false, true, nil))
		require.NoError(w, ch.ExchangeDeclarePassive("x", "fanout", false, false, false, true, nil))
		require.NoError(w, ch.ExchangeDeclare("y", "fanout", false, false, false, true, nil))
		require.NoError(w, ch.ExchangeBind("y", "", "x", true, nil))
		require.NoError(w, ch.QueueBind("q", "", "y", true, nil))
		require.NoError(w, ch.Publish("x", "", false, false, amqp.Publishing{}))
		w.requireReady("q", 1)
		n, err := ch.QueuePurge("q", true)
		require.NoError(w, err)
		require.Zero(w, n)
		w.requireReady("q", 0)
		require.NoError(w, ch.ExchangeUnbind("y", "", "x", true, nil))
		require.NoError(w, ch.ExchangeDelete("x", false, true))
		w.put("q", "x")
		n, err = ch.QueueDelete("q", false, false, true)
		require.NoError(w, err)
		require.Zero(w, n)
		_, err = ch.QueueInspect("q")
		requireError(w, err, amqp.NotFound, "NOT_FOUND - no queue 'q' in vhost '/'")
	})
}

func TestRefusals(t *testing.T) {
	declare := func(ch channel, durable bool, args amqp.Table) error {
		_, err := ch.QueueDeclare("q", durable, false, false, false, args)
		return err
	}
	for _, tc := range []struct {
		name string
		do   func(w *world, ch channel) error
		code int
		text string
	}{
		{"inspect", func(w *world, ch channel) error {
			q, err := ch.QueueInspect("none")
			require.Equal(w, amqp.Queue{Name: "none"}, q)
			return err
		}, amqp.NotFound, "NOT_FOUND - no queue 'none' in vhost '/'"},
		{"declare passively", func(w *world, ch channel) error {
			q, err := ch.QueueDeclarePassive("none", false, false, false, false, nil)
			require.Zero(w, q)
			return err
		}, amqp.NotFound, "NOT_FOUND - no queue 'none' in vhost '/'"},
		{"declare otherwise", func(w *world, ch channel) error {
			require.NoError(w, declare(ch, false, nil))
			return declare(ch, true, nil)
		}, amqp.PreconditionFailed, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'"},
		{"another's queue", func(w *world, ch channel) error {
			_, err := ch.QueueDeclare("mine", false, false, true, false, nil)
			require.NoError(w, err)
			_, open := w.connect()
			other, err := open()
			require.NoError(w, err)
			_, err = other.QueueInspect("mine")
			_ = ch.ExchangeDelete("", false, false) // so that this channel is closed too
			return err
		}, amqp.ResourceLocked, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'. " +
			"It could be originally declared on another connection or the exclusive property value does not match that of the original declaration."},
		{"exchange declare", func(_ *world, ch channel) error {
			return ch.ExchangeDeclare("amq.mine", "direct", false, false, false, false, nil)
		}, amqp.AccessRefused, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'"},
		{"exchange declare passively", func(_ *world, ch channel) error {
			return ch.ExchangeDeclarePassive("none", "direct", false, false, false, false, nil)
		}, amqp.NotFound, "NOT_FOUND - no exchange 'none' in vhost '/'"},
		{"exchange of no type", func(_ *world, ch channel) error {
			return ch.ExchangeDeclare("x", "round", false, false, false, false, nil)
		}, amqp.CommandInvalid, "COMMAND_INVALID - unknown exchange type 'round'"},
		{"bind", func(_ *world, ch channel) error {
			return ch.QueueBind("none", "", "amq.direct", false, nil)
		}, amqp.NotFound, "NOT_FOUND - no queue 'none' in vhost '/'"},
		{"bind exchanges", func(_ *world, ch channel) error {
			return ch.ExchangeBind("none", "", "amq.direct", false, nil)
		}, amqp.NotFound, "NOT_FOUND - no exchange 'none' in vhost '/'"},
		{"delete in use", func(w *world, ch channel) error {
			require.NoError(w, declare(ch, false, nil))
			_, err := ch.Consume("q", "", false, false, false, false, nil)
			require.NoError(w, err)
			_, err = ch.QueueDelete("q", true, false, false)
			return err
		}, amqp.PreconditionFailed, "PRECONDITION_FAILED - queue 'q' in vhost '/' in use"},
		{"delete not empty", func(w *world, ch channel) error {
			require.NoError(w, declare(ch, false, nil))
			w.put("q", "x")
			n, err := ch.QueueDelete("q", false, true, false)
			require.Zero(w, n)
			return err
		}, amqp.PreconditionFailed, "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty"},
		{"purge", func(_ *world, ch channel) error {
			_, err := ch.QueuePurge("none", false)
			return err
		}, amqp.NotFound, "NOT_FOUND - no queue 'none' in vhost '/'"},
		{"get", func(w *world, ch channel) error {
			_, ok, err := ch.Get("none", true)
			require.False(w, ok)
			return err
		}, amqp.NotFound, "NOT_FOUND - no queue 'none' in vhost '/'"},
		{"prefetch size", func(_ *world, ch channel) error {
			return ch.Qos(1, 2, false)
		}, amqp.NotImplemented, "NOT_IMPLEMENTED - prefetch_size!=0 (2)"},
		{"flow", func(w *world, ch channel) error {
			require.NoError(w, ch.Flow(true))
			return ch.Flow(false)
		}, amqp.NotImplemented, "NOT_IMPLEMENTED - active=false"},
		{"recover", func(_ *world, ch channel) error { return ch.Recover(false) },
			amqp.NotImplemented, "NOT_IMPLEMENTED - requeue=false"},
		{"confirms of a transaction", func(w *world, ch channel) error {
			require.NoError(w, ch.Tx())
			return ch.Confirm(false)
		}, amqp.PreconditionFailed, "PRECONDITION_FAILED - cannot switch from tx to confirm mode"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			both(t, func(w *world) {
				ch := w.channel()
				requireError(w, tc.do(w, ch), tc.code, tc.text)
				require.True(w, ch.IsClosed())
				_, err := ch.QueueDeclare("", false, false, false, false, nil)
				require.ErrorIs(w, err, amqp.ErrClosed)
				require.NoError(w, ch.Close())
				if tc.code < 500 {
					require.NoError(w, w.channel().Close())
					return
				}
				_, err = w.open()
				require.ErrorIs(w, err, amqp.ErrClosed)
				require.ErrorIs(w, w.Close(), amqp.ErrClosed)
			})
		})
	}
}

func TestArgumentsThatCannotBeDecoded(t *testing.T) {
	both(t, func(w *world) {
		end := closes(w)
		_, err := w.channel().QueueDeclare("q", false, false, false, false, amqp.Table{"x": math.Inf(1)})
		require.Error(w, err)
		e := await(w, end)
		require.Equal(w, err, error(e))
		require.Equal(w, amqp.SyntaxError, e.Code) // its text names the place
	})
}
