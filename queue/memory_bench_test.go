package queue

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// machine drives the state machine of a durable queue against a store that takes no
// time: what a queue itself costs.
type machine struct {
	q    Queue
	out  Actions
	body []byte
	in   []Publish
	seen int
}

func newMachine(t testing.TB, size int) *machine { return newMachineWith(t, size, nil) }

func newMachineWith(t testing.TB, size int, arguments message.Table) *machine {
	q, err := Classic().Open(Spec{Name: "q", Durable: true, Arguments: arguments}, Env{Stored: true})
	require.NoError(t, err)
	return &machine{q: q, body: make([]byte, size)}
}

func (p *machine) message() *message.Message {
	m := message.New("", "q", nil, len(p.body))
	m.AppendBody(p.body)
	m.SetAttributes(true, 0)
	return m
}

// fill publishes n messages.
func (p *machine) fill(n int) {
	for n > 0 {
		p.in = p.in[:0]
		for range min(n, 512) {
			p.in = append(p.in, Publish{Msg: p.message()})
		}
		n -= len(p.in)
		p.q.Enqueue(p.in, &p.out)
		p.serve()
	}
}

// drain consumes everything.
func (p *machine) drain(t testing.TB) {
	require.NoError(t, p.q.Consume(Consumer{ID: 1, NoAck: true}, &p.out))
	p.serve()
	p.q.Cancel(1, ByClient, &p.out)
	p.out = Actions{}
}

// serve does what the queue wants done until it wants nothing any more.
func (p *machine) serve() {
	for {
		o := p.out
		p.out = Actions{Deliver: o.Deliver[:0]}
		for i := range o.Deliver {
			o.Deliver[i].Msg.Release()
		}
		p.seen += len(o.Deliver)
		for i := range o.Store {
			if o.Store[i].Kind == store.Append {
				o.Store[i].Msg.Release()
			}
		}
		if len(o.Store) > 0 {
			p.q.Event(Event{Kind: Stored, Ops: len(o.Store)}, &p.out)
		}
		for _, r := range o.Load {
			loaded := make([]store.Loaded, 0, r.To-r.From+1)
			for seq := r.From; seq <= r.To; seq++ {
				loaded = append(loaded, store.Loaded{Seq: seq, Msg: p.message()})
			}
			p.q.Event(Event{Kind: LoadDone, Loaded: loaded}, &p.out)
		}
		if len(o.Store) == 0 && len(o.Load) == 0 {
			return
		}
	}
}

// recover gives the queue n messages of an earlier run.
func (p *machine) recover(n int) {
	entries := make([]store.Entry, 4096)
	for seq := 0; seq < n; {
		batch := entries[:min(len(entries), n-seq)]
		for i := range batch {
			batch[i] = store.Entry{Seq: uint64(seq), Size: len(p.body)}
			seq++
		}
		p.q.Event(Event{Kind: Recovered, Entries: batch}, &p.out)
	}
	p.q.Event(Event{Kind: RecoverDone}, &p.out)
}

// Ten million messages that an earlier run left.
func BenchmarkRecovered(b *testing.B) {
	const n = 10_000_000
	b.ReportAllocs()
	for b.Loop() {
		p := newMachine(b, 1<<10)
		p.recover(n)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/message")
}

// A message through a queue that is far beyond its bound: stored, out of memory,
// loaded and delivered.
func BenchmarkPaged(b *testing.B) {
	const n = 100_000
	b.ReportAllocs()
	p := newMachine(b, 1<<10)
	for b.Loop() {
		p.fill(n)
		p.drain(b)
	}
	require.Equal(b, b.N*n, p.seen)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/message")
}

// Not parallel: it measures the heap.
func TestAMessageThatIsNotInMemoryCostsLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has its own memory")
	}
	const n = 1_000_000
	before := heap()
	published, recovered := newMachine(t, 1<<10), newMachine(t, 1<<10)
	published.fill(n)
	inMemory := heap() - before
	// What may stay in memory is no part of the price.
	inMemory -= defaultMessages * int64(published.message().Footprint()+16)
	before = heap()
	recovered.recover(n)
	onDisk := heap() - before
	t.Logf("%.1f octets for a published message, %.1f for a recovered one", float64(inMemory)/n, float64(onDisk)/n)
	require.Less(t, inMemory/n, int64(16))
	require.Less(t, onDisk/n, int64(16))
	recovered.drain(t)
	require.Equal(t, n, recovered.seen)
	require.Less(t, heap()-before, int64(1<<20))
	runtime.KeepAlive(published)
	runtime.KeepAlive(recovered)
}
