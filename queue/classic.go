package queue

import (
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// Classic is RabbitMQ's classic queue (contract 05): first in, first out,
// requeued messages at their original position, consumers served in turn.
func Classic() Type { return classicType{} }

type classicType struct{}

func (classicType) Name() string               { return "classic" }
func (classicType) Capabilities() Capabilities { return classicCapabilities() }

func (classicType) Open(s Spec, env Env) (Queue, error) {
	q := &classic{autoDelete: s.AutoDelete, durable: s.Durable && env.Stored}
	q.consumers.byID = map[message.ConsumerID]*taker{}
	return q, nil
}

// classic is the state of one classic queue.
type classic struct {
	autoDelete bool
	// durable says that persistent messages go to the store.
	durable bool

	positions
	consumers consumers
	// gets wait for the first ready message to be loaded.
	gets []pendingGet
	disk disk
}

type pendingGet struct {
	ref   GetRef
	noAck bool
}

func (q *classic) Enqueue(in []Publish, out *Actions) {
	for i := range in {
		p := &in[i]
		if q.durable && p.Msg.Persistent() {
			q.enqueueStored(p, out)
			continue
		}
		if p.Ref.Wanted() {
			out.Confirm = append(out.Confirm, p.Ref)
		}
		if q.ready == 0 && q.passThrough(p.Msg, out) {
			continue
		}
		q.push(p.Msg, p.Msg.Size())
	}
	q.pump(out)
}

// passThrough gives a message that needs no place in the queue straight to a
// consumer that needs no acknowledgement.
func (q *classic) passThrough(m *message.Message, out *Actions) bool {
	c := q.consumers.front()
	if c == nil || !c.NoAck || len(q.gets) > 0 {
		return false
	}
	if !c.admits(m.Size()) {
		q.consumers.block(c)
		return false
	}
	out.Deliver = append(out.Deliver, Delivery{Consumer: c.ID, Msg: m})
	q.consumers.rotate(c)
	return true
}

// pump hands ready messages out for as long as somebody can take them.
func (q *classic) pump(out *Actions) {
	for q.ready > 0 {
		var c *taker
		if len(q.gets) == 0 {
			if c = q.consumers.front(); c == nil {
				return
			}
		}
		seq, s := q.head()
		switch {
		case s.msg == nil:
			q.load(seq, out)
			return
		case c == nil:
			g := q.gets[0]
			q.gets = q.gets[1:]
			q.answer(g, seq, s, out)
		case !c.admits(int(s.size)):
			q.consumers.block(c)
		default:
			d := Delivery{Consumer: c.ID, ID: seq, Msg: s.msg, Redelivered: s.redelivered}
			q.handOver(seq, s, c.NoAck, out)
			out.Deliver = append(out.Deliver, d)
			if !c.NoAck {
				c.held++
			}
			q.consumers.rotate(c)
		}
	}
	for _, g := range q.gets {
		out.Got = append(out.Got, GetReply{Ref: g.ref})
	}
	q.gets = nil
}

func (q *classic) answer(g pendingGet, seq uint64, s *slot, out *Actions) {
	r := GetReply{Ref: g.ref, ID: seq, Msg: s.msg, Redelivered: s.redelivered}
	q.handOver(seq, s, g.noAck, out)
	r.Remaining = q.ready
	out.Got = append(out.Got, r)
}

// handOver takes the first ready message out of the ready ones: for good if it
// needs no acknowledgement, so that its reference goes with the delivery.
func (q *classic) handOver(seq uint64, s *slot, noAck bool, out *Actions) {
	if noAck {
		q.unstore(seq, s, nil, out)
		q.dropHead(seq, s)
		return
	}
	if s.stored && !s.redelivered {
		q.disk.add(store.Op{Kind: store.Delivered, Seq: seq}, out)
	}
	s.msg.Retain(1)
	q.hold(seq, s)
}

func (q *classic) Settle(in []Settle, out *Actions) {
	for i := range in {
		e := &in[i]
		s := q.at(e.ID)
		if s == nil || s.state != slotHeld {
			continue
		}
		if e.Consumer != 0 {
			q.consumers.returned(e.Consumer)
		}
		if e.Outcome == Requeue {
			q.giveBack(e.ID, s)
			continue
		}
		// A classic queue without a dead-letter exchange drops what is rejected.
		m := s.msg
		q.unstore(e.ID, s, e.Atom, out)
		q.drop(e.ID, s)
		m.Release()
	}
	q.pump(out)
}

func (q *classic) Consume(c Consumer, out *Actions) error {
	if err := q.consumers.add(c); err != nil {
		return err
	}
	q.pump(out)
	return nil
}

func (q *classic) Cancel(id message.ConsumerID, _ CancelReason, out *Actions) {
	if q.consumers.remove(id) && q.autoDelete && len(q.consumers.byID) == 0 {
		out.Gone = true
	}
}

func (q *classic) Get(req GetRef, noAck bool, out *Actions) {
	q.gets = append(q.gets, pendingGet{req, noAck})
	q.pump(out)
}

func (q *classic) Event(ev Event, out *Actions) {
	switch ev.Kind {
	case Resume:
		q.consumers.resume(ev.Consumer)
	case Stored:
		q.disk.answered(ev.Ops, ev.Err, out)
	case LoadDone:
		if !q.loaded(ev, out) {
			return
		}
	case Recovered:
		q.recovered(ev.Entries)
		return
	}
	q.pump(out)
}

func (q *classic) Purge(out *Actions) int {
	n := q.ready
	for q.ready > 0 {
		seq, s := q.head()
		m := s.msg
		q.unstore(seq, s, nil, out)
		q.dropHead(seq, s)
		if m != nil {
			m.Release()
		}
	}
	return n
}

func (q *classic) Delete(ifUnused, ifEmpty bool, out *Actions) (int, error) {
	if ifEmpty && q.ready > 0 {
		return 0, ErrNotEmpty
	}
	if ifUnused && len(q.consumers.byID) > 0 {
		return 0, ErrInUse
	}
	n := q.ready
	q.each(func(_ uint64, s *slot) {
		if s.msg != nil {
			s.msg.Release()
		}
	})
	q.disk.confirmAll(out)
	for _, g := range q.gets {
		out.Got = append(out.Got, GetReply{Ref: g.ref})
	}
	q.positions, q.gets = positions{}, nil
	return n, nil
}

func (q *classic) Stat() Stat {
	return Stat{Ready: q.ready, Unacked: q.held, ReadyBytes: q.bytes, Consumers: len(q.consumers.byID)}
}
