package msgstore

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// nullKV keeps nothing, so that what a benchmark measures is this package.
type nullKV struct{ *fakeKV }

func (nullKV) Apply([]store.Change) error { return nil }

func benchMessages(n, size int) []*message.Message {
	ms := make([]*message.Message, n)
	for i := range ms {
		ms[i] = message.New("exchange", "routing.key", make([]byte, 20), size)
		ms[i].AppendBody(make([]byte, size))
		ms[i].SetAttributes(true, 0)
	}
	return ms
}

// BenchmarkCommit submits persistent messages and, a round later, their marks
// and removals; the time is for one message of one queue.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{256, 1024} {
		for _, group := range []int{1, 64, 1000} {
			for _, queues := range []int{1, 3} {
				b.Run(fmt.Sprintf("%dB/group%d/queues%d", size, group, queues), func(b *testing.B) {
					benchCommit(b, size, group, queues)
				})
			}
		}
	}
}

func benchCommit(b *testing.B, size, group, queues int) {
	kv := nullKV{newFakeKV()}
	kv.limits = store.Limits{MaxBytes: 9 << 20, MaxChanges: 100_000}
	s := open(b, kv, Options{})
	ms := benchMessages(group, size)
	b.ReportAllocs()
	b.SetBytes(int64(size))
	seq := uint64(0)
	done := make(chan struct{}, queues)
	tell := func(error) { done <- struct{}{} }
	removes := make([][]store.Op, queues)
	for n := 0; n < b.N; n += group * queues {
		for id := range queues {
			ops := make([]store.Op, group)
			for i := range ops {
				ms[i].Retain(1)
				ops[i] = store.Op{Kind: store.Append, Seq: seq + uint64(i), Msg: ms[i]}
			}
			s.Log(uint64(id)).Submit(append(ops, removes[id]...), tell)
			removes[id] = make([]store.Op, 0, 2*group)
			for i := range group {
				removes[id] = append(removes[id], store.Op{Kind: store.Delivered, Seq: seq + uint64(i)}, store.Op{Kind: store.Remove, Seq: seq + uint64(i)})
			}
		}
		for range queues {
			<-done
		}
		seq += uint64(group)
	}
}

func BenchmarkSubmitContended(b *testing.B) {
	kv := nullKV{newFakeKV()}
	kv.limits = store.Limits{MaxBytes: 9 << 20, MaxChanges: 100_000}
	s := open(b, kv, Options{})
	m := benchMessages(1, 256)[0]
	var next sync.Mutex
	id := uint64(0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		next.Lock()
		id++
		l := s.Log(id)
		next.Unlock()
		done := make(chan struct{}, 1)
		tell := func(error) { done <- struct{}{} }
		for seq := uint64(0); pb.Next(); seq++ {
			m.Retain(1)
			l.Submit([]store.Op{{Kind: store.Append, Seq: seq, Msg: m}}, tell)
			<-done
		}
	})
}

// full fills a queue of kv with n messages, in groups.
func full(b testing.TB, kv store.Store, n, group, size int) {
	s := open(b, kv, Options{})
	ms := benchMessages(group, size)
	for seq := 0; seq < n; seq += group {
		ops := make([]store.Op, group)
		for i := range ops {
			ms[i].Retain(1)
			ops[i] = store.Op{Kind: store.Append, Seq: uint64(seq + i), Msg: ms[i]}
		}
		require.NoError(b, wait(s.Log(1), ops...))
	}
	require.NoError(b, s.Close())
}

// BenchmarkLoad loads ranges of 256 messages of 1 KiB; the time is for one.
func BenchmarkLoad(b *testing.B) {
	kv := newFakeKV()
	kv.limits.MaxBytes = 9 << 20
	full(b, kv, 20_000, 1000, 1024)
	s := open(b, kv, Options{})
	l := s.Log(1)
	b.ReportAllocs()
	b.SetBytes(1024)
	done := make(chan struct{})
	for n := 0; n < b.N; n += 256 {
		from := uint64(n % 19_000)
		l.Load(store.Range{From: from, To: from + 255}, func(ls []store.Loaded, err error) {
			for _, l := range ls {
				l.Msg.Release()
			}
			done <- struct{}{}
		})
		<-done
	}
}

// BenchmarkOpen opens a million messages of one queue, committed in groups of
// the given size, and reports the memory that their index takes.
func BenchmarkOpen(b *testing.B) {
	for _, group := range []int{10, 1000} {
		b.Run(fmt.Sprintf("group%d", group), func(b *testing.B) {
			kv := newFakeKV()
			kv.limits.MaxBytes = 9 << 20
			full(b, kv, 1_000_000, group, 16)
			b.ReportAllocs()
			for b.Loop() {
				before := heap()
				start := time.Now()
				s := open(b, kv, Options{})
				opened := time.Since(start)
				n := 0
				done := make(chan struct{})
				s.Log(1).Recover(func(es []store.Entry) { n += len(es) }, func(error) { close(done) })
				<-done
				b.ReportMetric(float64(opened.Milliseconds()), "ms/open")
				b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/open+recover")
				b.ReportMetric(float64(heap()-before)/float64(n), "B/message")
				require.Equal(b, 1_000_000, n)
				runtime.KeepAlive(s)
				require.NoError(b, s.Close())
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
