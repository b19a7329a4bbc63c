package warren_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
)

func TestAlarmsAreASet(t *testing.T) {
	t.Parallel()
	var log journal
	b := newBroker(t, warren.Options{Logger: log.logger()})
	require.Empty(t, b.Alarms())
	b.ClearAlarm(warren.DiskAlarm)
	require.Empty(t, log.String())
	b.SetAlarm(warren.MemoryAlarm)
	b.SetAlarm(warren.MemoryAlarm)
	b.SetAlarm(warren.DiskAlarm)
	require.Equal(t, []warren.Alarm{warren.DiskAlarm, warren.MemoryAlarm}, b.Alarms())
	b.ClearAlarm(warren.MemoryAlarm)
	require.Equal(t, []warren.Alarm{warren.DiskAlarm}, b.Alarms())
	b.ClearAlarm(warren.DiskAlarm)
	b.ClearAlarm(warren.DiskAlarm)
	require.Empty(t, b.Alarms())

	host, err := os.Hostname()
	require.NoError(t, err)
	var want []string
	line := func(format string, args ...any) {
		want = append(want, fmt.Sprintf("level=WARN msg=%q", fmt.Sprintf(format, args...)))
	}
	for _, a := range []string{"memory", "disk"} {
		line("%s resource limit alarm set on node warren@%s.", a, host)
		want = append(want, "level=WARN msg=**********************************************************")
		line("*** Publishers will be blocked until this alarm clears ***")
		want = append(want, "level=WARN msg=**********************************************************")
	}
	for _, a := range []string{"memory", "disk"} {
		line("%s resource limit alarm cleared on node warren@%s", a, host)
		line("%s resource limit alarm cleared across the cluster", a)
	}
	var got []string
	for l := range strings.Lines(log.String()) {
		_, l, _ = strings.Cut(l, " ") // the time
		got = append(got, strings.TrimSpace(l))
	}
	require.Equal(t, want, got)
}

// states gives the states of the broker's connections, the oldest first.
func states(b *warren.Broker) (all []string) {
	for _, c := range b.Connections() {
		all = append(all, c.State)
	}
	return all
}

// A publisher over TCP is held, everybody else goes on, and afterwards everything
// arrives in order and is confirmed.
func TestAnAlarmHoldsPublishersOverTCP(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	conn := dial(t, addr)
	blockings := conn.NotifyBlocked(make(chan amqp.Blocking, 10))
	ch := channel(t, conn)
	declare(t, ch, "q")
	require.NoError(t, ch.Confirm(false))
	consumer := channel(t, dial(t, addr))
	require.Equal(t, []string{"running", "running"}, states(b))

	b.SetAlarm(warren.DiskAlarm)
	require.Equal(t, []string{"blocking", "blocking"}, states(b))
	const n = 100
	var confirms []*amqp.DeferredConfirmation
	for i := range n {
		c, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{Body: fmt.Append(nil, i)})
		require.NoError(t, err)
		confirms = append(confirms, c)
	}
	require.Equal(t, amqp.Blocking{Active: true, Reason: "low on disk"}, await(t, blockings))
	require.Eventually(t, func() bool { return states(b)[0] == "blocked" }, patience, time.Millisecond)
	require.Equal(t, []string{"blocked", "blocking"}, states(b))
	deliveries, err := consumer.Consume("q", "", true, false, false, false, nil)
	require.NoError(t, err, "who does not publish is served")
	declare(t, consumer, "other")
	require.False(t, confirms[0].Acked())

	b.ClearAlarm(warren.DiskAlarm)
	require.Equal(t, amqp.Blocking{}, await(t, blockings))
	for i := range n {
		require.Equal(t, fmt.Sprint(i), string(await(t, deliveries).Body))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, c := range confirms {
		acked, err := c.WaitContext(ctx)
		require.NoError(t, err)
		require.True(t, acked)
	}
	require.Equal(t, []string{"running", "running"}, states(b))
	require.Empty(t, blockings)
}

