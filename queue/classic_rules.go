package queue

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/warrenmq/warren/message"
)

// rules are what a queue's arguments and its policy ask for beyond the plain queue.
// They are read when the queue is opened, and again when the policy changes.
type rules struct {
	// any says that there is one at all.
	any bool
	// limited says that maxLength or maxBytes, of the ready messages, is a limit.
	limited bool
	// rejects says that what would exceed a limit is to be refused, rather than
	// something dropped for it; refuses that there is a limit, too; refusedDie that
	// what is refused is dead-lettered.
	rejects, refuses, refusedDie bool
	// buries says that there is a dead-letter exchange, dlx, and rekeys that rekey
	// is to be used there instead of the message's own routing key.
	buries, rekeys bool
	// fleeting says that a message which nobody takes at once is of no use: it expires
	// on arrival and does not become a dead letter.
	fleeting bool
	// counts says that it is counted how often a message was delivered, and limit is
	// how often it may come back.
	counts bool
	// lateDrop says that what is too much is dropped when consumers have got what they
	// can take, and that of what is dropped at once the latest becomes a dead letter first.
	lateDrop bool
	// sure says that a dead letter stays until the queues it goes to have it.
	sure bool
	// toTail says that what a client requeues goes to the end of the queue.
	toTail bool
	limit  int64
	// ttl and idle are x-message-ttl and x-expires in milliseconds, negative
	// without.
	ttl, idle           int64
	maxLength, maxBytes int64
	dlx, rekey          string
}

// rulesOf merges the arguments of a queue with the definition of its policy, both of
// which have been checked: the lower number counts, and for the rest the argument
// (contract 08 §5).
func rulesOf(arguments, policy message.Table) rules {
	text := func(key string) (string, bool) {
		for _, v := range both(arguments, policy, key) {
			if t, ok := v.(string); ok {
				return t, true
			}
		}
		return "", false
	}
	r := rules{
		ttl:       min(lower(arguments, policy, "message-ttl", -1), longest),
		idle:      min(lower(arguments, policy, "expires", -1), longest),
		maxLength: lower(arguments, policy, "max-length", noLength),
		maxBytes:  lower(arguments, policy, "max-length-bytes", noLength),
	}
	r.limited = r.maxLength != noLength || r.maxBytes != noLength
	overflow, _ := text("overflow")
	r.refusedDie = overflow == "reject-publish-dlx"
	r.rejects = r.refusedDie || overflow == "reject-publish"
	r.refuses = r.limited && r.rejects
	r.dlx, r.buries = text("dead-letter-exchange")
	r.rekey, r.rekeys = text("dead-letter-routing-key")
	r.fleeting = r.ttl == 0 && !r.buries
	r.any = r.ttl >= 0 || r.idle >= 0 || r.limited || r.buries
	return r
}

// longest is the longest time, in milliseconds, that a queue counts with. A policy may
// have any, and some end where no clock gets to.
const longest = 1 << 50

// noLength is a limit of length that is none.
const noLength = math.MaxInt64

// lower gives the lower one of the numbers that the argument x-key and the policy's key
// are, or without if neither is one.
func lower(arguments, policy message.Table, key string, without int64) int64 {
	n, found := without, false
	for _, v := range both(arguments, policy, key) {
		if i, ok := message.Int(v); ok && (!found || i < n) {
			n, found = i, true
		}
	}
	return n
}

// both gives the values of the argument x-key and of the policy's key, nil for one
// that is not there.
func both(arguments, policy message.Table, key string) [2]any {
	argument, _ := arguments.Get("x-" + key)
	value, _ := policy.Get(key)
	return [2]any{argument, value}
}

// ttlOf gives the time to live of a message in milliseconds: the lower one of the
// queue's and its own, negative without either.
func (r *rules) ttlOf(m *message.Message) int64 {
	if ms, ok := m.TTL(); ok && (r.ttl < 0 || ms < r.ttl) {
		return ms
	}
	return r.ttl
}

