package msgstore

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/warrenmq/warren/store"
)

// recover reads what an earlier run left.
func (s *Store) recover() error {
	if err := checkFormat(s.kv, true); err != nil {
		return err
	}
	l := loader{s: s, shared: map[uint64]*sharedPack{}}
	for _, step := range []struct {
		prefix   byte
		keysOnly bool
		each     func(key, value []byte) error
	}{
		{keySharedInfo, false, l.info},
		{keyIndex, false, l.entry},
		{keyState, false, l.state},
		{keyPack, true, l.pack},
		{keyShared, true, l.part},
	} {
		l.q, l.at = nil, 0
		err := s.kv.Scan([]byte{step.prefix}, after(step.prefix), step.keysOnly, func(key, value []byte) error {
			if err := step.each(key, value); err != nil {
				return l.explain(key, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := l.complete(); err != nil {
		return err
	}
	l.finish()
	return nil
}

// checkFormat tells whether kv is for this package. With create, it makes an
// empty one so.
func checkFormat(kv store.Store, create bool) error {
	var version uint64
	err := kv.Get([]byte{keyFormat}, func(value []byte) (err error) {
		version, err = readFormat(value)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		errOther := errors.New("it holds something, but no format version: it is not a store of Warren's; choose another directory")
		if err := kv.Scan(nil, nil, true, func(_, _ []byte) error { return errOther }); err != nil {
			return err
		}
		if !create {
			return nil
		}
		return kv.Apply([]store.Change{formatChange()})
	case err != nil:
		return fmt.Errorf("format version (key %q): %w; restore the store from a backup", keyFormat, err)
	case version > formatVersion:
		return fmt.Errorf("it was written in format version %d, and this Warren knows versions up to %d: use a newer Warren", version, formatVersion)
	case version < 1:
		return fmt.Errorf("format version (key %q): %w; restore the store from a backup", keyFormat, damaged("there is no version %d", version))
	}
	return nil
}

// loader puts the index together. Keys come in order, so that those of one
// queue's packs walk along with its list.
type loader struct {
	s      *Store
	shared map[uint64]*sharedPack
	// q is the queue of the last entry key, and at a place in its list.
	q    *queue
	at   int
	last uint64 // highest id
}

func (l *loader) explain(key []byte, err error) error {
	return fmt.Errorf("key %x: %w; nothing was changed: \"warren store check\" tells what else is wrong, a backup helps", key, err)
}

// info takes the index of a shared pack.
func (l *loader) info(key, value []byte) error {
	id, _, ok := parseSharedKey(key)
	if !ok {
		return damaged("a key of this length has no meaning")
	}
	i, err := readInfo(value)
	if err != nil {
		return err
	}
	l.shared[id] = &sharedPack{
		id: id, store: l.s, parts: uint16(i.parts), bytes: i.bytes,
		refs: make([]uint16, i.n), weights: make([]uint8, i.n),
	}
	l.last = max(l.last, id)
	return nil
}

// entry takes the index of a pack.
func (l *loader) entry(key, value []byte) error {
	id, pid, _, ok := parseEntryKey(key)
	if !ok {
		return damaged("a key of this length has no meaning")
	}
	e, err := readEntry(value)
	if err != nil {
		return err
	}
	if l.q == nil || l.q.id != id {
		l.q = l.s.log(id)
	}
	shared := make([]*sharedPack, 0, len(e.shared))
	for _, sid := range e.shared {
		p := l.shared[sid]
		if p == nil {
			// Deleted since all of its messages were removed; state will say so.
			p = &sharedPack{id: sid, store: l.s, gone: true}
			l.shared[sid] = p
		}
		shared = append(shared, p)
	}
	p := newPack(pid, e, shared)
	for slot, ref := range e.refs {
		if ref.from != 0 {
			if at := shared[ref.from-1]; !at.gone && int(ref.slot) >= len(at.refs) {
				return damaged("message %d is beyond the end of shared pack %d", slot, at.id)
			}
			shared[ref.from-1].grow(uint32(ref.slot), weigh(e.sizeOf(uint32(slot))))
			shared[ref.from-1].retain(uint32(ref.slot))
		}
	}
	if e.transient {
		p.flags |= packTransient
	}
	l.q.index.packs = append(l.q.index.packs, p)
	l.last = max(l.last, pid)
	return nil
}

// find gives the pack of a key, or nil.
func (l *loader) find(queue, id uint64) *pack {
	if l.q == nil || l.q.id != queue {
		l.q, l.at = l.s.logs[queue], 0
		if l.q == nil {
			return nil
		}
	}
	packs := l.q.index.packs
	for l.at < len(packs) && packs[l.at].id < id {
		l.at++
	}
	if l.at < len(packs) && packs[l.at].id == id {
		return packs[l.at]
	}
	return nil
}

// state takes the state of a pack.
func (l *loader) state(key, value []byte) error {
	if len(key) != entryKeyLen {
		return damaged("a key of this length has no meaning")
	}
	queue, id, _, _ := parseEntryKey(key)
	st, err := readState(value)
	if err != nil {
		return err
	}
	p := l.find(queue, id)
	if p == nil || p.n != st.n {
		return damaged("a state without its pack")
	}
	p.flags |= packStated
	for slot := range p.n {
		if st.removed.has(slot) {
			p.remove(slot)
		}
	}
	m := p.extend()
	m.delivered, m.counts, m.held = st.delivered, st.counts, st.held
	if st.held > 0 {
		p.bytes = max(uint32(min(st.held, int64(p.bytes))), p.alive)
	}
	return nil
}

// pack takes the key of a part of a pack.
func (l *loader) pack(key, _ []byte) error {
	queue, id, part, ok := parseEntryKey(key)
	if !ok {
		return damaged("a key of this length has no meaning")
	}
	l.last = max(l.last, id)
	p := l.find(queue, id)
	if p == nil {
		l.s.garbage = append(l.s.garbage, bytes.Clone(key))
		return nil
	}
	if part != int(p.found) || part >= int(p.parts) {
		return damaged("a pack of %d parts has a part %d but not all before it", p.parts, part)
	}
	p.found++
	return nil
}

// part takes the key of a part of a shared pack.
func (l *loader) part(key, _ []byte) error {
	id, part, ok := parseSharedKey(key)
	if !ok {
		return damaged("a key of this length has no meaning")
	}
	l.last = max(l.last, id)
	p := l.shared[id]
	if p == nil || p.gone {
		l.s.garbage = append(l.s.garbage, bytes.Clone(key))
		return nil
	}
	if part != int(p.found) || part >= int(p.parts) {
		return damaged("a pack of %d parts has a part %d but not all before it", p.parts, part)
	}
	p.found++
	return nil
}

// complete checks that nothing is missing.
func (l *loader) complete() error {
	for _, p := range l.shared {
		switch {
		case p.gone && p.live > 0:
			return l.explain(appendInfoKey(nil, p.id), damaged("a shared pack is missing of which %d messages are in queues", p.live))
		case !p.gone && p.found != p.parts:
			return l.explain(appendSharedKey(nil, p.id, int(p.found)), damaged("a part of a shared pack is missing"))
		}
	}
	for _, q := range l.s.logs {
		for _, p := range q.index.packs {
			if p.found != p.parts {
				return l.explain(appendPackKey(nil, q.id, p.id, int(p.found)), damaged("a part of a pack is missing"))
			}
		}
	}
	return nil
}

// finish brings what was read into the form in which it is used.
func (l *loader) finish() {
	s := l.s
	s.nextID = l.last
	for _, q := range s.logs {
		x := &q.index
		for _, p := range x.packs {
			s.bytes += int64(p.bytes)
			s.count(p)
			x.largest = max(x.largest, p.n)
			if p.live == 0 || p.is(packTransient) {
				s.dropping = append(s.dropping, dirtyPack{q, p})
			} else if p.isSparse() {
				s.sparse = append(s.sparse, sparse{q: q, p: p})
			}
		}
		x.packs = slices.DeleteFunc(x.packs, func(p *pack) bool { return p.live == 0 || p.is(packTransient) })
		slices.SortStableFunc(x.packs, func(a, b *pack) int { return cmp.Compare(a.first, b.first) })
		for i := range x.packs {
			x.reach(i)
		}
	}
	for _, p := range l.shared {
		if p.gone {
			continue
		}
		s.bytes += p.bytes
		p.counted = p.bytes - p.alive
		s.dead += p.counted
		if p.live == 0 || p.isSparse() {
			p.list()
		}
	}
}

// formatChange writes the version of the layout.
func formatChange() store.Change {
	return store.Change{Key: []byte{keyFormat}, Value: appendFormat(nil)}
}
