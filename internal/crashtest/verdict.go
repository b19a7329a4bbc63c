package crashtest

import (
	"fmt"
	"maps"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"
)

// fate is what a ledger says of a message after a crash.
type fate uint8

const (
	either fate = iota
	present
	absent
)

// fate says whether m must be there, and why.
func (m *Copy) fate() (fate, string) {
	switch {
	case !m.persistent():
		return absent, "it is transient"
	case !m.q.durable:
		return absent, "its queue is transient"
	case m.tx != nil && m.tx.state == txOpen:
		return absent, "its transaction was not committed"
	case m.tx != nil && m.tx.state == txRolledBack:
		return absent, "its transaction was rolled back"
	case m.settleTx != nil && m.settleTx.state == txDone:
		return absent, "it was acked in a transaction whose commit was answered"
	case m.settled == sent && m.settledAt < m.settledBy.durable:
		return absent, "it was acked, and a later publish of that channel to this queue was confirmed"
	case m.known && !m.q.lossy && m.unsettled():
		return present, "its publish was confirmed and it was not acked"
	}
	return either, ""
}

// persistent says that m survives a restart in a queue that does.
func (m *Copy) persistent() bool { return m.id.Persistent || m.q.keeps }

// unsettled says that nothing that may have taken m away was sent.
func (m *Copy) unsettled() bool {
	switch m.settled {
	case open:
		return true
	case sentInTx:
		return m.settleTx.state == txOpen
	}
	return false
}

// survived is called for what came out of a queue for the first time since a
// crash.
func (l *Ledger) survived(m *Copy, redelivered bool) {
	if f, why := m.fate(); f == absent {
		l.violate(m.q, m.id, "message %s is in queue %s, but must not be: %s", m.id, m.q.name, why)
		if m.settledBy != nil {
			l.because(m.settledBy.by)
		}
	}
	switch {
	case !redelivered && m.marked:
		l.violate(m.q, m.id, "message %s in queue %s is not marked as redelivered, but had been delivered, and a later publish to the queue was confirmed", m.id, m.q.name)
		l.because(m.q.markedBy)
	case redelivered && m.deliveredAt == 0 && !m.marked && m.pubAt > m.q.consumedAt && m.q.consumers == 0:
		l.violate(m.q, m.id, "message %s in queue %s is marked as redelivered, but nobody ever took anything from the queue since it was published", m.id, m.q.name)
	}
	l.shows(m.tx, m, true)
	if m.settleTx != nil {
		l.shows(m.settleTx, m, false)
	}
	m.life, m.known, m.stored, m.tx = l.life, true, true, nil
	m.settled, m.settledBy, m.settleTx = open, nil, nil
}

// missing is called for what is on the books and was not in its queue.
func (l *Ledger) missing(m *Copy) {
	switch f, why := m.fate(); f {
	case present:
		l.violate(m.q, m.id, "message %s is not in queue %s, but must be: %s", m.id, m.q.name, why)
	case either:
		l.stats.Uncertain++
		if m.q.lossy {
			break
		}
		if m.settled == open {
			l.shows(m.tx, m, false)
		}
		if m.stored && m.settled == sentInTx {
			l.shows(m.settleTx, m, true)
		}
	}
}

// Checker is somebody who takes everything out of all queues after a crash.
type Checker struct {
	l    *Ledger
	dead []deadLetter
}

// deadLetter is what was found of a rejected message and its dead-lettered self.
type deadLetter struct {
	m, dead *Copy
	inFirst bool
}

// NewChecker gives one; Finish ends its work.
func (l *Ledger) NewChecker() *Checker { return &Checker{l: l} }

