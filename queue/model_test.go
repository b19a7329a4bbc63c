package queue

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/warrenmq/warren/message"
)

// A history is a list of steps whose numbers mean something only when they are
// played, so that any part of a history is a history too: that is what makes it
// possible to shrink one that fails.
type modelStep struct {
	kind    int
	a, b, c int
}

const (
	stepPublish = iota
	stepSettle
	stepConsume
	stepCancel
	stepGet
	stepResume
	stepPurge
	stepDelete
)

func (s modelStep) String() string {
	names := [...]string{"publish", "settle", "consume", "cancel", "get", "resume", "purge", "delete"}
	return fmt.Sprintf("%s(%d,%d,%d)", names[s.kind], s.a, s.b, s.c)
}

// randomHistory weighs the steps so that queues fill and empty.
func randomHistory(seed uint64, n int) []modelStep {
	rnd := rand.New(rand.NewPCG(seed, 21))
	weights := [...]int{stepPublish: 28, stepSettle: 34, stepConsume: 6, stepCancel: 3, stepGet: 8, stepResume: 14, stepPurge: 1, stepDelete: 2}
	steps := make([]modelStep, n)
	for i := range steps {
		k, pick := 0, rnd.IntN(96)
		for pick >= weights[k] {
			pick -= weights[k]
			k++
		}
		steps[i] = modelStep{k, rnd.IntN(1 << 20), rnd.IntN(1 << 20), rnd.IntN(1 << 20)}
	}
	return steps
}

// The classic type behind its host does exactly what the naive model below does,
// consumer by consumer and message by message.
func TestRandomHistoriesAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	for name, arguments := range map[string]message.Table{
		"plain":         nil,
		"single active": args(argSingleActive, true),
		"priorities":    args(argMaxPriority, uint8(4)),
		"one level":     args(argMaxPriority, uint8(0), argSingleActive, false),
	} {
		for seed := range uint64(60) {
			t.Run(fmt.Sprint(name, " seed ", seed), func(t *testing.T) {
				t.Parallel()
				play := func(s []modelStep) error { return playModel(t, arguments, s) }
				steps := randomHistory(seed, 500)
				err := play(steps)
				if err == nil {
					return
				}
				steps, err = shrink(steps, err, play)
				t.Fatalf("%v\nafter %v", err, steps)
			})
		}
	}
}

// shrink leaves out of a history what it can while it still fails.
func shrink(steps []modelStep, failure error, play func([]modelStep) error) ([]modelStep, error) {
	for size := len(steps) / 2; size > 0; size /= 2 {
		for i := 0; i+size <= len(steps); {
			fewer := slices.Concat(steps[:i], steps[i+size:])
			if err := play(fewer); err != nil {
				steps, failure = fewer, err
			} else {
				i += size
			}
		}
	}
	return steps, failure
}

func TestShrinkFindsTheStepsThatMatter(t *testing.T) {
	t.Parallel()
	errBoth := errors.New("a purge after a get")
	steps, err := shrink(randomHistory(5, 500), errBoth, func(s []modelStep) error {
		get := slices.IndexFunc(s, func(x modelStep) bool { return x.kind == stepGet })
		if get >= 0 && slices.ContainsFunc(s[get:], func(x modelStep) bool { return x.kind == stepPurge }) {
			return errBoth
		}
		return nil
	})
	if !errors.Is(err, errBoth) || len(steps) != 2 || steps[0].kind != stepGet || steps[1].kind != stepPurge {
		t.Fatalf("%v after %v", err, steps)
	}
}

// modelQueue is the naive model of a classic queue in memory.
type modelQueue struct {
	ready []modelMessage   // sorted by priority and body
	held  []received       // as the real queue gave them
	turn  []*modelConsumer // of equal priority, whose turn it is comes first
	all   []*modelConsumer
	// single says that only active gets anything.
	single bool
	active *modelConsumer
	// maxPriority is the highest level.
	maxPriority uint8
}

type modelMessage struct {
	body        string
	redelivered bool
}

// insert puts a message where it belongs.
func (m *modelQueue) insert(x modelMessage) {
	i, _ := slices.BinarySearchFunc(m.ready, x, func(a, b modelMessage) int {
		return cmp.Or(cmp.Compare(m.level(b.body), m.level(a.body)), cmp.Compare(a.body, b.body))
	})
	m.ready = slices.Insert(m.ready, i, x)
}

// level is where a message stands in a queue with priorities.
func (m *modelQueue) level(body string) uint8 { return min(bodyPriority(body), m.maxPriority) }

// bodyPriority is the priority with which a message is published, 0 to 6.
func bodyPriority(body string) uint8 {
	n, _ := strconv.Atoi(body)
	return uint8(n * n * 5 / 3 % 7)
}

type modelConsumer struct {
	spec     Consumer
	priority int
	in       *inbox
	gate     *countedGate // the real one
	room     int          // of the model's own
	gated    bool
	held     int
	expect   []modelMessage
}

