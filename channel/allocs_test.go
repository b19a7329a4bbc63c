package channel_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/intercept"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// sink is a client that only counts. It is driven by one goroutine.
type sink struct {
	ch        *channel.Channel
	delivered int
	confirmed uint64
	answers   []channel.Answer
}

func (s *sink) Deliver(_ string, _ uint64, ds []queue.Delivery) {
	for _, d := range ds {
		s.ch.Dropped(channel.Cost(d.Msg.Size()))
		d.Msg.Release()
	}
	s.delivered += len(ds)
}

func (s *sink) ConfirmsReady() {
	s.answers = s.ch.Confirms(s.answers[:0])
	for _, a := range s.answers {
		s.confirmed = max(s.confirmed, a.Tag)
	}
}

func (*sink) Return(_ reply.Code, m *message.Message) { m.Release() }
func (*sink) Cancelled(string)                        {}
func (*sink) TimedOut(string, *reply.Error)           {}

// TestPublishDoesNotAllocate is about the steady state from Publish to Deliver:
// the route is known, the consumer takes everything at once, and the message
// comes from a pool.
func TestPublishDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	const batch = 100
	for _, test := range []struct {
		exchange, key  string
		noAck, confirm bool
		global         int
		others         bool // methods other than publishes and acks are intercepted
	}{
		{exchange: "", key: "q", noAck: true},
		{exchange: "amq.topic", key: "a.b.c", noAck: true},
		{exchange: "amq.topic", key: "a.b.c"},
		{exchange: "amq.topic", key: "a.b.c", noAck: true, confirm: true},
		{exchange: "amq.topic", key: "a.b.c", confirm: true},
		{exchange: "amq.topic", key: "a.b.c", global: batch},
		{exchange: "amq.topic", key: "a.b.c", confirm: true, others: true},
	} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			w := newWorld(t, time.Second)
			c := w.open()
			c.queues("q")
			c.ok(c.BindQueue("q", "amq.topic", "a.#", nil))
			require.NoError(t, w.users.SetTopicPermissions(auth.TopicPermission{
				User: "guest", VHost: "v", Exchange: "amq.topic", Write: "^a", Read: ".*",
			}))
			access, _ := w.users.Access("guest", "v")
			var interceptors *intercept.Set
			if test.others {
				interceptors = intercepting(t, func(intercept.Client, *intercept.QueueDelete) error { return nil })
			}
			s := &sink{}
			s.ch = channel.New(channel.Config{
				VHost: w.vhost, Access: access, User: "guest", Connection: 1,
				Out: s, MaxMessageSize: 1 << 20, MaxUnsent: 1 << 20,
				Interceptors: interceptors,
			})
			defer s.ch.Close()
			if test.confirm {
				require.NoError(t, s.ch.ConfirmSelect())
			}
			require.NoError(t, s.ch.Qos(0, test.global, true))
			require.NoError(t, s.ch.Consume(channel.Consume{Queue: "q", NoAck: test.noAck}, func(string) {}))
			props, err := message.Properties{DeliveryMode: 2, ContentType: "text/plain"}.Append(nil)
			require.NoError(t, err)
			p := channel.Publish{Exchange: []byte(test.exchange), RoutingKey: []byte(test.key)}
			var body [200]byte

			allocs := testing.AllocsPerRun(100, func() {
				for range batch {
					p.Msg = message.New("", "", props, len(body))
					p.Msg.AppendBody(body[:])
					if err := s.ch.Publish(&p); err != nil {
						panic(err)
					}
				}
				s.ch.Flush()
				if err := s.ch.Ack(0, true); err != nil {
					panic(err)
				}
				s.ch.Flush()
			})
			require.Equal(t, 101*batch, s.delivered)
			if test.confirm {
				require.EqualValues(t, 101*batch, s.confirmed)
			}
			require.Less(t, allocs/batch, 0.05, "allocations for each message")
		})
	}
}
