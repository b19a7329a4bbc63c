package endurance

import (
	"bytes"
	"context"
	"flag"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/badgerstore"
)

var (
	messages = flag.Int("messages", 20_000, "length of the long queue")
	octets   = flag.Int("octets", 32<<20, "what goes through each short queue")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// rig is a broker that keeps a directory and serves TCP.
type rig struct {
	dir    string
	broker *warren.Broker
	addr   string
	served chan error
}

// openRig opens a broker on dir; wrap, if there is one, stands between it and the disk.
func openRig(t *testing.T, dir string, wrap func(store.Store) store.Store) *rig {
	t.Helper()
	disk, err := badgerstore.Open(dir, badgerstore.Options{})
	require.NoError(t, err)
	var s store.Store = disk
	if wrap != nil {
		s = wrap(disk)
	}
	broker, err := warren.New(warren.Options{Store: s})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &rig{dir: dir, broker: broker, addr: l.Addr().String(), served: make(chan error, 1)}
	go func() { r.served <- broker.Serve(l) }()
	return r
}

func (r *rig) close(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, r.broker.Shutdown(ctx))
	require.ErrorIs(t, <-r.served, warren.ErrClosed)
}

// channel opens a connection of its own, and a channel on it, for the length of the
// test or until the broker is closed.
func (r *rig) channel(t *testing.T) *amqp.Channel {
	t.Helper()
	c, err := amqp.Dial("amqp://guest:guest@" + r.addr + "/")
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	ch, err := c.Channel()
	require.NoError(t, err)
	return ch
}

func declare(t *testing.T, ch *amqp.Channel, queue string) {
	t.Helper()
	_, err := ch.QueueDeclare(queue, true, false, false, false, nil)
	require.NoError(t, err)
}

// window is how many publishes are unconfirmed at most.
const window = 1000

// publish publishes n persistent messages and waits until they are confirmed. Before
// each, may waits until it may go.
func publish(t *testing.T, ch *amqp.Channel, queue string, n, size int, may func()) {
	t.Helper()
	require.NoError(t, ch.Confirm(false))
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, window))
	body := bytes.Repeat([]byte{'b'}, size)
	take := func() {
		c, ok := <-confirms
		require.True(t, ok, "the channel was closed")
		require.True(t, c.Ack, "message %d was refused", c.DeliveryTag)
	}
	for i := range n {
		if i >= window {
			take()
		}
		if may != nil {
			may()
		}
		err := ch.PublishWithContext(t.Context(), "", queue, false, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body})
		require.NoError(t, err)
	}
	for range min(n, window) {
		take()
	}
}

// consume takes n messages; ack is told the tag of each.
func consume(t *testing.T, ch *amqp.Channel, queue string, n, prefetch int, ack func(tag uint64)) {
	t.Helper()
	require.NoError(t, ch.Qos(prefetch, 0, false))
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	require.NoError(t, err)
	for range n {
		d, ok := <-deliveries
		require.True(t, ok, "the channel was closed")
		ack(d.DeliveryTag)
	}
}

// drain takes n messages and acknowledges them by the hundred.
func drain(t *testing.T, ch *amqp.Channel, queue string, n int) {
	t.Helper()
	left := n
	consume(t, ch, queue, n, window, func(tag uint64) {
		if left--; left%100 == 0 {
			require.NoError(t, ch.Ack(tag, true))
		}
	})
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil) // the acks have arrived
	require.NoError(t, err)
	require.Zero(t, q.Messages)
}

// watch calls look several times a second until the function it gives is called.
func watch(look func()) (end func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			look()
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	return func() { close(stop); wg.Wait() }
}

// peak is the highest of several values.
type peak struct{ atomic.Int64 }

func (p *peak) see(v int64) {
	for old := p.Load(); v > old && !p.CompareAndSwap(old, v); old = p.Load() {
	}
}

// anonymous is the memory of this process that no file stands behind, in octets: what
// /proc calls RssAnon, or else what the Go runtime has of the system.
func anonymous(t *testing.T) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.Sys - m.HeapReleased)
	}
	_, rest, _ := bytes.Cut(status, []byte("RssAnon:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		t.Error("no RssAnon in /proc/self/status")
		return 0
	}
	n, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		t.Error(err)
	}
	return n * kib
}

// size is what a directory takes on the disk by its files' lengths. The file that
// badger writes to is longer than what is in it, by a few files of 32 MiB.
func size(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it was just deleted
		}
		if info, err := d.Info(); err == nil && !d.IsDir() {
			n += info.Size()
		}
		return nil
	})
	return n
}

// rate prints how fast something was.
func rate(t *testing.T, what string, n int, begin time.Time) {
	t.Helper()
	d := time.Since(begin)
	t.Logf("%s: %d messages in %v, %.0f/s", what, n, d.Round(time.Millisecond), float64(n)/d.Seconds())
}