func (c *modelConsumer) full() bool {
	return !c.spec.NoAck && c.spec.Prefetch > 0 && c.held >= c.spec.Prefetch
}

// first gives the one whose turn it is, or who has waited longest.
func (m *modelQueue) first() int {
	next := 0
	for i, c := range m.turn {
		if c.priority > m.turn[next].priority {
			next = i
		}
	}
	return next
}

// takeTurn takes the one whose turn it is out of turn; nil if there is none.
func (m *modelQueue) takeTurn() *modelConsumer {
	next := m.first()
	if m.single {
		next = slices.Index(m.turn, m.active)
	}
	if next < 0 || len(m.turn) == 0 {
		return nil
	}
	c := m.turn[next]
	m.turn = slices.Delete(m.turn, next, next+1)
	return c
}

// deliver hands out what is ready.
func (m *modelQueue) deliver() {
	for len(m.ready) > 0 {
		c := m.takeTurn()
		if c == nil {
			return
		}
		if c.full() {
			continue
		}
		if c.gate != nil {
			if c.room == 0 {
				c.gated = true
				continue
			}
			c.room--
		}
		c.expect = append(c.expect, m.ready[0])
		m.ready = m.ready[1:]
		if !c.spec.NoAck {
			c.held++
		}
		m.turn = append(m.turn, c)
	}
}

func (m *modelQueue) join(c *modelConsumer) {
	if !c.gated && !slices.Contains(m.turn, c) {
		m.turn = append(m.turn, c)
	}
}

func (m *modelQueue) exclusive() bool {
	return slices.ContainsFunc(m.all, func(c *modelConsumer) bool { return c.spec.Exclusive })
}

// modelRun is a model next to the real thing.
type modelRun struct {
	*rig
	m    modelQueue
	next int
}

// playModel plays a history on a new queue and gives the first disagreement.
func playModel(t *testing.T, arguments message.Table, steps []modelStep) error {
	run := &modelRun{rig: newRig(t, Classic(), func(s *Spec, env *HostEnv) {
		inline(s, env)
		s.Arguments = arguments
	})}
	run.priorityOf = bodyPriority
	run.m.single = SingleActive(run.h.Spec())
	if v, ok := arguments.Get(argMaxPriority); ok {
		run.m.maxPriority = v.(uint8)
	}
	for i, s := range steps {
		if err := run.step(s); err != nil {
			return fmt.Errorf("step %d, %v: %w", i, s, err)
		}
		if err := run.compare(); err != nil {
			return fmt.Errorf("step %d, %v: %w", i, s, err)
		}
	}
	if err := run.delete(0, 0); err != nil {
		return err
	}
	if !run.answers.confirmedAll(run.seq) {
		return errors.New("a publish was rejected")
	}
	for _, m := range run.made {
		if n := m.Refs(); n != 1 {
			return fmt.Errorf("message %s has %d references left", m.Body(), n-1)
		}
	}
	return nil
}

func (run *modelRun) step(s modelStep) error {
	switch s.kind {
	case stepPublish:
		run.publishSome(1 + s.a%6)
	case stepSettle:
		run.settleSome(s)
	case stepConsume:
		return run.consumeOne(s)
	case stepCancel:
		run.cancelOne(s.a)
	case stepGet:
		return run.getOne(s.a%3 == 0)
	case stepResume:
		run.resumeOne(s)
	case stepPurge:
		n, err := run.h.Purge()
		if err != nil || n != len(run.m.ready) {
			return fmt.Errorf("purged %d of %d: %v", n, len(run.m.ready), err)
		}
		run.m.ready = nil
	case stepDelete:
		return run.delete(s.a%8, s.b%8)
	}
	return nil
}

func (run *modelRun) publishSome(n int) {
	bodies := make([]string, n)
	for i := range bodies {
		run.next++
		bodies[i] = fmt.Sprintf("%06d", run.next)
		run.m.insert(modelMessage{body: bodies[i]})
		run.m.deliver()
	}
	run.post(bodies...)
}

// settleSome settles some of what is held, in some order and with one outcome.
func (run *modelRun) settleSome(s modelStep) {
	m := &run.m
	if len(m.held) == 0 {
		return
	}
	rnd := rand.New(rand.NewPCG(uint64(s.a), uint64(s.b)))
	rnd.Shuffle(len(m.held), func(i, j int) { m.held[i], m.held[j] = m.held[j], m.held[i] })
	n := 1 + s.b%len(m.held)
	batch := slices.Clone(m.held[:n])
	m.held = m.held[n:]
	o := []Outcome{Ack, Requeue, Discard}[s.c%3]
	for _, x := range batch {
		if o == Requeue {
			m.insert(modelMessage{x.body, true})
		}
		for _, c := range m.all {
			if x.consumer == c.in.id {
				c.held--
				m.join(c)
			}
		}
	}
	m.deliver()
	run.settle(o, batch...)
}

