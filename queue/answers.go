package queue

import "github.com/warrenmq/warren/message"

// pendingAnswers are the publishes that a queue was given and has not answered,
// so that its host can answer them if the queue fails.
type pendingAnswers struct {
	// turn are those of the call of Enqueue under way: a queue without a store
	// answers within the call.
	turn []Publish
	// stored says that the queue has a store: what it does not answer within the
	// call is in late, in the order of the calls. It mostly answers in that order;
	// early are those that it answered while older ones wait.
	stored bool
	late   fifo[message.PublishRef]
	early  map[message.PublishRef]struct{}
}

// expect notes who waits for an answer.
func (a *pendingAnswers) expect(in []Publish) {
	if !a.stored {
		a.turn = in
		return
	}
	for i := range in {
		if in[i].Ref.Wanted() {
			a.late.push(in[i].Ref)
		}
	}
}

// given notes that the publishes were answered.
func (a *pendingAnswers) given(refs []message.PublishRef) {
	if !a.stored {
		return
	}
	for _, r := range refs {
		if a.late.len() == 0 || *a.late.first() != r {
			if a.early == nil {
				a.early = map[message.PublishRef]struct{}{}
			}
			a.early[r] = struct{}{}
			continue
		}
		a.late.pop()
		for len(a.early) > 0 && a.late.len() > 0 && a.wasEarly(*a.late.first()) {
			a.late.pop()
		}
	}
	if a.late.len() == 0 {
		a.early = nil // a map never shrinks; a burst must not keep its memory
	}
}

// wasEarly reports whether a publish was answered before an older one, and forgets
// that.
func (a *pendingAnswers) wasEarly(r message.PublishRef) bool {
	_, ok := a.early[r]
	delete(a.early, r)
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
	for _, r := range a.late.all() {
		if !a.wasEarly(r) {
			r.By.Reject(r.Seq)
		}
	}
	a.turn, a.late, a.early = nil, fifo[message.PublishRef]{}, nil
}
