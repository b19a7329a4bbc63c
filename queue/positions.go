package queue

import (
	"cmp"
	"slices"

	"github.com/warrenmq/warren/message"
)

// A position is where a message stands in its queue; positions grow and are
// never used twice. positions keeps the messages of a classic queue by
// position, so that a requeued one finds its old place, and knows which are
// ready. Memory follows the messages that are still there, however far apart
// they stand.
type positions struct {
	// segs are the last segment and those before it with messages, in order.
	// holes of them have no segment any more; they are closed when they are most.
	segs  []numbered
	holes int
	// next is the position of the next message.
	next uint64
	// cursor is the lowest position never taken; below it, ready messages are
	// those in returned.
	cursor   uint64
	returned minHeap
	// inTurn says that those in returned are in the order in which they came back, and
	// not in that of their positions.
	inTurn bool
	// levels order the ready messages of a priority queue, instead of cursor and
	// returned; nil for others.
	levels *levels
	ready  int
	held   int
	dying  int
	bytes  int64 // bodies of the ready ones
	// spare and spareMsgs are used before new ones are made.
	spare     *segment
	spareMsgs *messages
}

// numbered is a segment and its number: that of its positions without their
// lowest segBits. seg is nil in a hole.
type numbered struct {
	number uint64
	seg    *segment
}

// find gives the index in segs of the segment with a number, or where it would
// stand.
func (p *positions) find(number uint64) (int, bool) {
	// There are few gaps, so that counting back from the last one mostly hits.
	if last := len(p.segs) - 1; last >= 0 {
		back := p.segs[last].number - number
		if back <= uint64(last) && p.segs[last-int(back)].number == number {
			return last - int(back), true
		}
	}
	return slices.BinarySearchFunc(p.segs, number, func(s numbered, n uint64) int {
		return cmp.Compare(s.number, n)
	})
}

// at gives the slot of a position; it is gone if its message is.
func (p *positions) at(seq uint64) slot {
	i, ok := p.find(seq >> segBits)
	if !ok || p.segs[i].seg == nil {
		return slot{}
	}
	s := slot{p.segs[i].seg, int(seq & (segSize - 1))}
	if s.gone() {
		return slot{}
	}
	return s
}

// from gives the first slot with a message at or above a position; it is gone if
// there is none.
func (p *positions) from(seq uint64) (uint64, slot) {
	i, _ := p.find(seq >> segBits)
	for ; i < len(p.segs); i++ {
		n := p.segs[i]
		if n.seg == nil {
			continue
		}
		j := 0
		if n.number == seq>>segBits {
			j = int(seq & (segSize - 1))
		}
		for ; j < segSize; j++ {
			if s := (slot{n.seg, j}); !s.gone() {
				return n.number<<segBits | uint64(j), s
			}
		}
	}
	return p.next, slot{}
}

// push adds a ready message at the end.
func (p *positions) push(msg *message.Message, size int) (uint64, slot) {
	seq := p.next
	priority := uint8(0)
	if p.levels != nil {
		priority = msg.Priority()
	}
	s := p.put(seq, size, priority)
	p.setMsg(s, msg)
	return seq, s
}

// put adds a ready message at a position higher than any before. Its body is not
// in memory.
func (p *positions) put(seq uint64, size int, priority uint8) slot {
	seg := p.lastSegment(seq >> segBits)
	seg.live++
	p.next = seq + 1
	s := slot{seg, int(seq & (segSize - 1))}
	seg.sizes[s.i], seg.flags[s.i] = uint32(size), slotReady
	if seg.rare != nil {
		s.setExpiry(0)
		s.setCount(0)
	}
	p.ready++
	p.bytes += int64(size)
	if p.levels != nil {
		s.setLevel(p.levels.put(seq, priority))
	}
	return s
}

// setMsg gives a slot its body.
func (p *positions) setMsg(s slot, m *message.Message) {
	if s.seg.msgs == nil {
		if s.seg.msgs = p.spareMsgs; s.seg.msgs == nil {
			s.seg.msgs = new(messages)
		}
		p.spareMsgs = nil
	}
	s.seg.msgs[s.i] = m
	s.seg.bodies++
}

// takeMsg takes the body, which must be there, out of a slot that stays.
func (p *positions) takeMsg(s slot) *message.Message {
	m := s.seg.msgs[s.i]
	s.seg.msgs[s.i] = nil
	if s.seg.bodies--; s.seg.bodies == 0 {
		p.spareMsgs, s.seg.msgs = s.seg.msgs, nil
	}
	return m
}

// lastSegment gives the segment with a number that is not lower than any there.
func (p *positions) lastSegment(number uint64) *segment {
	if n := len(p.segs); n > 0 {
		if p.segs[n-1].number == number {
			return p.segs[n-1].seg
		}
		p.reclaim(n - 1) // it was kept while it was the last
	}
	seg := p.spare
	if seg == nil {
		seg = new(segment)
	}
	p.spare = nil
	p.segs = append(p.segs, numbered{number, seg})
	return seg
}

// head gives the first ready message, which there must be.
func (p *positions) head() (uint64, slot) {
	if p.levels != nil {
		return p.levels.head(p)
	}
	if len(p.returned) > 0 {
		seq := p.returned[0]
		return seq, p.at(seq)
	}
	for {
		if s := p.at(p.cursor); s.is(slotReady) {
			return p.cursor, s
		}
		if p.cursor++; p.cursor&(segSize-1) == 0 {
			p.skipGap()
		}
	}
}

