package queue

import (
	"slices"

	"github.com/warrenmq/warren/message"
)

// do runs f in the queue's turn and waits for it. It does not run f if the queue
// is gone.
func (h *Host) do(f func()) {
	b := NewBatch()
	done := make(chan struct{})
	b.control(func(gone bool) {
		if !gone {
			f()
			h.apply() // so that its effects are there when the caller goes on
		}
		close(done)
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
	h.do(func() {
		h.ids++
		c.ID = message.ConsumerID(h.ids)
		if s, ok := sink.(OrderedSink); ok {
			c.Place = s.Place()
		}
		attach(c.ID)
		if err = h.q.Consume(c, &h.work.out); err == nil {
			if h.consumers == nil {
				h.consumers = map[message.ConsumerID]*attached{}
			}
			h.consumers[c.ID] = &attached{id: c.ID, tag: c.Tag, sink: sink, noAck: c.NoAck, lane: h.laneTo(sink)}
			h.activate() // so that whoever is told of the consumer sees what it is
			ok()
		}
	})
	return err
}

// Credit lets a consumer have n more deliveries and no others, whatever it was
// allowed before; with drain what is left of them ends when the queue is empty. Its
// sink is told. A consumer that is gone is fine.
func (h *Host) Credit(id message.ConsumerID, n uint32, drain bool) {
	h.do(func() {
		h.q.Event(Event{Kind: Credited, Consumer: id, Credit: n, Drain: drain}, &h.work.out)
	})
}

// Cancel takes a consumer away; when it returns nothing more is delivered to
// it. A queue that goes with its last consumer is gone by then.
func (h *Host) Cancel(id message.ConsumerID) { h.cancel(id, ByClient) }

// CancelEnded is Cancel for a consumer whose channel ends, so that what it holds is
// about to be returned.
func (h *Host) CancelEnded(id message.ConsumerID) { h.cancel(id, ByEnd) }

func (h *Host) cancel(id message.ConsumerID, why CancelReason) {
	h.do(func() {
		a := h.consumers[id]
		if a == nil {
			return
		}
		h.q.Cancel(id, why, &h.work.out)
		delete(h.consumers, id)
		left(a.sink)
		h.leaveLane(a)
		h.recent = nil
	})
}

// left tells a sink that its consumer is gone.
func left(s Sink) {
	if l, ok := s.(LeavingSink); ok {
		l.Left()
	}
}

// laneTo gives the lane of a new consumer.
func (h *Host) laneTo(sink Sink) *lane {
	ordered, ok := sink.(OrderedSink)
	if !ok {
		return new(lane)
	}
	place := ordered.Place()
	l := h.lanes[place]
	if l == nil {
		if h.lanes == nil {
			h.lanes = map[any]*lane{}
		}
		l = &lane{place: place}
		h.lanes[place] = l
	}
	l.consumers++
	return l
}

// leaveLane forgets a lane with its last consumer.
func (h *Host) leaveLane(a *attached) {
	if a.lane.consumers--; a.lane.consumers == 0 {
		delete(h.lanes, a.lane.place)
	}
}

// Get takes one message. got is called exactly once in the queue's turn, which
// may be after a load; Get waits for it. The reply's Err is ErrGone if there is
// no queue any more.
func (h *Host) Get(noAck bool, got func(GetReply)) {
	b := NewBatch()
	done := make(chan struct{})
	b.control(h.getter(noAck, got, done))
	h.Post(b)
	<-done
}

// getter gives the request of a Get. It closes done when got was called.
func (h *Host) getter(noAck bool, got func(GetReply), done chan<- struct{}) control {
	answer := func(r GetReply) {
		defer close(done)
		got(r)
	}
	asked := false
	return func(gone bool) {
		switch {
		case asked:
			// The queue failed when it was asked, and its end answered.
		case gone:
			answer(GetReply{Err: ErrGone})
		default:
			asked = true
			h.asked++
			if h.gets == nil {
				h.gets = map[GetRef]func(GetReply){}
			}
			h.gets[h.asked] = func(r GetReply) {
				h.counters.countGet(r, noAck)
				answer(r)
			}
			h.q.Get(h.asked, noAck, &h.work.out)
			h.apply()
		}
	}
}

// Purge drops the ready messages and gives their number.
func (h *Host) Purge() (n int, err error) {
	err = ErrGone
	h.do(func() { n, err = h.q.Purge(&h.work.out), nil })
	return n, err
}

// Stat counts, after everything posted before.
func (h *Host) Stat() (s Stat, err error) {
	err = ErrGone
	h.do(func() { s, err = h.q.Stat(), nil })
	return s, err
}

// Declared is Stat for somebody who declares the queue, actively or passively: for
// x-expires that is a use of it (contract 05 §5).
func (h *Host) Declared() (s Stat, err error) {
	err = ErrGone
	h.do(func() {
		h.q.Event(Event{Kind: Declared}, &h.work.out)
		s, err = h.q.Stat(), nil
	})
	return s, err
}

// Delete ends the queue. ok is called with the number of ready messages, after
// the broker forgot the queue, for good if it was durable, and before its
// consumers are told: in the queue's turn, or by HostEnv.Settle. The error is
// ErrInUse, ErrNotEmpty, ErrGone, or that of Settle: the queue is gone then, but
// may come back.
func (h *Host) Delete(ifUnused, ifEmpty bool, ok func(n int)) error {
	settled, err := h.BeginDelete(ifUnused, ifEmpty, ok)
	if err != nil {
		return err
	}
	return <-settled
}

// BeginDelete is Delete for who may not want to wait for HostEnv.Settle: settled has
// room for its error, or nil, and gets it after ok was called.
func (h *Host) BeginDelete(ifUnused, ifEmpty bool, ok func(n int)) (settled <-chan error, err error) {
	err = ErrGone
	told := make(chan error, 1)
	h.do(func() {
		err = h.remove(ifUnused, ifEmpty, func(n int, unsettled error) {
			if unsettled == nil && ok != nil {
				ok(n)
			}
			told <- unsettled
		})
	})
	return told, err
}

// remove deletes the queue in its turn.
func (h *Host) remove(ifUnused, ifEmpty bool, tell func(n int, unsettled error)) error {
	n, err := h.q.Delete(ifUnused, ifEmpty, &h.work.out)
	if err != nil {
		return err
	}
	// What the queue confirms because it goes is confirmed when it is gone.
	gone := slices.Clone(h.work.out.Confirm)
	h.work.out.Confirm = h.work.out.Confirm[:0]
	h.answers.given(gone)
	h.counters.Confirmed += uint64(len(gone))
	h.end(nil, func(unsettled error) {
		if tell != nil {
			tell(n, unsettled)
		}
	})
	h.confirmGone(gone)
	return nil
}
