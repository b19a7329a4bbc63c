package pmap

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"unsafe"
)

// seed makes the hashes of this process unpredictable, so that nobody can
// choose keys that collide. It is never written.
var seed = maphash.MakeSeed()

const (
	levelBits = 5
	levelMask = 1<<levelBits - 1
	// hashBits is where the hash is used up; nodes below hold keys whose
	// hashes are the same in full.
	hashBits = 64
)

// Map is a persistent hash map. Its zero value is the empty map. Get does not
// allocate; Set and Delete copy about log32(Len) small nodes.
type Map[K comparable, V any] struct {
	root *node[K, V]
	n    int
}

// node is a compressed hash-array-mapped trie node. Of the 32 places of its
// level, those set in data hold an entry, those set in down lead to a node of
// the next level; entries and nodes are in the order of their places. A node
// below the last level has no places and only entries, in no order.
//
// A node is never changed once it is reachable from a Map. Except at the root,
// no node holds less than two entries in all: a lone entry lives in its parent.
type node[K comparable, V any] struct {
	data, down uint32
	entries    []entry[K, V]
	nodes      []*node[K, V]
}

type entry[K comparable, V any] struct {
	hash  uint64
	key   K
	value V
}

func hashOf[K comparable](key K) uint64 { return maphash.Comparable(seed, key) }

// place gives the bit of hash's place at a level, named by the hash bits used
// above it.
func place(hash uint64, shift uint) uint32 { return 1 << (hash >> shift & levelMask) }

// index counts the places below bit, which is where the slice has bit's item.
func index(bitmap, bit uint32) int { return bits.OnesCount32(bitmap & (bit - 1)) }

// Len is the number of entries.
func (m Map[K, V]) Len() int { return m.n }

// Get gives the value of key.
func (m Map[K, V]) Get(key K) (value V, ok bool) {
	if m.root == nil {
		return value, false
	}
	return m.root.get(hashOf(key), key)
}

// GetBytes is m.Get(string(key)) without the copy.
func GetBytes[V any](m Map[string, V], key []byte) (value V, ok bool) {
	// Get keeps no part of its key, so it may look at the caller's bytes.
	return m.Get(unsafe.String(unsafe.SliceData(key), len(key)))
}

// Set gives a map in which key has value.
func (m Map[K, V]) Set(key K, value V) Map[K, V] { return m.set(hashOf(key), key, value) }

// Delete gives a map without key; m itself if it has none.
func (m Map[K, V]) Delete(key K) Map[K, V] { return m.del(hashOf(key), key) }

// All walks over the entries in no particular order.
func (m Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if m.root != nil {
			m.root.each(yield)
		}
	}
}

func (m Map[K, V]) set(hash uint64, key K, value V) Map[K, V] {
	root := m.root
	if root == nil {
		root = &node[K, V]{}
	}
	next, added := root.set(0, entry[K, V]{hash, key, value})
	if added {
		m.n++
	}
	return Map[K, V]{root: next, n: m.n}
}

func (m Map[K, V]) del(hash uint64, key K) Map[K, V] {
	if m.root == nil {
		return m
	}
	next := m.root.del(0, hash, key)
	if next == m.root {
		return m
	}
	if m.n == 1 {
		return Map[K, V]{}
	}
	return Map[K, V]{root: next, n: m.n - 1}
}

func (n *node[K, V]) get(hash uint64, key K) (value V, ok bool) {
	for shift := uint(0); shift < hashBits; shift += levelBits {
		bit := place(hash, shift)
		if n.data&bit != 0 {
			e := &n.entries[index(n.data, bit)]
			if e.hash == hash && e.key == key {
				return e.value, true
			}
			return value, false
		}
		if n.down&bit == 0 {
			return value, false
		}
		n = n.nodes[index(n.down, bit)]
	}
	if i := n.find(key); i >= 0 {
		return n.entries[i].value, true
	}
	return value, false
}

// find looks through the entries of a node below the last level.
func (n *node[K, V]) find(key K) int {
	for i := range n.entries {
		if n.entries[i].key == key {
			return i
		}
	}
	return -1
}

