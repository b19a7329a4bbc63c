package warren_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/reply"
)

func TestNativeHandle(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	filled(t, ch, "q", strings.Split("0123456789", "")...)
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	tries := map[string]int{}
	handled := 0
	var busy atomic.Int32
	err := ch.Handle(ctx, "q", 4, func(_ context.Context, d warren.Delivery) error {
		if busy.Add(1) > 4 {
			t.Error("more workers than asked for")
		}
		defer busy.Add(-1)
		mu.Lock()
		defer mu.Unlock()
		if tries[string(d.Body)]++; tries[string(d.Body)] == 1 && d.Body[0]%2 == 0 {
			return errors.New("not now")
		}
		if d.Redelivered != (tries[string(d.Body)] == 2) {
			t.Errorf("%s on try %d", got(d), tries[string(d.Body)])
		}
		if handled++; handled == 10 {
			cancel()
		}
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, busy.Load(), "it waits for its workers")
	require.Empty(t, drained(t, ch, "q"))
}

func TestNativeHandleEnds(t *testing.T) {
	t.Parallel()
	nothing := func(context.Context, warren.Delivery) error { return nil }
	t.Run("without workers", func(t *testing.T) {
		t.Parallel()
		_, ch := nativePair(t)
		require.EqualError(t, ch.Handle(t.Context(), "q", 0, nothing), "warren: handle queue 'q' with 0 workers")
	})
	t.Run("without a queue", func(t *testing.T) {
		t.Parallel()
		_, ch := nativePair(t)
		require.ErrorIs(t, ch.Handle(t.Context(), "q", 2, nothing), warren.NotFound)
	})
	t.Run("with its queue", func(t *testing.T) {
		t.Parallel()
		_, ch := nativePair(t)
		filled(t, ch, "q", "m")
		require.ErrorIs(t, ch.Handle(t.Context(), "q", 2, func(ctx context.Context, _ warren.Delivery) error {
			_, err := ch.DeleteQueue(ctx, "q")
			return err
		}), warren.ErrConsumerCancelled)
	})
	t.Run("with its channel", func(t *testing.T) {
		t.Parallel()
		_, ch := nativePair(t)
		filled(t, ch, "q", "m")
		require.ErrorIs(t, ch.Handle(t.Context(), "q", 2, func(context.Context, warren.Delivery) error {
			return ch.Close()
		}), warren.ErrChannelClosed)
	})
	t.Run("with a settle that was refused", func(t *testing.T) {
		t.Parallel()
		_, ch := nativePair(t)
		filled(t, ch, "q", "m")
		require.ErrorIs(t, ch.Handle(t.Context(), "q", 2, func(_ context.Context, d warren.Delivery) error {
			return errors.Join(errors.New("twice"), d.Ack())
		}), warren.PreconditionFailed)
	})
	t.Run("with its context, whose cause it gives", func(t *testing.T) {
		t.Parallel()
		_, ch := nativePair(t)
		filled(t, ch, "q", "a", "b", "c")
		ctx, cancel := context.WithCancelCause(t.Context())
		done := errors.New("done")
		err := ch.Handle(ctx, "q", 1, func(_ context.Context, d warren.Delivery) error {
			cancel(done)
			return nil
		})
		require.ErrorIs(t, err, done)
		require.NoError(t, ch.Err())
		require.Subset(t, []string{"b", "b*", "c", "c*"}, drained(t, ch, "q"))
	})
}

func TestNativeHandleWithoutAcknowledgementSettlesNothing(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	filled(t, ch, "q", "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	require.ErrorIs(t, ch.Handle(ctx, "q", 1, func(context.Context, warren.Delivery) error {
		if n++; n == 2 {
			cancel()
			return nil
		}
		return errors.New("nobody cares")
	}, warren.NoAck()), context.Canceled)
	require.Equal(t, 2, n)
	require.NoError(t, ch.Err())
}

