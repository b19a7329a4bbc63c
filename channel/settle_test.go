package channel_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
)

// Contract 06 §1.
func TestDeliveryTags(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q", "r")
		c.put("q", "a", "b", "c")
		c.ok(c.get("q", true))
		c.ok(c.get("q", false))
		c.ok(c.get("r", true))
		c.consume(channel.Consume{Queue: "q", Tag: "auto", NoAck: true})
		c.consume(channel.Consume{Queue: "r", Tag: "manual"})
		c.put("r", "d")
		c.put("q", "e")
		c.sees("got #1 a, 2 left", "got #2 b, 1 left", "empty",
			"consuming auto", "auto #3 c", "consuming manual", "manual #4 d", "auto #5 e")

		other := w.open()
		other.refused(other.Ack(2, false), "PRECONDITION_FAILED - unknown delivery tag 2")
		c.ok(c.Nack(2, false, true))
		c.sees("auto #6 b again")
	})
}

// Contract 06 §2. Six messages are there: 1 and 5 by basic.get, 2 without
// acknowledgement, 3 and 4 to a consumer; 4 is settled already.
func TestSettling(t *testing.T) {
	t.Parallel()
	unknown := func(tag string) string { return "PRECONDITION_FAILED - unknown delivery tag " + tag }
	for _, test := range []struct {
		name  string
		do    func(c *client) error
		want  string
		left  []string // in the queue, once the channel has ended
		first string
	}{
		{name: "ack one", do: func(c *client) error { return c.Ack(3, false) }, left: []string{"1", "5"}},
		{name: "ack several", do: func(c *client) error { return c.Ack(3, true) }, left: []string{"5"}},
		{name: "ack all", do: func(c *client) error { return c.Ack(0, true) }, left: []string{}},
		{name: "ack all, of none", do: func(c *client) error { c.ok(c.Ack(0, true)); return c.Ack(0, true) }, left: []string{}},
		{name: "ack tag 0", do: func(c *client) error { return c.Ack(0, false) }, want: unknown("0"), left: []string{"1", "3", "5"}},
		{name: "ack twice", do: func(c *client) error { return c.Ack(4, false) }, want: unknown("4"), left: []string{"1", "3", "5"}},
		{name: "ack what needs none", do: func(c *client) error { return c.Ack(2, false) }, want: unknown("2"), left: []string{"1", "3", "5"}},
		{name: "ack what is to come", do: func(c *client) error { return c.Ack(6, false) }, want: unknown("6"), left: []string{"1", "3", "5"}},
		{name: "ack several up to a settled one", do: func(c *client) error { return c.Ack(4, true) }, want: unknown("4"), left: []string{"1", "3", "5"}},
		{name: "ack several up to what is to come", do: func(c *client) error { return c.Ack(6, true) }, want: unknown("6"), left: []string{"1", "3", "5"}},
		{name: "nack one", do: func(c *client) error { return c.Nack(3, false, false) }, left: []string{"1", "5"}},
		{name: "nack several", do: func(c *client) error { return c.Nack(3, true, false) }, left: []string{"5"}},
		{name: "nack all", do: func(c *client) error { return c.Nack(0, true, false) }, left: []string{}},
		{name: "nack tag 0", do: func(c *client) error { return c.Nack(0, false, true) }, want: unknown("0"), left: []string{"1", "3", "5"}},
		{name: "requeue one", do: func(c *client) error { return c.Nack(5, false, true) }, left: []string{"1", "3", "5"}},
		{name: "requeue all", do: func(c *client) error { return c.Nack(0, true, true) }, left: []string{"1", "3", "5"}},
		{name: "reject", do: func(c *client) error { return c.Reject(1, false) }, left: []string{"3", "5"}},
		{name: "reject with requeue", do: func(c *client) error { return c.Reject(1, true) }, left: []string{"1", "3", "5"}},
		{name: "reject tag 0", do: func(c *client) error { return c.Reject(0, true) }, want: unknown("0"), left: []string{"1", "3", "5"}},
		{name: "recover without requeue", do: func(c *client) error { return c.Recover(false, func() { panic("no") }) },
			want: "NOT_IMPLEMENTED - requeue=false", left: []string{"1", "3", "5"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c := w.open()
				c.queues("q")
				c.put("q", "1", "2")
				c.ok(c.get("q", false))
				c.ok(c.get("q", true))
				c.consume(channel.Consume{Queue: "q", Tag: "t"})
				c.put("q", "3", "4")
				c.Flush()
				c.ok(c.Cancel("t"))
				c.put("q", "5")
				c.ok(c.get("q", false))
				c.ok(c.Ack(4, false))
				c.refused(test.do(c), test.want)
				c.Close()
				require.Equal(t, test.left, w.open().content("q"))
			})
		})
	}
}

func TestMultipleSettlesAcrossQueuesAndConsumers(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q", "r")
		c.consume(channel.Consume{Queue: "q", Tag: "a"})
		c.consume(channel.Consume{Queue: "r", Tag: "b"})
		c.consume(channel.Consume{Queue: "q", Tag: "c"})
		c.put("q", "1", "2", "3")
		c.put("r", "4", "5")
		c.events()
		c.ok(c.Nack(4, true, false))
		c.Flush()
		require.Equal(t, 0, w.stat("q").Unacked)
		require.Equal(t, 1, w.stat("r").Unacked)
	})
}

// Conformance scenario recover/by-queue.
func TestRecoverGoesByTheNamesOfTheQueues(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q", "p")
		c.consume(channel.Consume{Queue: "q", Tag: "a"})
		c.consume(channel.Consume{Queue: "p", Tag: "b"})
		c.put("q", "1")
		c.put("p", "2")
		c.put("q", "3")
		c.events()
		c.ok(c.Recover(true, func() {}))
		c.sees("b #4 2 again", "a #5 1 again", "a #6 3 again")
	})
}

