package queue

import (
	"cmp"
	"slices"
	"time"

	"github.com/warrenmq/warren/message"
)

// classicModel is the reference model of a classic queue: contract 05 done the
// slow way, one message at a time, by a queue that has all the time and memory in
// the world. It knows nothing of the code that it is the model of, and of the store
// only what it keeps.
type classicModel struct {
	modelState
	ready []modelMessage // in the order in which they are delivered
	// unnoticed is the body of a message that overtook all others of a queue with
	// priorities: it does not expire before something makes the queue look. wake is
	// when its timer does that, zero without one.
	unnoticed string
	wake      time.Time
}

// modelRules are what a queue's arguments and its policy ask for; -1 is no limit.
type modelRules struct {
	ttl, expires, maxLength, maxBytes, maxPriority int
	overflow                                       string
	dlx, rekey                                     string
	buries, single                                 bool
	sure                                           bool // letters are sent at least once
}

// modelRulesOf merges the arguments of a queue with its policy: the lower number
// counts, and for the rest the argument (contract 05 §5 to §7).
func modelRulesOf(arguments, policy message.Table) modelRules {
	r := modelRules{maxPriority: -1, overflow: "drop-head"}
	number := func(key string) int {
		lowest := -1
		for _, v := range []any{valueOf(arguments, "x-"+key), valueOf(policy, key)} {
			if n, ok := message.Int(v); ok && (lowest < 0 || int(n) < lowest) {
				lowest = int(n)
			}
		}
		return lowest
	}
	text := func(key string, into *string) (found bool) {
		v, found := valueOf(arguments, "x-"+key).(string)
		if !found {
			v, found = valueOf(policy, key).(string)
		}
		if found {
			*into = v
		}
		return found
	}
	r.ttl, r.expires = number("message-ttl"), number("expires")
	r.maxLength, r.maxBytes = number("max-length"), number("max-length-bytes")
	text("overflow", &r.overflow)
	r.buries = text("dead-letter-exchange", &r.dlx)
	text("dead-letter-routing-key", &r.rekey)
	if n, ok := message.Int(valueOf(arguments, argMaxPriority)); ok {
		r.maxPriority = int(n)
	}
	r.single = valueOf(arguments, argSingleActive) == true
	return r
}

func valueOf(t message.Table, name string) any {
	v, _ := t.Get(name)
	return v
}

// begin is what a queue does when it is there, or there again.
func (m *classicModel) begin() {
	m.used = time.Now()
	m.dropOver()
	m.expire()
	m.setTimer()
}

// insert puts a message where it belongs.
func (m *classicModel) insert(x modelMessage) {
	level := func(x modelMessage) int { return min(x.priority, m.rules.maxPriority) }
	i, _ := slices.BinarySearchFunc(m.ready, x, func(a, b modelMessage) int {
		return cmp.Or(cmp.Compare(level(b), level(a)), cmp.Compare(a.body, b.body))
	})
	m.ready = slices.Insert(m.ready, i, x)
}

func (m *classicModel) takeHead() modelMessage {
	x := m.ready[0]
	m.ready = m.ready[1:]
	return x
}

func (m *classicModel) bytes() (n int) {
	for _, x := range m.ready {
		n += len(x.body)
	}
	return n
}

// dropOver drops from the head what is too much (contract 05 §6).
func (m *classicModel) dropOver() {
	for m.rules.overflow == "drop-head" && m.over(len(m.ready), m.bytes()) {
		m.die(m.takeHead(), MaxLen)
	}
}

// expire drops what has expired at the head (contract 05 §5), but for one that nobody
// could take yet.
func (m *classicModel) expire(but ...string) {
	for len(m.ready) > 0 && m.ready[0].overdue() && m.ready[0].body != m.unnoticed &&
		!slices.Contains(but, m.ready[0].body) {
		m.die(m.takeHead(), Expired)
	}
}

// setTimer sees that the queue looks when its head expires, or when it was not used for
// long enough. An earlier time that was set is kept.
func (m *classicModel) setTimer() {
	at := func(t time.Time) {
		if m.wake.IsZero() || t.Before(m.wake) {
			m.wake = t
		}
	}
	if len(m.ready) > 0 && !m.ready[0].expiry.IsZero() && m.ready[0].body != m.unnoticed {
		at(m.ready[0].expiry)
	}
	if m.rules.expires >= 0 && len(m.all) == 0 {
		at(m.used.Add(time.Duration(m.rules.expires) * time.Millisecond))
	}
}

func (m *classicModel) stat() Stat {
	return Stat{Ready: len(m.ready), Unacked: len(m.held), ReadyBytes: int64(m.bytes()), Consumers: len(m.all)}
}

func (m *classicModel) declared() { m.used = time.Now() }

// obey obeys a policy: a limit that is there or lower
// from now on drops at once what is too much, unless the queue refused before and
// refuses still; the time that it may be unused begins anew (contract 08 §5), and what
// nobody noticed has expired.
func (m *classicModel) obey(arguments, policy message.Table) {
	r := modelRulesOf(arguments, policy)
	m.unnoticed = ""
	refused := m.rules.overflow != "drop-head"
	m.rules = r
	m.used = time.Now()
	for !(refused && r.overflow != "drop-head") && m.over(len(m.ready), m.bytes()) {
		m.die(m.takeHead(), MaxLen)
	}
	m.expire()
}

