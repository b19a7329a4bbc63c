package queue

import (
	"time"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// apply carries out what the queue wants done and empties out.
func (h *Host) apply() {
	o := &h.out
	for i := range o.Got {
		r := o.Got[i]
		if got := h.gets[r.Ref]; got != nil {
			delete(h.gets, r.Ref)
			got(r)
		}
	}
	if len(o.Deliver) > 0 {
		h.deliver(o.Deliver)
	}
	h.answer(o.Confirm, true)
	h.answer(o.Reject, false)
	for i := range o.DeadLetter {
		// No queue can have a dead-letter exchange yet (the argument is refused),
		// so this is what RabbitMQ does without one.
		o.DeadLetter[i].Msg.Release()
	}
	if len(o.Store) > 0 {
		h.store(o.Store)
	}
	for _, r := range o.Load {
		h.env.Log.Load(r, func(ls []store.Loaded, err error) {
			h.post(Event{Kind: LoadDone, Loaded: ls, Err: err})
		})
	}
	if !o.Wake.IsZero() {
		h.wakeAt(o.Wake)
	}
	gone := o.Gone
	h.empty()
	if gone && !h.ended && h.remove(false, false, nil) == nil {
		h.apply()
	}
}

// empty makes out ready for the next call, keeping its memory within reason.
func (h *Host) empty() {
	o := &h.out
	if cap(o.Deliver) > maxKept || cap(o.Confirm) > maxKept {
		h.out = Actions{}
		return
	}
	clear(o.Got)
	clear(o.Deliver)
	clear(o.Confirm)
	h.out = Actions{Got: o.Got[:0], Deliver: o.Deliver[:0], Confirm: o.Confirm[:0]}
}

// deliver hands deliveries to their consumers, all of one consumer at once.
func (h *Host) deliver(ds []Delivery) {
	same := true
	for i := range ds {
		if ds[i].Consumer != ds[0].Consumer {
			same = false
			break
		}
	}
	if same {
		h.attachedTo(ds[0].Consumer).sink.Deliver(ds)
		return
	}
	for i := range ds {
		a := h.attachedTo(ds[i].Consumer)
		if len(a.pending) == 0 {
			h.touched = append(h.touched, a)
		}
		a.pending = append(a.pending, ds[i])
	}
	for _, a := range h.touched {
		a.sink.Deliver(a.pending)
		clear(a.pending)
		a.pending = a.pending[:0]
	}
	clear(h.touched)
	h.touched = h.touched[:0]
}

// attachedTo gives a consumer of a delivery. A type that delivers to a consumer
// it was not given, or that was taken away, is broken.
func (h *Host) attachedTo(id message.ConsumerID) *attached {
	if a := h.recent; a != nil && a.id == id {
		return a
	}
	a := h.consumers[id]
	if a == nil {
		panic("a delivery for a consumer the queue does not have")
	}
	h.recent = a
	return a
}

// answer tells publishers, in one call for consecutive publishes of a channel.
func (h *Host) answer(refs []message.PublishRef, ok bool) {
	for i := 0; i < len(refs); {
		r := refs[i]
		n := 1
		for i+n < len(refs) && refs[i+n].By == r.By && refs[i+n].Seq == r.Seq+uint64(n) {
			n++
		}
		if h.unanswered != nil {
			for _, r := range refs[i : i+n] {
				delete(h.unanswered, r)
			}
		}
		if ok {
			r.By.Confirm(r.Seq, r.Seq+uint64(n-1))
		} else {
			for _, r := range refs[i : i+n] {
				r.By.Reject(r.Seq)
			}
		}
		i += n
	}
}

// store submits operations; the Log owns the slice from then on.
func (h *Host) store(ops []store.Op) {
	n := len(ops)
	h.env.Log.Submit(ops, func(err error) {
		h.post(Event{Kind: Stored, Ops: n, Err: err})
	})
}

func (h *Host) wakeAt(at time.Time) {
	if h.wake != nil {
		h.wake.Stop()
	}
	h.wake = time.AfterFunc(time.Until(at), func() {
		h.post(Event{Kind: TimeReached, Now: time.Now()})
	})
}
