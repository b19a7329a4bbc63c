package queue

import (
	"errors"
	"fmt"
	"slices"

	"github.com/warrenmq/warren/reply"
)

// defaultType is the type of a queue that is declared without x-queue-type.
const defaultType = "classic"

// Types are the queue types of one broker. They do not change after NewTypes,
// so any number of goroutines may use them.
type Types struct {
	registered map[string]Type
	// capabilities are those of the registered types and of RabbitMQ's types
	// that are not registered.
	capabilities map[string]Capabilities
	// arguments and consumerArguments are known to at least one type.
	arguments, consumerArguments map[string]bool
	declareChecks, consumeChecks []check
}

// NewTypes makes the set of the given types. Their names must be different and
// not empty.
//
// The arguments of RabbitMQ's own types count as known even where such a type
// is not among the given ones: a classic queue is refused with
// x-quorum-initial-group-size, not declared with an argument that does nothing.
func NewTypes(types ...Type) (*Types, error) {
	ts := &Types{
		registered:        make(map[string]Type, len(types)),
		capabilities:      make(map[string]Capabilities, len(types)+2),
		arguments:         map[string]bool{},
		consumerArguments: map[string]bool{},
		declareChecks:     declareChecks(),
		consumeChecks:     consumeChecks(),
	}
	ts.know("quorum", quorumCapabilities())
	ts.know("stream", streamCapabilities())
	for _, t := range types {
		if t == nil {
			return nil, errors.New("queue: a registered type is nil")
		}
		name := t.Name()
		if name == "" {
			return nil, fmt.Errorf("queue: type %T has no name", t)
		}
		if _, ok := ts.registered[name]; ok {
			return nil, fmt.Errorf("queue: type %q is registered twice", name)
		}
		ts.registered[name] = t
		ts.know(name, t.Capabilities())
	}
	return ts, nil
}

// know adds a type's arguments to those that some type knows.
func (ts *Types) know(name string, caps Capabilities) {
	if caps.RabbitName == "" {
		caps.RabbitName = name
	}
	ts.capabilities[name] = caps
	for _, a := range caps.Arguments {
		ts.arguments[a] = true
	}
	for _, a := range caps.ConsumerArguments {
		ts.consumerArguments[a] = true
	}
}

// Lookup gives the registered type of that name.
func (ts *Types) Lookup(name string) (Type, bool) {
	t, ok := ts.registered[name]
	return t, ok
}

// Names gives the names of the registered types in alphabetical order.
func (ts *Types) Names() []string {
	names := make([]string, 0, len(ts.registered))
	for name := range ts.registered {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// CheckServerNamed tells whether a declare may leave the name to the broker;
// the channel asks before it makes one up. The type is that of x-queue-type.
//
// It lets a bad x-queue-type pass: CheckDeclare refuses it with a 406 that says
// why, where RabbitMQ ends the connection with an INTERNAL_ERROR.
func CheckServerNamed(types *Types, s Spec) error {
	name := defaultType
	if v, ok := s.Arguments.Get(argQueueType); ok {
		name = plain(v)
	}
	caps, ok := types.capabilities[name]
	if !ok || caps.ServerNamed {
		return nil
	}
	return reply.Errorf(reply.PreconditionFailed,
		"Cannot declare a server-named queue for type %s", caps.RabbitName)
}

// CheckGlobalQos tells whether a consumer whose channel has a limit set by
// basic.qos with the global bit may be added to the queue (contract 05 §9).
func CheckGlobalQos(caps Capabilities, s Spec) error {
	if caps.GlobalQos {
		return nil
	}
	return reply.Errorf(reply.NotImplemented, "%s does not support global qos", resource(s))
}

// resource names a queue as RabbitMQ's texts do.
func resource(s Spec) string {
	return "queue '" + s.Name + "' in vhost '" + s.VHost + "'"
}

// streamCapabilities are those of RabbitMQ's stream. Declares are checked against
// them even while no type of that name is registered.
func streamCapabilities() Capabilities {
	return Capabilities{
		RabbitName: "rabbit_stream_queue",
		Arguments: []string{
			"x-max-length-bytes",
			argQueueType,
			"x-max-age",
			argSegmentSize,
			"x-initial-cluster-size",
			"x-queue-leader-locator",
		},
		ConsumerArguments: []string{"x-stream-offset", "x-credit"},
	}
}
