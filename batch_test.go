package warren_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/intercept"
)

func batchTo(exchange, key string, bodies ...string) (batch []warren.Publishing) {
	for _, body := range bodies {
		batch = append(batch, warren.Publishing{Exchange: exchange, RoutingKey: key, Message: text(body)})
	}
	return batch
}

func numbers(n int) (all []string) {
	for i := range n {
		all = append(all, strconv.Itoa(i))
	}
	return all
}

func TestABatchWaitsForEveryQueueOfEveryMessage(t *testing.T) {
	withLate(t, func(t *testing.T, _ *warren.Broker, ch *warren.Channel, _ late) {
		ctx := t.Context()
		confirmed := make(chan error, 1)
		batch := append(batchTo("", "q", "a", "b"), batchTo("amq.fanout", "", "c", "d")...)
		go func() { confirmed <- ch.PublishBatch(ctx, batch) }()
		synctest.Wait()
		require.Empty(t, confirmed)
		_, err := ch.PurgeQueue(ctx, "late")
		require.NoError(t, err)
		require.NoError(t, <-confirmed)
		require.Equal(t, []string{"a", "b", "c", "d"}, drained(t, ch, "q"))
	})
}

func TestABatchWhoseContextEndsTellsWhichOutcomesAreNotKnown(t *testing.T) {
	withLate(t, func(t *testing.T, _ *warren.Broker, ch *warren.Channel, _ late) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		batch := append(batchTo("amq.fanout", "", "no", "a"), batchTo("", "q", "b")...)
		err := ch.PublishBatch(ctx, batch)
		require.EqualError(t, err, "message 1 of 3: warren: publish to exchange 'amq.fanout' with routing key '': refused by a queue\n"+
			"message 2 of 3: context deadline exceeded")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, []string{"no", "a", "b"}, drained(t, ch, "q"))
		_, err = ch.PurgeQueue(t.Context(), "late") // which answers nobody any more
		require.NoError(t, err)
		require.ErrorIs(t, ch.PublishBatch(ctx, batchTo("", "q", "late")), context.DeadlineExceeded)
		require.Empty(t, drained(t, ch, "q"))
	})
}

func TestABatchEndsWithItsChannel(t *testing.T) {
	withLate(t, func(t *testing.T, _ *warren.Broker, ch *warren.Channel, _ late) {
		ended := make(chan error, 1)
		go func() { ended <- ch.PublishBatch(context.Background(), batchTo("", "late", "a", "b")) }()
		synctest.Wait()
		require.Empty(t, ended)
		require.NoError(t, ch.Close())
		err := <-ended
		require.ErrorIs(t, err, warren.ErrChannelClosed)
		require.ErrorContains(t, err, "message 1 of 2")
		require.ErrorContains(t, err, "message 2 of 2")
	})
}

func TestWhatPrecedesAMessageThatCannotBeSentIsPublished(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	filled(t, ch, "q")
	for _, before := range []int{0, 1, 511, 512, 513} {
		batch := batchTo("", "q", numbers(before+2)...)
		batch[before].RoutingKey = strings.Repeat("k", 256)
		err := ch.PublishBatch(t.Context(), batch)
		require.ErrorContains(t, err, "message "+strconv.Itoa(before+1)+" of "+strconv.Itoa(before+2))
		require.Len(t, drained(t, ch, "q"), before)
		require.NoError(t, ch.Err())
	}
}

// Whoever shares a channel with a batch takes turns with it; all messages are there
// once, and those of each batch in order.
func TestBatchesOfSeveralGoroutinesShareAChannel(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	filled(t, ch, "q")
	const batches, size = 4, 1300
	var all sync.WaitGroup
	for i := range batches {
		bodies := numbers(size)
		for j := range bodies {
			bodies[j] = strconv.Itoa(i) + "/" + bodies[j]
		}
		all.Go(func() {
			if err := ch.PublishBatch(context.Background(), batchTo("", "q", bodies...)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	next := map[string]int{}
	for _, body := range drained(t, ch, "q") {
		from, number, _ := strings.Cut(body, "/")
		require.Equal(t, strconv.Itoa(next[from]), number)
		next[from]++
	}
	require.Equal(t, map[string]int{"0": size, "1": size, "2": size, "3": size}, next)
}

func TestWhatAnInterceptorDropsOfABatchCountsAsTaken(t *testing.T) {
	t.Parallel()
	_, ch := intercepting(t, intercept.On(func(_ intercept.Client, p *intercept.Publish) error {
		p.Drop = string(p.Content.Body()) == "drop"
		if string(p.Content.Body()) == "refuse" {
			return errors.New("no")
		}
		return nil
	}))
	filled(t, ch, "q")
	require.NoError(t, ch.PublishBatch(t.Context(), batchTo("", "q", "a", "drop", "b", "drop")))
	require.Equal(t, []string{"a", "b"}, drained(t, ch, "q"))
	err := ch.PublishBatch(t.Context(), batchTo("", "q", "a", "drop", "refuse", "b"))
	require.ErrorContains(t, err, "message 3 of 4")
	require.NotContains(t, err.Error(), "message 2")
}

// An interceptor may take its time.
func TestABatchStopsWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, ch := intercepting(t, intercept.On(func(_ intercept.Client, p *intercept.Publish) error {
		if string(p.Content.Body()) == "2" {
			cancel()
		}
		return nil
	}))
	filled(t, ch, "q")
	err := ch.PublishBatch(ctx, batchTo("", "q", numbers(5)...))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "message 4 of 5")
	require.NotContains(t, err.Error(), "message 5")
	require.Equal(t, numbers(3), drained(t, ch, "q"))
}
