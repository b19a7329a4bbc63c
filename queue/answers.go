package queue

import "github.com/warrenmq/warren/message"

// pendingAnswers are the publishes that a queue was given and has not answered,
// so that its host can answer them if the queue fails.
type pendingAnswers struct {
	// turn are those of the call of Enqueue under way: a queue without a store
	// answers within the call.
	turn []Publish
	// stored says that the queue has a store, which may answer later.
	stored bool
	// late is made when it is needed: most of many queues are idle.
	late *lateAnswers
}

// lateAnswers are the publishes that were not answered within their call, in the order
// of the calls. The queue mostly answers in that order; early are those that it
// answered while older ones wait.
type lateAnswers struct {
	fifo[message.PublishRef]
	early map[message.PublishRef]struct{}
}

// expect notes who waits for an answer.
func (a *pendingAnswers) expect(in []Publish) {
	if !a.stored {
		a.turn = in
		return
	}
	for i := range in {
		if !in[i].Ref.Wanted() {
			continue
		}
		if a.late == nil {
			a.late = &lateAnswers{}
		}
		a.late.push(in[i].Ref)
	}
}

// given notes that the publishes were answered.
func (a *pendingAnswers) given(refs []message.PublishRef) {
	l := a.late
	if l == nil {
		return
	}
	for _, r := range refs {
		if l.len() == 0 || *l.first() != r {
			if l.early == nil {
				l.early = map[message.PublishRef]struct{}{}
			}
			l.early[r] = struct{}{}
			continue
		}
		l.pop()
		for len(l.early) > 0 && l.len() > 0 && l.wasEarly(*l.first()) {
			l.pop()
		}
	}
	if l.len() == 0 {
		l.early = nil // a map never shrinks; a burst must not keep its memory
	}
}

// wasEarly reports whether a publish was answered before an older one, and forgets
// that.
func (l *lateAnswers) wasEarly(r message.PublishRef) bool {
	_, ok := l.early[r]
	delete(l.early, r)
	return ok
}

// applied says that the answers of the call under way were given.
func (a *pendingAnswers) applied() { a.turn = nil }

// rejectAll rejects what was not answered.
func (a *pendingAnswers) rejectAll() {
	for i := range a.turn {
		if r := a.turn[i].Ref; r.Wanted() {
			r.By.Reject(r.Seq)
		}
	}
	if l := a.late; l != nil {
		for _, r := range l.all() {
			if !l.wasEarly(r) {
				r.By.Reject(r.Seq)
			}
		}
	}
	a.turn, a.late = nil, nil
}
