package channel_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// Contract 03 §1.
func TestCloseRequeuesInOrderAndCancels(t *testing.T) {
	bubble(t, func(w *world) {
		c, other := w.open(), w.open()
		c.queues("q")
		c.put("q", "1", "2", "3", "4", "5", "6")
		c.ok(c.get("q", false))
		c.ok(c.Qos(0, 3, false))
		c.consume(channel.Consume{Queue: "q", Tag: "t"})
		c.ok(c.Ack(3, false))
		c.put("q", "7")
		c.events()
		c.Close()
		require.Equal(t, queue.Stat{Ready: 6, ReadyBytes: 6}, w.stat("q"), "what was published before is there")
		other.ok(other.get("q", true))
		other.sees("got #1 1 again, 5 left")
		require.Equal(t, []string{"2", "4", "5", "6", "7"}, other.content("q"))
		other.put("q", "x")
		other.Flush()
		c.sees()
	})
}

func TestCloseTwice(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.put("q", "a")
		c.consume(channel.Consume{Queue: "q", Tag: "t"})
		c.Close()
		c.Close()
		c.sees("consuming t", "t #1 a")
		require.Equal(t, queue.Stat{Ready: 1, ReadyBytes: 1}, w.stat("q"))
	})
}

func TestCloseDropsTheTransaction(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.put("q", "a", "b")
		c.ok(c.get("q", false))
		c.ok(c.get("q", false))
		c.ok(c.TxSelect())
		c.put("q", "c")
		c.publish(publish{key: "no", body: "d", mandatory: true})
		c.ok(c.Ack(1, false))
		c.ok(c.Nack(2, false, false))
		c.events()
		c.Close()
		c.sees()
		require.Equal(t, []string{"a", "b"}, w.open().content("q"))
	})
}

func TestNothingIsConfirmedAfterClose(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queue(channel.QueueDeclare{Name: "l", Arguments: args("x-queue-type", "late")})
		c.ok(c.ConfirmSelect())
		c.put("l", "a")
		c.Close()
		c.events()
		w.open().ok(w.open().deleteQueue("l", false, false))
		c.sees()
		require.Empty(t, c.Confirms(nil))
	})
}

// A queue may hand over deliveries while the channel is being closed: they are
// requeued in order, or lost if nobody was to acknowledge them.
func TestDeliveriesThatComeTooLateAreRequeued(t *testing.T) {
	t.Parallel()
	for range 50 {
		w := newWorld(t, time.Second)
		c, other := w.open(), w.open()
		c.queues("q", "auto")
		c.consume(channel.Consume{Queue: "q", Tag: "t"})
		c.consume(channel.Consume{Queue: "auto", Tag: "u", NoAck: true})
		var all []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 100 {
				all = append(all, fmt.Sprint(i))
				other.put("q", all[i])
				other.put("auto", all[i])
				other.Flush()
			}
		}()
		c.Close()
		<-done
		w.running.Wait()
		require.Equal(t, all, other.content("q"))
		left := other.content("auto")
		require.Equal(t, all[100-len(left):], left)
	}
}

// The channels of a connection end together, and what one of them still had to publish
// finds consumers of another that is closed already. It would go to and fro between the
// two until the consumer is gone: one with a delivery limit died of that, and without
// acknowledgements it was lost.
func TestAChannelThatIsClosedIsGivenNothing(t *testing.T) {
	for name, noAck := range map[string]bool{"acknowledged": false, "not acknowledged": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, publisher := w.open(), w.open()
				c.queues("q")
				c.consume(channel.Consume{Queue: "q", Tag: "t", NoAck: noAck})
				publisher.put("q", "a")
				channel.CloseAll([]*channel.Channel{c.Channel, publisher.Channel}, reply.Reason{By: reply.ByClient})
				c.sees("consuming t")
				other := w.open()
				other.ok(other.get("q", true))
				other.sees("got #1 a, 0 left")
			})
		})
	}
}

func TestCloseWhileConsumersWait(t *testing.T) {
	bubble(t, func(w *world) {
		c, other := w.open(small), w.open()
		c.queues("q", "r")
		c.stall()
		c.ok(c.Qos(0, 2, true))
		c.consume(channel.Consume{Queue: "q", Tag: "t"})
		c.consume(channel.Consume{Queue: "r", Tag: "u"})
		c.put("q", "1", "2", "3")
		c.put("r", "4")
		c.sees("consuming t", "consuming u", "t #1 1", "t #2 2")
		c.Close()
		c.read()
		other.ok(other.deleteQueue("r", false, false))
		c.sees()
		require.Equal(t, []string{"1", "2", "3"}, other.content("q"))
	})
}
