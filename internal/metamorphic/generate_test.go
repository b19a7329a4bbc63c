package metamorphic

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// history is what players play.
type history struct {
	seed uint64
	// wide says that all of AMQP is used. The narrow dialect is what the native
	// API has words for.
	wide bool
	// alone says that each connection has one channel, and ends with it. A native
	// channel is a connection of its own, so that in the narrow dialect only then
	// are there exclusive queues.
	alone bool
	users []string // of each connection
	slots []int    // the connection of each channel
	homes []string // the queue that each channel consumes
	modes []mode   // what each channel is, in the narrow dialect
	ops   []op
}

// mode is what a channel may become. To the native API confirm mode is a matter of
// each publish, so that it knows no conflict with transactions.
type mode uint8

const (
	plain mode = iota
	confirming
	transactional
)

// op is one operation. It may depend on what the player has seen so far.
type op struct {
	slot int
	text string
	run  func(p *player, s *slot)
}

// generator makes up a history.
type generator struct {
	*history
	rnd     *rand.Rand
	slot    int             // of the operation
	durable map[string]bool // as it was declared at first
}

// newHistory makes a history of n operations, and some before that give them
// something to work on.
//
// Each channel consumes one queue only, channels of one connection not the same
// one, and only that queue and one that nobody consumes are got from. Otherwise
// it would be a matter of chance which of two queues gets the last place of a
// global prefetch, whose delivery has the lower tag, and, when a connection ends,
// whether what returns from one of its channels goes to another one first.
func newHistory(seed uint64, n int) *history {
	g := &generator{rnd: rand.New(rand.NewPCG(seed, 3)), history: &history{seed: seed}, durable: map[string]bool{}}
	g.wide = g.rnd.IntN(3) == 0
	g.alone = g.rnd.IntN(2) == 0
	g.slots, g.homes = []int{0, 0, 1, 1}, []string{"q0", "q1", "q0", "q1"}
	g.users = []string{guest, guest}
	if g.alone {
		g.slots, g.homes = []int{0, 1, 2}, []string{"q0", "q0", "q1"}
		g.users = append(g.users, guest)
	}
	if g.rnd.IntN(3) == 0 {
		g.users[len(g.users)-1] = limited
	}
	for range g.slots {
		g.modes = append(g.modes, mode(g.rnd.IntN(3)))
	}
	g.setUp()
	for range n {
		g.slot = g.rnd.IntN(len(g.slots))
		g.operation()
	}
	return g.history
}

// add adds an operation.
func (g *generator) add(run func(p *player, s *slot), format string, args ...any) {
	g.ops = append(g.ops, op{g.slot, fmt.Sprintf("%d: ", g.slot) + fmt.Sprintf(format, args...), run})
}

// call adds an operation that is one call with no more result than an error.
func (g *generator) call(f func(s session) error, format string, args ...any) {
	g.add(func(p *player, s *slot) { p.result(s, f(s.session)) }, format, args...)
}

func (g *generator) rarely() bool { return g.rnd.IntN(20) == 0 }
func (g *generator) coin() bool   { return g.rnd.IntN(2) == 0 }

func pick[T any](g *generator, of ...T) T { return of[g.rnd.IntN(len(of))] }

var kinds = map[string]string{"e0": "direct", "e1": "topic", "e2": "headers", "e3": "fanout"}

func (g *generator) setUp() {
	for _, name := range []string{"q0", "q1", "q2"} {
		g.durable[name] = g.coin()
		g.declareQueue(name, g.durable[name], false, false, nil)
	}
	for _, name := range []string{"e0", "e1", "e2", "e3"} {
		g.durable[name] = g.coin()
		g.declareExchange(name, kinds[name], g.durable[name], false, false, nil)
		for range 2 {
			g.bindQueue(pick(g, "q0", "q1", "q2"), name, g.key(), g.bindArgs())
		}
	}
	for g.slot = range g.slots {
		g.becomeMode()
		if g.rnd.IntN(3) == 0 {
			g.qos()
		}
		if g.coin() {
			g.consume()
		}
		if g.coin() {
			g.consumeReplies()
			g.request()
		}
	}
}

func (g *generator) queue() string {
	if g.rarely() {
		return pick(g, "nope", "amq.q", "q\r0", "", "amq.rabbitmq.reply-to", "x0", "x1")
	}
	return pick(g, "q0", "q1", "q2", "q0", "q1", "q2", "x0", madeUp)
}

// madeUp stands for the name that the broker made up last.
const madeUp = "<made up>"

// actual gives the name of a queue.
func (p *player) actual(name string) string {
	if name != madeUp {
		return name
	}
	if len(p.named) == 0 {
		return "q2"
	}
	return p.named[len(p.named)-1]
}

