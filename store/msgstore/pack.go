package msgstore

import (
	"slices"
	"sort"
)

// pack is what is remembered of one pack of a queue: where its messages are and
// which of them are alive. What most packs do not need is in more.
//
// The committer changes it under the queue's index lock, and reads it without.
type pack struct {
	id          uint64
	first, last uint64 // positions
	reach       uint64 // the highest last of this pack and those before it
	bytes       uint32 // weight of what the pack holds, dead or alive
	alive       uint32 // weight of what is alive, of the messages that are not shared
	n, live     uint32
	parts       uint16
	found       uint16    // parts that Open has seen
	weight      uint8     // of each message, if there are no weights
	flags       packFlags // the committer's alone
	gone        bool      // it is not in the index any more
	fresh       bool      // it is in the index, but not on the medium yet
	moved       bool      // it is gone because it was merged into another one
	weights     string    // an octet for each message; empty if uniform
	more        *packMore
}

type packFlags uint8

const (
	packListed    packFlags = 1 << iota // it is in group.dirty, or a shared one in Store.touched
	packUnsaved                         // it is in Store.unsaved
	packStated                          // there is an A
	packRewriting                       // a compaction is under way
	packTransient                       // it does not come back
)

func (p *pack) is(f packFlags) bool { return p.flags&f != 0 }

type packMore struct {
	offsets            []uint32 // of positions from first; nil if dense
	removed, delivered bitmap
	counts             map[uint32]uint32 // deliveries, where more than one
	shared             []*sharedPack
	refs               []sharedRef
	held               int64  // as in state
	counted            uint32 // of bytes - alive, what is in Store.dead
}

// newPack makes a pack of its index entry. The shared packs are those of the
// entry, which is not kept.
func newPack(id uint64, e *entry, shared []*sharedPack) *pack {
	p := &pack{id: id, first: e.first, last: e.seq(e.n - 1), n: e.n, live: e.n, parts: uint16(e.parts)}
	p.reach = p.last
	if e.sizes == nil {
		p.weight = weigh(e.size)
	} else {
		weights := make([]uint8, e.n)
		for i, size := range e.sizes {
			weights[i] = weigh(size)
		}
		p.weights = string(weights)
	}
	if e.offsets != nil {
		p.extend().offsets = e.offsets
	}
	if e.refs != nil {
		m := p.extend()
		m.shared, m.refs = shared, e.refs
	}
	for slot := range p.n {
		if p.ref(slot).from == 0 {
			p.bytes += p.weightOf(slot)
		}
	}
	p.alive = p.bytes
	return p
}

func (p *pack) extend() *packMore {
	if p.more == nil {
		p.more = new(packMore)
	}
	return p.more
}

func (p *pack) weightOf(slot uint32) uint32 {
	if p.weights != "" {
		return uint32(weight(p.weights[slot]))
	}
	return uint32(weight(p.weight))
}

// dead is the weight of what the pack holds and was removed.
func (p *pack) dead() int64 { return int64(p.bytes - p.alive) }

func (p *pack) ref(slot uint32) sharedRef {
	if p.more == nil || p.more.refs == nil {
		return sharedRef{}
	}
	return p.more.refs[slot]
}

func (p *pack) seq(slot uint32) uint64 {
	if p.more == nil || p.more.offsets == nil {
		return p.first + uint64(slot)
	}
	return p.first + uint64(p.more.offsets[slot])
}

// from gives the first slot whose position is seq or higher, n if there is none.
func (p *pack) from(seq uint64) uint32 {
	switch {
	case seq <= p.first:
		return 0
	case seq > p.last:
		return p.n
	case p.more == nil || p.more.offsets == nil:
		return uint32(seq - p.first)
	}
	d := uint32(seq - p.first)
	return uint32(sort.Search(int(p.n), func(i int) bool { return p.more.offsets[i] >= d }))
}

func (p *pack) removed(slot uint32) bool {
	return p.more != nil && p.more.removed.has(slot)
}

// deliveries is how often the message was delivered.
func (p *pack) deliveries(slot uint32) uint32 {
	if p.more == nil || !p.more.delivered.has(slot) {
		return 0
	}
	return max(p.more.counts[slot], 1)
}

// remove takes a live message away.
func (p *pack) remove(slot uint32) {
	m := p.extend()
	if m.removed == nil {
		m.removed = makeBitmap(p.n)
	}
	m.removed.set(slot)
	p.live--
	if r := p.ref(slot); r.from != 0 {
		m.shared[r.from-1].release(uint32(r.slot))
	} else {
		p.alive -= p.weightOf(slot)
	}
}

