package queue

import (
	"github.com/warrenmq/warren/message"
)

// do runs f in the queue's turn and waits for it.
func (h *Host) do(f func(gone bool)) {
	b := NewBatch()
	done := make(chan struct{})
	b.control(func(gone bool) {
		defer close(done) // also if the type panics: the caller must not wait for ever
		f(gone)
		if !gone {
			h.apply() // so that its effects are there when the caller goes on
		}
	})
	h.Post(b)
	<-done
}

// Consume adds a consumer. attach is called in the queue's turn with the ID the
// consumer gets, before the queue hears of it; ok once the queue has accepted
// it, before its first delivery. The error is ErrExclusiveUse, ErrGone, or what
// the type says.
func (h *Host) Consume(c Consumer, sink Sink, attach func(message.ConsumerID), ok func()) error {
	err := ErrGone
	h.do(func(gone bool) {
		if gone {
			return
		}
		h.ids++
		c.ID = message.ConsumerID(h.ids)
		attach(c.ID)
		h.consumers[c.ID] = &attached{id: c.ID, sink: sink}
		if err = h.q.Consume(c, &h.out); err != nil {
			delete(h.consumers, c.ID)
			return
		}
		ok()
	})
	return err
}

// Cancel takes a consumer away; when it returns nothing more is delivered to
// it. A queue that goes with its last consumer is gone by then.
func (h *Host) Cancel(id message.ConsumerID) {
	h.do(func(gone bool) {
		if gone || h.consumers[id] == nil {
			return
		}
		h.q.Cancel(id, ByClient, &h.out)
		delete(h.consumers, id)
		h.recent = nil
	})
}

// Get takes one message. got is called exactly once in the queue's turn, which
// may be after a load; Get waits for it. The reply's Err is ErrGone if there is
// no queue any more.
func (h *Host) Get(noAck bool, got func(GetReply)) {
	b := NewBatch()
	done := make(chan struct{})
	b.control(func(gone bool) {
		if gone {
			got(GetReply{Err: ErrGone})
			close(done)
			return
		}
		h.asked++
		ref := h.asked
		h.gets[ref] = func(r GetReply) {
			got(r)
			close(done)
		}
		h.q.Get(ref, noAck, &h.out)
	})
	h.Post(b)
	<-done
}

// Purge drops the ready messages and gives their number.
func (h *Host) Purge() (n int, err error) {
	err = ErrGone
	h.do(func(gone bool) {
		if !gone {
			n, err = h.q.Purge(&h.out), nil
		}
	})
	return n, err
}

// Stat counts, after everything posted before.
func (h *Host) Stat() (s Stat, err error) {
	err = ErrGone
	h.do(func(gone bool) {
		if !gone {
			s, err = h.q.Stat(), nil
		}
	})
	return s, err
}

// Delete ends the queue. ok is called in the queue's turn with the number of
// ready messages, after the broker forgot the queue and before its consumers
// are told. The error is ErrInUse, ErrNotEmpty or ErrGone.
func (h *Host) Delete(ifUnused, ifEmpty bool, ok func(n int)) error {
	err := ErrGone
	h.do(func(gone bool) {
		if !gone {
			err = h.remove(ifUnused, ifEmpty, ok)
		}
	})
	return err
}

// remove deletes the queue in its turn.
func (h *Host) remove(ifUnused, ifEmpty bool, ok func(int)) error {
	n, err := h.q.Delete(ifUnused, ifEmpty, &h.out)
	if err != nil {
		return err
	}
	tell := func() {}
	if ok != nil {
		tell = func() { ok(n) }
	}
	h.out.Store, h.out.Load = nil, nil // the Log is dropped whole
	h.end(nil, tell)
	return nil
}
