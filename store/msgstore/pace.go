package msgstore

import "time"

// pace decides when the committer begins a round.
//
// Publishers who keep a window of messages unconfirmed tend to fall into halves: one
// is written while the other is answered, published anew and waits. Each half then
// costs a commit, which costs nearly what a commit of both would. Such publishers
// are recognised by what they have in flight, which is the same in round after round
// where others come and go as they like. The committer lets them complete their
// window before it begins.
//
// It is guarded by Store.mu.
type pace struct {
	// pending are the appends that were submitted and not taken, taken those of the
	// round under way.
	pending, taken int
	// inFlight were both together when the publishers of the latest round were
	// answered, and steady is for how many rounds that has not changed.
	inFlight, last, steady int
	// cost is how long the latest round took.
	cost time.Duration
	// wanted is what the committer waits for, 0 if it does not.
	wanted int
}

const (
	// steadyRounds is for how many rounds what is in flight must be the same before
	// the committer waits for all of it.
	steadyRounds = 8
	// leastCost is how long a round must take to be worth waiting for others.
	leastCost = 50 * time.Microsecond
	// longestWait bounds the wait, which is at most twice what a round takes: who
	// was recognised wrongly, or stops publishing, is waited for once.
	longestWait = 5 * time.Millisecond
)

// answered notes what is in flight now that the publishers of a group are told.
func (p *pace) answered() { p.inFlight = p.taken + p.pending }

// ended notes the end of a round.
func (p *pace) ended(cost time.Duration) {
	p.cost = cost
	if p.taken == 0 {
		return
	}
	if p.inFlight != p.last {
		p.last, p.steady = p.inFlight, 0
		return
	}
	p.steady++
}

// window gives how many appends should be there before a round begins; 0 if it is
// to begin at once.
func (p *pace) window() int {
	if p.steady < steadyRounds || p.cost < leastCost || p.pending >= p.last {
		return 0
	}
	return p.last
}

// hold waits until the publishers have completed their window. mu is held.
func (s *Store) hold() {
	p := &s.pace
	p.wanted = p.window()
	if p.wanted == 0 {
		return
	}
	late := false
	timer := time.AfterFunc(min(2*p.cost, longestWait), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		late = true
		s.work.Signal()
	})
	for p.pending < p.wanted && !late && !s.closing && s.in.onlyQueues() {
		s.work.Wait()
	}
	timer.Stop()
	if late {
		p.steady = 0
	}
	p.wanted = 0
}
