package queue

import (
	"fmt"
	"slices"
	"time"

	"github.com/warrenmq/warren/message"
)

// queueModel is the reference model of a queue type. What it is asked is done when it
// returns, and time passes for it only with tick.
type queueModel interface {
	state() *modelState
	// begin is what a queue does when it is there, or there again.
	begin()
	// publish reports whether the message was taken.
	publish(modelMessage) bool
	// settle settles deliveries, each with its outcome.
	settle([]*modelDelivery, []Outcome)
	// consume reports whether the consumer was taken.
	consume(*modelConsumer) bool
	// cancel ends a consumer, be it that its channel ended.
	cancel(c *modelConsumer, channelEnded bool)
	// get gives what a basic.get does, nil of an empty queue, and how many it says
	// remain.
	get(noAck bool) (d *modelDelivery, remaining int)
	// resume gives the gate of a consumer more room.
	resume(c *modelConsumer, room int)
	// purge gives the number of messages that were dropped.
	purge() int
	// declared is that somebody declared the queue again.
	declared()
	// obey obeys another policy.
	obey(arguments, policy message.Table)
	// tick is the time that passes, and setTimer the end of each step.
	tick()
	setTimer()
	// restart ends the broker and begins anew with what is stored.
	restart()
	stat() Stat
}

// modelState is what the models of all types have.
type modelState struct {
	rules modelRules
	// durable says that messages survive a restart, of a classic queue the persistent ones.
	durable, autoDelete bool

	held []*modelDelivery
	next int // the number of the next message

	all  []*modelConsumer // by how long they are there
	turn []*modelConsumer // who may be able to take something, by how long they wait
	// active is the single active consumer, and waiting says that it begins when
	// something happens to the one before.
	active  *modelConsumer
	waiting bool

	used time.Time // for x-expires
	gone bool
	// dead are the dead letters since somebody looked.
	dead []string
}

func (m *modelState) state() *modelState { return m }

// anew gives what is left of it in the next run of the broker.
func (m *modelState) anew() modelState {
	return modelState{rules: m.rules, durable: m.durable, autoDelete: m.autoDelete, next: m.next}
}

// modelMessage is one message. Its body begins with its number, which is the order
// in which messages were published.
type modelMessage struct {
	body        string
	ttl         int // of its own in milliseconds; -1 without
	priority    int
	persistent  bool
	redelivered bool
	expiry      time.Time // zero for never
	// count is how often it came back, and position where a quorum queue has it stored.
	count, position int
	by              int // its publisher
}

func (x modelMessage) overdue() bool { return !x.expiry.IsZero() && !time.Now().Before(x.expiry) }

// modelDelivery is what somebody got.
type modelDelivery struct {
	modelMessage
	to *modelConsumer // nil for a basic.get
	id uint64         // what the real queue called it
}

// modelConsumer is a consumer of the model.
type modelConsumer struct {
	name             int
	noAck, exclusive bool
	prefetch         int
	lent             int // room beyond it
	priority         int
	gate, gated      bool
	room             int // of its gate
	held             int
	expect           []*modelDelivery // what it got since somebody looked
	activated        bool             // it became the active one
}

func (c *modelConsumer) full() bool { return !c.noAck && c.prefetch > 0 && c.held-c.lent >= c.prefetch }

// over reports whether so many messages and octets are too many.
func (m *modelState) over(messages, octets int) bool {
	r := &m.rules
	return r.maxLength >= 0 && messages > r.maxLength || r.maxBytes >= 0 && octets > r.maxBytes
}

// stamp sets when a message expires, and reports whether it does: the lower one of its
// time to live and the queue's counts (contract 05 §5).
func (m *modelState) stamp(x *modelMessage) bool {
	ttl := x.ttl
	if m.rules.ttl >= 0 && (ttl < 0 || m.rules.ttl < ttl) {
		ttl = m.rules.ttl
	}
	if ttl >= 0 {
		x.expiry = time.Now().Add(time.Duration(ttl) * time.Millisecond)
	}
	return ttl >= 0
}

func (m *modelState) die(x modelMessage, why Reason) {
	if m.rules.buries {
		m.dead = append(m.dead, fmt.Sprint(x.body, " ", why, " ", m.rules.dlx, " ", m.rules.rekey))
	}
}

// takeTurn takes the one whose turn it is out of turn: of the highest priority, who
// has waited longest and can take something. It gives nil if there is none.
func (m *modelState) takeTurn() *modelConsumer {
	for {
		next := m.first()
		if m.rules.single {
			next = slices.Index(m.turn, m.active)
		}
		if next < 0 || m.rules.single && m.waiting {
			return nil
		}
		c := m.turn[next]
		m.turn = slices.Delete(m.turn, next, next+1)
		switch {
		case c.full():
		case c.gate && c.room == 0:
			c.gated = true
		default:
			return c
		}
	}
}

// hand gives a message to the one whose turn it was.
func (m *modelState) hand(x modelMessage, c *modelConsumer) {
	d := &modelDelivery{modelMessage: x, to: c}
	if c.gate {
		c.room--
	}
	c.expect = append(c.expect, d)
	if !c.noAck {
		c.held++
		m.held = append(m.held, d)
	}
	m.turn = append(m.turn, c)
}

// takeBack takes a delivery from who held it.
func (m *modelState) takeBack(d *modelDelivery) {
	m.held = slices.DeleteFunc(m.held, func(x *modelDelivery) bool { return x == d })
	if d.to != nil {
		d.to.held--
		m.join(d.to)
	}
}

// widen gives the gate of a consumer more room.
func (m *modelState) widen(c *modelConsumer, room int) {
	m.waiting = false
	if c.gate {
		c.room += room
	}
	if c.gated {
		c.gated = false
		m.join(c)
	}
}

func (m *modelState) first() int {
	next := -1
	for i, c := range m.turn {
		if next < 0 || c.priority > m.turn[next].priority {
			next = i
		}
	}
	return next
}

func (m *modelState) join(c *modelConsumer) {
	if !c.gated && !slices.Contains(m.turn, c) && slices.Contains(m.all, c) {
		m.turn = append(m.turn, c)
	}
}

func (m *modelState) remove(c *modelConsumer) {
	is := func(x *modelConsumer) bool { return x == c }
	m.all, m.turn = slices.DeleteFunc(m.all, is), slices.DeleteFunc(m.turn, is)
	if c == m.active {
		m.active = nil
	}
}
