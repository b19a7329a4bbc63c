package channel_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/queue"
)

// lagging is a virtual host whose look-ups of queues are out of date for a while.
type lagging struct {
	*vhost
	answers []*queue.Host // of the next look-ups; nil is no queue
}

func (v *lagging) Queue(name string) (*queue.Host, bool) {
	if len(v.answers) == 0 {
		return v.vhost.Queue(name)
	}
	h := v.answers[0]
	v.answers = v.answers[1:]
	return h, h != nil
}

// Between the look-up of a queue and what is done with it others may make or
// delete it.
func TestDeclareWhileOthersDeclareAndDelete(t *testing.T) {
	bubble(t, func(w *world) {
		v := &lagging{vhost: w.vhost}
		c, other := w.open(func(c *channel.Config) { c.VHost = v }), w.open()
		other.queues("q")
		other.put("q", "a")
		other.Flush()

		v.answers = []*queue.Host{nil}
		require.Equal(t, channel.QueueInfo{Name: "q", Ready: 1}, c.queue(channel.QueueDeclare{Name: "q"}))
		v.answers = []*queue.Host{nil}
		_, err := c.DeclareQueue(channel.QueueDeclare{Name: "q", AutoDelete: true})
		require.ErrorContains(t, err, "PRECONDITION_FAILED - inequivalent arg 'auto_delete'")

		h, _ := w.Queue("q")
		other.ok(other.deleteQueue("q", false, false))
		v.answers = []*queue.Host{h}
		require.Equal(t, channel.QueueInfo{Name: "q"}, c.queue(channel.QueueDeclare{Name: "q"}))
		require.NotNil(t, w.destination("q"))

		for name, do := range map[string]func() error{
			"declare passively": func() error {
				_, err := c.DeclareQueue(channel.QueueDeclare{Name: "q", Passive: true})
				return err
			},
			"consume": func() error { return c.tryConsume(channel.Consume{Queue: "q"}) },
			"get":     func() error { return c.get("q", true) },
			"purge":   func() error { _, err := c.PurgeQueue("q"); return err },
		} {
			v.answers = []*queue.Host{h}
			require.EqualError(t, do(), "NOT_FOUND - no queue 'q' in vhost 'v'", name)
		}
		v.answers = []*queue.Host{h}
		c.events()
		c.ok(c.deleteQueue("q", true, true))
		c.sees("deleted 0")
	})
}

// A queue that is behind does not keep the channel: it says for what to wait.
func TestFlushSaysWhichQueueIsBehind(t *testing.T) {
	bubble(t, func(w *world) {
		c, slow := w.open(), w.open()
		c.queues("q", "r")
		held, release := make(chan struct{}), make(chan struct{})
		go func() {
			slow.ok(slow.Get("q", true, func(channel.Got) { close(held); <-release }))
		}()
		<-held
		for i := range 9000 {
			c.put("q", fmt.Sprint(i))
		}
		c.put("r", "x")
		full := c.Flush().C
		require.NotNil(t, full)
		require.Equal(t, []string{"x"}, c.content("r"), "other queues go on")
		select {
		case <-full:
			t.Error("the queue has not caught up")
		default:
		}
		close(release)
		<-full
		synctest.Wait()
		require.Nil(t, c.Flush().C)
		n, err := c.PurgeQueue("q")
		c.ok(err)
		require.Equal(t, 9000, n)
	})
}
