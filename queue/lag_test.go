package queue

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// shutGate is a gate with room for some deliveries.
type shutGate struct{ room int }

func (g *shutGate) TryTake(int) bool {
	if g.room == 0 {
		return false
	}
	g.room--
	return true
}

// laggard is a queue with a consumer that has room for little, and with
// more in it than consumers should be behind.
func laggard(t *testing.T) (*rig, *shutGate, message.ConsumerID) {
	t.Helper()
	r := newRig(t, Classic(), inline)
	g := &shutGate{}
	in := r.consume(Consumer{Tag: "c", NoAck: true, Gate: g})
	return r, g, in.id
}

func (r *rig) postBody(octets int) Wait {
	b := NewBatch()
	b.Publish(Publish{Msg: r.message(strings.Repeat("x", octets), false)})
	return r.h.Post(b)
}

func TestPublishersWaitForConsumersThatAreALittleBehind(t *testing.T) {
	t.Parallel()
	r, g, id := laggard(t)
	require.Nil(t, r.postBody(lagging-1).C, "not behind yet")
	w := r.postBody(2)
	require.NotNil(t, w.C)
	require.True(t, w.Optional())
	require.Equal(t, w, r.postBody(1), "all publishers wait for the same")
	select {
	case <-w.C:
		require.Fail(t, "they are still behind")
	default:
	}
	g.room = 3
	r.h.Resume(id, false)
	<-w.C
	require.Nil(t, r.postBody(1).C)
	r.deleteAndBalance()
}

func TestNobodyWaitsTwiceForConsumersThatDoNotCatchUp(t *testing.T) {
	t.Parallel()
	r, g, id := laggard(t)
	w := r.postBody(lagging + 1)
	w.GiveUp()
	require.Nil(t, r.postBody(1).C)
	g.room = 1
	r.h.Resume(id, false)
	<-w.C
	w = r.postBody(lagging + 1)
	require.NotNil(t, w.C, "they had caught up meanwhile")
	w.GiveUp()
	g.room = 2
	r.h.Resume(id, false)
	w.GiveUp() // late: it was over
	require.NotNil(t, r.postBody(lagging+1).C)
	r.deleteAndBalance()
}

func TestWhoDoesNotPublishWaitsForNoConsumer(t *testing.T) {
	t.Parallel()
	r, _, _ := laggard(t)
	require.NotNil(t, r.postBody(lagging+1).C)
	b := NewBatch()
	b.Settle(Settle{ID: 1, Consumer: 1, Outcome: Ack})
	require.Nil(t, r.h.Post(b).C)
	r.deleteAndBalance()
}

func TestAQueueWithoutConsumersDoesNotLag(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), inline)
	require.Nil(t, r.postBody(10*lagging).C)
	r.deleteAndBalance()
}

func TestTheEndOfAQueueEndsTheWaitForItsConsumers(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*rig, message.ConsumerID){
		"cancelled": func(r *rig, id message.ConsumerID) { r.h.Cancel(id) },
		"purged": func(r *rig, _ message.ConsumerID) {
			_, err := r.h.Purge()
			require.NoError(r.t, err)
		},
		"deleted": func(r *rig, _ message.ConsumerID) { r.deleteAndBalance() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _, id := laggard(t)
			w := r.postBody(lagging + 1)
			end(r, id)
			<-w.C
		})
	}
}

// asked is a classic queue that counts how often it is asked what is in it.
type asked struct {
	Type
	times *int
}

type askedQueue struct {
	Queue
	times *int
}

func (a asked) Open(s Spec, env Env) (Queue, error) {
	q, err := a.Type.Open(s, env)
	return &askedQueue{q, a.times}, err
}

func (q *askedQueue) Stat() Stat {
	*q.times++
	return q.Queue.Stat()
}

func TestAQueueIsNotAskedHowFarItsConsumersAreBeforeTheyCanBeBehind(t *testing.T) {
	t.Parallel()
	times := 0
	r := newRig(t, asked{Classic(), &times}, inline)
	r.consume(Consumer{Tag: "c", NoAck: true})
	const octets = 1024
	for range 10 * lagging / octets {
		require.Nil(t, r.postBody(octets).C)
	}
	require.LessOrEqual(t, times, 10)
	r.deleteAndBalance()
}
