package crashtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// load is all who work with the broker during one of its lives.
type load struct {
	p    broker
	l    *Ledger
	t    *topology
	name string // of this life
	ctx  context.Context
	wg   sync.WaitGroup
	// moments is told, if somebody listens, that something was sent which takes more
	// than one step.
	moments chan struct{}
	// cut is set when the broker is in this process and goes on without its disk: what it
	// says from then on is said by nobody.
	cut atomic.Bool
}

// moment says that a crash would be interesting now.
func (o *load) moment() {
	select {
	case o.moments <- struct{}{}:
	default:
	}
}

// run starts somebody with a connection of their own. Errors of theirs are those
// of a connection that ends with the broker, unless the broker refused something.
func (o *load) run(name string, seed uint64, f func(a *actor) error) {
	o.wg.Go(func() {
		conn, err := o.p.dial()
		if err != nil {
			return // it was killed already
		}
		defer conn.Close()
		a := &actor{load: o, conn: conn, name: o.name + "." + name, r: rand.New(rand.NewPCG(seed, 1))}
		a.closed = conn.NotifyClose(make(chan *amqp.Error, 1))
		o.report(a.name, f(a))
	})
}

// errCut is what the disk of a machine says that has stopped under a broker which
// does not know it yet. The broker passes it on.
var errCut = errors.New("the machine has stopped")

// report makes a violation of what the broker refused.
func (o *load) report(name string, err error) {
	var refused *refusal
	var e *amqp.Error
	switch {
	case o.cut.Load():
		return
	case errors.As(err, &refused):
	case errors.As(err, &e) && strings.Contains(e.Reason, errCut.Error()):
		return
	case errors.As(err, &e) && e.Server && e.Code != amqp.ConnectionForced:
	default:
		return
	}
	o.l.Violate(nil, "%s was refused something: %v", name, err)
}

// actor is one connection's user.
type actor struct {
	*load
	conn     *amqp.Connection
	closed   chan *amqp.Error
	name     string
	r        *rand.Rand
	channels int
}

// channel is a channel of an actor, of which the ledger knows.
type channel struct {
	*amqp.Channel
	log *Chan
	seq uint64

	mu      sync.Mutex
	pending []pending // oldest first
	window  chan struct{}
	drained chan struct{} // closed when no confirm comes any more
}

// pending is a publish that waits for its answer.
type pending struct {
	pub    *Pub
	answer *amqp.DeferredConfirmation
}

func (a *actor) open() (*channel, error) {
	ch, err := a.conn.Channel()
	if err != nil {
		return nil, err
	}
	a.channels++
	return &channel{Channel: ch, log: a.l.Chan(fmt.Sprintf("%s.%d", a.name, a.channels))}, nil
}

// nextID gives the id of the next message of the channel.
func (c *channel) nextID(persistent bool) ID {
	c.seq++
	return ID{c.log.name, c.seq, persistent}
}

// confirms puts the channel into confirm mode, with so many publishes unanswered
// at most.
func (c *channel) confirms(window int) error {
	if err := c.Confirm(false); err != nil {
		return err
	}
	c.window, c.drained = make(chan struct{}, window), make(chan struct{})
	// The listener is told of all answers in the order of the publishes; but not always
	// what they were: it takes an ack of several for that of one among them which was
	// nacked before. The deferred confirmation knows.
	answers := c.NotifyPublish(make(chan amqp.Confirmation, window))
	go func() {
		defer close(c.drained)
		for range answers {
			c.mu.Lock()
			p := c.pending[0]
			c.pending = c.pending[1:]
			c.mu.Unlock()
			if p.answer.Acked() {
				c.log.l.Confirmed(p.pub)
			} else {
				c.log.l.Nacked(p.pub)
			}
			<-c.window
		}
	}()
	return nil
}

// send publishes in confirm mode.
func (a *actor) send(c *channel, id ID, r route) error {
	select {
	case c.window <- struct{}{}:
	case <-a.ctx.Done():
		return a.ctx.Err()
	case err := <-a.closed:
		return err
	}
	p := c.log.Publish(id, r.queues...)
	c.mu.Lock() // its answer may be faster
	defer c.mu.Unlock()
	answer, err := c.PublishWithDeferredConfirmWithContext(a.ctx, r.exchange, r.key, false, false, id.Content())
	if err != nil {
		return err // it was not sent whole, and nobody answers
	}
	c.pending = append(c.pending, pending{p, answer})
	return nil
}

