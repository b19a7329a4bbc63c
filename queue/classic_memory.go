package queue

import (
	"github.com/warrenmq/warren/store"
)

// Bounds are how much of a queue with a store stays in memory. A field that is 0
// stands for its default.
type Bounds struct {
	// Messages is how many bodies may be in memory, 8192 by default.
	Messages int
	// Octets is how much they may be together, 8 MiB by default.
	Octets int64
}

const (
	defaultMessages = 8192
	defaultOctets   = 8 << 20
)

func (b Bounds) orDefault() Bounds {
	if b.Messages <= 0 {
		b.Messages = defaultMessages
	}
	if b.Octets <= 0 {
		b.Octets = defaultOctets
	}
	return b
}

// What one load asks for at the most: messages, octets of their bodies unless it
// is one message, and positions from the first to the last.
const (
	loadMessages  = 1024
	loadOctets    = 1 << 20
	loadPositions = 1 << 16
)

// maxLoads is how many loads there may be at once: one is read while another is
// handed over. In a priority queue there is one, since what they ask for could
// overlap, and what an answer does not have is taken to be gone.
const maxLoads = 2

func (q *classic) maxLoads() int {
	if q.levels != nil {
		return 1
	}
	return maxLoads
}

// amount is a number of bodies and what they are together.
type amount struct {
	messages int
	octets   int64
}

func (a *amount) add(sign, size int) {
	a.messages += sign
	a.octets += int64(sign) * int64(size)
}

func (a amount) over(b Bounds) bool { return a.messages > b.Messages || a.octets > b.Octets }

// memory decides which bodies of a queue with a store are in memory.
//
// Those that are delivered next stay, or come back in time; the edge is where they
// end. What is published while all before it is in memory and there is room moves
// the edge on. The rest lies at or above the edge: while the bound is exceeded
// such a message leaves memory as soon as the store has it, a transient one being
// handed to the store for that very purpose. When what lies below the edge falls
// under half the bound and somebody takes messages, the edge moves on and what is
// absent is loaded.
//
// So no more than twice the bound of ready bodies is in memory, beside what the
// store is just writing. As many as the bound are kept of what consumers hold; a
// requeued message whose body is gone is loaded when it is at the head.
//
// In a priority queue positions do not say what is delivered next, so that there is
// no edge: it stays at 0. A body leaves memory if it is stored while the bound is
// exceeded, and when it is needed it is loaded with those that follow it at its
// level, at most as many as one load asks for. A load may read past others.
type memory struct {
	max Bounds
	// edge is above every position that was ever taken.
	edge uint64
	// warm are the ready messages below the edge that are in memory or loading,
	// bodies the ready ones in memory anywhere, held those of held messages.
	warm, bodies, held amount
	// loads are the ranges asked for that have not come yet, oldest first.
	loads []store.Range
	// broken says that the latest load failed.
	broken bool
}

// account adds a message to the amounts, or takes it out: with sign -1 before
// something about it changes, with 1 afterwards.
func (q *classic) account(seq uint64, s slot, sign int) {
	if !q.paging || s.gone() || s.dying() {
		return
	}
	m, here := &q.memory, s.msg() != nil
	if s.is(slotHeld) {
		if here {
			m.held.add(sign, s.size())
		}
		return
	}
	if here {
		m.bodies.add(sign, s.size())
	}
	if seq < m.edge && (here || s.is(loading)) {
		m.warm.add(sign, s.size())
	}
}

// admit takes a message that was just pushed into account and reports whether
// its body should leave memory.
func (q *classic) admit(seq uint64, s slot) (leave bool) {
	m := &q.memory
	if m.edge == seq && q.levels == nil && m.room(s) {
		m.edge++
	}
	q.account(seq, s, 1)
	return seq >= m.edge && m.bodies.over(m.max)
}

// room reports whether one more message may lie below the edge.
func (m *memory) room(s slot) bool {
	after := m.warm
	after.add(1, s.size())
	return !after.over(m.max)
}

// crowded reports that there is twice as much below the edge as there is room for.
func (m *memory) crowded() bool {
	return m.warm.over(Bounds{Messages: 2 * m.max.Messages, Octets: 2 * m.max.Octets})
}

// low reports that what is delivered next should be loaded.
func (m *memory) low() bool {
	return m.warm.messages < (m.max.Messages+1)/2 && m.warm.octets < (m.max.Octets+1)/2
}

