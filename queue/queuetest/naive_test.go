package queuetest_test

import (
	"slices"
	"testing"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/queue/queuetest"
)

// naive is a queue type as a user might write it, in memory and with no thought
// for speed: it shows that the contract is all that a type needs.
type naive struct{}

func (naive) Name() string { return "naive" }

func (naive) Capabilities() queue.Capabilities {
	return queue.Capabilities{Transient: true, Exclusive: true, AutoDelete: true}
}

func (naive) Open(s queue.Spec, _ queue.Env) (queue.Queue, error) {
	return &naiveQueue{autoDelete: s.AutoDelete}, nil
}

type naiveItem struct {
	id          uint64
	msg         *message.Message
	redelivered bool
}

type naiveConsumer struct {
	queue.Consumer
	held int
	shut bool
}

type naiveQueue struct {
	autoDelete bool
	lastID     uint64
	ready      []*naiveItem
	held       map[uint64]*naiveItem
	consumers  []*naiveConsumer // whose turn it is comes first
}

func (q *naiveQueue) Enqueue(in []queue.Publish, out *queue.Actions) {
	for _, p := range in {
		q.lastID++
		q.ready = append(q.ready, &naiveItem{id: q.lastID, msg: p.Msg})
		if p.Ref.Wanted() {
			out.Confirm = append(out.Confirm, p.Ref)
		}
	}
	q.deliver(out)
}

func (q *naiveQueue) deliver(out *queue.Actions) {
	for i := 0; i < len(q.consumers) && len(q.ready) > 0; {
		c := q.consumers[i]
		full := !c.NoAck && c.Prefetch > 0 && c.held >= c.Prefetch
		if full || c.shut {
			i++
			continue
		}
		if c.Gate != nil && !c.Gate.TryTake(q.ready[0].msg.Size()) {
			c.shut = true
			continue
		}
		it := q.take(c.NoAck)
		out.Deliver = append(out.Deliver, queue.Delivery{Consumer: c.ID, ID: it.id, Msg: it.msg, Redelivered: it.redelivered})
		if !c.NoAck {
			c.held++
		}
		q.consumers = append(slices.Delete(q.consumers, i, i+1), c)
		i = 0
	}
}

// take takes the first ready message with a reference for who gets it.
func (q *naiveQueue) take(noAck bool) *naiveItem {
	it := q.ready[0]
	q.ready = q.ready[1:]
	if !noAck {
		it.msg.Retain(1)
		if q.held == nil {
			q.held = map[uint64]*naiveItem{}
		}
		q.held[it.id] = it
	}
	return it
}

func (q *naiveQueue) Settle(in []queue.Settle, out *queue.Actions) {
	for _, e := range in {
		it := q.held[e.ID]
		if it == nil {
			continue
		}
		delete(q.held, e.ID)
		for _, c := range q.consumers {
			if c.ID == e.Consumer {
				c.held--
			}
		}
		if e.Outcome != queue.Requeue {
			it.msg.Release()
			continue
		}
		it.redelivered = true
		i, _ := slices.BinarySearchFunc(q.ready, it.id, func(x *naiveItem, id uint64) int { return int(x.id) - int(id) })
		q.ready = slices.Insert(q.ready, i, it)
	}
	q.deliver(out)
}

func (q *naiveQueue) Consume(c queue.Consumer, out *queue.Actions) error {
	if len(q.consumers) > 0 && (c.Exclusive || q.consumers[0].Exclusive) {
		return queue.ErrExclusiveUse
	}
	q.consumers = append(q.consumers, &naiveConsumer{Consumer: c})
	q.deliver(out)
	return nil
}

func (q *naiveQueue) Cancel(id message.ConsumerID, _ queue.CancelReason, out *queue.Actions) {
	n := len(q.consumers)
	q.consumers = slices.DeleteFunc(q.consumers, func(c *naiveConsumer) bool { return c.ID == id })
	out.Gone = q.autoDelete && n == 1 && len(q.consumers) == 0
}

func (q *naiveQueue) Get(ref queue.GetRef, noAck bool, out *queue.Actions) {
	r := queue.GetReply{Ref: ref}
	if len(q.ready) > 0 {
		it := q.take(noAck)
		r = queue.GetReply{Ref: ref, ID: it.id, Msg: it.msg, Redelivered: it.redelivered, Remaining: len(q.ready)}
	}
	out.Got = append(out.Got, r)
}

func (q *naiveQueue) Event(ev queue.Event, out *queue.Actions) {
	if ev.Kind != queue.Resume {
		return
	}
	for _, c := range q.consumers {
		if c.ID == ev.Consumer {
			c.shut = false
		}
	}
	q.deliver(out)
}

func (q *naiveQueue) Purge(*queue.Actions) int {
	n := len(q.ready)
	for _, it := range q.ready {
		it.msg.Release()
	}
	q.ready = nil
	return n
}

func (q *naiveQueue) Delete(ifUnused, ifEmpty bool, out *queue.Actions) (int, error) {
	switch {
	case ifEmpty && len(q.ready) > 0:
		return 0, queue.ErrNotEmpty
	case ifUnused && len(q.consumers) > 0:
		return 0, queue.ErrInUse
	}
	for _, it := range q.held {
		it.msg.Release()
	}
	q.held = nil
	return q.Purge(out), nil
}

func (q *naiveQueue) Stat() queue.Stat {
	s := queue.Stat{Ready: len(q.ready), Unacked: len(q.held), Consumers: len(q.consumers)}
	for _, it := range q.ready {
		s.ReadyBytes += int64(it.msg.Size())
	}
	return s
}

func TestATypeFromOutsideKeepsTheContract(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, naive{})
}
