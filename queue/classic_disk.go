package queue

import (
	"cmp"
	"slices"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// disk is what a classic queue remembers of its requests to the store.
type disk struct {
	// asked counts the operations asked for, done those answered.
	asked, done uint64
	// publishes are the unanswered appends of persistent messages, in the order of
	// their positions; others are those of transient ones, and of messages that were
	// stored before at another position.
	publishes fifo[pendingPublish]
	others    fifo[pendingOp]
	// removes are the unanswered ones that belong to no atom, failed those that are
	// to be asked again.
	removes fifo[pendingOp]
	failed  []store.Op
}

type pendingPublish struct {
	op, seq uint64
	// ref is who waits for it. It is zero once that was answered, be it because
	// the message was acknowledged before it was stored.
	ref message.PublishRef
}

type pendingOp struct{ op, seq, to uint64 }

func (d *disk) add(op store.Op, out *Actions) {
	out.Store = append(out.Store, op)
	d.asked++
}

// remove asks for a Remove, and again later if it fails; but not for a part of an
// atom, of which then nothing may be carried out.
func (d *disk) remove(op store.Op, out *Actions) {
	if op.Atom == nil {
		d.removes.push(pendingOp{d.asked, op.Seq, op.To})
	}
	d.add(op, out)
}

// enqueueStored takes a persistent message of a durable queue: its publisher
// hears when the store has it, consumers need not wait for that.
func (q *classic) enqueueStored(seq uint64, s slot, p *Publish, out *Actions) {
	s.set(stored)
	q.disk.publishes.push(pendingPublish{q.disk.asked, seq, p.Ref})
	p.Msg.Retain(1)
	q.disk.add(store.Op{Kind: store.Append, Seq: seq, Msg: p.Msg, Expiry: s.expiry(), Atom: p.Atom}, out)
}

// pageOut hands a transient message to the store so that it may leave memory.
func (q *classic) pageOut(seq uint64, s slot, out *Actions) {
	s.set(stored | paged)
	q.disk.others.push(pendingOp{op: q.disk.asked, seq: seq})
	m := s.msg()
	m.Retain(1)
	q.disk.add(store.Op{Kind: store.Append, Transient: true, Seq: seq, Msg: m}, out)
}

// unstore takes a message that leaves the queue off the store. Its publisher need not
// wait for the store any more; unless it leaves with a transaction, for a crash before
// that is durable brings it back, and it must have been stored then.
func (q *classic) unstore(seq uint64, s slot, atom *store.Atom, out *Actions) {
	if !s.is(stored) {
		return
	}
	q.disk.remove(store.Op{Kind: store.Remove, Seq: seq, Atom: atom}, out)
	if atom == nil && !s.isAny(kept|paged) {
		q.confirm(seq, out)
	}
}

// confirm answers the publisher of a message that left the queue before the
// store had it.
func (q *classic) confirm(seq uint64, out *Actions) {
	if q.strict {
		return
	}
	ps := q.disk.publishes.all()
	i, ok := slices.BinarySearchFunc(ps, seq, func(p pendingPublish, seq uint64) int {
		return cmp.Compare(p.seq, seq)
	})
	if ok && ps[i].ref.Wanted() {
		out.Confirm = append(out.Confirm, ps[i].ref)
		ps[i].ref = message.PublishRef{}
	}
}

// confirmAll answers every publisher who still waits: the queue is deleted.
func (d *disk) confirmAll(out *Actions) {
	for _, p := range d.publishes.all() {
		if p.ref.Wanted() {
			out.Confirm = append(out.Confirm, p.ref)
		}
	}
	*d = disk{}
}

// stored takes the store's word for the oldest operations.
//
// A publish that could not be stored is rejected. Its message goes if nobody has
// seen it yet; who had it may settle or requeue it, in memory. Without a
// publisher who waits there is nobody to try again, so that the message stays for
// consumers as if it were transient.
func (q *classic) stored(ev Event, out *Actions) {
	d := &q.disk
	d.done += uint64(ev.Ops)
	for d.publishes.len() > 0 && d.publishes.first().op < d.done {
		p := d.publishes.pop()
		s := q.at(p.seq)
		if ev.Err == nil {
			if p.ref.Wanted() {
				out.Confirm = append(out.Confirm, p.ref)
			}
			q.keep(p.seq, s)
			continue
		}
		if p.ref.Wanted() {
			out.Reject = append(out.Reject, p.ref)
		}
		q.refuse(p.seq, s, p.ref.Wanted() && s.is(slotReady) && !s.is(redelivered))
	}
	for d.others.len() > 0 && d.others.first().op < d.done {
		p := d.others.pop()
		switch s := q.at(p.seq); {
		case ev.Err == nil:
			q.keep(p.seq, s)
		case s.is(paged):
			q.refuse(p.seq, s, false)
		default:
			// One that was moved belongs to an atom, which the store carries out when it can.
		}
	}
	for d.removes.len() > 0 && d.removes.first().op < d.done {
		if p := d.removes.pop(); ev.Err != nil {
			d.failed = append(d.failed, store.Op{Kind: store.Remove, Seq: p.seq, To: p.to})
		}
	}
	if ev.Err == nil && len(d.failed) > 0 {
		// The store works again. What was settled meanwhile must not come back.
		for _, op := range d.failed {
			d.remove(op, out)
		}
		d.failed = nil
	}
}

// keep notes that the store has a message.
func (q *classic) keep(seq uint64, s slot) {
	if s.gone() {
		return
	}
	s.set(kept)
	q.evict(seq, s)
	if s.dying() {
		q.letters.mayLeaveMemory(seq)
	}
}

// refuse notes that the store does not have a message, and forgets it if it is to
// go.
func (q *classic) refuse(seq uint64, s slot, forget bool) {
	if s.gone() {
		return
	}
	if forget && s.is(slotReady) {
		m := s.msg()
		q.account(seq, s, -1)
		q.lose(seq, s)
		m.Release()
		return
	}
	s.unset(stored | paged)
	s.set(refused)
}

// unstoreReady takes all ready messages off the store, and gives back what is in
// memory: in ranges, so that a long queue needs few operations.
func (q *classic) unstoreReady(out *Actions) {
	var r *store.Op
	q.each(func(seq uint64, s slot) {
		switch {
		case !s.is(slotReady):
			if s.is(stored) && r != nil {
				q.disk.remove(*r, out)
				r = nil
			}
			return // it stays
		case !s.is(stored):
		case r == nil:
			r = &store.Op{Kind: store.Remove, Seq: seq}
		default:
			r.To = seq
		}
		if m := s.msg(); m != nil {
			m.Release()
		}
		if s.is(stored) && !s.isAny(kept|paged) {
			q.confirm(seq, out)
		}
	})
	if r != nil {
		q.disk.remove(*r, out)
	}
}

// recovered takes over what an earlier run left.
func (q *classic) recovered(entries []store.Entry) {
	for _, e := range entries {
		s := q.put(e.Seq, e.Size, e.Priority)
		s.set(stored | kept)
		if e.Expiry != 0 {
			s.setExpiry(e.Expiry)
			q.watch.timed = true
		}
		if e.Redelivered {
			s.set(redelivered)
		}
		if why := markedDead(e.Deliveries); why != "" && q.letters != nil {
			q.letters.recovered = append(q.letters.recovered, letter{seq: e.Seq, reason: why})
			continue
		}
		if q.rules.counts {
			s.setCount(e.Deliveries)
		}
	}
}
