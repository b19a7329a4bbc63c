package warren_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/store/memstore"
	"github.com/warrenmq/warren/wire"
)

// readyAfterCrash gives what is in a queue after a restart, crashed or not: it takes nothing
// from the broker's own disk.
func readyAfterCrash(t testing.TB, d *memstore.Disk, queue string) []string {
	t.Helper()
	b := afterCrash(t, d)
	all := drained(t, native(t, b), queue)
	require.NoError(t, b.Close())
	return all
}

// taken gets n messages that are not acknowledged.
func taken(t testing.TB, ch *warren.Channel, queue string, n int) (all []warren.Delivery) {
	t.Helper()
	for range n {
		d, ok, err := ch.Get(t.Context(), queue)
		require.NoError(t, err)
		require.True(t, ok)
		all = append(all, d)
	}
	return all
}

// flushed waits until all that was done before is durable. A queue hands a message out
// before it hands that to the store, but before anything else that it is asked.
func flushed(t testing.TB, b *warren.Broker) {
	t.Helper()
	for _, v := range b.VHosts() {
		_, err := b.Queues(v)
		require.NoError(t, err)
	}
	require.NoError(t, b.Backup(&bytes.Buffer{}))
}

func TestPersistentMessagesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	b, d := durableBroker(t)
	ch := native(t, b)
	durableQueue(t, ch, "q")
	require.NoError(t, ch.BindQueue(t.Context(), "q", "amq.topic", "#"))
	props := warren.Properties{
		ContentType: "a/b", ContentEncoding: "c", DeliveryMode: 2, Priority: 200, CorrelationID: "d", ReplyTo: "e",
		MessageID: "\x00\xff", Timestamp: time.Unix(1<<33, 0).UTC(), Type: "g", AppID: "h",
		Headers: arguments(),
	}
	long := strings.Repeat("k", 255)
	require.NoError(t, ch.PublishConfirmed(t.Context(), "amq.topic", long, warren.Message{Properties: props, Body: []byte("body")}))
	require.NoError(t, ch.PublishConfirmed(t.Context(), "", "q", persistent("")))
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // more than the store takes at once
	require.NoError(t, ch.PublishConfirmed(t.Context(), "", "q", warren.Message{Properties: warren.Properties{DeliveryMode: 2}, Body: big}))
	ch = native(t, restarted(t, b, d))
	all := taken(t, ch, "q", 3)
	require.Equal(t, "amq.topic", all[0].Exchange)
	require.Equal(t, long, all[0].RoutingKey)
	require.Equal(t, "body", string(all[0].Body))
	raw, err := props.Append(nil)
	require.NoError(t, err)
	want, err := message.DecodeProperties(raw)
	require.NoError(t, err)
	require.Equal(t, want, all[0].Properties())
	require.Empty(t, all[1].Body)
	require.True(t, bytes.Equal(big, all[2].Body))
	for _, d := range all {
		require.False(t, d.Redelivered)
	}
}

func TestWhatWasDeliveredComesBackRedelivered(t *testing.T) {
	t.Parallel()
	b, d := durableBroker(t)
	ch := native(t, b)
	durableQueue(t, ch, "q", "1", "2", "3", "4", "5", "6")
	all := taken(t, ch, "q", 4)
	require.NoError(t, all[1].Ack())
	require.NoError(t, all[2].Nack(true))
	flushed(t, b)
	want := []string{"1*", "3*", "4*", "5", "6"}
	require.Equal(t, want, readyAfterCrash(t, d, "q"))
	b = restarted(t, b, d)
	require.Equal(t, want, readyAfterCrash(t, d, "q"), "closing a broker is like a crash")
	require.Equal(t, want, drained(t, native(t, b), "q"))
	flushed(t, b)
	require.Empty(t, readyAfterCrash(t, d, "q"))
}

func TestPurgedAndDiscardedMessagesDoNotComeBack(t *testing.T) {
	t.Parallel()
	b, d := durableBroker(t)
	ch := native(t, b)
	durableQueue(t, ch, "q", "1", "2", "3", "4")
	all := taken(t, ch, "q", 2)
	n, err := ch.PurgeQueue(t.Context(), "q")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.NoError(t, all[1].Nack(false))
	require.NoError(t, ch.PublishConfirmed(t.Context(), "", "q", persistent("5")))
	flushed(t, b)
	require.Equal(t, []string{"1*", "5"}, readyAfterCrash(t, d, "q"))
}

func TestTransientMessagesDoNotComeBack(t *testing.T) {
	t.Parallel()
	d := memstore.NewDisk()
	b, _ := brokerOn(t, d, warren.Options{QueueMemory: queue.Bounds{Messages: 2}})
	ch := native(t, b)
	durableQueue(t, ch, "q")
	for i := range 50 {
		m := persistent(fmt.Sprint(i))
		if i%2 == 0 {
			m.DeliveryMode = 1
		}
		require.NoError(t, ch.PublishConfirmed(t.Context(), "", "q", m))
	}
	all := readyAfterCrash(t, d, "q")
	require.Len(t, all, 25)
	require.Equal(t, "1", all[0])
	require.Len(t, drained(t, ch, "q"), 50, "they were paged out and are still there without a restart")
}

