package exchange

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

// The checks below are those of exchange.declare, exchange.delete and of
// binding, one by one, since a channel asks for permissions between them
// (contract 03 §5, §8). Declare, Delete and the methods that bind repeat them.

// reservedPrefix begins the names that only the broker gives.
const reservedPrefix = "amq."

// CheckType refuses a type that there is not: COMMAND_INVALID, which ends the
// connection.
func (t *Topology) CheckType(typ string) error {
	_, err := t.typeOf(typ)
	return err
}

func (t *Topology) typeOf(name string) (Type, error) {
	if typ, ok := t.types.Lookup(name); ok {
		return typ, nil
	}
	word := "unknown"
	switch name {
	case "", "Direct", "queue", "header", "match", "test", "default", "classic":
		// RabbitMQ happens to know these words of something else. They are
		// the ones observed (contract 03 §5).
		word = "invalid"
	}
	return nil, reply.Errorf(reply.CommandInvalid, "%s exchange type '%s'", word, name)
}

// CheckNotDefault refuses the name of the default exchange: ACCESS_REFUSED.
func (t *Topology) CheckNotDefault(name string) error {
	if name == "" {
		return reply.Errorf(reply.AccessRefused, "operation not permitted on the default exchange")
	}
	return nil
}

// CheckReserved refuses a name for a new exchange that is the broker's to give:
// ACCESS_REFUSED.
func (t *Topology) CheckReserved(name string) error {
	if strings.HasPrefix(name, reservedPrefix) {
		return reply.Errorf(reply.AccessRefused, "exchange name '%s' contains reserved prefix 'amq.*'", name)
	}
	return nil
}

// CheckArguments refuses an alternate-exchange that is no longstr:
// PRECONDITION_FAILED. What else the arguments say is for the type to check.
func (t *Topology) CheckArguments(s Spec) error {
	v, ok := s.Arguments.Get(argAlternate)
	if !ok {
		return nil
	}
	if _, ok := v.(string); !ok {
		return reply.Errorf(reply.PreconditionFailed, "invalid type '%s' for arg '%s' in %s",
			message.TypeName(v), argAlternate, t.printed(KindExchange, s.Name))
	}
	return nil
}

// CheckDelete refuses to delete the default exchange and those of the broker,
// whether they exist or not: ACCESS_REFUSED.
func (t *Topology) CheckDelete(name string) error {
	if err := t.CheckNotDefault(name); err != nil {
		return err
	}
	if strings.HasPrefix(name, reservedPrefix) {
		return reply.Errorf(reply.AccessRefused, "deletion of system %s not allowed", t.printed(KindExchange, name))
	}
	return nil
}

// CheckEquivalent refuses to declare x again as something else:
// PRECONDITION_FAILED, which names the first thing that differs. Of the
// arguments only alternate-exchange counts (contract 04 §3).
func (t *Topology) CheckEquivalent(x *Exchange, s Spec) error {
	for _, f := range []struct{ name, received, current string }{
		{"type", typeAtom(s.Type), typeAtom(x.spec.Type)},
		{"durable", strconv.FormatBool(s.Durable), strconv.FormatBool(x.spec.Durable)},
		{"auto_delete", strconv.FormatBool(s.AutoDelete), strconv.FormatBool(x.spec.AutoDelete)},
		{"internal", strconv.FormatBool(s.Internal), strconv.FormatBool(x.spec.Internal)},
	} {
		if f.received != f.current {
			return t.inequivalent(x, f.name, "'"+f.received+"'", "'"+f.current+"'")
		}
	}
	received, isReceived := s.Arguments.Get(argAlternate)
	current, isCurrent := x.spec.Arguments.Get(argAlternate)
	switch {
	case !isReceived && !isCurrent:
		return nil
	case !isReceived:
		return t.inequivalent(x, argAlternate, "none", typedValue(current))
	case !isCurrent:
		return t.inequivalent(x, argAlternate, typedValue(received), "none")
	}
	// An exchange is only created with a longstr here; it equals a binary of
	// the same bytes.
	if !looselyEqual(received, current) {
		return t.inequivalent(x, argAlternate, bareValue(received), bareValue(current))
	}
	return nil
}

// typeAtom prints a type as Erlang prints an atom: in quotes unless it is a word, such
// as 'x-random', which stands in the text in two pairs of quotes.
func typeAtom(name string) string {
	word := func(r rune) bool {
		return r == '_' || r == '@' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if name != "" && 'a' <= name[0] && name[0] <= 'z' && strings.IndexFunc(name, func(r rune) bool { return !word(r) }) < 0 {
		return name
	}
	return "'" + name + "'"
}

// bareValue prints a value where the other side has one too. A void prints like
// nothing at all, as in RabbitMQ.
func bareValue(v any) string {
	if v == nil {
		return "none"
	}
	return "'" + plainValue(v) + "'"
}

func (t *Topology) inequivalent(x *Exchange, name, received, current string) error {
	return reply.Errorf(reply.PreconditionFailed, "inequivalent arg '%s' for %s: received %s but current is %s",
		name, t.printed(KindExchange, x.spec.Name), received, current)
}

func typedValue(v any) string {
	return fmt.Sprintf("the value '%s' of type '%s'", plainValue(v), message.TypeName(v))
}

// plainValue prints strings as they are, and all else as Erlang would.
func plainValue(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return erlangTerm(v)
}

// printed names a queue or exchange as error texts do.
func (t *Topology) printed(kind Kind, name string) string {
	return fmt.Sprintf("%s '%s' in vhost '%s'", kind, name, t.vhost)
}

func (t *Topology) notFound(kind Kind, name string) error {
	return reply.Errorf(reply.NotFound, "no %s", t.printed(kind, name))
}

// refusal makes what a Type has against something an error for the client.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	var refused *reply.Error
	if errors.As(err, &refused) {
		return refused
	}
	return reply.Errorf(reply.PreconditionFailed, "%s", err)
}
