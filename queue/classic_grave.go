package queue

import (
	"slices"
	"time"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// grave is what a classic queue knows of its dead: messages on their way to the
// dead-letter exchange. They are handed over in the order in which they died, and
// one whose body only the store has waits until it is loaded, with those after it.
type grave struct {
	waiting fifo[corpse]
	// returning is how much of waiting is no dead: see move.
	returning amount
	// handed is what was handed over in this call of the queue. Once that is much,
	// full says that nothing more expires before it has been taken, so that a queue
	// of millions does not turn up in memory at once. What consumers reject and
	// publishers push out is bounded by them.
	handed amount
	full   bool
	// atom is that of the dead of this call that are stored, inAtom their number.
	atom   *store.Atom
	inAtom int
}

// corpse is a message that died.
type corpse struct {
	seq    uint64
	msg    *message.Message // nil until it is loaded
	reason Reason
	// atom is that of the transaction that rejected it. The queue joined it until
	// the message is handed over.
	atom *store.Atom
	// under are the rules under which it died, if they are not those of now.
	under *rules
	// lost says that the store does not have it any more.
	lost bool
	// returns says that it is alive and on its way to the end of the queue, with what
	// is known of it.
	returns bool
	// charged says that it counts as held by consumer until then.
	charged  bool
	consumer message.ConsumerID
	size     int
	count    uint32
	expiry   int64
}

// burst is how much may expire before the dead-letter exchange has taken it.
var burst = Bounds{Messages: 1024, Octets: 4 << 20}

// atomSize is how many of the dead move from store to store as one. Each must be
// on one side after a crash; several together cost less.
const atomSize = 256

// retryLoad is how long after a failure a body of the dead is asked for again.
const retryLoad = time.Second

// pause reports whether nothing more may expire for now.
func (g *grave) pause(out *Actions) bool {
	if !g.full && (g.handed.messages >= burst.Messages || g.handed.octets >= burst.Octets) {
		g.full, out.Bury = true, true
	}
	return g.full || g.waiting.len() >= burst.Messages
}

// lay takes a message out of the queue for good: the first ready one, as given by
// head, or one that is held and was taken out of account. It goes to the
// dead-letter exchange if the queue has one. atom is that of a transaction.
func (q *classic) lay(seq uint64, s slot, why Reason, atom *store.Atom, out *Actions) {
	if !s.is(slotHeld) {
		q.account(seq, s, -1)
		q.taken(seq)
	}
	q.die(seq, s, why, atom, out)
}

// die is lay for a message that stands anywhere and was taken out of account.
func (q *classic) die(seq uint64, s slot, why Reason, atom *store.Atom, out *Actions) {
	if q.rules.sure {
		q.keepLetter(seq, s, why, atom, out)
		return
	}
	if !q.rules.buries {
		m := s.msg()
		q.unstore(seq, s, atom, out)
		if s.is(slotHeld) {
			q.drop(seq, s)
		} else {
			q.lose(seq, s)
		}
		if m != nil {
			m.Release()
		}
		return
	}
	c := corpse{seq: seq, msg: q.retire(seq, s), reason: why, atom: atom}
	if c.msg != nil && q.grave.waiting.len() == 0 {
		q.hand(c, s, out)
		return
	}
	q.lineUp(c, s)
}

// lineUp has a corpse, whose place s is, wait for its body or for those before it.
func (q *classic) lineUp(c corpse, s slot) {
	if c.atom != nil {
		c.atom.Join(1)
	}
	if !s.is(stored) {
		q.bury(c.seq, s)
	}
	q.grave.waiting.push(c)
}

// hand hands a message to the dead-letter exchange, and takes it off the store
// together with what its new queues store. s is gone if it has no place any more.
//
// A publisher who waits for a message that is in a durable queue hears when the
// store had it, not now: only then it is certain to be here or there.
func (q *classic) hand(c corpse, s slot, out *Actions) {
	if s.is(stored) {
		if c.atom == nil && !s.is(paged) {
			c.atom = q.atomOfDead(out)
		}
		q.disk.remove(store.Op{Kind: store.Remove, Seq: c.seq, Atom: c.atom}, out)
	}
	if s.seg != nil {
		q.bury(c.seq, s)
	}
	q.grave.handed.add(1, c.msg.Size())
	under := &q.rules
	if c.under != nil {
		under = c.under
	}
	out.DeadLetter = append(out.DeadLetter, under.dead(c.msg, c.reason, c.atom))
}

// dead gives a message to the dead-letter exchange.
func (r *rules) dead(m *message.Message, why Reason, atom *store.Atom) Dead {
	return Dead{
		Msg: m, Reason: why, Atom: atom,
		Exchange: r.dlx, RoutingKey: r.rekey, Rekeyed: r.rekeys,
	}
}

// bequeath leaves the rules under which they died to those who wait.
func (g *grave) bequeath(old rules) {
	all := g.waiting.all()
	for i := range all {
		if all[i].under == nil {
			all[i].under = &old
		}
	}
}

func (q *classic) atomOfDead(out *Actions) *store.Atom {
	g := &q.grave
	if g.atom == nil || g.inAtom == atomSize {
		g.atom, g.inAtom = store.NewAtom(), 0
		out.Atoms = append(out.Atoms, g.atom)
	}
	g.inAtom++
	return g.atom
}

// exhume hands over those who waited and are loaded, and asks for what is needed
// next.
func (q *classic) exhume(out *Actions) {
	g := &q.grave
	for g.waiting.len() > 0 && !q.late {
		if c := g.waiting.first(); c.msg == nil && !c.lost {
			q.loadDead(out)
			return
		}
		c := g.waiting.pop()
		s := q.at(c.seq)
		q.moves(&c)
		switch {
		case !c.lost && c.returns:
			q.reenter(c, s, out)
		case !c.lost:
			q.hand(c, s, out)
		case !s.gone():
			q.bury(c.seq, s)
		}
		if c.atom != nil {
			out.Atoms = append(out.Atoms, c.atom)
		}
		if c.returns {
			q.dropReturned(out)
		}
	}
}

// loadDead asks for the bodies of the first ones that wait, unless that was done. What
// stands between them is read as well, and counts.
func (q *classic) loadDead(out *Actions) {
	all := q.grave.waiting.all()
	if s := q.at(all[0].seq); s.is(loading) || len(q.memory.loads) >= q.maxLoads() {
		return
	}
	r := store.Range{From: all[0].seq, To: all[0].seq}
	var asked amount
	for i := range all {
		c := &all[i]
		if c.msg != nil || i > 0 && (c.seq <= r.To || c.seq-r.From >= loadPositions) {
			break
		}
		if s := q.at(c.seq); i > 0 && (s.is(loading) || !q.fitsLoad(r.To, c.seq, &asked)) {
			break
		}
		q.at(c.seq).set(loading)
		r.To = c.seq
	}
	q.memory.loads = append(q.memory.loads, r)
	out.Load = append(out.Load, r)
}

// fitsLoad adds what stands after one position and up to another to what is asked
// for, and reports whether one load brings so much.
func (q *classic) fitsLoad(after, seq uint64, asked *amount) bool {
	for at, s := q.from(after + 1); at <= seq && !s.gone(); at, s = q.from(at + 1) {
		asked.add(1, s.size())
		if asked.messages >= loadMessages || asked.octets > loadOctets {
			return false
		}
	}
	return true
}

// find gives the dead message at a position, near in the list to where the last
// one was found; nil if there is none.
func (g *grave) find(seq uint64, near *int) *corpse {
	all := g.waiting.all()
	at := func(c corpse) bool { return c.seq == seq }
	from := min(*near, len(all))
	i := slices.IndexFunc(all[from:], at)
	if i >= 0 {
		i += from
	} else if i = slices.IndexFunc(all[:from], at); i < 0 {
		return nil
	}
	*near = i
	return &all[i]
}

// forget drops those who wait: the queue is deleted.
func (g *grave) forget(out *Actions) {
	for _, c := range g.waiting.all() {
		if c.msg != nil {
			c.msg.Release()
		}
		if c.atom != nil {
			out.Atoms = append(out.Atoms, c.atom)
		}
	}
	*g = grave{}
}