func (g *generator) exchange() string {
	if g.rarely() {
		return pick(g, "", "amq.e", "amq.topic", "amq.headers", "nope", "e\n0", "e4", "e4", "e5")
	}
	return pick(g, "e0", "e1", "e2", "e3")
}

func (g *generator) key() string { return pick(g, "", "a", "a.b", "a.#", "b", "*.b", "q0") }

func (g *generator) bindArgs() amqp.Table {
	switch g.rnd.IntN(8) {
	case 0, 1:
		return amqp.Table{"x-match": pick(g, "any", "all", "any-with-x"), "n": int32(g.rnd.IntN(2)), "s": "v"}
	case 2:
		return amqp.Table{"n": int64(g.rnd.IntN(2))}
	case 3:
		if g.rarely() {
			return amqp.Table{"x-match": pick[any](g, int32(1), "some")}
		}
	}
	return nil
}

func (g *generator) queueArgs() amqp.Table {
	if g.rnd.IntN(3) > 0 {
		return nil
	}
	return pick(g,
		amqp.Table{},
		amqp.Table{"x-queue-type": "classic"},
		amqp.Table{"x-queue-type": pick[any](g, "nope", int32(1))},
		amqp.Table{"x-max-length": pick[any](g, int32(-1), "many")},
		amqp.Table{"x-message-ttl": pick[any](g, int32(-1), "long", true)},
		amqp.Table{"x-dead-letter-exchange": int32(5)},
		amqp.Table{"x-dead-letter-routing-key": "k"},
		amqp.Table{"x-unknown": amqp.Table{"deep": []any{int32(1), "two", nil}}},
		amqp.Table{"alternate-exchange": "e0"},
	)
}

func (g *generator) declareQueue(name string, durable, autoDelete, exclusive bool, args amqp.Table) {
	noWait := g.wide && g.rarely() && name != ""
	g.add(func(p *player, s *slot) {
		q, err := s.session.QueueDeclare(p.actual(name), durable, autoDelete, exclusive, noWait, args)
		if name == "" && err == nil {
			p.named = append(p.named, q.Name)
		}
		p.result(s, err, q)
	}, "declare queue %q durable=%t auto-delete=%t exclusive=%t no-wait=%t %s", name, durable, autoDelete, exclusive, noWait, showValue(args))
}

func (g *generator) declareExchange(name, kind string, durable, autoDelete, internal bool, args amqp.Table) {
	noWait := g.wide && g.rarely()
	g.call(func(s session) error {
		return s.ExchangeDeclare(name, kind, durable, autoDelete, internal, noWait, args)
	},
		"declare exchange %q %s durable=%t auto-delete=%t internal=%t no-wait=%t %s", name, kind, durable, autoDelete, internal, noWait, showValue(args))
}

func (g *generator) bindQueue(queue, exchange, key string, args amqp.Table) {
	noWait := g.wide && g.rarely()
	g.add(func(p *player, s *slot) {
		p.result(s, s.session.QueueBind(p.actual(queue), key, exchange, noWait, args))
	}, "bind queue %q to %q with %q no-wait=%t %s", queue, exchange, key, noWait, showValue(args))
}

// message makes up a message with some properties.
func (g *generator) message() amqp.Publishing {
	m := amqp.Publishing{Body: fmt.Append(nil, "message ", len(g.ops))}
	switch {
	case g.rarely():
		m.Body = nil
	case g.rarely():
		m.Body = bytes.Repeat(m.Body, 1+g.rnd.IntN(1000)) // up to three frames
	}
	if g.coin() {
		return m
	}
	for _, s := range []*string{&m.ContentType, &m.ContentEncoding, &m.CorrelationId, &m.ReplyTo, &m.MessageId, &m.Type, &m.AppId} {
		if g.rnd.IntN(4) == 0 {
			*s = pick(g, "some", "a longer one", "äöü")
		}
	}
	m.DeliveryMode, m.Priority = uint8(g.rnd.IntN(3)), uint8(g.rnd.IntN(3))
	if g.rnd.IntN(4) == 0 {
		m.Timestamp = time.Unix(int64(g.rnd.Uint32()), 0)
	}
	if g.rarely() {
		m.Expiration = pick(g, "600000000", "soon", "-1")
	}
	if g.rarely() {
		m.UserId = pick(g, guest, limited)
	}
	if g.coin() {
		m.Headers = amqp.Table{"n": pick[any](g, int32(0), int32(1), int64(1), "0"), "s": pick(g, "v", "w")}
	}
	if g.rnd.IntN(6) == 0 {
		m.Headers = amqp.Table{
			"CC":  pick[any](g, []any{"q0", "q1"}, []any{"b"}, []any{}, "q0", []any{int32(1)}),
			"BCC": pick[any](g, []any{"q2"}, []any{"a", "b"}, nil),
		}
	}
	if g.rnd.IntN(6) == 0 {
		m.Headers = amqp.Table{
			"table": amqp.Table{"empty": amqp.Table{}, "list": []any{true, nil, []any{"deep"}}},
			"small": []any{int8(-3), byte(200), int16(-300), int32(7), int64(1) << 40},
			"float": []any{float32(1.5), 2.25}, "decimal": amqp.Decimal{Scale: 2, Value: 314},
			"bytes": []byte{0, 1, 255}, "time": time.Unix(1700000000, 0),
		}
	}
	return m
}

