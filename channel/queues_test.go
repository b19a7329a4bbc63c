package channel_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
)

func declare(d channel.QueueDeclare) func(*client) error {
	return func(c *client) error {
		_, err := c.DeclareQueue(d)
		return err
	}
}

// exclusiveQueue declares queue q for connection 1 alone.
func exclusiveQueue(o *client) { o.queue(channel.QueueDeclare{Name: "q", Exclusive: true}) }

func queueQ(o *client) { o.queues("q") }

// Contract 03 §8, 05 §2 and §3. The rows are in the order of the checks: each
// asks for something that the later ones would refuse too where that is possible.
func TestQueueDeclareChecksInOrder(t *testing.T) {
	type Q = channel.QueueDeclare
	nothing := []string{"", "", ""}
	runChecks(t, []check{
		{name: "passive: no queue, whatever the rights", rights: nothing,
			do: declare(Q{Name: "q", Passive: true}), want: "NOT_FOUND - no queue 'q' in vhost 'v'"},
		{name: "passive: no name", rights: nothing,
			do: declare(Q{Passive: true}), want: "NOT_FOUND - no queue '' in vhost 'v'"},
		{name: "passive: exclusive to another connection", given: exclusiveQueue, rights: nothing,
			do: declare(Q{Name: "q", Passive: true}), want: locked},
		{name: "passive: compares nothing", given: queueQ, rights: nothing,
			do: declare(Q{Name: "q", Passive: true, Durable: true, AutoDelete: true, Exclusive: true, Arguments: args("x-max-length", "x")})},
		{name: "passive: CR and LF count for nothing", given: queueQ,
			do: declare(Q{Name: "\rq\n", Passive: true})},
		{name: "passive: no prefix is reserved",
			do: declare(Q{Name: "amq.foo", Passive: true}), want: "NOT_FOUND - no queue 'amq.foo' in vhost 'v'"},

		{name: "a type that takes no server-named queue", rights: nothing,
			do:   declare(Q{Arguments: args("x-queue-type", "late")}),
			want: "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_late_queue"},
		{name: "a reserved name", rights: nothing,
			do: declare(Q{Name: "amq.foo"}), want: "ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*'"},
		{name: "a reserved name behind a CR",
			do: declare(Q{Name: "\ramq.foo"}), want: "ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*'"},
		{name: "a reserved name that exists",
			do: func(c *client) error {
				info := c.queue(Q{})
				_, err := c.DeclareQueue(Q{Name: info.Name})
				require.EqualError(c.w.t, err, "ACCESS_REFUSED - queue name '"+info.Name+"' contains reserved prefix 'amq.*'")
				return nil
			}},
		{name: "the right to configure, before the queue that exists", given: exclusiveQueue, rights: []string{"x", ".*", ".*"},
			do: declare(Q{Name: "q", Durable: true}), want: noAccess("queue", "q")},
		{name: "exclusive to another connection", given: exclusiveQueue,
			do: declare(Q{Name: "q", Exclusive: true, AutoDelete: true}), want: locked},
		{name: "exclusive where the queue is not", given: queueQ,
			do: declare(Q{Name: "q", Exclusive: true, AutoDelete: true}), want: locked},
		{name: "not exclusive where the own queue is",
			do: func(c *client) error {
				c.queue(Q{Name: "q", Exclusive: true})
				return declare(Q{Name: "q", AutoDelete: true})(c)
			}, want: locked},
		{name: "durable differs", given: queueQ,
			do:   declare(Q{Name: "q", Durable: true, AutoDelete: true}),
			want: "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost 'v': received 'true' but current is 'false'"},
		{name: "auto-delete differs", given: queueQ,
			do:   declare(Q{Name: "q", AutoDelete: true, Arguments: args("x-max-length", int32(5))}),
			want: "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'q' in vhost 'v': received 'true' but current is 'false'"},
		{name: "an argument differs, good or bad", given: queueQ,
			do:   declare(Q{Name: "q", Arguments: args("x-max-length", "x")}),
			want: "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost 'v': received the value 'x' of type 'longstr' but current is none"},
		{name: "unknown arguments do not differ", given: queueQ,
			do: declare(Q{Name: "q", Arguments: args("x-whatever", int32(1), "x-queue-type", "classic")})},
		{name: "an equivalent queue, whatever the limit",
			given: func(o *client) { o.queues("q"); o.w.limit = 1 },
			do:    declare(Q{Name: "q"})},
		{name: "the limit of the virtual host", given: func(o *client) { o.w.limit = 0 },
			do:   declare(Q{Name: "q", Arguments: args("x-dead-letter-exchange", int32(1))}),
			want: "PRECONDITION_FAILED - cannot declare queue 'q': queue limit in vhost 'v' (0) is reached"},
		{name: "the type of the dead-letter exchange", rights: []string{".*", "", ""},
			do:   declare(Q{Name: "q", Arguments: args("x-message-ttl", "x", "x-dead-letter-exchange", int32(1))}),
			want: "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost 'v'"},
		{name: "the right to read a queue with a dead-letter exchange", rights: []string{".*", "", ""},
			do:   declare(Q{Name: "q", Arguments: args("x-message-ttl", "x", "x-dead-letter-exchange", "d")}),
			want: noAccess("queue", "q")},
		{name: "the right to write to the dead-letter exchange", rights: []string{".*", "^$", ".*"},
			do:   declare(Q{Name: "q", Arguments: args("x-message-ttl", "x", "x-dead-letter-exchange", "d")}),
			want: noAccess("exchange", "d")},
		{name: "the right to write to the default exchange as dead-letter exchange", rights: []string{".*", "^$", ".*"},
			do:   declare(Q{Name: "q", Arguments: args("x-dead-letter-exchange", "")}),
			want: noAccess("exchange", "amq.default")},
		{name: "a bad argument",
			do:   declare(Q{Name: "q", Arguments: args("x-message-ttl", "x")}),
			want: `PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'q' in vhost 'v': "expected integer, got longstr"`},
		{name: "an unknown type",
			do:   declare(Q{Name: "q", Arguments: args("x-queue-type", "nope")}),
			want: `PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 'q' in vhost 'v': "unsupported queue type 'nope'"`},
		{name: "what the type cannot be",
			do:   declare(Q{Name: "q", Exclusive: true, Arguments: args("x-queue-type", "late")}),
			want: "PRECONDITION_FAILED - invalid property 'exclusive-owner' for queue 'q' in vhost 'v'"},
		{name: "a feature of a later issue",
			do:   declare(Q{Name: "q", Durable: true, Arguments: args("x-queue-type", "quorum")}),
			want: "NOT_IMPLEMENTED - x-queue-type=quorum for queue 'q' in vhost 'v'"},
		{name: "direct reply-to",
			do:   declare(Q{Name: "amq.rabbitmq.reply-to.x", Passive: true}),
			want: "NOT_FOUND - no queue 'amq.rabbitmq.reply-to.x' in vhost 'v'"},
		{name: "unknown arguments", do: declare(Q{Name: "q", Arguments: args("x-whatever", int32(1))})},
		{name: "only the right to configure", rights: []string{"^q$", "", ""}, do: declare(Q{Name: "q"})},
	})
}