func TestRequeuedMessagesReturnToTheirPlace(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.put("q", "1", "2", "3", "4", "5")
		for range 4 {
			c.ok(c.get("q", false))
		}
		c.ok(c.Nack(2, false, true))
		c.ok(c.Nack(3, false, true))
		c.ok(c.Nack(1, false, true))
		c.ok(c.Nack(4, false, true))
		c.ok(c.get("q", false))
		c.events()
		c.ok(c.Nack(0, true, true))
		c.Flush()
		require.Equal(t, []string{"1", "2", "3", "4", "5"}, c.content("q"))
	})
}

func TestRecoverRequeuesEverythingAfterItsAnswer(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.put("q", "a", "b", "c")
		c.ok(c.get("q", false))
		c.consume(channel.Consume{Queue: "q", Tag: "t"})
		c.events()
		c.ok(c.Recover(true, func() { c.note("recovered") }))
		c.sees("recovered", "t #4 a again", "t #5 b again", "t #6 c again")
		c.refused(c.Ack(1, false), "PRECONDITION_FAILED - unknown delivery tag 1")

		c.ok(c.Ack(0, true))
		c.ok(c.Recover(true, func() { c.note("recovered") }))
		c.sees("recovered")
	})
}

func TestSettlingForADeletedQueueIsIgnored(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.put("q", "a", "b", "c")
		for range 3 {
			c.ok(c.get("q", false))
		}
		c.ok(c.deleteQueue("q", false, false))
		c.queues("q")
		c.ok(c.Ack(1, false))
		c.ok(c.Nack(2, false, true))
		c.ok(c.Recover(true, func() {}))
		c.Flush()
		require.Zero(t, w.stat("q").Ready)
	})
}

func TestFlowAndCredit(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.ok(c.Flow(true))
		c.refused(c.Flow(false), "NOT_IMPLEMENTED - active=false")
		c.refused(c.Credit("x", 1, false), "PRECONDITION_FAILED - unknown consumer tag 'x'")
		c.consume(channel.Consume{Queue: "q", Tag: "x"})
		c.put("q", "a", "b", "c")
		c.sees("consuming x", "x #1 a", "x #2 b", "x #3 c")
		c.ok(c.Credit("x", 2, false))
		c.put("q", "d", "e", "f") // before what follows
		c.ok(c.Credit("x", 2, true))
		c.sees("0 available", "x #4 d", "x #5 e", "1 available", "x #6 f", "drained x: 1")
	})
}

// Whatever a method answers, what was published before has reached its queues
// (contract 06 §9).
func TestMethodsWithAnAnswerHandOverWhatWasPublished(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(c *client) error{
		"channel.flow":     func(c *client) error { return c.Flow(true) },
		"exchange.declare": func(c *client) error { return c.DeclareExchange(channel.ExchangeDeclare{Name: "x", Type: "direct"}) },
		"exchange.delete":  func(c *client) error { return c.DeleteExchange("x", false) },
		"exchange.bind":    func(c *client) error { return c.BindExchange("amq.direct", "amq.topic", "", nil) },
		"exchange.unbind":  func(c *client) error { return c.UnbindExchange("amq.direct", "amq.topic", "", nil) },
		"queue.declare":    declare(channel.QueueDeclare{Name: "r"}),
		"queue.bind":       func(c *client) error { return c.BindQueue("q", "amq.topic", "", nil) },
		"queue.unbind":     func(c *client) error { return c.UnbindQueue("q", "amq.topic", "", nil) },
		"queue.purge":      func(c *client) error { _, err := c.PurgeQueue("r"); return err },
		"queue.delete":     func(c *client) error { return c.deleteQueue("no", false, false) },
		"basic.qos":        func(c *client) error { return c.Qos(0, 1, false) },
		"basic.consume":    func(c *client) error { return c.tryConsume(channel.Consume{Queue: "r"}) },
		"basic.cancel":     func(c *client) error { return c.Cancel("x") },
		"basic.get":        func(c *client) error { return c.get("r", true) },
		"basic.recover":    func(c *client) error { return c.Recover(true, func() {}) },
		"confirm.select":   func(c *client) error { return c.ConfirmSelect() },
		"tx.select":        func(c *client) error { return c.TxSelect() },
		"channel.close":    func(c *client) error { c.Close(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c := w.open()
				c.queues("q", "r")
				c.put("q", "a")
				require.Zero(t, w.stat("q").Ready, "it is collected")
				c.ok(do(c))
				require.Equal(t, 1, w.stat("q").Ready)
			})
		})
	}
}

func TestManyPublishesAndSettlesAreHandedOverWithoutFlush(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		for range 2000 {
			c.put("q", "m")
		}
		require.Greater(t, w.stat("q").Ready, 1000)
		for range 2000 {
			c.ok(c.get("q", false))
		}
		for i := range 2000 {
			c.ok(c.Ack(uint64(i+1), false))
		}
		require.Less(t, w.stat("q").Unacked, 1000)
	})
}

func TestPublishesToManyQueuesKeepTheirOrder(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		names := make([]string, 40)
		for i := range names {
			names[i] = string(rune('a' + i))
			c.queues(names[i])
		}
		for _, body := range []string{"1", "2", "3"} {
			for _, name := range names {
				c.put(name, body)
			}
		}
		require.NotZero(t, w.stat("a").Ready, "only so many queues are collected for")
		c.Flush()
		for _, name := range names {
			require.Equal(t, []string{"1", "2", "3"}, c.content(name), name)
		}
	})
}