// restore is the reverse of remove.
func (p *pack) restore(slot uint32) {
	p.more.removed.clear(slot)
	p.live++
	if r := p.ref(slot); r.from != 0 {
		p.more.shared[r.from-1].retain(uint32(r.slot))
	} else {
		p.alive += p.weightOf(slot)
	}
}

// deliver sets how often a message was delivered and gives what was before.
func (p *pack) deliver(slot uint32, deliveries uint32) (before uint32) {
	before = p.deliveries(slot)
	m := p.extend()
	if m.delivered == nil {
		m.delivered = makeBitmap(p.n)
	}
	if deliveries == 0 {
		m.delivered.clear(slot)
	} else {
		m.delivered.set(slot)
	}
	switch {
	case deliveries > 1:
		if m.counts == nil {
			m.counts = map[uint32]uint32{}
		}
		m.counts[slot] = deliveries
	case before > 1:
		delete(m.counts, slot)
	}
	return before
}

// forget removes what is alive, so that a dead pack is left.
func (p *pack) forget() {
	for slot := uint32(0); slot < p.n && p.live > 0; slot++ {
		if !p.removed(slot) {
			p.remove(slot)
		}
	}
}

// state is what an A value says of the pack.
func (p *pack) state() state {
	m := p.more
	if m == nil {
		m = new(packMore)
	}
	return state{n: p.n, held: m.held, removed: m.removed, delivered: m.delivered, counts: m.counts}
}

func (p *pack) stateSize() int64 {
	if p.more == nil {
		return stateSize(p.n, 0)
	}
	return stateSize(p.n, len(p.more.counts))
}

// index is what is remembered of a queue: its packs by their first positions.
// Mostly their positions do not overlap; they do where messages are appended
// later than others that come behind them.
type index struct {
	packs   []*pack
	gone    int32  // packs that are still in the list but gone
	largest uint32 // the most messages that a pack has had
}

// add puts a pack in its place.
func (x *index) add(p *pack) {
	x.largest = max(x.largest, p.n)
	i := x.upper(p.first)
	x.packs = slices.Insert(x.packs, i, p)
	x.reach(i)
	for i++; i < len(x.packs) && x.packs[i].reach < p.reach; i++ {
		x.packs[i].reach = p.reach
	}
}

// reach brings the reach of the pack at place i up to date.
func (x *index) reach(i int) {
	p := x.packs[i]
	p.reach = p.last
	if i > 0 {
		p.reach = max(p.last, x.packs[i-1].reach)
	}
}

// upper is the place behind the last pack that begins at seq or before it.
func (x *index) upper(seq uint64) int {
	if n := len(x.packs); n > 0 && x.packs[n-1].first <= seq {
		return n
	}
	return sort.Search(len(x.packs), func(i int) bool { return x.packs[i].first > seq })
}

// find gives the pack and slot of a live message, or nil.
func (x *index) find(seq uint64) (*pack, uint32) {
	for i := x.upper(seq) - 1; i >= 0 && x.packs[i].reach >= seq; i-- {
		p := x.packs[i]
		if p.live == 0 || p.gone || p.last < seq {
			continue
		}
		if slot := p.from(seq); slot < p.n && p.seq(slot) == seq && !p.removed(slot) {
			return p, slot
		}
	}
	return nil, 0
}

// packsIn is how many packs may have messages from seq up to to.
func (x *index) packsIn(seq, to uint64) int {
	from := sort.Search(len(x.packs), func(i int) bool { return x.packs[i].reach >= seq })
	return max(x.upper(to)-from, 0)
}

// next gives the lowest position of a live message from seq up to to.
func (x *index) next(seq, to uint64) (_ uint64, ok bool) {
	lowest := to
	i := sort.Search(len(x.packs), func(i int) bool { return x.packs[i].reach >= seq })
	for ; i < len(x.packs) && x.packs[i].first <= lowest; i++ {
		p := x.packs[i]
		if p.live == 0 || p.gone {
			continue
		}
		for slot := p.from(seq); slot < p.n && p.seq(slot) <= lowest; slot++ {
			if !p.removed(slot) {
				lowest, ok = p.seq(slot), true
				break
			}
		}
	}
	return lowest, ok
}

// drop takes a pack out. The list is cleaned up when half of it is gone.
func (x *index) drop(p *pack) {
	p.gone = true
	p.more = nil
	x.gone++
	if int(x.gone)*2 <= len(x.packs) {
		return
	}
	x.packs = slices.DeleteFunc(x.packs, func(p *pack) bool { return p.gone })
	if cap(x.packs) > 64 && len(x.packs)*4 < cap(x.packs) {
		x.packs = slices.Clone(x.packs)
	}
	x.gone = 0
	for i := range x.packs {
		x.reach(i)
	}
}
