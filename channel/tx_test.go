package channel_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
)

// Contract 03 §9.
func TestTxAndConfirmExcludeEachOther(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		const not = "PRECONDITION_FAILED - channel is not transactional"
		c.refused(c.TxCommit(), not)
		c.refused(c.TxRollback(), not)
		c.ok(c.TxSelect())
		c.ok(c.TxSelect())
		c.ok(c.TxCommit())
		c.ok(c.TxRollback())
		c.refused(c.ConfirmSelect(), "PRECONDITION_FAILED - cannot switch from tx to confirm mode")
		c = w.open()
		c.ok(c.ConfirmSelect())
		c.refused(c.TxSelect(), "PRECONDITION_FAILED - cannot switch from confirm to tx mode")
		c.refused(c.TxCommit(), not)
	})
}

func TestTxHoldsPublishesBackUntilCommit(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q", "r")
		c.put("q", "before")
		c.ok(c.TxSelect())
		c.put("q", "a", "b")
		c.put("r", "c")
		c.Flush()
		require.Equal(t, 1, w.stat("q").Ready)
		c.ok(c.TxCommit())
		require.Equal(t, 3, w.stat("q").Ready)
		require.Equal(t, []string{"c"}, c.content("r"))

		c.put("q", "d")
		c.ok(c.TxRollback())
		c.put("q", "e")
		c.ok(c.TxCommit())
		require.Equal(t, []string{"before", "a", "b", "e"}, c.content("q"))
	})
}

func TestTxChecksAndRoutesAtOnce(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q", "gone")
		c.ok(c.TxSelect())
		c.refused(c.try(publish{exchange: "x"}), "NOT_FOUND - no exchange 'x' in vhost 'v'")
		c.refused(c.Ack(1, false), "PRECONDITION_FAILED - unknown delivery tag 1")
		c.publish(publish{exchange: "amq.direct", key: "k", body: "before the binding"})
		c.ok(c.BindQueue("q", "amq.direct", "k", nil))
		c.publish(publish{exchange: "amq.direct", key: "k", body: "with the binding"})
		c.ok(c.UnbindQueue("q", "amq.direct", "k", nil))
		c.ok(c.TxCommit())
		require.Equal(t, []string{"with the binding"}, c.content("q"))
	})
}

func TestTxLooksForItsQueuesAtTheCommit(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("gone", "anew", "by key")
		c.ok(c.BindQueue("anew", "amq.direct", "k", nil))
		c.ok(c.TxSelect())
		c.publish(publish{key: "gone", body: "a", mandatory: true})
		c.publish(publish{exchange: "amq.direct", key: "k", body: "b", mandatory: true})
		c.publish(publish{key: "later", body: "c", mandatory: true})
		c.publish(publish{key: "by key", body: "d",
			props: message.Properties{Headers: message.Table{{Name: "BCC", Value: []any{"later", "later"}}}}})
		c.ok(c.deleteQueue("gone", false, false))
		c.ok(c.deleteQueue("anew", false, false))
		c.queues("anew", "later")
		c.ok(c.TxCommit())
		c.sees("deleted 0", "deleted 0", "return 312 /gone a")
		require.Equal(t, []string{"b"}, c.content("anew"))
		require.Equal(t, []string{"c", "d"}, c.content("later"))
		require.Equal(t, []string{"d"}, c.content("by key"))
	})
}

func TestTxKeepsWhatWasRoutedByContent(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q", "r")
		c.ok(c.BindQueue("q", "amq.headers", "", args("n", "q")))
		c.ok(c.BindQueue("r", "amq.headers", "", args("n", "r")))
		c.ok(c.TxSelect())
		for _, n := range []string{"q", "r"} {
			c.publish(publish{exchange: "amq.headers", body: n, props: message.Properties{Headers: args("n", n)}})
		}
		c.ok(c.TxCommit())
		require.Equal(t, []string{"q"}, c.content("q"))
		require.Equal(t, []string{"r"}, c.content("r"))
	})
}

func TestTxReturnsAtCommitOnly(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.ok(c.TxSelect())
		c.publish(publish{key: "no", body: "a", mandatory: true})
		c.put("q", "b")
		c.publish(publish{exchange: "amq.direct", key: "k", body: "c", mandatory: true})
		c.sees()
		c.ok(c.TxCommit())
		c.note("committed")
		c.sees("return 312 /no a", "return 312 amq.direct/k c", "committed")

		c.publish(publish{key: "no", body: "d", mandatory: true})
		c.ok(c.TxRollback())
		c.ok(c.TxCommit())
		c.sees()
	})
}

