package channel_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
)

const directReply = "amq.rabbitmq.reply-to"

// ask lets c send a request to queue q, and gives the address it carries there.
func (c *client) ask(props message.Properties) (address string) {
	c.w.t.Helper()
	props.ReplyTo = directReply
	c.publish(publish{key: "q", body: "ask", props: props})
	c.Flush()
	synctest.Wait()
	var got message.Properties
	var body string
	require.NoError(c.w.t, c.Get("q", true, func(g channel.Got) {
		if g.Reply.Msg != nil {
			got, _ = g.Reply.Msg.Properties()
			body = string(g.Reply.Msg.Body())
			g.Reply.Msg.Release()
		}
	}))
	require.Equal(c.w.t, "ask", body)
	address, got.ReplyTo = got.ReplyTo, directReply
	sent, err := props.Append(nil)
	require.NoError(c.w.t, err)
	arrived, err := got.Append(nil)
	require.NoError(c.w.t, err)
	require.Equal(c.w.t, sent, arrived, "only reply-to may change")
	return address
}

// requester is a channel with a reply consumer r and a queue q to ask.
func (w *world) requester() (c *client, address string) {
	c = w.open()
	c.queues("q")
	c.consume(channel.Consume{Queue: directReply, Tag: "r", NoAck: true})
	c.sees("consuming r")
	address = c.ask(message.Properties{CorrelationID: "1", ContentType: "text/plain", DeliveryMode: 2})
	c.sees()
	return c, address
}

func TestAReplyGoesToTheChannelThatAsked(t *testing.T) {
	bubble(t, func(w *world) {
		c, address := w.requester()
		require.Regexp(t, `^amq\.rabbitmq\.reply-to\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{22}$`, address)
		require.Equal(t, address, c.ask(message.Properties{}), "a consumer keeps its address")
		other := w.open()
		other.consume(channel.Consume{Queue: directReply, Tag: "r", NoAck: true})
		other.sees("consuming r")
		other.put(address, "one", "two")
		c.sees("r #3 one", "r #3 two") // tags 1 and 2 were the requests'
		other.sees()
		require.Empty(t, c.Info().Consumers, "no queue has it")
	})
}

func TestNobodyGetsRepliesToADeadAddress(t *testing.T) {
	for name, end := range map[string]func(c *client){
		"cancelled": func(c *client) { c.ok(c.Cancel("r")) },
		"closed":    func(c *client) { c.Close() },
		"cancelled and set again": func(c *client) {
			c.ok(c.Cancel("r"))
			c.ok(c.Consume(channel.Consume{Queue: directReply, Tag: "r", NoAck: true}, func(string) {}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, address := w.requester()
				o := w.open()
				info, err := o.DeclareQueue(channel.QueueDeclare{Name: address, Passive: true})
				o.ok(err)
				require.Equal(t, channel.QueueInfo{Name: address, Consumers: 1}, info)
				end(c)
				_, err = o.DeclareQueue(channel.QueueDeclare{Name: address, Passive: true})
				o.refused(err, "NOT_FOUND - no queue '"+address+"' in vhost 'v'")
				o.ok(o.ConfirmSelect())
				o.publish(publish{key: address, body: "late", mandatory: true})
				o.sees("return 312 /"+address+" late", "ack 1")
				c.sees()
			})
		})
	}
}

func TestAnAddressIsAnotherInEveryVirtualHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, other := newWorld(t, time.Second), newWorld(t, time.Second)
		c, address := w.requester()
		o := other.open()
		o.put(address, "from elsewhere")
		_, err := o.DeclareQueue(channel.QueueDeclare{Name: address, Passive: true})
		o.refused(err, "NOT_FOUND - no queue '"+address+"' in vhost 'v'")
		c.sees()
	})
}

// A client that knows its consumers by their tags cannot tell the two apart.
func TestAConsumerMayInsistOnATagOfItsOwn(t *testing.T) {
	bubble(t, func(w *world) {
		c, _ := w.requester()
		c.refused(c.tryConsume(channel.Consume{Queue: "q", Tag: "r", UniqueTag: true}),
			"NOT_ALLOWED - attempt to reuse consumer tag 'r'")
		c.refused(c.tryConsume(channel.Consume{Queue: directReply, Tag: "r", NoAck: true, UniqueTag: true}),
			"PRECONDITION_FAILED - reply consumer already set")
		c.consume(channel.Consume{Queue: "q", Tag: "s", UniqueTag: true})
		c.consume(channel.Consume{Queue: "q", Tag: "r"})
		c.sees("consuming s", "consuming r")
	})
}

// wait is how long the channel asks its owner to wait before it goes on.
func (c *client) wait() time.Duration {
	began := time.Now()
	if w := c.Flush(); w.C != nil {
		require.False(c.w.t, w.Optional())
		<-w.C
	}
	return time.Since(began)
}

// A reply of 256 KiB: four of them are more than may wait before who replies does.
var large = strings.Repeat("x", 256<<10)

const patience = 200 * time.Millisecond

func TestWhoRepliesWaitsForARequesterThatReads(t *testing.T) {
	bubble(t, func(w *world) {
		c, address := w.requester()
		c.stall()
		o := w.open()
		o.put(address, large, large, large)
		require.Zero(t, o.wait(), "so much may wait")
		o.put(address, large)
		read := time.AfterFunc(patience/2, c.read)
		defer read.Stop()
		require.Equal(t, patience/2, o.wait())
		require.Len(t, c.events(), 4)
	})
}

