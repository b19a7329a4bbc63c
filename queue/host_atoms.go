package queue

// atomRun is what a queue was handed in one call, to leave the atoms of it once
// what the queue wants stored has been submitted.
//
// Each publish and each settle is a participant of its atom. It leaves whether or
// not its queue had anything to store: a message that is transient or went
// straight to a consumer, an acknowledgement of one that the store never had, a
// queue that was deleted meanwhile. So a store never waits for a queue that has
// nothing to say.
type atomRun struct {
	publishes []Publish
	settles   []Settle
}

// leave leaves the atoms; err says why what belongs to them was not submitted.
func (r *atomRun) leave(err error) {
	for i := range r.publishes {
		if a := r.publishes[i].Atom; a != nil {
			a.Leave(err)
		}
	}
	for i := range r.settles {
		if a := r.settles[i].Atom; a != nil {
			a.Leave(err)
		}
	}
	r.publishes, r.settles = nil, nil
}
