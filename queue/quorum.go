package queue

import (
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

// Quorum is RabbitMQ's quorum queue as a client of a single node sees it (contract 05
// §9.1): durable whatever is in it, confirming what the store has, counting
// deliveries, with a place of its own for what comes back. It has no replicas.
func Quorum(options ...Option) Type { return quorumType{optionsOf(options)} }

type quorumType struct{ options typeOptions }

func (quorumType) Name() string               { return "quorum" }
func (quorumType) Capabilities() Capabilities { return quorumCapabilities() }

func (t quorumType) Open(s Spec, env Env) (Queue, error) {
	q := &quorum{spec: s}
	arguments := s.Arguments // not to keep all of s
	q.open(s, env, func(policy message.Table) rules { return t.rules(arguments, policy) })
	q.strict = true
	q.inTurn = true
	q.watch.lazy = true
	q.consumers.fifo = true
	q.letters = &letterbox{byID: map[uint64]*letter{}}
	return q, nil
}

// rules merges the arguments of a queue with a policy.
func (t quorumType) rules(arguments, policy message.Table) rules {
	return quorumRules(arguments, policy, t.options.deliveryLimit)
}

// defaultPrefetch is that of a consumer which names none.
const defaultPrefetch = 2000

// quorum is the state of one quorum queue: a classic one that decides some things
// differently, most of them by its rules.
type quorum struct {
	classic
	spec       Spec
	publishers publishers // of a queue that refuses what is too much
}

func (q *quorum) Enqueue(in []Publish, out *Actions) {
	for i := range in {
		p := &in[i]
		if q.rules.refuses && !p.DeadLetter() && q.publishers.blocks(p.Ref.By, q.over()) {
			if p.Atom != nil && p.Ref.Wanted() {
				// RabbitMQ does not tell a transaction that it was refused something.
				out.Confirm = append(out.Confirm, p.Ref)
				p.Ref = message.PublishRef{}
			}
			q.refusePublish(p, out)
			continue
		}
		q.consumers.waiting = false
		if !q.durable && p.Ref.Wanted() {
			out.Confirm = append(out.Confirm, p.Ref)
		}
		q.admitted(p, q.durable, out)
		if q.rules.refuses {
			q.notice()
		}
	}
	q.pump(out)
	q.finish(out)
}

func (q *quorum) Settle(in []Settle, out *Actions) {
	q.inUse()
	for len(in) > 0 {
		n := command(in)
		before := effects{len(out.Deliver), len(out.DeadLetter)}
		q.classic.Settle(in[:n], out)
		if q.returnsAtOnce(in[0]) {
			q.arrange(before, out)
		}
		q.heed()
		in = in[n:]
	}
	q.finish(out)
}

// Consume adds a consumer. RabbitMQ 3.10 does not look whether it wants to be alone.
func (q *quorum) Consume(c Consumer, out *Actions) error {
	c.Exclusive = false
	if c.Prefetch <= 0 {
		c.Prefetch = defaultPrefetch
	}
	err := q.classic.Consume(c, out)
	q.finish(out)
	return err
}

func (q *quorum) Cancel(id message.ConsumerID, why CancelReason, out *Actions) {
	q.inUse()
	q.classic.Cancel(id, why, out)
	q.finish(out)
}

func (q *quorum) Get(req GetRef, noAck bool, out *Actions) {
	if q.consumers.single {
		out.Got = append(out.Got, GetReply{Ref: req, Err: reply.Errorf(reply.ResourceLocked,
			"cannot obtain access to locked %s. basic.get operations are not supported by quorum queues "+
				"with single active consumer", resource(q.spec))})
		return
	}
	q.classic.Get(req, noAck, out)
	q.finish(out)
}

func (q *quorum) Event(ev Event, out *Actions) {
	if ev.Kind == Declared {
		return // which is no use of it
	}
	switch ev.Kind {
	case PolicyChanged:
		q.adopt(ev.Policy, out)
		q.pump(out)
		q.finish(out)
		return
	case Forwarded:
		q.forwarded(ev, out)
	case RecoverDone:
		q.takeUpLetters(out)
	}
	q.classic.Event(ev, out)
	if ev.Kind == LoadDone && ev.Err != nil {
		q.show(out) // what could not be loaded is not asked for again at once
		return
	}
	q.finish(out)
}

func (q *quorum) Purge(out *Actions) int {
	n := q.dropReturning(out)
	n += q.classic.Purge(out)
	q.finish(out)
	return n
}

func (q *quorum) Delete(ifUnused, ifEmpty bool, out *Actions) (int, error) {
	for _, f := range []struct {
		set  bool
		name string
	}{{ifUnused, "if-unused"}, {ifEmpty, "if-empty"}} {
		if f.set {
			return 0, reply.Errorf(reply.NotImplemented, "cannot delete %s. queue.delete operations with %s flag set "+
				"are not supported by quorum queues", resource(q.spec), f.name)
		}
	}
	q.letters.forget()
	return q.classic.Delete(false, false, out)
}

// Stat counts as RabbitMQ does: who still holds something is a consumer, be it that it
// was cancelled or that it was no more than a basic.get; and a declare does not count
// those who wait behind a single active consumer.
func (q *quorum) Stat() Stat {
	s := q.classic.Stat()
	s.Ready += q.grave.returning.messages
	s.ReadyBytes += q.grave.returning.octets
	s.Consumers = q.consumers.counted()
	if n := len(q.consumers.byID); q.consumers.single && n > 1 {
		s.Waiting = n - 1
	}
	return s
}

// inUse notes that the queue was used until now, if anybody uses it.
func (q *quorum) inUse() {
	if !q.consumers.none() {
		q.use()
	}
}

// finish ends a call of the queue.
func (q *quorum) finish(out *Actions) {
	q.sendLetters(out)
	q.heed()
	q.show(out)
}

// show puts the count into what is handed out: always for a basic.get, and for
// consumers if it is not 0.
func (q *quorum) show(out *Actions) {
	for i := range out.Deliver {
		if d := &out.Deliver[i]; d.Count > 0 {
			d.Msg = withCount(d.Msg, d.Count)
		}
	}
	for i := range out.Got {
		if r := &out.Got[i]; r.Msg != nil {
			r.Msg = withCount(r.Msg, r.Count)
		}
	}
}

// notice looks how full the queue is, and tells its publishers.
func (q *quorum) notice() {
	switch {
	case q.over():
		q.publishers.stop()
	case q.under():
		q.publishers.admit()
	}
}

// heed is notice at the end of what RabbitMQ does at once. What somebody gets as soon as
// it is loaded is not too much.
func (q *quorum) heed() {
	if q.rules.refuses && !(q.over() && q.owes()) {
		q.notice()
	}
}

// over reports whether the queue is over its limit.
func (q *quorum) over() bool {
	n, octets := q.fill()
	return n > q.rules.maxLength || octets > q.rules.maxBytes
}

// under reports whether it is under four fifths of it.
func (q *quorum) under() bool {
	low := func(n, limit int64) bool { return limit == noLength || n <= limit/5*4+limit%5*4/5 }
	n, octets := q.fill()
	return low(n, q.rules.maxLength) && low(octets, q.rules.maxBytes)
}

// fill is what counts for the limits: what is ready or will be when it is loaded, and
// dead letters that stay.
func (q *quorum) fill() (n, octets int64) {
	kept, returning := q.letters.kept, q.grave.returning
	return int64(q.ready + kept.messages + returning.messages), q.bytes + kept.octets + returning.octets
}

// withCount gives a message as a consumer is to see it: with a header that says how
// often it was delivered before. It takes over the reference.
func withCount(m *message.Message, n uint32) *message.Message {
	props, err := m.Properties()
	if err != nil {
		return m // the channel lets in none that cannot be read
	}
	props.Headers = props.Headers.With("x-delivery-count", int64(n))
	raw, err := props.Append(nil)
	if err != nil {
		return m // they are as long as they can be
	}
	c := message.New(m.Exchange(), m.RoutingKey(), raw, m.Size())
	c.AppendBody(m.Body())
	c.SetAttributes(m.Persistent(), m.Priority())
	m.Release()
	return c
}