func TestQueueMethodChecksInOrder(t *testing.T) {
	bind := func(q, x, key string, a ...any) func(*client) error {
		return func(c *client) error { return c.BindQueue(q, x, key, args(a...)) }
	}
	unbind := func(q, x, key string) func(*client) error {
		return func(c *client) error { return c.UnbindQueue(q, x, key, nil) }
	}
	purge := func(q string) func(*client) error {
		return func(c *client) error { _, err := c.PurgeQueue(q); return err }
	}
	remove := func(q string, ifUnused, ifEmpty bool) func(*client) error {
		return func(c *client) error { return c.deleteQueue(q, ifUnused, ifEmpty) }
	}
	get := func(q string) func(*client) error { return func(c *client) error { return c.get(q, true) } }
	nothing := []string{"", "", ""}
	const (
		noneDeclared = "NOT_FOUND - no previously declared queue"
		noQueue      = "NOT_FOUND - no queue 'q' in vhost 'v'"
		onDefault    = "ACCESS_REFUSED - operation not permitted on the default exchange"
	)
	consumed := func(o *client) { o.queues("q"); o.consume(channel.Consume{Queue: "q"}) }
	filled := func(o *client) { o.queues("q"); o.put("q", "m", "n"); o.Flush() }

	runChecks(t, []check{
		{name: "bind: no queue declared before", rights: nothing, do: bind("", "x", "k"), want: noneDeclared},
		{name: "bind: the right to write to the queue", rights: []string{"", "", ".*"}, do: bind("q", "", "k"), want: noAccess("queue", "q")},
		{name: "bind: the default exchange", rights: []string{"", ".*", ""}, do: bind("q", "", "k"), want: onDefault},
		{name: "bind: the right to read the exchange", rights: []string{"", ".*", ""}, do: bind("q", "x", "k"), want: noAccess("exchange", "x")},
		{name: "bind: the right to read the topic",
			given: func(o *client) { o.w.openAs("", "", ""); o.w.permitTopic("u", ".*", "^a") },
			do:    bind("q", "amq.topic", "k"),
			want:  "ACCESS_REFUSED - access to topic 'k' in exchange 'amq.topic' in vhost 'v' refused for user 'u'"},
		{name: "bind: no exchange, and no queue either", do: bind("q", "x", "k"), want: "NOT_FOUND - no exchange 'x' in vhost 'v'"},
		{name: "bind: no queue", do: bind("q", "amq.headers", "k", "x-match", "foo"), want: noQueue},
		{name: "bind: what the type has against it", given: exclusiveQueue,
			do:   bind("q", "amq.headers", "k", "x-match", "foo"),
			want: `PRECONDITION_FAILED - Invalid x-match field value <<"foo">>; expected all, any, all-with-x, or any-with-x`},
		{name: "bind: exclusive to another connection", given: exclusiveQueue, do: bind("q", "amq.direct", "k"), want: locked},
		{name: "bind: CR and LF count for nothing", given: queueQ, do: bind("q\r", "amq.\ndirect", "k")},
		{name: "bind: only its rights", given: queueQ, rights: []string{"", "^q$", "^amq.direct$"}, do: bind("q", "amq.direct", "k")},

		{name: "unbind: no queue declared before", rights: nothing, do: unbind("", "x", "k"), want: noneDeclared},
		{name: "unbind: the right to write to the queue", rights: []string{"", "", ".*"}, do: unbind("q", "x", "k"), want: noAccess("queue", "q")},
		{name: "unbind: the default exchange", rights: []string{"", ".*", ""}, do: unbind("q", "", "k"), want: onDefault},
		{name: "unbind: the right to read the exchange", rights: []string{"", ".*", ""}, do: unbind("q", "x", "k"), want: noAccess("exchange", "x")},
		{name: "unbind: nothing is there", do: unbind("q", "x", "k")},
		{name: "unbind: no binding, of another connection's queue", given: exclusiveQueue, do: unbind("q", "amq.direct", "k")},
		{name: "unbind: a binding of another connection's queue",
			given: func(o *client) { exclusiveQueue(o); o.ok(o.BindQueue("q", "amq.direct", "k", nil)) },
			do:    unbind("q", "amq.direct", "k"), want: locked},

		{name: "purge: no queue declared before", rights: nothing, do: purge(""), want: noneDeclared},
		{name: "purge: the right to read", rights: []string{".*", ".*", ""}, do: purge("q"), want: noAccess("queue", "q")},
		{name: "purge: no queue", do: purge("q"), want: noQueue},
		{name: "purge: CR and LF count", given: queueQ, do: purge("q\r"), want: "NOT_FOUND - no queue 'q\r' in vhost 'v'"},
		{name: "purge: exclusive to another connection", given: exclusiveQueue, do: purge("q"), want: locked},
		{name: "purge: only its right", given: queueQ, rights: []string{"", "", "^q$"}, do: purge("q")},

		{name: "delete: no queue declared before", rights: nothing, do: remove("", false, false), want: noneDeclared},
		{name: "delete: the right to configure", rights: []string{"", ".*", ".*"}, do: remove("q", false, false), want: noAccess("queue", "q")},
		{name: "delete: nothing is there", do: remove("q", true, true)},
		{name: "delete: exclusive to another connection", given: exclusiveQueue, do: remove("q", true, true), want: locked},
		{name: "delete: not empty, and used", given: func(o *client) { filled(o); o.ok(o.Qos(0, 1, false)); o.consume(channel.Consume{Queue: "q"}) },
			do: remove("q", true, true), want: "PRECONDITION_FAILED - queue 'q' in vhost 'v' not empty"},
		{name: "delete: used", given: consumed, do: remove("q", true, true), want: "PRECONDITION_FAILED - queue 'q' in vhost 'v' in use"},
		{name: "delete: unacked messages do not count",
			given: func(o *client) { filled(o); o.ok(o.get("q", false)); o.ok(o.get("q", false)) }, do: remove("q", true, true)},
		{name: "delete: CR and LF count for nothing, and only its right", given: queueQ, rights: []string{"^q$", "", ""}, do: remove("q\n", false, false)},
		{name: "delete: a reserved name is not refused", do: remove("amq.foo", false, false)},

		{name: "get: no queue declared before", rights: nothing, do: get(""), want: noneDeclared},
		{name: "get: the right to read", rights: []string{".*", ".*", ""}, do: get("q"), want: noAccess("queue", "q")},
		{name: "get: no queue", do: get("q"), want: noQueue},
		{name: "get: exclusive to another connection", given: exclusiveQueue, do: get("q"), want: locked},
		{name: "get: direct reply-to", do: get("amq.rabbitmq.reply-to"), want: "NOT_FOUND - no queue 'amq.rabbitmq.reply-to' in vhost 'v'"},
		{name: "get: only its right", given: queueQ, rights: []string{"", "", "^q$"}, do: get("q")},
	})
}

