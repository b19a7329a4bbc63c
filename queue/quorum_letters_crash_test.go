package queue

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// letterCrash is a life in which dead letters are sent at least once, to where they are
// taken, refused, or have no queue.
type letterCrash struct {
	quorumLife
	// target takes what it is sent and outlives the broker, full takes nothing.
	target, full *rig
	// sent is how often the target got one in this life.
	sent map[string]int
}

// Whenever the broker dies, what was confirmed is there or in the target, and within one
// life the target gets nothing twice; in the end it has all.
func TestCrashesLoseNoLetters(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			a := args(argDeadLetterExchange, "d", "x-dead-letter-strategy", "at-least-once", "x-overflow", "reject-publish")
			if seed%2 == 0 {
				a = append(a, message.Field{Name: argDeliveryLimit, Value: int32(2)})
			}
			run := &letterCrash{
				quorumLife: newQuorumLife(t, seed, rand.New(rand.NewPCG(seed, 72)), a),
				sent:       map[string]int{},
			}
			run.deadLetter = run.take
			run.target, _ = newRuled(t, nil, named("target"))
			run.full, _ = newRuled(t, args("x-max-length", int32(0), "x-overflow", "reject-publish"), named("full"))
			run.begin(newFakeLog())
			if run.live(run.step) {
				run.finish()
			}
		})
	}
}

func (run *letterCrash) take(_ *Host, d *Dead) (*message.Message, []*Host) {
	var to []*Host
	switch run.rnd.IntN(4) {
	case 0:
		return nil, nil
	case 1:
		to = []*Host{run.full.h}
	case 2:
		to = []*Host{run.target.h}
	default:
		to = []*Host{run.full.h, run.target.h}
	}
	m := message.New("", "q", []byte{0, 0}, d.Msg.Size())
	m.AppendBody(d.Msg.Body())
	return m, to
}

func (run *letterCrash) step() {
	rnd := run.rnd
	switch n := rnd.IntN(200); {
	case n < 40:
		run.publishSome()
	case n < 80 && len(run.held) > 0:
		run.settleSome(Ack, Requeue, Discard, Discard, Discard, Return)
	case n < 120:
		run.get(rnd.IntN(8) == 0, func(string, uint32) {})
	case n < 123:
		run.begin(run.die())
		clear(run.sent)
	case n < 130:
		run.h.SetPolicy(nil)
	default:
		run.log.step(rnd)
	}
	run.collect()
}

// collect takes what the target got, which is done.
func (run *letterCrash) collect() {
	for _, b := range run.target.drain() {
		run.sent[b]++
		require.Equal(run.t, 1, run.sent[b], b)
		run.done[b] = true
	}
}

func (run *letterCrash) finish() {
	run.log.settleAll(run.rnd)
	run.settle(Discard, run.held...)
	in := run.consume(Consumer{NoAck: true})
	for range 3000 {
		run.log.settleAll(run.rnd)
		run.h.SetPolicy(nil) // so that what was not taken is sent again
		run.collect()
	}
	run.log.settleAll(run.rnd)
	run.finished(in.take())
	require.Empty(run.t, run.log.left())
	run.keeps(nil)
	q := run.h.q.(*quorum)
	require.Empty(run.t, q.letters.byID)
	require.Zero(run.t, q.letters.kept)
	require.Zero(run.t, q.dying)
	run.deleteAndBalance()
}
