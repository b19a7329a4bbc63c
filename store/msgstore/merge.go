package msgstore

import (
	"errors"
	"math"
	"slices"

	"github.com/warrenmq/warren/store"
)

// Merging: who publishes one message, waits until it is confirmed and publishes the
// next makes a pack of each. That is little to write, but what is remembered of ten
// million packs is much, in memory and for Open to read. So when a queue has many
// small packs, the older ones among them are put together to one.
//
// As in a compaction a goroutine reads them and makes the new pack. The committer
// writes it and deletes the old ones in one Apply of its own; what was removed
// meanwhile is noted in the new one's state. A reader that comes too late for an old
// pack waits until the new one is in the index, and looks there.

const (
	// smallPart is what part of a full pack a small one has at the most.
	smallPart = 32
	// leastMerged is how few packs are worth it, mostMerged how many are merged at
	// once at the most.
	leastMerged = 4
	mostMerged  = 256
)

// merge is some packs of a queue that become one.
type merge struct {
	q     *queue
	packs []*pack
	from  []origin // of what is to be merged; once it is made, of each slot of the new pack
	entry *entry
	value []byte // nil if it could not be made
}

// origin is a message's place in the packs that are merged.
type origin struct {
	pack int
	slot uint32
}

// isSmall says that a pack may be merged with others.
func (s *Store) isSmall(p *pack) bool {
	return p.live > 0 && p.parts == 1 && !p.is(packTransient) && (p.more == nil || p.more.refs == nil) &&
		int(p.bytes) <= s.opts.PackSize/smallPart && p.n <= newSlots/smallPart
}

// noteSmall counts a new pack if it is small, and lists its queue once it has many.
func (s *Store) noteSmall(d dirtyPack) {
	if !s.isSmall(d.p) {
		return
	}
	d.q.small++
	s.listSmall(d.q)
}

func (s *Store) listSmall(q *queue) {
	if q.small >= s.opts.MergeFrom && !q.merging {
		q.merging = true
		s.merging = append(s.merging, q)
	}
}

// merges chooses packs to be merged of the queues that have many small ones.
func (s *Store) merges() (jobs []job) {
	for _, q := range s.merging {
		if m := s.chooseMerge(q); m != nil {
			jobs = append(jobs, m)
		} else {
			q.merging = false
		}
	}
	clear(s.merging)
	s.merging = s.merging[:0]
	return jobs
}

// chooseMerge finds the oldest run of small packs among the newest ones of a queue;
// nil if there is none that is worth it.
func (s *Store) chooseMerge(q *queue) *merge {
	packs := q.index.packs
	begin := len(packs)
	for small := 0; begin > 0 && small < q.small; begin-- {
		if p := packs[begin-1]; !p.gone && s.isSmall(p) {
			small++
		}
	}
	most := min(mostMerged, max(leastMerged, q.small/2), s.limits.MaxChanges/4)
	m := &merge{q: q}
	bytes := int64(0)
	for _, p := range packs[begin:] {
		if p.gone || p.live == 0 {
			continue
		}
		fits := s.isSmall(p) && !p.is(packRewriting)
		if n := len(m.packs); fits && n > 0 {
			first, last := m.packs[0].first, m.packs[n-1].last
			fits = p.first > last && p.last-first <= math.MaxUint32 &&
				bytes+int64(p.bytes) <= min(int64(s.opts.PackSize), s.limits.MaxBytes/2) && len(m.from)+int(p.n) <= newSlots
		}
		if !fits {
			if len(m.packs) >= leastMerged {
				break
			}
			m.packs, m.from, bytes = m.packs[:0], m.from[:0], 0
			continue
		}
		for slot := range p.n {
			if !p.removed(slot) {
				m.from = append(m.from, origin{len(m.packs), slot})
			}
		}
		m.packs = append(m.packs, p)
		if bytes += int64(p.bytes); len(m.packs) == most {
			break
		}
	}
	if len(m.packs) < leastMerged {
		q.small = 0
		return nil
	}
	q.small -= len(m.packs)
	for _, p := range m.packs {
		p.flags |= packRewriting
	}
	return m
}

// moved is a message on its way to another pack.
type moved struct {
	from     origin
	seq      uint64
	size     uint32
	priority uint8
	expiry   int64
	record   []byte
}

