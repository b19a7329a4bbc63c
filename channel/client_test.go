package channel_test

import (
	"errors"
	"fmt"
	"sync"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// client is a channel and the client behind it: it writes down what the channel
// tells, in order, and lets the messages go.
type client struct {
	*channel.Channel
	w *world

	mu      sync.Mutex
	log     []string
	stalled bool // what is delivered does not count as written
	unsent  int  // the cost of what was delivered since
}

// TxCommit commits and waits.
func (c *client) TxCommit() error {
	commit, err := c.Channel.TxCommit()
	if err != nil {
		return err
	}
	<-commit.Done()
	return commit.Err()
}

// The methods of channel.Out.

func (c *client) Deliver(tag string, first uint64, ds []queue.Delivery) {
	cost := 0
	c.mu.Lock()
	for i, d := range ds {
		again := ""
		if d.Redelivered {
			again = " again"
		}
		c.log = append(c.log, fmt.Sprintf("%s #%d %s%s", tag, first+uint64(i), d.Msg.Body(), again))
		cost += channel.Cost(d.Msg.Size())
		d.Msg.Release()
	}
	if c.stalled {
		c.unsent += cost
		cost = 0
	}
	c.mu.Unlock()
	c.Dropped(cost)
}

func (c *client) Return(code reply.Code, m *message.Message) {
	c.note("return %d %s/%s %s", code, m.Exchange(), m.RoutingKey(), m.Body())
	m.Release()
}

func (c *client) Cancelled(tag string) { c.note("cancelled %s", tag) }

func (c *client) CreditOK(available uint32) { c.note("%d available", available) }

func (c *client) CreditDrained(tag string, unused uint32) { c.note("drained %s: %d", tag, unused) }

func (c *client) ConfirmsReady() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.Confirms(nil) {
		what, upTo := "ack", ""
		if a.Nack {
			what = "nack"
		}
		if a.Multiple {
			upTo = "<="
		}
		c.log = append(c.log, fmt.Sprintf("%s %s%d", what, upTo, a.Tag))
	}
}

// TimedOut does what the owner of a channel does.
func (c *client) TimedOut(tag string, why *reply.Error) {
	c.note("timed out: %s", tag)
	c.refused(why, why.Error())
	c.Close()
}

func (c *client) note(format string, args ...any) {
	c.mu.Lock()
	c.log = append(c.log, fmt.Sprintf(format, args...))
	c.mu.Unlock()
}

// events flushes, waits until everything has come to rest, and gives what the
// client was told since it was last asked.
func (c *client) events() []string {
	c.Flush()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	log := c.log
	c.log = nil
	if log == nil {
		log = []string{}
	}
	return log
}

// sees compares the events with what is expected.
func (c *client) sees(want ...string) {
	c.w.t.Helper()
	if want == nil {
		want = []string{}
	}
	require.Equal(c.w.t, want, c.events())
}

// stall makes the client stop reading deliveries.
func (c *client) stall() {
	c.mu.Lock()
	c.stalled = true
	c.mu.Unlock()
}

// read lets the client read what it was sent since it stalled; it stays stalled
// for what comes.
func (c *client) read() {
	c.mu.Lock()
	cost := c.unsent
	c.unsent = 0
	c.mu.Unlock()
	c.Written(cost)
}

// refused compares an error with the expected text, empty for none. It must be
// one for the client.
func (c *client) refused(err error, want string) {
	c.w.t.Helper()
	if want == "" {
		require.NoError(c.w.t, err)
		return
	}
	require.EqualError(c.w.t, err, want)
	var refusal *reply.Error
	require.True(c.w.t, errors.As(err, &refusal), "%T", err)
}

// ok demands that there is no error.
func (c *client) ok(err error) {
	c.w.t.Helper()
	require.NoError(c.w.t, err)
}

// queue declares a queue.
func (c *client) queue(d channel.QueueDeclare) channel.QueueInfo {
	c.w.t.Helper()
	info, err := c.DeclareQueue(d)
	require.NoError(c.w.t, err)
	return info
}

// queues declares plain queues.
func (c *client) queues(names ...string) {
	c.w.t.Helper()
	for _, name := range names {
		c.queue(channel.QueueDeclare{Name: name})
	}
}

func (c *client) exchange(d channel.ExchangeDeclare) {
	c.w.t.Helper()
	require.NoError(c.w.t, c.DeclareExchange(d))
}

// publish is a publish in short.
type publish struct {
	exchange, key, body  string
	mandatory, immediate bool
	props                message.Properties
	rawProps             []byte // instead of props
	size                 int    // as announced, if it is not the body's
}

func (c *client) try(p publish) error {
	c.w.t.Helper()
	raw := p.rawProps
	if raw == nil {
		var err error
		raw, err = p.props.Append(nil)
		require.NoError(c.w.t, err)
	}
	m := message.New("", "", raw, len(p.body))
	m.AppendBody([]byte(p.body))
	c.w.track(m)
	if p.size == 0 {
		p.size = len(p.body)
	}
	return c.Publish(&channel.Publish{
		Exchange: []byte(p.exchange), RoutingKey: []byte(p.key), Mandatory: p.mandatory, Immediate: p.immediate,
		Msg: m, Size: uint64(p.size),
	})
}

func (c *client) publish(p publish) {
	c.w.t.Helper()
	require.NoError(c.w.t, c.try(p))
}

// put publishes bodies to a queue through the default exchange.
func (c *client) put(queue string, bodies ...string) {
	c.w.t.Helper()
	for _, b := range bodies {
		c.publish(publish{key: queue, body: b})
	}
}

// consume adds a consumer and notes when it was told so.
func (c *client) consume(k channel.Consume) {
	c.w.t.Helper()
	require.NoError(c.w.t, c.tryConsume(k))
}

func (c *client) tryConsume(k channel.Consume) error {
	return c.Consume(k, func(tag string) { c.note("consuming %s", tag) })
}

// get notes what a basic.get gives.
func (c *client) get(queue string, noAck bool) error {
	return c.Get(queue, noAck, func(g channel.Got) {
		if g.Reply.Msg == nil {
			c.note("empty")
			return
		}
		again := ""
		if g.Reply.Redelivered {
			again = " again"
		}
		c.note("got #%d %s%s, %d left", g.Tag, g.Reply.Msg.Body(), again, g.Reply.Remaining)
		g.Reply.Msg.Release()
	})
}

// content takes everything out of a queue and gives the bodies.
func (c *client) content(queue string) []string {
	c.w.t.Helper()
	bodies := []string{}
	for empty := false; !empty; {
		require.NoError(c.w.t, c.Get(queue, true, func(g channel.Got) {
			if empty = g.Reply.Msg == nil; !empty {
				bodies = append(bodies, string(g.Reply.Msg.Body()))
				g.Reply.Msg.Release()
			}
		}))
	}
	return bodies
}

// deleteQueue notes when the deletion was answered.
func (c *client) deleteQueue(name string, ifUnused, ifEmpty bool) error {
	return c.DeleteQueue(name, ifUnused, ifEmpty, func(n int) { c.note("deleted %d", n) })
}
