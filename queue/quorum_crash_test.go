package queue

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// quorumCrash is a life in which dead letters are sent once.
type quorumCrash struct {
	quorumLife
	dead deadOnes
	// delivered is how often a message was delivered at the most.
	delivered map[string]uint32
}

// Whenever the broker dies, what was confirmed and not settled is there once, however
// often it was moved; and no message was delivered less often than the store knows.
func TestCrashesOfQuorumQueuesLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			a := args(argDeadLetterExchange, "d")
			if seed%2 == 1 {
				a = append(a, message.Field{Name: argDeliveryLimit, Value: int32(4)})
			}
			run := &quorumCrash{
				quorumLife: newQuorumLife(t, seed, rand.New(rand.NewPCG(seed, 71)), a),
				delivered:  map[string]uint32{},
			}
			run.deadLetter = run.dead.take
			run.begin(newFakeLog())
			if run.live(run.step) {
				run.finish()
			}
		})
	}
}

// bury notes what died.
func (run *quorumCrash) bury() {
	for _, d := range run.dead.died {
		run.done[d[:6]] = true
	}
	run.dead.died = nil
}

func (run *quorumCrash) step() {
	rnd := run.rnd
	switch n := rnd.IntN(200); {
	case n < 40:
		run.publishSome()
	case n < 80 && len(run.held) > 0:
		if o, some := run.settleSome(Ack, Requeue, Requeue, Requeue, Discard, Return); o == Discard {
			run.finished(some)
		}
	case n < 120:
		run.get(rnd.IntN(5) == 0, func(body string, count uint32) {
			require.LessOrEqual(run.t, count, run.delivered[body], body)
			run.delivered[body]++
		})
	case n < 121:
		run.purge()
	case n < 125:
		run.crash()
	default:
		run.log.step(rnd)
	}
	run.bury()
}

func (run *quorumCrash) purge() {
	held := map[string]bool{}
	for _, x := range run.held {
		held[x.body] = true
	}
	for body := range run.refs {
		if !held[body] {
			run.done[body] = true
		}
	}
	_, err := run.h.Purge()
	require.NoError(run.t, err)
}

func (run *quorumCrash) crash() {
	next := run.die()
	for _, k := range next.kept {
		require.LessOrEqual(run.t, k.deliveries, run.delivered[string(k.msg.Body())])
	}
	run.dead.died = nil
	run.begin(next)
}

func (run *quorumCrash) finish() {
	run.log.settleAll(run.rnd)
	run.settle(Ack, run.held...)
	run.held = nil
	run.consume(Consumer{NoAck: true})
	run.log.settleAll(run.rnd)
	require.Empty(run.t, run.log.left())
	require.True(run.t, run.answers.confirmedAll(run.seq))
	run.deleteAndBalance()
}
