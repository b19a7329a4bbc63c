package limiter

import "sync/atomic"

// Window limits the octets under way through an outbox. It closes when it has
// to refuse, and opens again only when at most half of it is in use, so that
// those who wait are woken for a batch and not for every frame that was written.
// It always lets one through when nothing is under way, however large. The zero
// Window, and one with a limit of 0 or less, limits nothing.
//
// It may be used by any number of goroutines at once and takes no lock. It never
// blocks; the package comment says how to wait for it.
type Window struct {
	limit uint64
	// state is the number of octets in use, shifted by one, and in the lowest
	// bit whether the window is closed.
	state atomic.Uint64
}

const closedBit = 1

// NewWindow makes a window of limit octets.
func NewWindow(limit int) *Window { return &Window{limit: uint64(max(limit, 0))} }

// TryTake asks for n octets. Count what a delivery costs besides its body too:
// deliveries that cost nothing are not limited. If the answer is no, the window
// is closed until a Release reports that it opened.
func (w *Window) TryTake(n int) bool {
	size := uint64(max(n, 0))
	for {
		state := w.state.Load()
		used := state >> 1
		if w.limit != 0 && used != 0 {
			if state&closedBit != 0 {
				return false
			}
			if used+size > w.limit {
				if w.state.CompareAndSwap(state, state|closedBit) {
					return false
				}
				continue
			}
		}
		// An empty window is never closed: Release has opened it.
		if w.state.CompareAndSwap(state, (used+size)<<1) {
			return true
		}
	}
}

// Take takes n octets whether there is room or not, for what cannot wait.
func (w *Window) Take(n int) { w.state.Add(uint64(max(n, 0)) << 1) }

// Release gives n octets back; it must be what was taken. It reports whether the
// window was closed and is open now: those who wait must ask again.
func (w *Window) Release(n int) (opened bool) {
	size := uint64(max(n, 0))
	for {
		state := w.state.Load()
		used := state >> 1
		used -= min(used, size)
		closed := state & closedBit
		if used <= w.limit/2 {
			closed = 0
		}
		if w.state.CompareAndSwap(state, used<<1|closed) {
			return state&closedBit != 0 && closed == 0
		}
	}
}

// Used is the number of octets under way.
func (w *Window) Used() int { return int(w.state.Load() >> 1) }

// Closed reports whether the window refuses everything until it opens.
func (w *Window) Closed() bool { return w.state.Load()&closedBit != 0 }
