package msgstore

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
)

// commitTime is how long an Apply of a paced store takes.
const commitTime = time.Millisecond

// paced is a store whose rounds take time, and the publishers to it.
type paced struct {
	s   *Store
	log store.Log

	mu  sync.Mutex
	seq uint64
	// sizes are the appends of each round, held how long the committer waited
	// before it although there was something to write.
	sizes []int
	held  []time.Duration
	first time.Time // something was submitted since the round began
	ended time.Time
}

func newPaced(t *testing.T) *paced {
	p := &paced{}
	kv := newFakeKV()
	p.s = open(t, kv, Options{})
	p.log = p.s.Log(1)
	kv.before = func(int) error {
		p.s.mu.Lock()
		size := p.s.pace.taken
		p.s.mu.Unlock()
		if size == 0 {
			return nil
		}
		p.began(size)
		time.Sleep(commitTime)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ended = time.Now()
		return nil
	}
	synctest.Wait()
	return p
}

func (p *paced) began(size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := p.first
	if p.ended.After(since) {
		since = p.ended
	}
	p.sizes, p.held = append(p.sizes, size), append(p.held, time.Since(since))
	p.first = time.Time{}
}

// publish submits n messages and calls again once they are durable.
func (p *paced) publish(n int, again func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ops := make([]store.Op, n)
	for i := range ops {
		ops[i] = appendOp(p.seq, "m")
		p.seq++
	}
	if p.first.IsZero() {
		p.first = time.Now()
	}
	p.log.Submit(ops, func(error) { again() })
}

// cycle publishes n messages again and again, each time turn after they were
// confirmed, until it has done so times times.
func (p *paced) cycle(n, times int, turn time.Duration) {
	if times == 0 {
		return
	}
	p.publish(n, func() {
		time.AfterFunc(turn, func() { p.cycle(n, times-1, turn) })
	})
}

func TestPublishersInHalvesAreBroughtTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPaced(t)
		p.cycle(4, 20, 300*time.Microsecond)
		time.Sleep(commitTime / 2) // the others come in the middle of the round
		p.cycle(6, 20, 300*time.Microsecond)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []int{4, 6, 4, 6}, p.sizes[:4])
		require.Equal(t, 40, len(p.sizes)+count(p.sizes, 10), "all are written")
		require.Greater(t, count(p.sizes, 10), 10, "%v", p.sizes)
	})
}

func TestWhoStopsIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPaced(t)
		p.cycle(4, 20, 300*time.Microsecond)
		time.Sleep(commitTime / 2)
		p.cycle(6, 40, 300*time.Microsecond)
		time.Sleep(time.Second)
		synctest.Wait()
		waits := 0
		for i, size := range p.sizes {
			if size == 6 && p.held[i] > 0 {
				waits++
				require.LessOrEqual(t, p.held[i], 2*commitTime)
			}
		}
		require.Equal(t, 1, waits, "%v %v", p.sizes, p.held)
	})
}

func TestWhoComesAndGoesIsNeverHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPaced(t)
		rnd := rand.New(rand.NewPCG(7, 7))
		for range 2000 {
			p.publish(1+rnd.IntN(3), func() {})
			time.Sleep(time.Duration(rnd.IntN(400)) * time.Microsecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		require.Greater(t, len(p.sizes), 200)
		for i := range p.held {
			require.Zero(t, p.held[i], "round %d of %d", i, len(p.held))
		}
	})
}

func TestADefinitionWaitsForNoWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPaced(t)
		p.s.mu.Lock()
		p.s.pace.last, p.s.pace.steady, p.s.pace.cost = 10, steadyRounds, commitTime
		p.s.mu.Unlock()
		p.publish(1, func() {})
		synctest.Wait()
		require.Empty(t, p.sizes, "the committer waits for the other nine")
		p.s.Define([]Definition{{Kind: 'z', Key: []byte("k")}}, nil)
		synctest.Wait()
		require.Equal(t, []int{1}, p.sizes)
		time.Sleep(time.Second)
		synctest.Wait()
	})
}

func count(sizes []int, of int) (n int) {
	for _, s := range sizes {
		if s == of {
			n++
		}
	}
	return n
}
