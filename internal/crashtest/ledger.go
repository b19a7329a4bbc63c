package crashtest

import (
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Ledger knows what was sent to a broker and what it answered, and what follows
// from it for the messages in its queues. What is sent is written down before it
// is sent, what is answered after the answer came. Any goroutine may use it.
type Ledger struct {
	mu     sync.Mutex
	start  time.Time
	life   int    // of the broker; counts from 1
	ended  string // how the life before did
	queues map[string]*Queue
	gone   map[goneKey]*Copy // what was taken off the books, for reports
	order  []goneKey         // of gone, oldest first

	// stopping says that the broker ends its connections, in any order, and gives
	// what they held to others.
	stopping bool

	violations []Violation
	stats      Stats
	backlog    int // about how many copies nobody settled
}

// Stats counts what a run has seen.
type Stats struct {
	Published, Confirmed, Nacked, Delivered, Settled, Commits, Checked, Uncertain, Definitions int
}

type goneKey struct {
	queue string
	id    ID
}

// keepGone is how many messages that are off the books are remembered for reports.
const keepGone = 200_000

// Violation is one broken promise.
type Violation struct {
	What    string
	History []string
}

// NewLedger gives the ledger of a broker that has nothing yet.
func NewLedger() *Ledger {
	return &Ledger{start: time.Now(), life: 1, queues: map[string]*Queue{}, gone: map[goneKey]*Copy{}}
}

// Queue is one life of a queue, from its declaration to its deletion. Its fields
// are the ledger's.
type Queue struct {
	name    string
	durable bool
	lossy   bool // messages may be gone for reasons that nobody writes down
	unruly  bool // messages of a publisher may come in any order
	levels  bool // has priorities: the highest come first
	get     bool // it would not survive the end of a consumer
	keeps   bool // transient messages, too
	copies  map[ID]*Copy
	// now counts what happens to the queue; marked is the time before which
	// deliveries are known to be durable.
	now, marked uint64
	markedBy    *Copy // whose confirm says so
	consumers   int
	consumedAt  uint64 // when somebody last might have been given messages
}

// QueueOptions says what may be expected of a queue.
type QueueOptions struct {
	// Transient: it does not survive a restart. Lossy: what is in it may be taken
	// with nobody writing it down. Unruly: a publisher's messages may be in any
	// order. Priorities: or only in order within one. Get: it is to be looked at
	// without a consumer. Keeps: transient messages survive a restart, too.
	Transient, Lossy, Unruly, Priorities, Get, Keeps bool
}

// AddQueue puts a queue into the books that has just been made and is empty.
func (l *Ledger) AddQueue(name string, o QueueOptions) *Queue {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := &Queue{
		name: name, durable: !o.Transient, lossy: o.Lossy, unruly: o.Unruly, levels: o.Priorities, get: o.Get, keeps: o.Keeps,
		copies: map[ID]*Copy{},
	}
	l.queues[name] = q
	return q
}

// RemoveQueue takes a queue that does not exist any more off the books: nothing
// of it may be seen again.
func (l *Ledger) RemoveQueue(q *Queue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queues[q.name] == q {
		delete(l.queues, q.name)
	}
	for _, c := range q.copies {
		l.note(c, "queue deleted")
		l.forget(c)
	}
}

// Copy is one message in one queue.
type Copy struct {
	id   ID
	q    *Queue
	life int // in which it was published, or last seen

	known  bool // it is durable, unless it is transient, its queue is, or it was settled
	stored bool // and even then it had been on the disk
	tx     *Tx  // it was published in, if that matters still
	pubAt  uint64
	stream *stream // of the channel that published it
	sentAt uint64  // in stream

	deliveredAt uint64 // 0 is never
	marked      bool   // that it was delivered is durable
	held        bool   // by a consumer

	settled   settlement
	settledBy *stream
	settledAt uint64 // in settledBy
	settleTx  *Tx

	dead   *Copy // its dead-lettered self, in another queue
	events []event
}

type settlement uint8

const (
	open     settlement = iota
	sent                // the settle was sent
	sentInTx            // it is part of settleTx
)

// event is one line of a message's history.
type event struct {
	at   time.Duration
	life int
	what string
}

// Chan is what the ledger knows of one channel: the order in which it sent
// things. It is used by one goroutine at a time.
type Chan struct {
	name    string
	l       *Ledger
	streams map[*Queue]*stream
}

// stream is the order of what one channel sent to one queue.
type stream struct {
	now     uint64
	durable uint64 // what was sent before is durable
	by      *Copy  // whose confirm says so
}

// Chan opens a channel.
func (l *Ledger) Chan(name string) *Chan {
	return &Chan{name: name, l: l, streams: map[*Queue]*stream{}}
}

func (c *Chan) stream(q *Queue) *stream {
	s := c.streams[q]
	if s == nil {
		s = &stream{}
		c.streams[q] = s
	}
	return s
}

func (l *Ledger) note(c *Copy, what string) {
	c.events = append(c.events, event{time.Since(l.start), l.life, what})
}

// forget takes a copy off the books.
func (l *Ledger) forget(c *Copy) {
	delete(c.q.copies, c.id)
	k := goneKey{c.q.name, c.id}
	l.gone[k] = c
	l.order = append(l.order, k)
	if len(l.order) > keepGone {
		delete(l.gone, l.order[0])
		l.order = l.order[1:]
	}
}

// Pub is a message on its way to some queues.
type Pub struct {
	ID     ID
	copies []*Copy
}

// Publish is written down before a message is sent that goes to those queues.
func (c *Chan) Publish(id ID, queues ...*Queue) *Pub { return c.publish(nil, id, queues) }

func (c *Chan) publish(tx *Tx, id ID, queues []*Queue) *Pub {
	l := c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &Pub{ID: id}
	l.stats.Published++
	for _, q := range queues {
		s := c.stream(q)
		q.now++
		s.now++
		m := &Copy{id: id, q: q, life: l.life, tx: tx, pubAt: q.now, stream: s, sentAt: s.now}
		q.copies[id] = m
		l.backlog++
		p.copies = append(p.copies, m)
		if tx == nil {
			l.note(m, "published by "+c.name)
		} else {
			l.note(m, "published in "+tx.name)
		}
	}
	return p
}

// Confirmed is written down when the ack of a publish came.
func (l *Ledger) Confirmed(p *Pub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Confirmed++
	for _, m := range p.copies {
		l.note(m, "confirmed")
		l.durable(m)
	}
}

// Nacked is written down when the nack of a publish came.
func (l *Ledger) Nacked(p *Pub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Nacked++
	for _, m := range p.copies {
		l.note(m, "nacked")
	}
}

// durable says that the publish of m is durable, and with it what was before.
func (l *Ledger) durable(m *Copy) {
	m.known = true
	if !m.persistent() || !m.q.durable || m.q.lossy || m.settled != open {
		return // a message that came and went may be confirmed and never be stored
	}
	m.stored = true
	if m.q.marked < m.pubAt {
		m.q.marked, m.q.markedBy = m.pubAt, m
	}
	if m.stream.durable < m.sentAt {
		m.stream.durable, m.stream.by = m.sentAt, m
	}
}

// Consuming is written down before a consumer or a get may be given messages of
// q. What it returns says that this is over.
func (l *Ledger) Consuming(q *Queue) (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q.consumers++
	life := l.life
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.life == life {
			q.consumers--
			q.now++
			q.consumedAt = q.now
		}
	}
}

