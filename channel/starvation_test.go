package channel_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// Whatever channels do, with a prefetch of each consumer, one for all of a channel, and
// clients that do not read: once nothing moves any more, a queue with messages has no
// consumer that could take one.
func TestNobodyStarvesWhoCanTakeSomething(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStrollers(t, rand.New(rand.NewPCG(seed, 1)))
				defer s.close()
				for range 400 {
					s.step()
					synctest.Wait()
					s.check()
				}
			})
		})
	}
}

// strollers are three channels that consume from two queues at random.
type strollers struct {
	t        *testing.T
	rnd      *rand.Rand
	w        *world
	from     *client // publishes
	queues   []string
	channels []*stroller
}

func newStrollers(t *testing.T, rnd *rand.Rand) *strollers {
	w := newWorld(t, time.Second)
	s := &strollers{t: t, rnd: rnd, w: w, from: w.open(), queues: []string{"q", "r"}}
	s.from.queues(s.queues...)
	for range 3 {
		s.channels = append(s.channels, s.open())
	}
	return s
}

func (s *strollers) open() *stroller {
	access, ok := s.w.users.Access("guest", s.w.Name())
	require.True(s.t, ok)
	c := &stroller{consumers: map[string]*taker{}, held: map[uint64]*taker{}, global: s.rnd.IntN(4)}
	c.Channel = channel.New(channel.Config{
		VHost: s.w.vhost, Access: access, User: "guest", Connection: 1, Out: c, MaxMessageSize: 1 << 20, MaxUnsent: 600,
	})
	if c.global > 0 {
		require.NoError(s.t, c.Qos(0, c.global, true))
	}
	return c
}

func (s *strollers) close() {
	for _, c := range s.channels {
		c.Close()
	}
}

func (s *strollers) step() {
	i := s.rnd.IntN(len(s.channels))
	c, tag := s.channels[i], fmt.Sprint("t", s.rnd.IntN(5))
	k := c.consumers[tag]
	switch op := s.rnd.IntN(20); {
	case op < 3 && (k == nil || k.cancelled):
		s.consume(c, tag)
	case op < 5 && k != nil && !k.cancelled:
		require.NoError(s.t, c.Cancel(tag))
		k.cancelled = true
	case op < 8:
		c.stall()
	case op < 13:
		s.from.put(s.queues[s.rnd.IntN(2)], slices.Repeat([]string{"hello"}, 1+s.rnd.IntN(4))...)
		s.from.Flush()
	case op == 13 && s.rnd.IntN(6) == 0:
		c.Close()
		s.channels[i] = s.open()
	default:
		s.settle(c)
	}
}

func (s *strollers) consume(c *stroller, tag string) {
	k := &taker{queue: s.queues[s.rnd.IntN(2)], prefetch: s.rnd.IntN(4), noAck: s.rnd.IntN(6) == 0}
	c.mu.Lock()
	c.consumers[tag] = k
	c.mu.Unlock()
	prefetch := k.prefetch
	if prefetch == 0 {
		prefetch = channel.NoPrefetch
	}
	require.NoError(s.t, c.Consume(channel.Consume{
		Queue: k.queue, Tag: tag, NoAck: k.noAck, Prefetch: prefetch, Arguments: args("x-priority", int32(s.rnd.IntN(2))),
	}, func(string) {}))
}

// settle settles some of what a channel holds.
func (s *strollers) settle(c *stroller) {
	for _, tag := range c.tags() {
		if s.rnd.IntN(3) == 0 {
			require.NoError(s.t, c.Nack(tag, false, true))
		} else {
			require.NoError(s.t, c.Ack(tag, false))
		}
		c.settled(tag)
		if s.rnd.IntN(2) == 0 {
			break
		}
	}
	c.Flush()
}

func (s *strollers) check() {
	for i, c := range s.channels {
		for tag, k := range c.consumers {
			if c.able(k) {
				require.Zero(s.t, s.w.stat(k.queue).Ready, "consumer %s of channel %d could take it", tag, i)
			}
		}
	}
}

// stroller is a channel, and what its client knows.
type stroller struct {
	*channel.Channel
	global int // its prefetch, 0 without

	mu        sync.Mutex
	consumers map[string]*taker
	held      map[uint64]*taker
	stalled   bool // the client does not read
	unsent    int
}

type taker struct {
	queue            string
	prefetch, held   int
	noAck, cancelled bool
}

// Deliver implements channel.Out.
func (c *stroller) Deliver(tag string, first uint64, ds []queue.Delivery) {
	c.mu.Lock()
	k := c.consumers[tag]
	cost := 0
	for i, d := range ds {
		cost += channel.Cost(d.Msg.Size())
		d.Msg.Release()
		if !k.noAck {
			c.held[first+uint64(i)] = k
			k.held++
		}
	}
	if c.stalled {
		c.unsent += cost
		cost = 0
	}
	c.mu.Unlock()
	c.Dropped(cost)
}

func (c *stroller) Return(_ reply.Code, m *message.Message) { m.Release() }
func (c *stroller) Cancelled(string)                        {}
func (c *stroller) ConfirmsReady()                          {}
func (c *stroller) TimedOut(string, *reply.Error)           {}

// stall ends or begins a time in which the client does not read.
func (c *stroller) stall() {
	c.mu.Lock()
	c.stalled = !c.stalled
	written := c.unsent
	c.unsent = 0
	c.mu.Unlock()
	if written > 0 {
		c.Written(written)
	}
}

func (c *stroller) tags() (tags []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tag := range c.held {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	return tags
}

func (c *stroller) settled(tag uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[tag].held--
	delete(c.held, tag)
}

// able reports whether a consumer can take something.
func (c *stroller) able(k *taker) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case k.cancelled, c.stalled, c.global > 0 && len(c.held) >= c.global:
		return false
	}
	return k.noAck || k.prefetch == 0 || k.held < k.prefetch
}
