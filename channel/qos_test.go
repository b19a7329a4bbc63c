package channel_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
)

// Contract 06 §3. Each test starts with ten messages, 0 to 9, in queue q.
func TestQos(t *testing.T) {
	t.Parallel()
	k := func(tag string) channel.Consume { return channel.Consume{Queue: "q", Tag: tag} }
	for name, test := range map[string]func(c *client){
		"a size is refused": func(c *client) {
			c.refused(c.Qos(5, 1, false), "NOT_IMPLEMENTED - prefetch_size!=0 (5)")
		},
		"no limit at first": func(c *client) {
			c.consume(k("a"))
			require.Len(c.w.t, c.events(), 11)
		},
		"for consumers to come": func(c *client) {
			c.ok(c.Qos(0, 2, false))
			c.consume(k("a"))
			c.ok(c.Qos(0, 3, false))
			c.consume(k("b"))
			c.sees("consuming a", "a #1 0", "a #2 1", "consuming b", "b #3 2", "b #4 3", "b #5 4")
			c.ok(c.Ack(1, false))
			c.sees("a #6 5")
			c.ok(c.Ack(5, true))
			c.sees("a #7 6", "b #8 7", "b #9 8", "b #10 9")
		},
		"zero is no limit": func(c *client) {
			c.ok(c.Qos(0, 2, false))
			c.ok(c.Qos(0, 0, false))
			c.consume(k("a"))
			require.Len(c.w.t, c.events(), 11)
		},
		"a consumer's own limit": func(c *client) {
			c.ok(c.Qos(0, 5, false))
			c.consume(channel.Consume{Queue: "q", Tag: "a", Prefetch: 1})
			c.sees("consuming a", "a #1 0")
			c.consume(channel.Consume{Queue: "q", Tag: "b", Prefetch: channel.NoPrefetch})
			require.Len(c.w.t, c.events(), 10)
		},
		"without acknowledgements": func(c *client) {
			c.ok(c.Qos(0, 2, false))
			c.consume(channel.Consume{Queue: "q", Tag: "a", NoAck: true})
			require.Len(c.w.t, c.events(), 11)
		},
		"get does not count": func(c *client) {
			c.ok(c.Qos(0, 1, false))
			c.ok(c.Qos(0, 1, true))
			c.ok(c.get("q", false))
			c.ok(c.get("q", false))
			c.consume(k("a"))
			c.sees("got #1 0, 9 left", "got #2 1, 8 left", "consuming a", "a #3 2")
			c.ok(c.get("q", false))
			c.sees("got #4 3, 6 left")
		},
		"settling what was got gives nothing back": func(c *client) {
			c.ok(c.Qos(0, 1, true))
			c.consume(k("a"))
			c.ok(c.get("q", false))
			c.ok(c.Ack(2, false))
			c.sees("consuming a", "a #1 0", "got #2 1, 8 left")
			c.ok(c.Ack(1, false))
			c.sees("a #3 2")
		},
		"for the channel": func(c *client) {
			c.consume(k("a")) // takes what is there
			c.ok(c.Ack(0, true))
			c.ok(c.Qos(0, 3, true))
			c.consume(k("b"))
			c.events()
			c.put("q", "a", "b", "c", "d", "e", "f", "g")
			require.Len(c.w.t, c.events(), 3, "the older consumer counts too")
			c.ok(c.Qos(0, 5, true))
			require.Len(c.w.t, c.events(), 2, "raised by two")
			c.ok(c.Ack(15, true))
			require.Len(c.w.t, c.events(), 2)
		},
		"for the channel, raised, lowered and lifted": func(c *client) {
			c.ok(c.Qos(0, 2, true))
			c.consume(k("a"))
			c.sees("consuming a", "a #1 0", "a #2 1")
			c.ok(c.Qos(0, 4, true))
			c.sees("a #3 2", "a #4 3")
			c.ok(c.Qos(0, 2, true))
			c.ok(c.Ack(1, false))
			c.ok(c.Ack(2, false))
			c.sees()
			c.ok(c.Ack(3, false))
			c.sees("a #5 4")
			c.ok(c.Qos(0, 0, true))
			c.sees("a #6 5", "a #7 6", "a #8 7", "a #9 8", "a #10 9")
		},
		"for the channel, lifted by one for consumers": func(c *client) {
			c.ok(c.Qos(0, 2, true))
			c.consume(k("a"))
			c.events()
			c.ok(c.Qos(0, 1, false))
			require.Len(c.w.t, c.events(), 8, "the consumer stays without a limit")
		},
		"both": func(c *client) {
			c.ok(c.Qos(0, 2, false))
			c.ok(c.Qos(0, 3, true))
			c.consume(k("a"))
			c.consume(k("b"))
			c.sees("consuming a", "a #1 0", "a #2 1", "consuming b", "b #3 2")
			c.ok(c.Ack(1, false))
			c.sees("a #4 3")
			c.ok(c.Ack(3, false))
			c.sees("b #5 4")
		},
		"for the channel counts what is out": func(c *client) {
			c.ok(c.get("q", false))
			c.ok(c.get("q", false))
			c.ok(c.Qos(0, 3, true))
			c.events()
			c.consume(k("a"))
			c.sees("consuming a", "a #3 2")
		},
		"for the channel, and no acknowledgements": func(c *client) {
			c.ok(c.Qos(0, 1, true))
			c.consume(channel.Consume{Queue: "q", Tag: "auto", NoAck: true})
			require.Len(c.w.t, c.events(), 11, "passes while there is room")
			c.consume(k("a"))
			c.put("q", "x", "y")
			require.Len(c.w.t, c.events(), 3)
			c.put("q", "z")
			got := c.events()
			if len(got) == 0 { // a had x or y
				c.ok(c.Ack(0, true))
				require.NotEmpty(c.w.t, c.events())
			}
		},
		"comes back with nack, reject and recover": func(c *client) {
			c.ok(c.Qos(0, 1, true))
			c.consume(k("a"))
			c.sees("consuming a", "a #1 0")
			c.ok(c.Nack(1, false, false))
			c.sees("a #2 1")
			c.ok(c.Reject(2, false))
			c.sees("a #3 2")
			c.ok(c.Reject(3, true))
			c.sees("a #4 2 again")
			c.ok(c.Recover(true, func() {}))
			c.sees("a #5 2 again")
		},
		"what a cancelled consumer holds counts until it is settled": func(c *client) {
			c.ok(c.Qos(0, 1, true))
			c.consume(k("a"))
			c.ok(c.Cancel("a"))
			c.consume(k("b"))
			c.sees("consuming a", "a #1 0", "consuming b")
			c.ok(c.Ack(1, false))
			c.sees("b #2 1")
		},
		"a type that takes no consumer under a global limit": func(c *client) {
			c.queue(channel.QueueDeclare{Name: "l", Arguments: args("x-queue-type", "late")})
			c.ok(c.Qos(0, 1, true))
			c.refused(c.tryConsume(channel.Consume{Queue: "l"}),
				"NOT_IMPLEMENTED - queue 'l' in vhost 'v' does not support global qos")
			c.ok(c.Qos(0, 0, true))
			c.consume(channel.Consume{Queue: "l"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c := w.open()
				c.queues("q")
				for i := range 10 {
					c.put("q", fmt.Sprint(i))
				}
				test(c)
			})
		})
	}
}

