package queue

import (
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// path is one producer, one queue and one consumer on one goroutine: what it
// costs a message to go through a host.
type path struct {
	h     *Host
	body  [16]byte
	noAck bool
	id    message.ConsumerID
	// acks is what the consumer will settle.
	acks     *Batch
	answered uint64
	seq      uint64
}

func (p *path) Deliver(ds []Delivery) {
	for i := range ds {
		ds[i].Msg.Release()
		if !p.noAck {
			p.acks.Settle(Settle{ID: ds[i].ID, Consumer: p.id, Outcome: Ack})
		}
	}
}

func (p *path) Cancelled() {}

func (p *path) Confirm(from, to uint64) { p.answered += to - from + 1 }
func (p *path) Reject(uint64)           {}

func newPath(t testing.TB, noAck bool) *path {
	h, err := NewHost(Classic(), Spec{Name: "q", VHost: "/", Type: "classic"}, HostEnv{
		Go:   func(func()) bool { return false },
		Gone: func(*Host, error) {},
	})
	require.NoError(t, err)
	p := &path{h: h, noAck: noAck, acks: NewBatch()}
	require.NoError(t, h.Consume(Consumer{NoAck: noAck, Prefetch: 4096}, p, func(id message.ConsumerID) { p.id = id }, func() {}))
	return p
}

// send publishes n messages, which are delivered and acknowledged when it
// returns.
func (p *path) send(n int) {
	b := NewBatch()
	for range n {
		m := message.New("", "q", nil, len(p.body))
		m.AppendBody(p.body[:])
		p.seq++
		b.Publish(Publish{Msg: m, Ref: message.PublishRef{By: p, Seq: p.seq}})
	}
	p.h.Post(b)
	if acks := p.acks; acks.Len() > 0 {
		p.acks = NewBatch()
		p.h.Post(acks)
	}
}

func (p *path) check(t testing.TB) {
	s, err := p.h.Stat()
	require.NoError(t, err)
	require.Equal(t, Stat{Consumers: 1}, s)
	require.Equal(t, p.seq, p.answered)
}

func BenchmarkHost(b *testing.B) {
	for _, noAck := range []bool{true, false} {
		for _, batch := range []int{1, 64} {
			b.Run(fmt.Sprintf("noack=%v/batch=%d", noAck, batch), func(b *testing.B) {
				p := newPath(b, noAck)
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					if n++; n == batch {
						p.send(n)
						n = 0
					}
				}
				if n > 0 {
					p.send(n)
				}
				p.check(b)
			})
		}
	}
}

// Not parallel: AllocsPerRun counts what everybody allocates.
func TestAMessageOnItsWayAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool forgets at random under the race detector")
	}
	for _, noAck := range []bool{true, false} {
		for _, batch := range []int{1, 64} {
			t.Run(fmt.Sprintf("noack=%v/batch=%d", noAck, batch), func(t *testing.T) {
				p := newPath(t, noAck)
				const rounds = 2000
				perRun := testing.AllocsPerRun(1, func() {
					for range rounds {
						p.send(batch)
					}
				})
				perMessage := perRun / float64(rounds*batch)
				t.Logf("%.4f allocations per message", perMessage)
				require.Less(t, perMessage, 0.05)
				p.check(t)
			})
		}
	}
}

// Not parallel: it measures the heap.
func TestAnIdleQueueKeepsLittleMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has its own memory")
	}
	const queues, burst = 200, 2000
	before := heap()
	paths := make([]*path, queues)
	for i := range paths {
		paths[i] = newPath(t, i%2 == 0)
		paths[i].send(burst)
		paths[i].check(t)
		paths[i].acks = nil
	}
	each := (heap() - before) / queues
	t.Logf("%d octets each", each)
	require.Less(t, each, int64(8<<10))
	runtime.KeepAlive(paths)
}

// The runtime gives an object with pointers of more than 512 octets 8 more, and then
// memory in steps of 128: who adds a field here may add 13 MB to 100 000 queues.
func TestAClassicQueueFitsItsSizeClass(t *testing.T) {
	t.Parallel()
	require.LessOrEqual(t, unsafe.Sizeof(classic{}), uintptr(768-8))
}

// heap gives the octets in use, without what only pools hold.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// BenchmarkManyChannelsThatWait is a settle and a Resume of one channel while the gates of
// others are shut, which costs the same however many they are.
func BenchmarkManyChannelsThatWait(b *testing.B) {
	for _, channels := range []int{2, 10_000} {
		b.Run(fmt.Sprint(channels), func(b *testing.B) {
			var c consumers
			for i := range channels {
				require.NoError(b, c.add(Consumer{ID: message.ConsumerID(i + 1), Prefetch: 1, Place: i}))
			}
			for t := c.front(); t != nil; t = c.front() {
				c.block(t)
			}
			c.resume(1)
			b.ReportAllocs()
			for b.Loop() {
				t := c.front()
				t.took()
				c.front()
				c.returned(t.ID)
				c.block(c.front())
				c.resume(t.ID)
			}
		})
	}
}