func TestNativeReturns(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	ctx := t.Context()
	m := warren.Message{Properties: warren.Properties{ContentType: "text/plain"}, Body: []byte("0")}
	require.NoError(t, ch.Publish(ctx, "amq.direct", "k", m))
	for i := range 3 {
		m.Body = []byte(strconv.Itoa(i))
		require.NoError(t, ch.Publish(ctx, "amq.direct", "k", m, warren.Mandatory()))
	}
	next := 0
	for range 2 { // a loop that is begun again goes on
		for r, err := range ch.Returns(ctx) {
			require.NoError(t, err)
			require.Equal(t, []string{"amq.direct", "k", "text/plain", strconv.Itoa(next)},
				[]string{r.Exchange, r.RoutingKey, r.ContentType, string(r.Body)})
			require.Equal(t, reply.NoRoute, r.Code)
			if next++; next > 1 {
				break
			}
		}
	}
	require.Equal(t, 3, next)
	brief, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range ch.Returns(brief) {
		require.ErrorIs(t, err, context.Canceled)
	}
}

func TestNativeReturnsThatNobodyTakesAreDropped(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ size, published, kept int }{
		"by number":    {4, 3000, 1024},
		"by size":      {300 << 10, 10, 3},
		"but the last": {2 << 20, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, ch := nativePair(t)
			for i := range c.published {
				body := make([]byte, c.size)
				copy(body, strconv.Itoa(i))
				require.NoError(t, ch.Publish(t.Context(), "", "nowhere", warren.Message{Body: body}, warren.Mandatory()))
			}
			next := c.published - c.kept
			for r, err := range ch.Returns(t.Context()) {
				require.NoError(t, err)
				require.Equal(t, strconv.Itoa(next), strings.TrimRight(string(r.Body), "\x00"))
				if next++; next == c.published {
					break
				}
			}
		})
	}
}

func TestNativeReturnsGoToOneOfSeveralLoops(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	const n = 500
	var seen sync.Map
	var all sync.WaitGroup
	var left atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil { // each return leaves the loop, which is begun again
				for r, err := range ch.Returns(ctx) {
					if err != nil {
						break
					}
					if _, twice := seen.LoadOrStore(string(r.Body), true); twice {
						t.Errorf("%s came twice", r.Body)
					}
					if left.Add(1) == n {
						cancel()
					}
					break
				}
			}
		})
	}
	for i := range n {
		require.NoError(t, ch.Publish(t.Context(), "", "nowhere", text(strconv.Itoa(i)), warren.Mandatory()))
	}
	all.Wait()
	require.EqualValues(t, n, left.Load())
}

