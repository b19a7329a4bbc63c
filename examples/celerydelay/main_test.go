package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/store/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// queueTypes are those that the broker has.
var queueTypes = []string{amqp.QueueTypeClassic, amqp.QueueTypeQuorum}

// The delays have one bit, some, nearly all and all.
var delays = []time.Duration{
	time.Second, 5 * time.Second, 83 * time.Minute, 1 << 27 * time.Second, (1<<27 + 5) * time.Second, maxDelay,
}

// In a bubble years pass in no time.
func TestTasksComeAtTheirInstants(t *testing.T) {
	t.Parallel()
	for _, queueType := range queueTypes {
		t.Run(queueType, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var out, want bytes.Buffer
				backwards := slices.Clone(delays)
				slices.Reverse(backwards) // who is sent first does not matter
				require.NoError(t, run(t.Context(), &out, queueType, backwards...))
				for _, d := range delays {
					fmt.Fprintf(&want, "task of %v: came after %v\n", d, d)
				}
				require.Equal(t, want.String(), out.String())
			})
		})
	}
}

// client is a broker on a disk and a channel of it.
type client struct {
	close func()
	ch    *amqp.Channel
}

func start(t *testing.T, d *memstore.Disk, queueType string) client {
	t.Helper()
	s, err := d.Open()
	require.NoError(t, err)
	b, err := warren.New(warren.Options{Store: s, Heartbeat: -1})
	require.NoError(t, err)
	conn, err := amqp.DialConfig(withoutHeartbeats, amqp.Config{Dial: b.Dial})
	require.NoError(t, err)
	ch, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, declareDelays(ch, queueType)) // finds what is there from the second time on
	require.NoError(t, declareTarget(ch, queueType, target))
	require.NoError(t, ch.Confirm(false))
	return client{func() {
		require.NoError(t, conn.Close())
		require.NoError(t, b.Close())
	}, ch}
}

// A broker that is down for most of each level's time brings its tasks at the same
// instants as one that is not.
func TestTasksOutliveRestarts(t *testing.T) {
	t.Parallel()
	for _, queueType := range queueTypes {
		for _, delay := range delays {
			t.Run(fmt.Sprint(queueType, " ", delay), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					disk := memstore.NewDisk()
					c := start(t, disk, queueType)
					require.NoError(t, send(t.Context(), c.ch, "task", delay))
					due := time.Now().Add(delay)
					for bit := levels - 1; bit >= 0; bit-- {
						wait := delay / time.Second & (1 << bit) * time.Second
						if wait == 0 {
							continue
						}
						c.close()
						margin := min(wait/8, time.Minute)
						time.Sleep(wait - margin)
						c = start(t, disk, queueType)
						_, ok, err := c.ch.Get(target, true)
						require.NoError(t, err)
						require.False(t, ok, "too early")
						time.Sleep(margin)
						synctest.Wait()
					}
					require.Equal(t, due, time.Now())
					d, ok, err := c.ch.Get(target, true)
					require.NoError(t, err)
					require.True(t, ok, "too late")
					require.Equal(t, "task", string(d.Body))
					c.close()
				})
			})
		}
	}
}

func TestTheKeyIsTheDelayInBits(t *testing.T) {
	t.Parallel()
	for delay, want := range map[time.Duration]string{
		time.Second:             "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.celery",
		6900 * time.Millisecond: "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.1.0.celery",
		1 << 27 * time.Second:   "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.celery",
		maxDelay:                "1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.celery",
	} {
		exchange, key, err := delayed(delay, "celery")
		require.NoError(t, err)
		require.Equal(t, "celery_delayed_27", exchange)
		require.Equal(t, want, key)
	}
	for _, delay := range []time.Duration{-time.Second, 0, 999 * time.Millisecond, maxDelay + 1} {
		_, _, err := delayed(delay, "celery")
		require.ErrorContains(t, err, "not within 1s and ")
	}
}

func TestAnEndOfPatienceIsAnError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, &bytes.Buffer{}, amqp.QueueTypeClassic, time.Second), context.Canceled)
}

func TestAQueueTypeThatThereIsNotIsAnError(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), &bytes.Buffer{}, "heap", time.Second)
	require.ErrorContains(t, err, "unsupported queue type 'heap'")
}
