package queue

// turn carries out what was in the mailbox. If the queue's code panics, this
// queue fails and no other.
func (h *Host) turn(events []Event, b *Batch) {
	if b == nil {
		b = NewBatch()
	}
	var e, p, s, c int // how far it got
	var atoms atomRun
	defer func() {
		if v := recover(); v != nil {
			err := panicked(h.spec, v)
			h.fail(err)
			atoms.leave(err)
			for _, ev := range events[e:] {
				drop(ev)
			}
			h.refuse(b.rest(p, s, c))
		}
	}()
	for e < len(events) {
		e++
		h.event(events[e-1])
	}
	for _, r := range b.runs {
		if h.ended {
			break
		}
		switch r.kind {
		case runPublish:
			in := b.publishes[p : p+r.n]
			p += r.n
			h.answers.expect(in)
			h.counters.Published += uint64(len(in))
			for i := range in {
				h.waiting += int64(in[i].Msg.Size())
			}
			atoms.publishes = in
			h.q.Enqueue(in, &h.work.out)
			h.apply()
			atoms.leave(nil)
		case runSettle:
			in := b.settles[s : s+r.n]
			s += r.n
			h.counters.countSettles(in)
			atoms.settles = in
			h.q.Settle(in, &h.work.out)
			h.apply()
			atoms.leave(nil)
		case runControl:
			for range r.n {
				// One that panics is called again by refuse, so that whoever waits
				// for it goes on when the queue has ended and not before.
				b.controls[c](h.ended)
				c++
			}
		}
	}
	if h.ended {
		h.lag.note(0)
		h.refuse(b.rest(p, s, c))
		return
	}
	h.noteLag()
	b.free()
}

// noteLag looks how far the consumers are behind, if they may be: a queue that was
// empty is not asked before enough was published.
func (h *Host) noteLag() {
	if h.waiting <= lagging && !h.lag.behind.Load() {
		return
	}
	if len(h.consumers) == 0 {
		h.lag.note(0)
		return
	}
	h.waiting = h.q.Stat().ReadyBytes
	h.lag.note(h.waiting)
}

// event tells the queue of an event.
func (h *Host) event(e Event) {
	if h.ended {
		drop(e)
		return
	}
	if e.Kind == RecoverDone {
		h.mu.Lock()
		h.recovering = false
		h.mu.Unlock()
		if e.Err != nil {
			h.fail(failure(h.spec, "recovery failed: %w", e.Err))
			return
		}
	}
	h.q.Event(e, &h.work.out)
	h.apply()
}

// drop gives back what an event brings to a queue that is gone.
func drop(e Event) {
	for _, l := range e.Loaded {
		l.Msg.Release()
	}
}

// rest gives what is left of a batch after p publishes, s settles and c controls.
func (b *Batch) rest(p, s, c int) *Batch {
	return &Batch{publishes: b.publishes[p:], settles: b.settles[s:], controls: b.controls[c:]}
}