// Delivered is written down when a message came from a queue. It gives nil if
// that was a violation.
func (l *Ledger) Delivered(q *Queue, by string, d *amqp.Delivery) *Copy {
	id, err := Check(d)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Delivered++
	if err != nil {
		l.violate(q, id, "queue %s gave %s: %v", q.name, by, err)
		return nil
	}
	m := q.copies[id]
	switch {
	case m == nil:
		l.violate(q, id, "queue %s gave %s message %s, which is not in it (any more)", q.name, by, id)
		return nil
	case l.stopping:
	case m.held:
		l.violate(q, id, "queue %s gave %s message %s, which somebody has already", q.name, by, id)
	case m.life == l.life && !m.unsettled():
		l.violate(q, id, "queue %s gave %s message %s, which was settled", q.name, by, id)
	case m.life == l.life && m.deliveredAt > 0 && !d.Redelivered:
		l.violate(q, id, "queue %s gave %s message %s again without saying so", q.name, by, id)
	}
	if m.life < l.life {
		l.survived(m, d.Redelivered)
		m.dead = nil
	}
	q.now++
	m.deliveredAt = q.now
	m.held = true
	if d.Redelivered {
		l.note(m, "delivered again to "+by)
	} else {
		l.note(m, "delivered to "+by)
	}
	return m
}

