package crashtest

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"
)

// The queues and exchanges that all load goes through. The transient ones are
// made anew in each life of the broker.
var (
	queueOptions = map[string]QueueOptions{
		"q0": {}, "q1": {}, "q2": {}, "q3": {}, "q4": {}, "q5": {},
		"quiet":   {}, // has no consumers
		"prio":    {Priorities: true},
		"dead":    {Unruly: true},
		"source":  {}, // dead-letters to dead
		"lossy":   {Lossy: true},
		"passing": {Transient: true},
		"quorum":  {Unruly: true, Keeps: true},
		"limited": {Unruly: true, Keeps: true},
	}
	queueArgs = map[string]amqp.Table{
		"prio":   {"x-max-priority": int32(3)},
		"quorum": {"x-queue-type": "quorum"},
		// So high that it is never reached: what would die of it nobody could tell.
		"limited": {"x-queue-type": "quorum", "x-delivery-limit": int32(1_000_000)},
		"source":  {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"},
	}
	exchanges = []struct {
		name, kind string
		durable    bool
	}{{"direct", "direct", true}, {"fan", "fanout", true}, {"topic", "topic", true}, {"brief", "fanout", false}, {sink, "fanout", true}}
	bindings = []struct{ queue, exchange, key string }{
		{"q0", "direct", "k0"}, {"q1", "direct", "k1"}, {"q0", "direct", "all"}, {"q1", "direct", "all"}, {"q2", "direct", "all"},
		{"q1", "fan", ""}, {"q3", "fan", ""}, {"q4", "fan", ""}, {"passing", "fan", ""},
		{"q2", "topic", "a.*"}, {"prio", "topic", "a.#"}, {"q5", "topic", "#.b"}, {"passing", "topic", "t"},
		{"q2", "brief", ""}, {"q5", "brief", ""}, {sink, sink, ""},
		{"quorum", "fan", ""}, {"limited", "topic", "a.#"},
	}
)

// sink is an exchange, and the queue behind it, that others are bound to.
const sink = "sink"

// route is one way of publishing.
type route struct {
	exchange, key string
	queues        []*Queue
}

// among gives those names that are names of queues.
func (t *topology) among(names ...string) []*Queue {
	var out []*Queue
	for _, name := range names {
		if q := t.queues[name]; q != nil {
			out = append(out, q)
		}
	}
	return out
}

// topology is the queues of one life of the broker and the ways to them.
type topology struct {
	queues map[string]*Queue
	routes []route
}

// supported gives the queues of queueOptions that the broker can be asked for. A
// refusal ends a connection, so that each queue with arguments is tried on one of
// its own; but for those that cannot be exclusive, which every broker here has.
func supported(dial func() (*amqp.Connection, error)) ([]string, error) {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(queueOptions)) {
		if queueArgs[name] == nil || queueArgs[name]["x-queue-type"] != nil {
			names = append(names, name)
			continue
		}
		conn, err := dial()
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		ch, err := conn.Channel()
		if err != nil {
			return nil, err
		}
		_, err = ch.QueueDeclare("", false, true, true, false, queueArgs[name])
		var e *amqp.Error
		if errors.As(err, &e) && e.Code == amqp.NotImplemented {
			continue
		}
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// setUp declares what is not there: everything for a new broker, else what is
// transient.
func setUp(ch *amqp.Channel, l *Ledger, names []string, isNew bool) (*topology, error) {
	t := &topology{queues: map[string]*Queue{}}
	for _, q := range l.Queues() {
		t.queues[q.name] = q
	}
	transient := func(name string) bool { return queueOptions[name].Transient }
	for _, name := range names {
		if isNew || transient(name) {
			if _, err := ch.QueueDeclare(name, !transient(name), false, false, false, queueArgs[name]); err != nil {
				return nil, fmt.Errorf("declare queue %s: %w", name, err)
			}
			t.queues[name] = l.AddQueue(name, queueOptions[name])
		}
	}
	if isNew {
		if _, err := ch.QueueDeclare(sink, true, false, false, false, nil); err != nil {
			return nil, fmt.Errorf("declare queue %s: %w", sink, err)
		}
	}
	durable := map[string]bool{}
	for _, x := range exchanges {
		durable[x.name] = x.durable
		if isNew || !x.durable {
			if err := ch.ExchangeDeclare(x.name, x.kind, x.durable, false, false, false, nil); err != nil {
				return nil, fmt.Errorf("declare exchange %s: %w", x.name, err)
			}
		}
	}
	for _, b := range bindings {
		if b.queue != sink && t.queues[b.queue] == nil {
			continue
		}
		if isNew || !durable[b.exchange] || transient(b.queue) {
			if err := ch.QueueBind(b.queue, b.key, b.exchange, false, nil); err != nil {
				return nil, fmt.Errorf("bind queue %s to %s: %w", b.queue, b.exchange, err)
			}
		}
	}
	to := func(exchange, key string, queues ...string) {
		r := route{exchange: exchange, key: key}
		for _, name := range queues {
			if q := t.queues[name]; q != nil {
				r.queues = append(r.queues, q)
			}
		}
		if len(r.queues) > 0 {
			t.routes = append(t.routes, r)
		}
	}
	for _, name := range []string{"q0", "q1", "q2", "q3", "q4", "q5", "quiet", "prio", "source", "lossy", "quorum", "limited"} {
		to("", name, name)
	}
	to("direct", "k0", "q0")
	to("direct", "k1", "q1")
	to("direct", "all", "q0", "q1", "q2")
	to("fan", "any", "q1", "q3", "q4", "passing", "quorum")
	to("topic", "a.b", "q2", "prio", "q5", "limited")
	to("topic", "a.c", "q2", "prio", "limited")
	to("topic", "t", "passing")
	to("brief", "", "q2", "q5")
	return t, nil
}
