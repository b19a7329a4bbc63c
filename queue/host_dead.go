package queue

import (
	"slices"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/warrenmq/warren/message"
)

// deadLetter hands dead letters to the queues they go to: those of one call of the
// queue in one batch for each, so that their order stays. Nothing is said of them
// to anybody, as in RabbitMQ (contract 05 §7); with an atom, what their new queues
// store is durable together with their removal here, or neither is.
func (h *Host) deadLetter(dead []Dead, tell bool) {
	batches := map[*Host]*Batch{}
	var order []*Host
	for i := range dead {
		d := &dead[i]
		if d.Letter != 0 {
			h.forward(d)
			continue
		}
		for _, to := range h.bury(d) {
			b := batches[to]
			if b == nil {
				b = NewBatch()
				batches[to] = b
				order = append(order, to)
			}
			b.Publish(Publish{Msg: d.Msg, Atom: d.Atom, Ref: deadLetterRef})
		}
	}
	left := new(atomic.Int32)
	left.Store(int32(len(order)) + 1)
	taken := func(bool) {
		if left.Add(-1) == 0 {
			h.post(Event{Kind: Buried})
		}
	}
	for _, to := range order {
		if tell {
			batches[to].control(taken)
		}
		to.PostLater(batches[to])
	}
	if tell {
		taken(false)
	}
}

// bury gives the queues that a dead letter goes to, and makes d.Msg what they are
// to get, with a reference for each.
func (h *Host) bury(d *Dead) []*Host {
	old := d.Msg
	defer old.Release()
	if h.env.DeadLetter == nil {
		return nil
	}
	m, to := h.env.DeadLetter(h, d)
	if len(to) == 0 {
		return nil
	}
	d.Msg = m
	m.Retain(int32(len(to) - 1))
	if d.Atom != nil {
		d.Atom.Join(len(to))
	}
	return to
}

// forwarded is a dead letter whose queue wants to know what becomes of it. To the
// queues it goes to it is who published it.
type forwarded struct {
	h      *Host
	letter uint64
	to     []*Host

	mu      sync.Mutex
	open    int
	taken   []string
	refused int
}

// forward hands a dead letter to the queues it goes to, and tells this one when they
// have taken or refused it.
func (h *Host) forward(d *Dead) {
	f := &forwarded{h: h, letter: d.Letter}
	for _, to := range h.bury(d) {
		if slices.Contains(d.Except, to.spec.Name) {
			d.Msg.Release()
		} else {
			f.to = append(f.to, to)
		}
	}
	f.open = len(f.to) + 1
	for i, to := range f.to {
		b := NewBatch()
		b.Publish(Publish{Msg: d.Msg, Ref: message.PublishRef{By: f, Seq: uint64(i)}})
		to.PostLater(b)
	}
	f.answer(func() {})
}

// Publisher implements message.Publisher: all letters of a queue have one.
func (f *forwarded) Publisher() any { return weak.Make(f.h) }

// Confirm implements message.Confirmer. A queue that is gone confirms what it was
// sent, and has not taken it.
func (f *forwarded) Confirm(from, to uint64) {
	for i := from; i <= to; i++ {
		t := f.to[i]
		t.mu.Lock()
		gone := t.closed
		t.mu.Unlock()
		f.answer(func() {
			if gone {
				f.refused++
			} else {
				f.taken = append(f.taken, t.spec.Name)
			}
		})
	}
}

// Reject implements message.Confirmer.
func (f *forwarded) Reject(uint64) { f.answer(func() { f.refused++ }) }

// answer takes one answer; the last one is told to the queue.
func (f *forwarded) answer(note func()) {
	f.mu.Lock()
	note()
	f.open--
	last := f.open == 0
	f.mu.Unlock()
	if last {
		f.h.post(Event{Kind: Forwarded, Letter: f.letter, Taken: f.taken, Refused: f.refused})
	}
}