// watch is a queue's sense of time.
type watch struct {
	clock func() time.Time
	// woken is when the next TimeReached is due, in milliseconds since 1970; 0
	// without.
	woken int64
	// used is when the queue was last used, for x-expires, in milliseconds.
	used int64
	// read is the time in this call of the queue, in nanoseconds since 1970; 0 if
	// nobody asked yet.
	read int64
	// fresh is the position of a message that is just being offered to consumers
	// and does not expire meanwhile, or none.
	fresh uint64
	// unnoticed is the position of a message that overtook all others of a queue with
	// priorities, or none. As RabbitMQ looks at a message's time only where it begins
	// to be the first, and takes only the first of an empty queue for that, this one
	// does not expire before something else makes the queue look.
	unnoticed uint64
	// timed says that there may be messages that expire.
	timed bool
	// lazy says that what a basic.get leaves is counted before anybody looks whether it
	// has expired, unless it needs no acknowledgement.
	lazy bool
}

// none is no position.
const none = math.MaxUint64

// spares reports whether a message does not expire for now, even if it is time.
func (w *watch) spares(seq uint64) bool { return seq == w.fresh || seq == w.unnoticed }

func (w *watch) nanos() int64 {
	if w.read == 0 {
		w.read = w.clock().UnixNano()
	}
	return w.read
}

// now gives the time in whole milliseconds since 1970, those that have passed.
func (w *watch) now() int64 { return w.nanos() / int64(time.Millisecond) }

// after gives the first whole millisecond that is ms milliseconds away, or the one
// that has begun for 0.
func (w *watch) after(ms int64) int64 {
	if ms == 0 {
		return w.now()
	}
	return (w.nanos()+int64(time.Millisecond)-1)/int64(time.Millisecond) + ms
}

// wakeAt asks to be woken at a time in milliseconds. An earlier one that was asked
// for serves as well: what is due is looked at anew then.
func (w *watch) wakeAt(at int64, out *Actions) {
	if w.woken == 0 || at < w.woken {
		w.woken = at
		out.Wake = time.UnixMilli(at)
	}
}

// use notes that the queue was used, so that x-expires counts from now on.
func (q *classic) use() {
	if q.rules.idle >= 0 {
		q.watch.used = q.watch.now()
	}
}

// arm asks to be woken for what is due next: the expiry of the first message, or
// of the queue.
func (q *classic) arm(out *Actions) {
	switch {
	case q.memory.broken && q.grave.waiting.len()+q.letters.unsent() > 0:
		q.watch.wakeAt(q.watch.after(retryLoad.Milliseconds()), out)
	case q.grave.waiting.len() > 0:
	case q.watch.timed && q.ready > 0 && !(q.grave.full && q.rules.buries):
		seq, s := q.head()
		if at := s.expiry(); at != 0 && !q.watch.spares(seq) {
			q.watch.wakeAt(max(at, 1), out)
		}
	}
	if q.rules.idle >= 0 && q.consumers.none() {
		q.watch.wakeAt(q.watch.used+q.rules.idle, out)
	}
}

// woken is what the queue does when a time that it asked for has come.
func (q *classic) woken(now time.Time, out *Actions) {
	q.watch.woken, q.watch.read = 0, now.UnixNano()
	idle := q.rules.idle >= 0 && q.consumers.none()
	if idle && q.watch.now() >= q.watch.used+q.rules.idle {
		out.Gone = true
		return
	}
	q.watch.unnoticed = none
}

// overdue reports whether a message has expired.
func (q *classic) overdue(s slot) bool {
	at := s.expiry()
	return at != 0 && at <= q.watch.now()
}

// expire takes the expired messages at the head away (contract 05 §5): only those,
// so that one behind a longer-lived one stays.
// It reports whether there are more that have to wait.
func (q *classic) expire(out *Actions) (more bool) {
	if !q.watch.timed {
		return false
	}
	for q.ready > 0 {
		seq, s := q.head()
		if q.watch.spares(seq) || !q.overdue(s) {
			return false
		}
		if q.rules.buries && q.grave.pause(out) {
			return true
		}
		q.lay(seq, s, Expired, nil, out)
	}
	q.watch.timed = q.held > 0
	return false
}

// refuses reports whether a message does not fit into a queue that refuses what
// does not (contract 05 §6). It is asked before consumers are.
func (q *classic) refuses(m *message.Message) bool {
	return int64(q.ready) >= q.rules.maxLength || q.bytes+int64(m.Size()) > q.rules.maxBytes
}

