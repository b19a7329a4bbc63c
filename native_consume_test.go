package warren_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
)

func TestNativeConsumeGivesAllInOrder(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	const n = 5000
	filled(t, ch, "q")
	go func() {
		for i := range n {
			if err := ch.Publish(t.Context(), "", "q", text(strconv.Itoa(i))); err != nil {
				t.Error(err)
			}
		}
	}()
	next := 0
	for d, err := range ch.Consume(t.Context(), "q", warren.Tag("me"), warren.Exclusive()) {
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(next), got(d))
		require.Equal(t, "me", d.ConsumerTag)
		require.NoError(t, d.Ack())
		if next++; next == n {
			break
		}
	}
	require.Empty(t, drained(t, ch, "q"))
}

// Whatever way a loop is left, what was not settled is back at its place, and the
// channel is fit for another one.
func TestNativeLeavingTheLoop(t *testing.T) {
	t.Parallel()
	type loop func(ctx context.Context, cancel func(), ch *warren.Channel, body func(warren.Delivery)) warren.Delivery
	for name, leave := range map[string]loop{
		"break": func(ctx context.Context, _ func(), ch *warren.Channel, body func(warren.Delivery)) (last warren.Delivery) {
			for d := range ch.Consume(ctx, "q") {
				if body(d); string(d.Body) == "2" {
					last = d
					break
				}
			}
			return last
		},
		"panic": func(ctx context.Context, _ func(), ch *warren.Channel, body func(warren.Delivery)) (last warren.Delivery) {
			defer func() { _ = recover() }()
			for d := range ch.Consume(ctx, "q") {
				if body(d); string(d.Body) == "2" {
					last = d
					panic("oops")
				}
			}
			return last
		},
		"context": func(ctx context.Context, cancel func(), ch *warren.Channel, body func(warren.Delivery)) (last warren.Delivery) {
			ended := false
			for d, err := range ch.Consume(ctx, "q") {
				if err != nil {
					ended = errors.Is(err, context.Canceled)
					break
				}
				if body(d); string(d.Body) == "2" {
					last = d
					cancel()
				}
			}
			if !ended {
				panic("the loop was not told")
			}
			return last
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The room is for a few, so that what a loop leaves must give it back.
			b := newBroker(t, warren.Options{MaxUnsent: 1000})
			ch := native(t, b)
			filled(t, ch, "q", "0", "1", "2", "3", "4")
			for range 20 { // what is left of the room would run out
				ctx, cancel := context.WithCancel(t.Context())
				var seen []string
				var second warren.Delivery
				last := leave(ctx, cancel, ch, func(d warren.Delivery) {
					seen = append(seen, string(d.Body))
					if string(d.Body) == "1" {
						second = d
						require.NoError(t, d.Ack())
						require.NoError(t, ch.Publish(ctx, "", "q", text("1")))
					}
				})
				require.Len(t, seen, 3)
				require.ErrorIs(t, last.Ack(), warren.ErrConsumerStopped)
				require.ErrorIs(t, last.Nack(true), warren.ErrConsumerStopped)
				require.ErrorIs(t, second.Ack(), warren.ErrConsumerStopped)
				require.NoError(t, ch.Err())
				cancel()
				all := drained(t, ch, "q")
				require.Equal(t, []string{"0*", "2*", "3*", "4*", "1*"}, markAll(all), "in place")
				require.Equal(t, []string{"0*", "2*"}, all[:2])
				for i := range 5 {
					require.NoError(t, ch.Publish(t.Context(), "", "q", text(strconv.Itoa(i))))
				}
			}
		})
	}
}

// markAll marks those that may or may not have been handed over.
func markAll(all []string) []string {
	all = slices.Clone(all)
	for i, s := range all {
		if s == "3" || s == "4" || s == "1" {
			all[i] += "*"
		}
	}
	return all
}

func TestNativeConsumeWithAContextThatHasEnded(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	filled(t, ch, "q", "m")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range ch.Consume(ctx, "q") {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.ErrorIs(t, ch.Publish(ctx, "", "q", text("m")), context.Canceled)
	require.Equal(t, []string{"m"}, drained(t, ch, "q"))
}

func TestNativePrefetch(t *testing.T) {
	for name, c := range map[string]struct {
		options []warren.ConsumeOption
		qos     func(context.Context, *warren.Channel) error
		want    int
	}{
		"option":             {[]warren.ConsumeOption{warren.Prefetch(3)}, nil, 3},
		"qos":                {nil, func(ctx context.Context, ch *warren.Channel) error { return ch.Qos(ctx, 2, false) }, 2},
		"global":             {nil, func(ctx context.Context, ch *warren.Channel) error { return ch.Qos(ctx, 4, true) }, 4},
		"option beats qos":   {[]warren.ConsumeOption{warren.Prefetch(0)}, func(ctx context.Context, ch *warren.Channel) error { return ch.Qos(ctx, 2, false) }, 9},
		"below 0 is none":    {[]warren.ConsumeOption{warren.Prefetch(-7)}, nil, 9},
		"no limit":           {nil, nil, 9},
		"noack needs no ack": {[]warren.ConsumeOption{warren.NoAck(), warren.Prefetch(1)}, nil, 9},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *warren.Broker) {
				ch, err := b.Channel(t.Context())
				require.NoError(t, err)
				filled(t, ch, "q", strings.Split("123456789", "")...)
				if c.qos != nil {
					require.NoError(t, c.qos(t.Context(), ch))
				}
				var n atomic.Int32
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					for _, err := range ch.Consume(t.Context(), "q", c.options...) {
						if err == nil {
							n.Add(1)
						}
					}
				}()
				synctest.Wait()
				require.EqualValues(t, c.want, n.Load())
				require.NoError(t, ch.Close())
				<-ended
			})
		})
	}
}

