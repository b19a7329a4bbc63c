package memstore

import (
	"bytes"
	"hash/maphash"
)

// node is a node of a treap: a search tree by key whose priorities, taken from a
// hash of the key, keep it balanced. Nodes never change once they are in a tree;
// a change makes new ones from the root down to the place, so that whoever holds
// an older root goes on seeing the older state.
type node struct {
	key, value  []byte
	priority    uint64
	left, right *node
}

// get finds the node of key, or nil.
func (n *node) get(key []byte) *node {
	for n != nil {
		switch c := bytes.Compare(key, n.key); {
		case c == 0:
			return n
		case c < 0:
			n = n.left
		default:
			n = n.right
		}
	}
	return nil
}

// with gives the tree in which key has value. It keeps both slices.
func (n *node) with(seed maphash.Seed, key, value []byte) *node {
	if old := n.get(key); old != nil {
		return n.replaced(key, value)
	}
	less, more := n.split(key)
	return merge(merge(less, &node{key: key, value: value, priority: maphash.Bytes(seed, key)}), more)
}

// replaced gives the tree in which key, which is there, has another value.
func (n *node) replaced(key, value []byte) *node {
	m := *n
	switch c := bytes.Compare(key, n.key); {
	case c == 0:
		m.value = value
	case c < 0:
		m.left = n.left.replaced(key, value)
	default:
		m.right = n.right.replaced(key, value)
	}
	return &m
}

// without gives the tree without key.
func (n *node) without(key []byte) *node {
	if n.get(key) == nil {
		return n
	}
	m := *n
	switch c := bytes.Compare(key, n.key); {
	case c == 0:
		return merge(n.left, n.right)
	case c < 0:
		m.left = n.left.without(key)
	default:
		m.right = n.right.without(key)
	}
	return &m
}

// split gives the part of the tree with keys below key and the rest.
func (n *node) split(key []byte) (less, rest *node) {
	if n == nil {
		return nil, nil
	}
	m := *n
	if bytes.Compare(n.key, key) < 0 {
		m.right, rest = n.right.split(key)
		return &m, rest
	}
	less, m.left = n.left.split(key)
	return less, &m
}

// merge joins two trees; all keys of less are below those of more.
func merge(less, more *node) *node {
	switch {
	case less == nil:
		return more
	case more == nil:
		return less
	case less.priority >= more.priority:
		m := *less
		m.right = merge(less.right, more)
		return &m
	default:
		m := *more
		m.left = merge(less, more.left)
		return &m
	}
}

// scan calls each for the nodes with keys from from up to, not including, to, in
// order. A nil to is no end.
func (n *node) scan(from, to []byte, each func(*node) error) error {
	if n == nil {
		return nil
	}
	aboveFrom := bytes.Compare(n.key, from) >= 0
	belowTo := to == nil || bytes.Compare(n.key, to) < 0
	if aboveFrom {
		if err := n.left.scan(from, to, each); err != nil {
			return err
		}
	}
	if aboveFrom && belowTo {
		if err := each(n); err != nil {
			return err
		}
	}
	if belowTo {
		return n.right.scan(from, to, each)
	}
	return nil
}
