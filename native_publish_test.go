package warren_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
)

// late is a queue type that confirms when it is purged, rejects the body "no",
// and for the body "stop" waits in the middle of its turn.
type late struct {
	queue.Type
	goOn chan struct{}
}

func newLate() late { return late{queue.Classic(), make(chan struct{})} }

func (late) Name() string { return "x-late" }

func (l late) Open(s queue.Spec, e queue.Env) (queue.Queue, error) {
	q, err := l.Type.Open(s, e)
	return &lateQueue{Queue: q, goOn: l.goOn}, err
}

type lateQueue struct {
	queue.Queue
	goOn chan struct{}
	refs []message.PublishRef
}

func (q *lateQueue) Enqueue(in []queue.Publish, out *queue.Actions) {
	in = slices.Clone(in)
	for i := range in {
		p := &in[i]
		switch {
		case string(p.Msg.Body()) == "stop":
			<-q.goOn
		case !p.Ref.Wanted():
		case string(p.Msg.Body()) == "no":
			out.Reject = append(out.Reject, p.Ref)
		default:
			q.refs = append(q.refs, p.Ref)
		}
		p.Ref = message.PublishRef{}
	}
	q.Queue.Enqueue(in, out)
}

func (q *lateQueue) Purge(out *queue.Actions) int {
	out.Confirm = append(out.Confirm, q.refs...)
	q.refs = nil
	return 0
}

// withLate runs a test in a bubble, with a channel and the queues "late" and "q",
// both bound to amq.fanout.
func withLate(t *testing.T, f func(t *testing.T, b *warren.Broker, ch *warren.Channel, typ late)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		typ := newLate()
		b, err := warren.New(warren.Options{QueueTypes: []queue.Type{typ}})
		require.NoError(t, err)
		ch, err := b.Channel(t.Context())
		require.NoError(t, err)
		_, err = ch.DeclareQueue(t.Context(), "late", warren.Arg("x-queue-type", "x-late"))
		require.NoError(t, err)
		filled(t, ch, "q")
		for _, q := range []string{"late", "q"} {
			require.NoError(t, ch.BindQueue(t.Context(), q, "amq.fanout", ""))
		}
		f(t, b, ch, typ)
		require.NoError(t, b.Close())
		synctest.Wait()
	})
}

func TestNativeConfirmWaitsForEveryQueue(t *testing.T) {
	withLate(t, func(t *testing.T, _ *warren.Broker, ch *warren.Channel, _ late) {
		ctx := t.Context()
		confirmed := make(chan error, 1)
		go func() { confirmed <- ch.PublishConfirmed(ctx, "amq.fanout", "", text("m")) }()
		synctest.Wait()
		require.Empty(t, confirmed)
		async, err := ch.PublishAsync(ctx, "", "late", text("m"))
		require.NoError(t, err)
		select {
		case <-async.Done():
			require.Fail(t, "not yet")
		default:
		}
		brief, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		require.ErrorIs(t, async.Wait(brief), context.DeadlineExceeded)
		_, err = ch.PurgeQueue(ctx, "late")
		require.NoError(t, err)
		require.NoError(t, <-confirmed)
		require.NoError(t, async.Wait(ctx))
		require.NoError(t, async.Wait(brief), "an outcome that is known is given")
	})
}

func TestNativeRejectedAndUnroutablePublishes(t *testing.T) {
	withLate(t, func(t *testing.T, _ *warren.Broker, ch *warren.Channel, _ late) {
		ctx := t.Context()
		err := ch.PublishConfirmed(ctx, "amq.fanout", "k", text("no"))
		var nack *warren.NackError
		require.ErrorAs(t, err, &nack)
		require.Equal(t, warren.NackError{Exchange: "amq.fanout", RoutingKey: "k"}, *nack)
		require.EqualError(t, err, "warren: publish to exchange 'amq.fanout' with routing key 'k': refused by a queue")
		err = ch.PublishConfirmed(ctx, "amq.direct", "k", text(""))
		var ret *warren.ReturnError
		require.ErrorAs(t, err, &ret)
		require.Equal(t, warren.ReturnError{Exchange: "amq.direct", RoutingKey: "k"}, *ret)
		require.EqualError(t, err, "warren: publish to exchange 'amq.direct' with routing key 'k': NO_ROUTE")
		async, err := ch.PublishAsync(ctx, "amq.direct", "k", text(""))
		require.NoError(t, err)
		require.NoError(t, async.Wait(ctx), "it did not ask for a route")

		err = ch.PublishBatch(ctx, []warren.Publishing{
			{RoutingKey: "q", Message: text("a")},
			{RoutingKey: "late", Message: text("no")},
			{RoutingKey: "nowhere", Message: text("c")},
			{RoutingKey: "q", Message: text("d")},
			{Exchange: "missing", Message: text("e")},
			{RoutingKey: "q", Message: text("f")},
		})
		for _, part := range []string{
			"message 2 of 6: warren: publish to exchange '' with routing key 'late': refused by a queue",
			"message 3 of 6: warren: publish to exchange '' with routing key 'nowhere': NO_ROUTE",
			"message 5 of 6: NOT_FOUND - no exchange 'missing' in vhost '/'",
		} {
			require.ErrorContains(t, err, part)
		}
		require.ErrorAs(t, err, &nack)
		require.ErrorAs(t, err, &ret)
		require.ErrorIs(t, err, warren.NotFound)
		require.NotContains(t, err.Error(), "message 6")
		require.NotContains(t, err.Error(), "message 4")
		require.ErrorIs(t, ch.Err(), warren.NotFound)
	})
}