// Queue compares all that is in a queue, in the order it came, with the books. It
// gives the copies of the deliveries, nil for those that should not exist, which
// are held by the checker from then on.
func (k *Checker) Queue(q *Queue, found []amqp.Delivery) []*Copy {
	l := k.l
	// Messages are compared with their contents before the lock is taken.
	ids, errs := make([]ID, len(found)), make([]error, len(found))
	for i := range found {
		ids[i], errs[i] = Check(&found[i])
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	copies := make([]*Copy, len(found))
	seen := make(map[ID]bool, len(found))
	last := map[string]uint64{}
	for i, id := range ids {
		m := q.copies[id]
		switch {
		case errs[i] != nil:
			l.violate(q, id, "in queue %s: %v", q.name, errs[i])
		case seen[id]:
			l.violate(q, id, "message %s is in queue %s twice", id, q.name)
			continue
		case m == nil:
			l.violate(q, id, "message %s is in queue %s, but was never put there, or known to be gone", id, q.name)
		}
		seen[id] = true
		if errs[i] != nil || m == nil {
			continue
		}
		copies[i] = m
		l.stats.Checked++
		order := id.Publisher
		if q.levels {
			order = fmt.Sprint(order, " ", found[i].Priority)
		}
		if !q.unruly && id.Seq <= last[order] {
			l.violate(q, id, "message %s in queue %s comes after number %d of the same publisher", id, q.name, last[order])
		}
		last[order] = max(last[order], id.Seq)
		if q.levels && i > 0 && found[i].Priority > found[i-1].Priority {
			l.violate(q, id, "message %s of priority %d in queue %s comes after one of priority %d", id, found[i].Priority, q.name, found[i-1].Priority)
		}
		if m.dead != nil {
			k.dead = append(k.dead, deadLetter{m, m.dead, true})
			m.dead = nil
		}
		if m.life < l.life {
			l.survived(m, found[i].Redelivered)
			// Nobody was given anything since the restart, so that it was on the disk.
			m.marked = m.marked || found[i].Redelivered
		}
	}
	for _, m := range q.copies {
		if seen[m.id] {
			continue
		}
		if m.dead != nil {
			k.dead = append(k.dead, deadLetter{m, m.dead, false})
		}
		if m.life < l.life {
			l.missing(m)
		}
		l.note(m, "not found")
		l.forget(m)
	}
	q.now++
	q.consumedAt = q.now
	for i, m := range copies {
		if m == nil {
			continue
		}
		q.now++
		m.deliveredAt, m.held = q.now, true
		if found[i].Redelivered {
			l.note(m, "found, as redelivered")
		} else {
			l.note(m, "found")
		}
	}
	return copies
}

// Finish looks at what spans queues. All queues must have been checked.
func (k *Checker) Finish() {
	l := k.l
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range k.dead {
		inDead := d.dead.q.copies[d.m.id] != nil
		switch {
		case d.inFirst && inDead:
			l.violate(d.dead.q, d.m.id, "message %s is in queue %s and, dead-lettered, in queue %s as well", d.m.id, d.m.q.name, d.dead.q.name)
		case !d.inFirst && !inDead && d.m.stored && d.dead.settled == open:
			l.violate(d.dead.q, d.m.id, "message %s was rejected and is neither in queue %s nor in %s", d.m.id, d.m.q.name, d.dead.q.name)
		}
	}
	k.dead = nil
	l.backlog = 0
	for _, q := range l.queues {
		l.backlog += len(q.copies)
	}
}

// Queues gives the queues on the books by name.
func (l *Ledger) Queues() []*Queue {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*Queue
	for _, name := range slices.Sorted(maps.Keys(l.queues)) {
		out = append(out, l.queues[name])
	}
	return out
}

// Violations gives what was found so far.
func (l *Ledger) Violations() []Violation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.violations)
}

// Violate adds a violation that no message has a part in.
func (l *Ledger) Violate(history []string, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(Violation{What: fmt.Sprintf(format, args...), History: history})
}

// maxViolations is how many are kept: the first ones tell the story.
const maxViolations = 30

func (l *Ledger) add(v Violation) {
	if len(l.violations) < maxViolations {
		l.violations = append(l.violations, v)
	}
}

// violate adds a violation with what is known of a message.
func (l *Ledger) violate(q *Queue, id ID, format string, args ...any) {
	v := Violation{What: fmt.Sprintf(format, args...)}
	m := q.copies[id]
	if m == nil {
		m = l.gone[goneKey{q.name, id}]
	}
	if m != nil {
		v.History = describe(m)
	}
	l.add(v)
}

// because adds the history of a message that the last violation follows from.
func (l *Ledger) because(m *Copy) {
	if v := &l.violations[len(l.violations)-1]; m != nil {
		v.History = append(append(v.History, "and, as the later one:"), describe(m)...)
	}
}

// describe gives the history of a message.
func describe(m *Copy) []string {
	out := []string{fmt.Sprintf("message %s (%d octets) in queue %s:", m.id, len(m.id.Content().Body), m.q.name)}
	for _, e := range m.events {
		out = append(out, fmt.Sprintf("  %10.4fs  life %d  %s", e.at.Seconds(), e.life, e.what))
	}
	return out
}