func (g *generator) publish() {
	m := publish{exchange: g.exchange(), key: g.key(), mandatory: g.rnd.IntN(3) == 0, msg: g.message()}
	if g.rnd.IntN(3) == 0 {
		m.exchange, m.key = "", pick(g, "q0", "q1", "q2")
	}
	m.immediate = g.wide && g.rnd.IntN(100) == 0
	if !g.wide && m.mandatory && g.modes[g.slot] == confirming {
		// The native API tells of the return, but does not give it back, so that
		// nobody takes out what the broker would.
		delete(m.msg.Headers, "BCC")
	}
	confirmed := g.modes[g.slot] == confirming && !g.rarely()
	g.add(func(p *player, s *slot) {
		if confirmed && !s.confirms {
			s.confirms = true
			if err := s.session.confirm(); err != nil {
				p.result(s, err)
				return
			}
		}
		p.publish(s, m)
	}, "publish to %q with %q mandatory=%t immediate=%t %s", m.exchange, m.key, m.mandatory, m.immediate, showMessage(m.msg))
}

// publish publishes, and notes what was said of it.
func (p *player) publish(s *slot, m publish) {
	outcome, err := s.session.publish(m)
	if s.session.end() == nil && outcome != "" {
		p.see("%s", outcome)
	}
	p.result(s, err)
}

func (g *generator) consume() {
	c := consume{queue: g.homes[g.slot], tag: pick(g, "c-0", "c-1", "c-2"), autoAck: g.rnd.IntN(4) == 0, exclusive: g.rarely()}
	switch {
	case g.rarely():
		c.tag, c.autoAck = "", false
	case g.rarely():
		c.queue = "nope"
	case g.rarely():
		c.args = pick(g, amqp.Table{"x-priority": int32(1)}, amqp.Table{"x-priority": "high"}, amqp.Table{"x": "y"})
	}
	anew := g.rarely()
	g.add(func(p *player, s *slot) {
		_, taken := s.consumers[c.tag]
		c := c
		if taken && (!anew || c.tag == s.replies) {
			c.tag = fmt.Sprint("c-", 3+len(s.consumers))
			if _, taken = s.consumers[c.tag]; taken {
				p.see("no tag is free")
				return
			}
		}
		err := s.session.consume(c)
		if err == nil {
			s.consumers[tagName(c.tag)] = !c.autoAck
		}
		p.result(s, err)
	}, "consume %q as %q (or another: %t) auto-ack=%t exclusive=%t %s", c.queue, c.tag, !anew, c.autoAck, c.exclusive, showValue(c.args))
}

// directReply is the queue that stands for a channel's own replies.
const directReply = "amq.rabbitmq.reply-to"

// consumeReplies adds a consumer of direct replies. No queue knows of its tag, so that
// the client could not tell it from another one of that tag.
func (g *generator) consumeReplies() {
	autoAck, again := !g.rarely(), g.rarely()
	g.add(func(p *player, s *slot) {
		if s.replies == "" || again {
			p.consumeReplies(s, autoAck)
		}
	}, "consume replies (or again: %t) auto-ack=%t", again, autoAck)
}

func (p *player) consumeReplies(s *slot, autoAck bool) {
	c := consume{queue: directReply, autoAck: autoAck}
	for i := 0; c.tag == ""; i++ {
		if _, taken := s.consumers[fmt.Sprint("c-", i)]; !taken {
			c.tag = fmt.Sprint("c-", i)
		}
	}
	err := s.session.consume(c)
	if err == nil {
		s.consumers[c.tag], s.replies = false, c.tag
	}
	p.result(s, err)
}

// request publishes what wants a direct reply.
func (g *generator) request() {
	m := publish{key: pick(g, "q0", "q1", "q2"), mandatory: g.coin(), msg: g.message()}
	m.msg.ReplyTo = directReply
	if !g.wide && g.modes[g.slot] == confirming {
		m.mandatory = false // what comes back has no address there; see publish
	}
	careful := !g.rarely()
	g.add(func(p *player, s *slot) {
		if s.replies == "" && careful {
			p.consumeReplies(s, true)
		}
		p.publish(s, m)
	}, "request of %q mandatory=%t %s", m.key, m.mandatory, showMessage(m.msg))
}