func TestSharedPrefetchServesAllQueues(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		for _, q := range []string{"a", "b", "c"} {
			c.queues(q)
			for range 10 {
				c.put(q, q)
			}
		}
		c.ok(c.Qos(0, 1, true))
		for _, q := range []string{"a", "b", "c"} {
			c.consume(channel.Consume{Queue: q, Tag: q})
		}
		seen := map[string]int{}
		c.events()
		for tag := range uint64(30) {
			c.ok(c.Ack(tag+1, false))
			got := c.events()
			if tag == 29 {
				require.Empty(t, got)
				break
			}
			require.Len(t, got, 1, "after tag %d", tag+1)
			seen[got[0][:1]]++
		}
		require.Equal(t, 10, max(seen["a"], seen["b"], seen["c"]))
	})
}

// small has room for two deliveries of one octet that the client has not read.
func small(c *channel.Config) { c.MaxUnsent = 2 * channel.Cost(1) }

func TestDeliveriesWaitForTheClientToRead(t *testing.T) {
	t.Parallel()
	for _, noAck := range []bool{false, true} {
		t.Run(fmt.Sprintf("noAck=%t", noAck), func(t *testing.T) {
			bubble(t, func(w *world) {
				c := w.open(small)
				c.queues("q")
				c.consume(channel.Consume{Queue: "q", Tag: "t", NoAck: noAck})
				c.put("q", "0", "1", "2") // are read at once
				c.sees("consuming t", "t #1 0", "t #2 1", "t #3 2")
				c.stall()
				c.put("q", "a")
				c.put("q", "b", "c", "d", "e")
				c.sees("t #4 a", "t #5 b")
				require.Equal(t, 3, w.stat("q").Ready)
				c.read()
				c.sees("t #6 c", "t #7 d")
				c.read()
				c.sees("t #8 e")
			})
		})
	}
}