// One body for many queues, most of them out of memory.
func TestALongQueueIsReadBackInOrder(t *testing.T) {
	t.Parallel()
	d := memstore.NewDisk()
	o := warren.Options{QueueMemory: queue.Bounds{Messages: 2}}
	b, _ := brokerOn(t, d, o)
	ch := native(t, b)
	const n, queues = 400, 3
	for i := range queues {
		durableQueue(t, ch, fmt.Sprint("q", i))
		require.NoError(t, ch.BindQueue(t.Context(), fmt.Sprint("q", i), "amq.fanout", ""))
	}
	var batch []warren.Publishing
	var want []string
	for i := range n {
		body := fmt.Sprintf("%d %s", i, strings.Repeat("x", i*5))
		want = append(want, body)
		batch = append(batch, warren.Publishing{Exchange: "amq.fanout", Message: persistent(body)})
	}
	require.NoError(t, ch.PublishBatch(t.Context(), batch))
	require.Equal(t, want, drained(t, ch, "q0"))

	// Some are taken and requeued, and have to be found again.
	held := taken(t, ch, "q1", 20)
	for _, i := range []int{7, 3, 19} {
		require.NoError(t, held[i].Nack(true))
	}
	flushed(t, b)
	require.NoError(t, b.Close())
	b, _ = brokerOn(t, d, o)
	ch = native(t, b)
	require.Empty(t, drained(t, ch, "q0"))
	require.Equal(t, want, drained(t, ch, "q2"))
	for i := range 20 {
		want[i] += "*"
	}
	i := 0
	for d, err := range ch.Consume(t.Context(), "q1", warren.Prefetch(7)) {
		require.NoError(t, err)
		require.Equal(t, want[i], got(d))
		require.NoError(t, d.Ack())
		if i++; i == n {
			break
		}
	}
	flushed(t, b)
	require.Empty(t, readyAfterCrash(t, d, "q1"))
}

func TestAConfirmComesWhenTheMessageIsDurable(t *testing.T) {
	t.Parallel()
	d := memstore.NewDisk()
	b, s := brokerOn(t, d, warren.Options{})
	ch := native(t, b)
	durableQueue(t, ch, "q")
	durableQueue(t, ch, "other")
	require.NoError(t, ch.BindQueue(t.Context(), "q", "amq.fanout", ""))
	require.NoError(t, ch.BindQueue(t.Context(), "other", "amq.fanout", ""))
	require.NoError(t, ch.DeclareExchange(t.Context(), "x", "direct", warren.Durable(), warren.Arg("alternate-exchange", "amq.fanout")))
	s.Hold()
	one, err := ch.PublishAsync(t.Context(), "x", "no route", persistent("1"), warren.Mandatory())
	require.NoError(t, err)
	s.AwaitHeld()
	transient, err := ch.PublishAsync(t.Context(), "x", "no route", text("2"))
	require.NoError(t, err)
	require.NoError(t, transient.Wait(t.Context()), "nobody waits for the disk")
	lost, err := ch.PublishAsync(t.Context(), "", "not there", persistent("3"), warren.Mandatory())
	require.NoError(t, err)
	var returned *warren.ReturnError
	require.ErrorAs(t, lost.Wait(t.Context()), &returned)
	select {
	case <-one.Done():
		require.Fail(t, "it is not durable")
	default:
	}
	s.Release()
	require.NoError(t, one.Wait(t.Context()))
	require.Equal(t, []string{"1"}, readyAfterCrash(t, d, "q"))
	require.Equal(t, []string{"1"}, readyAfterCrash(t, d, "other"))
}

