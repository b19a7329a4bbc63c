package channel_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
)

// After each change a publish that went another way before must notice.
func TestRememberedRoutesNoticeChanges(t *testing.T) {
	t.Parallel()
	direct := func(c *client) { c.ok(c.BindQueue("q", "amq.direct", "k", nil)) }
	for _, test := range []struct {
		name          string
		given         func(c *client)
		p             publish
		change        func(c *client)
		before, after int
		want          string // the error after the change
	}{
		{name: "bind", p: publish{exchange: "amq.direct", key: "k"}, change: direct, after: 1},
		{name: "unbind", given: direct, p: publish{exchange: "amq.direct", key: "k"}, before: 1,
			change: func(c *client) { c.ok(c.UnbindQueue("q", "amq.direct", "k", nil)) }},
		{name: "bind exchanges", given: func(c *client) { c.ok(c.BindQueue("q", "amq.fanout", "", nil)) },
			p: publish{exchange: "amq.topic", key: "k"}, after: 1,
			change: func(c *client) { c.ok(c.BindExchange("amq.fanout", "amq.topic", "#", nil)) }},
		{name: "declare a queue", p: publish{key: "r"},
			change: func(c *client) { c.queues("r"); c.put("q", "m") }, after: 1},
		{name: "delete a queue", given: direct, p: publish{exchange: "amq.direct", key: "k"}, before: 1,
			change: func(c *client) { c.ok(c.deleteQueue("q", false, false)); c.queues("q") }},
		{name: "a queue of the same name again", p: publish{key: "q"}, before: 1,
			change: func(c *client) { c.ok(c.deleteQueue("q", false, false)); c.queues("q") }, after: 1},
		{name: "delete the exchange",
			given: func(c *client) {
				c.exchange(channel.ExchangeDeclare{Name: "x", Type: "fanout"})
				c.ok(c.BindQueue("q", "x", "", nil))
			},
			p: publish{exchange: "x"}, before: 1,
			change: func(c *client) { c.ok(c.DeleteExchange("x", false)) },
			want:   "NOT_FOUND - no exchange 'x' in vhost 'v'"},
		{name: "another exchange of that name",
			given: func(c *client) {
				c.exchange(channel.ExchangeDeclare{Name: "x", Type: "fanout"})
				c.ok(c.BindQueue("q", "x", "", nil))
			},
			p: publish{exchange: "x"}, before: 1,
			change: func(c *client) {
				c.ok(c.DeleteExchange("x", false))
				c.exchange(channel.ExchangeDeclare{Name: "x", Type: "fanout", Internal: true})
			},
			want: "ACCESS_REFUSED - cannot publish to internal exchange 'x' in vhost 'v'"},
		{name: "the right to write is taken away", p: publish{key: "q"}, before: 1,
			change: func(c *client) { c.w.permit("guest", ".*", "^x$", ".*") },
			want:   "ACCESS_REFUSED - access to exchange 'amq.default' in vhost 'v' refused for user 'guest'"},
		{name: "the right to write to the topic is taken away",
			given: func(c *client) { c.ok(c.BindQueue("q", "amq.topic", "#", nil)) },
			p:     publish{exchange: "amq.topic", key: "k"}, before: 1,
			change: func(c *client) { c.w.permitTopic("guest", "^x$", ".*") },
			want:   "ACCESS_REFUSED - access to topic 'k' in exchange 'amq.topic' in vhost 'v' refused for user 'guest'"},
		{name: "the user is deleted", p: publish{key: "q"}, before: 1,
			change: func(c *client) { c.ok(c.w.users.DeleteUser("guest")) },
			want:   "ACCESS_REFUSED - access to exchange 'amq.default' in vhost 'v' refused for user 'guest'"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, changer := w.open(), w.open()
				c.queues("q")
				if test.given != nil {
					test.given(c)
				}
				for range 2 {
					c.publish(test.p)
				}
				c.Flush()
				require.Equal(t, 2*test.before, w.stat("q").Ready, "before")
				_, err := changer.PurgeQueue("q")
				c.ok(err)

				test.change(changer)
				changer.Flush()
				c.refused(c.try(test.p), test.want)
				c.Flush()
				require.Equal(t, test.after, w.stat("q").Ready, "after")
			})
		})
	}
}

func TestTopicRightsCountForEachKey(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		w.permitTopic("guest", "^a", ".*")
		for range 2 {
			c.publish(publish{exchange: "amq.topic", key: "a"})
			c.refused(c.try(publish{exchange: "amq.topic", key: "b"}),
				"ACCESS_REFUSED - access to topic 'b' in exchange 'amq.topic' in vhost 'v' refused for user 'guest'")
		}
	})
}

func TestRoutedByContent(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("one", "two", "key")
		c.ok(c.BindQueue("one", "amq.headers", "", args("n", int32(1))))
		c.ok(c.BindQueue("two", "amq.headers", "", args("n", int32(2))))
		c.ok(c.BindExchange("amq.headers", "amq.topic", "by.content", nil))
		c.ok(c.BindQueue("key", "amq.topic", "by.key", nil))
		n := func(n int32) message.Properties { return message.Properties{Headers: args("n", n)} }
		for range 2 {
			c.publish(publish{exchange: "amq.headers", body: "a", props: n(1)})
			c.publish(publish{exchange: "amq.topic", key: "by.key", body: "b", props: n(1)})
			c.publish(publish{exchange: "amq.topic", key: "by.content", body: "c", props: n(2)})
			c.publish(publish{exchange: "amq.headers", key: "k", body: "d", props: n(2)})
			c.publish(publish{exchange: "amq.headers", body: "e", props: n(3)})
		}
		c.Flush()
		require.Equal(t, []string{"a", "a"}, c.content("one"))
		require.Equal(t, []string{"c", "d", "c", "d"}, c.content("two"))
		require.Equal(t, []string{"b", "b"}, c.content("key"))
	})
}

// A type whose routes depend on more than the key sees every message, and each
// of them once.
func TestUserTypeRoutesEachMessageOnce(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("a", "b")
		c.exchange(channel.ExchangeDeclare{Name: "x", Type: "turns"})
		c.ok(c.BindQueue("a", "x", "", nil))
		c.ok(c.BindQueue("b", "x", "", nil))
		for i := range 4 {
			c.publish(publish{exchange: "x", key: "k", body: fmt.Sprint(i)})
		}
		c.Flush()
		require.Equal(t, []string{"0", "2"}, c.content("a"))
		require.Equal(t, []string{"1", "3"}, c.content("b"))
	})
}

func TestRoutesAreRememberedWithinBounds(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		for i := range 10 {
			q := fmt.Sprint("q", i)
			c.queue(channel.QueueDeclare{Name: q})
			c.ok(c.BindQueue(q, "amq.topic", "a.#", nil))
		}
		for i := range 3 * channel.MaxRemembered / 10 {
			c.publish(publish{exchange: "amq.topic", key: fmt.Sprint("a.", i)})
			c.publish(publish{exchange: "amq.direct", key: fmt.Sprint("a.", i)})
			require.LessOrEqual(t, c.Remembered(), channel.MaxRemembered)
		}
		require.Greater(t, c.Remembered(), 0)
		c.Flush()
		for i := range 10 {
			_, err := c.PurgeQueue(fmt.Sprint("q", i))
			c.ok(err)
		}
	})
}