// A user's own exchange type that panics ends this channel as it would a
// connection, and nobody waits for what it held.
func TestNativePanicOfAnExchangeTypeEndsTheChannel(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{ExchangeTypes: []exchange.Type{faulty{}}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ch := native(t, b)
	_, err := ch.DeclareQueue(ctx, "mine", warren.Exclusive())
	require.NoError(t, err)
	require.NoError(t, ch.DeclareExchange(ctx, "x", "x-faulty"))
	requireRefusal(t, ch, ch.Publish(ctx, "x", "k", text("m")), reply.InternalError, "INTERNAL_ERROR")
	require.NoError(t, ch.Close())
	ch = native(t, b)
	requireRefusal(t, ch, ch.BindQueue(ctx, "mine", "x", "k"), warren.NotFound, "NOT_FOUND - no queue 'mine' in vhost '/'")
}

// faulty is an exchange type with a fault in its code.
type faulty struct{ bySize }

func (faulty) Name() string                      { return "x-faulty" }
func (faulty) Validate(exchange.Spec) error      { return nil }
func (faulty) New(exchange.Spec) exchange.Router { return faultyRouter{} }

type faultyRouter struct{ exchange.Router }

func (faultyRouter) Route(*exchange.Subject, []*exchange.Destination) []*exchange.Destination {
	panic("oops")
}

// Many goroutines share one channel for everything at once.
func TestNativeChannelIsSafeForManyGoroutines(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	filled(t, ch, "q")
	filled(t, ch, "other")
	const publishers, each = 4, 200
	ctx := t.Context()
	var all sync.WaitGroup
	check := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for p := range publishers {
		all.Go(func() {
			for i := range each {
				body := fmt.Sprintf("%d/%d", p, i)
				switch i % 4 {
				case 0:
					check(ch.PublishConfirmed(ctx, "", "q", text(body)))
				case 1:
					w, err := ch.PublishAsync(ctx, "", "q", text(body))
					check(err)
					if err == nil {
						check(w.Wait(ctx))
					}
				case 2:
					check(ch.PublishBatch(ctx, []warren.Publishing{{RoutingKey: "q", Message: text(body)}}))
				default:
					check(ch.Publish(ctx, "", "q", text(body)))
				}
			}
		})
	}
	all.Go(func() {
		for i := range each {
			name := fmt.Sprintf("extra-%d", i%3)
			_, err := ch.DeclareQueue(ctx, name)
			check(err)
			check(ch.BindQueue(ctx, name, "amq.topic", "a.*"))
			check(ch.Publish(ctx, "amq.topic", "a.b", text("x")))
			_, err = ch.PurgeQueue(ctx, name)
			check(err)
			check(ch.Qos(ctx, i, false))
			_, _, err = ch.Get(ctx, "other", warren.NoAck())
			check(err)
			_, err = ch.DeleteQueue(ctx, name)
			check(err)
		}
	})
	var mu sync.Mutex
	seen := map[string]int{}
	consuming, stop := context.WithCancel(ctx)
	for range 2 {
		all.Go(func() {
			err := ch.Handle(consuming, "q", 3, func(_ context.Context, d warren.Delivery) error {
				mu.Lock()
				defer mu.Unlock()
				if seen[string(d.Body)]++; len(seen) == publishers*each {
					stop()
				}
				return nil
			}, warren.Prefetch(50))
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	stop()
	require.NoError(t, ch.Err())
	require.Len(t, seen, publishers*each)
	require.Empty(t, drained(t, ch, "q"))
}

// A loop that is woken for a return, but leaves without it, wakes the next one.
func TestNativeReturnsReachALoopThatSleeps(t *testing.T) {
	inBubble(t, func(t *testing.T, b *warren.Broker) {
		ch, err := b.Channel(t.Context())
		require.NoError(t, err)
		for range 100 {
			taken := 0
			var all sync.WaitGroup
			loop := func(ctx context.Context) {
				all.Go(func() {
					for _, err := range ch.Returns(ctx) {
						if err == nil {
							taken++
						}
						return
					}
				})
				synctest.Wait()
			}
			leaving, leave := context.WithCancel(t.Context())
			staying, end := context.WithCancel(t.Context())
			loop(leaving)
			loop(staying)
			require.NoError(t, ch.Publish(t.Context(), "", "nowhere", text("m"), warren.Mandatory()))
			leave()
			synctest.Wait()
			require.Equal(t, 1, taken)
			end()
			all.Wait()
		}
		require.NoError(t, ch.Close())
	})
}

func TestNativeHandleRejectsWhatCannotBeHandled(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	filled(t, ch, "q", "good", "bad")
	ctx, cancel := context.WithCancel(t.Context())
	var seen []string
	err := ch.Handle(ctx, "q", 1, func(_ context.Context, d warren.Delivery) error {
		seen = append(seen, got(d))
		if string(d.Body) == "bad" {
			cancel()
			return fmt.Errorf("parse %s: %w", d.Body, warren.ErrReject)
		}
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, seen, 2)
	require.Empty(t, drained(t, ch, "q"), "neither is in the queue any more")
}

func TestNativeZeroDeliveryCannotBeSettled(t *testing.T) {
	t.Parallel()
	var d warren.Delivery
	for _, err := range []error{d.Ack(), d.Nack(true), d.Reject(false)} {
		require.EqualError(t, err, "warren: settle a delivery that came from no channel")
	}
}

func TestNativeClosedChannelHandsOutNothingThatIsTheQueuesAgain(t *testing.T) {
	t.Parallel()
	for _, noAck := range []bool{false, true} {
		t.Run(fmt.Sprint("no ack ", noAck), func(t *testing.T) {
			t.Parallel()
			_, ch := nativePair(t)
			filled(t, ch, "q", "1", "2", "3")
			var options []warren.ConsumeOption
			if noAck {
				options = append(options, warren.NoAck())
			}
			var seen []string
			var end error
			for d, err := range ch.Consume(t.Context(), "q", options...) {
				if err != nil {
					end = err
					break
				}
				if seen = append(seen, string(d.Body)); len(seen) == 1 {
					require.NoError(t, ch.Close())
				}
			}
			require.Error(t, end)
			if noAck {
				require.Equal(t, []string{"1", "2", "3"}, seen, "they are nobody else's")
			} else {
				require.Equal(t, []string{"1"}, seen)
			}
		})
	}
}