func (run *modelRun) consumeOne(s modelStep) error {
	m := &run.m
	c := &modelConsumer{
		spec: Consumer{Prefetch: s.a % 5, NoAck: s.b%4 == 0, Exclusive: s.c%16 == 0},
		in:   &inbox{t: run.t},
	}
	if s.a%3 > 0 {
		c.priority = s.b%4 - 1
		c.spec.Arguments = args(argConsumerPriority, int32(c.priority))
	}
	if s.b%3 == 0 {
		c.gate = &countedGate{room: s.c % 4}
		c.room = c.gate.room
		c.spec.Gate = c.gate
	}
	refused := m.exclusive() || c.spec.Exclusive && (m.single || len(m.all) > 0)
	err := run.h.Consume(c.spec, c.in, c.in.attach, func() {})
	if refused != errors.Is(err, ErrExclusiveUse) || !refused && err != nil {
		return fmt.Errorf("consume gave %v, refused %v", err, refused)
	}
	if !refused {
		m.all = append(m.all, c)
		m.join(c)
		if m.single && m.active == nil {
			m.active = c
		}
		m.deliver()
	}
	return nil
}

func (run *modelRun) cancelOne(i int) {
	m := &run.m
	if len(m.all) == 0 {
		run.h.Cancel(message.ConsumerID(i))
		return
	}
	c := m.all[i%len(m.all)]
	is := func(x *modelConsumer) bool { return x == c }
	m.all, m.turn = slices.DeleteFunc(m.all, is), slices.DeleteFunc(m.turn, is)
	if c == m.active {
		if m.active = nil; len(m.turn) > 0 {
			m.active = m.turn[m.first()]
		}
		if c.held == 0 {
			m.deliver()
		}
	}
	run.h.Cancel(c.in.id)
}

func (run *modelRun) getOne(noAck bool) error {
	m := &run.m
	got, reply := run.get(noAck)
	if len(m.ready) == 0 {
		if reply.Msg != nil || reply.Err != nil {
			return fmt.Errorf("got %q, %v of an empty queue", got.body, reply.Err)
		}
		return nil
	}
	want := m.ready[0]
	m.ready = m.ready[1:]
	if got.body != want.body || got.redelivered != want.redelivered || reply.Remaining != len(m.ready) {
		return fmt.Errorf("got %v with %d left, want %v with %d", got, reply.Remaining, want, len(m.ready))
	}
	if !noAck {
		m.held = append(m.held, got)
	}
	return nil
}

func (run *modelRun) resumeOne(s modelStep) {
	m := &run.m
	if len(m.all) == 0 {
		return
	}
	c := m.all[s.a%len(m.all)]
	if c.gate != nil {
		c.gate.room += s.b % 4
		c.room += s.b % 4
	}
	if c.gated {
		c.gated = false
		m.join(c)
	}
	m.deliver()
	run.h.Resume(c.in.id)
}

// delete deletes the queue and begins anew, or is refused.
func (run *modelRun) delete(ifUnused, ifEmpty int) error {
	m := &run.m
	var want error
	switch {
	case ifEmpty > 0 && len(m.ready) > 0:
		want = ErrNotEmpty
	case ifUnused > 0 && len(m.all) > 0:
		want = ErrInUse
	}
	n := -1
	if err := run.h.Delete(ifUnused > 0, ifEmpty > 0, func(ready int) { n = ready }); !errors.Is(err, want) {
		return fmt.Errorf("delete gave %v, want %v", err, want)
	}
	if want != nil {
		return nil
	}
	if n != len(m.ready) {
		return fmt.Errorf("deleted %d messages, want %d", n, len(m.ready))
	}
	for _, c := range m.all {
		if c.in.cancels() != 1 {
			return fmt.Errorf("consumer %d was cancelled %d times", c.in.id, c.in.cancels())
		}
	}
	h, err := NewHost(Classic(), run.h.Spec(), run.env)
	run.h, run.m = h, modelQueue{single: m.single, maxPriority: m.maxPriority}
	return err
}

// compare compares what everybody got, and the counts.
func (run *modelRun) compare() error {
	m := &run.m
	for _, c := range m.all {
		got := c.in.take()
		same := slices.EqualFunc(got, c.expect, func(d received, e modelMessage) bool {
			return d.body == e.body && d.redelivered == e.redelivered
		})
		if !same {
			return fmt.Errorf("consumer %d got %v, want %v", c.in.id, got, c.expect)
		}
		if !c.spec.NoAck {
			m.held = append(m.held, got...)
		}
		c.expect = nil
		if c.gate != nil && c.gate.room != c.room {
			return fmt.Errorf("the gate of consumer %d has %d left, want %d", c.in.id, c.gate.room, c.room)
		}
	}
	want := Stat{Ready: len(m.ready), Unacked: len(m.held), ReadyBytes: 6 * int64(len(m.ready)), Consumers: len(m.all)}
	if got := run.stat(); got != want {
		return fmt.Errorf("the counts are %+v, want %+v", got, want)
	}
	if len(run.answers.verdicts) != int(run.seq) {
		return fmt.Errorf("%d of %d publishes are answered", len(run.answers.verdicts), run.seq)
	}
	return nil
}
