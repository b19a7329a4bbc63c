package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// quorumCrash is the life of a quorum queue whose store answers late and whose broker
// dies at any moment.
type quorumCrash struct {
	*rig
	t         *testing.T
	rnd       *rand.Rand
	log       *fakeLog
	bounds    Bounds
	arguments message.Table
	dead      *deadOnes
	next      int
	held      []received
	// refs are the publishes of this life, 0 for those of an earlier one; done says
	// that a message was settled for good, or may have been.
	refs map[string]uint64
	done map[string]bool
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
			run := &quorumCrash{
				t: t, rnd: rand.New(rand.NewPCG(seed, 71)), dead: &deadOnes{},
				refs: map[string]uint64{}, done: map[string]bool{}, delivered: map[string]uint32{},
			}
			run.arguments = message.Table{{Name: argDeadLetterExchange, Value: "d"}}
			if seed%2 == 1 {
				run.arguments = append(run.arguments, message.Field{Name: argDeliveryLimit, Value: int32(4)})
			}
			if seed%3 > 0 {
				run.bounds = Bounds{Messages: 1 + int(seed)%5}
			}
			run.begin(newFakeLog())
			for range 600 {
				run.step()
				checkMemory(t, run.h)
				if t.Failed() {
					return
				}
			}
			run.finish()
		})
	}
}

func (run *quorumCrash) begin(log *fakeLog) {
	run.log, run.held = log, nil
	run.dead.died = nil
	run.rig = newRig(run.t, Quorum(), func(s *Spec, env *HostEnv) {
		inline(s, env)
		log.with(s, env)
		s.Arguments = run.arguments
		env.DeadLetter = run.dead.take
		env.Memory = run.bounds
	})
	log.recoverIn(1+run.rnd.IntN(7), nil)
	run.bury()
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
		b := NewBatch()
		for range 1 + rnd.IntN(5) {
			run.next++
			p := run.publish(fmt.Sprintf("%06d", run.next), rnd.IntN(2) == 0)
			run.refs[string(p.Msg.Body())] = p.Ref.Seq
			b.Publish(p)
		}
		run.h.Post(b)
	case n < 80 && len(run.held) > 0:
		run.settleSome()
	case n < 120:
		run.get(rnd.IntN(5) == 0)
	case n < 121:
		run.purge()
	case n < 125:
		run.crash()
	default:
		run.log.step(rnd)
	}
	run.bury()
}

// get asks for a message, which may have to be loaded first.
func (run *quorumCrash) get(noAck bool) {
	b := NewBatch()
	b.control(run.h.getter(noAck, func(g GetReply) {
		if g.Msg == nil {
			return
		}
		body := string(g.Msg.Body())
		require.LessOrEqual(run.t, g.Count, run.delivered[body], body)
		run.delivered[body]++
		if noAck {
			run.done[body] = true
		} else {
			run.held = append(run.held, received{body: body, id: g.ID})
		}
		g.Msg.Release()
	}, make(chan struct{})))
	run.h.Post(b)
}

func (run *quorumCrash) settleSome() {
	rnd := run.rnd
	rnd.Shuffle(len(run.held), func(i, j int) { run.held[i], run.held[j] = run.held[j], run.held[i] })
	n := 1 + rnd.IntN(len(run.held))
	some := slices.Clone(run.held[:n])
	run.held = run.held[n:]
	o := []Outcome{Ack, Requeue, Requeue, Requeue, Discard, Return}[rnd.IntN(6)]
	for _, x := range some {
		if o == Ack || o == Discard {
			run.done[x.body] = true
		}
	}
	run.settle(o, some...)
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
	confirmed, _ := run.answers.given()
	next := run.log.crash()
	left := next.left()
	require.Len(run.t, slices.Compact(slices.Sorted(slices.Values(left))), len(left), "a message is there twice")
	for body, seq := range run.refs {
		_, safe := slices.BinarySearch(confirmed, seq)
		if (seq == 0 || safe) && !run.done[body] {
			require.Contains(run.t, left, body, "it was confirmed")
		}
	}
	run.refs, run.done = map[string]uint64{}, map[string]bool{}
	for _, body := range left {
		run.refs[body] = 0
	}
	for _, k := range next.kept {
		require.LessOrEqual(run.t, k.deliveries, run.delivered[string(k.msg.Body())])
	}
	run.begin(next)
}

func (run *quorumCrash) finish() {
	run.log.settleAll(run.rnd)
	run.settle(Ack, run.held...)
	run.held = nil
	in := &inbox{t: run.t}
	require.NoError(run.t, run.h.Consume(Consumer{NoAck: true}, in, in.attach, func() {}))
	run.log.settleAll(run.rnd)
	require.Empty(run.t, run.log.left())
	require.True(run.t, run.answers.confirmedAll(run.seq))
	run.deleteAndBalance()
}
