package queue

import (
	"math"
	"slices"
	"time"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// letterbox are the dead letters of a quorum queue that sends them at least once
// (x-dead-letter-strategy, rabbit_fifo_dlx): they stay, here and in the store, until
// all the queues that they go to have them. One that has no queue, or is refused, is
// sent again after a while. Only so many are under way at once; what waits does so in
// the order in which it died.
//
// A crash after the others have stored a letter and before it was removed here sends it
// twice: that is what the strategy says.
type letterbox struct {
	waiting fifo[*letter]
	sent    []*letter
	byID    map[uint64]*letter
	// kept is all of them, for the limits of length.
	kept amount
	// recovered are those that an earlier run left, until RecoverDone.
	recovered []letter
}

// letter is one dead letter, known by its message's position.
type letter struct {
	seq    uint64
	reason Reason
	msg    *message.Message // nil while only the store has it
	size   int
	// taken are the queues that have it; posted says that some others were sent it and
	// have not answered, and again when it is sent anew otherwise.
	taken  []string
	posted bool
	again  int64
}

const (
	// maxLetters is how many are under way at once, as in RabbitMQ.
	maxLetters = 32
	// retryLetter is how long one waits that was not taken, as in RabbitMQ.
	retryLetter = 180 * time.Second
)

// Dead messages are marked in the store by a count of deliveries that none can have.
const deadMark = math.MaxUint32 - 16

var deadReasons = [...]Reason{Rejected, Expired, LimitReached}

// markOf gives the mark of a reason.
func markOf(why Reason) uint32 {
	for i, r := range deadReasons {
		if r == why {
			return deadMark + uint32(i)
		}
	}
	return deadMark
}

// markedDead gives the reason of a count that is a mark, empty for others.
func markedDead(n uint32) Reason {
	if n < deadMark || n >= deadMark+uint32(len(deadReasons)) {
		return ""
	}
	return deadReasons[n-deadMark]
}

// unsent is how many wait to be sent; there are none in a queue that keeps none.
func (l *letterbox) unsent() int {
	if l == nil {
		return 0
	}
	return l.waiting.len()
}

// find gives the letter of a position, or nil.
func (l *letterbox) find(seq uint64) *letter {
	if l == nil {
		return nil
	}
	return l.byID[seq]
}

// mayLeaveMemory takes the body of a letter that the store has now out of memory, unless
// it is sent already or there are few that wait. It is loaded when its turn comes.
func (l *letterbox) mayLeaveMemory(seq uint64) {
	x := l.find(seq)
	if x == nil || x.msg == nil || l.waiting.len() <= maxLetters || slices.Contains(l.sent, x) {
		return
	}
	x.msg.Release()
	x.msg = nil
}

// forget gives back what is in memory: the queue is deleted.
func (l *letterbox) forget() {
	for _, x := range l.byID {
		if x.msg != nil {
			x.msg.Release()
		}
	}
	*l = letterbox{byID: map[uint64]*letter{}}
}

// keepLetter makes a message a dead letter that stays. It was taken out of account.
func (q *classic) keepLetter(seq uint64, s slot, why Reason, atom *store.Atom, out *Actions) {
	x := &letter{seq: seq, reason: why, size: s.size(), msg: q.retire(seq, s)}
	if s.is(stored) {
		q.disk.add(store.Op{Kind: store.Delivered, Seq: seq, Deliveries: markOf(why), Atom: atom}, out)
	} else {
		q.bury(seq, s)
	}
	q.addLetter(x)
	if s.is(kept) {
		q.letters.mayLeaveMemory(seq)
	}
}

func (q *classic) addLetter(x *letter) {
	l := q.letters
	l.byID[x.seq] = x
	l.kept.add(1, x.size)
	l.waiting.push(x)
}

// takeUpLetters goes on with those that an earlier run left.
func (q *quorum) takeUpLetters(out *Actions) {
	recovered := q.letters.recovered
	q.letters.recovered = nil
	for _, r := range recovered {
		s := q.at(r.seq)
		if !q.rules.sure {
			q.die(r.seq, s, r.reason, nil, out)
			continue
		}
		x := &letter{seq: r.seq, reason: r.reason, size: s.size()}
		q.retire(r.seq, s)
		q.addLetter(x)
	}
}

// sendLetters sends as many as may be under way, and those anew whose time has come.
func (q *quorum) sendLetters(out *Actions) {
	l := q.letters
	if len(l.byID) == 0 {
		return
	}
	for l.waiting.len() > 0 && len(l.sent) < maxLetters {
		x := *l.waiting.first()
		if l.byID[x.seq] != x { // it was lost
			l.waiting.pop()
			continue
		}
		if x.msg == nil {
			q.loadLetters(out)
			break
		}
		l.waiting.pop()
		l.sent = append(l.sent, x)
		q.sendLetter(x, out)
	}
	next := int64(0)
	for _, x := range l.sent {
		if x.posted {
			continue
		}
		if x.again <= q.watch.now() {
			q.sendLetter(x, out)
		} else if next == 0 || x.again < next {
			next = x.again
		}
	}
	if next != 0 {
		q.watch.wakeAt(next, out)
	}
	q.watch.read = 0
}

// retry has those sent again that were not taken.
func (l *letterbox) retry() {
	for _, x := range l.sent {
		x.again = 0
	}
}

// sendOff lets the letters go with what the rules say of dead letters now.
func (q *quorum) sendOff(out *Actions) {
	l := q.letters
	all := slices.Concat(l.sent, l.waiting.all())
	l.sent, l.waiting, l.kept = nil, fifo[*letter]{}, amount{}
	for _, x := range all {
		if l.byID[x.seq] != x {
			continue // it was lost
		}
		delete(l.byID, x.seq)
		s := q.at(x.seq)
		c := corpse{seq: x.seq, msg: x.msg, reason: x.reason}
		switch {
		case !q.rules.buries || x.posted: // or it is there already
			q.bin(c, s, out)
		case c.msg != nil && q.grave.waiting.len() == 0:
			q.hand(c, s, out)
		default:
			q.grave.waiting.push(c)
		}
	}
}

// bin forgets a retired message of which nobody wants to know.
func (q *classic) bin(c corpse, s slot, out *Actions) {
	if s.is(stored) {
		q.disk.remove(store.Op{Kind: store.Remove, Seq: c.seq}, out)
	}
	if c.msg != nil {
		c.msg.Release()
	}
	if !s.gone() {
		q.bury(c.seq, s)
	}
}

func (q *quorum) sendLetter(x *letter, out *Actions) {
	x.posted = true
	x.msg.Retain(1)
	d := q.rules.dead(x.msg, x.reason, nil)
	d.Letter, d.Except = x.seq+1, x.taken
	out.DeadLetter = append(out.DeadLetter, d)
}

// loadLetters asks for the bodies of the first ones that wait, unless that was done. What
// stands between them is read as well, and counts.
func (q *quorum) loadLetters(out *Actions) {
	all := q.letters.waiting.all()
	first := q.at(all[0].seq)
	if first.is(loading) || len(q.memory.loads) == maxLoads {
		return
	}
	r := store.Range{From: all[0].seq, To: all[0].seq}
	var asked amount
	asked.add(1, first.size())
	for i, x := range all {
		if x.msg != nil || i == maxLetters || i > 0 && (x.seq <= r.To || x.seq-r.From >= loadPositions) {
			break
		}
		s := q.at(x.seq)
		if s.gone() || i > 0 && (s.is(loading) || !q.fitsLoad(r.To, x.seq, &asked)) {
			break
		}
		s.set(loading)
		r.To = x.seq
	}
	q.memory.loads = append(q.memory.loads, r)
	out.Load = append(out.Load, r)
}

// forwarded takes what became of a letter.
func (q *quorum) forwarded(ev Event, out *Actions) {
	x := q.letters.byID[ev.Letter-1]
	if x == nil {
		return // the queue was told to forget it
	}
	x.posted = false
	x.taken = append(x.taken, ev.Taken...)
	if ev.Refused > 0 || len(x.taken) == 0 {
		x.again = q.watch.after(retryLetter.Milliseconds())
		return
	}
	if q.at(x.seq).is(stored) {
		q.disk.remove(store.Op{Kind: store.Remove, Seq: x.seq}, out)
	}
	x.msg.Release()
	q.forgetLetter(x)
}

// forgetLetter forgets a letter.
func (q *classic) forgetLetter(x *letter) {
	l := q.letters
	delete(l.byID, x.seq)
	l.kept.add(-1, x.size)
	for i, y := range l.sent {
		if x == y {
			l.sent = append(l.sent[:i], l.sent[i+1:]...)
			break
		}
	}
	if s := q.at(x.seq); s.dying() {
		q.bury(x.seq, s)
	}
}
