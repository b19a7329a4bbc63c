package exchange

import "slices"

// Route appends to to the destinations of a message published to x: queues, and
// each once (contract 04 §7). The message goes on through the exchanges bound
// to x and theirs, each visited once, so that circles are harmless; an exchange
// whose own bindings give nothing sends it to its alternate exchange, if there
// is one of that name.
//
// cacheable tells that the queues depend on m's keys alone; they may be used
// again for the same keys while Generation, called before Route, stays the
// same.
//
// The default exchange sends a message to the queues named by its keys, but
// only when it is published there: as an alternate exchange it has no bindings
// and so routes nowhere, as in RabbitMQ's rabbit_exchange:route/2.
func (t *Topology) Route(x *Exchange, m *Subject, to []*Destination) (queues []*Destination, cacheable bool) {
	start := len(to)
	if x == t.unnamed {
		for _, key := range m.keys {
			if d := t.queue(key); d != nil {
				to = append(to, d)
			}
		}
		return m.unique(to, start), true
	}
	cacheable = true
	m.seen.add(x)
	for i := 0; i < len(m.seen.items); i++ {
		x := m.seen.items[i]
		cacheable = cacheable && x.byKey
		from := len(to)
		to = x.route(m, to)
		if len(to) > from {
			to = m.visit(to, from)
		} else if name := x.AlternateExchange(); name != "" {
			if alternate, ok := t.Lookup(name); ok {
				m.seen.add(alternate)
			}
		}
	}
	if len(m.seen.items) > 1 || !x.distinct(m) {
		to = m.unique(to, start)
	}
	m.seen.reset()
	return to, cacheable
}

// visit takes the exchanges out of to[from:] and keeps those not seen yet.
func (s *Subject) visit(to []*Destination, from int) []*Destination {
	return keep(to, from, func(d *Destination) bool {
		if d.Kind == KindQueue {
			return true
		}
		if x, ok := d.Target.(*Exchange); ok {
			s.seen.add(x)
		}
		return false
	})
}

// unique takes the repetitions out of to[from:].
func (s *Subject) unique(to []*Destination, from int) []*Destination {
	if len(to)-from < 2 {
		return to
	}
	to = keep(to, from, s.queues.add)
	s.queues.reset()
	return to
}

// keep takes out of to[from:] what is not to be kept.
func keep(to []*Destination, from int, kept func(*Destination) bool) []*Destination {
	n := from
	for _, d := range to[from:] {
		if kept(d) {
			to[n] = d
			n++
		}
	}
	return slices.Delete(to, n, len(to))
}
