package amqp091_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// TestHistoriesHaveTheSameResults plays random histories with both faces, and
// compares all that a program sees of them.
func TestHistoriesHaveTheSameResults(t *testing.T) {
	t.Parallel()
	const histories, length = 40, 150
	for seed := range uint64(histories) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			var seen [2][]string
			for i, face := range faces {
				p := &player{
					world: newWorld(t, face.dial),
					rnd:   rand.New(rand.NewPCG(seed, 1)),
				}
				p.reopen()
				for range length {
					p.step()
				}
				seen[i] = p.seen
			}
			require.Equal(t, seen[0], seen[1])
		})
	}
}

// player plays one history.
type player struct {
	*world
	rnd *rand.Rand
	ch  channel
	end <-chan *amqp.Error
	// control is another channel. Its answers come after all that was said before.
	control channel
	tags    []uint64 // of what was got and not settled
	seen    []string
}

func (p *player) reopen() {
	if p.IsClosed() {
		p.connection, p.world.open = p.connect()
		p.control = nil
	}
	if p.control == nil {
		p.control = p.channel()
	}
	p.ch, p.tags = p.channel(), nil
	p.end = closes(p.ch)
}

// note notes the result of a step. If that closed the channel, it is opened anew.
func (p *player) note(what string, err error, results ...any) {
	p.seen = append(p.seen, fmt.Sprint(what, " ", results, " ", err))
	if errors.As(err, new(*amqp.Error)) {
		p.seen = append(p.seen, fmt.Sprintf("channel %#v, connection closed %t", await(p, p.end), p.IsClosed()))
		p.reopen()
	}
}

// noteSent is note for a method without an answer. The client has heard of a
// refusal when another channel has had an answer. The channel itself is not
// asked: the client may use it for a moment after it has agreed to its end, which
// ends the connection.
func (p *player) noteSent(what string, err error) {
	p.note(what, err)
	if p.control.Qos(0, 0, false) == nil && !p.ch.IsClosed() {
		return
	}
	p.seen = append(p.seen, fmt.Sprintf("channel %#v, connection closed %t", await(p, p.end), p.IsClosed()))
	p.reopen()
}

func (p *player) coin() bool { return p.rnd.IntN(4) == 0 }

func (p *player) pick(names ...string) string { return names[p.rnd.IntN(len(names))] }

func (p *player) rarely() bool { return p.rnd.IntN(25) == 0 }

func (p *player) queueName() string {
	if p.rarely() {
		return "amq.q"
	}
	return p.pick("q0", "q1")
}

func (p *player) exchange() string {
	if p.rarely() {
		return p.pick("", "amq.e", "amq.topic", "amq.headers")
	}
	return p.pick("e0", "e1")
}

func (p *player) key() string { return p.pick("", "a", "a.b", "#") }

func (p *player) args() amqp.Table {
	switch p.rnd.IntN(25) {
	case 0, 1, 2:
		return amqp.Table{"x-match": "any", "n": p.rnd.IntN(2), "s": "v"}
	case 3:
		return amqp.Table{}
	case 4:
		return amqp.Table{"x-match": 1}
	}
	return nil
}

// tag gives the tag of a delivery to settle, mostly one that can be. With multiple
// it is the last one.
func (p *player) tag() (tag uint64, multiple bool) {
	switch n := len(p.tags); {
	case p.rarely():
		return uint64(p.rnd.IntN(4)), false
	case n == 0:
		return 0, true // all there are
	case p.coin():
		tag, p.tags = p.tags[n-1], nil
		return tag, true
	}
	tag, p.tags = p.tags[0], p.tags[1:]
	return tag, false
}

