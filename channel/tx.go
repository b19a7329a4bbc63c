package channel

import (
	"cmp"
	"slices"
	"sync"

	"github.com/warrenmq/warren/confirm"
	"github.com/warrenmq/warren/intercept"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/store"
)

// ConfirmSelect begins to count publishes and to confirm them.
func (ch *Channel) ConfirmSelect() error {
	if err := refusable[intercept.ConfirmSelect](ch); err != nil {
		return err
	}
	if ch.tx != nil {
		return reply.Errorf(reply.PreconditionFailed, "cannot switch from tx to confirm mode")
	}
	ch.flush()
	ch.setMode(func(m *Mode) { m.Confirm = true })
	return nil
}

// transaction is what a transactional channel holds back until tx.commit. The
// publishes have been checked and routed (contract 03 §9).
type transaction struct {
	publishes []heldPublish
	settles   []heldSettle
}

// heldPublish names its queues: at the commit they are looked for anew. One may
// be gone by then, and one that the default exchange knows by its name alone may
// have come.
type heldPublish struct {
	msg       *message.Message
	queues    []string
	mandatory bool
}

// heldSettle is what was settled in a row with the same outcome.
type heldSettle struct {
	entries []unackedEntry
	outcome queue.Outcome
}

func (t *transaction) publish(ch *Channel, p *Publish, rt *route) {
	ch.setMode(func(m *Mode) { m.UncommittedPublishes++ })
	var queues []string
	if len(p.Exchange) == 0 {
		queues = append(append(queues, rt.key), rt.more...)
	} else {
		for _, h := range rt.hosts {
			queues = append(queues, h.Spec().Name)
		}
	}
	slices.Sort(queues)
	t.publishes = append(t.publishes, heldPublish{p.Msg, slices.Compact(queues), p.Mandatory})
}

// hosts gives those of the queues that are there.
func (p *heldPublish) hosts(v VHost) []*queue.Host {
	hosts := make([]*queue.Host, 0, len(p.queues))
	for _, name := range p.queues {
		if h, ok := v.Queue(name); ok {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

func (t *transaction) settle(ch *Channel, es []unackedEntry, o queue.Outcome) {
	ch.setMode(func(m *Mode) { m.UncommittedAcks += len(es) })
	if n := len(t.settles); n > 0 && t.settles[n-1].outcome == o {
		last := &t.settles[n-1]
		last.entries = append(last.entries, es...)
		return
	}
	t.settles = append(t.settles, heldSettle{slices.Clone(es), o})
}

// drop forgets the transaction: its deliveries are unsettled again.
func (t *transaction) drop(ch *Channel) {
	for _, p := range t.publishes {
		p.msg.Release()
	}
	var es []unackedEntry
	for _, s := range t.settles {
		es = append(es, s.entries...)
	}
	slices.SortFunc(es, func(a, b unackedEntry) int { return cmp.Compare(a.tag, b.tag) })
	ch.mu.Lock()
	ch.unacked.restore(es)
	if len(es) > 0 {
		ch.watchUnacked()
	}
	ch.mu.Unlock()
	ch.begin()
}

// begin begins an empty transaction.
func (ch *Channel) begin() {
	*ch.tx = transaction{}
	ch.setMode(func(m *Mode) { m.UncommittedPublishes, m.UncommittedAcks = 0, 0 })
}

// TxSelect makes the channel transactional.
func (ch *Channel) TxSelect() error {
	if err := refusable[intercept.TxSelect](ch); err != nil {
		return err
	}
	if ch.mode.Confirm {
		return reply.Errorf(reply.PreconditionFailed, "cannot switch from confirm to tx mode")
	}
	ch.flush()
	if ch.tx == nil {
		ch.tx = &transaction{}
		ch.setMode(func(m *Mode) { m.Transactional = true })
	}
	return nil
}

// TxRollback drops the publishes of the transaction; its settled deliveries are
// unsettled again, but not requeued.
func (ch *Channel) TxRollback() error {
	if err := refusable[intercept.TxRollback](ch); err != nil {
		return err
	}
	if ch.tx == nil {
		return reply.Errorf(reply.PreconditionFailed, "channel is not transactional")
	}
	ch.tx.drop(ch)
	return nil
}

// TxCommit carries the transaction out and begins a new one. Returns of mandatory
// messages go out before. The Commit says when every queue has taken its part.
func (ch *Channel) TxCommit() (*Commit, error) {
	if err := refusable[intercept.TxCommit](ch); err != nil {
		return nil, err
	}
	if ch.tx == nil {
		return nil, reply.Errorf(reply.PreconditionFailed, "channel is not transactional")
	}
	ch.flush()
	t := *ch.tx
	ch.begin()
	w := &Commit{by: ch.confirms, done: make(chan struct{}), open: 1} // for the atom
	// What the queues store of it is there as a whole after a crash, or not at
	// all. The atom waits for this commit until everything has been posted.
	atom := store.NewAtom()
	for i, p := range t.publishes {
		hosts := p.hosts(ch.VHost)
		ch.returnUnroutable(p.msg, hosts, p.mandatory)
		w.add(len(hosts))
		ch.post(p.msg, hosts, message.PublishRef{By: (*commitAnswers)(w), Seq: uint64(i + 1)}, atom)
	}
	for _, s := range t.settles {
		slices.SortFunc(s.entries, compareUnacked) // and not as they were settled
		ch.settle(s.entries, s.outcome, atom)
	}
	ch.flush()
	atom.Settled(func(err error) { w.settle(1, err != nil) })
	atom.Leave(nil)
	return w, nil
}

// Commit is a tx.commit under way. Its methods may be called from any goroutine.
type Commit struct {
	by *confirm.Tracker // of the channel

	mu       sync.Mutex
	open     int // the publishes that are not answered, and the atom
	rejected bool
	done     chan struct{}
}

// Done is closed when every queue has taken its part, and all of it that is to be
// durable is. That is up to the store: who waits also watches for the end of what
// he waits for.
func (w *Commit) Done() <-chan struct{} { return w.done }

// Err says after Done whether the transaction is incomplete: a queue refused a
// message, or the store failed. The rest is carried out all the same.
func (w *Commit) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rejected {
		return reply.Errorf(reply.PreconditionFailed, "partial tx completion")
	}
	return nil
}

func (w *Commit) add(n int) {
	w.mu.Lock()
	w.open += n
	w.mu.Unlock()
}

func (w *Commit) settle(n int, rejected bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rejected = w.rejected || rejected
	if w.open -= n; w.open == 0 {
		close(w.done)
	}
}

// commitAnswers is a Commit as the queues see it.
type commitAnswers Commit

// Publisher implements message.Publisher.
func (w *commitAnswers) Publisher() any { return w.by.Publisher() }

// Confirm implements message.Confirmer.
func (w *commitAnswers) Confirm(from, to uint64) { (*Commit)(w).settle(int(to-from)+1, false) }

// Reject implements message.Confirmer.
func (w *commitAnswers) Reject(uint64) { (*Commit)(w).settle(1, true) }
