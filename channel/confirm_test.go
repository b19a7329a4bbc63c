package channel_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
)

// lateQueueNamed declares a queue that confirms after a second and refuses "bad".
func lateQueueNamed(c *client, name string) {
	c.w.t.Helper()
	c.queue(channel.QueueDeclare{Name: name, Arguments: args("x-queue-type", "late")})
}

func TestConfirmsCountFromSelect(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.put("q", "before")
		c.ok(c.ConfirmSelect())
		c.sees()
		c.put("q", "1")
		c.sees("ack 1")
		c.ok(c.ConfirmSelect()) // does not begin anew
		c.put("q", "2")
		c.sees("ack 2")
		require.Equal(t, []string{"before", "1", "2"}, c.content("q"))
	})
}

func TestUnroutableIsConfirmedAtOnceAfterItsReturn(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		lateQueueNamed(c, "l")
		c.ok(c.ConfirmSelect())
		c.put("l", "a")
		c.put("no", "b")
		c.publish(publish{key: "no", body: "c", mandatory: true})
		require.Equal(t, []string{"ack 2", "return 312 /no c", "ack 3"}, c.log, "without a flush")
		c.sees("ack 2", "return 312 /no c", "ack 3")
		time.Sleep(time.Second)
		c.sees("ack 1")
	})
}

// confirmingFanout gives a channel with confirms, and binds the queues q and l to
// amq.fanout; l is late.
func confirmingFanout(w *world) *client {
	c := w.open()
	c.queues("q")
	lateQueueNamed(c, "l")
	for _, q := range []string{"q", "l"} {
		c.ok(c.BindQueue(q, "amq.fanout", "", nil))
	}
	c.ok(c.ConfirmSelect())
	return c
}

func TestConfirmWaitsForEveryQueue(t *testing.T) {
	bubble(t, func(w *world) {
		c := confirmingFanout(w)
		c.publish(publish{exchange: "amq.fanout", body: "a"})
		c.sees()
		c.put("q", "b")
		c.sees("ack 2")
		time.Sleep(time.Second)
		c.sees("ack 1")
	})
}

func TestOneQueueThatRefusesMakesANack(t *testing.T) {
	bubble(t, func(w *world) {
		c := confirmingFanout(w)
		c.publish(publish{exchange: "amq.fanout", body: "bad"})
		c.sees("nack <=1")
		require.Equal(t, []string{"bad"}, c.content("q"), "the other queue has it")
		require.Empty(t, c.content("l"))
	})
}

func TestConfirmsOfABurstAreCumulative(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.ok(c.ConfirmSelect())
		c.put("q", "1", "2", "3", "4")
		c.sees("ack <=4")
	})
}

func TestQueueThatGoesConfirms(t *testing.T) {
	bubble(t, func(w *world) {
		c, other := w.open(), w.open()
		lateQueueNamed(c, "l")
		c.queues("q")
		c.ok(c.ConfirmSelect())
		c.put("l", "a")
		c.Flush()
		other.ok(other.deleteQueue("l", false, false))
		c.sees("ack 1")

		c.put("q", "b") // is routed, but not handed over yet
		other.ok(other.deleteQueue("q", false, false))
		c.sees("ack 2")
	})
}

// counted is a publish's own confirmation.
type counted struct{ c *client }

func (n counted) Routed(queues int)       { n.c.note("routed to %d", queues) }
func (n counted) Confirm(from, to uint64) { n.c.note("confirmed %d", to-from+1) }
func (n counted) Reject(uint64)           { n.c.note("rejected") }

func TestPublishWithItsOwnConfirmation(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		lateQueueNamed(c, "l")
		for _, q := range []string{"q", "l"} {
			c.ok(c.BindQueue(q, "amq.fanout", "", nil))
		}
		try := func(exchange, body string) error {
			m := message.New(exchange, "", []byte{0, 0}, len(body))
			m.AppendBody([]byte(body))
			w.track(m)
			return c.Publish(&channel.Publish{Exchange: []byte(exchange), Mandatory: true, Msg: m, Confirm: counted{c}})
		}
		c.ok(try("amq.direct", "a"))
		c.sees("return 312 amq.direct/ a", "routed to 0")
		c.ok(try("amq.fanout", "bad"))
		c.sees("routed to 2", "confirmed 1", "rejected")
		c.ok(try("amq.fanout", "b"))
		c.sees("routed to 2", "confirmed 1")
		time.Sleep(time.Second)
		c.sees("confirmed 1")

		c.ok(c.ConfirmSelect())
		c.ok(try("amq.direct", "c"))
		c.put("q", "d")
		c.sees("return 312 amq.direct/ c", "routed to 0", "ack 1")

		other := w.open()
		other.ok(other.TxSelect())
		m := message.New("", "", []byte{0, 0}, 0)
		w.track(m)
		other.refused(other.Publish(&channel.Publish{Msg: m, Confirm: counted{other}}),
			"PRECONDITION_FAILED - cannot switch from tx to confirm mode")
	})
}