// reply publishes to an address that was seen, of somebody who may be gone, or asks
// whether he is.
func (g *generator) reply() {
	m := publish{mandatory: g.rnd.IntN(4) == 0, msg: g.message()}
	delete(m.msg.Headers, "BCC") // see generator.publish
	n, ask := g.rnd.IntN(3), g.rnd.IntN(5) == 0
	g.add(func(p *player, s *slot) {
		if len(p.asking) == 0 {
			p.see("nobody has asked")
			return
		}
		m := m
		m.key = p.asking[max(0, len(p.asking)-1-n)]
		if ask {
			q, err := s.session.QueueDeclarePassive(m.key, false, false, false, false, nil)
			p.result(s, err, q)
			return
		}
		p.publish(s, m)
	}, "reply to %d before the last, or only ask: %t, mandatory=%t %s", n, ask, m.mandatory, showMessage(m.msg))
}

func (g *generator) cancel() {
	n := g.rnd.IntN(6)
	requeue := !g.wide
	g.add(func(p *player, s *slot) {
		tag := "c-nobody"
		if tags := slices.Sorted(maps.Keys(s.consumers)); n < len(tags) && tags[n] != nameless {
			tag = tags[n]
		}
		stream := "to " + tag
		if !requeue {
			s.gone(tag)
			p.result(s, s.session.cancel(tag, nil))
			return
		}
		// Leaving a loop returns all at once, and in no transaction. Elsewhere one
		// method can do so if nothing else is held.
		others := slices.ContainsFunc(s.held, func(d held) bool { return d.stream != stream })
		if _, known := s.consumers[tag]; !known || s.tx || others {
			p.see("there is nothing like it")
			return
		}
		s.held = nil
		s.gone(tag)
		p.result(s, s.session.cancel(tag, func() error { return s.session.Nack(0, true, true) }))
	}, "cancel consumer %d requeue=%t", n, requeue)
}

// which says what to settle.
type which uint8

const (
	oldest which = iota
	newest
	upToNewest
	everything
	unknown
	settledBefore
)

// find gives the tag, and takes it from what is held.
func (s *slot) find(w which) (tag uint64, multiple bool) {
	n := len(s.held)
	switch {
	case w == unknown:
		return 999, false
	case w == settledBefore:
		return 1, false
	case n == 0 || w == everything:
		s.settled(func(held) bool { return true })
		return 0, true
	case w == oldest:
		tag = s.held[0].tag
	default:
		tag = s.held[n-1].tag
	}
	multiple = w == upToNewest
	s.settled(func(d held) bool { return d.tag == tag || multiple && d.tag < tag })
	return tag, multiple
}

func (g *generator) settle() {
	w := pick(g, oldest, oldest, oldest, newest, newest, upToNewest, everything)
	if g.rarely() {
		w = pick(g, unknown, settledBefore)
	}
	requeue, how := g.coin(), g.rnd.IntN(4)
	g.add(func(p *player, s *slot) {
		tag, multiple := s.find(w)
		p.see("tag %d multiple=%t", tag, multiple)
		var err error
		switch {
		case how == 0 && !multiple && tag != 0:
			err = s.session.Reject(tag, requeue)
		case how < 2:
			err = s.session.Nack(tag, multiple, requeue)
		default:
			err = s.session.Ack(tag, multiple)
		}
		p.result(s, err)
	}, "settle %d by %d requeue=%t", w, how, requeue)
}

// becomeMode makes the channel what it is meant to be.
func (g *generator) becomeMode() {
	m := g.modes[g.slot]
	if g.wide && g.rnd.IntN(4) == 0 {
		m = mode(g.rnd.IntN(3))
	}
	switch m {
	case confirming:
		g.call(session.confirm, "confirm select")
	case transactional:
		g.add(func(p *player, s *slot) { p.result(s, s.txSelect()) }, "tx select")
	}
}

func (s *slot) txSelect() error {
	err := s.session.Tx()
	s.tx = s.tx || err == nil
	return err
}

func (g *generator) transaction() {
	if g.rnd.IntN(5) == 0 {
		g.becomeMode()
		return
	}
	isOne := g.modes[g.slot] == transactional
	if !isOne && !g.rarely() {
		g.publish()
		return
	}
	commit := g.rnd.IntN(3) > 0
	g.add(func(p *player, s *slot) {
		switch {
		case isOne && !s.tx: // it is a new channel
			p.result(s, s.txSelect())
		case commit:
			s.uncommitted = nil
			p.result(s, s.session.TxCommit())
		default:
			s.rolledBack()
			p.result(s, s.session.TxRollback())
		}
	}, "end the transaction, commit=%t", commit)
}
