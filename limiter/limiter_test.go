package limiter_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a limit as the waiting protocol of the package comment sees it.
type gate struct {
	tryTake func() bool
	release func() (opened bool)
}

// waiters is the list an owner of a limit keeps.
type waiters struct {
	mu   sync.Mutex
	list map[chan struct{}]struct{}
}

func (w *waiters) add(c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list[c] = struct{}{}
}

func (w *waiters) remove(c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.list, c)
}

func (w *waiters) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.list {
		delete(w.list, c)
		c <- struct{}{} // Has room: a waiter drains it before it registers.
	}
}

// take asks until it is let through, by the protocol of the package comment.
func (w *waiters) take(g gate, wake chan struct{}) {
	for {
		if g.tryTake() {
			return
		}
		w.add(wake)
		if g.tryTake() {
			w.remove(wake)
			// A wake-up may have come in between; it must not be taken for the
			// next one.
			select {
			case <-wake:
			default:
			}
			return
		}
		<-wake
	}
}

// runProtocol lets takers go through one gate at once, each taking rounds times,
// while one goroutine per release order gives back. It ends only if no wake-up is
// lost: a taker that nobody wakes hangs the test.
func runProtocol(takers, rounds int, gateOf func(taker int) gate) {
	w := &waiters{list: map[chan struct{}]struct{}{}}
	taken := make(chan gate, takers*rounds)
	var all sync.WaitGroup
	for i := range takers {
		all.Go(func() {
			wake := make(chan struct{}, 1)
			g := gateOf(i)
			for range rounds {
				w.take(g, wake)
				taken <- g
			}
		})
	}
	var releasers sync.WaitGroup
	for range 2 {
		releasers.Go(func() {
			var batch []gate
			giveBack := func() {
				rand.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
				for _, g := range batch {
					if g.release() {
						w.wakeAll()
					}
				}
				batch = batch[:0]
			}
			for g := range taken {
				batch = append(batch, g)
				// Nobody holds on to anything while waiting for more.
				for more := true; more && len(batch) < 16; {
					select {
					case g, more = <-taken:
						if more {
							batch = append(batch, g)
						}
					default:
						more = false
					}
				}
				giveBack()
			}
		})
	}
	all.Wait()
	close(taken)
	releasers.Wait()
}