func TestServerNamedQueue(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		a, b := c.queue(channel.QueueDeclare{}), c.queue(channel.QueueDeclare{Name: "\r\n"})
		require.Regexp(t, `^amq\.gen-[A-Za-z0-9_-]{22}$`, a.Name)
		require.Regexp(t, `^amq\.gen-[A-Za-z0-9_-]{22}$`, b.Name)
		require.NotEqual(t, a.Name, b.Name)

		_, err := w.openAs("^x", "", "").DeclareQueue(channel.QueueDeclare{})
		require.ErrorContains(t, err, "ACCESS_REFUSED - access to queue 'amq.gen-")
		w.openAs("^amq.gen-", "", "").queue(channel.QueueDeclare{})
	})
}

func TestDurableExclusiveQueueIsNotDurable(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queue(channel.QueueDeclare{Name: "q", Durable: true, Exclusive: true})
		h, _ := w.Queue("q")
		require.False(t, h.Spec().Durable)
		c.queue(channel.QueueDeclare{Name: "q", Durable: true, Exclusive: true})
		c.queue(channel.QueueDeclare{Name: "q", Exclusive: true})
	})
}

func TestDeclareCountsReadyMessagesAndConsumers(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.put("q", "a", "b", "c")
		c.ok(c.get("q", false))
		c.ok(c.Qos(0, 1, false))
		c.consume(channel.Consume{Queue: "q"})
		want := channel.QueueInfo{Name: "q", Ready: 1, Consumers: 1}
		require.Equal(t, want, c.queue(channel.QueueDeclare{Name: "q"}))
		require.Equal(t, want, c.queue(channel.QueueDeclare{Name: "q", Passive: true}))
		require.Equal(t, channel.QueueInfo{Name: "q"}, c.queue(channel.QueueDeclare{Name: "q", NoCounts: true}))
	})
}

