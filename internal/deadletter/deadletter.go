// Package deadletter makes the message that goes to a dead-letter exchange out of
// the one that died, and tells where it must not go: RabbitMQ's rabbit_dead_letter
// (contract 05 §7). It knows no queue and no exchange.
package deadletter

import (
	"fmt"
	"slices"
	"time"

	"github.com/warrenmq/warren/message"
)

// Death is what happened to a message.
type Death struct {
	// Queue is where it died, Reason why: rejected, expired, maxlen, delivery_limit.
	Queue, Reason string
	Time          time.Time
	// Exchange is the dead-letter exchange, RoutingKey the key to be used instead of
	// the message's own if Rekeyed is set.
	Exchange, RoutingKey string
	Rekeyed              bool
}

// Letter is a message for the dead-letter exchange.
type Letter struct {
	// Msg has one reference, which is the caller's.
	Msg *message.Message
	// Keys are its routing keys, the primary one first.
	Keys []string
	// deaths is its x-death header, newest first.
	deaths []any
	reason string
}

// The headers that tell of deaths.
const (
	xDeath         = "x-death"
	firstReason    = "x-first-death-reason"
	firstQueue     = "x-first-death-queue"
	firstExchange  = "x-first-death-exchange"
	rejectedReason = "rejected"
)

// Write writes the letter of a dead message, which it only reads: with x-death
// brought up to date, without an expiration, and without CC if it gets a new
// routing key. Its expiration, if it had one, is in x-death. An error says that
// the properties cannot be written: with x-death they are too large.
func Write(m *message.Message, d Death) (*Letter, error) {
	props, err := m.Properties()
	if err != nil {
		return nil, fmt.Errorf("dead-letter a message of queue '%s': %w", d.Queue, err)
	}
	more := senderSelected(props.Headers)
	headers, deaths := record(props.Headers, entryOf(m, &props, more, d))
	l := &Letter{deaths: deaths, reason: d.Reason}
	hidden := m.HiddenKeys()
	if d.Rekeyed {
		l.Keys, hidden = []string{d.RoutingKey}, nil
		if i := slices.IndexFunc(headers, func(f message.Field) bool { return f.Name == "CC" }); i >= 0 {
			headers = slices.Delete(headers, i, i+1)
		}
	} else {
		l.Keys = slices.Concat([]string{m.RoutingKey()}, more, hidden)
	}
	props.Headers = headers
	props.Clear(message.PropExpiration)
	raw, err := props.Append(nil)
	if err != nil {
		return nil, fmt.Errorf("dead-letter a message of queue '%s': %w", d.Queue, err)
	}
	l.Msg = message.New(d.Exchange, l.Keys[0], raw, m.Size())
	l.Msg.AppendBody(m.Body())
	l.Msg.SetAttributes(m.Persistent(), m.Priority())
	l.Msg.SetHiddenKeys(hidden)
	return l, nil
}

// Circles reports whether the letter must not go to a queue because it would go
// round for ever: it died there before, and since then nobody rejected it
// anywhere. What was rejected just now goes wherever it is sent.
func (l *Letter) Circles(queue string) bool {
	if l.reason == rejectedReason {
		return false
	}
	for _, v := range l.deaths {
		d, ok := v.(message.Table)
		if !ok {
			continue
		}
		if text(d, "reason") == any(rejectedReason) {
			return false
		}
		if text(d, "queue") == any(queue) {
			return true
		}
	}
	return false
}

// text gives a field that is a string, nil for any other.
func text(t message.Table, name string) any {
	v, _ := t.Get(name)
	s, ok := v.(string)
	if !ok {
		return nil
	}
	return s
}

// senderSelected gives the keys of the CC header.
func senderSelected(headers message.Table) (keys []string) {
	v, _ := headers.Get("CC")
	all, _ := v.([]any)
	for _, k := range all {
		if k, ok := k.(string); ok {
			keys = append(keys, k)
		}
	}
	return keys
}

// entryOf makes the entry of a first death in this queue for this reason, in
// RabbitMQ's order.
func entryOf(m *message.Message, p *message.Properties, more []string, d Death) message.Table {
	keys := []any{m.RoutingKey()}
	for _, k := range more {
		keys = append(keys, k)
	}
	e := message.Table{
		{Name: "count", Value: int64(1)},
		{Name: "reason", Value: d.Reason},
		{Name: "queue", Value: d.Queue},
		{Name: "time", Value: d.Time},
		{Name: "exchange", Value: m.Exchange()},
		{Name: "routing-keys", Value: keys},
	}
	if p.Has(message.PropExpiration) {
		e = append(e, message.Field{Name: "original-expiration", Value: p.Expiration})
	}
	return e
}

// record puts an entry into x-death, or counts the one up that is there for the
// same queue and reason.
func record(headers, entry message.Table) (message.Table, []any) {
	old, died := headers.Get(xDeath)
	before, isArray := old.([]any)
	if !died {
		for _, f := range [...]struct{ name, from string }{
			{firstReason, "reason"}, {firstQueue, "queue"}, {firstExchange, "exchange"},
		} {
			v, _ := entry.Get(f.from)
			headers = headers.With(f.name, v)
		}
	}
	if !isArray { // the first death, or a header that some client mangled
		deaths := []any{entry}
		return headers.With(xDeath, deaths), deaths
	}
	deaths := group(before)
	same := func(v any) bool { return sameDeath(v, entry) }
	if i := slices.IndexFunc(deaths, same); i >= 0 {
		entry = countUp(deaths[i].(message.Table))
		deaths = slices.DeleteFunc(deaths, same)
	}
	deaths = slices.Insert(deaths, 0, any(entry.Sorted()))
	return headers.With(xDeath, deaths), deaths
}

// group gives the entries with those of the same queue and reason made one, as a
// new array. RabbitMQ turns the order round when it does this to two or more.
func group(entries []any) []any {
	if len(entries) < 2 {
		return slices.Clone(entries)
	}
	var grouped []any
	for _, v := range entries {
		t, ok := v.(message.Table)
		same := func(o any) bool { return sameDeath(o, t) }
		if ok && slices.ContainsFunc(grouped, same) {
			continue
		}
		if count, _ := t.Get("count"); ok && count == nil {
			n := 0
			for _, o := range entries {
				if same(o) {
					n++
				}
			}
			v = slices.Concat(message.Table{{Name: "count", Value: int64(n)}}, t)
		}
		grouped = append(grouped, v)
	}
	slices.Reverse(grouped)
	return grouped
}

// sameDeath reports whether an entry is of the same queue and reason as another.
func sameDeath(v any, entry message.Table) bool {
	t, ok := v.(message.Table)
	return ok && plain(t, "queue") == plain(entry, "queue") && plain(t, "reason") == plain(entry, "reason")
}

// plain gives a field as what RabbitMQ compares where it does not ask for its type: a
// byte array is the same as a string, and an integer is one of any size.
func plain(t message.Table, name string) any {
	v, _ := t.Get(name)
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	if n, ok := message.Int(v); ok {
		return n
	}
	return text(t, name)
}

// countUp gives an entry that counts one death more. A void count is to RabbitMQ as if
// there was none, and stays behind the new one.
func countUp(t message.Table) message.Table {
	t = slices.Clone(t)
	i := slices.IndexFunc(t, func(f message.Field) bool { return f.Name == "count" })
	if i < 0 || t[i].Value == nil {
		return slices.Insert(t, 0, message.Field{Name: "count", Value: int64(1)})
	}
	n, _ := message.Int(t[i].Value)
	t[i].Value = n + 1
	return t
}
