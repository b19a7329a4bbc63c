package queue

import "slices"

// minHeap is a heap of positions, lowest first.
type minHeap []uint64

func (h *minHeap) push(v uint64) {
	*h = append(*h, v)
	h.up(len(*h) - 1)
}

// up moves the entry at i to where it belongs.
func (h *minHeap) up(i int) {
	for a := *h; i > 0; {
		up := (i - 1) / 2
		if a[up] <= a[i] {
			return
		}
		a[up], a[i] = a[i], a[up]
		i = up
	}
}

func (h *minHeap) pop() {
	a := *h
	n := len(a) - 1
	a[0] = a[n]
	a = a[:n]
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && a[c+1] < a[c] {
			c++
		}
		if a[i] <= a[c] {
			break
		}
		a[i], a[c] = a[c], a[i]
		i = c
	}
	if n == 0 {
		a = nil // a burst of requeues must not keep its memory
	}
	*h = a
}

// remove takes a position out wherever it stands. It looks for it one by one.
func (h *minHeap) remove(v uint64) {
	i := slices.Index(*h, v)
	if i < 0 {
		return
	}
	// It becomes the lowest, and so the next to go.
	(*h)[i] = 0
	h.up(i)
	h.pop()
}
