package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// letterCrash is the life of a quorum queue that sends its dead letters at least once,
// to where they are taken, refused, or have no queue, while its store answers late and
// its broker dies at any moment.
type letterCrash struct {
	*rig
	t      *testing.T
	rnd    *rand.Rand
	log    *fakeLog
	bounds Bounds
	limit  bool
	// target takes what it is sent and outlives the broker, full takes nothing.
	target, full *rig
	next         int
	held         []received
	// refs are the publishes of this life, 0 for those of an earlier one; done says
	// that a message was settled for good; sent is how often the target got one in
	// this life.
	refs map[string]uint64
	done map[string]bool
	sent map[string]int
}

// Whenever the broker dies, what was confirmed is there or in the target, and within one
// life the target gets nothing twice; in the end it has all.
func TestCrashesLoseNoLetters(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			run := &letterCrash{t: t, rnd: rand.New(rand.NewPCG(seed, 72)), refs: map[string]uint64{}, done: map[string]bool{}, sent: map[string]int{}, limit: seed%2 == 0}
			if seed%3 > 0 {
				run.bounds = Bounds{Messages: 1 + int(seed)%5}
			}
			run.target, _ = newRuled(t, nil, named("target"))
			run.full, _ = newRuled(t, args("x-max-length", int32(0), "x-overflow", "reject-publish"), named("full"))
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

func (run *letterCrash) begin(log *fakeLog) {
	run.log, run.held = log, nil
	run.rig = newRig(run.t, Quorum(), func(s *Spec, env *HostEnv) {
		inline(s, env)
		log.with(s, env)
		s.Arguments = args(argDeadLetterExchange, "d", "x-dead-letter-strategy", "at-least-once", "x-overflow", "reject-publish")
		if run.limit {
			s.Arguments = append(s.Arguments, message.Field{Name: argDeliveryLimit, Value: int32(2)})
		}
		env.DeadLetter = run.take
		env.Memory = run.bounds
	})
	log.recoverIn(1+run.rnd.IntN(7), nil)
}

func (run *letterCrash) step() {
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
		rnd.Shuffle(len(run.held), func(i, j int) { run.held[i], run.held[j] = run.held[j], run.held[i] })
		n := 1 + rnd.IntN(len(run.held))
		some := slices.Clone(run.held[:n])
		run.held = run.held[n:]
		o := []Outcome{Ack, Requeue, Discard, Discard, Discard, Return}[rnd.IntN(6)]
		for _, x := range some {
			if o == Ack {
				run.done[x.body] = true
			}
		}
		run.settle(o, some...)
	case n < 120:
		noAck := rnd.IntN(8) == 0
		b := NewBatch()
		b.control(run.h.getter(noAck, func(g GetReply) {
			if g.Msg == nil {
				return
			}
			body := string(g.Msg.Body())
			if noAck {
				run.done[body] = true
			} else {
				run.held = append(run.held, received{body: body, id: g.ID})
			}
			g.Msg.Release()
		}, make(chan struct{})))
		run.h.Post(b)
	case n < 123:
		run.crash()
	case n < 130:
		run.h.SetPolicy(nil)
	default:
		run.log.step(rnd)
	}
	run.collect()
}

func (run *letterCrash) collect() {
	for _, b := range run.target.drain() {
		run.sent[b]++
		require.Equal(run.t, 1, run.sent[b], b)
	}
}

func (run *letterCrash) check(left []string) {
	confirmed, _ := run.answers.given()
	for body, seq := range run.refs {
		_, safe := slices.BinarySearch(confirmed, seq)
		if (seq == 0 || safe) && !run.done[body] && run.sent[body] == 0 {
			require.Contains(run.t, left, body, "it was confirmed")
		}
	}
}

func (run *letterCrash) crash() {
	next := run.log.crash()
	left := next.left()
	require.Len(run.t, slices.Compact(slices.Sorted(slices.Values(left))), len(left), "a message is there twice")
	run.check(left)
	run.refs, run.done, run.sent = map[string]uint64{}, map[string]bool{}, map[string]int{}
	for _, body := range left {
		run.refs[body] = 0
	}
	run.h.StopTimer()
	run.begin(next)
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
	for _, x := range in.take() {
		run.done[x.body] = true
	}
	require.Empty(run.t, run.log.left())
	run.check(nil)
	q := run.h.q.(*quorum)
	require.Empty(run.t, q.letters.byID)
	require.Zero(run.t, q.letters.kept)
	require.Zero(run.t, q.dying)
	run.deleteAndBalance()
}
