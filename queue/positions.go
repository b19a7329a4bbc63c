package queue

import "github.com/warrenmq/warren/message"

// A position is where a message stands in its queue; positions grow and are
// never used twice. positions keeps the messages of a classic queue by
// position, so that a requeued one finds its old place, and knows which are
// ready. Memory follows the messages that are still there: what is gone in
// between costs a pointer for every segSize positions.
type positions struct {
	segs []*segment // of the segments from first on; nil where all are gone
	// first is the number of segs[0], next the position of the next message.
	first, next uint64
	// cursor is the lowest position never taken; below it, ready messages are
	// those in returned.
	cursor   uint64
	returned minHeap
	ready    int
	held     int
	bytes    int64 // bodies of the ready ones
	spare    *segment
}

const (
	segBits = 6
	segSize = 1 << segBits
)

type segment struct {
	slots [segSize]slot
	live  int
}

type slotState uint8

const (
	slotGone slotState = iota
	slotReady
	slotHeld
)

// slot is one message in its place.
type slot struct {
	msg         *message.Message // nil while only the store has it
	size        uint32
	state       slotState
	redelivered bool
	stored      bool // the store has it, or was asked to
}

// at gives the slot of a position, or nil if its message is gone.
func (p *positions) at(seq uint64) *slot {
	i := seq>>segBits - p.first
	if seq >= p.next || i >= uint64(len(p.segs)) || p.segs[i] == nil {
		return nil
	}
	s := &p.segs[i].slots[seq&(segSize-1)]
	if s.state == slotGone {
		return nil
	}
	return s
}

// push adds a ready message at the end.
func (p *positions) push(msg *message.Message, size int) (uint64, *slot) {
	seq := p.next
	return seq, p.put(seq, msg, size)
}

// put adds a ready message at a position not lower than any before.
func (p *positions) put(seq uint64, msg *message.Message, size int) *slot {
	if n := len(p.segs); n > 0 && p.first+uint64(n-1) < seq>>segBits {
		p.reclaim(n - 1) // it was kept while it was the last
	}
	if len(p.segs) == 0 {
		p.first = seq >> segBits
	}
	for uint64(len(p.segs)) <= seq>>segBits-p.first {
		p.segs = append(p.segs, nil)
	}
	seg := &p.segs[seq>>segBits-p.first]
	if *seg == nil {
		if *seg = p.spare; *seg == nil {
			*seg = new(segment)
		}
		p.spare = nil
	}
	(*seg).live++
	p.next = seq + 1
	s := &(*seg).slots[seq&(segSize-1)]
	*s = slot{msg: msg, size: uint32(size), state: slotReady}
	p.ready++
	p.bytes += int64(size)
	return s
}

// head gives the first ready message, which there must be.
func (p *positions) head() (uint64, *slot) {
	if len(p.returned) > 0 {
		seq := p.returned[0]
		return seq, p.at(seq)
	}
	for {
		if s := p.at(p.cursor); s != nil && s.state == slotReady {
			return p.cursor, s
		}
		p.cursor++
	}
}

// hold takes the first ready message, as given by head, out of the ready ones.
func (p *positions) hold(seq uint64, s *slot) {
	p.takeHead(seq)
	s.state = slotHeld
	p.ready--
	p.held++
	p.bytes -= int64(s.size)
}

func (p *positions) takeHead(seq uint64) {
	if len(p.returned) > 0 && p.returned[0] == seq {
		p.returned.pop()
		return
	}
	p.cursor = seq + 1
}

// giveBack makes a held message ready again at its place.
func (p *positions) giveBack(seq uint64, s *slot) {
	s.state = slotReady
	s.redelivered = true
	p.held--
	p.ready++
	p.bytes += int64(s.size)
	p.returned.push(seq)
}

// drop forgets a held message.
func (p *positions) drop(seq uint64, s *slot) {
	p.held--
	p.clear(seq, s)
}

// dropHead forgets the first ready message, as given by head.
func (p *positions) dropHead(seq uint64, s *slot) {
	p.takeHead(seq)
	p.ready--
	p.bytes -= int64(s.size)
	p.clear(seq, s)
}

// lose forgets a ready message that is not the head: the store no longer has it.
func (p *positions) lose(seq uint64, s *slot) {
	p.ready--
	p.bytes -= int64(s.size)
	p.clear(seq, s)
}

func (p *positions) clear(seq uint64, s *slot) {
	*s = slot{}
	i := int(seq>>segBits - p.first)
	p.segs[i].live--
	if i < len(p.segs)-1 {
		p.reclaim(i)
	}
}

// reclaim takes a segment back in which no message is left.
func (p *positions) reclaim(i int) {
	if p.segs[i] == nil || p.segs[i].live > 0 {
		return
	}
	p.spare, p.segs[i] = p.segs[i], nil
	for len(p.segs) > 0 && p.segs[0] == nil {
		p.segs = p.segs[1:]
		p.first++
	}
}

// each calls f for every message, in order.
func (p *positions) each(f func(seq uint64, s *slot)) {
	for i, seg := range p.segs {
		if seg == nil {
			continue
		}
		for j := range seg.slots {
			if s := &seg.slots[j]; s.state != slotGone {
				f((p.first+uint64(i))<<segBits|uint64(j), s)
			}
		}
	}
}

// minHeap is a heap of positions, lowest first.
type minHeap []uint64

func (h *minHeap) push(v uint64) {
	*h = append(*h, v)
	a := *h
	for i := len(a) - 1; i > 0; {
		up := (i - 1) / 2
		if a[up] <= a[i] {
			return
		}
		a[up], a[i] = a[i], a[up]
		i = up
	}
}

func (h *minHeap) pop() {
	a := *h
	n := len(a) - 1
	a[0] = a[n]
	a = a[:n]
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && a[c+1] < a[c] {
			c++
		}
		if a[i] <= a[c] {
			break
		}
		a[i], a[c] = a[c], a[i]
		i = c
	}
	if n == 0 {
		a = nil // a burst of requeues must not keep its memory
	}
	*h = a
}
