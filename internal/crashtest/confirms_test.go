package crashtest

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
)

// slow is a queue type that answers the first of three publishes last, and refuses the
// second.
type slow struct{}

func (slow) Name() string                     { return "x-slow" }
func (slow) Capabilities() queue.Capabilities { return queue.Capabilities{Transient: true} }

func (slow) Open(queue.Spec, queue.Env) (queue.Queue, error) { return &slowQueue{}, nil }

type slowQueue struct {
	queue.Queue // of which nothing else is asked
	refs        []message.PublishRef
}

func (q *slowQueue) Enqueue(in []queue.Publish, out *queue.Actions) {
	for _, p := range in {
		p.Msg.Release()
		q.refs = append(q.refs, p.Ref)
		switch len(q.refs) {
		case 2:
			out.Reject = append(out.Reject, p.Ref)
		case 3:
			out.Confirm = append(out.Confirm, q.refs[0], p.Ref)
		}
	}
}

func (*slowQueue) Event(queue.Event, *queue.Actions) {}
func (*slowQueue) Stat() queue.Stat                  { return queue.Stat{} }

// RabbitMQ's ack of several is for those that were not answered before.
func TestANackIsNoConfirmBecauseOfALaterAckOfSeveral(t *testing.T) {
	t.Parallel()
	b, err := warren.New(warren.Options{QueueTypes: []queue.Type{slow{}}})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	conn, err := amqp.DialConfig("amqp://guest:guest@inside/", amqp.Config{Dial: b.Dial})
	require.NoError(t, err)
	l := NewLedger()
	a := &actor{load: &load{l: l, ctx: t.Context()}, conn: conn, name: "publisher"}
	c, err := a.open()
	require.NoError(t, err)
	_, err = c.QueueDeclare("q", false, false, false, false, amqp.Table{"x-queue-type": "x-slow"})
	require.NoError(t, err)
	require.NoError(t, c.confirms(3))
	q := l.AddQueue("q", QueueOptions{Transient: true})
	for n := range 3 {
		require.NoError(t, a.send(c, c.nextID(true), route{"", "q", []*Queue{q}}))
		if n == 1 {
			<-c.pending[n].answer.Done() // the nack is here before the ack is sent
		}
	}
	require.NoError(t, a.quiesce(c))
	require.Equal(t, Stats{Published: 3, Confirmed: 2, Nacked: 1}, l.Stats())
	require.NoError(t, conn.Close())
	<-c.drained
}
