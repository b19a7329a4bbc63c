package channel_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
)

// Contract 03 §5.
func TestExchangeMethodChecksInOrder(t *testing.T) {
	type X = channel.ExchangeDeclare
	declare := func(d X) func(*client) error { return func(c *client) error { return c.DeclareExchange(d) } }
	remove := func(name string, ifUnused bool) func(*client) error {
		return func(c *client) error { return c.DeleteExchange(name, ifUnused) }
	}
	bind := func(to, from, key string) func(*client) error {
		return func(c *client) error { return c.BindExchange(to, from, key, nil) }
	}
	unbind := func(to, from, key string) func(*client) error {
		return func(c *client) error { return c.UnbindExchange(to, from, key, nil) }
	}
	nothing := []string{"", "", ""}
	x := func(o *client) { o.exchange(X{Name: "x", Type: "direct"}) }
	const (
		onDefault = "ACCESS_REFUSED - operation not permitted on the default exchange"
		noX       = "NOT_FOUND - no exchange 'x' in vhost 'v'"
	)
	topicRead := func(o *client) { x(o); o.w.openAs("", "", ""); o.w.permitTopic("u", ".*", "^a") }

	runChecks(t, []check{
		{name: "passive: the default exchange", rights: nothing, do: declare(X{Passive: true, Type: "nope"}), want: onDefault},
		{name: "passive: no exchange", rights: nothing, do: declare(X{Name: "x", Passive: true, Type: "nope"}), want: noX},
		{name: "passive: compares nothing and asks for no right", given: x, rights: nothing,
			do: declare(X{Name: "x", Passive: true, Type: "nope", Durable: true})},

		{name: "declare: an unknown type, before all else", rights: nothing, do: declare(X{Type: "x-nope"}),
			want: "COMMAND_INVALID - unknown exchange type 'x-nope'"},
		{name: "declare: no type", rights: nothing, do: declare(X{}), want: "COMMAND_INVALID - invalid exchange type ''"},
		{name: "declare: the default exchange", rights: nothing, do: declare(X{Type: "direct"}), want: onDefault},
		{name: "declare: a name of CR and LF is the default exchange's", do: declare(X{Name: "\r\n", Type: "direct"}), want: onDefault},
		{name: "declare: the right to configure", given: x, rights: []string{"", ".*", ".*"},
			do: declare(X{Name: "x", Type: "fanout"}), want: noAccess("exchange", "x")},
		{name: "declare: inequivalent", given: x, do: declare(X{Name: "x", Type: "fanout", Durable: true}),
			want: "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost 'v': received 'fanout' but current is 'direct'"},
		{name: "declare: an exchange of the broker, equivalently", do: declare(X{Name: "amq.direct", Type: "direct", Durable: true})},
		{name: "declare: equivalent, with CR and LF", given: x, rights: []string{"^x$", "", ""}, do: declare(X{Name: "x\r\n", Type: "direct"})},
		{name: "declare: a reserved name",
			do:   declare(X{Name: "amq.foo", Type: "direct", Arguments: args("alternate-exchange", int32(1))}),
			want: "ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*'"},
		{name: "declare: the type of the alternate exchange", rights: []string{".*", "", ""},
			do:   declare(X{Name: "x", Type: "direct", Arguments: args("alternate-exchange", int32(1))}),
			want: "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange 'x' in vhost 'v'"},
		{name: "declare: the right to read an exchange with an alternate", rights: []string{".*", "", ""},
			do: declare(X{Name: "x", Type: "direct", Arguments: args("alternate-exchange", "a")}), want: noAccess("exchange", "x")},
		{name: "declare: the right to write to the alternate exchange", rights: []string{".*", "", ".*"},
			do: declare(X{Name: "x", Type: "direct", Arguments: args("alternate-exchange", "a")}), want: noAccess("exchange", "a")},
		{name: "declare: the right to write to the default exchange as alternate", rights: []string{".*", "", ".*"},
			do: declare(X{Name: "x", Type: "direct", Arguments: args("alternate-exchange", "")}), want: noAccess("exchange", "amq.default")},
		{name: "declare: no right to an alternate is needed for one that exists",
			given:  func(o *client) { o.exchange(X{Name: "x", Type: "direct", Arguments: args("alternate-exchange", "a")}) },
			rights: []string{"^x$", "", ""},
			do:     declare(X{Name: "x", Type: "direct", Arguments: args("alternate-exchange", "a")})},

		{name: "delete: the default exchange", rights: nothing, do: remove("", false), want: onDefault},
		{name: "delete: an exchange of the broker", rights: nothing, do: remove("amq.direct", false),
			want: "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost 'v' not allowed"},
		{name: "delete: the right to configure", rights: []string{"", ".*", ".*"}, do: remove("x", false), want: noAccess("exchange", "x")},
		{name: "delete: nothing is there", do: remove("x", true)},
		{name: "delete: used", given: func(o *client) { x(o); o.ok(o.BindExchange("amq.direct", "x", "", nil)) },
			do: remove("x", true), want: "PRECONDITION_FAILED - exchange 'x' in vhost 'v' in use"},
		{name: "delete: being a destination is no use", given: func(o *client) { x(o); o.ok(o.BindExchange("x", "amq.direct", "", nil)) },
			rights: []string{"^x$", "", ""}, do: remove("x\n", true)},

		{name: "bind: the right to write to the destination", rights: []string{"", "", ".*"}, do: bind("x", "", "k"), want: noAccess("exchange", "x")},
		{name: "bind: the right to write to the default exchange", rights: []string{"", "", ".*"}, do: bind("", "x", "k"), want: noAccess("exchange", "amq.default")},
		{name: "bind: to the default exchange", rights: []string{"", ".*", ""}, do: bind("", "x", "k"), want: onDefault},
		{name: "bind: from the default exchange", rights: []string{"", ".*", ""}, do: bind("x", "", "k"), want: onDefault},
		{name: "bind: the right to read the source", rights: []string{"", ".*", ""}, do: bind("x", "y", "k"), want: noAccess("exchange", "y")},
		{name: "bind: the right to read the topic", given: topicRead, do: bind("y", "amq.topic", "k"),
			want: "ACCESS_REFUSED - access to topic 'k' in exchange 'amq.topic' in vhost 'v' refused for user 'u'"},
		{name: "bind: neither is there", do: bind("y", "x", "k"), want: noX},
		{name: "bind: no destination", do: bind("x", "amq.direct", "k"), want: noX},
		{name: "bind: only its rights", given: x, rights: []string{"", "^x$", "^amq.direct$"}, do: bind("x\r", "amq.direct\n", "k")},

		{name: "unbind: the right to write to the destination", rights: []string{"", "", ".*"}, do: unbind("x", "", "k"), want: noAccess("exchange", "x")},
		{name: "unbind: from the default exchange", rights: []string{"", ".*", ""}, do: unbind("x", "", "k"), want: onDefault},
		{name: "unbind: the right to read the source", rights: []string{"", ".*", ""}, do: unbind("x", "y", "k"), want: noAccess("exchange", "y")},
		{name: "unbind: the right to read the topic", given: topicRead, do: unbind("x", "amq.topic", "k"),
			want: "ACCESS_REFUSED - access to topic 'k' in exchange 'amq.topic' in vhost 'v' refused for user 'u'"},
		{name: "unbind: nothing is there", do: unbind("y", "x", "k")},
	})
}

func TestBoundExchangesRoute(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.exchange(channel.ExchangeDeclare{Name: "x", Type: "fanout"})
		c.ok(c.BindQueue("q", "x", "", nil))
		c.ok(c.BindExchange("x", "amq.direct", "k", nil))
		c.publish(publish{exchange: "amq.direct", key: "k", body: "a"})
		c.ok(c.UnbindExchange("x", "amq.direct", "k", nil))
		c.publish(publish{exchange: "amq.direct", key: "k", body: "b"})
		c.Flush()
		require.Equal(t, []string{"a"}, c.content("q"))
	})
}
