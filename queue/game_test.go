package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/warrenmq/warren/message"
)

// game is a queue next to its model.
type game struct {
	*rig
	t     *judge
	typ   Type
	world world
	rnd   *rand.Rand
	log   historyLog
	model queueModel
	// policy is that of the queue, and of one that takes its place.
	policy message.Table
	dead   *letters
	// targets are where letters go that are sent at least once, of a quorum queue.
	targets *targets
	// sinks are the real consumers of the model's, gates their gates.
	sinks      map[*modelConsumer]*activeInbox
	gates      map[*modelConsumer]*countedGate
	named      int          // consumers so far
	publishers []*publisher // those of this life but for the first
	// want are the answers that the publishers of this life get.
	want  map[uint64]bool
	notes []string
}

func newModel(s Spec, policy message.Table) queueModel {
	if s.Type == "quorum" {
		return newQuorumModel(s, policy)
	}
	return &classicModel{modelState: modelState{
		rules: modelRulesOf(s.Arguments, policy), durable: s.Durable, autoDelete: s.AutoDelete,
	}}
}

func (g *game) quorum() bool { return g.typ.Name() == "quorum" }

// playHistory plays a history with a new queue and a new model. It gives what the
// steps did, and the first disagreement.
func playHistory(t *testing.T, typ Type, h history) (notes []string, err error) {
	synctest.Test(t, func(t *testing.T) {
		g := &game{t: &judge{TB: t}, typ: typ, world: h.world, rnd: rand.New(rand.NewPCG(h.seed, 78))}
		defer func() {
			if v := recover(); v != nil && !errors.Is(g.t.err, errStopped) {
				panic(v)
			}
			g.log.end()
			notes = g.notes[:min(len(g.notes), len(h.steps))]
			if g.t.err != nil {
				err = fmt.Errorf("step %d: %w", len(notes), g.t.err)
			}
		}()
		g.begin(newHistoryLog(g.t, h.world.log, g.rnd))
		for _, s := range h.steps {
			g.playStep(s)
		}
		g.playStep(step{kind: stepDelete})
	})
	return notes, err
}

// begin begins with a new queue.
func (g *game) begin(log historyLog) {
	g.open(log)
	g.model = newModel(g.h.Spec(), g.policy)
	g.model.begin()
	g.log.settle()
	g.compare()
}

// open opens the queue.
func (g *game) open(log historyLog) {
	g.log = log
	g.sinks, g.gates = map[*modelConsumer]*activeInbox{}, map[*modelConsumer]*countedGate{}
	g.want, g.publishers = map[uint64]bool{}, nil
	g.dead = &letters{}
	take := g.dead.take
	if g.quorum() {
		if g.targets == nil {
			g.targets = &targets{}
		}
		g.targets.open(g)
		take = g.targets.take
	}
	g.rig = newRig(g.t, g.typ, func(s *Spec, env *HostEnv) {
		inline(s, env)
		s.Arguments, s.AutoDelete = g.world.arguments, g.world.autoDelete
		env.DeadLetter, env.Memory = take, Bounds{Messages: g.world.memory}
		env.Policy = g.policy
		log.with(s, env)
	})
	g.dead.r = g.rig
}

// playStep plays one step.
func (g *game) playStep(s step) {
	g.notes = append(g.notes, strings.TrimSuffix(g.perform(s), "; "))
	g.model.setTimer()
	g.log.settle()
	g.compare()
	if g.model.state().gone {
		g.balanced()
		g.log.end()
		g.begin(newHistoryLog(g.t, g.world.log, g.rnd))
	}
}

// same ends the game if something is not as the model has it.
func (g *game) same(want, got any, what string, args ...any) {
	if !assert.ObjectsAreEqual(want, got) {
		g.t.stop("%s: got %v, want %v", fmt.Sprintf(what, args...), got, want)
	}
}

// compare compares all that can be seen.
func (g *game) compare() {
	m := g.model.state()
	for _, c := range m.all {
		in := g.sinks[c]
		g.compareDeliveries(c, in.take())
		if c.gate {
			g.same(c.room, g.gates[c].room, "the room of consumer %d", c.name)
		}
		g.same(c.activated, in.active > 0, "consumer %d is the active one", c.name)
	}
	dead := g.dead.taken()
	if g.quorum() && g.world.log != noLog {
		// What has to be loaded first is a dead letter a little later.
		slices.Sort(m.dead)
		slices.Sort(dead)
	}
	g.same(m.dead, dead, "dead letters")
	m.dead = nil
	if g.quorum() {
		g.compareLetters()
	}
	g.same(g.want, g.answers.verdicts, "confirmed publishes")
	g.mu.Lock()
	ends := slices.Clone(g.ends)
	g.mu.Unlock()
	if m.gone {
		g.same([]error{nil}, ends, "ends of a queue that is to go")
		return
	}
	g.same(0, len(ends), "ends of a queue that is to stay")
	g.same(g.model.stat(), g.stat(), "counts")
	if l, ok := g.log.(*lateHistoryLog); ok && l.durable && g.quorum() {
		kept := g.model.(*quorumModel).letters.kept
		g.same(len(m.held)+g.model.stat().Ready+len(kept), len(l.left()), "stored messages")
	}
	g.h.do(func() {
		if g.world.log == noLog {
			return
		}
		switch q := g.h.q.(type) {
		case *classic:
			checkMemory(g.t, g.h)
			g.adoptTimer(q.watch.woken)
		case *quorum:
			checkMemory(g.t, g.h)
		}
	})
	if g.t.err != nil {
		g.t.FailNow()
	}
}

// adoptTimer takes the time over at which the queue will look, in milliseconds. With
// priorities it may be another one than the model's: the queue saw other messages at its
// head while some were loaded, and what was overtaken does not matter to it any more.
func (g *game) adoptTimer(woken int64) {
	m := g.model.(*classicModel)
	if m.rules.maxPriority < 0 {
		return
	}
	m.wake = time.Time{}
	if woken != 0 {
		m.wake = time.UnixMilli(woken)
	}
}

func (g *game) compareDeliveries(c *modelConsumer, got []received) {
	show := func(body string, redelivered bool, count int) string {
		if count > 0 {
			return fmt.Sprintf("%q redelivered %v count %d", body, redelivered, count)
		}
		return fmt.Sprintf("%q redelivered %v", body, redelivered)
	}
	var want, have []string
	for _, d := range c.expect {
		want = append(want, show(d.body, d.redelivered, d.count))
	}
	for _, d := range got {
		have = append(have, show(d.body, d.redelivered, int(d.count)))
	}
	g.same(want, have, "what consumer %d got", c.name)
	for i, d := range c.expect {
		d.id = got[i].id
	}
	c.expect = nil
}

// balanced checks that the queue left nothing behind.
func (g *game) balanced() {
	for _, c := range g.model.state().all {
		g.same(1, g.sinks[c].cancels(), "consumer %d is cancelled once", c.name)
	}
	g.log.settle()
	if g.quorum() {
		g.targets.end()
	}
	g.balance()
	if g.t.err != nil {
		g.t.FailNow()
	}
}
