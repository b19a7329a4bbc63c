package exchange_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

// prefixType is a type of a user's own: it routes to the bindings whose key the
// message's key begins with.
type prefixType struct{}

func (prefixType) Name() string                   { return "x-prefix" }
func (prefixType) Description() string            { return "routes to bindings whose key begins the message's" }
func (prefixType) RoutesByKey(exchange.Spec) bool { return true }

func (prefixType) New(x exchange.Spec) exchange.Router {
	_, fold := x.Arguments.Get("fold")
	return prefixRouter{fold: fold}
}

func (prefixType) Validate(x exchange.Spec) error {
	v, ok := x.Arguments.Get("fold")
	if _, isBool := v.(bool); ok && !isBool {
		return errors.New("fold must be a bool")
	}
	if x.Durable {
		return reply.Errorf(reply.NotImplemented, "no durable x-prefix exchanges")
	}
	return nil
}

func (prefixType) ValidateBinding(x exchange.Spec, b exchange.Binding) error {
	if _, fold := x.Arguments.Get("fold"); fold && strings.ToLower(b.Key) != b.Key {
		return errors.New("key must be lower case")
	}
	return nil
}

type prefixRouter struct {
	fold     bool
	bindings []exchange.Binding
}

func (r prefixRouter) Bind(b exchange.Binding) exchange.Router {
	return prefixRouter{r.fold, append(slices.Clone(r.bindings), b)}
}

func (r prefixRouter) Unbind(b exchange.Binding) exchange.Router {
	return prefixRouter{r.fold, slices.DeleteFunc(slices.Clone(r.bindings), func(c exchange.Binding) bool {
		return b.Destination == c.Destination && b.Key == c.Key && b.Arguments.Equal(c.Arguments)
	})}
}

func (r prefixRouter) Route(m *exchange.Subject, to []*exchange.Destination) []*exchange.Destination {
	for _, key := range m.Keys() {
		if r.fold {
			key = strings.ToLower(key)
		}
		for _, b := range r.bindings {
			if strings.HasPrefix(key, b.Key) {
				to = append(to, b.Destination)
			}
		}
	}
	return to
}

func TestATypeOfAUsersOwn(t *testing.T) {
	t.Parallel()
	types, err := exchange.NewTypes(prefixType{})
	require.NoError(t, err)
	typ, ok := types.Lookup("x-prefix")
	require.True(t, ok)
	require.Equal(t, prefixType{}, typ)
	require.Len(t, types.All(), 6)
	queues := map[string]*exchange.Destination{
		"q": {Kind: exchange.KindQueue, Name: "q"},
		"r": {Kind: exchange.KindQueue, Name: "r"},
	}
	topology := exchange.NewTopology("v", types, func(name string) *exchange.Destination { return queues[name] })
	require.NoError(t, topology.CheckType("x-prefix"))

	spec := exchange.Spec{Name: "x", Type: "x-prefix", Arguments: message.Table{{Name: "fold", Value: 1}}}
	_, _, err = topology.Declare(spec)
	var refused *reply.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, reply.Errorf(reply.PreconditionFailed, "fold must be a bool"), refused)
	spec.Arguments, spec.Durable = message.Table{{Name: "fold", Value: true}, {Name: "alternate-exchange", Value: "amq.fanout"}}, true
	_, _, err = topology.Declare(spec)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, reply.Errorf(reply.NotImplemented, "no durable x-prefix exchanges"), refused, "an AMQP error goes through as it is")
	spec.Durable = false
	x, created, err := topology.Declare(spec)
	require.NoError(t, err)
	require.True(t, created)
	require.Equal(t, prefixType{}, x.Type())

	_, err = topology.BindQueue("x", "q", "EU.", nil, nil)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, reply.Errorf(reply.PreconditionFailed, "key must be lower case"), refused)
	for _, key := range []string{"eu.", "eu.de", ""} {
		_, err = topology.BindQueue("x", "q", key, nil, nil)
		require.NoError(t, err)
	}
	_, err = topology.UnbindQueue("x", "q", "", nil, nil)
	require.NoError(t, err)
	_, err = topology.BindExchange("x", "amq.direct", "us.", nil)
	require.NoError(t, err)
	_, err = topology.BindQueue("amq.direct", "r", "US.tx", nil, nil)
	require.NoError(t, err)
	_, err = topology.BindQueue("amq.fanout", "r", "", nil, nil)
	require.NoError(t, err)

	var s exchange.Subject
	for key, want := range map[string]string{"EU.DE": "q", "US.tx": "r", "us.tx": "", "asia": "r"} {
		s.Reset(nil, key)
		to, cacheable := topology.Route(x, &s, nil)
		require.True(t, cacheable)
		got := ""
		for _, d := range to {
			got += d.Name
		}
		require.Equal(t, want, got, key)
	}
	_, err = topology.Delete("x", false)
	require.NoError(t, err)
}

// renamed is a prefixType by another name.
type renamed struct {
	prefixType
	name string
}

func (r renamed) Name() string { return r.name }

func TestTypesRefuseWhatCannotBeToldApart(t *testing.T) {
	t.Parallel()
	typ := func(name string) exchange.Type { return renamed{name: name} }
	for want, extra := range map[string][]exchange.Type{
		"a nil type":                       {nil},
		"has no name":                      {typ("")},
		`there is already a type "topic"`:  {typ("topic")},
		`there is already a type "x-mine"`: {typ("x-mine"), typ("x-mine")},
	} {
		_, err := exchange.NewTypes(extra...)
		require.ErrorContains(t, err, want)
	}
	_, err := exchange.NewTypes(typ("x-mine"), typ("X-mine"))
	require.NoError(t, err)
}