// evict takes a body that the store has out of memory, if it should go.
func (q *classic) evict(seq uint64, s slot) {
	m := &q.memory
	switch {
	case s.msg() == nil:
		return
	case s.is(slotHeld):
		if !m.held.over(m.max) {
			return
		}
	case seq < m.edge:
		// Only requeues put more there than there is room for.
		if !m.warm.over(m.max) {
			return
		}
	case !m.bodies.over(m.max):
		return
	}
	q.account(seq, s, -1)
	q.takeMsg(s).Release()
	q.account(seq, s, 1)
}

// taken moves the edge over the head, which is about to be taken.
func (q *classic) taken(seq uint64) {
	if seq >= q.memory.edge && q.levels == nil {
		q.memory.edge = seq + 1
	}
}

// readAhead loads what will be delivered soon, if somebody takes messages.
func (q *classic) readAhead(out *Actions) {
	m := &q.memory
	if !q.paging || q.levels != nil || q.ready == 0 || m.broken || len(q.consumers.byID) == 0 && len(q.gets) == 0 {
		return
	}
	for len(m.loads) < maxLoads && m.edge < q.next && m.low() {
		if !q.passEdge() {
			return
		}
		if m.edge < q.next {
			q.load(m.edge, out)
		}
	}
}

// passEdge moves the edge over what is in memory, to the first message that is
// not or to the end. It reports false if the room ended before.
func (q *classic) passEdge() bool {
	m := &q.memory
	for m.edge < q.next {
		seq, s := q.from(m.edge)
		m.edge = seq
		if s.gone() {
			return true
		}
		if s.is(slotReady) {
			if s.msg() == nil {
				return true
			}
			if !m.room(s) {
				return false
			}
			m.warm.add(1, s.size())
		}
		m.edge++
	}
	return true
}

// load asks for messages from position from on, which must be that of a ready one
// that is not in memory: as many as there is room for, and at least that one. It
// moves the edge over them; in a priority queue it asks for those of one level.
func (q *classic) load(from uint64, out *Actions) {
	m := &q.memory
	r := store.Range{From: from, To: from}
	var asked amount
	first := q.at(from)
	for seq, s := q.from(from); !s.gone() && seq-from < loadPositions; seq, s = q.from(seq + 1) {
		asked.add(1, s.size())
		if s.is(slotReady) && (q.levels == nil || s.level() == first.level()) {
			if s.msg() != nil || s.is(loading) {
				break
			}
			if seq > from && (asked.messages > loadMessages || asked.octets > loadOctets || !m.room(s)) {
				break
			}
			s.set(loading)
			if q.levels == nil {
				m.edge = max(m.edge, seq+1)
				m.warm.add(1, s.size())
			}
			r.To = seq
		}
	}
	m.loads = append(m.loads, r)
	out.Load = append(out.Load, r)
}

// loaded takes what load asked for and reports whether it came. If it could not
// be read, who waits for it in a basic.get is told, and the next thing that
// happens to the queue tries again.
func (q *classic) loaded(ev Event, out *Actions) bool {
	m := &q.memory
	near := 0
	for _, l := range ev.Loaded {
		s := q.at(l.Seq)
		if s.dying() && s.is(loading) {
			s.unset(loading)
			if c := q.grave.find(l.Seq, &near); c != nil {
				c.msg = l.Msg
				continue
			}
			if x := q.letters.find(l.Seq); x != nil {
				x.msg = l.Msg
				continue
			}
		}
		if !s.is(slotReady|loading) || s.msg() != nil {
			l.Msg.Release() // it was purged, a consumer holds it, or it only stands between
			continue
		}
		q.account(l.Seq, s, -1)
		s.unset(loading)
		q.setMsg(s, l.Msg)
		q.account(l.Seq, s, 1)
	}
	if len(m.loads) == 0 {
		return true // it was deleted
	}
	r := m.loads[0]
	m.loads = m.loads[:copy(m.loads, m.loads[1:])]
	for seq, s := q.from(r.From); !s.gone() && seq <= r.To; seq, s = q.from(seq + 1) {
		if !s.is(loading) {
			continue
		}
		q.account(seq, s, -1)
		switch {
		case ev.Err != nil:
			s.unset(loading)
		case s.dying():
			s.unset(loading)
			if c := q.grave.find(seq, &near); c != nil {
				c.lost = true
			}
			if x := q.letters.find(seq); x != nil {
				q.forgetLetter(x)
			}
		default:
			q.lose(seq, s) // the store does not have it any more
		}
	}
	if m.broken = ev.Err != nil; !m.broken {
		return true
	}
	if q.ready > 0 {
		if _, s := q.head(); s.msg() != nil || s.is(loading) {
			return false
		}
	}
	for _, g := range q.gets {
		out.Got = append(out.Got, GetReply{Ref: g.ref, Err: ev.Err})
	}
	q.gets = nil
	return false
}