func TestABrokerEndsWithBlockedConnections(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*warren.Broker) error{
		"shutdown": func(b *warren.Broker) error { return b.Shutdown(context.Background()) },
		"close":    (*warren.Broker).Close,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, addr := start(t, warren.Options{})
			conn := dial(t, addr)
			why := closed(conn)
			ch := channel(t, conn)
			blockings := conn.NotifyBlocked(make(chan amqp.Blocking, 10))
			native := native(t, b)
			b.SetAlarm(warren.MemoryAlarm)
			require.NoError(t, ch.Publish("", "q", false, false, amqp.Publishing{Body: []byte("body")}))
			await(t, blockings)
			failed := make(chan error, 1)
			go func() { failed <- native.Publish(context.Background(), "", "q", text("body")) }()
			require.NoError(t, end(b))
			require.Error(t, await(t, failed))
			if e := await(t, why); name == "shutdown" {
				requireCode(t, e, amqp.ConnectionForced, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'")
			}
		})
	}
}

func TestANativePublishWaitsForTheAlarm(t *testing.T) {
	t.Parallel()
	b, ch := nativePair(t)
	ctx := t.Context()
	filled(t, ch, "q", "before")
	heard := make(chan warren.Blocking, 10)
	go func() {
		for e, err := range ch.Blocked(context.Background()) {
			if err == nil {
				heard <- e
			}
		}
		close(heard)
	}()
	b.SetAlarm(warren.MemoryAlarm)

	late, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	require.ErrorIs(t, ch.Publish(late, "", "q", text("never")), context.DeadlineExceeded)
	late, cancel = context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	require.ErrorIs(t, ch.PublishBatch(late, []warren.Publishing{{RoutingKey: "q", Message: text("never")}}), context.DeadlineExceeded)
	require.Equal(t, warren.Blocking{Active: true, Reason: "low on memory"}, await(t, heard))

	published := make(chan error, 1)
	go func() {
		for i := range 100 {
			if err := ch.PublishConfirmed(context.Background(), "", "q", text(fmt.Sprint(i))); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	require.Eventually(t, func() bool { return states(b)[0] == "blocked" }, patience, time.Millisecond)
	require.Equal(t, []string{"before"}, drained(t, ch, "q"), "the channel itself goes on")
	b.ClearAlarm(warren.MemoryAlarm)
	require.NoError(t, await(t, published))
	all := drained(t, ch, "q")
	require.Len(t, all, 100)
	for i, body := range all {
		require.Equal(t, fmt.Sprint(i), body)
	}
	require.Equal(t, warren.Blocking{}, await(t, heard))
	require.NoError(t, ch.Close())
	_, more := <-heard
	require.False(t, more)
}

func TestAMemoryLimitSetsTheAlarm(t *testing.T) {
	t.Parallel()
	var log journal
	b := newBroker(t, warren.Options{MemoryLimit: 1, Logger: log.logger()})
	require.Equal(t, []warren.Alarm{warren.MemoryAlarm}, b.Alarms(), "the first look is at once")
	require.Regexp(t, `level=INFO msg="vm_memory_high_watermark set\. Memory used:\d+ allowed:1"`, log.String())
	b = newBroker(t, warren.Options{MemoryLimit: 1 << 50})
	require.Empty(t, b.Alarms())
}

// The limit is looked at every 2.5 s and has no hysteresis: what is freed clears
// the alarm. It is not parallel: what other tests hold would count.
func TestAMemoryLimitIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room = 32 << 20
		var now runtime.MemStats
		runtime.GC()
		runtime.GC() // for what pools keep through one
		runtime.ReadMemStats(&now)
		b, err := warren.New(warren.Options{MemoryLimit: int64(now.HeapAlloc) + room})
		require.NoError(t, err)
		defer b.Close()
		require.Empty(t, b.Alarms())
		held := make([]byte, 2*room)
		time.Sleep(2400 * time.Millisecond)
		require.Empty(t, b.Alarms())
		time.Sleep(200 * time.Millisecond)
		require.Equal(t, []warren.Alarm{warren.MemoryAlarm}, b.Alarms())
		runtime.KeepAlive(held)
		time.Sleep(2500 * time.Millisecond)
		require.Empty(t, b.Alarms())
	})
}