// quiesce waits until all publishes are answered.
func (a *actor) quiesce(c *channel) error {
	for range cap(c.window) {
		select {
		case c.window <- struct{}{}:
		case <-a.ctx.Done():
			return a.ctx.Err()
		case err := <-a.closed:
			return err
		}
	}
	for range cap(c.window) {
		<-c.window
	}
	return nil
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// maxBacklog is how many messages may be in queues before publishers wait.
const maxBacklog = 30_000

// publisher publishes with confirms, as fast as its window lets it.
func publisher(a *actor) error {
	c, err := a.open()
	if err != nil {
		return err
	}
	if err := c.confirms(pick(a.r, []int{1, 10, 100, 1000})); err != nil {
		return err
	}
	defer func() {
		_ = a.conn.Close() // ends the confirms
		<-c.drained
	}()
	for {
		r := pick(a.r, a.t.routes)
		for range 1 + a.r.IntN(100) {
			if err := a.send(c, c.nextID(a.r.IntN(4) > 0), r); err != nil {
				return err
			}
		}
		for a.l.Backlog() > maxBacklog {
			select {
			case <-time.After(5 * time.Millisecond):
			case <-a.ctx.Done():
				return a.ctx.Err()
			case err := <-a.closed:
				return err
			}
		}
	}
}

// transactions publishes and acknowledges in transactions.
func transactions(a *actor) error {
	c, err := a.open()
	if err != nil {
		return err
	}
	if err := c.Tx(); err != nil {
		return err
	}
	var held []*Copy // with their tags
	var tags []uint64
	for n := 1; ; n++ {
		tx := c.log.Begin(n)
		for range a.r.IntN(4) {
			q := a.t.queues[pick(a.r, []string{"q0", "q1", "q2", "q3"})]
			for range 1 + a.r.IntN(5) {
				m, tag, err := a.get(c, q)
				if err != nil {
					return err
				}
				if m != nil {
					held, tags = append(held, m), append(tags, tag)
				}
			}
		}
		for _, i := range a.r.Perm(len(held))[:a.r.IntN(len(held)+1)] {
			tx.Ack(held[i])
			if err := c.Ack(tags[i], false); err != nil {
				return err
			}
		}
		count := a.r.IntN(20)
		if a.l.Backlog() < maxBacklog {
			switch a.r.IntN(60) {
			case 0:
				count = 4000 // more than a store takes at a time
			case 1, 2, 3, 4, 5, 6:
				count = 300 // more than a queue takes at a time
			}
		}
		for range count {
			r := pick(a.r, a.t.routes)
			id := c.nextID(a.r.IntN(4) > 0)
			tx.Publish(id, r.queues...)
			if err := c.PublishWithContext(a.ctx, r.exchange, r.key, false, false, id.Content()); err != nil {
				return err
			}
		}
		if a.r.IntN(5) == 0 {
			if err := c.TxRollback(); err != nil {
				return err
			}
			tx.RolledBack()
			continue
		}
		tx.Commit()
		if count > 100 {
			a.moment()
		}
		if err := c.TxCommit(); err != nil {
			return err
		}
		tx.Committed()
		kept, keptTags := held[:0], tags[:0]
		for i, m := range held {
			if m.settleTx != tx {
				kept, keptTags = append(kept, m), append(keptTags, tags[i])
			}
		}
		held, tags = kept, keptTags
	}
}

// get takes one message, nil if there is none.
func (a *actor) get(c *channel, q *Queue) (*Copy, uint64, error) {
	defer a.l.Consuming(q)()
	d, ok, err := c.Get(q.name, false)
	if err != nil || !ok {
		return nil, 0, err
	}
	if d.Type == probeType {
		return nil, 0, c.Ack(d.DeliveryTag, false)
	}
	m := a.l.Delivered(q, c.log.name, &d)
	if m == nil {
		return nil, 0, errors.New("a violation")
	}
	return m, d.DeliveryTag, nil
}
