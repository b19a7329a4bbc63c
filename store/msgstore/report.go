package msgstore

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/warrenmq/warren/store"
)

// recoveredBatch is about how many entries Recover reports at a time.
const recoveredBatch = 4096

// recover reports what Open found of a queue.
func (q *queue) recover(r read) {
	err := q.report(r.batch)
	if q.dropped.Load() {
		return
	}
	if err != nil {
		err = fmt.Errorf("msgstore: queue %d: %w", q.id, err)
	}
	r.recovered(err)
}

// report reads the index of the queue again, which is cheaper than to keep what
// only this needs.
func (q *queue) report(batch func([]store.Entry)) error {
	q.mu.Lock()
	packs := slices.Clone(q.index.packs)
	q.mu.Unlock()
	e := emitter{q: q, batch: batch}
	inOrder := slices.IsSortedFunc(packs, func(a, b *pack) int { return cmp.Compare(a.id, b.id) })
	if inOrder {
		return e.scan(packs)
	}
	for i, p := range packs {
		err := q.s.kv.Get(appendEntryKey(nil, keyIndex, q.id, p.id), func(value []byte) error {
			return e.add(p, value)
		})
		if errors.Is(err, store.ErrNotFound) && q.isGone(p) {
			continue
		}
		if err != nil {
			return err
		}
		if i+1 < len(packs) {
			e.emit(packs[i+1].first)
		}
	}
	e.emit(math.MaxUint64)
	return nil
}

func (q *queue) isGone(p *pack) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return p.gone
}

// emitter puts entries into order and hands them on in batches.
type emitter struct {
	q        *queue
	batch    func([]store.Entry)
	entries  []store.Entry
	disorder bool
}

// scan reports packs whose ids ascend like their positions.
func (e *emitter) scan(packs []*pack) error {
	from := appendEntryKey(nil, keyIndex, e.q.id, 0)
	to := after(keyIndex)
	if e.q.id < math.MaxUint64 {
		to = appendEntryKey(nil, keyIndex, e.q.id+1, 0)
	}
	err := e.q.s.kv.Scan(from, to, false, func(key, value []byte) error {
		_, id, _, _ := parseEntryKey(key)
		for len(packs) > 0 && packs[0].id < id {
			packs = packs[1:]
		}
		if len(packs) == 0 || packs[0].id != id {
			return nil // of this run, or about to be deleted
		}
		if err := e.add(packs[0], value); err != nil {
			return err
		}
		if packs = packs[1:]; len(packs) > 0 {
			e.emit(packs[0].first)
		}
		return nil
	})
	if err == nil {
		e.emit(math.MaxUint64)
	}
	return err
}

// emit reports what comes before a position that all that follow come behind,
// if it is enough for a batch or all that there is.
func (e *emitter) emit(end uint64) {
	if end < math.MaxUint64 && len(e.entries) < recoveredBatch {
		return
	}
	if e.disorder {
		slices.SortFunc(e.entries, func(a, b store.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
		e.disorder = false
	}
	n := len(e.entries)
	for end < math.MaxUint64 && n > 0 && e.entries[n-1].Seq >= end {
		n--
	}
	if n == 0 || e.q.dropped.Load() {
		return
	}
	out := e.entries[:n:n]
	e.entries = append(make([]store.Entry, 0, max(recoveredBatch, len(e.entries)-n)), e.entries[n:]...)
	e.batch(out)
}

// add takes the living messages of a pack.
func (e *emitter) add(p *pack, value []byte) error {
	in, err := readEntry(value)
	if err != nil {
		return fmt.Errorf("key %x: %w", appendEntryKey(nil, keyIndex, e.q.id, p.id), err)
	}
	e.q.mu.Lock()
	defer e.q.mu.Unlock()
	if p.gone || p.n != in.n {
		return nil
	}
	for slot := range p.n {
		if p.removed(slot) {
			continue
		}
		d := p.deliveries(slot)
		entry := store.Entry{
			Seq: in.seq(slot), Size: int(in.sizeOf(slot)), Deliveries: d, Redelivered: d > 0,
			Priority: in.priorityOf(slot), Expiry: in.expiryOf(slot),
		}
		if n := len(e.entries); n > 0 && e.entries[n-1].Seq > entry.Seq {
			e.disorder = true
		}
		e.entries = append(e.entries, entry)
	}
	return nil
}
