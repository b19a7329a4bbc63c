package queue

import "sync/atomic"

// deadLetter hands dead letters to the queues they go to: those of one call of the
// queue in one batch for each, so that their order stays. Nothing is said of them
// to anybody, as in RabbitMQ (contract 05 §7); with an atom, what their new queues
// store is durable together with their removal here, or neither is.
func (h *Host) deadLetter(dead []Dead, tell bool) {
	batches := map[*Host]*Batch{}
	var order []*Host
	for i := range dead {
		d := &dead[i]
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
