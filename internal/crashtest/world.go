package crashtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// world is a set of definitions.
type world struct {
	queues    map[string]queueDef
	exchanges map[string]exchangeDef
	bindings  map[bindingDef]bool
}

type queueDef struct {
	durable, autoDelete, exclusive bool
	lazy                           bool // has x-queue-mode, and an argument that nobody knows
}

// lasts says whether the queue survives a restart.
func (q queueDef) lasts() bool { return q.durable && !q.exclusive }

func (q queueDef) args() amqp.Table {
	if !q.lazy {
		return nil
	}
	return amqp.Table{"x-queue-mode": "lazy", "x-note": "kept"}
}

type exchangeDef struct {
	kind                string
	durable, autoDelete bool
}

type bindingDef struct {
	source, key, destination string
	exchange                 bool // the destination is one
}

func newWorld() *world {
	return &world{map[string]queueDef{}, map[string]exchangeDef{}, map[bindingDef]bool{}}
}

func (w *world) clone() *world {
	return &world{maps.Clone(w.queues), maps.Clone(w.exchanges), maps.Clone(w.bindings)}
}

// survivors is what a restart leaves: what is durable, and the bindings between.
// An exchange that is auto-delete stays, for it did not lose its bindings while
// there was a broker.
func (w *world) survivors() *world {
	out := newWorld()
	for name, q := range w.queues {
		if q.lasts() {
			out.queues[name] = q
		}
	}
	for name, x := range w.exchanges {
		if x.durable {
			out.exchanges[name] = x
		}
	}
	for b := range w.bindings {
		_, source := out.exchanges[b.source]
		_, destination := out.queues[b.destination]
		if source && (destination || b.exchange) {
			out.bindings[b] = true
		}
	}
	return out
}

// stopped is what a broker leaves that was stopped in order: connections end before it
// does, and what is exclusive to them goes with the auto-delete exchanges that have
// nothing else.
func (w *world) stopped() *world {
	w = w.clone()
	for name, q := range w.queues {
		if q.exclusive {
			w.deleteQueue(name)
		}
	}
	return w.survivors()
}

func (w *world) deleteQueue(name string) {
	delete(w.queues, name)
	w.deleteBindings(func(b bindingDef) bool { return !b.exchange && b.destination == name })
}

func (w *world) deleteExchange(name string) {
	delete(w.exchanges, name)
	w.deleteBindings(func(b bindingDef) bool { return b.source == name || b.exchange && b.destination == name })
}

// deleteBindings deletes bindings, and with their last one exchanges that are
// auto-delete.
func (w *world) deleteBindings(which func(bindingDef) bool) {
	lost := map[string]bool{}
	for b := range w.bindings {
		if which(b) {
			delete(w.bindings, b)
			lost[b.source] = true
		}
	}
	for b := range w.bindings {
		delete(lost, b.source)
	}
	for name := range lost {
		if w.exchanges[name].autoDelete {
			w.deleteExchange(name)
		}
	}
}

// String gives the definitions, one in a line.
func (w *world) String() string {
	var out []string
	for name, q := range w.queues {
		out = append(out, fmt.Sprintf("queue %s %+v", name, q))
	}
	for name, x := range w.exchanges {
		out = append(out, fmt.Sprintf("exchange %s %+v", name, x))
	}
	for b := range w.bindings {
		to := "queue"
		if b.exchange {
			to = "exchange"
		}
		out = append(out, fmt.Sprintf("binding %s -%s-> %s %s", b.source, b.key, to, b.destination))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// books is what is known of definitions that are changed one at a time. State is
// anything with a text that tells it from others.
type books[State fmt.Stringer] struct {
	now     State  // what there is, and is durable
	next    *State // what there is when the change that is under way is done
	history []string
	changes int
}

// begin writes down a change that is about to be asked for.
func (b *books[State]) begin(what string, after State) {
	b.next = &after
	b.note(what)
}

// done writes down that it was answered.
func (b *books[State]) done() {
	b.now, b.next = *b.next, nil
	b.changes++
	b.note("  done")
}

const maxHistory = 60

func (b *books[State]) note(what string) {
	b.history = append(b.history, what)
	if len(b.history) > maxHistory {
		b.history = b.history[1:]
	}
}

// crashed compares what is found after a crash with what there may be. It gives
// false if that is none of it.
func (b *books[State]) crashed(found State, survivors func(State) State, l *Ledger, who string) bool {
	l.countDefinitions(b.changes)
	b.changes = 0
	allowed := []State{survivors(b.now)}
	if b.next != nil {
		allowed = append(allowed, survivors(*b.next))
	}
	for i, state := range allowed {
		if state.String() == found.String() {
			b.now, b.next = state, nil
			b.note("crash; found was state " + []string{"before", "after"}[i] + " the last change")
			return true
		}
	}
	history := slices.Clone(b.history)
	for i, state := range allowed {
		history = append(history, "found, as against "+[]string{"the state before", "the state after"}[i]+":")
		history = append(history, difference(found.String(), state.String())...)
	}
	l.Violate(history, "the definitions of %s are not those that were confirmed; the broker was %s", who, l.howEnded())
	return false
}

// difference gives the lines that are too much (+) and those that are missing (-).
func difference(found, wanted string) []string {
	f, w := strings.Split(found, "\n"), strings.Split(wanted, "\n")
	var out []string
	for _, line := range f {
		if !slices.Contains(w, line) {
			out = append(out, "  + "+line)
		}
	}
	for _, line := range w {
		if !slices.Contains(f, line) {
			out = append(out, "  - "+line)
		}
	}
	return out
}