// settle is the part of a settle that is the same for all of them.
func (c *Chan) settle(m *Copy, what string) {
	s := c.stream(m.q)
	s.now++
	m.settled, m.settledBy, m.settledAt, m.settleTx = sent, s, s.now, nil
	m.held = false
	c.l.stats.Settled++
	c.l.backlog--
	c.l.note(m, what+" by "+c.name)
}

// Ack is written down before copies are acknowledged.
func (c *Chan) Ack(copies ...*Copy) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	for _, m := range copies {
		c.settle(m, "acked")
	}
}

// Purge is written down before a queue is purged of everything, by somebody who is
// alone with it.
func (c *Chan) Purge(q *Queue) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	for _, m := range q.copies {
		if m.settled == open {
			c.settle(m, "purged")
		}
	}
}

// Requeue is written down before copies are given back, be it by the end of a
// channel.
func (c *Chan) Requeue(copies ...*Copy) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	for _, m := range copies {
		m.held = false
		if m.settled == sentInTx {
			m.settled, m.settleTx = open, nil
		}
		c.l.note(m, "given back by "+c.name)
	}
}

// Reject is written down before a copy is rejected in a queue that dead-letters
// to another one. Nothing says when that is durable: the message leaves the one
// when it is in the other.
func (c *Chan) Reject(m *Copy, to *Queue) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.settle(m, "rejected")
	m.settledBy = &stream{}
	to.now++
	dead := &Copy{id: m.id, q: to, life: c.l.life, pubAt: to.now}
	dead.events = append(dead.events, m.events...)
	c.l.note(dead, "dead-lettered from "+m.q.name)
	to.copies[m.id] = dead
	m.dead = dead
}

// Stop is written down before the broker is asked to stop in order, which ends as
// a crash does.
func (l *Ledger) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping = true
}

// stoppedInOrder is how a life ended in which the broker could finish what it had to.
const stoppedInOrder = "stopped in order"

// howEnded tells how the life before ended.
func (l *Ledger) howEnded() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// Crash is written down when the broker's process has ended, and everybody who
// used it has read what it had sent.
func (l *Ledger) Crash(how string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range l.queues {
		q.now++
		if q.consumers > 0 {
			q.consumers, q.consumedAt = 0, q.now
		}
		for _, m := range q.copies {
			m.held = false
			// What a later life confirms says nothing of this one.
			m.marked = m.marked || m.life == l.life && m.deliveredAt > 0 && m.deliveredAt < q.marked
			if m.life == l.life {
				l.note(m, how)
			}
		}
		if !q.durable {
			for _, m := range q.copies {
				l.forget(m)
			}
			delete(l.queues, q.name)
		}
	}
	l.life++
	l.ended = how
	l.stopping = false
	l.backlog = 0
	for _, q := range l.queues {
		l.backlog += len(q.copies)
	}
}

func (l *Ledger) countDefinitions(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Definitions += n
}

// Backlog is how many messages are, or may be, in queues.
func (l *Ledger) Backlog() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.backlog
}

// Stats gives what was counted.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}