func TestTxHoldsSettlingBack(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.put("q", "1", "2", "3", "4", "5")
		for range 5 {
			c.ok(c.get("q", false))
		}
		c.ok(c.TxSelect())
		c.ok(c.Nack(3, false, true))
		c.ok(c.Ack(2, true))
		c.ok(c.Reject(4, false))
		c.Flush()
		require.Equal(t, 5, w.stat("q").Unacked)
		const unknown = "PRECONDITION_FAILED - unknown delivery tag "
		c.refused(c.Ack(3, false), unknown+"3")
		c.refused(c.Ack(2, true), unknown+"2")

		c.ok(c.TxRollback())
		c.Flush()
		require.Equal(t, 5, w.stat("q").Unacked, "neither settled nor requeued")
		c.ok(c.Ack(3, true))
		c.ok(c.Nack(4, false, true))
		c.ok(c.TxCommit())
		require.Equal(t, 1, w.stat("q").Unacked)
		require.Equal(t, []string{"4"}, c.content("q"))
		c.ok(c.Nack(5, false, true))
		c.ok(c.TxCommit())
		require.Equal(t, []string{"5"}, c.content("q"))
	})
}

func TestTxSettlesAfterItsPublishes(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.put("q", "1")
		c.ok(c.get("q", false))
		c.ok(c.TxSelect())
		c.ok(c.Nack(1, false, true))
		c.put("q", "2")
		c.consume(channel.Consume{Queue: "q", Tag: "t"}) // acts at once
		c.events()
		c.ok(c.TxCommit())
		c.sees("t #2 2", "t #3 1 again")
	})
}

func TestTxGivesPrefetchBackAtCommit(t *testing.T) {
	t.Parallel()
	for name, global := range map[string]bool{"of the consumer": false, "of the channel": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c := w.open()
				c.queues("q", "r")
				c.put("q", "1", "2", "3")
				c.ok(c.Qos(0, 1, global))
				c.consume(channel.Consume{Queue: "q", Tag: "t"})
				c.ok(c.TxSelect())
				c.ok(c.Ack(1, false))
				c.sees("consuming t", "t #1 1")
				c.ok(c.TxRollback())
				c.ok(c.Ack(1, false))
				c.ok(c.TxCommit())
				c.sees("t #2 2")
			})
		})
	}
}

func TestRecoverInTxLeavesWhatItSettled(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.put("q", "1", "2", "3")
		for range 3 {
			c.ok(c.get("q", false))
		}
		c.ok(c.TxSelect())
		c.ok(c.Ack(2, false))
		c.ok(c.Recover(true, func() {}))
		require.Equal(t, 2, w.stat("q").Ready)
		c.ok(c.TxCommit())
		require.Equal(t, []string{"1", "3"}, c.content("q"))
	})
}

func TestTxCommitWaitsForEveryQueue(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		lateQueueNamed(c, "l")
		lateQueueNamed(c, "m")
		c.ok(c.TxSelect())
		c.put("q", "a")
		c.put("l", "b")
		c.put("m", "c")
		c.put("l", "d")
		start := time.Now()
		c.ok(c.TxCommit())
		require.Equal(t, time.Second, time.Since(start))
		require.Equal(t, []string{"b", "d"}, c.content("l"))
	})
}

func TestTxCommitGoesOnWhenAQueueGoes(t *testing.T) {
	bubble(t, func(w *world) {
		c, other := w.open(), w.open()
		lateQueueNamed(c, "l")
		c.ok(c.TxSelect())
		c.put("l", "a")
		time.AfterFunc(time.Second/2, func() { other.ok(other.deleteQueue("l", false, false)) })
		start := time.Now()
		c.ok(c.TxCommit())
		require.Equal(t, time.Second/2, time.Since(start))
	})
}

func TestTxCommitWithAQueueThatRefuses(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		lateQueueNamed(c, "l")
		c.put("q", "0")
		c.ok(c.get("q", false))
		for _, q := range []string{"q", "l"} {
			c.ok(c.BindQueue(q, "amq.fanout", "", nil))
		}
		c.ok(c.TxSelect())
		c.put("l", "a")
		c.publish(publish{exchange: "amq.fanout", body: "bad"})
		c.put("q", "b")
		c.ok(c.Ack(1, false))
		c.refused(c.TxCommit(), "PRECONDITION_FAILED - partial tx completion")
		require.Equal(t, []string{"bad", "b"}, c.content("q"), "the rest is carried out")
		require.Equal(t, []string{"a"}, c.content("l"))
		require.Zero(t, w.stat("q").Unacked)
	})
}

func TestTxWithManyQueuesAndMessages(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.ok(c.TxSelect())
		for i := range 30 {
			q := string(rune('a' + i))
			c.queues(q)
			for range 50 {
				c.put(q, "m")
			}
		}
		c.ok(c.TxCommit())
		for i := range 30 {
			q := string(rune('a' + i))
			for range 50 {
				c.ok(c.get(q, false))
			}
		}
		c.events()
		c.ok(c.Ack(700, true))
		c.ok(c.Nack(0, true, false))
		c.ok(c.TxCommit())
		for i := range 30 {
			require.Zero(t, w.stat(string(rune('a'+i))))
		}
	})
}
