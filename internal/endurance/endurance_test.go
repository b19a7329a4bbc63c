package endurance

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/badgerstore"
)

// The tests do not run beside each other: they measure the process.

// TestAQueueMuchLongerThanMemory fills a queue, opens its directory again, and
// drains it.
func TestAQueueMuchLongerThanMemory(t *testing.T) {
	const mostMemory = 512 * mib
	var memory peak
	defer watch(func() { memory.see(anonymous(t)) })()
	dir := t.TempDir()

	r := openRig(t, dir, nil)
	ch := r.channel(t)
	declare(t, ch, "long")
	begin := time.Now()
	publish(t, ch, "long", *messages, kib, nil)
	rate(t, "filled", *messages, begin)
	t.Logf("RssAnon at most %d MiB, directory %d MiB", memory.Load()/mib, size(dir)/mib)
	r.close(t)

	begin = time.Now()
	r = openRig(t, dir, nil)
	t.Logf("opened in %v", time.Since(begin).Round(time.Millisecond))
	ch = r.channel(t)
	q, err := ch.QueueDeclarePassive("long", true, false, false, false, nil)
	require.NoError(t, err)
	require.Equal(t, *messages, q.Messages)
	t.Logf("declared in %v", time.Since(begin).Round(time.Millisecond))
	begin = time.Now()
	drain(t, ch, "long", *messages)
	rate(t, "drained", *messages, begin)
	t.Logf("RssAnon at most %d MiB", memory.Load()/mib)
	shrinks(t, dir)
	r.close(t)
	require.Less(t, memory.Load(), int64(mostMemory))
}

// TestAQueueFilledOneByOne publishes each message when the one before is confirmed, as
// a single careful publisher does: what a broker remembers of the messages, and reads
// when it opens, must not be much more for it.
func TestAQueueFilledOneByOne(t *testing.T) {
	n := max(*messages/10, 2000)
	var memory peak
	end := watch(func() { memory.see(anonymous(t)) })
	dir := t.TempDir()
	r := openRig(t, dir, nil)
	ch := r.channel(t)
	declare(t, ch, "careful")
	begin := time.Now()
	body := make([]byte, kib)
	require.NoError(t, ch.Confirm(false))
	for range n {
		c, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), "", "careful", false, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body})
		require.NoError(t, err)
		require.True(t, c.Wait())
	}
	rate(t, "filled one by one", n, begin)
	r.close(t)
	end()

	var keys int
	disk, err := badgerstore.Open(dir, badgerstore.Options{})
	require.NoError(t, err)
	require.NoError(t, disk.Scan(nil, nil, true, func(_, _ []byte) error {
		keys++
		return nil
	}))
	require.NoError(t, disk.Close())
	begin = time.Now()
	r = openRig(t, dir, nil)
	took := time.Since(begin)
	t.Logf("%d messages, %d keys, opened in %v, RssAnon at most %d MiB", n, keys, took.Round(time.Millisecond), memory.Load()/mib)
	// Two for each message that was not merged yet, and some for each merged pack and
	// for the broker itself.
	require.Less(t, keys, 2*600+n/20+100)
	drain(t, r.channel(t), "careful", n)
	r.close(t)
}

// TestDiskIsGivenBack moves much more through a queue than there is in it.
func TestDiskIsGivenBack(t *testing.T) {
	for _, c := range []struct {
		name string
		old  int
	}{
		{"through a short queue", 0},
		{"behind old messages", *messages / 10},
	} {
		t.Run(c.name, func(t *testing.T) { givesBack(t, c.old) })
	}
}

