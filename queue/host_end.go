package queue

import (
	"cmp"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/warrenmq/warren/message"
)

// fail ends a queue whose code panicked or broke the contract, or whose recovery
// failed: publishes that were not answered are rejected, consumers are cancelled.
// What the store has of it stays there.
func (h *Host) fail(err error) {
	h.leaveAtoms(err)
	h.work = new(workspace) // what the old one holds is anybody's guess
	h.end(err, nil)
	h.answers.rejectAll()
}

// end closes the host. tell, if set, is called after the rest of the broker
// forgot the queue for good, or could not, and before its consumers hear of it.
func (h *Host) end(err error, tell func(error)) {
	if h.ended {
		return
	}
	// Before the host is closed, so that whoever is told that the queue is gone
	// knows that its consumers are.
	for _, a := range h.consumers {
		left(a.sink)
	}
	h.mu.Lock()
	h.closed, h.ended, h.lost = true, true, err
	in, events, room := h.in, h.events, h.room
	h.in, h.events, h.room = nil, nil, nil
	h.mu.Unlock()
	if h.wake != nil {
		h.wake.Stop()
	}
	h.env.Gone(h, err)
	consumers := slices.SortedFunc(maps.Values(h.consumers), inOrderOfTags)
	told := func(unsettled error) {
		if tell != nil {
			tell(unsettled)
		}
		for _, a := range consumers {
			a.sink.Cancelled()
		}
	}
	if err == nil && h.env.Settle != nil {
		h.env.Settle(told)
	} else {
		told(nil)
	}
	for _, got := range h.gets {
		got(GetReply{Err: ErrGone})
	}
	clear(h.consumers)
	clear(h.lanes)
	clear(h.gets)
	h.recent = nil
	if room != nil {
		close(room)
	}
	if in != nil {
		h.refuse(in)
	}
	for _, e := range events {
		drop(e)
	}
	if h.env.Log != nil && err == nil {
		h.env.Log.Drop()
		h.answerAtoms()
	}
}

// confirmGone confirms publishes that went with the queue, once it is gone for
// good: until then a crash brings it back, and without them. If that cannot be made
// durable they are rejected.
func (h *Host) confirmGone(refs []message.PublishRef) {
	switch {
	case len(refs) == 0:
	case h.env.Settle == nil:
		tellPublishers(refs, true)
	default:
		h.env.Settle(func(err error) { tellPublishers(refs, err == nil) })
	}
}

// inOrderOfTags is the order in which RabbitMQ cancels a channel's consumers of a
// queue that is gone.
func inOrderOfTags(a, b *attached) int {
	return cmp.Or(strings.Compare(a.tag, b.tag), cmp.Compare(a.id, b.id))
}

// refuse answers a batch for a queue that is gone. RabbitMQ confirms a publish to
// a queue that was deleted, rejects one that a queue lost because it failed, and
// ignores a settle (contract 06 §2, §6). An atom goes on without a queue that was
// deleted, but not without one that failed: what the store has of it comes back.
// The host is closed: lost does not change any more.
func (h *Host) refuse(b *Batch) {
	var gone []message.PublishRef
	for i := range b.publishes {
		p := &b.publishes[i]
		p.Msg.Release()
		if p.Atom != nil {
			p.Atom.Leave(h.lost)
		}
		switch {
		case !p.Ref.Wanted():
		case h.lost != nil:
			p.Ref.By.Reject(p.Ref.Seq)
		default:
			gone = append(gone, p.Ref)
		}
	}
	h.confirmGone(gone)
	for i := range b.settles {
		if a := b.settles[i].Atom; a != nil {
			a.Leave(h.lost)
		}
	}
	for _, do := range b.controls {
		do(true)
	}
}

// panicked is the error of a queue whose type panicked with v. It is made while
// the panic is being recovered and tells where it was.
func panicked(s Spec, v any) error {
	return failure(s, "its type %s panicked: %v\n%s", s.Type, v, debug.Stack())
}

func failure(s Spec, format string, args ...any) error {
	return fmt.Errorf("%s: %w", resource(s), fmt.Errorf(format, args...))
}
