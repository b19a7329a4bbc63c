package queue

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// costOf counts what a queue with very many messages that expire makes its broker
// do.
type costOf struct {
	h *Host
	// timers counts how often the queue's timer was set, goroutines what was started
	// for the queue.
	timers, goroutines atomic.Int32
}

// million is a million, or what the race detector has the time for.
func million() int {
	if raceEnabled {
		return 50_000
	}
	return 1_000_000
}

// newCost hosts a classic queue with arguments. It lives in a bubble.
func newCost(t testing.TB, a message.Table) *costOf {
	c := &costOf{}
	typ := hooked{Type: Classic(), after: func(call string, out *Actions) {
		if out != nil && !out.Wake.IsZero() {
			c.timers.Add(1)
		}
	}}
	h, err := NewHost(typ, Spec{Name: "q", Type: "classic", Arguments: a}, HostEnv{
		Go: func(f func()) bool {
			c.goroutines.Add(1)
			f()
			return true
		},
		Gone: func(*Host, error) {},
		Now:  time.Now,
	})
	require.NoError(t, err)
	c.h = h
	return c
}

// publishAll publishes n messages of 16 octets with times to live of their own, in
// batches as a busy publisher makes them, and pauses after each. It is called in a
// bubble.
func (c *costOf) publishAll(n int, ttl func(i int) int64, pause time.Duration) {
	const batch = 1000
	body := make([]byte, 16)
	for i := 0; i < n; {
		b := NewBatch()
		for range batch {
			m := message.New("", "q", []byte{0, 0}, len(body))
			m.AppendBody(body)
			if ms := ttl(i); ms >= 0 {
				m.SetTTL(ms)
			}
			b.Publish(Publish{Msg: m})
			i++
		}
		c.h.Post(b)
		time.Sleep(pause)
	}
}

// A queue of a million messages that expire does not look at them again and again:
// it sets one timer for the one at its head, which goes off at the instants at which
// messages expire there and at no other.
func TestAMillionMessagesThatExpireWakeTheQueueNoMoreThanTheyMust(t *testing.T) {
	queueTTL := args("x-message-ttl", int32(60000))
	n := million()
	batches := n / 1000
	for _, c := range []struct {
		name string
		args message.Table
		ttl  func(i int) int64
		// instants are those at which something expires at the head.
		instants int
	}{
		{"with the queue's time to live", queueTTL, func(int) int64 { return -1 }, batches},
		{"to be dead-lettered", append(queueTTL[:1:1], args(argDeadLetterExchange, "d")...), func(int) int64 { return -1 }, batches},
		{"with their own", nil, func(int) int64 { return 60000 }, batches},
		// All others have expired when the first one does, and wake nobody before.
		{"behind one that lives longest", nil, func(i int) int64 {
			if i == 0 {
				return 7_200_000
			}
			return int64(60000 + i%1000)
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newCost(t, c.args)
				before := heap()
				q.publishAll(n, c.ttl, time.Millisecond)
				octets := float64(heap()-before) / float64(n)
				t.Logf("%d messages, %.0f octets each with their bodies of 16", n, octets)
				require.EqualValues(t, 1, q.timers.Load(), "all stand behind the first")
				require.Zero(t, q.goroutines.Load())
				time.Sleep(3 * time.Hour)
				synctest.Wait()
				s, err := q.h.Stat()
				require.NoError(t, err)
				require.Equal(t, Stat{}, s)
				t.Logf("%d timers, %d goroutines for %d instants", q.timers.Load(), q.goroutines.Load(), c.instants)
				require.LessOrEqual(t, int(q.timers.Load()), c.instants+1)
				require.LessOrEqual(t, int(q.goroutines.Load()), 2*c.instants+2)
			})
		})
	}
}

// As long as messages are taken in time, time is nothing that a queue wakes for more
// than now and then.
func TestAMillionMessagesTakenInTimeHardlyWakeTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newCost(t, args("x-message-ttl", int32(60000)))
		p := &path{h: q.h, noAck: true, acks: NewBatch()}
		n := million()
		q.publishAll(n/2, func(int) int64 { return -1 }, time.Millisecond)
		require.NoError(t, q.h.Consume(Consumer{NoAck: true}, p, func(id message.ConsumerID) { p.id = id }, func() {}))
		q.publishAll(n/2, func(int) int64 { return -1 }, time.Minute)
		require.EqualValues(t, 1, q.timers.Load())
		require.LessOrEqual(t, q.goroutines.Load(), int32(2), "it went off once, for what was gone")
		runtime.KeepAlive(q)
	})
}

// What expires costs eight octets more in a queue that keeps little in memory. Not
// parallel: it measures the heap.
func TestAMessageThatExpiresCostsLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has its own memory")
	}
	const n = 1_000_000
	p := newMachineWith(t, 1<<10, args("x-message-ttl", int32(3_600_000)))
	before := heap()
	p.fill(n)
	octets := heap() - before - defaultMessages*int64(p.message().Footprint()+16)
	t.Logf("%.1f octets for a message that is not in memory", float64(octets)/n)
	require.Less(t, octets/n, int64(24))
	runtime.KeepAlive(p)
}
