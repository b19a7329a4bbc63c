package queue

import (
	"cmp"
	"iter"
	"slices"

	"github.com/warrenmq/warren/message"
)

// consumers are the consumers of a classic queue. Those of one priority that may
// be able to take a delivery stand in a ring and are served in turn, as long as
// none of a higher priority can take it. One that turns out to be full, or whose
// gate is shut, when its turn comes leaves its ring, and joins its end when it has
// room again (contract 05 §4 and §8, rabbit_queue_consumers).
//
// Those of a channel that left their rings keep an order, too. Where the gate of a
// channel was found shut, no consumer of the channel is asked before its Resume. One of
// them that is not full any more until then waits with the others, and all that wait, in
// their order, go behind those that are still full: RabbitMQ lets them all try then, and
// in vain. This is what makes a limit for all of a channel go round among its consumers.
//
// With a single active consumer nobody else gets anything, whether that one can
// take more or not. The others wait in their rings, which do not turn.
type consumers struct {
	byID      map[message.ConsumerID]*taker
	rings     []*ring         // highest priority first
	home      *family         // of one channel: mostly there is no other
	families  map[any]*family // of the others, by place
	exclusive bool
	single    bool // there is a single active consumer
	// waiting says that it does not begin yet: it does when the one before settles
	// something, or a message or consumer comes.
	waiting bool
	// fifo says that they are treated as quorum queues treat theirs: the single active
	// one is followed by the one that has waited longest, and who holds something is
	// there.
	fifo bool
	// holding are consumers that are gone and still hold something; fetched is how much
	// was taken with basic.get and not settled.
	holding  map[message.ConsumerID]*bygone
	fetched  int
	active   *taker // the single active one; nil if there is none, and without single
	draining int    // how many consumers have a credit to be used up
	last     *taker // the one settled last, to look it up without the map
}

// ring is where the consumers of one priority take turns. It is there while there
// are any, in turn or not.
type ring struct {
	priority int64
	members  int
	circle   // from whose turn it is; empty if nobody can take anything
}

// circle is an order of consumers, in which the last one is before the first.
type circle struct{ first *taker }

// taker is one consumer.
type taker struct {
	Consumer
	held       int
	lent       int // room that it has beyond its prefetch
	credit     credit
	gated      bool    // its channel's gate was found shut; waits for Resume
	asked      bool    // it was its own gate that said no, so that the Resume is its own
	ring       *ring   // that of its priority
	family     *family // that of its channel
	in         *circle // where it stands: in its ring, or among the blocked of its family
	next, prev *taker
}

// admits asks the consumer's gate for room.
func (t *taker) admits(size int) bool { return t.Gate == nil || t.Gate.TryTake(size) }

// inTurn reports whether it stands in its ring.
func (t *taker) inTurn() bool { return t.in == &t.ring.circle }

// full reports that the consumer got as many deliveries as it may for now.
func (t *taker) full() bool {
	if t.credit.metered {
		return t.credit.left <= 0
	}
	return !t.NoAck && t.Prefetch > 0 && t.held-t.lent >= t.Prefetch
}

// took counts a delivery.
func (t *taker) took() {
	if !t.NoAck {
		t.held++
	}
	if t.credit.metered {
		t.credit.left--
	}
}

func (c *consumers) add(spec Consumer) error {
	if c.exclusive || spec.Exclusive && (c.single || len(c.byID) > 0) {
		return ErrExclusiveUse
	}
	t := &taker{Consumer: spec, ring: c.ringOf(consumerPriority(spec.Arguments)), family: c.familyOf(spec.Place)}
	t.ring.members++
	t.family.members++
	if c.byID == nil {
		c.byID = map[message.ConsumerID]*taker{} // many queues never have a consumer
	}
	c.byID[spec.ID] = t
	c.exclusive = spec.Exclusive
	if len(c.holding) > 0 {
		c.inherit(t)
	}
	t.join()
	return nil
}

// consumerPriority is x-priority, which CheckConsumer has seen to be an integer.
func consumerPriority(args message.Table) int64 {
	v, _ := args.Get(argConsumerPriority)
	n, _ := message.Int(v)
	return n
}

// ringOf gives the ring of a priority.
func (c *consumers) ringOf(priority int64) *ring {
	i, ok := slices.BinarySearchFunc(c.rings, priority, func(r *ring, p int64) int {
		return cmp.Compare(p, r.priority)
	})
	if !ok {
		c.rings = slices.Insert(c.rings, i, &ring{priority: priority})
	}
	return c.rings[i]
}

// remove takes a consumer out and gives it; nil if it was not there.
func (c *consumers) remove(id message.ConsumerID) *taker {
	t := c.byID[id]
	if t == nil {
		return nil
	}
	delete(c.byID, id)
	t.moveTo(nil)
	if t.gated {
		t.family.gated--
	}
	if t.family.members--; t.family.members == 0 {
		c.forget(t.family)
	}
	if t.ring.members--; t.ring.members == 0 {
		c.rings = slices.DeleteFunc(c.rings, func(r *ring) bool { return r == t.ring })
	}
	if t == c.last {
		c.last = nil
	}
	if t == c.active {
		c.active = nil
	}
	c.set(t, credit{})
	if t.held > 0 || len(c.holding) > 0 {
		c.keep(t)
	}
	c.exclusive = false
	return t
}

// elect fills the place of the single active consumer if it is empty: with the
// one of the highest priority that has waited longest. It gives who it is, or 0 if
// nothing changed.
func (c *consumers) elect() message.ConsumerID {
	if !c.single || c.active != nil || len(c.rings) == 0 {
		return 0
	}
	// Whoever waits is in its ring: it was never asked to take anything.
	c.active = c.rings[0].first
	if c.fifo {
		for _, t := range c.byID {
			if t.ID < c.active.ID {
				c.active = t
			}
		}
	}
	return c.active.ID
}

