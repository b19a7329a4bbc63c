package msgstore

// sharedPack is what is remembered of a pack whose messages are in several
// queues. Only the committer touches it, and Open before there is one.
type sharedPack struct {
	id           uint64
	refs         []uint16 // of each slot, how many queues have it
	weights      []uint8
	live         int   // slots with references
	bytes, alive int64 // as in pack
	counted      int64
	parts, found uint16
	flags        packFlags
	gone         bool
	store        *Store
}

// maxSharers is the most queues that refer to one slot; more get another copy.
const maxSharers = 1<<16 - 1

func (p *sharedPack) is(f packFlags) bool { return p.flags&f != 0 }

// grow makes room for a slot.
func (p *sharedPack) grow(slot uint32, w uint8) {
	for uint32(len(p.refs)) <= slot {
		p.refs = append(p.refs, 0)
		p.weights = append(p.weights, 0)
	}
	p.weights[slot] = w
}

func (p *sharedPack) retain(slot uint32) {
	if p.refs[slot] == 0 {
		p.live++
		p.alive += weight(p.weights[slot])
	}
	p.refs[slot]++
}

func (p *sharedPack) release(slot uint32) {
	p.refs[slot]--
	if p.refs[slot] == 0 {
		p.live--
		p.alive -= weight(p.weights[slot])
		p.list()
	}
}

// list notes that the pack may have to be deleted or rewritten.
func (p *sharedPack) list() {
	if !p.is(packListed) {
		p.flags |= packListed
		p.store.touched = append(p.store.touched, p)
	}
}

func (p *sharedPack) info() info {
	return info{parts: int(p.parts), n: uint32(len(p.refs)), bytes: p.bytes}
}
