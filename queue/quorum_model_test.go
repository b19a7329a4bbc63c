package queue

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/warrenmq/warren/message"
)

// quorumModel is the reference model of a quorum queue: contract 05 §9.1 done the slow
// way. What comes back stands before what was never delivered, or is published anew.
type quorumModel struct {
	modelState
	limit   int  // how often a message may come back
	limited bool // there is a limit, so that what is requeued comes back first
	// returned come before fresh.
	returned, fresh []modelMessage
	position        int // of the next message in the store
	// blocked are those who published, and whether they are refused.
	blocked map[int]bool
	letters modelLetters
}

func newQuorumModel(s Spec, policy message.Table) *quorumModel {
	m := &quorumModel{modelState: modelState{durable: s.Durable}, blocked: map[int]bool{}}
	m.letters = modelLetters{to: []string{targetReady}, got: map[string][]string{}}
	m.setRules(s.Arguments, policy)
	return m
}

// setRules merges the arguments of a queue with its policy: unlike those of a classic
// queue, overflow and expires are the policy's if it has them (contract 08 §5).
func (m *quorumModel) setRules(arguments, policy message.Table) {
	m.rules = modelRulesOf(arguments, policy)
	if s, ok := valueOf(policy, "overflow").(string); ok {
		m.rules.overflow = s
	}
	if m.rules.overflow != "reject-publish" {
		m.rules.overflow = "drop-head" // that it is refused and dies there is not
	}
	if n, ok := message.Int(valueOf(policy, "expires")); ok {
		m.rules.expires = int(n)
	}
	if !m.rules.buries {
		m.rules.rekey = ""
	}
	strategy, ok := valueOf(arguments, "x-dead-letter-strategy").(string)
	if !ok {
		strategy, _ = valueOf(policy, "dead-letter-strategy").(string)
	}
	m.rules.sure = strategy == "at-least-once" && m.rules.buries && m.rules.overflow == "reject-publish"
	m.limited = false
	for _, v := range []any{valueOf(arguments, argDeliveryLimit), valueOf(policy, policyDeliveryLimit)} {
		if n, ok := message.Int(v); ok && (!m.limited || int(n) < m.limit) {
			m.limit, m.limited = int(n), true
		}
	}
}

// put puts a message to the tail.
func (m *quorumModel) put(x modelMessage) {
	m.position++
	x.position = m.position
	m.fresh = append(m.fresh, x)
}

func (m *quorumModel) head() *[]modelMessage {
	if len(m.returned) > 0 {
		return &m.returned
	}
	return &m.fresh
}

func (m *quorumModel) takeHead() modelMessage {
	from := m.head()
	x := (*from)[0]
	*from = (*from)[1:]
	return x
}

func (m *quorumModel) begin() {
	m.used = time.Now()
	m.shorten()
	m.expire()
	m.forward()
}

// expire drops what has expired at the head, but for one that nobody could take yet.
func (m *quorumModel) expire(but ...string) {
	for m.ready() > 0 {
		if x := (*m.head())[0]; !x.overdue() || slices.Contains(but, x.body) {
			return
		}
		m.bury(m.takeHead(), Expired)
	}
}

// shorten drops from the head what is too much.
func (m *quorumModel) shorten() {
	for m.bounded() && !m.refuses() && m.full() {
		m.bury(m.takeHead(), MaxLen)
	}
}

// shortenLast is shorten, of which the last one dies first.
func (m *quorumModel) shortenLast() {
	before := len(m.dead)
	m.shorten()
	slices.Reverse(m.dead[before:])
}

// deliver hands out what is ready. fresh is a message that does not expire yet.
func (m *quorumModel) deliver(fresh string) {
	for m.expire(fresh); m.ready() > 0; m.expire(fresh) {
		c := m.takeTurn()
		if c == nil {
			return
		}
		m.hand(m.takeHead(), c)
		if c.full() { // out of turn at once
			m.turn = m.turn[:len(m.turn)-1]
		}
	}
}

// settle settles deliveries, of one consumer after the other; what a channel that is
// gone had comes back at once.
func (m *quorumModel) settle(ds []*modelDelivery, outcomes []Outcome) {
	m.use()
	m.waiting = false
	dead, atOnce := len(m.dead), false
	for i, d := range ds {
		begins := i == 0 || d.to != ds[i-1].to && outcomes[i] != Return
		if i > 0 && begins {
			m.settled()
			m.dropsFirst(dead, atOnce)
			dead = len(m.dead)
		}
		if begins {
			atOnce = outcomes[i] == Return || outcomes[i] == Requeue && m.limited && d.to != nil
		}
		m.takeBack(d)
		switch o := outcomes[i]; o {
		case Ack:
		case Discard:
			m.bury(d.modelMessage, Rejected)
		default:
			m.comeBack(d.modelMessage, o)
			if o == Requeue && m.limited && d.count+1 > m.limit && d.to != nil {
				d.to.lent++ // RabbitMQ counts it twice
			}
		}
	}
	m.settled()
	m.dropsFirst(dead, atOnce)
	m.forward()
}

