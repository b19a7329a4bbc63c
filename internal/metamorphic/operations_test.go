package metamorphic

import (
	amqp "github.com/rabbitmq/amqp091-go"
)

// operation adds an operation of any kind.
func (g *generator) operation() {
	switch n := g.rnd.IntN(100); {
	case n < 20:
		g.publish()
	case n < 22:
		g.consumeReplies()
	case n < 24:
		g.request()
	case n < 26:
		g.reply()
	case n < 44:
		g.settle()
	case n < 50:
		g.get()
	case n < 59:
		g.consume()
	case n < 62:
		g.cancel()
	case n < 71:
		g.transaction()
	case n < 75:
		g.qos()
	case n < 77:
		g.recover()
	case n < 82:
		g.declare()
	case n < 88:
		g.bind()
	case n < 92:
		g.inspect()
	case n < 93:
		name := g.queue()
		g.add(func(p *player, s *slot) {
			n, err := s.session.QueuePurge(p.actual(name), false)
			p.result(s, err, n)
		}, "purge %q", name)
	case n < 97:
		g.remove()
	default:
		g.close()
	}
}

func (g *generator) get() {
	name, autoAck := pick(g, g.homes[g.slot], "q2"), g.coin()
	if g.rarely() {
		name = pick(g, "nope", "")
	}
	g.add(func(p *player, s *slot) {
		d, ok, err := s.session.Get(name, autoAck)
		if !ok {
			p.result(s, err, "nothing")
			return
		}
		if !autoAck {
			s.hold(d.DeliveryTag, "")
		}
		p.result(s, err, d.DeliveryTag, showDelivery(d))
	}, "get from %q auto-ack=%t", name, autoAck)
}

func (g *generator) qos() {
	count, global := g.rnd.IntN(4), g.rnd.IntN(3) == 0
	size := 0
	if g.wide && g.rarely() {
		size = 1
	}
	g.call(func(s session) error { return s.Qos(count, size, global) }, "qos count=%d size=%d global=%t", count, size, global)
}

func (g *generator) recover() {
	requeue := !g.wide || !g.rarely()
	g.add(func(p *player, s *slot) {
		s.held = nil
		p.result(s, s.session.Recover(requeue))
	}, "recover requeue=%t", requeue)
}

func (g *generator) declare() {
	switch n := g.rnd.IntN(10); {
	case n < 1:
		g.declareQueue("", false, g.coin(), g.mayBeExclusive(), nil)
	case n < 2 && (g.wide || g.alone):
		g.declareQueue(pick(g, "x0", "x1"), g.coin(), g.coin(), true, nil)
	case n < 5:
		name := g.queue()
		g.declareQueue(name, g.durable[name] != g.rarely(), g.rarely(), g.mayBeExclusive(), g.queueArgs())
	default:
		name := pick(g, g.exchange(), "e4")
		kind := kinds[name]
		if kind == "" || g.rarely() {
			kind = pick(g, "direct", "topic", "fanout", "headers", "nope")
		}
		var args amqp.Table
		if g.rnd.IntN(4) == 0 {
			args = amqp.Table{"alternate-exchange": pick[any](g, "e3", "e4", "nope", int32(1))}
		}
		g.declareExchange(name, kind, g.durable[name] != g.rarely(), g.rnd.IntN(4) == 0, g.rarely(), args)
	}
}

func (g *generator) mayBeExclusive() bool { return (g.wide || g.alone) && g.rnd.IntN(4) == 0 }

func (g *generator) bind() {
	key, args := g.key(), g.bindArgs()
	switch g.rnd.IntN(6) {
	case 0:
		from, to := g.exchange(), g.exchange()
		g.call(func(s session) error { return s.ExchangeBind(to, key, from, false, args) },
			"bind exchange %q to %q with %q %s", to, from, key, showValue(args))
	case 1:
		from, to := g.exchange(), g.exchange()
		g.call(func(s session) error { return s.ExchangeUnbind(to, key, from, false, args) },
			"unbind exchange %q from %q with %q %s", to, from, key, showValue(args))
	case 2:
		name, from := g.queue(), g.exchange()
		g.add(func(p *player, s *slot) { p.result(s, s.session.QueueUnbind(p.actual(name), key, from, args)) },
			"unbind queue %q from %q with %q %s", name, from, key, showValue(args))
	default:
		g.bindQueue(g.queue(), g.exchange(), key, args)
	}
}

func (g *generator) inspect() {
	if g.rnd.IntN(3) == 0 {
		name := g.exchange()
		g.call(func(s session) error {
			return s.ExchangeDeclarePassive(name, "direct", false, false, false, false, nil)
		},
			"inspect exchange %q", name)
		return
	}
	name := g.queue()
	g.add(func(p *player, s *slot) {
		q, err := s.session.QueueDeclarePassive(p.actual(name), false, false, false, false, nil)
		p.result(s, err, q)
	}, "inspect queue %q", name)
}

func (g *generator) remove() {
	if ifUnused := g.rnd.IntN(4) > 0; g.rnd.IntN(3) == 0 {
		name := g.exchange()
		g.call(func(s session) error { return s.ExchangeDelete(name, ifUnused, false) }, "delete exchange %q if-unused=%t", name, ifUnused)
	} else {
		name, ifEmpty := g.queue(), g.coin()
		noWait := g.wide && g.rarely()
		g.add(func(p *player, s *slot) {
			n, err := s.session.QueueDelete(p.actual(name), ifUnused, ifEmpty, noWait)
			p.result(s, err, n)
		}, "delete queue %q if-unused=%t if-empty=%t no-wait=%t", name, ifUnused, ifEmpty, noWait)
	}
}

// close ends a channel or its connection, which are opened anew.
func (g *generator) close() {
	if !g.alone && g.coin() {
		g.call(session.Close, "close")
		return
	}
	g.add(func(p *player, s *slot) { p.result(s, p.peers[s.peer].close()) }, "close the connection")
}
