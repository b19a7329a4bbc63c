package channel_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
)

func TestWhoIsTheSingleActiveConsumerCanBeSeen(t *testing.T) {
	bubble(t, func(w *world) {
		a, b := w.open(), w.open()
		a.queue(channel.QueueDeclare{Name: "q", Arguments: args("x-single-active-consumer", true)})
		active := func(c *client) (tags []string) {
			for _, i := range c.Info().Consumers {
				if i.Active {
					tags = append(tags, i.Tag)
				}
			}
			return tags
		}
		a.consume(channel.Consume{Queue: "q", Tag: "z"})
		a.consume(channel.Consume{Queue: "q", Tag: "a"})
		b.consume(channel.Consume{Queue: "q", Tag: "b"})
		require.Equal(w.t, []string{"z"}, active(a))
		require.Empty(w.t, active(b))
		a.put("q", "1")
		a.ok(a.Cancel("z"))
		a.ok(a.Ack(1, false))
		a.Flush()
		require.Equal(w.t, []string{"a"}, active(a))
		a.Close()
		require.Equal(w.t, []string{"b"}, active(b))
	})
}

// All consumers of the channel go before anything comes back: what it held was
// never offered to those of its own that waited.
func TestAChannelThatClosesIsNotItsOwnSuccessor(t *testing.T) {
	bubble(t, func(w *world) {
		a, b := w.open(), w.open()
		a.queue(channel.QueueDeclare{Name: "q", Arguments: args("x-single-active-consumer", true)})
		a.ok(a.Qos(0, 1, false))
		for _, tag := range []string{"1", "2", "3", "4"} {
			a.consume(channel.Consume{Queue: "q", Tag: tag})
		}
		b.put("q", "held", "waits")
		b.consume(channel.Consume{Queue: "q", Tag: "b"})
		b.events()
		a.Close()
		b.sees("b #1 held again", "b #2 waits")
	})
}
