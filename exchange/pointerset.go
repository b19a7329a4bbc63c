package exchange

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// scanned is up to how many items a pointerSet just looks through.
const scanned = 8

// pointerSet is a set of pointers that remembers the order in which they came.
// It is made to be filled and reset again and again: that allocates nothing
// once it has seen its largest filling, costs no more than the current filling
// asks for, and keeps nothing from the collector in between.
type pointerSet[T any] struct {
	seed  maphash.Seed
	items []*T
	// table is an open-addressing hash table of the items, as soon as there
	// are more than scanned. Its length is a power of two; the slots between
	// its length and its capacity are nil.
	table []*T
}

// add reports whether p is new.
func (s *pointerSet[T]) add(p *T) bool {
	if len(s.items) < scanned {
		if slices.Contains(s.items, p) {
			return false
		}
		s.items = append(s.items, p)
		return true
	}
	if 2*len(s.items) >= len(s.table) {
		s.rehash(4 * len(s.items))
	}
	if !s.insert(p) {
		return false
	}
	s.items = append(s.items, p)
	return true
}

// reset empties the set.
func (s *pointerSet[T]) reset() {
	clear(s.items)
	s.items = s.items[:0]
	clear(s.table)
	s.table = s.table[:0]
}

// rehash gives the table at least n slots.
func (s *pointerSet[T]) rehash(n int) {
	if s.seed == (maphash.Seed{}) {
		s.seed = maphash.MakeSeed()
	}
	n = 1 << bits.Len(uint(n-1))
	if n <= cap(s.table) {
		clear(s.table)
		s.table = s.table[:n]
	} else {
		s.table = make([]*T, n)
	}
	for _, p := range s.items {
		s.insert(p)
	}
}

func (s *pointerSet[T]) insert(p *T) bool {
	mask := len(s.table) - 1
	for i := int(maphash.Comparable(s.seed, p)) & mask; ; i = (i + 1) & mask {
		switch s.table[i] {
		case nil:
			s.table[i] = p
			return true
		case p:
			return false
		}
	}
}
