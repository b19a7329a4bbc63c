package queue

import (
	"time"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// Classic is RabbitMQ's classic queue (contract 05): first in, first out,
// requeued messages at their original position, consumers served in turn.
func Classic(options ...Option) Type { return classicType{optionsOf(options)} }

type classicType struct{ options typeOptions }

func (classicType) Name() string { return "classic" }

func (t classicType) Capabilities() Capabilities {
	caps := classicCapabilities()
	if t.options.limited {
		caps.Arguments = append(caps.Arguments, argDeliveryLimit)
		caps.Policies = append(caps.Policies, policyDeliveryLimit)
	}
	return caps
}

func (t classicType) Open(s Spec, env Env) (Queue, error) {
	q := &classic{}
	arguments := s.Arguments // not to keep all of s
	q.open(s, env, func(policy message.Table) rules { return t.rules(arguments, policy) })
	if v, ok := s.Arguments.Get(argMaxPriority); ok {
		highest, _ := message.Int(v)
		q.levels = &levels{max: uint8(highest)}
	}
	return q, nil
}

// rules merges the arguments of a queue with a policy.
func (t classicType) rules(arguments, policy message.Table) rules {
	r := rulesOf(arguments, policy)
	if t.options.limited {
		if limit, ok := deliveryLimit(arguments, policy, t.options.deliveryLimit); ok {
			r.limitDeliveries(limit)
		}
	}
	return r
}

// open makes what every queue has. merge gives the rules of its arguments and a policy.
func (q *classic) open(s Spec, env Env, merge func(policy message.Table) rules) {
	q.merge = merge
	q.rules = merge(env.Policy)
	q.autoDelete, q.durable, q.paging = s.AutoDelete, s.Durable && env.Stored, env.Stored
	q.watch = watch{clock: env.Now, fresh: none, unnoticed: none}
	if q.watch.clock == nil {
		q.watch.clock = time.Now
	}
	q.memory.max = env.Memory.orDefault()
	q.consumers.single = SingleActive(s)
}

// classic is the state of one classic queue, and the core of others.
type classic struct {
	autoDelete bool
	// durable says that persistent messages go to the store, paging that bodies
	// may leave memory for it; strict that a publisher hears nothing before the store
	// has answered, even if the message left the queue meanwhile.
	durable, paging, strict bool
	// late says that what came back is too much, and that what is too much is dropped
	// when who can take something has got it: the first one is loaded for somebody.
	late bool
	// merge gives the rules of the arguments of the declare and of another policy.
	merge func(policy message.Table) rules

	positions
	consumers consumers
	// gets wait for the first ready message to be loaded.
	gets   []pendingGet
	disk   disk
	memory memory
	watch  watch
	rules  rules
	grave  grave
	// letters are dead letters that stay until others have them; nil in a queue that
	// lets them go.
	letters *letterbox
}

type pendingGet struct {
	ref   GetRef
	noAck bool
}

func (q *classic) Enqueue(in []Publish, out *Actions) {
	for i := range in {
		if q.levels != nil && i > 0 {
			q.handOut(out) // who waits gets the one before, and not a higher one behind it
		}
		p := &in[i]
		if q.rules.refuses && q.refuses(p.Msg) {
			q.refusePublish(p, out)
			continue
		}
		q.consumers.waiting = false
		if q.rules.fleeting && q.ready > 0 && !q.owes() {
			q.forgo(p, out)
			continue
		}
		passed := q.ready == 0 && q.passThrough(p.Msg, out)
		durable := q.durable && p.Msg.Persistent() && !passed
		if !durable && p.Ref.Wanted() {
			out.Confirm = append(out.Confirm, p.Ref)
		}
		if !passed {
			q.admitted(p, durable, out)
		}
	}
	q.pump(out)
}

// admitted gives a message that was let in its place.
func (q *classic) admitted(p *Publish, durable bool, out *Actions) {
	seq, s := q.push(p.Msg, p.Msg.Size())
	ttl := q.rules.ttlOf(p.Msg)
	if ttl >= 0 {
		q.watch.timed = true
		s.setExpiry(q.watch.after(ttl))
	}
	if q.paging {
		leave := q.admit(seq, s)
		switch {
		case durable:
			q.enqueueStored(seq, s, p, out)
		case leave:
			q.pageOut(seq, s, out)
		}
	}
	if ttl >= 0 || q.rules.limited {
		q.offer(seq, out)
	}
}

// passThrough gives a message that needs no place in the queue straight to a
// consumer that needs no acknowledgement. A persistent one needs no store then:
// it left before it could be stored (contract 06 §6).
func (q *classic) passThrough(m *message.Message, out *Actions) bool {
	c := q.consumers.front()
	if c == nil || !c.NoAck || len(q.gets) > 0 {
		return false
	}
	if !c.admits(m.Size()) {
		q.consumers.block(c)
		return false
	}
	d := out.deliver()
	d.Consumer, d.Msg = c.ID, m
	c.took()
	q.consumers.rotate(c)
	return true
}

// offer gives a message that was just pushed to whoever can take it, however short
// its time to live is; then the rules hold for it as for others (contract 05 §5,
// §6).
func (q *classic) offer(seq uint64, out *Actions) {
	q.watch.fresh = seq
	q.handOut(out)
	q.watch.fresh = none
	before := q.ready
	q.dropOver(out)
	if q.levels == nil {
		q.expire(out)
		return
	}
	if q.ready == before && q.ready > 1 {
		if head, _ := q.head(); head == seq {
			q.watch.unnoticed = seq
		}
		return
	}
	q.watch.unnoticed = none
	q.expire(out)
	q.arm(out) // before another one of the batch overtakes it unnoticed
}

// pump hands ready messages out for as long as somebody can take them, and sees
// that there will be more. It ends a call of the queue.
func (q *classic) pump(out *Actions) {
	if !q.rules.any && !q.watch.timed {
		q.handOut(out)
		q.readAhead(out)
		if q.watch.read != 0 { // for one that expired at once
			q.watch.read = 0
		}
		return
	}
	q.exhume(out)
	q.handOut(out)
	if q.late {
		q.dropReturned(out)
		q.handOut(out)
	}
	q.exhume(out)
	q.readAhead(out)
	q.rest(out)
}

// rest ends a call of the queue.
func (q *classic) rest(out *Actions) {
	q.arm(out)
	q.watch.read = 0
	q.grave.handed, q.grave.atom = amount{}, nil
}

// handOut delivers ready messages to whoever can take them. What has expired at the
// head goes first, whether or not anybody could take it.
func (q *classic) handOut(out *Actions) {
	for q.ready > 0 {
		if q.watch.timed && q.expire(out) {
			return
		}
		if q.ready == 0 {
			break
		}
		var c *taker
		if len(q.gets) == 0 {
			if c = q.consumers.front(); c == nil {
				return
			}
		}
		seq, s := q.head()
		m := s.msg()
		switch {
		case m == nil:
			if !s.is(loading) && len(q.memory.loads) < q.maxLoads() {
				q.load(seq, out)
			}
			return
		case c == nil:
			g := q.gets[0]
			q.gets = q.gets[1:]
			q.answer(g, seq, s, out)
		case !c.admits(s.size()):
			q.consumers.block(c)
		default:
			d := out.deliver()
			d.Consumer, d.ID, d.Msg, d.Redelivered, d.Count = c.ID, seq, m, s.is(redelivered), s.count()
			q.handOver(seq, s, c.NoAck, out)
			c.took()
			q.consumers.rotate(c)
		}
	}
	for _, g := range q.gets {
		out.Got = append(out.Got, GetReply{Ref: g.ref})
	}
	q.gets = nil
	if q.consumers.draining > 0 {
		q.consumers.drainAll(out)
	}
}

func (q *classic) answer(g pendingGet, seq uint64, s slot, out *Actions) {
	if !g.noAck {
		q.consumers.fetched++
	}
	r := GetReply{Ref: g.ref, ID: seq, Msg: s.msg(), Redelivered: s.is(redelivered), Count: s.count()}
	q.handOver(seq, s, g.noAck, out)
	if !q.watch.lazy || g.noAck {
		q.expire(out) // what comes to the head now does not count if it expired
	}
	r.Remaining = q.ready
	out.Got = append(out.Got, r)
}

// handOver takes the first ready message out of the ready ones: for good if it
// needs no acknowledgement, so that its reference goes with the delivery.
func (q *classic) handOver(seq uint64, s slot, noAck bool, out *Actions) {
	if q.watch.timed {
		q.watch.unnoticed = none
	}
	if q.paging {
		q.account(seq, s, -1)
		q.taken(seq)
	}
	if noAck {
		q.unstore(seq, s, nil, out)
		q.dropHead(seq, s)
		return
	}
	if s.is(stored) && !s.is(paged) && (q.rules.counts || !s.is(redelivered)) {
		q.disk.add(store.Op{Kind: store.Delivered, Seq: seq, Deliveries: s.count() + 1}, out)
	}
	s.msg().Retain(1)
	q.hold(seq, s)
	if q.paging {
		q.account(seq, s, 1)
		q.keepHeld(seq, s, out)
	}
}

// keepHeld sees that not too many bodies stay in memory of messages that wait to
// be acknowledged.
func (q *classic) keepHeld(seq uint64, s slot, out *Actions) {
	switch {
	case s.is(kept):
		q.evict(seq, s)
	case !s.isAny(stored|refused) && q.memory.held.over(q.memory.max):
		q.pageOut(seq, s, out)
	}
}

func (q *classic) Settle(in []Settle, out *Actions) {
	if q.levels != nil && q.rules.buries && len(in) > 1 {
		q.highestFirst(in)
	}
	q.consumers.waiting = false
	requeued := false
	for i := range in {
		e := &in[i]
		if i > 0 && (e.Consumer != in[i-1].Consumer && e.Atom == nil && e.Outcome != Return ||
			e.First && e.Outcome == Requeue) {
			// RabbitMQ settles what one consumer had after the other's, and what one
			// basic.get took after the other, even if it was one method, and what comes
			// free goes out in between. What a channel that is gone had returns at once.
			q.settled(requeued, out)
			requeued = false
		}
		s := q.at(e.ID)
		if !s.is(slotHeld) {
			continue
		}
		if q.consumers.fifo && e.Outcome == Requeue && q.tooOften(s) {
			q.consumers.lend(e.Consumer)
		}
		later := q.movesLater(e, s)
		if !later {
			q.settledOf(e.Consumer)
		}
		q.account(e.ID, s, -1)
		switch {
		case e.Outcome == Requeue || e.Outcome == Return:
			q.comeBack(e, s, later, out)
			requeued = true
			continue
		case e.Outcome == Discard && q.rules.buries:
			q.lay(e.ID, s, Rejected, e.Atom, out)
			continue
		}
		m := s.msg()
		q.unstore(e.ID, s, e.Atom, out)
		q.drop(e.ID, s)
		if m != nil {
			m.Release()
		}
	}
	q.settled(requeued, out)
}

// settledOf notes that what a consumer had was settled, or a basic.get.
func (q *classic) settledOf(c message.ConsumerID) {
	if c != 0 {
		q.consumers.returned(c)
	} else {
		q.consumers.fetched--
	}
}

// settled hands out what can be after a settlement.
func (q *classic) settled(requeued bool, out *Actions) {
	if requeued {
		q.watch.unnoticed = none
		q.dropReturned(out)
	}
	q.pump(out)
}

func (q *classic) Consume(c Consumer, out *Actions) error {
	if err := q.consumers.add(c); err != nil {
		return err
	}
	q.consumers.waiting = false
	out.Active = q.consumers.elect()
	if cr := creditOf(c.Arguments); cr.metered {
		q.consumers.grant(q.consumers.byID[c.ID], cr, q.ready, out)
	}
	q.pump(out)
	return nil
}

func (q *classic) Cancel(id message.ConsumerID, why CancelReason, out *Actions) {
	t := q.consumers.remove(id)
	if t == nil {
		return
	}
	if len(q.consumers.byID) == 0 {
		out.Gone = q.autoDelete
		q.use()
		q.rest(out)
		return
	}
	if q.consumers.orphaned(t) {
		q.pump(out)
	}
	out.Active = q.consumers.elect()
	if out.Active != 0 {
		// As in RabbitMQ, whose queue does not look at its messages when a consumer
		// goes, the next one begins when the old one settles what it holds: what that
		// gives back comes first. A publish or another consumer begins it as well; the
		// word of the store, the time, a basic.get or a declare do not. If the old one
		// holds nothing, there is nothing to wait for.
		if q.consumers.waiting = t.held > 0 && !(q.consumers.fifo && why == ByClient); !q.consumers.waiting {
			q.pump(out)
		}
	}
	q.rest(out)
}

func (q *classic) Get(req GetRef, noAck bool, out *Actions) {
	q.use()
	q.gets = append(q.gets, pendingGet{req, noAck})
	q.pump(out)
}

func (q *classic) Event(ev Event, out *Actions) {
	switch ev.Kind {
	case Resume:
		q.consumers.waiting = false
		q.consumers.resume(ev.Consumer)
		if ev.More {
			return
		}
	case Stored:
		q.stored(ev, out)
	case LoadDone:
		if !q.loaded(ev, out) {
			q.rest(out)
			return
		}
	case Recovered:
		q.recovered(ev.Entries)
		return
	case RecoverDone:
		q.use()
		q.endDoomed(out)
		q.dropOver(out)
	case TimeReached:
		if q.woken(ev.Now, out); out.Gone {
			return // with all that is in it, expired or not
		}
	case Declared:
		q.use()
	case Buried:
		q.grave.full = false
	case PolicyChanged:
		q.obey(ev.Policy, out)
	case Credited:
		q.credited(ev, out)
	}
	q.pump(out)
}

func (q *classic) Purge(out *Actions) int {
	n := q.ready
	q.unstoreReady(out)
	q.loseReady()
	q.memory.warm, q.memory.bodies = amount{}, amount{}
	if q.levels == nil {
		q.memory.edge = q.next
	}
	q.pump(out) // whoever waits for a load hears that there is nothing left
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
	q.each(func(_ uint64, s slot) {
		if m := s.msg(); m != nil {
			m.Release()
		}
	})
	q.disk.confirmAll(out)
	q.grave.forget(out)
	for _, g := range q.gets {
		out.Got = append(out.Got, GetReply{Ref: g.ref})
	}
	q.positions, q.gets, q.memory = positions{}, nil, memory{max: q.memory.max}
	return n, nil
}

func (q *classic) Stat() Stat {
	return Stat{Ready: q.ready, Unacked: q.held, ReadyBytes: q.bytes, Consumers: len(q.consumers.byID)}
}