func TestEmptyQueueNameIsTheQueueDeclaredLast(t *testing.T) {
	bubble(t, func(w *world) {
		c, other := w.open(), w.open()
		c.queues("a", "b")
		other.queues("c")
		c.put("b", "1", "2", "3", "4")

		c.ok(c.get("", true))
		c.consume(channel.Consume{Tag: "t"})
		c.ok(c.Cancel("t"))
		c.sees("got #1 1, 3 left", "consuming t", "t #2 2", "t #3 3", "t #4 4")
		c.ok(c.Nack(0, true, true))
		n, err := c.PurgeQueue("")
		c.ok(err)
		require.Equal(t, 3, n)

		c.queue(channel.QueueDeclare{Name: "a", Passive: true}) // counts too
		c.ok(c.deleteQueue("", false, false))
		require.Nil(t, w.destination("a"))
		c.refused(c.get("", true), "NOT_FOUND - no queue 'a' in vhost 'v'") // not forgotten

		c.queue(channel.QueueDeclare{Name: "b", NoCounts: true})
		c.ok(c.deleteQueue("", false, false))
		require.Nil(t, w.destination("b"))
	})
}

func TestEmptyQueueNameAndKeyOfABinding(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		bound := func(key string) bool {
			return w.exchanges.HasBinding("amq.direct", w.destination("q"), key, nil)
		}
		c.ok(c.BindQueue("", "amq.direct", "", nil))
		require.True(t, bound("q"), "the key is the queue's name")
		require.False(t, bound(""))
		c.ok(c.BindQueue("q", "amq.direct", "", nil))
		require.True(t, bound(""), "with a queue's name the key stays empty")
		c.ok(c.BindQueue("", "amq.direct", "k", nil))
		require.True(t, bound("k"))

		c.ok(c.UnbindQueue("", "amq.direct", "", nil))
		require.False(t, bound("q"))
		require.True(t, bound(""))
	})
}

