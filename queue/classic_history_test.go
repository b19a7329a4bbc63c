package queue

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// How much is played can be said on the command line, for a long run:
//
//	go test ./queue -run 'RandomHistories|NothingIsLost' -histories 20000 -history-seed 1000
var (
	histories   = flag.Int("histories", 150, "how many random histories to play")
	historySeed = flag.Uint64("history-seed", 0, "the seed of the first of them")
	historySize = flag.Int("history-steps", 300, "how many steps they have")
)

// Whatever happens to a classic queue, however it is declared and whatever it has
// for a store, it does exactly what its model does, message by message and consumer
// by consumer.
func TestRandomHistoriesAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	const together = 10
	for first := *historySeed; first < *historySeed+uint64(*histories); first += together {
		t.Run(fmt.Sprint("seeds from ", first), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(together) {
				agrees(t, Classic(), randomHistory(first+seed, *historySize, classicWorld))
			}
		})
	}
}

// agrees plays a history and, if that fails, the smallest one it can find that does.
func agrees(t *testing.T, typ Type, h history) {
	t.Helper()
	play := func(h history) error {
		_, err := playHistory(t, typ, h)
		return err
	}
	if err := play(h); err != nil {
		h, err = shrink(h, err, play)
		notes, _ := playHistory(t, typ, h)
		t.Errorf("%v\n%s", err, h.show(notes))
	}
}

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

// errStopped marks what ended a game.
var errStopped = errors.New("")

// judge is a testing.TB that keeps the first failure to itself, so that a history
// that fails can be played again.
type judge struct {
	testing.TB
	err error
}

// Errorf implements testing.TB.
func (j *judge) Errorf(format string, args ...any) {
	if j.err != nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	if _, after, ok := strings.Cut(text, "Error:"); ok { // testify's, without where it was
		text = strings.Join(strings.Fields(after), " ")
	}
	j.err = errors.New(text)
}

// FailNow implements testing.TB. Only who plays the game calls it.
func (j *judge) FailNow() {
	if !errors.Is(j.err, errStopped) {
		j.err = fmt.Errorf("%w%w", errStopped, j.err)
	}
	panic(j.err)
}

func (j *judge) stop(format string, args ...any) {
	j.Errorf(format, args...)
	j.FailNow()
}

