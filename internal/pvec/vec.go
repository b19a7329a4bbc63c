// Package pvec holds a persistent vector: a change gives a new vector and
// leaves the old one as it was, and the two share all but the few chunks that
// differ.
package pvec

import "iter"

const (
	levelBits = 5
	width     = 1 << levelBits
)

// Vec is a persistent vector, kept in chunks of 32 items under a tree 32 wide.
// Its zero value is empty. It may be copied, and read from any number of
// goroutines. Set, Push and Pop copy about log32(Len) chunks.
type Vec[T any] struct {
	root   *node[T]
	n      int
	height uint // levels of nodes above the chunks
}

// node is an inner node or, at height 0, a chunk. It is never changed once it
// is reachable from a Vec.
type node[T any] struct {
	nodes []*node[T]
	items []T
}

// slot is the place of item i in a node at a height.
func slot(i int, height uint) int { return i >> (height * levelBits) & (width - 1) }

// Len is the number of items.
func (v Vec[T]) Len() int { return v.n }

// Get gives item i, which must be in range.
func (v Vec[T]) Get(i int) T {
	n := v.root
	for h := v.height; h > 0; h-- {
		n = n.nodes[slot(i, h)]
	}
	return n.items[slot(i, 0)]
}

// Set gives a vector whose item i, which must be in range, is x.
func (v Vec[T]) Set(i int, x T) Vec[T] {
	return Vec[T]{v.root.put(v.height, i, x), v.n, v.height}
}

// Push gives a vector with x after the last item.
func (v Vec[T]) Push(x T) Vec[T] {
	root, height := v.root, v.height
	if v.n == width<<(height*levelBits) {
		root = &node[T]{nodes: []*node[T]{root}}
		height++
	}
	return Vec[T]{root.put(height, v.n, x), v.n + 1, height}
}

// Pop gives a vector without the last item. There must be one.
func (v Vec[T]) Pop() Vec[T] {
	if v.n == 1 {
		return Vec[T]{}
	}
	root, height := v.root.drop(v.height, v.n-1), v.height
	if height > 0 && len(root.nodes) == 1 {
		root = root.nodes[0]
		height--
	}
	return Vec[T]{root, v.n - 1, height}
}

// Chunks walks over the items in order, up to 32 of them at a time. The chunks
// must not be changed.
func (v Vec[T]) Chunks() iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		if v.root != nil {
			v.root.chunks(yield)
		}
	}
}

// put sets item i, or adds it if it is the one after the last.
func (n *node[T]) put(height uint, i int, x T) *node[T] {
	if n == nil {
		n = &node[T]{}
	}
	s := slot(i, height)
	if height == 0 {
		return &node[T]{items: with(n.items, s, x)}
	}
	var sub *node[T]
	if s < len(n.nodes) {
		sub = n.nodes[s]
	}
	return &node[T]{nodes: with(n.nodes, s, sub.put(height-1, i, x))}
}

// drop removes the last item, i; it gives nil if nothing is left.
func (n *node[T]) drop(height uint, i int) *node[T] {
	s := slot(i, height)
	if height == 0 {
		if s == 0 {
			return nil
		}
		// A copy, so that the dropped item is not kept from the collector.
		return &node[T]{items: append(make([]T, 0, s), n.items[:s]...)}
	}
	sub := n.nodes[s].drop(height-1, i)
	if sub != nil {
		return &node[T]{nodes: with(n.nodes, s, sub)}
	}
	if s == 0 {
		return nil
	}
	return &node[T]{nodes: append(make([]*node[T], 0, s), n.nodes[:s]...)}
}

func (n *node[T]) chunks(yield func([]T) bool) bool {
	if n.nodes == nil {
		return yield(n.items)
	}
	for _, sub := range n.nodes {
		if !sub.chunks(yield) {
			return false
		}
	}
	return true
}

// with gives a copy of s whose item i is x; i may be len(s).
func with[T any](s []T, i int, x T) []T {
	c := make([]T, max(len(s), i+1))
	copy(c, s)
	c[i] = x
	return c
}
