package main

import (
	"bytes"
	"context"
	"fmt"
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

// In a bubble hours pass in no time, and each attempt comes at its instant.
func TestFailedJobsWaitLongerEachTimeAndAreThenPutAside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		waits := []time.Duration{10 * time.Second, 5 * time.Minute, 2 * time.Hour}
		require.NoError(t, run(t.Context(), &out, waits), out.String())
		require.Equal(t, `fine: attempt 1 after 0s: done
flaky: attempt 1 after 0s: out of luck
hopeless: attempt 1 after 0s: out of luck
flaky: attempt 2 after 10s: out of luck
hopeless: attempt 2 after 10s: out of luck
flaky: attempt 3 after 5m10s: done
hopeless: attempt 3 after 5m10s: out of luck
hopeless: attempt 4 after 2h5m10s: out of luck
hopeless: put aside after 4 attempts
`, out.String())
	})
}

func TestWithoutAWaitEveryFailureIsPutAside(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, nil), out.String())
	require.Contains(t, out.String(), "flaky: put aside after 1 attempts\n")
	require.Contains(t, out.String(), "hopeless: put aside after 1 attempts\n")
}

func TestAnEndOfPatienceIsAnError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, &bytes.Buffer{}, nil), context.Canceled)
}

// worker is a broker on a disk, and the channel and deliveries of a worker.
type worker struct {
	close func()
	ch    *amqp.Channel
	jobs  <-chan amqp.Delivery
}

func start(t *testing.T, d *memstore.Disk, waits []time.Duration) worker {
	t.Helper()
	s, err := d.Open()
	require.NoError(t, err)
	b, err := warren.New(warren.Options{Store: s})
	require.NoError(t, err)
	conn, err := amqp.DialConfig("amqp://", amqp.Config{Dial: b.Dial})
	require.NoError(t, err)
	ch, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, declare(ch, waits)) // finds what is there from the second time on
	require.NoError(t, ch.Confirm(false))
	jobs, err := ch.Consume(workQueue, "", false, false, false, false, nil)
	require.NoError(t, err)
	return worker{func() {
		require.NoError(t, conn.Close())
		require.NoError(t, b.Close())
	}, ch, jobs}
}

// A restart in the middle of each wait, and one while the worker holds the job,
// change neither the instants nor the count.
func TestAJobOutlivesRestartsWhileItWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := memstore.NewDisk()
		waits := []time.Duration{time.Minute, time.Hour, 24 * time.Hour}
		w := start(t, disk, waits)
		require.NoError(t, submit(t.Context(), w.ch, "job"))
		due := time.Now()
		for attempt := range len(waits) + 1 {
			d := <-w.jobs
			require.Equal(t, due, time.Now())
			require.Equal(t, int64(attempt), rejections(d.Headers))
			w.close() // the job goes back into its queue
			w = start(t, disk, waits)
			d = <-w.jobs
			require.Equal(t, fmt.Sprint("job ", attempt, " true"), fmt.Sprint(string(d.Body), " ", rejections(d.Headers), " ", d.Redelivered))
			require.NoError(t, d.Reject(false))
			if attempt == len(waits) {
				break
			}
			due = due.Add(waits[attempt])
			time.Sleep(waits[attempt] / 3)
			w.close()
			time.Sleep(waits[attempt] / 3)
			w = start(t, disk, waits)
		}
		synctest.Wait()
		d, ok, err := w.ch.Get(parkingLot, true)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, int64(len(waits)+1), rejections(d.Headers))
		w.close()
	})
}
