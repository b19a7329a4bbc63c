package queue

import "github.com/warrenmq/warren/message"

// hooked is a type that has something done before each call of a queue of
// another type, and something else after it.
type hooked struct {
	Type
	before func(call string)
	after  func(call string, out *Actions)
}

func (t hooked) Open(s Spec, env Env) (Queue, error) {
	q, err := t.Type.Open(s, env)
	return &hookedQueue{q, t}, err
}

type hookedQueue struct {
	q Queue
	t hooked
}

func (h *hookedQueue) around(call string, out *Actions) func() {
	if h.t.before != nil {
		h.t.before(call)
	}
	return func() {
		if h.t.after != nil {
			h.t.after(call, out)
		}
	}
}

func (h *hookedQueue) Enqueue(in []Publish, out *Actions) {
	defer h.around("Enqueue", out)()
	h.q.Enqueue(in, out)
}

func (h *hookedQueue) Settle(in []Settle, out *Actions) {
	defer h.around("Settle", out)()
	h.q.Settle(in, out)
}

func (h *hookedQueue) Consume(c Consumer, out *Actions) error {
	defer h.around("Consume", out)()
	return h.q.Consume(c, out)
}

func (h *hookedQueue) Cancel(id message.ConsumerID, why CancelReason, out *Actions) {
	defer h.around("Cancel", out)()
	h.q.Cancel(id, why, out)
}

func (h *hookedQueue) Get(ref GetRef, noAck bool, out *Actions) {
	defer h.around("Get", out)()
	h.q.Get(ref, noAck, out)
}

func (h *hookedQueue) Event(ev Event, out *Actions) {
	defer h.around("Event", out)()
	h.q.Event(ev, out)
}

func (h *hookedQueue) Purge(out *Actions) int {
	defer h.around("Purge", out)()
	return h.q.Purge(out)
}

func (h *hookedQueue) Delete(ifUnused, ifEmpty bool, out *Actions) (int, error) {
	defer h.around("Delete", out)()
	return h.q.Delete(ifUnused, ifEmpty, out)
}

func (h *hookedQueue) Stat() Stat {
	defer h.around("Stat", nil)()
	return h.q.Stat()
}
