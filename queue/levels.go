package queue

import "math/bits"

// levels orders the ready messages of a queue with x-max-priority: those of the
// highest priority first, and each priority by position (contract 05 §8). It does
// for such a queue what positions does with a cursor for others, at a cost of nine
// octets for each message.
type levels struct {
	max uint8
	// by are the levels by priority, as many as were needed so far.
	by []level
	// filled has a bit for each level with ready messages.
	filled [4]uint64
}

// level are the ready messages of one priority. Whatever is in returned stands
// before what is in fresh, since messages are taken in order.
type level struct {
	ready    int
	fresh    fifo[uint64] // never taken; some of them may be gone
	returned minHeap
}

// put adds a ready message that was never taken, and gives its level.
func (l *levels) put(seq uint64, priority uint8) uint8 {
	p := min(priority, l.max)
	for len(l.by) <= int(p) {
		l.by = append(l.by, level{})
	}
	l.by[p].fresh.push(seq)
	l.more(p)
	return p
}

func (l *levels) more(p uint8) {
	l.by[p].ready++
	l.filled[p/64] |= 1 << (p % 64)
}

// fewer notes that a level has a ready message less. What is left in fresh of an
// empty one is gone.
func (l *levels) fewer(p uint8) {
	v := &l.by[p]
	if v.ready--; v.ready == 0 {
		l.filled[p/64] &^= 1 << (p % 64)
		v.fresh = fifo[uint64]{items: v.fresh.items[:0]}
		if cap(v.fresh.items) > maxKept {
			v.fresh.items = nil
		}
	}
}

// highest is the highest level with ready messages, which there must be.
func (l *levels) highest() uint8 {
	for i := len(l.filled) - 1; i > 0; i-- {
		if l.filled[i] != 0 {
			return uint8(64*i + bits.Len64(l.filled[i]) - 1)
		}
	}
	return uint8(bits.Len64(l.filled[0]) - 1)
}

// head gives the first ready message, which there must be.
func (l *levels) head(p *positions) (uint64, slot) {
	v := &l.by[l.highest()]
	if len(v.returned) > 0 {
		seq := v.returned[0]
		return seq, p.at(seq)
	}
	for {
		seq := *v.fresh.first()
		if s := p.at(seq); s.is(slotReady) {
			return seq, s
		}
		v.fresh.pop()
	}
}

// takeHead takes out the first ready message, as given by head.
func (l *levels) takeHead(seq uint64, s slot) {
	p := s.level()
	v := &l.by[p]
	if len(v.returned) > 0 && v.returned[0] == seq {
		v.returned.pop()
	} else {
		v.fresh.pop()
	}
	l.fewer(p)
}

// giveBack makes a message ready again.
func (l *levels) giveBack(seq uint64, s slot) {
	p := s.level()
	l.by[p].returned.push(seq)
	l.more(p)
}

// lose takes out a ready message wherever it stands.
func (l *levels) lose(seq uint64, s slot) {
	p := s.level()
	if s.is(redelivered) {
		l.by[p].returned.remove(seq)
	}
	l.fewer(p)
}

// clear forgets all ready messages. The levels stay, for those that are held.
func (l *levels) clear() {
	clear(l.by)
	l.filled = [4]uint64{}
}
