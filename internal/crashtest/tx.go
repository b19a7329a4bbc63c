package crashtest

import "fmt"

// Tx is one transaction.
type Tx struct {
	name  string
	c     *Chan
	state txState
	pubs  []*Copy
	acks  []*Copy
	// yes and no are copies that show that it was carried out, or was not.
	yes, no *Copy
}

type txState uint8

const (
	txOpen      txState = iota
	txCommitted         // the commit was sent
	txDone              // and answered
	txRolledBack
)

// Begin begins a transaction.
func (c *Chan) Begin(n int) *Tx { return &Tx{name: fmt.Sprintf("transaction %s#%d", c.name, n), c: c} }

// Publish is written down before a message is sent in the transaction.
func (t *Tx) Publish(id ID, queues ...*Queue) {
	p := t.c.publish(t, id, queues)
	t.pubs = append(t.pubs, p.copies...)
}

// Ack is written down before a copy is acknowledged in the transaction.
func (t *Tx) Ack(copies ...*Copy) {
	l := t.c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range copies {
		m.settled, m.settleTx, m.settledBy = sentInTx, t, nil
		t.acks = append(t.acks, m)
		l.note(m, "acked in "+t.name)
	}
}

// Commit is written down before the commit is sent.
func (t *Tx) Commit() {
	l := t.c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	t.state = txCommitted
	for _, m := range t.acks {
		m.held = false
	}
	t.note("commit sent")
}

// Committed is written down when the commit was answered.
func (t *Tx) Committed() {
	l := t.c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	t.state = txDone
	l.stats.Commits++
	t.note("committed")
	for _, m := range t.pubs {
		l.durable(m)
	}
}

// RolledBack is written down when a rollback was answered. What was acknowledged
// is not, and is still held by the channel.
func (t *Tx) RolledBack() {
	l := t.c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	t.state = txRolledBack
	t.note("rolled back")
	for _, m := range t.acks {
		m.settled, m.settleTx = open, nil
	}
	for _, m := range t.pubs {
		l.forget(m)
	}
}

func (t *Tx) note(what string) {
	what += ": " + t.name
	for _, m := range t.pubs {
		t.c.l.note(m, what)
	}
	for _, m := range t.acks {
		t.c.l.note(m, what)
	}
}

// shows takes m as evidence of whether an unanswered commit was carried out.
func (l *Ledger) shows(t *Tx, m *Copy, done bool) {
	if t == nil || t.state != txCommitted {
		return
	}
	other := t.no
	if done {
		t.yes = m
	} else {
		t.no, other = m, t.yes
	}
	if other != nil {
		history := append(append([]string{}, describe(t.yes)...), describe(t.no)...)
		l.add(Violation{
			What: fmt.Sprintf("%s (%d publishes, %d acks) was carried out in part: queue %s and message %s show that it was, queue %s and message %s that it was not",
				t.name, len(t.pubs), len(t.acks), t.yes.q.name, t.yes.id, t.no.q.name, t.no.id),
			History: history,
		})
		t.yes, t.no = nil, nil
	}
}
