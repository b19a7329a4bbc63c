package exchange

import (
	"slices"
	"strings"

	"github.com/warrenmq/warren/internal/pmap"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

// headersType routes to the bindings whose arguments match the message's
// headers (contract 04 §6.4).
type headersType struct{}

func (headersType) Name() string { return "headers" }
func (headersType) Description() string {
	return "routes to bindings whose arguments match the headers"
}
func (headersType) Validate(Spec) error   { return nil }
func (headersType) New(Spec) Router       { return headersRouter{} }
func (headersType) RoutesByKey(Spec) bool { return false }

func (headersType) ValidateBinding(_ Spec, b Binding) error {
	_, err := matchKindOf(b.Arguments)
	return err
}

// matchKind is what x-match asks for.
type matchKind struct {
	any   bool // one header that matches is enough
	withX bool // arguments starting with x- count too
}

func matchKindOf(args message.Table) (matchKind, error) {
	v, ok := args.Get("x-match")
	if !ok {
		return matchKind{}, nil
	}
	s, ok := v.(string)
	if !ok {
		return matchKind{}, reply.Errorf(reply.PreconditionFailed,
			"Invalid x-match field type %s (value %s); expected longstr", message.TypeName(v), erlangTerm(v))
	}
	switch s {
	case "all":
		return matchKind{}, nil
	case "any":
		return matchKind{any: true}, nil
	case "all-with-x":
		return matchKind{withX: true}, nil
	case "any-with-x":
		return matchKind{any: true, withX: true}, nil
	}
	return matchKind{}, reply.Errorf(reply.PreconditionFailed,
		"Invalid x-match field value %s; expected all, any, all-with-x, or any-with-x", erlangTerm(v))
}

// headersPattern is a binding made ready for matching.
type headersPattern struct {
	any    bool
	fields message.Table // those that count, sorted by name
	to     *Destination
}

func patternOf(b Binding) *headersPattern {
	// ValidateBinding has refused what x-match must not be.
	kind, _ := matchKindOf(b.Arguments)
	fields := b.Arguments.Sorted()
	fields = slices.DeleteFunc(fields, func(f message.Field) bool {
		return f.Name == "x-match" || !kind.withX && strings.HasPrefix(f.Name, "x-")
	})
	return &headersPattern{any: kind.any, fields: fields, to: b.Destination}
}

// matches compares the pattern with headers sorted by name. RabbitMQ walks
// over both side by side, so of several fields of one name the first is
// compared with the first header of that name, the second with the second.
func (p *headersPattern) matches(headers message.Table) bool {
	for _, f := range p.fields {
		for len(headers) > 0 && headers[0].Name < f.Name {
			headers = headers[1:]
		}
		match := false
		if len(headers) > 0 && headers[0].Name == f.Name {
			match = f.Value == nil || looselyEqual(f.Value, headers[0].Value)
			headers = headers[1:]
		}
		if match == p.any {
			return p.any
		}
	}
	return !p.any
}

// headersRouter finds the bindings that may match by an index, so that a route
// costs by the message's headers and not by the number of bindings. Each
// binding is found by a header it cannot match without: one of the kind any by
// all of its fields, one of the kind all by that field which fewest others are
// found by, so that a field common to all bindings does no harm.
type headersRouter struct {
	// always are the bindings that ask for nothing and match everything.
	always bag
	// byPair has the others by what appendPair and appendName make of a field.
	byPair pmap.Map[string, headersBucket]
}

type headersBucket = pmap.Ordered[headersID, *headersPattern]

// headersID tells bindings of one exchange apart.
type headersID struct {
	to        *Destination
	key, args string
}

func headersIDOf(b Binding) headersID {
	return headersID{b.Destination, b.Key, b.args}
}

func (r headersRouter) Bind(b Binding) Router {
	p := patternOf(b)
	if len(p.fields) == 0 {
		if !p.any {
			r.always = r.always.add(p.to)
		}
		return r
	}
	pairs := pairsOf(p)
	if !p.any {
		best, least := 0, -1
		for i, pair := range pairs {
			there, _ := r.byPair.Get(pair)
			if n := there.Len(); least < 0 || n < least {
				best, least = i, n
			}
		}
		pairs = pairs[best : best+1]
	}
	id := headersIDOf(b)
	for _, pair := range pairs {
		there, _ := r.byPair.Get(pair)
		r.byPair = r.byPair.Set(pair, there.Set(id, p))
	}
	return r
}

func (r headersRouter) Unbind(b Binding) Router {
	p := patternOf(b)
	if len(p.fields) == 0 {
		if !p.any {
			r.always = r.always.remove(p.to)
		}
		return r
	}
	id := headersIDOf(b)
	for _, pair := range pairsOf(p) {
		there, ok := r.byPair.Get(pair)
		if !ok {
			continue
		}
		if there = there.Delete(id); there.Len() == 0 {
			r.byPair = r.byPair.Delete(pair)
		} else {
			r.byPair = r.byPair.Set(pair, there)
		}
	}
	return r
}

func (r headersRouter) Route(m *Subject, to []*Destination) []*Destination {
	to = r.always.appendTo(to)
	if r.byPair.Len() == 0 {
		return to
	}
	headers := m.sortedHeaders()
	for _, h := range headers {
		m.pair = appendPair(m.pair[:0], h)
		to = r.appendMatches(m.pair, headers, to)
		m.pair = appendName(m.pair[:0], h)
		to = r.appendMatches(m.pair, headers, to)
	}
	return to
}

func (r headersRouter) appendMatches(pair []byte, headers message.Table, to []*Destination) []*Destination {
	there, ok := pmap.GetBytes(r.byPair, pair)
	if !ok {
		return to
	}
	for chunk := range there.Chunks() {
		for i := range chunk {
			if p := chunk[i].Value; p.matches(headers) {
				to = append(to, p.to)
			}
		}
	}
	return to
}

// pairsOf gives the index keys of the pattern's fields.
func pairsOf(p *headersPattern) []string {
	pairs := make([]string, len(p.fields))
	for i, f := range p.fields {
		if f.Value == nil {
			pairs[i] = string(appendName(nil, f))
		} else {
			pairs[i] = string(appendPair(nil, f))
		}
	}
	return pairs
}

// appendName appends the index key of bindings that want the header to be
// there, whatever its value.
func appendName(dst []byte, f message.Field) []byte {
	return append(append(dst, f.Name...), 0)
}

// appendPair appends the index key of bindings that want the header to have
// this value. Values that are loosely equal have the same key; other values
// may share it, for what is found is compared in full.
func appendPair(dst []byte, f message.Field) []byte {
	return appendLoose(appendName(dst, f), f.Value)
}

// sortedHeaders are the headers sorted by name; those of one name stay in
// their order.
func (s *Subject) sortedHeaders() message.Table {
	byName := func(a, b message.Field) int { return strings.Compare(a.Name, b.Name) }
	h := s.Headers()
	if slices.IsSortedFunc(h, byName) {
		return h
	}
	if len(s.sorted) == 0 {
		s.sorted = append(s.sorted, h...)
		slices.SortStableFunc(s.sorted, byName)
	}
	return s.sorted
}
