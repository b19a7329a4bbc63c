package queue

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// Whatever happens to a quorum queue it does exactly what its model does. The flags are
// those of TestRandomHistoriesAgreeWithTheModel.
func TestRandomHistoriesOfQuorumQueuesAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	const together = 10
	for first := *historySeed; first < *historySeed+uint64(*histories); first += together {
		t.Run(fmt.Sprint("seeds from ", first), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(together) {
				agrees(t, Quorum(), randomHistory(first+seed, *historySize, quorumWorld))
			}
		})
	}
}

func (g *game) quorum() bool { return g.typ.Name() == "quorum" }

// endChannel ends a consumer together with its channel, which returns what it holds.
func (g *game) endChannel(c *modelConsumer) {
	g.model.cancel(c, true)
	g.h.CancelEnded(g.sinks[c].id)
	b := NewBatch()
	var its []*modelDelivery
	var outcomes []Outcome
	for _, d := range g.model.state().held {
		if d.to == c {
			its, outcomes = append(its, d), append(outcomes, Return)
			b.Settle(Settle{ID: d.id, Consumer: g.sinks[c].id, Outcome: Return})
		}
	}
	if len(its) > 0 {
		g.model.settle(its, outcomes)
		g.h.Post(b)
	}
}

// showsCount checks the header that says how often a message came back.
func (g *game) showsCount(m *message.Message, count uint32, shown bool) {
	props, err := m.Properties()
	require.NoError(g.t, err)
	n, ok := props.Headers.Get("x-delivery-count")
	g.same(shown, ok, "there is an x-delivery-count")
	if ok {
		g.same(int64(count), n, "x-delivery-count")
	}
}