func TestPurgeLeavesUnackedMessages(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.put("q", "a", "b", "c")
		c.ok(c.get("q", false))
		n, err := c.PurgeQueue("q")
		c.ok(err)
		require.Equal(t, 2, n)
		c.ok(c.Nack(1, false, true))
		c.Flush()
		require.Equal(t, []string{"a"}, c.content("q"))
	})
}

func TestDeleteAnswersBeforeItsConsumersAreCancelled(t *testing.T) {
	bubble(t, func(w *world) {
		c, other := w.open(), w.open()
		c.queues("q")
		c.put("q", "a", "b", "c")
		c.ok(c.Qos(0, 1, false))
		c.consume(channel.Consume{Queue: "q", Tag: "t"})
		other.ok(other.Qos(0, 1, false))
		other.consume(channel.Consume{Queue: "q", Tag: "o"})
		c.events()
		c.ok(c.deleteQueue("q", false, false))
		c.sees("deleted 1", "cancelled t")
		other.sees("consuming o", "o #1 b", "cancelled o")

		// What was delivered can still be settled, and the tag is free.
		c.queues("q")
		c.ok(c.Nack(1, false, true))
		other.ok(other.Ack(1, false))
		c.Flush()
		require.Zero(t, w.stat("q").Ready)
		c.consume(channel.Consume{Queue: "q", Tag: "t"})
	})
}

func TestForeignExclusiveQueueMayBePublishedTo(t *testing.T) {
	bubble(t, func(w *world) {
		o := w.open()
		exclusiveQueue(o)
		c := w.openAs(".*", ".*", ".*")
		c.put("q", "a")
		c.Flush()
		require.Equal(t, []string{"a"}, o.content("q"))
	})
}
