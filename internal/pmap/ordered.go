package pmap

import (
	"iter"

	"github.com/warrenmq/warren/internal/pvec"
)

// fewMax is up to how many entries an Ordered is a plain slice.
const fewMax = 8

// Entry is one entry of an Ordered.
type Entry[K comparable, V any] struct {
	Key   K
	Value V
}

// Ordered is a persistent map whose entries lie side by side in the order they
// came, so that walking over them is fast; only Delete disturbs the order, by
// moving the last entry into the gap. Its zero value is empty.
//
// With few entries it is a slice, of which a change copies all; with more it
// is a vector and an index into it, and a change costs about log32(Len).
type Ordered[K comparable, V any] struct {
	few  []Entry[K, V]
	many *many[K, V]
}

type many[K comparable, V any] struct {
	index   Map[K, int]
	entries pvec.Vec[Entry[K, V]]
}

// Len is the number of entries.
func (o Ordered[K, V]) Len() int {
	if o.many != nil {
		return o.many.entries.Len()
	}
	return len(o.few)
}

// Get gives the value of key.
func (o Ordered[K, V]) Get(key K) (value V, ok bool) {
	if o.many != nil {
		i, ok := o.many.index.Get(key)
		if !ok {
			return value, false
		}
		return o.many.entries.Get(i).Value, true
	}
	if i := o.find(key); i >= 0 {
		return o.few[i].Value, true
	}
	return value, false
}

// Set gives a map in which key has value. A new key comes last.
func (o Ordered[K, V]) Set(key K, value V) Ordered[K, V] {
	e := Entry[K, V]{key, value}
	if o.many != nil {
		return Ordered[K, V]{many: o.many.set(e)}
	}
	if i := o.find(key); i >= 0 {
		return Ordered[K, V]{few: replaced(o.few, i, e)}
	}
	if len(o.few) < fewMax {
		return Ordered[K, V]{few: inserted(o.few, len(o.few), e)}
	}
	m := &many[K, V]{}
	for _, f := range o.few {
		m = m.set(f)
	}
	return Ordered[K, V]{many: m.set(e)}
}

// Delete gives a map without key; o itself if it has none.
func (o Ordered[K, V]) Delete(key K) Ordered[K, V] {
	if o.many != nil {
		return o.many.del(o, key)
	}
	i := o.find(key)
	if i < 0 {
		return o
	}
	last := len(o.few) - 1
	few := removed(o.few, last)
	if i < last {
		few[i] = o.few[last]
	}
	return Ordered[K, V]{few: few}
}

// Chunks walks over the entries in order, some at a time. The chunks must not
// be changed.
func (o Ordered[K, V]) Chunks() iter.Seq[[]Entry[K, V]] {
	return func(yield func([]Entry[K, V]) bool) {
		if o.many == nil {
			if len(o.few) > 0 {
				yield(o.few)
			}
			return
		}
		for chunk := range o.many.entries.Chunks() {
			if !yield(chunk) {
				return
			}
		}
	}
}

// find looks through the few.
func (o Ordered[K, V]) find(key K) int {
	for i := range o.few {
		if o.few[i].Key == key {
			return i
		}
	}
	return -1
}

func (m *many[K, V]) set(e Entry[K, V]) *many[K, V] {
	if i, ok := m.index.Get(e.Key); ok {
		return &many[K, V]{m.index, m.entries.Set(i, e)}
	}
	return &many[K, V]{m.index.Set(e.Key, m.entries.Len()), m.entries.Push(e)}
}

func (m *many[K, V]) del(o Ordered[K, V], key K) Ordered[K, V] {
	i, ok := m.index.Get(key)
	if !ok {
		return o
	}
	index, entries := m.index.Delete(key), m.entries
	if last := entries.Len() - 1; i < last {
		e := entries.Get(last)
		index, entries = index.Set(e.Key, i), entries.Set(i, e)
	}
	entries = entries.Pop()
	// Half of fewMax, so that a map about that size does not go back and
	// forth between its two forms.
	if entries.Len() > fewMax/2 {
		return Ordered[K, V]{many: &many[K, V]{index, entries}}
	}
	few := make([]Entry[K, V], 0, entries.Len())
	for chunk := range entries.Chunks() {
		few = append(few, chunk...)
	}
	return Ordered[K, V]{few: few}
}