func (p *player) step() {
	ch := p.ch
	switch p.rnd.IntN(22) {
	case 0, 1:
		q, err := ch.QueueDeclare(p.queueName(), p.rarely(), p.rarely(), false, false, p.args())
		p.note("declare", err, q)
	case 2, 3:
		name := p.exchange()
		kind := map[string]string{"e0": "topic", "e1": "headers"}[name]
		if p.rarely() {
			kind = p.pick("direct", "fanout", "none")
		}
		p.note("exchange "+kind, ch.ExchangeDeclare(name, kind, p.rarely(), p.rarely(), p.rarely(), false, nil))
	case 4, 5:
		p.note("bind", ch.QueueBind(p.queueName(), p.key(), p.exchange(), false, p.args()))
	case 6:
		p.note("unbind", ch.QueueUnbind(p.queueName(), p.key(), p.exchange(), p.args()))
	case 7:
		p.note("bind exchanges", ch.ExchangeBind(p.exchange(), p.key(), p.exchange(), false, p.args()))
	case 8:
		p.note("unbind exchanges", ch.ExchangeUnbind(p.exchange(), p.key(), p.exchange(), false, p.args()))
	case 9, 10, 11, 12:
		msg := amqp.Publishing{Headers: p.args(), Body: fmt.Append(nil, len(p.seen)), Priority: uint8(p.rnd.IntN(3))}
		if exchange, key := p.exchange(), p.key(); p.rnd.IntN(3) > 0 {
			p.noteSent("publish", ch.Publish(exchange, key, false, false, msg))
		} else {
			p.noteSent("publish to a queue", ch.Publish("", p.queueName(), false, false, msg))
		}
	case 13:
		p.mandatory()
	case 14, 15:
		autoAck := p.coin()
		d, ok, err := ch.Get(p.queueName(), autoAck)
		if ok && !autoAck {
			p.tags = append(p.tags, d.DeliveryTag)
		}
		d.Acknowledger = nil
		p.note("get", err, ok, d)
	case 16:
		tag, multiple := p.tag()
		p.noteSent("ack", ch.Ack(tag, multiple))
	case 17:
		tag, multiple := p.tag()
		p.noteSent("nack", ch.Nack(tag, multiple, p.coin()))
	case 18:
		q, err := ch.QueueInspect(p.queueName())
		p.note("inspect", err, q)
	case 19:
		if p.rarely() {
			n, err := ch.QueuePurge(p.queueName(), false)
			p.note("purge", err, n)
		} else if p.coin() {
			n, err := ch.QueueDelete(p.queueName(), p.coin(), p.coin(), false)
			p.note("delete", err, n)
		}
	case 20:
		if p.coin() {
			p.note("delete exchange", ch.ExchangeDelete(p.exchange(), p.coin(), false))
		}
	case 21:
		p.consume()
	}
}

// mandatory publishes a message that may come back, with a channel of its own.
func (p *player) mandatory() {
	ch := p.channel()
	returns := ch.NotifyReturn(make(chan amqp.Return, 1))
	end := closes(ch)
	err := ch.Confirm(false)
	require.NoError(p, err)
	d, err := ch.PublishWithDeferredConfirm(p.exchange(), p.key(), true, false, amqp.Publishing{})
	require.NoError(p, err)
	p.seen = append(p.seen, fmt.Sprint("mandatory ", d.DeliveryTag, d.Wait()))
	if ch.IsClosed() {
		p.seen = append(p.seen, fmt.Sprintf("%#v", await(p, end)))
		return
	}
	require.NoError(p, ch.Close())
	for r := range returns {
		p.seen = append(p.seen, fmt.Sprintf("%#v", r))
	}
}

// consume receives all that is ready in a queue, with a channel of its own.
func (p *player) consume() {
	ch := p.channel()
	q := p.queueName()
	state, err := ch.QueueInspect(q)
	p.seen = append(p.seen, fmt.Sprint("consume ", state, err))
	if err != nil {
		return
	}
	ds, err := ch.Consume(q, "tag", p.coin(), p.coin(), false, false, nil)
	require.NoError(p, err)
	for range state.Messages {
		d := await(p, ds)
		d.Acknowledger = nil
		p.seen = append(p.seen, fmt.Sprint(d))
	}
	p.seen = append(p.seen, fmt.Sprint("cancel ", ch.Cancel("tag", false)))
	awaitClosed(p, ds)
	require.NoError(p, ch.Close())
}