// same ends the game if something is not as the model has it.
func (g *game) same(want, got any, what string, args ...any) {
	if !assert.ObjectsAreEqual(want, got) {
		g.t.stop("%s: got %v, want %v", fmt.Sprintf(what, args...), got, want)
	}
}

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
	// sinks are the real consumers of the model's, gates their gates.
	sinks map[*modelConsumer]*activeInbox
	gates map[*modelConsumer]*countedGate
	named int // consumers so far
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
	g.want = map[uint64]bool{}
	g.dead = &letters{}
	g.rig = newRig(g.t, g.typ, func(s *Spec, env *HostEnv) {
		inline(s, env)
		s.Arguments, s.AutoDelete = g.world.arguments, g.world.autoDelete
		env.DeadLetter, env.Memory = g.dead.take, Bounds{Messages: g.world.memory}
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

func (g *game) perform(s step) (note string) {
	switch s.kind {
	case stepPublish:
		return g.publishSome(s)
	case stepSettle:
		return g.settleSome(s)
	case stepConsume:
		return g.consumeOne(s)
	case stepCancel:
		return g.cancelOne(s)
	case stepGet:
		return g.getOne(s.a%3 == 1)
	case stepResume:
		return g.resumeOne(s.a, s.b%4)
	case stepWait:
		return g.letTimePass(1 + s.a%8)
	case stepDeclare:
		_, err := g.h.Declared()
		require.NoError(g.t, err)
		g.model.declared()
		return "declare"
	case stepPurge:
		n, err := g.h.Purge()
		require.NoError(g.t, err)
		g.same(g.model.purge(), n, "purged")
		return fmt.Sprint("purge ", n)
	case stepRestart:
		g.h.StopTimer()
		g.model.restart()
		g.open(g.log.restart())
		return "restart"
	case stepPolicy:
		g.policy = policyOf(s)
		g.model.obey(g.world.arguments, g.policy)
		g.h.SetPolicy(g.policy)
		return fmt.Sprint("policy ", g.policy)
	}
	return g.delete(s.a%4 == 1, s.b%4 == 1)
}

// policyOf makes a policy of a step's numbers.
func policyOf(s step) (p message.Table) {
	for i, f := range []message.Field{
		{Name: "message-ttl", Value: int64([]int{0, 10, 30, 60}[s.b%4])},
		{Name: "expires", Value: int64([]int{102, 302}[s.b/4%2])},
		{Name: "max-length", Value: int64(s.c % 9)},
		{Name: "max-length-bytes", Value: int64(s.b % 60)},
		{Name: "overflow", Value: []string{"drop-head", "reject-publish", "reject-publish-dlx"}[s.c/9%3]},
		{Name: "dead-letter-exchange", Value: "e"},
		{Name: "dead-letter-routing-key", Value: "l"},
		{Name: policyDeliveryLimit, Value: int64(s.b / 8 % 4)},
	} {
		// Mostly one at a time; none is the end of the policy.
		if s.a%10 == i+1 || s.a >= 512 && s.a>>i&1 == 1 {
			p = append(p, f)
		}
	}
	return p
}

// publishSome publishes a few messages in one batch.
func (g *game) publishSome(s step) (note string) {
	m := g.model.state()
	if m.waiting && g.world.log != noLog {
		// What a successor is owed is loaded first and comes a little later, which the
		// rules of a limited queue do not wait for. That is nothing to compare.
		g.resumeOne(0, 0)
		g.log.settle()
	}
	b := NewBatch()
	for i := range 1 + s.a%4 {
		m.next++
		v := s.b + i*s.c
		x := modelMessage{
			body:       fmt.Sprintf("%06d%*s", m.next, v%3*4, ""),
			priority:   v % 7,
			ttl:        [...]int{-1, 0, 10, 30, 60, -1, -1, -1}[v/7%8],
			persistent: v/56%2 == 0,
		}
		p := g.publish(x.body, x.persistent)
		p.Msg.SetAttributes(x.persistent, uint8(x.priority))
		if x.ttl >= 0 {
			p.Msg.SetTTL(int64(x.ttl))
		}
		b.Publish(p)
		g.want[p.Ref.Seq] = g.model.publish(x)
		note += fmt.Sprintf("%q priority %d ttl %d persistent %v; ", x.body, x.priority, x.ttl, x.persistent)
	}
	g.h.Post(b)
	return "publish " + note
}

// settleSome settles some of what is held in one batch.
func (g *game) settleSome(s step) (note string) {
	held := g.model.state().held
	if len(held) == 0 {
		return "nothing to settle"
	}
	batch := slices.Concat(held[s.a%len(held):], held[:s.a%len(held)])
	batch = batch[:1+s.b%len(held)]
	if s.b/len(held)%2 == 1 {
		slices.Reverse(batch)
	}
	if g.world.log != noLog {
		// What one consumer requeues is delivered before the next one's comes back, but
		// a body that has to be loaded first is not.
		batch = sameConsumer(batch)
	}
	b := NewBatch()
	var outcomes []Outcome
	for i, d := range batch {
		o := [...]Outcome{Ack, Requeue, Discard}[(s.c+s.c/3%2*i)%3]
		if g.quorum() && s.c/6%4 == 1 {
			o = Return // which comes of the end of a channel, and not with something else
		}
		if g.quorum() && g.world.log != noLog && slices.Contains(outcomes, Requeue) {
			// A quorum queue reads what it is given back before it gives it a new place, as
			// RabbitMQ does, and settles what came after it meanwhile.
			o = Requeue
		}
		outcomes = append(outcomes, o)
		x := Settle{ID: d.id, Outcome: o}
		if d.to != nil {
			x.Consumer = g.sinks[d.to].id
		}
		b.Settle(x)
		note += fmt.Sprintf("%s %q; ", [...]string{Ack: "ack", Requeue: "requeue", Discard: "discard", Return: "return"}[o], d.body)
	}
	g.model.settle(batch, outcomes)
	g.h.Post(b)
	return note
}

// sameConsumer gives the first deliveries, as far as they were to the same consumer.
func sameConsumer(ds []*modelDelivery) []*modelDelivery {
	other := slices.IndexFunc(ds, func(d *modelDelivery) bool { return d.to != ds[0].to })
	if other < 0 {
		return ds
	}
	return ds[:other]
}

func (g *game) consumeOne(s step) (note string) {
	g.named++
	c := &modelConsumer{
		name: g.named, prefetch: s.a % 5, noAck: s.b%5 == 1, exclusive: s.c%16 == 1,
		priority: (s.a/5+1)%3 - 1, gate: s.b/5%3 == 1,
	}
	in := &activeInbox{inbox: inbox{t: g.t}}
	if g.quorum() {
		in.onDeliver = func(ds []Delivery) {
			for i := range ds {
				g.showsCount(ds[i].Msg, ds[i].Count, ds[i].Count > 0)
			}
		}
	}
	spec := Consumer{Tag: fmt.Sprint("c", c.name), Prefetch: c.prefetch, NoAck: c.noAck, Exclusive: c.exclusive}
	if c.priority != 0 {
		spec.Arguments = args(argConsumerPriority, int32(c.priority))
	}
	if c.gate {
		c.room = s.c / 16 % 4
		g.gates[c] = &countedGate{room: c.room}
		spec.Gate = g.gates[c]
	}
	taken := g.model.consume(c)
	err := g.h.Consume(spec, in, in.attach, func() {})
	if !taken {
		require.ErrorIs(g.t, err, ErrExclusiveUse)
		return "consume is refused"
	}
	require.NoError(g.t, err)
	g.sinks[c] = in
	return fmt.Sprintf("consumer %d, prefetch %d, no-ack %v, priority %d, gate %v", c.name, c.prefetch, c.noAck, c.priority, c.gate)
}

func (g *game) cancelOne(s step) string {
	m := g.model.state()
	if len(m.all) == 0 {
		return "nobody to cancel"
	}
	c := m.all[s.a%len(m.all)]
	if g.quorum() && s.b%2 == 1 {
		g.endChannel(c)
		return fmt.Sprint("the channel of consumer ", c.name, " ends")
	}
	g.model.cancel(c, false)
	g.h.Cancel(g.sinks[c].id)
	return fmt.Sprint("cancel consumer ", c.name)
}

func (g *game) getOne(noAck bool) string {
	if g.quorum() && g.model.state().rules.single {
		_, got := g.get(noAck)
		require.Error(g.t, got.Err)
		return "get is refused"
	}
	var got GetReply
	b, answered := NewBatch(), make(chan struct{})
	b.control(g.h.getter(noAck, func(r GetReply) { got = r }, answered))
	g.h.Post(b)
	want, remaining := g.model.get(noAck)
	g.log.settle()
	select {
	case <-answered:
	default:
		g.t.stop("a basic.get is not answered")
	}
	require.NoError(g.t, got.Err)
	if want == nil {
		g.same((*message.Message)(nil), got.Msg, "got of an empty queue")
		return "get nothing"
	}
	if got.Msg == nil {
		g.t.stop("got nothing where %q was next", want.body)
	}
	body := string(got.Msg.Body())
	if g.quorum() {
		g.showsCount(got.Msg, got.Count, true)
	}
	got.Msg.Release()
	g.same(want.body, body, "got")
	g.same(want.redelivered, got.Redelivered, "redelivered")
	g.same(want.count, int(got.Count), "count")
	g.same(remaining, got.Remaining, "remaining")
	want.id = got.ID
	return fmt.Sprintf("get %q, no-ack %v", body, noAck)
}

// resumeOne gives a consumer's gate more room.
func (g *game) resumeOne(a, room int) string {
	m := g.model.state()
	if len(m.all) == 0 {
		return "nobody to resume"
	}
	c := m.all[a%len(m.all)]
	if c.gate {
		g.gates[c].room += room
	}
	g.model.resume(c, room)
	g.h.Resume(g.sinks[c].id, false)
	return fmt.Sprintf("resume consumer %d with room for %d", c.name, room)
}

// tickTime divides all times in a history.
const tickTime = 5 * time.Millisecond

// letTimePass waits for some ticks.
func (g *game) letTimePass(ticks int) string {
	for range ticks {
		time.Sleep(tickTime)
		synctest.Wait()
		g.log.settle()
		g.model.tick()
		g.compare()
		if g.model.state().gone {
			break
		}
	}
	return fmt.Sprintf("wait %v", time.Duration(ticks)*tickTime)
}

// delete deletes the queue, or is refused.
func (g *game) delete(ifUnused, ifEmpty bool) string {
	m, ready := g.model.state(), g.model.stat().Ready
	if g.quorum() {
		ifUnused, ifEmpty = false, false // there are no conditions
	}
	var want error
	switch {
	case ifEmpty && ready > 0:
		want = ErrNotEmpty
	case ifUnused && len(m.all) > 0:
		want = ErrInUse
	}
	n := -1
	err := g.h.Delete(ifUnused, ifEmpty, func(ready int) { n = ready })
	require.ErrorIs(g.t, err, want)
	if want != nil {
		return "delete is refused"
	}
	g.same(ready, n, "deleted")
	m.gone = true
	return "delete"
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
		g.same(len(m.held)+g.model.stat().Ready, len(l.left()), "stored messages")
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
	g.balance()
	if g.t.err != nil {
		g.t.FailNow()
	}
}

// historiesThatFailed once did, as the shrinker left them.
func historiesThatFailed() []history {
	return []history{}
}

func TestHistoriesThatFailedOnceDoNoMore(t *testing.T) {
	t.Parallel()
	for _, h := range historiesThatFailed() {
		t.Run(fmt.Sprint("seed ", h.seed), func(t *testing.T) {
			t.Parallel()
			agrees(t, Classic(), h)
		})
	}
}

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
