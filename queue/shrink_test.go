package queue

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// forgetful is a classic queue with a fault: of a message that comes back to it for
// the second time it thinks that it was acknowledged.
type forgetful struct{ Type }

func (t forgetful) Open(s Spec, env Env) (Queue, error) {
	q, err := t.Type.Open(s, env)
	return &forgetfulQueue{q, map[uint64]bool{}}, err
}

type forgetfulQueue struct {
	Queue
	came map[uint64]bool
}

func (q *forgetfulQueue) Settle(in []Settle, out *Actions) {
	for i := range in {
		if in[i].Outcome == Requeue {
			if q.came[in[i].ID] {
				in[i].Outcome = Ack
			}
			q.came[in[i].ID] = true
		}
	}
	q.Queue.Settle(in, out)
}

// The fault is found in some history, of which no more is left than it takes.
func TestShrinkFindsTheStepsThatMatter(t *testing.T) {
	t.Parallel()
	play := func(h history) error {
		_, err := playHistory(t, forgetful{Classic()}, h)
		return err
	}
	found := 0
	for seed := uint64(0); found < 3; seed++ {
		h := randomHistory(seed, 300, classicWorld)
		err := play(h)
		if err == nil {
			require.Less(t, seed, uint64(20), "it is hardly ever found")
			continue
		}
		found++
		h, err = shrink(h, err, play)
		require.Error(t, err)
		require.LessOrEqual(t, len(h.steps), 5)
		require.Equal(t, world{}, h.world)
		for i := range h.steps {
			fewer := h
			fewer.steps = slices.Concat(h.steps[:i], h.steps[i+1:])
			require.NoError(t, play(fewer), "step %d could have been left out", i)
		}
		if seed > 0 {
			continue
		}
		require.EqualError(t, err, `step 4: what consumer 1 got: got [], want ["000001" redelivered true]`)
		notes, _ := playHistory(t, forgetful{Classic()}, h)
		require.Equal(t, `{seed: 0, world: world{}, steps: []step{
	{stepConsume, 0, 0, 0}, // consumer 1, prefetch 0, no-ack false, priority 0, gate false
	{stepPublish, 0, 0, 0}, // publish "000001" priority 0 ttl -1 persistent true
	{stepSettle, 0, 0, 1}, // requeue "000001"
	{stepSettle, 0, 0, 1}, // requeue "000001"
}},`, h.show(notes))
	}
}
