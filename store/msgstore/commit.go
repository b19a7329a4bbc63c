package msgstore

import (
	"cmp"
	"runtime"
	"slices"
	"time"

	"github.com/warrenmq/warren/store"
)

// commit is the committer's goroutine.
func (s *Store) commit() {
	defer close(s.done)
	for {
		in, ok := s.take()
		if !ok {
			return
		}
		begin := time.Now()
		s.round(in)
		s.ended(time.Since(begin))
		// Who was just told goes on to submit more. Without this the committer would
		// take what came meanwhile before they can, and publishers would fall into two
		// halves that wait for each other's groups.
		runtime.Gosched()
	}
}

func (s *Store) ended(cost time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pace.ended(cost)
}

// take waits for something to do and takes it all. It reports false when there
// is nothing left after Close.
func (s *Store) take() (in inbox, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	backlog := (s.more || len(s.dropping)+len(s.garbage)+len(s.unsaved)+len(s.owed) > 0) && !s.noSpace && s.failed == nil
	for s.in.empty() && !backlog {
		if s.closing {
			if s.ending || len(s.queues)+len(s.unsaved)+len(s.owed) == 0 {
				s.finish()
				return inbox{}, false
			}
			s.ending = true // a last round
			break
		}
		s.work.Wait()
	}
	s.hold()
	in, s.in = s.in, inbox{}
	s.pace.taken, s.pace.pending = s.pace.pending, 0
	for _, q := range in.queues {
		if q.dropped.Load() {
			continue
		}
		q.taken = append(q.taken, q.pending...)
		clear(q.pending)
		q.pending = q.pending[:0]
		if cap(q.pending) > maxKept {
			q.pending = nil
		}
		if !q.listed {
			q.listed = true
			s.queues = append(s.queues, q)
		}
	}
	return in, true
}

// maxKept is how many entries a list keeps room for when it is emptied.
const maxKept = 1024

// finish gives back what could not be written.
func (s *Store) finish() {
	s.finished = true
	s.lost = len(s.unsaved)+len(s.queues)+len(s.owed) > 0
	for _, q := range s.queues {
		for _, sub := range q.taken {
			release(sub.ops)
		}
		q.taken = nil
	}
	s.queues = nil
}

// round carries out what was taken.
func (s *Store) round(in inbox) {
	g := &s.group
	g.begin()
	for _, a := range in.complete {
		s.atoms[a] = struct{}{}
	}
	for _, q := range in.dropped {
		s.discard(q)
	}
	// Of a queue that was dropped the definition goes first: a crash must not bring
	// it back empty.
	leaving := deletes(s.owed) || slices.ContainsFunc(in.definitions, func(d defined) bool { return deletes(d.changes) })
	if s.noSpace {
		g.relieve(!leaving)
	}
	for _, m := range in.merges {
		s.replace(m)
	}
	for _, r := range in.rewrites {
		g.rewrite(r)
	}
	// First, so that no message is durable before the queue that it is in.
	g.define(s.owed)
	for i := range in.definitions {
		d := &in.definitions[i]
		if d.err = g.refused(d.changes); d.err != nil {
			d.changes = nil
		}
		g.define(d.changes)
	}
	if s.noSpace && leaving {
		g.relieve(true)
	}
	s.prepare()
	for _, q := range s.queues {
		g.run(q, position{}, q.plain)
	}
	if s.atomChanges > 0 && !g.fits(s.atomBytes, s.atomChanges) {
		g.flush() // or what is there would share the fate of an atom that does not fit
	}
	g.atomic = true
	for _, q := range s.queues {
		if q.ready != q.plain {
			g.run(q, q.plain, q.ready)
		}
	}
	for _, d := range in.definitions {
		g.calls = append(g.calls, call{done: d.done, err: d.err})
	}
	g.bury()
	g.sweep()
	g.last = true
	g.flush()
	s.owe(in.definitions)
	if in.retry && s.noSpace && g.failing == nil {
		s.probe()
	}
	carry := g.failing != nil && s.failed == nil && !g.tooLarge && !g.atomsWritten
	for _, q := range s.queues {
		s.settle(q, carry)
	}
	s.queues = slices.DeleteFunc(s.queues, func(q *queue) bool {
		q.listed = len(q.taken) > 0
		return !q.listed
	})
	if !slices.ContainsFunc(s.queues, func(q *queue) bool { return hasAtoms(q.taken) }) {
		clear(s.atoms)
	}
	s.sharing.reset()
	s.compact(len(in.rewrites)+len(in.merges) > 0)
}