func TestNativeDeletedQueueEndsTheLoop(t *testing.T) {
	t.Parallel()
	b, ch := nativePair(t)
	filled(t, ch, "q", "m")
	var last error
	for d, err := range ch.Consume(t.Context(), "q") {
		if last = err; err == nil {
			_, err := native(t, b).DeleteQueue(t.Context(), "q")
			require.NoError(t, err)
			require.NoError(t, d.Ack(), "the queue is gone, which is fine")
		}
	}
	require.ErrorIs(t, last, warren.ErrConsumerCancelled)
	require.NoError(t, ch.Err())
}

// A loop that takes nothing keeps no more than the room, and others get the rest.
func TestNativeSlowConsumerKeepsLittle(t *testing.T) {
	const size, most = 100, 5
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, err := warren.New(warren.Options{MaxUnsent: most * (size + 128)})
		require.NoError(t, err)
		ctx := t.Context()
		slow, err := b.Channel(ctx)
		require.NoError(t, err)
		filled(t, slow, "q")
		goOn := make(chan struct{})
		var stuck, others atomic.Int32
		var all sync.WaitGroup
		all.Go(func() {
			for range slow.Consume(ctx, "q") {
				stuck.Add(1)
				<-goOn
				return
			}
		})
		synctest.Wait()
		quick, err := b.Channel(ctx)
		require.NoError(t, err)
		all.Go(func() {
			for _, err := range quick.Consume(ctx, "q", warren.NoAck()) {
				if err == nil {
					others.Add(1)
				}
			}
		})
		synctest.Wait()
		const n = 100
		for range n {
			require.NoError(t, quick.Publish(ctx, "", "q", warren.Message{Body: make([]byte, size)}))
			synctest.Wait()
		}
		require.EqualValues(t, 1, stuck.Load())
		require.GreaterOrEqual(t, int(others.Load()), n-most-2)
		close(goOn)
		synctest.Wait()
		require.EqualValues(t, n, others.Load(), "what the slow one left")
		require.NoError(t, quick.Close())
		all.Wait()
		require.NoError(t, b.Close())
	})
}

func TestNativeTwoLoopsOnOneChannel(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	const n = 2000
	var all sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		filled(t, ch, name)
		all.Go(func() {
			next := 0
			for d, err := range ch.Consume(t.Context(), name, warren.Prefetch(10)) {
				if err == nil && got(d) != name+strconv.Itoa(next) {
					err = fmt.Errorf("%s is not number %d", got(d), next)
				}
				if err == nil {
					err = d.Ack()
				}
				if err != nil {
					t.Error(err)
					return
				}
				if next++; next == n {
					return
				}
			}
		})
		all.Go(func() {
			for i := range n {
				if err := ch.Publish(t.Context(), "", name, text(name+strconv.Itoa(i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestNativeTagInUseIsRefused(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	filled(t, ch, "q", "m")
	var inner error
	for _, err := range ch.Consume(t.Context(), "q", warren.Tag("me")) {
		if err != nil {
			break
		}
		for _, inner = range ch.Consume(t.Context(), "q", warren.Tag("me")) {
		}
	}
	requireRefusal(t, ch, inner, warren.NotAllowed, "NOT_ALLOWED - attempt to reuse consumer tag 'me'")
}

func TestNativeExclusiveConsumerKeepsOthersAway(t *testing.T) {
	t.Parallel()
	b, ch := nativePair(t)
	filled(t, ch, "q", "m")
	other := native(t, b)
	for _, err := range ch.Consume(t.Context(), "q", warren.Exclusive()) {
		require.NoError(t, err)
		for _, err = range other.Consume(t.Context(), "q") {
		}
		requireRefusal(t, other, err, warren.AccessRefused, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use")
		break
	}
	for _, err := range native(t, b).Consume(t.Context(), "q") {
		require.NoError(t, err, "it is free again")
		break
	}
}

func TestNativeBodiesStayAsTheyWere(t *testing.T) {
	t.Parallel()
	_, ch := nativePair(t)
	filled(t, ch, "q")
	body := func(i int) string { return strings.Repeat(strconv.Itoa(i%10), 1+i*i%6000) }
	var kept []warren.Delivery
	next := 0
	const n = 300
	require.NoError(t, ch.Publish(t.Context(), "", "q", text(body(0))))
	for d, err := range ch.Consume(t.Context(), "q") {
		require.NoError(t, err)
		require.NoError(t, d.Ack())
		kept = append(kept, d)
		if next++; next == n {
			break
		}
		require.NoError(t, ch.Publish(t.Context(), "", "q", text(body(next))))
	}
	for i, d := range kept {
		require.Equal(t, body(i), string(d.Body))
		require.Equal(t, "q", d.RoutingKey)
		require.Equal(t, len(d.Body), cap(d.Body), "to append to it touches no other")
	}
}
