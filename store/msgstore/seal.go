package msgstore

import (
	"slices"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// seal writes the open pack, if there is one, and puts it into the index.
func (g *group) seal() {
	if len(g.slots) == 0 {
		return
	}
	s := g.s
	s.nextID++
	id := s.nextID
	own := 0
	for i := range g.slots {
		if g.slots[i].shared.pack == nil {
			own++
		}
	}
	e, shared := g.describe()
	if own > 0 {
		w := newBundle(g.earlyBuf, own, g.slotsSize)
		for i := range g.slots {
			if g.slots[i].shared.pack == nil {
				w.add(uint32(i), g.slots[i].op.Msg)
			}
		}
		var value []byte
		g.earlyBuf, value = w.finish()
		e.parts = g.addParts(value, func(b []byte, part int) []byte {
			return appendPackKey(b, g.q.id, id, part)
		})
	}
	var value []byte
	g.finalBuf, value = appendEntry(g.finalBuf, e)
	g.addFinal(func(b []byte) []byte { return appendEntryKey(b, keyIndex, g.q.id, id) }, value)

	p := newPack(id, e, shared)
	p.fresh = true
	if e.transient {
		p.flags |= packTransient
	}
	for _, r := range e.refs {
		if r.from != 0 {
			shared[r.from-1].retain(uint32(r.slot))
		}
	}
	g.fresh = append(g.fresh, dirtyPack{g.q, p})
	delivered := false
	for i := range g.slots {
		op := g.slots[i].op
		if op.Deliveries > 0 {
			p.deliver(uint32(i), op.Deliveries)
			delivered = true
		}
		if op.Atom == nil {
			release1(op)
		}
	}
	g.q.index.add(p)
	clear(g.slots)
	g.slots, g.slotsSize = g.slots[:0], 0
	if delivered {
		g.listDirty(g.q, p)
	}
}

// describe makes the index entry of the open pack.
func (g *group) describe() (*entry, []*sharedPack) {
	n := len(g.slots)
	first := g.slots[0].op
	e := &entry{transient: g.transient, n: uint32(n), first: first.Seq}
	var shared []*sharedPack
	for i := range g.slots {
		op, at := g.slots[i].op, g.slots[i].shared
		e.put(i, op.Seq, uint32(op.Msg.Size()), op.Msg.Priority(), op.Expiry)
		if at.pack != nil {
			if e.refs == nil {
				e.refs = make([]sharedRef, n)
			}
			from := slices.Index(shared, at.pack)
			if from < 0 {
				from = len(shared)
				shared = append(shared, at.pack)
				e.shared = append(e.shared, at.pack.id)
			}
			e.refs[i] = sharedRef{uint16(from + 1), uint16(at.slot)}
		}
	}
	return e, shared
}

// share puts a message into the open shared pack, unless it is in one already.
func (g *group) share(m *message.Message, at *sharedAt) {
	if at.pack != nil && at.pack.refs[at.slot] < maxSharers {
		return
	}
	size := recordSize(m)
	if g.shared != nil && (len(g.sharedMsgs) == newSlots || g.sharedSize+size > g.s.opts.PackSize) {
		g.sealShared()
	}
	if g.shared == nil {
		g.s.nextID++
		g.shared = &sharedPack{id: g.s.nextID, store: g.s}
		g.bytes += bundleHeader + recordHeader + 64
		g.changes += 2
	}
	m.Retain(1)
	at.pack, at.slot = g.shared, uint32(len(g.sharedMsgs))
	g.shared.grow(at.slot, weigh(uint32(m.Size())))
	g.shared.bytes += weight(g.shared.weights[at.slot])
	g.sharedMsgs = append(g.sharedMsgs, m)
	g.sharedSize += size
	g.bytes += int64(size)
}

// sealShared writes the open shared pack, if there is one.
func (g *group) sealShared() {
	if g.shared == nil {
		return
	}
	p := g.shared
	w := newBundle(g.earlyBuf, len(g.sharedMsgs), g.sharedSize)
	for i, m := range g.sharedMsgs {
		w.add(uint32(i), m)
		m.Release()
	}
	var value []byte
	g.earlyBuf, value = w.finish()
	p.parts = uint16(g.addParts(value, func(b []byte, part int) []byte { return appendSharedKey(b, p.id, part) }))
	g.finalBuf, value = appendInfo(g.finalBuf, p.info())
	g.addFinal(func(b []byte) []byte { return appendInfoKey(b, p.id) }, value)
	g.sharedPacks = append(g.sharedPacks, p)
	clear(g.sharedMsgs)
	g.shared, g.sharedMsgs, g.sharedSize = nil, g.sharedMsgs[:0], 0
}

// addParts adds a pack, cut up if it is larger than an Apply, and gives the
// number of parts.
func (g *group) addParts(value []byte, key func(b []byte, part int) []byte) int {
	part, size := 0, int(g.s.limits.MaxBytes)-packKeyLen
	for v := range slices.Chunk(value, size) {
		from := len(g.earlyBuf)
		g.earlyBuf = key(g.earlyBuf, part)
		k := g.earlyBuf[from:len(g.earlyBuf):len(g.earlyBuf)]
		g.early = append(g.early, store.Change{Key: k, Value: v})
		g.earlyBytes += int64(len(k) + len(v))
		part++
	}
	return part
}

func (g *group) addFinal(key func([]byte) []byte, value []byte) {
	from := len(g.finalBuf)
	g.finalBuf = key(g.finalBuf)
	k := g.finalBuf[from:len(g.finalBuf):len(g.finalBuf)]
	g.final = append(g.final, store.Change{Key: k, Value: value})
}
