package amqp091

import (
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/transport"
)

// confirms keeps the publishes of a channel in confirm mode that wait for their
// confirmation, or for that of an earlier one: listeners are told in order.
type confirms struct {
	mu        sync.Mutex
	on        bool
	listening bool
	published uint64 // the tag of the last publish
	first     uint64 // the tag of waiting[head]
	waiting   []pending
	head      int
	due       []amqp.Confirmation // what listeners have to be told
	told      []amqp.Confirmation // what take gave, for reuse
	answers   []channel.Answer    // scratch
}

// pending is one publish. Deferred is nil if nobody asked for it.
type pending struct {
	deferred *amqp.DeferredConfirmation
	outcome  outcome
}

type outcome uint8

const (
	unknown outcome = iota
	acked
	nacked
)

// begin is confirm mode.
func (c *confirms) begin() {
	c.mu.Lock()
	c.on = true
	c.mu.Unlock()
}

// listen says that somebody wants to be told.
func (c *confirms) listen() {
	c.mu.Lock()
	c.listening = true
	c.mu.Unlock()
}

// next is the tag of the next publish.
func (c *confirms) next() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.published + 1
}

// add counts a publish, if the channel is in confirm mode. It comes before the
// publish itself, and in the same order.
func (c *confirms) add(deferred bool) *amqp.DeferredConfirmation {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on {
		return nil
	}
	c.published++
	var p pending
	if deferred {
		p.deferred = newDeferred(c.published)
	}
	c.waiting = append(c.waiting, p)
	return p.deferred
}

// gather takes the answers that are due.
func (c *confirms) gather(m *transport.Memory) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on {
		c.answers = m.Confirms(c.answers[:0])
		c.settle(c.answers)
	}
}

// settle notes answers. The caller holds mu. Each is for publishes that wait.
func (c *confirms) settle(answers []channel.Answer) {
	for _, a := range answers {
		o := acked
		if a.Nack {
			o = nacked
		}
		from := a.Tag
		if a.Multiple {
			from = c.first
		}
		for tag := from; tag <= a.Tag; tag++ {
			c.waiting[c.head+int(tag-c.first)].settle(o)
		}
		c.pass()
	}
}

// settle notes the outcome of a publish, unless it has one.
func (p *pending) settle(o outcome) {
	if p.outcome != unknown {
		return
	}
	p.outcome = o
	if p.deferred != nil {
		resolve(p.deferred, o == acked)
		p.deferred = nil
	}
}

// pass takes the publishes off the head that have their outcome.
func (c *confirms) pass() {
	for c.head < len(c.waiting) && c.waiting[c.head].outcome != unknown {
		if c.listening {
			c.due = append(c.due, amqp.Confirmation{DeliveryTag: c.first, Ack: c.waiting[c.head].outcome == acked})
		}
		c.head++
		c.first++
	}
	// What was passed is dropped once it is the larger part.
	if 2*c.head >= len(c.waiting) {
		n := copy(c.waiting, c.waiting[c.head:])
		c.waiting, c.head = c.waiting[:n], 0
	}
}

// take gives what listeners have to be told. It is good until the next call.
func (c *confirms) take() []amqp.Confirmation {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due, c.told = c.told[:0], c.due
	return c.told
}

// close gives up what has no outcome.
func (c *confirms) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.waiting[c.head:] {
		c.waiting[c.head+i].settle(nacked)
	}
	c.waiting, c.head = nil, 0
}