func TestOneDeliveryGoesHoweverLargeItIs(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open(func(c *channel.Config) { c.MaxUnsent = 1 })
		c.queues("q")
		c.stall()
		c.consume(channel.Consume{Queue: "q", Tag: "t"})
		c.put("q", "aaaa", "bbbb", "cccc")
		c.sees("consuming t", "t #1 aaaa")
		c.read()
		c.sees("t #2 bbbb")
		c.read()
		c.sees("t #3 cccc")
	})
}

func TestOthersAreServedWhileAClientDoesNotRead(t *testing.T) {
	bubble(t, func(w *world) {
		c, other := w.open(small), w.open()
		c.queues("q")
		c.stall()
		c.consume(channel.Consume{Queue: "q", Tag: "t"})
		other.consume(channel.Consume{Queue: "q", Tag: "o"})
		c.put("q", "1", "2", "3", "4", "5", "6", "7")
		c.sees("consuming t", "t #1 1", "t #2 3")
		other.sees("consuming o", "o #1 2", "o #2 4", "o #3 5", "o #4 6", "o #5 7")
	})
}

// With room under the shared prefetch but none for the client to read, a queue
// must rest until the client reads. (It once woke itself for ever.)
func TestQueueRestsWhilePrefetchHasRoomAndTheClientDoesNotRead(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open(func(c *channel.Config) { c.MaxUnsent = 1 })
		c.queues("q", "r")
		c.stall()
		c.ok(c.Qos(0, 1, true))
		c.consume(channel.Consume{Queue: "q", Tag: "t"})
		c.consume(channel.Consume{Queue: "r", Tag: "u"})
		c.put("q", "a", "b")
		c.put("r", "c")
		c.sees("consuming t", "consuming u", "t #1 a")
		c.ok(c.Ack(1, false))
		c.sees()
		c.read()
		got := c.events()
		require.Len(t, got, 1)
		c.ok(c.Ack(2, false))
		c.read()
		require.Len(t, c.events(), 1)
	})
}

// A client that consumes and cancels while nothing can be delivered must not
// leave anything behind.
func TestCancelledConsumersDoNotWait(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q", "r")
		c.put("q", "a", "b")
		c.put("r", "c")
		c.ok(c.Qos(0, 1, true))
		c.consume(channel.Consume{Queue: "q", Tag: "holds"})
		for range 100 {
			c.consume(channel.Consume{Queue: "q", Tag: "t"})
			c.ok(c.Cancel("t"))
		}
		c.consume(channel.Consume{Queue: "r", Tag: "gone"})
		require.Equal(t, 2, c.Waiting())
		c.ok(c.deleteQueue("r", false, false))
		require.Equal(t, 1, c.Waiting())
		c.events()
		c.ok(c.Ack(1, false))
		c.sees("holds #2 b")
	})
}
