package channel_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/store"
)

// atomsType is a queue type from outside: a classic queue that notes the atom of
// each publish and settle.
type atomsType struct {
	mu    sync.Mutex
	noted []*store.Atom
	// open is how many participants an atom had left when it was noted.
	open []int
}

func (*atomsType) Name() string { return "atoms" }

func (*atomsType) Capabilities() queue.Capabilities { return queue.Capabilities{Transient: true} }

func (t *atomsType) Open(s queue.Spec, env queue.Env) (queue.Queue, error) {
	q, err := queue.Classic().Open(s, env)
	return &atomsQueue{Queue: q, t: t}, err
}

func (t *atomsType) note(a *store.Atom) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noted = append(t.noted, a)
	if a != nil {
		t.open = append(t.open, a.Participants())
	}
}

// take gives the atoms noted since the last time.
func (t *atomsType) take() []*store.Atom {
	t.mu.Lock()
	defer t.mu.Unlock()
	noted := t.noted
	t.noted = nil
	return noted
}

type atomsQueue struct {
	queue.Queue
	t *atomsType
}

func (q *atomsQueue) Enqueue(in []queue.Publish, out *queue.Actions) {
	for i := range in {
		q.t.note(in[i].Atom)
	}
	q.Queue.Enqueue(in, out)
}

func (q *atomsQueue) Settle(in []queue.Settle, out *queue.Actions) {
	for i := range in {
		q.t.note(in[i].Atom)
	}
	q.Queue.Settle(in, out)
}

// All of a transaction belongs to one atom, which is whole when the commit has
// returned, whatever became of the queues.
func TestATransactionIsOneAtom(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		for _, q := range []string{"q", "r", "gone"} {
			c.queue(channel.QueueDeclare{Name: q, Arguments: args("x-queue-type", "atoms")})
		}
		c.put("q", "before", "before")
		c.ok(c.get("q", false))
		c.ok(c.get("q", false))
		c.Flush()
		require.Equal(t, []*store.Atom{nil, nil}, w.atoms.take(), "outside of a transaction there is none")

		c.ok(c.TxSelect())
		c.put("q", "1", "2")
		c.put("r", "3")
		c.put("gone", "4")
		c.ok(c.Ack(1, false))
		c.ok(c.Nack(2, false, true))
		c.ok(w.open().deleteQueue("gone", false, false))
		c.ok(c.TxCommit())
		first := w.atoms.take()
		require.Len(t, first, 5)
		for i, a := range first {
			require.Same(t, first[0], a)
			require.Positive(t, w.atoms.open[i], "it was whole too early")
		}
		require.Zero(t, first[0].Participants())
		require.NoError(t, first[0].Err())

		c.put("q", "5")
		c.ok(c.TxCommit())
		second := w.atoms.take()
		require.Len(t, second, 1)
		require.NotSame(t, first[0], second[0])
		require.Zero(t, second[0].Participants())
	})
}