// A transaction over several queues: publishes, acknowledgements, and both.
func TestACrashLeavesAllOrNothingOfATransaction(t *testing.T) {
	t.Parallel()
	b, d := durableBroker(t)
	ch := native(t, b)
	for i := range 3 {
		durableQueue(t, ch, fmt.Sprint("from", i), "a", "b", "c")
		durableQueue(t, ch, fmt.Sprint("to", i))
		require.NoError(t, ch.BindQueue(t.Context(), fmt.Sprint("to", i), "amq.fanout", ""))
	}
	require.NoError(t, b.Close())
	contents := func(b *warren.Broker) string {
		var all []string
		ch := native(t, b)
		for i := range 3 {
			for _, q := range []string{"from", "to"} {
				for _, body := range drained(t, ch, fmt.Sprint(q, i)) {
					all = append(all, q+strings.TrimSuffix(body, "*"))
				}
			}
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	before, after := "", ""
	all := images(t, d, func(b *warren.Broker) {
		ch := native(t, b)
		require.NoError(t, ch.TxSelect(t.Context()))
		for i := range 3 {
			taken(t, ch, fmt.Sprint("from", i), 2)
		}
		require.NoError(t, ch.Ack(t.Context(), 0, true))
		for i := range 5 {
			require.NoError(t, ch.Publish(t.Context(), "amq.fanout", "", persistent(fmt.Sprint(i, strings.Repeat("x", i*1000)))))
			require.NoError(t, ch.Publish(t.Context(), "", "to1", persistent("one")))
		}
		flushed(t, b)
		before = contents(afterCrash(t, d))
		require.NoError(t, ch.TxCommit(t.Context()))
		after = contents(afterCrash(t, d))
	})
	require.NotEqual(t, before, after)
	require.NotContains(t, after, "froma")
	for _, image := range all {
		require.Contains(t, []string{before, after}, contents(afterCrash(t, image)))
	}
}

func TestACommitIsAnsweredWhenItIsDurable(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(t *testing.T, ch *warren.Channel){
		"acknowledgements": func(t *testing.T, ch *warren.Channel) {
			for _, d := range taken(t, ch, "q", 2) {
				require.NoError(t, d.Ack())
			}
		},
		"a discard": func(t *testing.T, ch *warren.Channel) {
			require.NoError(t, taken(t, ch, "q", 1)[0].Nack(false))
		},
		"a publish": func(t *testing.T, ch *warren.Channel) {
			require.NoError(t, ch.Publish(t.Context(), "", "q", persistent("new")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := memstore.NewDisk()
			b, s := brokerOn(t, d, warren.Options{})
			ch := native(t, b)
			durableQueue(t, ch, "q", "1", "2", "3")
			require.NoError(t, ch.TxSelect(t.Context()))
			f(t, ch)
			flushed(t, b)
			before := readyAfterCrash(t, d, "q")
			s.Hold()
			done := make(chan error, 1)
			go func() { done <- ch.TxCommit(context.Background()) }()
			s.AwaitHeld()
			require.Empty(t, done, "it is not durable")
			s.Release()
			require.NoError(t, await(t, done))
			require.NotEqual(t, before, readyAfterCrash(t, d, "q"))
		})
	}
}

// A commit that waits for a queue that is deleted meanwhile is over with it.
func TestACommitEndsWhenItsQueueIsDeleted(t *testing.T) {
	t.Parallel()
	d := memstore.NewDisk()
	b, s := brokerOn(t, d, warren.Options{})
	ch := native(t, b)
	durableQueue(t, ch, "q", "1", "2")
	require.NoError(t, ch.TxSelect(t.Context()))
	require.NoError(t, taken(t, ch, "q", 1)[0].Ack())
	require.NoError(t, ch.Publish(t.Context(), "", "q", persistent("new")))
	flushed(t, b)
	s.Hold()
	done := make(chan error, 1)
	go func() { done <- ch.TxCommit(context.Background()) }()
	s.AwaitHeld()
	other := native(t, b)
	deleted := make(chan error, 1)
	go func() {
		_, err := other.DeleteQueue(context.Background(), "q")
		deleted <- err
	}()
	s.Release()
	// What went with the queue is answered when the queue is gone for good.
	require.NoError(t, await(t, deleted))
	require.NoError(t, await(t, done))
}

func TestWaitingForACommitEnds(t *testing.T) {
	t.Parallel()
	d := memstore.NewDisk()
	b, s := brokerOn(t, d, warren.Options{})
	ch := native(t, b)
	durableQueue(t, ch, "q", "1", "2", "3")
	require.NoError(t, ch.TxSelect(t.Context()))
	require.NoError(t, taken(t, ch, "q", 1)[0].Ack())
	flushed(t, b)

	nc, err := b.Dial("", "")
	require.NoError(t, err)
	defer nc.Close()
	c := &rawClient{Conn: nc, buf: make([]byte, 64<<10)}
	c.login(t, "guest", "guest")
	c.call(t, &wire.TxSelect{}, wire.TxSelectOKID)
	c.write(t, publishFrames(t, "", "q", 1))

	s.Hold()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ch.TxCommit(ctx) }()
	s.AwaitHeld()
	cancel()
	require.ErrorIs(t, await(t, done), context.Canceled)
	require.NoError(t, ch.Err(), "the channel is open")
	require.NoError(t, taken(t, ch, "q", 1)[0].Ack())
	go func() { done <- ch.TxCommit(context.Background()) }()
	go ch.Close()
	require.ErrorIs(t, await(t, done), warren.ErrChannelClosed)

	c.send(t, 1, &wire.TxCommit{})
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	c.expectEnd(t)
	require.Empty(t, closed, "it waits for the store")
	s.Release()
	require.NoError(t, await(t, closed))
}