// dropsFirst puts what did not fit, after several came back at once, before the others
// that died then, and the last of it first.
func (m *quorumModel) dropsFirst(before int, atOnce bool) {
	if !atOnce {
		return
	}
	var drops, others []string
	for _, d := range m.dead[before:] {
		if strings.Contains(d, " "+fmt.Sprint(MaxLen)+" ") {
			drops = append(drops, d)
		} else {
			others = append(others, d)
		}
	}
	slices.Reverse(drops)
	copy(m.dead[before:], append(drops, others...))
}

func (m *quorumModel) comeBack(x modelMessage, o Outcome) {
	x.count++
	x.redelivered = true
	switch {
	case m.limited && x.count > m.limit:
		m.bury(x, LimitReached)
	case o == Requeue && !m.limited:
		m.put(x)
		if m.bounded() && !m.refuses() { // each is a command of its own
			m.deliver("")
			m.shortenLast()
		}
	default:
		m.returned = append(m.returned, x)
	}
}

func (m *quorumModel) settled() {
	m.deliver("")
	m.shorten()
	m.deliver("")
	m.notice()
}

// consume takes anybody: that a consumer wants to be alone does not matter.
func (m *quorumModel) consume(c *modelConsumer) bool {
	if c.prefetch == 0 {
		c.prefetch = defaultPrefetch
	}
	m.waiting = false
	m.all = append(m.all, c)
	m.join(c)
	m.elect()
	m.deliver("")
	m.forward()
	return true
}

// elect fills the place of the single active consumer with who has been there longest.
func (m *quorumModel) elect() (changed bool) {
	if !m.rules.single || m.active != nil || len(m.all) == 0 {
		return false
	}
	m.active = m.all[0]
	m.active.activated = true
	return true
}

func (m *quorumModel) cancel(c *modelConsumer, channelEnded bool) {
	m.use()
	m.remove(c)
	if len(m.all) == 0 {
		m.used = time.Now()
	}
	if !m.elect() {
		return
	}
	if m.waiting = channelEnded && c.held > 0; !m.waiting {
		m.deliver("")
		m.forward()
	}
}

func (m *quorumModel) get(noAck bool) (d *modelDelivery, remaining int) {
	m.used = time.Now()
	if m.ready() == 0 {
		return nil, 0
	}
	d = &modelDelivery{modelMessage: m.takeHead()}
	remaining = m.ready() // with those that have expired, if it is to be acknowledged
	m.expire()
	if noAck {
		remaining = m.ready()
	} else {
		m.held = append(m.held, d)
	}
	m.forward()
	return d, remaining
}

func (m *quorumModel) resume(c *modelConsumer, room int) {
	m.widen(c, room)
	m.deliver("")
	m.forward()
}

func (m *quorumModel) purge() int {
	n := m.ready()
	m.returned, m.fresh = nil, nil
	m.forward()
	return n
}

// declared is no use of the queue.
func (m *quorumModel) declared() {}

// obey obeys a policy: a lower limit drops at once what is too much, and the time that
// the queue may be unused begins anew (contract 08 §5).
func (m *quorumModel) obey(arguments, policy message.Table) {
	m.setRules(arguments, policy)
	m.used = time.Now()
	letters := m.letters.kept
	if !m.rules.sure {
		m.letters.kept = nil
	}
	m.shortenLast()
	m.obeyLetters(letters)
	m.deliver("")
	m.forward()
}

// consumers is how many there are, with those who are gone and hold something, be it
// from a basic.get.
func (m *quorumModel) consumers() int {
	n, seen := len(m.all), slices.Clone(m.all)
	for _, d := range m.held {
		if d.to != nil && slices.Contains(seen, d.to) {
			continue
		}
		n++
		if d.to != nil {
			seen = append(seen, d.to)
		}
	}
	return n
}

// use notes that somebody uses the queue.
func (m *quorumModel) use() {
	if m.consumers() > 0 {
		m.used = time.Now()
	}
}

func (m *quorumModel) tick() {
	if m.rules.expires >= 0 && m.consumers() == 0 {
		idle := time.Duration(m.rules.expires) * time.Millisecond
		m.gone = !time.Now().Before(m.used.Add(idle))
	}
	if !m.gone {
		m.expire()
		m.deliver("")
		m.forward()
	}
}

// setTimer has no timer to set: the head goes when its time has come. What died of a
// batch of publishes is sent after the batch.
func (m *quorumModel) setTimer() {
	if !m.gone {
		m.forward()
	}
}

// restart gives back what is held; the order is that of the store.
func (m *quorumModel) restart() {
	all := slices.Concat(m.returned, m.fresh)
	for _, d := range m.held {
		d.redelivered = true
		d.count++
		all = append(all, d.modelMessage)
	}
	slices.SortFunc(all, func(a, b modelMessage) int { return a.position - b.position })
	*m = quorumModel{
		modelState: m.anew(), limit: m.limit, limited: m.limited, position: m.position,
		blocked: map[int]bool{}, letters: m.restartLetters(),
	}
	for _, x := range all {
		switch {
		case !m.durable:
		case m.limited && x.count > m.limit:
			m.bury(x, LimitReached)
		default:
			m.fresh = append(m.fresh, x)
		}
	}
	m.begin()
}

func (m *quorumModel) stat() Stat {
	s := Stat{Ready: m.ready(), Unacked: len(m.held), ReadyBytes: int64(m.bytes()), Consumers: m.consumers()}
	if m.rules.single && len(m.all) > 1 {
		s.Waiting = len(m.all) - 1
	}
	return s
}
