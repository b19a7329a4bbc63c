package exchange

import (
	"errors"
	"fmt"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

// Type is a kind of exchange: what a client names in exchange.declare. Its
// methods may be called from many goroutines at once. They, and the methods of
// the Routers it makes, must neither block nor call into the broker.
type Type interface {
	// Name is what a client gives as the type. Case matters.
	Name() string
	// Description is one line for those who look at a broker.
	Description() string
	// Validate is asked before an exchange is created. An error that is a
	// *reply.Error goes to the client as it is, any other becomes a
	// PRECONDITION_FAILED with its text.
	Validate(x Spec) error
	// ValidateBinding is asked before b is added to x. Errors are as those
	// of Validate.
	ValidateBinding(x Spec, b Binding) error
	// New makes the router of an exchange without bindings.
	New(x Spec) Router
	// RoutesByKey says that a route of x depends on the routing keys alone,
	// not on headers, other properties, time or chance. Only then may a
	// channel remember it until the topology changes.
	RoutesByKey(x Spec) bool
}

// Router is what a Type makes of an exchange's bindings. It is immutable: Bind
// and Unbind give a changed one and leave their receiver as it was, for others
// are routing through it meanwhile. An exchange may have very many bindings,
// so the two should share what does not change.
type Router interface {
	// Bind gives a router with b, which it did not have.
	Bind(b Binding) Router
	// Unbind gives a router without b, which it had.
	Unbind(b Binding) Router
	// Route appends to to the destinations of a message, in any order and as
	// often as it likes. It is called from many goroutines at once, takes no
	// lock, and should not allocate.
	Route(m *Subject, to []*Destination) []*Destination
}

// Spec describes an exchange as it was declared (contract 04 §2). It must not
// be changed once it has been used.
type Spec struct {
	Name  string
	VHost string
	Type  string
	// Durable exchanges survive a restart of the broker.
	Durable bool
	// AutoDelete exchanges vanish with the last binding of which they are
	// the source; never if they did not have one.
	AutoDelete bool
	// Internal exchanges take no message from clients, only from exchanges.
	Internal bool
	// Arguments are kept as they came. The broker itself knows
	// alternate-exchange; a Type may know more.
	Arguments message.Table
}

// Kind tells queues from exchanges.
type Kind uint8

// The kinds of destinations.
const (
	KindQueue Kind = iota
	KindExchange
)

// String is "queue" or "exchange".
func (k Kind) String() string {
	if k == KindExchange {
		return "exchange"
	}
	return "queue"
}

// Destination is where a binding leads. It stands for one life of a queue or
// an exchange: its address is its identity, and what is declared again after a
// delete gets a new Destination. It never changes.
type Destination struct {
	Kind Kind
	Name string
	// Target is the virtual host's own handle of a queue, which this package
	// does not look at, or the *Exchange.
	Target any
}

// Binding leads from a source exchange to a destination. Two bindings are the
// same if all four fields are (contract 04 §4). Bindings are made by a Topology
// and never change.
type Binding struct {
	Source      string
	Destination *Destination
	Key         string
	// Arguments are sorted by name.
	Arguments message.Table

	args string // Arguments encoded, to be compared
}

// newBinding makes a binding. It fails if no table could hold the arguments,
// which cannot be if they came from one.
func newBinding(source string, to *Destination, key string, args message.Table) (Binding, error) {
	args = args.Clone().Sorted()
	encoded, err := message.AppendTableBody(nil, args)
	if err != nil {
		return Binding{}, reply.Errorf(reply.PreconditionFailed, "invalid binding arguments: %v", err)
	}
	return Binding{source, to, key, args, string(encoded)}, nil
}

// Types is the set of exchange types that a broker knows. It never changes.
type Types struct {
	byName map[string]Type
}

// NewTypes gives the built-in types, which are direct, fanout, topic, headers and
// x-random, and the extra ones. It fails if a type has no name or one that is
// taken.
func NewTypes(extra ...Type) (*Types, error) {
	t := &Types{byName: map[string]Type{
		"direct":   directType{},
		"fanout":   fanoutType{},
		"topic":    topicType{},
		"headers":  headersType{},
		"x-random": randomType{},
	}}
	for _, x := range extra {
		if x == nil {
			return nil, errors.New("exchange: a nil type")
		}
		name := x.Name()
		if name == "" {
			return nil, fmt.Errorf("exchange: type %T has no name", x)
		}
		if _, taken := t.byName[name]; taken {
			return nil, fmt.Errorf("exchange: there is already a type %q", name)
		}
		t.byName[name] = x
	}
	return t, nil
}

// Lookup gives the type of that name.
func (t *Types) Lookup(name string) (typ Type, ok bool) {
	typ, ok = t.byName[name]
	return typ, ok
}

// All gives all types, in no particular order.
func (t *Types) All() []Type {
	all := make([]Type, 0, len(t.byName))
	for _, typ := range t.byName {
		all = append(all, typ)
	}
	return all
}
