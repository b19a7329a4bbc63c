package queue_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
)

// stack is a queue type as a user might write it: last in, first out. It shows
// that what package queue exports is all that a type needs, and that nothing in
// the host depends on the order of the classic type.
type stack struct{}

func (stack) Name() string { return "stack" }

func (stack) Capabilities() queue.Capabilities {
	return queue.Capabilities{Arguments: []string{"x-stack-depth"}, Transient: true, AutoDelete: true}
}

func (stack) Open(s queue.Spec, _ queue.Env) (queue.Queue, error) {
	q := &stackQueue{held: map[uint64]*message.Message{}}
	if n, ok := s.Arguments.Get("x-stack-depth"); ok {
		q.depth, _ = n.(int)
	}
	return q, nil
}

type stackItem struct {
	id          uint64
	msg         *message.Message
	redelivered bool
}

type stackQueue struct {
	depth     int // beyond it publishes are rejected; 0 is without limit
	last      uint64
	items     []stackItem // the top is the last
	held      map[uint64]*message.Message
	consumers []queue.Consumer
}

func (q *stackQueue) Enqueue(in []queue.Publish, out *queue.Actions) {
	for _, p := range in {
		refused := q.depth > 0 && len(q.items) == q.depth
		switch {
		case refused && p.Ref.Wanted():
			out.Reject = append(out.Reject, p.Ref)
		case p.Ref.Wanted():
			out.Confirm = append(out.Confirm, p.Ref)
		}
		if refused {
			p.Msg.Release()
			continue
		}
		q.last++
		q.items = append(q.items, stackItem{id: q.last, msg: p.Msg})
	}
	q.deliver(out)
}

func (q *stackQueue) pop() stackItem {
	top := q.items[len(q.items)-1]
	q.items = q.items[:len(q.items)-1]
	top.msg.Retain(1)
	q.held[top.id] = top.msg
	return top
}

func (q *stackQueue) deliver(out *queue.Actions) {
	for len(q.consumers) > 0 && len(q.items) > 0 {
		c := q.consumers[0]
		top := q.pop()
		out.Deliver = append(out.Deliver, queue.Delivery{Consumer: c.ID, ID: top.id, Msg: top.msg, Redelivered: top.redelivered})
		q.consumers = append(q.consumers[1:], c)
	}
}

func (q *stackQueue) Settle(in []queue.Settle, out *queue.Actions) {
	for _, e := range in {
		m := q.held[e.ID]
		if m == nil {
			continue
		}
		delete(q.held, e.ID)
		if e.Outcome == queue.Requeue {
			q.items = append(q.items, stackItem{e.ID, m, true})
		} else {
			m.Release()
		}
	}
	q.deliver(out)
}

func (q *stackQueue) Consume(c queue.Consumer, out *queue.Actions) error {
	q.consumers = append(q.consumers, c)
	q.deliver(out)
	return nil
}

func (q *stackQueue) Cancel(id message.ConsumerID, _ queue.CancelReason, _ *queue.Actions) {
	q.consumers = slices.DeleteFunc(q.consumers, func(c queue.Consumer) bool { return c.ID == id })
}

func (q *stackQueue) Get(ref queue.GetRef, _ bool, out *queue.Actions) {
	r := queue.GetReply{Ref: ref}
	if len(q.items) > 0 {
		top := q.pop()
		r.ID, r.Msg, r.Redelivered, r.Remaining = top.id, top.msg, top.redelivered, len(q.items)
	}
	out.Got = append(out.Got, r)
}

func (q *stackQueue) Event(queue.Event, *queue.Actions) {}

func (q *stackQueue) Purge(*queue.Actions) int {
	n := len(q.items)
	for _, it := range q.items {
		it.msg.Release()
	}
	q.items = nil
	return n
}

func (q *stackQueue) Delete(_, _ bool, out *queue.Actions) (int, error) {
	for _, m := range q.held {
		m.Release()
	}
	return q.Purge(out), nil
}

func (q *stackQueue) Stat() queue.Stat {
	return queue.Stat{Ready: len(q.items), Unacked: len(q.held), Consumers: len(q.consumers)}
}

// mailbox is a consumer of the stack.
type mailbox struct {
	mu        sync.Mutex
	bodies    []string
	ids       []uint64
	cancelled bool
}

func (m *mailbox) Deliver(ds []queue.Delivery) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range ds {
		m.bodies = append(m.bodies, string(d.Msg.Body()))
		m.ids = append(m.ids, d.ID)
		d.Msg.Release()
	}
}

func (m *mailbox) Cancelled() {
	m.mu.Lock()
	m.cancelled = true
	m.mu.Unlock()
}

// verdicts counts answers.
type verdicts struct{ confirmed, rejected int }

func (v *verdicts) Confirm(from, to uint64) { v.confirmed += int(to - from + 1) }
func (v *verdicts) Reject(uint64)           { v.rejected++ }

func TestAHostRunsATypeFromOutside(t *testing.T) {
	t.Parallel()
	types, err := queue.NewTypes(queue.Classic(), stack{})
	require.NoError(t, err)
	spec := queue.Spec{Name: "plates", VHost: "/", Type: "stack", Arguments: message.Table{
		{Name: "x-queue-type", Value: "stack"}, {Name: "x-stack-depth", Value: 4},
	}}
	typ, err := queue.CheckDeclare(types, spec)
	require.NoError(t, err)
	ended := 0
	h, err := queue.NewHost(typ, spec, queue.HostEnv{
		Go:   func(func()) bool { return false },
		Gone: func(*queue.Host, error) { ended++ },
	})
	require.NoError(t, err)

	var made []*message.Message
	v := &verdicts{}
	publish := func(bodies ...string) {
		b := queue.NewBatch()
		for _, body := range bodies {
			m := message.New("", "plates", []byte{0, 0}, len(body))
			m.AppendBody([]byte(body))
			m.Retain(1)
			made = append(made, m)
			b.Publish(queue.Publish{Msg: m, Ref: message.PublishRef{By: v, Seq: uint64(len(made))}})
		}
		h.Post(b)
	}
	publish("1", "2", "3", "4", "5")
	require.Equal(t, verdicts{confirmed: 4, rejected: 1}, *v)

	h.Get(false, func(r queue.GetReply) {
		require.Equal(t, "4", string(r.Msg.Body()))
		require.Equal(t, 3, r.Remaining)
		r.Msg.Release()
	})
	m := &mailbox{}
	var id message.ConsumerID
	require.NoError(t, h.Consume(queue.Consumer{}, m, func(i message.ConsumerID) { id = i }, func() {}))
	require.Equal(t, []string{"3", "2", "1"}, m.bodies)
	b := queue.NewBatch()
	b.Settle(queue.Settle{ID: m.ids[2], Consumer: id, Outcome: queue.Requeue})
	b.Settle(queue.Settle{ID: m.ids[0], Consumer: id, Outcome: queue.Ack})
	h.Post(b)
	require.Equal(t, []string{"3", "2", "1", "1"}, m.bodies)
	h.Cancel(id)
	publish("6")
	s, err := h.Stat()
	require.NoError(t, err)
	require.Equal(t, queue.Stat{Ready: 1, Unacked: 3}, s)

	require.NoError(t, h.Delete(false, false, func(n int) { require.Equal(t, 1, n) }))
	require.Equal(t, 1, ended)
	require.False(t, m.cancelled, "it had cancelled itself")
	for _, x := range made {
		require.EqualValues(t, 1, x.Refs(), "%s", x.Body())
	}
}