func TestNativeBatch(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	filled(t, ch, "q")
	require.NoError(t, ch.PublishBatch(t.Context(), nil))
	var batch []warren.Publishing
	var want []string
	for i := range 2000 {
		want = append(want, strconv.Itoa(i))
		batch = append(batch, warren.Publishing{RoutingKey: "q", Message: text(want[i])})
	}
	require.NoError(t, ch.PublishBatch(t.Context(), batch))
	require.Equal(t, want, drained(t, ch, "q"))
}

// A queue that never answers holds nobody when the channel ends.
func TestNativeEndOfTheChannelEndsTheWaitForAConfirm(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*warren.Broker, *warren.Channel) error
		want error
	}{
		"channel closed":  {func(_ *warren.Broker, ch *warren.Channel) error { return ch.Close() }, warren.ErrChannelClosed},
		"broker closed":   {func(b *warren.Broker, _ *warren.Channel) error { return b.Close() }, warren.ErrChannelClosed},
		"broker shutdown": {func(b *warren.Broker, _ *warren.Channel) error { return b.Shutdown(context.Background()) }, warren.ConnectionForced},
	} {
		t.Run(name, func(t *testing.T) {
			withLate(t, func(t *testing.T, b *warren.Broker, ch *warren.Channel, _ late) {
				ended := make(chan error, 1)
				go func() { ended <- ch.PublishConfirmed(context.Background(), "", "late", text("m")) }()
				synctest.Wait()
				require.Empty(t, ended)
				require.NoError(t, c.end(b, ch))
				require.ErrorIs(t, <-ended, c.want)
			})
		})
	}
}

// A publisher that waits for a queue that is behind has its message in there: if
// it waits no longer, nothing is lost and nothing doubled.
func TestNativeFullMailbox(t *testing.T) {
	withLate(t, func(t *testing.T, b *warren.Broker, blocked *warren.Channel, typ late) {
		ctx := context.Background()
		go func() {
			if err := blocked.Publish(ctx, "", "late", text("stop")); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		// Its channel is busy; whoever waits for it waits no longer than asked.
		brief, cancel := context.WithTimeout(ctx, time.Second)
		require.ErrorIs(t, blocked.Publish(brief, "", "late", text("never")), context.DeadlineExceeded)
		cancel()

		publisher := func() *warren.Channel {
			ch, err := b.Channel(ctx)
			require.NoError(t, err)
			return ch
		}
		ch := publisher()
		published := 0
		for brief.Err() != nil { // until it waits, for a second
			brief, cancel = context.WithTimeout(ctx, time.Second)
			begun := time.Now()
			require.NoError(t, ch.Publish(brief, "", "late", text("m")))
			cancel()
			published++
			if time.Since(begun) > 0 {
				break
			}
		}
		require.Greater(t, published, 1000)
		require.ErrorIs(t, ch.Publish(brief, "", "late", text("never")), brief.Err())

		ended := make(chan error, 1)
		closing := publisher()
		go func() { ended <- closing.Publish(ctx, "", "late", text("m")) }()
		synctest.Wait()
		require.Empty(t, ended)
		require.NoError(t, closing.Close())
		require.NoError(t, <-ended)

		close(typ.goOn)
		synctest.Wait()
		require.Len(t, drained(t, ch, "late"), 1+published+1)
	})
}

// The channel of Done is made when somebody asks for it, before or after the outcome.
func TestDoneIsOneChannelWheneverItIsAskedFor(t *testing.T) {
	withLate(t, func(t *testing.T, _ *warren.Broker, ch *warren.Channel, _ late) {
		ctx := t.Context()
		var early []*warren.Confirmation
		var seen sync.WaitGroup
		for range 3 {
			w, err := ch.PublishAsync(ctx, "amq.fanout", "", text("m"))
			require.NoError(t, err)
			early = append(early, w)
			for range 2 {
				seen.Go(func() { <-w.Done() })
				seen.Go(func() {
					if err := w.Wait(ctx); err != nil {
						t.Error(err)
					}
				})
			}
		}
		synctest.Wait()
		unasked, err := ch.PublishAsync(ctx, "amq.fanout", "", text("m"))
		require.NoError(t, err)
		_, err = ch.PurgeQueue(ctx, "late")
		require.NoError(t, err)
		seen.Wait()
		unroutable, err := ch.PublishAsync(ctx, "amq.direct", "", text("m"))
		require.NoError(t, err)
		for _, w := range append(early, unasked, unroutable) {
			<-w.Done()
			require.Equal(t, w.Done(), w.Done())
			require.NoError(t, w.Wait(ctx))
		}
	})
}
