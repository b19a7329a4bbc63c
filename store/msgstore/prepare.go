package msgstore

import (
	"cmp"
	"slices"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// cancelled is the kind of an Op that needs not be carried out any more.
const cancelled store.OpKind = 0

// prepare finds out what is ready in this round: everything before the first op
// of an atom on its own, and everything from there up to the first that has to
// wait, as one.
func (s *Store) prepare() {
	atoms := false
	s.more, s.atomBytes, s.atomChanges = false, 0, 0
	for _, q := range s.queues {
		q.plain = position{submit: len(q.taken)}
		q.ready = q.plain
		atoms = atoms || hasAtoms(q.taken)
	}
	if atoms {
		for _, q := range s.queues {
			s.void(q)
		}
		s.cut()
	}
	appending := 0
	for _, q := range s.queues {
		if s.sharing.merge(q) {
			appending++
		}
	}
	if appending > 1 {
		for _, q := range s.queues {
			s.sharing.look(q, s.opts.ShareFrom)
		}
	}
}

// void takes the ops of atoms off that failed, or that nobody will complete any
// more.
func (s *Store) void(q *queue) {
	for i := range q.taken {
		sub := &q.taken[i]
		if !sub.hasAtoms {
			continue
		}
		for j := range sub.ops {
			op := &sub.ops[j]
			if op.Atom == nil {
				continue
			}
			var why error
			if _, complete := s.atoms[op.Atom]; complete {
				why = op.Atom.Err()
			} else if s.ending || s.failed != nil {
				why = cmp.Or(s.failed, ErrClosed)
			}
			if why == nil {
				continue
			}
			release(sub.ops[j : j+1])
			*op = store.Op{Kind: cancelled, Seq: op.Seq}
			sub.err = why
		}
	}
}

// cut finds what must wait. An atom is ready if it is complete and none of its
// ops is behind one that is not ready; so what is not ready spreads until
// nothing changes. What remains is written in one Apply, in which the order in
// which atoms cross each other does not matter.
//
// For it to fit into one, atoms beyond a budget wait for the next round, unless
// they hold each other up so that there would be none.
func (s *Store) cut() {
	for budget := s.group.limit.MaxBytes / 2; ; budget *= 2 {
		waiting := map[*store.Atom]struct{}{}
		s.more = s.overBudget(budget, waiting)
		for s.spread(waiting) {
		}
		if !s.more || slices.ContainsFunc(s.queues, func(q *queue) bool { return q.ready != position{} }) {
			return
		}
	}
}

// overBudget adds the atoms to waiting that are complete and for which there is
// no room, and reports whether there are any.
func (s *Store) overBudget(budget int64, waiting map[*store.Atom]struct{}) (over bool) {
	// A change costs an entry's key at least, by which the number of changes is
	// kept within limits, too.
	perChange := max(changeSlack, s.limits.MaxBytes/int64(max(s.limits.MaxChanges, 1))*2)
	admitted := map[*store.Atom]struct{}{}
	used, changes := int64(0), 0
	for _, q := range s.queues {
		first := true
		state := stateSize(q.index.largest, 1) + perChange
		for i := range q.taken {
			for j := range q.taken[i].ops {
				op := &q.taken[i].ops[j]
				if _, complete := s.atoms[op.Atom]; complete {
					first = false
					if _, in := admitted[op.Atom]; !in && used > budget {
						waiting[op.Atom] = struct{}{}
						over = true
					} else {
						admitted[op.Atom] = struct{}{}
					}
				}
				switch {
				case first || op.Kind == cancelled:
				case op.Kind == store.Append:
					used += slotSize + perChange
					changes += slackChanges
				case op.To > op.Seq:
					packs := 1 + q.index.packsIn(op.Seq, op.To)
					used += state * int64(packs)
					changes += slackChanges * packs
				default:
					used += state
					changes += slackChanges
				}
			}
		}
	}
	s.atomBytes, s.atomChanges = used, changes
	return over
}

// spread finds how far each queue is ready if those atoms wait, and reports
// whether that makes others wait.
func (s *Store) spread(waiting map[*store.Atom]struct{}) (changed bool) {
	for _, q := range s.queues {
		q.plain = position{submit: len(q.taken)}
		q.ready = q.plain
		first, blocked := true, false
		for i := range q.taken {
			if !q.taken[i].hasAtoms {
				continue
			}
			for j := range q.taken[i].ops {
				a := q.taken[i].ops[j].Atom
				if a == nil {
					continue
				}
				if first {
					q.plain, first = position{i, j}, false
				}
				_, complete := s.atoms[a]
				_, waits := waiting[a]
				if !blocked && (!complete || waits) {
					q.ready, blocked = position{i, j}, true
				}
				if blocked && !waits {
					waiting[a] = struct{}{}
					changed = true
				}
			}
		}
	}
	return changed
}

// sharing finds, in what is ready in a round, what cancels out and what is
// shared.
type sharing struct {
	appends []*store.Op
	seen    map[*message.Message]int32 // 1, or 2 + the place in at
	at      []sharedAt
}

// sharedAt is where a message was put; pack is nil before it was.
type sharedAt struct {
	pack *sharedPack
	slot uint32
}

func (h *sharing) reset() {
	clear(h.appends[:cap(h.appends)])
	h.appends = h.appends[:0]
	if len(h.seen) > 1<<16 {
		h.seen = nil
	}
	clear(h.seen)
	clear(h.at)
	h.at = h.at[:0]
}

// merge lets removals and marks take effect on appends that are not written
// yet, and reports whether there are appends at all.
func (h *sharing) merge(q *queue) (appends bool) {
	appends = h.mergeRun(q, position{}, q.plain)
	return h.mergeRun(q, q.plain, q.ready) || appends
}

func (h *sharing) mergeRun(q *queue, from, to position) bool {
	h.appends = h.appends[:0]
	q.each(from, to, func(ops []store.Op) {
		for i := range ops {
			op := &ops[i]
			switch op.Kind {
			case store.Append:
				h.add(op)
			case store.Remove, store.Delivered:
				h.apply(op)
			}
		}
	})
	return len(h.appends) > 0
}

func (h *sharing) add(op *store.Op) {
	if n := len(h.appends); n == 0 || h.appends[n-1].Seq < op.Seq {
		h.appends = append(h.appends, op)
		return
	}
	i, same := h.search(op.Seq)
	if same {
		h.appends[i] = op
	} else {
		h.appends = slices.Insert(h.appends, i, op)
	}
}

// apply carries out a removal or mark if its message is among the appends.
func (h *sharing) apply(op *store.Op) {
	n := len(h.appends)
	if n == 0 || max(op.Seq, op.To) < h.appends[0].Seq || op.Seq > h.appends[n-1].Seq {
		return
	}
	if op.To > op.Seq {
		i, _ := h.search(op.Seq)
		for ; i < n && h.appends[i].Seq <= op.To; i++ {
			if a := h.appends[i]; a.Kind == store.Append {
				a.Msg.Release()
				a.Msg, a.Kind = nil, cancelled
			}
		}
		return // older ones may be in the range, too
	}
	i, ok := h.search(op.Seq)
	if !ok || h.appends[i].Kind != store.Append {
		return
	}
	a := h.appends[i]
	if op.Kind == store.Remove {
		a.Msg.Release()
		a.Msg, a.Kind = nil, cancelled
	} else {
		a.Deliveries = max(a.Deliveries, op.Deliveries, 1)
	}
	op.Kind = cancelled
}

func (h *sharing) search(seq uint64) (int, bool) {
	first := h.appends[0].Seq
	if i := seq - first; seq >= first && i < uint64(len(h.appends)) && h.appends[i].Seq == seq {
		return int(i), true
	}
	return slices.BinarySearchFunc(h.appends, seq, func(op *store.Op, seq uint64) int {
		return cmp.Compare(op.Seq, seq)
	})
}

// look notes which messages are to be appended to more than one queue.
func (h *sharing) look(q *queue, from int) {
	if h.seen == nil {
		h.seen = map[*message.Message]int32{}
	}
	q.each(position{}, q.ready, func(ops []store.Op) {
		for i := range ops {
			op := &ops[i]
			if op.Kind != store.Append || op.Transient || op.Msg.Size() < from {
				continue
			}
			switch h.seen[op.Msg] {
			case 0:
				h.seen[op.Msg] = 1
			case 1:
				h.at = append(h.at, sharedAt{})
				h.seen[op.Msg] = int32(len(h.at)) + 1
			}
		}
	})
}

// place gives where a message is put that is shared, or nil.
func (h *sharing) place(m *message.Message) *sharedAt {
	if len(h.at) == 0 {
		return nil
	}
	if i := h.seen[m]; i > 1 {
		return &h.at[i-2]
	}
	return nil
}