// refusePublish answers a publish that does not fit.
func (q *classic) refusePublish(p *Publish, out *Actions) {
	if p.Ref.Wanted() {
		out.Reject = append(out.Reject, p.Ref)
	}
	if !q.rules.refusedDie || !q.rules.buries {
		p.Msg.Release()
		return
	}
	out.DeadLetter = append(out.DeadLetter, q.rules.dead(p.Msg, MaxLen, p.Atom))
}

// forgo answers a publish that expires on arrival behind others, where nobody can take
// it. RabbitMQ gives it no place in the queue, so that it pushes nothing out of a full
// one and does not wait until those before it are gone.
func (q *classic) forgo(p *Publish, out *Actions) {
	if p.Ref.Wanted() {
		out.Confirm = append(out.Confirm, p.Ref)
	}
	p.Msg.Release()
}

// drops reports whether what is too much is dropped, and not refused.
func (r *rules) drops() bool { return r.limited && !r.refuses }

// dropOver drops from the head what is too much, unless that is refused instead.
func (q *classic) dropOver(out *Actions) {
	if !q.rules.drops() {
		return
	}
	before := len(out.DeadLetter)
	q.shorten(out)
	if q.rules.lateDrop {
		slices.Reverse(out.DeadLetter[before:])
	}
}

// dropReturned is dropOver after something has come back.
func (q *classic) dropReturned(out *Actions) {
	q.late = false
	if !q.rules.drops() {
		return
	}
	if q.rules.lateDrop {
		q.handOut(out)
		if q.late = q.ready > 0 && q.owes(); q.late {
			return
		}
	}
	q.dropOver(out)
}

// owes reports whether somebody gets a message as soon as one is loaded. Nobody gets
// one that has expired, even if it has to stay for now.
func (q *classic) owes() bool {
	if q.ready+q.grave.returning.messages == 0 || len(q.gets) == 0 && !q.consumers.able() {
		return false
	}
	if q.ready == 0 {
		return true
	}
	_, s := q.head()
	return s.msg() == nil && !q.overdue(s)
}

// shorten drops from the head what is too much.
func (q *classic) shorten(out *Actions) {
	for int64(q.ready) > q.rules.maxLength || q.bytes > q.rules.maxBytes {
		seq, s := q.head()
		q.lay(seq, s, MaxLen, nil, out)
	}
}

// highestFirst puts what is rejected at once into the order in which it dies: in a queue
// with priorities that of the highest one first (rabbit_priority_queue:ackfold/4).
func (q *classic) highestFirst(in []Settle) {
	for len(in) > 0 {
		n, first := 1, &in[0]
		for n < len(in) && !in[n].First && in[n].Consumer == first.Consumer && in[n].Outcome == first.Outcome {
			n++
		}
		if first.Outcome == Discard && first.Consumer != 0 && n > 1 {
			slices.SortStableFunc(in[:n], func(a, b Settle) int { return cmp.Compare(q.levelOf(b.ID), q.levelOf(a.ID)) })
		}
		in = in[n:]
	}
}

// levelOf gives the priority of what somebody holds, 0 if nobody does.
func (q *classic) levelOf(seq uint64) uint8 {
	if s := q.at(seq); s.is(slotHeld) {
		return s.level()
	}
	return 0
}

// obey takes another policy over. What RabbitMQ does with one at run time (contract 08
// §5): lower limits drop at once what is too much, even if from now on it is to be
// refused; a time to live is for messages that come later; the time that the queue may
// be unused begins anew. Who died before stays with the dead-letter exchange of then. It
// also looks what has expired, whatever the policy is about.
func (q *classic) obey(policy message.Table, out *Actions) {
	old := q.rules
	q.rules = q.merge(policy)
	if q.grave.waiting.len() > 0 {
		q.grave.bequeath(old)
		q.rules.any = true // so that somebody looks after them
	}
	q.use()
	q.watch.unnoticed = none
	if q.rules.limited && (!q.rules.rejects || !old.rejects) {
		q.shorten(out)
	}
}
