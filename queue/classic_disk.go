package queue

import (
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// loadWindow is how many positions a range may span that a classic queue asks for
// when the next message is not in memory.
const loadWindow = 256

// disk is what a classic queue remembers of its requests to the store.
type disk struct {
	// asked counts the operations asked for, done those answered.
	asked, done uint64
	// appends are the unanswered ones that a publisher waits for, oldest first.
	appends []pendingAppend
	// waiting are their publishers, by position. An entry goes when the publish
	// is answered, be it because the message was acknowledged before it was
	// stored.
	waiting map[uint64]message.PublishRef
	// most is how many appends there were at once.
	most int
	// loading is the range that was asked for and has not come yet.
	loading *store.Range
}

type pendingAppend struct{ op, seq uint64 }

func (d *disk) add(op store.Op, out *Actions) {
	out.Store = append(out.Store, op)
	d.asked++
}

// answered takes the store's word for the n oldest operations.
func (d *disk) answered(n int, err error, out *Actions) {
	d.done += uint64(n)
	for len(d.appends) > 0 && d.appends[0].op < d.done {
		seq := d.appends[0].seq
		d.appends = d.appends[1:]
		ref, ok := d.waiting[seq]
		if !ok {
			continue
		}
		delete(d.waiting, seq)
		if err != nil {
			out.Reject = append(out.Reject, ref)
		} else {
			out.Confirm = append(out.Confirm, ref)
		}
	}
	if len(d.appends) == 0 && d.most > maxKept {
		// A map never shrinks; a burst must not keep its memory.
		d.appends, d.waiting, d.most = nil, nil, 0
	}
}

// confirm answers the publisher of a message that left the queue before the
// store had it.
func (d *disk) confirm(seq uint64, out *Actions) {
	if ref, ok := d.waiting[seq]; ok {
		delete(d.waiting, seq)
		out.Confirm = append(out.Confirm, ref)
	}
}

func (d *disk) confirmAll(out *Actions) {
	for _, ref := range d.waiting {
		out.Confirm = append(out.Confirm, ref)
	}
	d.waiting, d.appends = nil, nil
}

// enqueueStored takes a persistent message of a durable queue: its publisher
// hears when the store has it, consumers need not wait for that.
func (q *classic) enqueueStored(p *Publish, out *Actions) {
	seq, s := q.push(p.Msg, p.Msg.Size())
	s.stored = true
	if p.Ref.Wanted() {
		if q.disk.waiting == nil {
			q.disk.waiting = map[uint64]message.PublishRef{}
		}
		q.disk.waiting[seq] = p.Ref
		q.disk.appends = append(q.disk.appends, pendingAppend{q.disk.asked, seq})
		q.disk.most = max(q.disk.most, len(q.disk.appends))
	}
	p.Msg.Retain(1)
	q.disk.add(store.Op{Kind: store.Append, Seq: seq, Msg: p.Msg, Atom: p.Atom}, out)
}

// unstore takes a message that leaves the queue off the store.
func (q *classic) unstore(seq uint64, s *slot, atom *store.Atom, out *Actions) {
	if !s.stored {
		return
	}
	q.disk.add(store.Op{Kind: store.Remove, Seq: seq, Atom: atom}, out)
	q.disk.confirm(seq, out)
}

// load asks for the messages from position seq on.
func (q *classic) load(seq uint64, out *Actions) {
	if q.disk.loading != nil {
		return
	}
	to := seq
	for next := seq + 1; next < q.next && next-seq < loadWindow; next++ {
		s := q.at(next)
		if s == nil {
			continue // gone; the store leaves it out
		}
		if s.msg != nil {
			break
		}
		to = next
	}
	r := store.Range{From: seq, To: to}
	q.disk.loading = &r
	out.Load = append(out.Load, r)
}

// loaded takes what load asked for and reports whether it came. If it could not
// be read, who waits for it in a basic.get is told, and the next thing that
// happens to the queue tries again.
func (q *classic) loaded(ev Event, out *Actions) bool {
	r := q.disk.loading
	q.disk.loading = nil
	for _, l := range ev.Loaded {
		if s := q.at(l.Seq); s != nil && s.msg == nil {
			s.msg = l.Msg
		} else {
			l.Msg.Release()
		}
	}
	if ev.Err != nil {
		for _, g := range q.gets {
			out.Got = append(out.Got, GetReply{Ref: g.ref, Err: ev.Err})
		}
		q.gets = nil
		return false
	}
	if r != nil {
		for seq := r.From; seq <= r.To; seq++ {
			if s := q.at(seq); s != nil && s.msg == nil {
				q.lose(seq, s)
			}
		}
	}
	return true
}

// recovered takes over what an earlier run left.
func (q *classic) recovered(entries []store.Entry) {
	for _, e := range entries {
		s := q.put(e.Seq, nil, e.Size)
		s.stored, s.redelivered = true, e.Redelivered
	}
}