func (n *node[K, V]) set(shift uint, e entry[K, V]) (next *node[K, V], added bool) {
	if shift >= hashBits {
		if i := n.find(e.key); i >= 0 {
			return &node[K, V]{entries: replaced(n.entries, i, e)}, false
		}
		return &node[K, V]{entries: inserted(n.entries, len(n.entries), e)}, true
	}
	bit := place(e.hash, shift)
	switch {
	case n.data&bit != 0:
		i := index(n.data, bit)
		old := n.entries[i]
		if old.hash == e.hash && old.key == e.key {
			return &node[K, V]{n.data, n.down, replaced(n.entries, i, e), n.nodes}, false
		}
		sub := pair(shift+levelBits, old, e)
		return &node[K, V]{
			n.data &^ bit, n.down | bit,
			removed(n.entries, i),
			inserted(n.nodes, index(n.down, bit), sub),
		}, true
	case n.down&bit != 0:
		i := index(n.down, bit)
		sub, added := n.nodes[i].set(shift+levelBits, e)
		return &node[K, V]{n.data, n.down, n.entries, replaced(n.nodes, i, sub)}, added
	default:
		return &node[K, V]{
			n.data | bit, n.down,
			inserted(n.entries, index(n.data, bit), e),
			n.nodes,
		}, true
	}
}

// pair gives a node that holds two entries of different keys.
func pair[K comparable, V any](shift uint, a, b entry[K, V]) *node[K, V] {
	if shift >= hashBits {
		return &node[K, V]{entries: []entry[K, V]{a, b}}
	}
	abit, bbit := place(a.hash, shift), place(b.hash, shift)
	switch {
	case abit < bbit:
		return &node[K, V]{data: abit | bbit, entries: []entry[K, V]{a, b}}
	case abit > bbit:
		return &node[K, V]{data: abit | bbit, entries: []entry[K, V]{b, a}}
	default:
		return &node[K, V]{down: abit, nodes: []*node[K, V]{pair(shift+levelBits, a, b)}}
	}
}

// del gives n itself if key is not there.
func (n *node[K, V]) del(shift uint, hash uint64, key K) *node[K, V] {
	if shift >= hashBits {
		i := n.find(key)
		if i < 0 {
			return n
		}
		return &node[K, V]{entries: removed(n.entries, i)}
	}
	bit := place(hash, shift)
	if n.data&bit != 0 {
		i := index(n.data, bit)
		if e := &n.entries[i]; e.hash != hash || e.key != key {
			return n
		}
		return &node[K, V]{n.data &^ bit, n.down, removed(n.entries, i), n.nodes}
	}
	if n.down&bit == 0 {
		return n
	}
	i := index(n.down, bit)
	sub := n.nodes[i].del(shift+levelBits, hash, key)
	switch {
	case sub == n.nodes[i]:
		return n
	case len(sub.entries) == 1 && len(sub.nodes) == 0:
		return &node[K, V]{
			n.data | bit, n.down &^ bit,
			inserted(n.entries, index(n.data, bit), sub.entries[0]),
			removed(n.nodes, i),
		}
	default:
		return &node[K, V]{n.data, n.down, n.entries, replaced(n.nodes, i, sub)}
	}
}

func (n *node[K, V]) each(yield func(K, V) bool) bool {
	for i := range n.entries {
		if !yield(n.entries[i].key, n.entries[i].value) {
			return false
		}
	}
	for _, sub := range n.nodes {
		if !sub.each(yield) {
			return false
		}
	}
	return true
}

// replaced, inserted and removed give changed copies of s, without spare room.

func replaced[T any](s []T, i int, v T) []T {
	c := make([]T, len(s))
	copy(c, s)
	c[i] = v
	return c
}

func inserted[T any](s []T, i int, v T) []T {
	c := make([]T, len(s)+1)
	copy(c, s[:i])
	c[i] = v
	copy(c[i+1:], s[i:])
	return c
}

func removed[T any](s []T, i int) []T {
	if len(s) == 1 {
		return nil
	}
	c := make([]T, len(s)-1)
	copy(c, s[:i])
	copy(c[i:], s[i+1:])
	return c
}