// owe keeps the changes of definitions of a round that failed: the last one of each
// kind and key.
func (s *Store) owe(definitions []defined) {
	if s.group.failing == nil || s.failed != nil || s.group.spares {
		s.owed = nil
		return
	}
	all := s.owed
	for _, d := range definitions {
		all = append(all, d.changes...)
	}
	seen := make(map[string]struct{}, len(all))
	kept := len(all)
	for i := len(all) - 1; i >= 0; i-- {
		key := string(definitionKey(&all[i]))
		if _, later := seen[key]; !later {
			seen[key] = struct{}{}
			kept--
			all[kept] = all[i]
		}
	}
	s.owed = all[kept:]
}

// deletes says that there are definitions that go.
func deletes(changes []Definition) bool {
	return slices.ContainsFunc(changes, func(d Definition) bool { return d.Delete })
}

func hasAtoms(subs []submit) bool {
	return slices.ContainsFunc(subs, func(s submit) bool { return s.hasAtoms })
}

// discard forgets what a dropped queue still wanted, and lists its packs to be
// deleted.
func (s *Store) discard(q *queue) {
	for _, sub := range q.taken {
		release(sub.ops)
	}
	q.taken, q.discarded = nil, true
	q.mu.Lock()
	packs := q.index.packs
	q.index.packs, q.index.gone = nil, 0
	q.mu.Unlock()
	for _, p := range packs {
		if !p.gone {
			s.dropping = append(s.dropping, dirtyPack{q, p})
		}
	}
}

// settle takes what a round was about off a queue's list. With carry, the atoms
// of the round are kept to be tried again.
func (s *Store) settle(q *queue, carry bool) {
	var carried []store.Op
	q.each(q.plain, q.ready, func(ops []store.Op) {
		for i := range ops {
			op := &ops[i]
			if op.Atom == nil {
				continue
			}
			if carry {
				if op.Kind != cancelled {
					carried = append(carried, *op)
				}
				continue
			}
			delete(s.atoms, op.Atom)
			if op.Kind == store.Append {
				op.Msg.Release()
			}
		}
	})
	rest := q.taken
	if n := q.ready.submit; n > 0 || q.ready.op > 0 {
		rest = rest[n:]
		if q.ready.op > 0 {
			rest[0].ops = rest[0].ops[q.ready.op:]
			rest[0].err = cmp.Or(rest[0].err, s.group.failing)
		}
	}
	if len(carried) > 0 {
		rest = slices.Insert(slices.Clone(rest), 0, submit{ops: carried, hasAtoms: true})
	}
	kept := copy(q.taken[:cap(q.taken)], rest)
	if kept < len(rest) {
		q.taken = rest
	} else {
		clear(q.taken[kept:max(kept, len(q.taken))])
		q.taken = q.taken[:kept]
	}
	if kept == 0 && cap(q.taken) > maxKept {
		q.taken = nil
	}
	q.plain, q.ready = position{}, position{}
}

// each calls do for the ops between two positions, submit by submit.
func (q *queue) each(from, to position, do func(ops []store.Op)) {
	for i := from.submit; i < len(q.taken) && i <= to.submit; i++ {
		ops := q.taken[i].ops
		if i == to.submit {
			ops = ops[:to.op]
		}
		if i == from.submit {
			ops = ops[from.op:]
		}
		do(ops)
	}
}