// publish reports whether the message was taken.
func (m *classicModel) publish(x modelMessage) bool {
	if m.rules.overflow != "drop-head" && m.over(len(m.ready)+1, m.bytes()+len(x.body)) {
		if m.rules.overflow == "reject-publish-dlx" {
			m.die(x, MaxLen)
		}
		return false
	}
	m.waiting = false
	expires := m.stamp(&x)
	if m.rules.ttl == 0 && !m.rules.buries && len(m.ready) > 0 {
		return true // nobody can take it, and it has no time to wait
	}
	m.insert(x)
	m.deliver(x.body) // before it can expire
	before := len(m.ready)
	m.dropOver()
	switch looked := expires || m.rules.maxLength >= 0 || m.rules.maxBytes >= 0; {
	case m.rules.maxPriority < 0 || !looked:
	case len(m.ready) < before || before <= 1:
		m.unnoticed = ""
		m.expire()
		m.setTimer()
	case m.ready[0].body == x.body:
		m.unnoticed = x.body
	}
	m.expire()
	return true
}

// deliver hands out what is ready. fresh is a message that does not expire yet.
func (m *classicModel) deliver(fresh string) {
	for len(m.ready) > 0 {
		if b := m.ready[0].body; b != fresh && b != m.unnoticed && m.ready[0].overdue() {
			m.expire(fresh)
			continue
		}
		c := m.takeTurn()
		if c == nil {
			return
		}
		m.hand(m.takeHead(), c)
		m.unnoticed = ""
	}
}

// settle settles deliveries, each with its outcome. Those of one consumer in a row come
// together, so that what is requeued is back before anything is delivered.
func (m *classicModel) settle(ds []*modelDelivery, outcomes []Outcome) {
	ds = m.highestFirst(ds, outcomes)
	m.waiting = false
	requeued := false
	for i, d := range ds {
		if i > 0 && d.to != ds[i-1].to && outcomes[i] != Return {
			m.settled(requeued)
			requeued = false
		}
		m.takeBack(d)
		switch outcomes[i] {
		case Requeue:
			x := d.modelMessage
			x.redelivered, requeued = true, true
			m.insert(x)
		case Discard:
			m.die(d.modelMessage, Rejected)
		}
	}
	m.settled(requeued)
}

// highestFirst puts what one consumer had and is rejected in a row into the order in
// which a queue with priorities buries it.
func (m *classicModel) highestFirst(ds []*modelDelivery, outcomes []Outcome) []*modelDelivery {
	ds = slices.Clone(ds)
	if m.rules.maxPriority <= 0 || !m.rules.buries {
		return ds
	}
	level := func(d *modelDelivery) int { return min(d.priority, m.rules.maxPriority) }
	for from, to := 0, 0; from < len(ds); from = to {
		for to = from; to < len(ds) && ds[to].to == ds[from].to && outcomes[to] == outcomes[from]; to++ {
		}
		if ds[from].to != nil && outcomes[from] == Discard {
			slices.SortStableFunc(ds[from:to], func(a, b *modelDelivery) int { return level(b) - level(a) })
		}
	}
	return ds
}

func (m *classicModel) settled(requeued bool) {
	if requeued {
		m.unnoticed = ""
		m.dropOver()
	}
	m.expire()
	m.deliver("")
	m.setTimer()
}

// consume reports whether the consumer was taken (contract 05 §8).
func (m *classicModel) consume(c *modelConsumer) bool {
	if len(m.all) > 0 && (m.all[0].exclusive || c.exclusive) || c.exclusive && m.rules.single {
		return false
	}
	m.waiting = false
	m.all = append(m.all, c)
	m.join(c)
	m.elect()
	m.deliver("")
	return true
}

// elect fills the place of the single active consumer.
func (m *classicModel) elect() (changed bool) {
	if !m.rules.single || m.active != nil || len(m.all) == 0 {
		return false
	}
	m.active = m.turn[m.first()]
	m.active.activated = true
	return true
}

func (m *classicModel) cancel(c *modelConsumer, _ bool) {
	m.remove(c)
	if len(m.all) == 0 {
		m.used, m.gone = time.Now(), m.autoDelete
	}
	if !m.elect() {
		return
	}
	if m.waiting = c.held > 0; !m.waiting {
		m.deliver("")
	}
}

func (m *classicModel) get(noAck bool) (d *modelDelivery, remaining int) {
	m.used = time.Now()
	if len(m.ready) == 0 {
		return nil, 0
	}
	d = &modelDelivery{modelMessage: m.takeHead()}
	m.unnoticed = ""
	if !noAck {
		m.held = append(m.held, d)
	}
	m.expire()
	return d, len(m.ready)
}

func (m *classicModel) resume(c *modelConsumer, room int) {
	m.widen(c, room)
	m.deliver("")
}

// purge gives the number of messages that were dropped.
func (m *classicModel) purge() int {
	n := len(m.ready)
	m.ready = nil
	return n
}

// tick is the time that passes. A queue goes between two of its ticks, and what would
// expire with the second one goes with it.
func (m *classicModel) tick() {
	if m.rules.expires >= 0 && len(m.all) == 0 {
		idle := time.Duration(m.rules.expires) * time.Millisecond
		m.gone = !time.Now().Before(m.used.Add(idle))
	}
	if m.gone {
		return
	}
	if !m.wake.IsZero() && !time.Now().Before(m.wake) {
		m.wake, m.unnoticed = time.Time{}, ""
		m.expire()
		m.deliver("")
		m.setTimer()
	}
}

// restart ends the broker and begins anew with what is stored.
func (m *classicModel) restart() {
	before := m.ready
	for _, d := range m.held {
		d.redelivered = true
		before = append(before, d.modelMessage)
	}
	*m = classicModel{modelState: m.anew()}
	for _, x := range before {
		if m.durable && x.persistent {
			m.insert(x)
		}
	}
	m.begin()
}
