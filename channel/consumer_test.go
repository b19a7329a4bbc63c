package channel_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
)

// Contract 03 §7 and 05 §10.
func TestConsumeChecksInOrder(t *testing.T) {
	consume := func(k channel.Consume) func(*client) error {
		return func(c *client) error { return c.tryConsume(k) }
	}
	// twice consumes a queue of one's own with tag t before.
	twice := func(k channel.Consume) func(*client) error {
		return func(c *client) error {
			c.w.permit("u", ".*", ".*", ".*")
			c.queues("mine")
			c.consume(channel.Consume{Queue: "mine", Tag: "t"})
			c.w.permit("u", "", "", "")
			return c.tryConsume(k)
		}
	}
	const inUse = "ACCESS_REFUSED - queue 'q' in vhost 'v' in exclusive use"
	badArgs := args("x-priority", "x", "x-stream-offset", "first")
	runChecks(t, []check{
		{name: "no queue declared before", do: func(c *client) error {
			return c.tryConsume(channel.Consume{Tag: "t"})
		}, want: "NOT_FOUND - no previously declared queue"},
		{name: "a tag in use", do: twice(channel.Consume{Queue: "q", Tag: "t"}),
			want: "NOT_ALLOWED - attempt to reuse consumer tag 't'"},
		{name: "a tag in use, for direct reply-to", do: twice(channel.Consume{Queue: "amq.rabbitmq.reply-to", Tag: "t"}),
			want: "NOT_ALLOWED - attempt to reuse consumer tag 't'"},
		{name: "direct reply-to, whatever the rights", rights: []string{"", "", ""}, do: consume(channel.Consume{Queue: "amq.rabbitmq.reply-to"}),
			want: "PRECONDITION_FAILED - reply consumer cannot acknowledge"},
		{name: "direct reply-to twice", rights: []string{"", "", ""}, do: func(c *client) error {
			c.consume(channel.Consume{Queue: directReply, NoAck: true, Tag: "t"})
			return c.tryConsume(channel.Consume{Queue: directReply, NoAck: true, Tag: "t"})
		}, want: "PRECONDITION_FAILED - reply consumer already set"},
		{name: "the right to read", rights: []string{".*", ".*", ""}, do: consume(channel.Consume{Queue: "q"}), want: noAccess("queue", "q")},
		{name: "no queue", do: consume(channel.Consume{Queue: "q", Arguments: badArgs}), want: "NOT_FOUND - no queue 'q' in vhost 'v'"},
		{name: "exclusive to another connection", given: exclusiveQueue, do: consume(channel.Consume{Queue: "q", Arguments: badArgs}), want: locked},
		{name: "a bad argument",
			given: func(o *client) { o.queues("q"); o.consume(channel.Consume{Queue: "q", Exclusive: true}) },
			do:    consume(channel.Consume{Queue: "q", Arguments: badArgs}),
			want:  `PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost 'v': "expected integer, got longstr"`},
		{name: "an argument of another type", given: queueQ,
			do:   consume(channel.Consume{Queue: "q", Arguments: badArgs[1:]}),
			want: "PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue 'q' in vhost 'v' of queue type rabbit_classic_queue"},
		{name: "a table that is no credit", given: queueQ,
			do: consume(channel.Consume{Queue: "q", Arguments: args("x-credit", args())})},
		{name: "an exclusive consumer is there",
			given: func(o *client) { o.queues("q"); o.consume(channel.Consume{Queue: "q", Exclusive: true}) },
			do:    consume(channel.Consume{Queue: "q"}), want: inUse},
		{name: "exclusive, and a consumer is there",
			given: func(o *client) { o.queues("q"); o.consume(channel.Consume{Queue: "q"}) },
			do:    consume(channel.Consume{Queue: "q", Exclusive: true}), want: inUse},
		{name: "an exclusive consumer does not keep from basic.get",
			given: func(o *client) { o.queues("q"); o.consume(channel.Consume{Queue: "q", Exclusive: true}) },
			do:    func(c *client) error { return c.get("q", true) }},
		{name: "only its right, and unknown arguments", given: queueQ, rights: []string{"", "", "^q$"},
			do: consume(channel.Consume{Queue: "q", Exclusive: true, Arguments: args("x-whatever", "x")})},
	})
}

func TestGeneratedConsumerTags(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.consume(channel.Consume{Queue: "q"})
		c.consume(channel.Consume{Queue: "q"})
		got := c.events()
		require.Len(t, got, 2)
		require.Regexp(t, `^consuming amq\.ctag-[A-Za-z0-9_-]{22}$`, got[0])
		require.Regexp(t, `^consuming amq\.ctag-[A-Za-z0-9_-]{22}$`, got[1])
		require.NotEqual(t, got[0], got[1])
	})
}

