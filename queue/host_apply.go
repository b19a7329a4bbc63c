package queue

import (
	"time"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// apply carries out what the queue wants done and empties out. It runs in every turn, and
// mostly there is little to do: it looks before it calls.
func (h *Host) apply() {
	o := &h.work.out
	for _, r := range o.Got {
		h.got(r)
	}
	h.activate()
	if len(o.Credit) > 0 {
		h.tellCredit(o.Credit, false)
	}
	if len(o.Deliver) > 0 {
		h.deliver(o.Deliver)
	}
	if len(o.Credit) > 0 {
		h.tellCredit(o.Credit, true)
	}
	if len(o.Confirm) > 0 {
		h.answer(o.Confirm, true)
	}
	if len(o.Reject) > 0 {
		h.answer(o.Reject, false)
	}
	h.answers.applied()
	if len(o.DeadLetter) > 0 {
		h.deadLetter(o.DeadLetter, o.Bury)
	}
	if h.ended {
		h.leaveAtoms(nil)
		h.work.empty() // the Log was dropped whole, and nobody is woken
		return
	}
	if len(o.Store) > 0 {
		h.store(o.Store)
	}
	if len(o.Atoms) > 0 {
		h.leaveAtoms(nil)
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
	h.work.empty()
	if gone {
		h.leave()
	}
}

// leaveAtoms leaves the atoms that the queue made or joined.
func (h *Host) leaveAtoms(err error) {
	for _, a := range h.work.out.Atoms {
		a.Leave(err)
	}
	clear(h.work.out.Atoms)
	h.work.out.Atoms = h.work.out.Atoms[:0]
}

// leave deletes a queue that wants to go.
func (h *Host) leave() {
	if err := h.remove(false, false, nil); err != nil {
		h.fail(failure(h.spec, "it wants to go and refuses to be deleted: %w", err))
		return
	}
	h.apply()
}

// got answers a basic.get, unless the queue ended meanwhile: then who asked
// knows.
func (h *Host) got(r GetReply) {
	tell := h.gets[r.Ref]
	if tell == nil {
		if r.Msg != nil {
			r.Msg.Release()
		}
		return
	}
	delete(h.gets, r.Ref)
	tell(r)
}

// activate tells the consumer that became the single active one.
func (h *Host) activate() {
	o := &h.work.out
	if o.Active == 0 {
		return
	}
	if s, ok := h.attachedTo(o.Active).sink.(ActiveSink); ok {
		s.Activated()
	}
	o.Active = 0
}

// tellCredit passes on what consumers are to know of their credit.
func (h *Host) tellCredit(notes []CreditNote, drained bool) {
	for _, n := range notes {
		if n.Drained != drained {
			continue
		}
		s, ok := h.attachedTo(n.Consumer).sink.(CreditSink)
		switch {
		case !ok:
		case drained:
			s.Drained(n.N)
		default:
			s.Credited(n.N)
		}
	}
}

// deliver hands deliveries to their consumers.
func (h *Host) deliver(ds []Delivery) {
	for i := range ds {
		if ds[i].Consumer != ds[0].Consumer {
			h.work.handOut(ds, h.attachedTo, h.handOver)
			return
		}
	}
	h.handOver(h.attachedTo(ds[0].Consumer), ds)
}

// handOver gives a consumer its deliveries.
func (h *Host) handOver(a *attached, ds []Delivery) {
	h.counters.countDeliveries(ds, a.noAck)
	a.sink.Deliver(ds)
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

// answer answers publishers.
func (h *Host) answer(refs []message.PublishRef, ok bool) {
	h.answers.given(refs)
	if ok {
		h.counters.Confirmed += uint64(len(refs))
	} else {
		h.counters.Rejected += uint64(len(refs))
	}
	tellPublishers(refs, ok)
}

// tellPublishers tells publishers, in one call for consecutive publishes of a
// channel.
func tellPublishers(refs []message.PublishRef, ok bool) {
	for len(refs) > 0 {
		r := refs[0]
		n := 1
		for n < len(refs) && refs[n].By == r.By && refs[n].Seq == r.Seq+uint64(n) {
			n++
		}
		if ok {
			r.By.Confirm(r.Seq, r.Seq+uint64(n-1))
		} else {
			for _, r := range refs[:n] {
				r.By.Reject(r.Seq)
			}
		}
		refs = refs[n:]
	}
}

// store submits operations, those of one atom in a row together; the Log owns the
// slice from then on.
func (h *Host) store(ops []store.Op) {
	for len(ops) > 0 {
		n := 1
		for n < len(ops) && ops[n].Atom == ops[0].Atom {
			n++
		}
		done := h.whenStored(n)
		if a := ops[0].Atom; a != nil {
			in, tell := h.submitted(a), done
			done = func(err error) {
				tell(err)
				in.answer(err)
			}
		}
		h.env.Log.Submit(ops[:n:n], done)
		ops = ops[n:]
	}
}

// whenStored gives what the Log is to call when n operations were stored. Who
// publishes message by message submits them one by one, which shares a function.
func (h *Host) whenStored(n int) func(error) {
	if n > 1 {
		return func(err error) { h.stored(n, err) }
	}
	if h.storedOne == nil {
		h.storedOne = func(err error) { h.stored(1, err) }
	}
	return h.storedOne
}

// wakeAt sets the queue's timer. When it fires after the broker began to close,
// nothing happens any more.
func (h *Host) wakeAt(at time.Time) {
	after := at.Sub(h.env.Now())
	if h.wake != nil {
		h.wake.Reset(after)
		return
	}
	h.wake = time.AfterFunc(after, func() {
		h.env.Go(func() { h.post(Event{Kind: TimeReached, Now: h.env.Now()}) })
	})
}

// StopTimer takes the queue's timer away. It is for the end of the broker, when
// nothing runs the queue any more.
func (h *Host) StopTimer() {
	h.mu.Lock() // who ran the queue last has had it
	defer h.mu.Unlock()
	if h.wake != nil {
		h.wake.Stop()
	}
}
