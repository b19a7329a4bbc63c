package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// quorumLife is the life of a quorum queue whose store answers late and whose broker dies
// at any moment. What is seen of it is for those who embed it.
type quorumLife struct {
	*rig
	t          *testing.T
	rnd        *rand.Rand
	log        *fakeLog
	bounds     Bounds
	arguments  message.Table
	deadLetter func(*Host, *Dead) (*message.Message, []*Host)
	next       int
	held       []received
	// refs are the publishes of this life, 0 for those of an earlier one; done says
	// that a message was settled for good, or may have been.
	refs map[string]uint64
	done map[string]bool
}

// newQuorumLife makes a life that has not begun; two of three have few bodies in memory.
func newQuorumLife(t *testing.T, seed uint64, rnd *rand.Rand, arguments message.Table) quorumLife {
	life := quorumLife{t: t, rnd: rnd, arguments: arguments, refs: map[string]uint64{}, done: map[string]bool{}}
	if seed%3 > 0 {
		life.bounds = Bounds{Messages: 1 + int(seed)%5}
	}
	return life
}

// live plays the steps of a life, and reports whether it was a good one.
func (life *quorumLife) live(step func()) bool {
	for range 600 {
		step()
		checkMemory(life.t, life.h)
		if life.t.Failed() {
			return false
		}
	}
	return true
}

// begin begins with what a log holds.
func (life *quorumLife) begin(log *fakeLog) {
	life.log, life.held = log, nil
	life.rig = newRig(life.t, Quorum(), func(s *Spec, env *HostEnv) {
		inline(s, env)
		log.with(s, env)
		s.Arguments = life.arguments
		env.DeadLetter = life.deadLetter
		env.Memory = life.bounds
	})
	log.recoverIn(1+life.rnd.IntN(7), nil)
}

func (life *quorumLife) publishSome() {
	b := NewBatch()
	for range 1 + life.rnd.IntN(5) {
		life.next++
		p := life.publish(fmt.Sprintf("%06d", life.next), life.rnd.IntN(2) == 0)
		life.refs[string(p.Msg.Body())] = p.Ref.Seq
		b.Publish(p)
	}
	life.h.Post(b)
}

// settleSome settles some of what is held with one of the outcomes. What is acknowledged
// is done; the rest is the caller's.
func (life *quorumLife) settleSome(outcomes ...Outcome) (o Outcome, some []received) {
	rnd := life.rnd
	rnd.Shuffle(len(life.held), func(i, j int) { life.held[i], life.held[j] = life.held[j], life.held[i] })
	n := 1 + rnd.IntN(len(life.held))
	some = slices.Clone(life.held[:n])
	life.held = life.held[n:]
	o = outcomes[rnd.IntN(len(outcomes))]
	if o == Ack {
		life.finished(some)
	}
	life.settle(o, some...)
	return o, some
}

func (life *quorumLife) finished(ds []received) {
	for _, d := range ds {
		life.done[d.body] = true
	}
}

// get asks for a message, which may have to be loaded first.
func (life *quorumLife) get(noAck bool, got func(body string, count uint32)) {
	life.ask(noAck, func(g GetReply) {
		if g.Msg == nil {
			return
		}
		body := string(g.Msg.Body())
		got(body, g.Count)
		if noAck {
			life.done[body] = true
		} else {
			life.held = append(life.held, received{body: body, id: g.ID})
		}
		g.Msg.Release()
	})
}

// keeps checks that what was confirmed is done or among what is left.
func (life *quorumLife) keeps(left []string) {
	confirmed, _ := life.answers.given()
	for body, seq := range life.refs {
		_, safe := slices.BinarySearch(confirmed, seq)
		if (seq == 0 || safe) && !life.done[body] {
			require.Contains(life.t, left, body, "it was confirmed")
		}
	}
}

// die ends a life, and gives the log with which the next one begins.
func (life *quorumLife) die() *fakeLog {
	next := life.log.crash()
	left := next.left()
	require.Len(life.t, slices.Compact(slices.Sorted(slices.Values(left))), len(left), "a message is there twice")
	life.keeps(left)
	life.refs, life.done = map[string]uint64{}, map[string]bool{}
	for _, body := range left {
		life.refs[body] = 0
	}
	life.h.StopTimer()
	return next
}