// skipGap moves the cursor, which is at the beginning of a segment, to the next
// one that is there.
func (p *positions) skipGap() {
	i, _ := p.find(p.cursor >> segBits)
	for p.segs[i].seg == nil {
		i++
	}
	p.cursor = p.segs[i].number << segBits
}

// hold takes the first ready message, as given by head, out of the ready ones.
func (p *positions) hold(seq uint64, s slot) {
	p.takeHead(seq, s)
	s.unset(slotReady)
	s.set(slotHeld)
	p.ready--
	p.held++
	p.bytes -= int64(s.size())
}

func (p *positions) takeHead(seq uint64, s slot) {
	if p.levels != nil {
		p.levels.takeHead(seq, s)
		return
	}
	if len(p.returned) > 0 && p.returned[0] == seq {
		p.takeReturned(seq)
		return
	}
	p.cursor = seq + 1
}

// giveBack makes a held message ready again at its place.
func (p *positions) giveBack(seq uint64, s slot) {
	s.unset(slotHeld)
	s.set(slotReady | redelivered)
	p.held--
	p.ready++
	p.bytes += int64(s.size())
	if p.levels != nil {
		p.levels.giveBack(seq, s)
		return
	}
	if p.inTurn {
		p.returned = append(p.returned, seq)
	} else {
		p.returned.push(seq)
	}
}

// takeReturned takes a position out of returned.
func (p *positions) takeReturned(seq uint64) {
	switch {
	case !p.inTurn:
		p.returned.remove(seq)
	case p.returned[0] == seq:
		if p.returned = p.returned[1:]; len(p.returned) == 0 {
			p.returned = nil // a burst must not keep its memory
		}
	default:
		if i := slices.Index(p.returned, seq); i >= 0 {
			p.returned = slices.Delete(p.returned, i, i+1)
		}
	}
}

// retire takes a message out of the ready or held ones. Its place stays until it is
// forgotten with bury, and its body, if that is in memory, is the caller's from now
// on.
func (p *positions) retire(seq uint64, s slot) *message.Message {
	if s.is(slotHeld) {
		p.held--
	} else {
		p.takeOut(seq, s)
		p.ready--
		p.bytes -= int64(s.size())
	}
	p.dying++
	var m *message.Message
	if s.msg() != nil {
		m = p.takeMsg(s)
	}
	s.unset(slotReady | slotHeld)
	return m
}

// bury forgets a retired message. It may be one of which nothing was left to
// remember.
func (p *positions) bury(seq uint64, s slot) {
	p.dying--
	p.clear(seq, s)
}

// drop forgets a held message.
func (p *positions) drop(seq uint64, s slot) {
	p.held--
	p.clear(seq, s)
}

// dropHead forgets the first ready message, as given by head.
func (p *positions) dropHead(seq uint64, s slot) {
	p.takeHead(seq, s)
	p.ready--
	p.bytes -= int64(s.size())
	p.clear(seq, s)
}

// takeOut takes a ready message out of the order, wherever it stands.
func (p *positions) takeOut(seq uint64, s slot) {
	switch {
	case p.levels != nil:
		p.levels.lose(seq, s)
	case seq < p.cursor:
		p.takeReturned(seq)
	}
}

// lose forgets a ready message wherever it stands.
func (p *positions) lose(seq uint64, s slot) {
	p.takeOut(seq, s)
	p.ready--
	p.bytes -= int64(s.size())
	p.clear(seq, s)
}

// loseReady forgets all ready messages.
func (p *positions) loseReady() {
	if p.levels != nil {
		p.levels.clear()
	}
	if p.held == 0 && p.dying == 0 {
		*p = positions{next: p.next, cursor: p.next, levels: p.levels, inTurn: p.inTurn}
		return
	}
	p.each(func(seq uint64, s slot) {
		if s.is(slotReady) {
			s.clear()
		}
	})
	for i := range p.segs {
		if i < len(p.segs)-1 && p.segs[i].seg != nil && p.segs[i].seg.live == 0 {
			p.segs[i].seg = nil
			p.holes++
		}
	}
	p.closeHoles()
	p.ready, p.bytes, p.cursor, p.returned = 0, 0, p.next, nil
}

func (p *positions) clear(seq uint64, s slot) {
	s.clear()
	if s.seg.live > 0 {
		return
	}
	if i, _ := p.find(seq >> segBits); i < len(p.segs)-1 {
		p.reclaim(i)
	}
}

// reclaim takes a segment back in which no message is left.
func (p *positions) reclaim(i int) {
	seg := p.segs[i].seg
	if seg == nil || seg.live > 0 {
		return
	}
	p.spare, p.segs[i].seg = seg, nil
	if p.holes++; p.holes > len(p.segs)/2 {
		p.closeHoles()
	}
}

// closeHoles moves the segments together.
func (p *positions) closeHoles() {
	p.segs = slices.DeleteFunc(p.segs, func(s numbered) bool { return s.seg == nil })
	p.holes = 0
	if n := len(p.segs); cap(p.segs) > max(segSize, 8*n) {
		p.segs = append(make([]numbered, 0, 2*n), p.segs...) // it was a long queue once
	}
}

// each calls f for every message, in order. f may clear the slot.
func (p *positions) each(f func(seq uint64, s slot)) {
	for _, n := range p.segs {
		if n.seg == nil {
			continue
		}
		for j := range segSize {
			if s := (slot{n.seg, j}); !s.gone() {
				f(n.number<<segBits|uint64(j), s)
			}
		}
	}
}