func TestARequesterThatReadsSlowlyIsWaitedFor(t *testing.T) {
	bubble(t, func(w *world) {
		c, address := w.requester()
		c.stall()
		o := w.open()
		o.put(address, large, large, large, large)
		// An octet at a time is little, but somebody is there.
		slow := time.AfterFunc(patience-1, func() { c.Written(1) })
		defer slow.Stop()
		all := time.AfterFunc(2*patience-1, c.read)
		defer all.Stop()
		require.Equal(t, 2*patience-1, o.wait())
	})
}

func TestAStuckRequesterHoldsUpNobodyTwice(t *testing.T) {
	bubble(t, func(w *world) {
		c, address := w.requester()
		c.stall()
		o, o2 := w.open(), w.open()
		o.put(address, large, large, large, large)
		require.Equal(t, patience, o.wait())
		o.put(address, large)
		require.Zero(t, o.wait())
		o2.put(address, large)
		require.Zero(t, o2.wait())
		c.read() // it is there again
		o.put(address, large, large, large, large)
		require.Equal(t, patience, o.wait())
		require.Len(t, c.events(), 10, "nothing was lost")
	})
}

func TestRepliesBeyondTheBoundAreDropped(t *testing.T) {
	bubble(t, func(w *world) {
		c, address := w.requester()
		c.stall()
		o := w.open()
		o.ok(o.ConfirmSelect())
		const fit = (8<<20 - 1) / (256<<10 + 128)
		for range fit + 5 {
			o.put(address, large)
			o.wait()
		}
		require.Len(t, c.events(), fit)
		require.NotEmpty(t, o.events(), "what is dropped is confirmed")
		c.read()
		o.put(address, large)
		require.Zero(t, o.wait())
		require.Len(t, c.events(), 1)
	})
}

func TestOneReplyMayBeLargerThanTheBound(t *testing.T) {
	bubble(t, func(w *world) {
		c, address := w.requester()
		c.stall()
		o := w.open(func(cfg *channel.Config) { cfg.MaxMessageSize = 16 << 20 })
		o.put(address, strings.Repeat("x", 9<<20))
		require.Equal(t, patience, o.wait())
		o.put(address, "dropped")
		require.Len(t, c.events(), 1)
	})
}

func TestTheEndOfARequesterEndsTheWait(t *testing.T) {
	for name, end := range map[string]func(c *client){
		"cancelled": func(c *client) { c.ok(c.Cancel("r")) },
		"closed":    func(c *client) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, address := w.requester()
				c.stall()
				o := w.open()
				o.put(address, large, large, large, large)
				ended := make(chan struct{})
				time.AfterFunc(patience/4, func() {
					defer close(ended)
					end(c)
				})
				require.Equal(t, patience/4, o.wait())
				require.Zero(t, o.wait())
				<-ended
			})
		})
	}
}

// A reply may be under way when its requester goes: it is delivered or dropped, and
// no message is left over (which newWorld checks).
func TestRequestersMayGoWhileRepliesCome(t *testing.T) {
	bubble(t, func(w *world) {
		const rounds = 50
		c, address := w.requester()
		addresses := make(chan string, rounds)
		var replies sync.WaitGroup
		for range 3 {
			o := w.open()
			replies.Go(func() {
				last := address
				for i := range rounds {
					select {
					case last = <-addresses:
					default:
					}
					o.put(last, fmt.Sprint(i))
					o.Flush()
				}
			})
		}
		for range rounds {
			c.ok(c.Cancel("r"))
			c.ok(c.Consume(channel.Consume{Queue: directReply, Tag: "r", NoAck: true}, func(string) {}))
			c.ok(c.Publish(request(c)))
			c.Flush()
			c.ok(c.Get("q", true, func(g channel.Got) {
				if g.Reply.Msg != nil {
					p, _ := g.Reply.Msg.Properties()
					g.Reply.Msg.Release()
					addresses <- p.ReplyTo
				}
			}))
		}
		c.Close()
		replies.Wait()
	})
}

func request(c *client) *channel.Publish {
	raw, err := message.Properties{ReplyTo: directReply}.Append(nil)
	require.NoError(c.w.t, err)
	m := message.New("", "", raw, 0)
	c.w.track(m)
	return &channel.Publish{RoutingKey: []byte("q"), Msg: m}
}

func TestAReplyDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	w := newWorld(t, 0)
	open := func() *sink {
		s := &sink{}
		access, ok := w.users.Access("guest", w.Name())
		require.True(t, ok)
		s.ch = channel.New(channel.Config{
			VHost: w.vhost, Access: access, User: "guest", Connection: 1,
			Out: s, MaxMessageSize: 1 << 20, MaxUnsent: 1 << 20,
		})
		t.Cleanup(s.ch.Close)
		return s
	}
	c, o := open(), open()
	require.NoError(t, c.ch.Consume(channel.Consume{Queue: directReply, NoAck: true}, func(string) {}))
	_, err := c.ch.DeclareQueue(channel.QueueDeclare{Name: "q"})
	require.NoError(t, err)
	raw, err := message.Properties{ReplyTo: directReply}.Append(nil)
	require.NoError(t, err)
	require.NoError(t, c.ch.Publish(&channel.Publish{RoutingKey: []byte("q"), Msg: message.New("", "", raw, 0)}))
	c.ch.Flush()
	var address []byte
	require.NoError(t, c.ch.Get("q", true, func(g channel.Got) {
		p, err := g.Reply.Msg.Properties()
		require.NoError(t, err)
		g.Reply.Msg.Release()
		address = []byte(p.ReplyTo)
	}))
	var p channel.Publish
	none := []byte{0, 0}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		p.RoutingKey, p.Msg = address, message.New("", "", none, 0)
		if err := o.ch.Publish(&p); err != nil {
			t.Fatal(err)
		}
	}))
	require.Equal(t, 1001, c.delivered)
}