// make implements job. Packs that are gone meanwhile are left out; where one cannot be
// read all stay as they are. Of the packs it looks only at what never changes.
func (m *merge) make(kv store.Store) {
	all := make([]moved, 0, len(m.from))
	rest := m.from
	for i, p := range m.packs {
		n := 0
		for n < len(rest) && rest[n].pack == i {
			n++
		}
		found, err := m.read(kv, p, rest[:n])
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return
		}
		all, rest = append(all, found...), rest[n:]
	}
	if len(all) == 0 {
		return
	}
	size := 0
	m.from = m.from[:0]
	m.entry = &entry{parts: 1, n: uint32(len(all)), first: all[0].seq}
	for i, x := range all {
		size += bundleRow + len(x.record)
		m.from = append(m.from, x.from)
		m.entry.put(i, x.seq, x.size, x.priority, x.expiry)
	}
	w := newBundle(nil, len(all), size)
	for i, x := range all {
		w.copy(uint32(i), x.record)
	}
	_, m.value = w.finish()
}

// read reads messages of one pack.
func (m *merge) read(kv store.Store, p *pack, from []origin) ([]moved, error) {
	var e *entry
	err := kv.Get(appendEntryKey(nil, keyIndex, m.q.id, p.id), func(value []byte) (err error) {
		e, err = readEntry(value)
		return err
	})
	if err != nil {
		return nil, err
	}
	all := make([]moved, 0, len(from))
	err = kv.Get(appendPackKey(nil, m.q.id, p.id, 0), func(value []byte) error {
		b, err := openBundle(value)
		if err != nil {
			return err
		}
		for _, at := range from {
			i, ok := b.find(at.slot, 0)
			if !ok || at.slot >= e.n {
				return damaged("message %d is missing", at.slot)
			}
			record, err := b.record(i)
			if err != nil {
				return err
			}
			all = append(all, moved{
				from: at, seq: e.seq(at.slot), size: e.sizeOf(at.slot),
				priority: e.priorityOf(at.slot), expiry: e.expiryOf(at.slot), record: slices.Clone(record),
			})
		}
		return nil
	})
	return all, err
}

func (m *merge) octets() int { return len(m.value) }

func (m *merge) hand(in *inbox) { in.merges = append(in.merges, m) }

// replace writes a merged pack in place of those it was made of.
func (s *Store) replace(m *merge) {
	q := m.q
	q.merging = false
	for _, p := range m.packs {
		p.flags &^= packRewriting
	}
	if m.value == nil || s.group.failing != nil || s.noSpace || q.dropped.Load() {
		return
	}
	s.listSmall(q)
	p := newPack(s.nextID+1, m.entry, nil)
	for slot, from := range m.from {
		if old := m.packs[from.pack]; old.gone || old.removed(from.slot) {
			p.remove(uint32(slot))
		} else if n := old.deliveries(from.slot); n > 0 {
			p.deliver(uint32(slot), n)
		}
	}
	if p.live == 0 {
		return
	}
	s.nextID++
	over := make(chan struct{})
	q.mu.Lock()
	q.replacing = over
	q.mu.Unlock()
	err := s.kv.Apply(m.changes(p))
	q.mu.Lock()
	if err == nil {
		s.takeOver(m, p)
	}
	q.replacing = nil
	q.mu.Unlock()
	close(over)
	if err != nil && !errors.Is(err, store.ErrNoSpace) { // without room they stay as they are
		s.group.failing = err
		s.breakDown(err)
	}
}

// takeOver puts a merged pack into the index, in place of those it was made of. The
// lock of the queue's index is held.
func (s *Store) takeOver(m *merge, p *pack) {
	s.bytes += int64(p.bytes)
	s.count(p)
	if p.isSparse() {
		s.sparse = append(s.sparse, sparse{q: m.q, p: p})
	}
	for _, old := range m.packs {
		if old.gone {
			continue
		}
		s.bytes -= int64(old.bytes)
		if old.more != nil {
			s.dead -= int64(old.more.counted)
		}
		old.moved = true
		m.q.index.drop(old)
	}
	m.q.index.add(p)
}

// changes gives what is written of a merge.
func (m *merge) changes(p *pack) []store.Change {
	id := m.q.id
	_, index := appendEntry(nil, m.entry)
	changes := []store.Change{
		{Key: appendPackKey(nil, id, p.id, 0), Value: m.value},
		{Key: appendEntryKey(nil, keyIndex, id, p.id), Value: index},
	}
	if p.more != nil && (p.more.removed != nil || p.more.delivered != nil) {
		st := p.state()
		_, value := appendState(nil, &st)
		changes = append(changes, store.Change{Key: appendEntryKey(nil, keyState, id, p.id), Value: value})
		p.flags |= packStated
	}
	for _, old := range m.packs {
		if old.gone {
			continue
		}
		changes = append(changes,
			store.Change{Key: appendPackKey(nil, id, old.id, 0), Delete: true},
			store.Change{Key: appendEntryKey(nil, keyIndex, id, old.id), Delete: true})
		if old.is(packStated) {
			changes = append(changes, store.Change{Key: appendEntryKey(nil, keyState, id, old.id), Delete: true})
		}
	}
	return changes
}
