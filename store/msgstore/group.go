package msgstore

import (
	"math"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// maxGroup bounds what goes into one Apply unless an atom demands more: beyond
// it, groups do not become cheaper.
const maxGroup = 8 << 20

// keptBuffer is the largest buffer that is kept for the next group.
const keptBuffer = 2 * maxGroup

// group collects the changes of one Apply.
//
// Packs go into early, which may be written ahead of the rest if all together is
// too large; what makes them count goes into final.
type group struct {
	s     *Store
	limit store.Limits // of a group that is not atomic

	early, final       []store.Change
	earlyBuf, finalBuf []byte
	// bytes and changes are the most that all of the group takes, earlyBytes what
	// of that is in early.
	bytes, earlyBytes int64
	changes           int
	written           [][]byte // keys of packs that were written ahead
	deletes           [][]byte // keys of garbage that goes with this group

	q         *queue // whose messages are in slots
	slots     []slot
	slotsSize int // of the messages in slots that are not shared
	transient bool

	shared      *sharedPack // being filled
	sharedMsgs  []*message.Message
	sharedSize  int
	sharedPacks []*sharedPack // of this group
	deleted     []*sharedPack // by this group

	fresh    []dirtyPack // packs of this group
	dirty    []dirtyPack // packs whose state must be written
	undo     []undo
	calls    []call
	rewrites []rewrite

	defines  bool  // there are definitions in it
	atomic   bool  // what is run must be written as one
	last     bool  // of the round
	failing  error // of an earlier group of the round
	tooLarge bool  // what failed was an atom
	spares   bool  // and no definition failed with it
	// atomsWritten says that the atoms of the round are durable, whatever fails
	// after that.
	atomsWritten bool
}

// slot is a message on its way into a pack.
type slot struct {
	op     *store.Op
	shared sharedAt
}

type dirtyPack struct {
	q *queue
	p *pack
}

// undo is a change to the index that holds only if its atom is written.
type undo struct {
	q       *queue
	p       *pack
	slot    uint32
	deliver bool
	before  uint32
}

type call struct {
	q       *queue // nil for definitions
	done    func(error)
	err     error
	appends bool
}

func (g *group) init(s *Store) {
	g.s = s
	g.limit = store.Limits{
		MaxBytes:   min(s.limits.MaxBytes, maxGroup),
		MaxChanges: s.limits.MaxChanges,
	}
}

// begin starts a round.
func (g *group) begin() {
	g.failing, g.tooLarge, g.spares, g.atomic, g.last, g.atomsWritten = g.s.failed, false, false, false, false, false
	g.reset()
	g.retry()
}

// reset starts another group of the same round.
func (g *group) reset() {
	clear(g.early)
	clear(g.final)
	g.early, g.final = g.early[:0], g.final[:0]
	g.earlyBuf, g.finalBuf = keep(g.earlyBuf), keep(g.finalBuf)
	g.bytes, g.earlyBytes, g.changes = 0, 0, 0
	g.written, g.deletes, g.deleted = nil, nil, nil
	clear(g.fresh)
	clear(g.dirty)
	clear(g.calls)
	clear(g.undo)
	clear(g.rewrites)
	g.fresh, g.dirty, g.calls, g.undo = g.fresh[:0], g.dirty[:0], g.calls[:0], g.undo[:0]
	g.rewrites, g.sharedPacks = g.rewrites[:0], nil
	g.defines = false
}

// retry adds what could not be saved before, as far as there is room.
func (g *group) retry() {
	unsaved := g.s.unsaved
	g.s.unsaved = nil
	for i, d := range unsaved {
		if d.q.discarded {
			continue // it is deleted as a whole
		}
		if g.full(d.p.stateSize()) {
			g.s.unsaved = unsaved[i:]
			break
		}
		d.p.flags &^= packUnsaved
		g.listDirty(d.q, d.p)
	}
}

func keep(buf []byte) []byte {
	if cap(buf) > keptBuffer {
		return nil
	}
	return buf[:0]
}

// full reports whether so many more octets of values do not fit.
func (g *group) full(more int64) bool {
	return g.changes > 0 && (g.bytes+more+changeSlack > g.limit.MaxBytes || g.changes+slackChanges > g.limit.MaxChanges)
}

const (
	// changeSlack is room for the keys that one op brings along: an I, an A and a
	// P in two parts, an S and a T.
	changeSlack  = 2*entryKeyLen + 2*packKeyLen + sharedKeyLen + infoKeyLen + 64
	slackChanges = 6
)

// room makes room for so many more octets: by ending the group or, if it is to
// be atomic, by writing its packs ahead. The lock of the queue's index is held.
func (g *group) room(more int64) {
	if g.failing != nil {
		return
	}
	if !g.atomic {
		if g.full(more) {
			g.seal()
			g.q.mu.Unlock()
			g.flush()
			g.q.mu.Lock()
		}
		return
	}
	if g.earlyBytes+int64(g.slotsSize+g.sharedSize)+more > g.limit.MaxBytes/2 {
		g.seal()
		g.sealShared()
		g.q.mu.Unlock()
		g.ahead()
		g.q.mu.Lock()
	}
}

// define adds changes to the definitions, in one group if they fit into one. Who
// made them is called at the end of the round.
func (g *group) define(changes []Definition) {
	size := int64(0)
	for i := range changes {
		size += definitionSize(&changes[i])
	}
	shrinks := deletes(changes) // who deletes is on the way to give room back
	if !g.fits(size, len(changes)) {
		g.flush()
	}
	for i := range changes {
		c := &changes[i]
		if size := definitionSize(c); !g.fits(size, 1) {
			g.flush()
		}
		if g.failing != nil {
			return
		}
		g.final = append(g.final, store.Change{Key: definitionKey(c), Value: c.Value, Delete: c.Delete, Shrinks: shrinks && !c.Delete})
		g.defines = true
		g.bytes += definitionSize(c)
		g.changes++
	}
}

// fits reports whether there is room for so much more.
func (g *group) fits(bytes int64, changes int) bool {
	return g.changes == 0 || g.bytes+bytes <= g.limit.MaxBytes && g.changes+changes <= g.limit.MaxChanges
}

// refused gives why one of the changes cannot be made: it has no value, or does not
// fit into any Apply.
func (g *group) refused(changes []Definition) error {
	for i := range changes {
		switch c := &changes[i]; {
		case c.Err != nil:
			return c.Err
		case definitionSize(c) > g.s.limits.MaxBytes:
			return ErrTooLarge
		}
	}
	return nil
}

func definitionKey(c *Definition) []byte { return append([]byte{keyDefinition, c.Kind}, c.Key...) }

func definitionSize(c *Definition) int64 { return int64(2 + len(c.Key) + len(c.Value)) }

// run adds the ops of a queue between two positions.
func (g *group) run(q *queue, from, to position) {
	g.q = q
	q.mu.Lock()
	for i := from.submit; i <= to.submit && i < len(q.taken); i++ {
		sub := &q.taken[i]
		first, end := 0, len(sub.ops)
		if i == from.submit {
			first = from.op
		}
		if i == to.submit {
			end = to.op
		}
		for j := first; j < end; j++ {
			g.add(&sub.ops[j])
		}
		if i < to.submit && (sub.done != nil || sub.appends) {
			if sub.err == nil {
				// An earlier group of this round may have failed with a part of it.
				sub.err = g.failing
			}
			g.calls = append(g.calls, call{q, sub.done, sub.err, sub.appends})
		}
	}
	g.seal()
	q.mu.Unlock()
	g.q = nil
}

// add adds one op; the lock of the queue's index is held.
func (g *group) add(op *store.Op) {
	if g.failing != nil && op.Atom != nil {
		return // the whole atom is tried again, or failed
	}
	switch op.Kind {
	case store.Append:
		g.append(op)
	case store.Remove:
		if op.To <= op.Seq {
			g.remove(op.Seq, op.Atom)
			return
		}
		g.seal() // next finds only what has a pack
		for seq, ok := g.q.index.next(op.Seq, op.To); ok; seq, ok = g.q.index.next(seq+1, op.To) {
			g.remove(seq, op.Atom)
			if seq == op.To {
				return
			}
		}
	case store.Delivered:
		p, slot := g.touch(op.Seq, op.Atom)
		if p == nil {
			return
		}
		before := p.deliver(slot, max(p.deliveries(slot), op.Deliveries, 1))
		if op.Atom != nil {
			g.undo = append(g.undo, undo{q: g.q, p: p, slot: slot, deliver: true, before: before})
		}
	}
}

// remove takes the message at a position away, if there is one.
func (g *group) remove(seq uint64, atom *store.Atom) {
	p, slot := g.touch(seq, atom)
	if p == nil {
		return
	}
	p.remove(slot)
	if atom != nil {
		g.undo = append(g.undo, undo{q: g.q, p: p, slot: slot})
	}
}

// touch gives the pack of a live message, if there is one, and sees that its
// state is written with this group.
func (g *group) touch(seq uint64, atom *store.Atom) (*pack, uint32) {
	if len(g.slots) > 0 && seq >= g.slots[0].op.Seq && seq <= g.slots[len(g.slots)-1].op.Seq {
		g.seal() // what could be merged was merged by prepare
	}
	p, slot := g.q.index.find(seq)
	if p == nil || p.is(packListed) {
		return p, slot
	}
	g.room(p.stateSize())
	if p.gone || g.failing != nil && atom != nil {
		return nil, 0 // the group that had to end for this one failed
	}
	g.listDirty(g.q, p)
	return p, slot
}

// listDirty sees that the state of a pack is written with this group.
func (g *group) listDirty(q *queue, p *pack) {
	if p.is(packListed) || p.gone {
		return
	}
	p.flags |= packListed
	g.dirty = append(g.dirty, dirtyPack{q, p})
	parts := max(int(p.parts), 1)
	g.changes += 2 + parts
	g.bytes += p.stateSize() + 2*entryKeyLen + packKeyLen*int64(parts)
}

// append puts a message into the open pack.
func (g *group) append(op *store.Op) {
	if g.failing != nil {
		release1(op)
		return
	}
	at := g.s.sharing.place(op.Msg)
	size := 0
	if at == nil {
		size = recordSize(op.Msg)
	}
	if n := len(g.slots); n > 0 {
		first, last := g.slots[0].op.Seq, g.slots[n-1].op.Seq
		if n == newSlots || g.slotsSize+size > g.s.opts.PackSize || op.Seq <= last ||
			op.Seq-first > math.MaxUint32 || op.Transient != g.transient {
			g.seal()
		}
	}
	more := int64(size)
	if at != nil && at.pack == nil {
		more = int64(recordSize(op.Msg))
	}
	g.room(more + slotSize + bundleHeader + entrySize + 64)
	if g.failing != nil { // the group that had to end for this one
		if op.Atom == nil {
			release1(op)
		}
		return
	}
	if len(g.slots) == 0 {
		g.transient = op.Transient
		g.bytes += bundleHeader + entrySize + entryKeyLen + packKeyLen
		g.changes += 2
	}
	sl := slot{op: op}
	if at != nil {
		g.share(op.Msg, at)
		sl.shared = *at
	}
	g.slots = append(g.slots, sl)
	g.slotsSize += size
	g.bytes += int64(size) + slotSize
}

func release1(op *store.Op) {
	op.Msg.Release()
	op.Msg, op.Kind = nil, cancelled
}
