package queue

import "github.com/warrenmq/warren/message"

// pendingAnswers are the publishes that a queue was given and has not answered,
// so that its host can answer them if the queue fails.
type pendingAnswers struct {
	// turn are those of the call of Enqueue under way: a queue without a store
	// answers within the call.
	turn []Publish
	// late are those of a queue with a store; nil for others.
	late map[message.PublishRef]struct{}
	// most is how many late ones there were at once.
	most int
}

// expect notes who waits for an answer.
func (a *pendingAnswers) expect(in []Publish) {
	if a.late == nil {
		a.turn = in
		return
	}
	for i := range in {
		if in[i].Ref.Wanted() {
			a.late[in[i].Ref] = struct{}{}
		}
	}
	a.most = max(a.most, len(a.late))
}

// given notes that the publishes were answered.
func (a *pendingAnswers) given(refs []message.PublishRef) {
	if a.late == nil {
		return
	}
	for _, r := range refs {
		delete(a.late, r)
	}
	if len(a.late) == 0 && a.most > maxKept {
		// A map never shrinks; a burst must not keep its memory.
		a.late, a.most = map[message.PublishRef]struct{}{}, 0
	}
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
	for r := range a.late {
		r.By.Reject(r.Seq)
	}
	a.turn, a.late = nil, nil
}
