package amqp091_test

import (
	"context"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/amqp091"
)

func TestAnAlarmHoldsPublishesAndNotifyBlockedTells(t *testing.T) {
	both(t, func(w *world) {
		blockings := w.NotifyBlocked(make(chan amqp.Blocking, 10))
		ch := w.channel()
		flows := ch.NotifyFlow(make(chan bool, 10))
		w.queue(ch, "q")
		require.NoError(w, ch.Confirm(false))

		w.broker.SetAlarm(warren.MemoryAlarm)
		w.broker.SetAlarm(warren.DiskAlarm)
		w.broker.ClearAlarm(warren.DiskAlarm)
		w.broker.ClearAlarm(warren.MemoryAlarm)
		require.Empty(w, blockings, "nothing was published")

		for _, alarm := range []warren.Alarm{warren.MemoryAlarm, warren.DiskAlarm} {
			w.broker.SetAlarm(alarm)
			published := make(chan *amqp.DeferredConfirmation, 2)
			failed := make(chan error, 1)
			go func() {
				for range 2 {
					d, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{Body: []byte("body")})
					if err != nil {
						failed <- err
						return
					}
					published <- d
				}
				failed <- nil
			}()
			require.Equal(w, amqp.Blocking{Active: true, Reason: "low on " + string(alarm)}, await(w, blockings))
			q, err := w.broker.Queue("/", "q")
			require.NoError(w, err)
			require.Zero(w, q.Ready)
			w.broker.ClearAlarm(alarm)
			require.Equal(w, amqp.Blocking{}, await(w, blockings))
			require.NoError(w, await(w, failed))
			for range 2 {
				w.acked(await(w, published), true)
			}
			n, err := ch.QueuePurge("q", false)
			require.NoError(w, err)
			require.Equal(w, 2, n)
		}
		require.NoError(w, w.Close())
		awaitClosed(w, blockings)
		awaitClosed(w, flows)
	})
}

// inMemory gives a connection without a codec, and a channel with a queue "q".
func inMemory(t *testing.T) (*warren.Broker, *amqp091.Connection, *amqp091.Channel) {
	t.Helper()
	b := newBroker(t)
	conn, err := amqp091.Open(b)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // the test may have closed it
	ch, err := conn.Channel()
	require.NoError(t, err)
	_, err = ch.QueueDeclare("q", false, false, false, false, nil)
	require.NoError(t, err)
	return b, conn, ch
}

func TestOnlyPublishesWaitForAnAlarmAndNoLongerThanTheirContext(t *testing.T) {
	t.Parallel()
	b, _, ch := inMemory(t)
	require.NoError(t, ch.Publish("", "q", false, false, amqp.Publishing{}))
	b.SetAlarm(warren.MemoryAlarm)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := ch.PublishWithContext(ctx, "", "q", false, false, amqp.Publishing{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "low on memory")
	d, ok, err := ch.Get("q", false)
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, d.Ack(false))
	b.ClearAlarm(warren.MemoryAlarm)
	_, ok, err = ch.Get("q", false)
	require.NoError(t, err)
	require.False(t, ok, "what did not wait was not published")
}

// Unlike with the client, whose close waits unread, a blocked connection can be
// closed, and a listener that does not listen does not hold it up.
func TestABlockedConnectionCanBeClosed(t *testing.T) {
	t.Parallel()
	b, conn, ch := inMemory(t)
	conn.NotifyBlocked(make(chan amqp.Blocking)) // nobody receives
	why := closes(ch)
	b.SetAlarm(warren.MemoryAlarm)
	failed := make(chan error, 1)
	go func() { failed <- ch.Publish("", "q", false, false, amqp.Publishing{}) }()
	require.Eventually(t, func() bool { return b.Connections()[0].State == "blocked" }, patience, time.Millisecond)
	begin := time.Now()
	require.NoError(t, conn.Close())
	require.Less(t, time.Since(begin), 4*time.Second, "no listener was waited for")
	require.ErrorIs(t, await(t, failed), amqp.ErrClosed)
	awaitClosed(t, why)
}
