package limiter

import (
	"math"
	"sync/atomic"
)

// Prefetch is the limit of unacknowledged deliveries that all consumers of one
// channel share: basic.qos with the global bit (contract 06 §3). The zero
// Prefetch limits nothing.
//
// It may be used by any number of goroutines at once. It never blocks; the
// package comment says how to wait for it.
type Prefetch struct {
	// state is the limit in the upper half and the number held in the lower one,
	// so that both change in one step.
	state atomic.Uint64
}

// prefetchState is the unpacked form of Prefetch.state.
type prefetchState struct{ limit, held uint32 }

func unpack(s uint64) prefetchState {
	return prefetchState{limit: uint32(s >> 32), held: uint32(s)}
}

func (s prefetchState) pack() uint64 { return uint64(s.limit)<<32 | uint64(s.held) }

func (s prefetchState) full() bool { return s.limit != 0 && s.held >= s.limit }

// change replaces the state by what f makes of it, and reports whether that took
// the limit from full to not full.
func (p *Prefetch) change(f func(prefetchState) prefetchState) (opened bool) {
	for {
		packed := p.state.Load()
		before := unpack(packed)
		after := f(before)
		if p.state.CompareAndSwap(packed, after.pack()) {
			return before.full() && !after.full()
		}
	}
}

// SetLimit sets the limit; 0 or less takes it away. unacked is the number of
// deliveries the channel has outstanding now, those of basic.get included: it
// counts when there was no limit before, because nothing was counted until then.
// A change from one limit to another goes on with the count there is. Nothing
// is recalled that was delivered already.
//
// It reports whether there is room now where there was none: those who wait must
// ask again.
func (p *Prefetch) SetLimit(limit, unacked int) (opened bool) {
	n, u := clamp(limit), clamp(unacked)
	return p.change(func(s prefetchState) prefetchState {
		switch {
		case n == 0:
			return prefetchState{}
		case s.limit == 0:
			return prefetchState{limit: n, held: u}
		default:
			return prefetchState{limit: n, held: s.held}
		}
	})
}

// Limit is the limit set, 0 if there is none.
func (p *Prefetch) Limit() int { return int(unpack(p.state.Load()).limit) }

// Held is the number of deliveries counted, 0 while there is no limit.
func (p *Prefetch) Held() int { return int(unpack(p.state.Load()).held) }

// TryTake asks for one delivery that will be acknowledged, and counts it.
func (p *Prefetch) TryTake() bool {
	for {
		packed := p.state.Load()
		s := unpack(packed)
		if s.limit == 0 {
			return true
		}
		if s.full() {
			return false
		}
		s.held++
		if p.state.CompareAndSwap(packed, s.pack()) {
			return true
		}
	}
}

// TryPass asks for one delivery to a consumer without acknowledgements. It is
// not counted, but it has to wait like the others while the limit is reached.
func (p *Prefetch) TryPass() bool { return !unpack(p.state.Load()).full() }

// Release gives n deliveries back. More than is held empties it: the limit may
// have been taken away and set anew since they were delivered.
//
// It reports whether there is room now where there was none: those who wait must
// ask again.
func (p *Prefetch) Release(n int) (opened bool) {
	if p.state.Load() == 0 {
		return false
	}
	back := clamp(n)
	return p.change(func(s prefetchState) prefetchState {
		s.held -= min(s.held, back)
		return s
	})
}

// clamp fits n into what the packed state can hold.
func clamp(n int) uint32 {
	return uint32(min(max(n, 0), math.MaxInt32))
}