// givesBack fills a queue with old messages that a consumer holds, and moves the
// octets of the flag behind them.
func givesBack(t *testing.T, old int) {
	const (
		messageSize = 4 * kib
		live        = 10_000 // messages, which are on the disk by far before they are acknowledged
	)
	dir := t.TempDir()
	r := openRig(t, dir, nil)
	ch := r.channel(t)
	declare(t, ch, "q")
	publish(t, ch, "q", old, kib, nil)

	n := max(*octets/messageSize, 2*live)
	room := make(chan struct{}, live)
	var directory peak
	end := watch(func() { directory.see(size(dir)) })
	begin := time.Now()
	var consumer sync.WaitGroup
	taker := r.channel(t)
	consumer.Go(func() {
		var waiting []uint64 // for their acknowledgement
		consume(t, taker, "q", old+n, 0, func(tag uint64) {
			if tag <= uint64(old) {
				return
			}
			waiting = append(waiting, tag)
			if len(waiting) < live/2 && tag < uint64(old+n) {
				return
			}
			for _, tag := range waiting {
				require.NoError(t, taker.Ack(tag, false))
				<-room
			}
			waiting = waiting[:0]
		})
	})
	publish(t, r.channel(t), "q", n, messageSize, func() { room <- struct{}{} })
	consumer.Wait()
	end()
	rate(t, "moved", n, begin)
	bound := int64(3*(old*kib+live*messageSize) + 2*gib)
	t.Logf("directory at most %d MiB of %d MiB moved, bound %d MiB", directory.Load()/mib, n*messageSize/mib, bound/mib)
	require.LessOrEqual(t, directory.Load(), bound)
	q, err := ch.QueuePurge("q", false)
	require.NoError(t, err)
	require.Zero(t, q, "the old messages are with the consumer")
	require.NoError(t, taker.Ack(0, true)) // all that it holds
	shrinks(t, dir)
	r.close(t)
}

// shrinks waits until the directory of an empty broker is small.
func shrinks(t *testing.T, dir string) {
	t.Helper()
	begin := time.Now()
	require.Eventually(t, func() bool { return size(dir) < 256*mib }, time.Minute, 50*time.Millisecond)
	t.Logf("under 256 MiB %v after the last message", time.Since(begin).Round(time.Millisecond))
}

// reads counts what a broker reads of its store.
type reads struct {
	store.Store
	n atomic.Int64
}

func (s *reads) Get(key []byte, use func([]byte) error) error {
	return s.Store.Get(key, func(value []byte) error {
		s.n.Add(int64(len(value)))
		return use(value)
	})
}

func (s *reads) Scan(from, to []byte, keysOnly bool, each func(key, value []byte) error) error {
	return s.Store.Scan(from, to, keysOnly, func(key, value []byte) error {
		s.n.Add(int64(len(value)))
		return each(key, value)
	})
}

// TestASlowQueueReadsItsOwnOnly takes the messages of one queue that came in among
// those of a hundred busy ones.
func TestASlowQueueReadsItsOwnOnly(t *testing.T) {
	const busy, share = 100, 20 // queues, and messages of each for one of the slow one
	n := max(*messages/100, 1000)
	var disk *reads
	wrap := func(s store.Store) store.Store {
		disk = &reads{Store: s}
		return disk
	}
	dir := t.TempDir()
	r := openRig(t, dir, wrap)
	ctx := t.Context()
	ch, err := r.broker.Channel(ctx)
	require.NoError(t, err)
	names := []string{"slow", "alone"}
	for i := range busy {
		names = append(names, fmt.Sprint("busy", i))
	}
	for _, q := range names {
		_, err := ch.DeclareQueue(ctx, q, warren.Durable())
		require.NoError(t, err)
	}
	fill := func(queue string, n int) (batch []warren.Publishing) {
		m := warren.Message{Body: make([]byte, kib), Properties: warren.Properties{DeliveryMode: 2}}
		for range n {
			batch = append(batch, warren.Publishing{RoutingKey: queue, Message: m})
		}
		return batch
	}
	for range n / 10 {
		batch := fill("slow", 10)
		for i := range share * 10 {
			batch = append(batch, fill(names[2+i%busy], 1)...)
		}
		require.NoError(t, ch.PublishBatch(ctx, batch))
	}
	require.NoError(t, ch.PublishBatch(ctx, fill("alone", n)))
	r.close(t)

	r = openRig(t, dir, wrap)
	taker := r.channel(t)
	took := map[string]time.Duration{}
	for _, q := range []string{"alone", "slow"} {
		before, begin := disk.n.Load(), time.Now()
		drain(t, taker, q, n)
		took[q] = time.Since(begin)
		octets := disk.n.Load() - before
		t.Logf("%s: %d messages in %v, %.2f octets read for each octet of a body",
			q, n, took[q].Round(time.Millisecond), float64(octets)/float64(n*kib))
		require.Less(t, octets, int64(n*kib*3/2))
	}
	t.Logf("the slow queue takes %.2f times as long as one that was filled alone", took["slow"].Seconds()/took["alone"].Seconds())
	r.close(t)
}
