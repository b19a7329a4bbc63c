package msgstore

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/warrenmq/warren/store"
)

// queue is the store.Log of one queue.
type queue struct {
	s  *Store
	id uint64

	// Guarded by s.mu.
	pending []submit
	// appends are the submits with an Append that were not answered yet, and
	// lowest their lowest position: what a Load has to wait for.
	appends int32
	// loads are the Loads that wait for appends.
	loads  int32
	lowest uint64

	// taken is what the committer took and has not carried out, from which part
	// is ready in this round: up to and without plain, what needs no atom, and
	// from there up to and without ready, what must be written as one.
	taken        []submit
	plain, ready position
	listed       bool // in s.queues
	discarded    bool // its packs are in s.dropping, or in the group
	// small is how many small packs there have been since some were merged, and
	// merging says that the queue is in s.merging or some are being merged.
	merging bool
	small   int

	mu    sync.Mutex // guards index and the packs in it against readers
	index index
	// replacing is closed when the merge that is being written is in the index; nil
	// while there is none. It is guarded by mu.
	replacing chan struct{}

	// Guarded by s.readers.mu.
	reads   []read
	reading bool

	dropped atomic.Bool // set under s.mu
}

var _ store.Log = (*queue)(nil)

// submit is one call of Submit.
type submit struct {
	ops      []store.Op
	done     func(error)
	appends  bool
	hasAtoms bool
	err      error // of the part that was tried already
}

// position is a place in a list of submits: that of an op.
type position struct{ submit, op int }

// noAppends is queue.lowest while no Append is pending.
const noAppends = math.MaxUint64

func newQueue(s *Store, id uint64) *queue {
	return &queue{s: s, id: id, lowest: noAppends}
}

// Submit implements store.Log.
func (q *queue) Submit(ops []store.Op, done func(error)) {
	sub := submit{ops: ops, done: done}
	appends, lowest := 0, uint64(noAppends)
	var atoms []*store.Atom
	for i := range ops {
		op := &ops[i]
		if op.Kind == store.Append {
			appends++
			lowest = min(lowest, op.Seq)
		}
		if op.Atom != nil {
			sub.hasAtoms = true
			if len(atoms) == 0 || atoms[len(atoms)-1] != op.Atom {
				atoms = append(atoms, op.Atom)
			}
		}
	}
	if !q.submit(sub, appends, lowest) {
		release(ops)
		if !q.dropped.Load() {
			go done(ErrClosed)
		}
		return
	}
	for _, a := range atoms {
		a.Whole(func(error) { q.s.completed(a) }) // void asks for the error
	}
}

// submit hands a submit with a number of appends to the committer, if there is one.
func (q *queue) submit(sub submit, appends int, lowest uint64) bool {
	s := q.s
	sub.appends = appends > 0
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished || q.dropped.Load() {
		return false
	}
	if len(q.pending) == 0 {
		s.in.queues = append(s.in.queues, q)
		s.work.Signal()
	}
	q.pending = append(q.pending, sub)
	if sub.appends {
		q.appends++
		q.lowest = min(q.lowest, lowest)
		if s.pace.pending += appends; s.pace.wanted > 0 && s.pace.pending >= s.pace.wanted {
			s.work.Signal()
		}
	}
	return true
}

// completed is told that an atom waits for nobody any more.
func (s *Store) completed(a *store.Atom) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in.complete = append(s.in.complete, a)
	s.work.Signal()
}

// Load implements store.Log. Messages that were submitted before are found: if
// some in the range are not durable yet, the Load waits until they are.
func (q *queue) Load(r store.Range, done func([]store.Loaded, error)) {
	rd := read{q: q, r: r, loaded: done}
	q.s.mu.Lock()
	wait := q.loads > 0 || q.appends > 0 && q.lowest <= r.To
	if wait {
		q.loads++
	}
	q.s.mu.Unlock()
	add := func(error) {
		q.s.readers.add(rd)
		q.s.mu.Lock()
		q.loads--
		q.s.mu.Unlock()
	}
	switch {
	case !wait:
		q.s.readers.add(rd)
	case !q.submit(submit{done: add}, 0, 0):
		add(nil)
	}
}

// Recover implements store.Log. It is called before anything is submitted.
func (q *queue) Recover(batch func([]store.Entry), done func(error)) {
	q.s.readers.add(read{q: q, batch: batch, recovered: done})
}

// Drop implements store.Log.
func (q *queue) Drop() {
	s := q.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.dropped.Swap(true) {
		return
	}
	for _, sub := range q.pending {
		release(sub.ops)
	}
	q.pending = nil
	delete(s.logs, q.id)
	if !s.finished {
		s.in.dropped = append(s.in.dropped, q)
		s.work.Signal()
	}
}

// release gives the references of appends back.
func release(ops []store.Op) {
	for i := range ops {
		if ops[i].Kind == store.Append && ops[i].Msg != nil {
			ops[i].Msg.Release()
			ops[i].Msg = nil
		}
	}
}
