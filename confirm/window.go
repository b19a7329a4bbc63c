package confirm

import "slices"

// window holds how many answers each unsettled publish waits for. The recent
// ones are in a ring indexed by their number. A publish that stays unsettled
// while very many after it are settled is moved to a sorted list, so that one
// queue that does not answer cannot make the ring grow with everything that is
// published elsewhere: memory follows the number of the unsettled, not their
// distance.
type window struct {
	ring []uint32 // a power of two long; 0 is settled
	// The ring holds base..end-1. base is unsettled, or equal to end.
	base, end uint64
	inRing    int // the unsettled of the ring
	peak      int // the longest the ring's contents were since it was last checked

	old     []straggler // ascending, all below base
	settled int         // the settled ones among old

	count int // the unsettled, in ring and old
}

// straggler is an unsettled publish that left the ring.
type straggler struct {
	seq     uint64
	answers uint32 // 0 is settled
}

const (
	minRing = 64
	// idleRing is the longest ring that is kept while nothing is unsettled.
	idleRing = 1 << 12
)

func newWindow(first uint64) window { return window{base: first, end: first} }

// push adds the next publish.
func (w *window) push(answers int) {
	if answers == 0 && w.base == w.end {
		w.base++
		w.end++
		return
	}
	if w.end-w.base == uint64(len(w.ring)) {
		w.makeRoom()
	}
	w.ring[w.slot(w.end)] = uint32(answers)
	w.end++
	if answers > 0 {
		w.inRing++
		w.count++
	}
	w.peak = max(w.peak, int(w.end-w.base))
	if w.end&uint64(len(w.ring)-1) == 0 {
		w.shrink()
	}
}

func (w *window) slot(seq uint64) uint64 { return seq & uint64(len(w.ring)-1) }

// confirm counts one answer for each of from..to and adds those that are settled
// by it to acks.
func (w *window) confirm(from, to uint64, acks *spans) {
	if len(w.old) > 0 && from < w.base {
		i, _ := w.findOld(from)
		for ; i < len(w.old) && w.old[i].seq <= to; i++ {
			s := &w.old[i]
			if s.answers == 0 {
				continue
			}
			if s.answers--; s.answers == 0 {
				w.settled++
				w.count--
				acks.add(s.seq)
			}
		}
		w.trimOld()
	}
	if from = max(from, w.base); from >= w.end {
		return
	}
	for seq, last := from, min(to, w.end-1); seq <= last; seq++ {
		s := &w.ring[w.slot(seq)]
		if *s == 0 {
			continue
		}
		if *s--; *s == 0 {
			w.inRing--
			w.count--
			acks.add(seq)
		}
	}
	w.advance()
}

// settle takes seq out, however many answers it waits for, and reports whether
// it was there.
func (w *window) settle(seq uint64) bool {
	if seq >= w.end {
		return false
	}
	if seq < w.base {
		i, found := w.findOld(seq)
		if !found || w.old[i].answers == 0 {
			return false
		}
		w.old[i].answers = 0
		w.settled++
		w.count--
		w.trimOld()
		return true
	}
	s := &w.ring[w.slot(seq)]
	if *s == 0 {
		return false
	}
	*s = 0
	w.inRing--
	w.count--
	w.advance()
	return true
}

// smallest is the smallest unsettled number, or the next to come if there is
// none.
func (w *window) smallest() uint64 {
	if len(w.old) > 0 {
		return w.old[0].seq
	}
	return w.base
}

// advance moves base to the first unsettled publish.
func (w *window) advance() {
	if w.inRing == 0 {
		w.base = w.end
		if len(w.ring) > idleRing {
			w.ring, w.peak = nil, 0
		}
		return
	}
	for w.ring[w.slot(w.base)] == 0 {
		w.base++
	}
}

// makeRoom is called when the ring is full: it grows, unless it is full of
// settled publishes behind a few that are not.
func (w *window) makeRoom() {
	size := len(w.ring)
	if size <= minRing || w.inRing > size/4 {
		w.resize(max(2*size, minRing))
		return
	}
	half := w.base + uint64(size/2)
	for ; w.base < half; w.base++ {
		if answers := w.ring[w.slot(w.base)]; answers != 0 {
			w.old = append(w.old, straggler{w.base, answers})
			w.inRing--
		}
	}
	w.advance()
}

// shrink is called once for every round through the ring. It halves a ring of
// which that round needed a quarter at most.
func (w *window) shrink() {
	if size := len(w.ring); size > minRing && w.peak <= size/4 {
		w.resize(size / 2)
	}
	w.peak = int(w.end - w.base)
}

func (w *window) resize(size int) {
	ring := make([]uint32, size)
	for seq := w.base; seq < w.end; seq++ {
		ring[seq&uint64(size-1)] = w.ring[w.slot(seq)]
	}
	w.ring = ring
}

func (w *window) findOld(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(w.old, seq, func(s straggler, seq uint64) int {
		switch {
		case s.seq < seq:
			return -1
		case s.seq > seq:
			return 1
		}
		return 0
	})
}

// trimOld drops settled stragglers from the list: all of them once they are the
// half of it, and any at its front, so that the first is always unsettled.
func (w *window) trimOld() {
	if w.settled == 0 {
		return
	}
	if w.settled == len(w.old) {
		w.old, w.settled = nil, 0
		return
	}
	if w.settled >= len(w.old)/2 {
		w.old = slices.DeleteFunc(w.old, func(s straggler) bool { return s.answers == 0 })
		w.settled = 0
		if cap(w.old) > 4*len(w.old) {
			w.old = slices.Clone(w.old)
		}
		return
	}
	for w.old[0].answers == 0 {
		w.old = w.old[1:]
		w.settled--
	}
}