func TestARefusedConsumerLeavesItsTagFree(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q", "r")
		c.consume(channel.Consume{Queue: "q", Tag: "a", Exclusive: true})
		require.Error(t, c.tryConsume(channel.Consume{Queue: "q", Tag: "b"}))
		c.consume(channel.Consume{Queue: "r", Tag: "b"})
		c.ok(c.Cancel("a"))
		c.consume(channel.Consume{Queue: "q", Tag: "a"})
		c.ok(c.Cancel("a"))
		c.consume(channel.Consume{Queue: "q", Tag: "a", Exclusive: true})
	})
}

func TestCancel(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.ok(c.Cancel("nobody"))
		c.put("q", "a", "b")
		c.consume(channel.Consume{Queue: "q", Tag: "t"})
		c.ok(c.Cancel("t"))
		c.note("cancel-ok")
		c.put("q", "c")
		c.sees("consuming t", "t #1 a", "t #2 b", "cancel-ok")
		require.Equal(t, 2, w.stat("q").Unacked, "what it got stays unacked")
		c.ok(c.Ack(1, false))
		c.ok(c.Nack(2, false, true))
		c.consume(channel.Consume{Queue: "q", Tag: "t"})
		c.sees("consuming t", "t #3 b again", "t #4 c")
	})
}

func TestCancelAndRequeue(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.put("q", "a", "b", "c", "d")
		c.ok(c.get("q", false))
		c.ok(c.Qos(0, 2, false))
		c.consume(channel.Consume{Queue: "q", Tag: "t"})
		c.consume(channel.Consume{Queue: "q", Tag: "u"})
		c.ok(c.CancelAndRequeue("nobody"))
		c.ok(c.CancelAndRequeue("t"))
		c.sees("got #1 a, 3 left", "consuming t", "t #2 b", "t #3 c", "consuming u", "u #4 d", "u #5 b again")
		c.refused(c.Ack(2, false), "PRECONDITION_FAILED - unknown delivery tag 2")
		c.ok(c.Ack(5, true))
		c.sees("u #6 c again")
	})
}

func TestAutoDeleteQueueGoesWithItsLastConsumer(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *client){
		"by cancel": func(c *client) { c.ok(c.Cancel("t")) },
		"by close":  func(c *client) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				o, c := w.open(), w.open()
				o.queue(channel.QueueDeclare{Name: "q", AutoDelete: true})
				o.put("q", "a", "b")
				o.ok(o.get("q", false))
				c.consume(channel.Consume{Queue: "q", Tag: "t"})
				o.consume(channel.Consume{Queue: "q", Tag: "t"})
				end(c)
				require.NotNil(t, w.destination("q"))
				o.ok(o.Cancel("t"))
				require.Nil(t, w.destination("q"))
				o.ok(o.Ack(1, false))
				o.refused(o.get("q", true), "NOT_FOUND - no queue 'q' in vhost 'v'")
			})
		})
	}
}

func TestConsumersOfADeletedQueueAreCancelledOnce(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.consume(channel.Consume{Queue: "q", Tag: "t"})
		c.consume(channel.Consume{Queue: "q", Tag: "cancelled"})
		c.ok(c.Cancel("cancelled"))
		w.open().ok(w.open().deleteQueue("q", false, false))
		c.sees("consuming t", "consuming cancelled", "cancelled t")
		c.ok(c.Cancel("t"))
		c.sees()
	})
}

// A client that cancels a consumer while its queue is being deleted is told
// nothing but that it was cancelled.
func TestCancelWhileTheQueueIsDeleted(t *testing.T) {
	bubble(t, func(w *world) {
		c, other, slow := w.open(), w.open(), w.open()
		c.queues("q")
		c.consume(channel.Consume{Queue: "q", Tag: "t"})
		held, release := make(chan struct{}), make(chan struct{})
		go func() {
			slow.ok(slow.Get("q", true, func(channel.Got) { close(held); <-release }))
		}()
		<-held
		go func() { other.ok(other.deleteQueue("q", false, false)) }()
		synctest.Wait()
		go func() { c.ok(c.Cancel("t")) }()
		synctest.Wait()
		close(release)
		c.sees("consuming t")
		other.sees("deleted 0")
	})
}

func TestRoundRobinBetweenChannels(t *testing.T) {
	bubble(t, func(w *world) {
		a, b := w.open(), w.open()
		a.queues("q")
		a.consume(channel.Consume{Queue: "q", Tag: "t"})
		b.consume(channel.Consume{Queue: "q", Tag: "t"})
		a.put("q", "1", "2", "3", "4")
		a.sees("consuming t", "t #1 1", "t #2 3")
		b.sees("consuming t", "t #1 2", "t #2 4")
	})
}