// none reports whether nobody uses the queue.
func (c *consumers) none() bool {
	return len(c.byID) == 0 && (!c.fifo || len(c.holding) == 0 && c.fetched == 0)
}

// counted is how many consumers a quorum queue has.
func (c *consumers) counted() int {
	n := len(c.byID)
	for _, g := range c.holding {
		if g.heir == nil {
			n++
		}
	}
	return n + c.fetched
}

// front gives the consumer whose turn it is, or nil.
func (c *consumers) front() *taker {
	if c.single {
		return c.frontActive()
	}
	if len(c.rings) == 1 { // mostly, and nobody is full
		if t := c.rings[0].first; t != nil && !t.full() {
			return t
		}
	}
	for _, r := range c.rings {
		for r.first != nil {
			if !r.first.full() {
				return r.first
			}
			r.first.leave()
		}
	}
	return nil
}

// frontActive gives the single active consumer if it may be able to take a
// delivery.
func (c *consumers) frontActive() *taker {
	t := c.active
	if t == nil || c.waiting || !t.inTurn() {
		return nil
	}
	if t.full() {
		t.leave()
		return nil
	}
	return t
}

// able reports whether somebody may be able to take a delivery. Unlike front it is
// nobody's turn: who is full keeps its place.
func (c *consumers) able() bool {
	if c.single {
		t := c.active
		return t != nil && !c.waiting && t.inTurn() && !t.full()
	}
	for _, r := range c.rings {
		for t := r.first; t != nil; {
			if !t.full() {
				return true
			}
			if t = t.next; t == r.first {
				break
			}
		}
	}
	return false
}

// rotate ends the turn of a consumer that got a delivery. To a quorum queue one that
// can take no more is out of turn at once, and comes last when it can again; to a
// classic one not before its next turn.
func (c *consumers) rotate(t *taker) {
	switch {
	case c.single:
	case c.fifo && t.full():
		t.leave()
	default:
		t.ring.first = t.next
	}
}

// returned notes that a consumer's delivery was settled.
func (c *consumers) returned(id message.ConsumerID) {
	t := c.last
	if t == nil || t.ID != id {
		if t = c.byID[id]; t == nil {
			c.letGo(id)
			return
		}
		c.last = t
	}
	if t.held--; !t.inTurn() { // mostly it is, and nothing is to be done
		c.freed(t)
	}
}

// letGo notes that a delivery was settled of a consumer that is gone.
func (c *consumers) letGo(id message.ConsumerID) {
	g := c.holding[id]
	if g == nil {
		return
	}
	if g.held--; g.held == 0 {
		delete(c.holding, id)
	}
	if h := g.heir; h != nil {
		if c.fifo {
			h.held--
		} else {
			h.lent++
		}
		if !h.inTurn() {
			c.freed(h)
		}
	}
}

// lend gives a consumer that is about to settle something, or its heir, room for another
// delivery, beyond what that makes. RabbitMQ's quorum queues count twice what came back
// once too often (rabbit_fifo:return/5), so that more is delivered than the prefetch allows.
func (c *consumers) lend(id message.ConsumerID) {
	t := c.byID[id]
	if g := c.holding[id]; g != nil {
		t = g.heir
	}
	if t != nil {
		t.lent++
	}
}

// bygone is a consumer that is gone and still holds something.
type bygone struct {
	place any
	tag   string
	held  int
	// heir is the consumer that came after it with the same tag on the same channel: to
	// a quorum queue it is the same one, and holds what this one does. A classic queue
	// gives it the room that this one makes when it settles something, beyond its own.
	heir *taker
}

// keep notes what a consumer that goes holds, if anything.
func (c *consumers) keep(t *taker) {
	held := t.held
	for _, g := range c.holding {
		if g.heir == t {
			g.heir = nil
			if c.fifo {
				held -= g.held
			}
		}
	}
	if held == 0 {
		return
	}
	if c.holding == nil {
		c.holding = map[message.ConsumerID]*bygone{}
	}
	c.holding[t.ID] = &bygone{place: t.Place, tag: t.Tag, held: held}
}

// inherit makes a new consumer the heir of those of its name before it.
func (c *consumers) inherit(t *taker) {
	if t.Place == nil {
		return // it is on no channel
	}
	for _, g := range c.holding {
		if g.heir == nil && g.place == t.Place && g.tag == t.Tag {
			g.heir = t
			if c.fifo {
				t.held += g.held
			}
		}
	}
}

// join puts the consumer at the end of its ring.
func (t *taker) join() { t.moveTo(&t.ring.circle) }

// moveTo takes the consumer from where it stands to the end of another circle; nil is
// none.
func (t *taker) moveTo(c *circle) {
	if t.in == c {
		return
	}
	if from := t.in; from != nil {
		if t.next == t {
			from.first = nil
		} else {
			t.prev.next, t.next.prev = t.next, t.prev
			if from.first == t {
				from.first = t.next
			}
		}
	}
	t.in = c
	switch {
	case c == nil:
		t.next, t.prev = nil, nil
	case c.first == nil:
		c.first, t.next, t.prev = t, t, t
	default:
		last := c.first.prev
		last.next, t.prev = t, last
		t.next, c.first.prev = c.first, t
	}
}

// all goes once around the circle, as it stands at the beginning. The one at which it is
// may be moved.
func (c *circle) all() iter.Seq[*taker] {
	return func(yield func(*taker) bool) {
		if c.first == nil {
			return
		}
		last := c.first.prev
		for t := c.first; ; {
			next := t.next
			if !yield(t) || t == last {
				return
			}
			t = next
		}
	}
}
