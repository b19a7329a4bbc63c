package queue

// fifo is a list that grows at one end and shrinks at the other. It uses its
// memory again, and gives it back after a burst.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) len() int { return len(f.items) - f.head }

func (f *fifo[T]) push(v T) {
	if len(f.items) == cap(f.items) && f.head > len(f.items)/2 {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, v)
}

// first is the oldest entry, which there must be.
func (f *fifo[T]) first() *T { return &f.items[f.head] }

func (f *fifo[T]) pop() T {
	var none T
	v := f.items[f.head]
	f.items[f.head] = none
	if f.head++; f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
		if cap(f.items) > maxKept {
			f.items = nil
		}
	}
	return v
}

// all gives the entries, oldest first.
func (f *fifo[T]) all() []T { return f.items[f.head:] }
