package channel

import (
	"cmp"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/warrenmq/warren/intercept"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// deliveryCost is what a delivery counts in the outbox besides its body: its
// frames, and the memory that goes with it.
const deliveryCost = 128

// Cost is what a delivery of a body of size octets takes of the room that
// Config.MaxUnsent limits; Written gives it back.
func Cost(size int) int { return size + deliveryCost }

// consumer is one consumer of a channel. To its queue it is where deliveries go,
// and the gate that says when they may.
type consumer struct {
	ch    *Channel
	tag   string
	host  *queue.Host
	noAck bool
	spec  queue.Consumer     // as its queue was asked
	id    message.ConsumerID // set in the queue's turn before the first delivery
	waits bool               // stands in ch.waiting; guarded by ch.mu
	// unshared says that its queue knows nothing of a limit for the whole channel, which
	// came after the consumer.
	unshared bool
	// active says that it does not wait behind a single active consumer. It never
	// becomes false again.
	active atomic.Bool
}

// TryTake implements queue.Gate.
func (c *consumer) TryTake(size int) bool {
	if c.tryTake(size) {
		return true
	}
	ch := c.ch
	ch.mu.Lock()
	if !c.waits {
		c.waits = true
		ch.waiting = append(ch.waiting, c)
	}
	ch.mu.Unlock()
	// Room may have come before anybody could see that this one waits for it. If
	// so, the resume that it may get besides does no harm.
	return c.tryTake(size)
}

// tryTake asks both limits, of a channel that is open: while one closes its consumers
// are still there for a moment, and what they were given would come back at once, to be
// given to them again. It takes from the window first, and only if the
// prefetch has room: a prefetch of which it took the last place in vain would
// report, once given back, that there is room, and those who then ask again
// would do the same for ever.
func (c *consumer) tryTake(size int) bool {
	ch, cost := c.ch, Cost(size)
	if ch.closed.Load() {
		return false
	}
	if c.unshared {
		return ch.window.TryTake(cost)
	}
	if !ch.global.TryPass() || !ch.window.TryTake(cost) {
		return false
	}
	if c.noAck || ch.global.TryTake() {
		return true
	}
	ch.Written(cost)
	return false
}

// Deliver implements queue.Sink.
func (c *consumer) Deliver(ds []queue.Delivery) {
	ch := c.ch
	ch.mu.Lock()
	if ch.closed.Load() {
		ch.mu.Unlock()
		c.giveBack(ds)
		return
	}
	first := ch.tag + 1
	ch.tag += uint64(len(ds))
	if !c.noAck {
		for i := range ds {
			ch.unacked.push(unackedEntry{tag: first + uint64(i), host: c.host, id: ds[i].ID, by: c})
		}
		ch.watchUnacked()
	}
	ch.Out.Deliver(c.tag, first, ds)
	dropped := ch.dropped
	ch.dropped = 0
	ch.mu.Unlock()
	if dropped > 0 {
		ch.Written(dropped)
	}
}

// Dropped gives back the cost of deliveries that Out.Deliver does not pass on.
// Only Out.Deliver may call it, before it returns; what Written does would have
// to wait for it.
func (ch *Channel) Dropped(cost int) { ch.dropped += cost }

// giveBack returns deliveries that came too late for the channel.
func (c *consumer) giveBack(ds []queue.Delivery) {
	for i := range ds {
		ds[i].Msg.Release()
	}
	if c.noAck {
		return // lost, like those that the client never read
	}
	b := queue.NewBatch()
	for i := range ds {
		b.Settle(queue.Settle{ID: ds[i].ID, Consumer: c.id, Outcome: queue.Return})
	}
	c.host.PostLater(b)
}

// Place implements queue.OrderedSink: a queue's messages keep their order on a
// channel, whichever of its consumers gets them.
func (c *consumer) Place() any { return c.ch }

// Cancelled implements queue.Sink.
func (c *consumer) Cancelled() {
	ch := c.ch
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.stopWaiting(c)
	if ch.closed.Load() || ch.consumers[c.tag] != c {
		return
	}
	delete(ch.consumers, c.tag)
	ch.Out.Cancelled(c.tag)
}

// Credited implements queue.CreditSink.
func (c *consumer) Credited(available uint32) {
	c.tellCredit(func(out CreditOut) { out.CreditOK(available) })
}

// Drained implements queue.CreditSink.
func (c *consumer) Drained(unused uint32) {
	c.tellCredit(func(out CreditOut) { out.CreditDrained(c.tag, unused) })
}

func (c *consumer) tellCredit(tell func(CreditOut)) {
	out, ok := c.ch.Out.(CreditOut)
	if !ok {
		return
	}
	c.ch.mu.Lock()
	defer c.ch.mu.Unlock()
	if !c.ch.closed.Load() {
		tell(out)
	}
}

// Activated implements queue.ActiveSink.
func (c *consumer) Activated() { c.active.Store(true) }

// Left implements queue.LeavingSink.
func (c *consumer) Left() {
	if c.ch.watcher != nil {
		c.ch.watcher.ConsumerRemoved(c.ch, c.info())
	}
}

// Written gives back the cost of deliveries that the client's socket took, or
// that were dropped with the connection.
func (ch *Channel) Written(cost int) {
	if ch.window.Release(cost) {
		ch.resume()
	}
	if ch.pace.behind.Load() {
		ch.catchUp()
	}
}

// resume lets the queues of waiting consumers try again.
func (ch *Channel) resume() {
	ch.mu.Lock()
	waiting := ch.takeWaiting()
	ch.mu.Unlock()
	for i, c := range waiting {
		c.host.Resume(c.id, i+1 < len(waiting) && waiting[i+1].host == c.host)
	}
}

// takeWaiting empties the list of waiting consumers. The caller holds mu.
func (ch *Channel) takeWaiting() []*consumer {
	waiting := ch.waiting
	ch.waiting = nil
	for _, c := range waiting {
		c.waits = false
	}
	return waiting
}

// stopWaiting forgets a consumer whose queue asks for it no more, so that a
// client cannot pile up waiting ones by cancelling them. The caller holds mu.
func (ch *Channel) stopWaiting(c *consumer) {
	if c.waits {
		c.waits = false
		i := slices.Index(ch.waiting, c)
		ch.waiting = slices.Delete(ch.waiting, i, i+1)
	}
}

// Qos sets how many deliveries may be unacknowledged: for each consumer to come,
// or with global for all consumers of the channel together (contract 06 §3).
func (ch *Channel) Qos(size uint32, count int, global bool) error {
	m, err := intercepted(ch, intercept.Qos{PrefetchSize: size, PrefetchCount: count, Global: global})
	if err != nil {
		return err
	}
	size, count, global = m.PrefetchSize, m.PrefetchCount, m.Global
	if size != 0 {
		return reply.Errorf(reply.NotImplemented, "prefetch_size!=0 (%d)", size)
	}
	ch.flush()
	opened := false
	if global {
		ch.mu.Lock()
		n := ch.unacked.live
		ch.mu.Unlock()
		opened = ch.global.SetLimit(count, n)
	} else {
		ch.setMode(func(m *Mode) { m.Prefetch = count })
		opened = ch.global.SetLimit(0, 0)
	}
	if opened {
		ch.resume()
	}
	return nil
}

// Consume is basic.consume.
type Consume struct {
	Queue     string // empty for the queue declared last
	Tag       string // empty for one of the broker's making
	NoAck     bool
	Exclusive bool
	// Prefetch, if not 0, is the consumer's own limit instead of that which Qos
	// set; NoPrefetch is none.
	Prefetch  int
	Arguments message.Table
	// UniqueTag refuses the tag of the consumer of direct replies like that of any
	// other, for clients that know a consumer by its tag. RabbitMQ lets the two share it.
	UniqueTag bool
}

// NoPrefetch is the Prefetch of a consumer without a limit.
const NoPrefetch = -1

// Consume adds a consumer. ok is called with its tag before its first delivery,
// possibly on another goroutine but before Consume returns. From the pseudo-queue of
// direct reply-to it gets direct replies; a channel has one such consumer.
func (ch *Channel) Consume(c Consume, ok func(tag string)) error {
	ch.flush()
	if err := ch.interceptConsume(&c); err != nil {
		return err
	}
	name := c.Queue
	ch.mu.Lock()
	taken := ch.consumers[c.Tag] != nil
	ch.mu.Unlock()
	if rc := ch.replies.Load(); rc != nil && c.UniqueTag && name != directReply {
		taken = taken || rc.tag == c.Tag
	}
	if taken {
		return reply.Errorf(reply.NotAllowed, "attempt to reuse consumer tag '%s'", c.Tag)
	}
	if name == directReply {
		return ch.consumeReplies(c, ok)
	}
	if err := ch.mayReadQueue(name); err != nil {
		return err
	}
	h, err := ch.queue(name)
	if err != nil {
		return err
	}
	if err := queue.CheckConsumer(ch.VHost.QueueTypes(), h.Capabilities(), h.Spec(), c.Arguments); err != nil {
		return err
	}
	if ch.global.Limit() > 0 {
		if err := queue.CheckGlobalQos(h.Capabilities(), h.Spec()); err != nil {
			return err
		}
	}
	tag := c.Tag
	if tag == "" {
		tag = generated("amq.ctag-")
	}
	cons := &consumer{ch: ch, tag: tag, host: h, noAck: c.NoAck, unshared: !h.Capabilities().GlobalQos}
	cons.active.Store(!queue.SingleActive(h.Spec()))
	cons.spec = queue.Consumer{
		Tag: tag, NoAck: c.NoAck, Exclusive: c.Exclusive,
		Prefetch: cmp.Or(c.Prefetch, ch.mode.Prefetch), Arguments: c.Arguments, Gate: cons,
	}
	ch.mu.Lock()
	ch.consumers[tag] = cons
	ch.mu.Unlock()
	err = h.Consume(cons.spec, cons, func(id message.ConsumerID) { cons.id = id }, func() {
		if ch.watcher != nil {
			ch.watcher.ConsumerAdded(ch, cons.info())
		}
		ok(tag)
	})
	if err == nil {
		return nil
	}
	ch.mu.Lock()
	delete(ch.consumers, tag)
	ch.mu.Unlock()
	switch {
	case errors.Is(err, queue.ErrExclusiveUse):
		return reply.Errorf(reply.AccessRefused, "%s in exclusive use", ch.queueResource(name))
	case errors.Is(err, queue.ErrGone):
		return ch.noQueue(name)
	}
	return err
}

// CancelAndRequeue takes a consumer away, and what it has not settled goes back
// to the queue. AMQP has no such method; it is how a Go program leaves its loop.
func (ch *Channel) CancelAndRequeue(tag string) error {
	ch.mu.Lock()
	c := ch.consumers[tag]
	ch.mu.Unlock()
	if err := ch.Cancel(tag); err != nil || c == nil {
		return err
	}
	ch.mu.Lock()
	entries := ch.unacked.takeConsumer(c.host, c.id, ch.settled[:0])
	ch.mu.Unlock()
	ch.settle(entries, queue.Return, nil)
	ch.keepScratch(entries)
	ch.flush()
	return nil
}

// Cancel takes a consumer away. What was delivered to it stays unacknowledged.
// An unknown tag is fine.
func (ch *Channel) Cancel(tag string) error {
	ch.flush()
	if ch.cancelReplies(tag) {
		return nil
	}
	ch.mu.Lock()
	c := ch.consumers[tag]
	delete(ch.consumers, tag)
	ch.mu.Unlock()
	if c == nil {
		return nil
	}
	c.host.Cancel(c.id)
	ch.mu.Lock()
	ch.stopWaiting(c)
	ch.mu.Unlock()
	return nil
}
