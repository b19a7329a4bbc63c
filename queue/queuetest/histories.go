package queuetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/store"
)

// histories are long random runs against a model.
func histories(t *testing.T, typ queue.Type) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			play(t, newDriver(t, typ, nil), seed)
		})
	}
}

// storedHistories are the same with messages in a store that answers late.
func storedHistories(t *testing.T, typ queue.Type) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			var few queue.Bounds // none, or so few that messages come and go all the time
			if seed%2 == 1 {
				few.Messages = 1 + int(seed)%5
			}
			play(t, newBounded(t, typ, few, numbered(int(seed)*5)...), seed)
		})
	}
}

const argMaxPriority = "x-max-priority"

// maxPriority is the x-max-priority of the priority histories.
const maxPriority = 3

// priorityHistories are long random runs of a queue with priorities.
func priorityHistories(t *testing.T, typ queue.Type) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			play(t, newDriver(t, typ, withPriorities), seed)
		})
	}
}

// storedPriorityHistories are the same with messages in a store that answers late.
func storedPriorityHistories(t *testing.T, typ queue.Type) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			var few queue.Bounds
			if seed%2 == 1 {
				few.Messages = 1 + int(seed)%5
			}
			l := &log{memory: few}
			d := open(t, typ, l, func(s *queue.Spec) {
				s.Durable = true
				withPriorities(s)
			})
			play(t, d.recover(numbered(int(seed)*5)), seed)
		})
	}
}

func withPriorities(s *queue.Spec) {
	s.Arguments = message.Table{{Name: argMaxPriority, Value: int32(maxPriority)}}
}

// priorityOf is the priority of a message, which goes by its body: 0 to 6.
func priorityOf(body string) uint8 {
	n, _ := strconv.Atoi(strings.TrimPrefix(body, "r"))
	return uint8(n * n * 5 / 3 % 7)
}

// model is what a queue is: ready messages in a sorted list, and those held.
// Bodies are fixed-width numbers, which sort as the messages stand, in a queue with
// priorities those of one level.
type model struct {
	d     *driver
	rnd   *rand.Rand
	ready []string
	held  []delivery
	seen  map[string]bool // delivered before
	open  []*consumer
	next  int
}

const steps = 400

func play(t *testing.T, d *driver, seed uint64) {
	m := &model{d: d, rnd: rand.New(rand.NewPCG(seed, 1)), seen: map[string]bool{}}
	if d.log != nil {
		m.recover()
	}
	d.watch = m.delivered
	for range steps {
		m.step()
		if t.Failed() {
			t.FailNow()
		}
	}
	m.settleDown()
}

// recover gives the model what the log holds from an earlier run, renumbered from
// 0 as it was.
func (m *model) recover() {
	m.next = -1
	seqs := make([]uint64, 0, len(m.d.log.kept))
	for seq := range m.d.log.kept {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	for i, seq := range seqs {
		old := m.d.log.kept[seq]
		old.Release()
		body := m.body()
		m.d.log.kept[seq] = m.d.message(body, true)
		m.insert(body)
		m.seen[body] = i%2 == 1
	}
}

func (m *model) body() string {
	m.next++
	return fmt.Sprintf("%06d", m.next)
}

// insert puts a message where it belongs.
func (m *model) insert(body string) {
	level := func(b string) uint8 {
		if !m.d.priorities {
			return 0
		}
		return min(priorityOf(b), maxPriority)
	}
	i, _ := slices.BinarySearchFunc(m.ready, body, func(a, b string) int {
		return cmp.Or(cmp.Compare(level(b), level(a)), cmp.Compare(a, b))
	})
	m.ready = slices.Insert(m.ready, i, body)
}

// delivered checks one delivery: it must be the first of the ready messages.
func (m *model) delivered(c *consumer, x delivery) {
	t := m.d.t
	t.Helper()
	if len(m.ready) == 0 || m.ready[0] != x.body {
		t.Fatalf("%s was delivered; ready are %v", x.body, m.ready)
	}
	if x.redelivered != m.seen[x.body] {
		t.Fatalf("%s: redelivered is %v", x.body, x.redelivered)
	}
	m.ready = m.ready[1:]
	m.seen[x.body] = true
	if c == nil || !c.NoAck {
		m.held = append(m.held, x)
	}
}

func (m *model) step() {
	d := m.d
	switch n := m.rnd.IntN(100); {
	case n < 30:
		m.publish(1 + m.rnd.IntN(8))
	case n < 60:
		m.settle()
	case n < 65 && len(m.open) < 5:
		c := queue.Consumer{NoAck: m.rnd.IntN(4) == 0, Prefetch: m.rnd.IntN(6)}
		if m.rnd.IntN(3) == 0 {
			c.Gate = &gate{room: m.rnd.IntN(4)}
		}
		m.open = append(m.open, d.consume(c))
	case n < 68 && len(m.open) > 0:
		i := m.rnd.IntN(len(m.open))
		d.cancel(m.open[i])
		m.open = slices.Delete(m.open, i, i+1)
	case n < 76 && len(m.open) > 0:
		if c := m.open[m.rnd.IntN(len(m.open))]; c.gate != nil {
			d.resume(c, m.rnd.IntN(4))
		}
	case n < 82:
		d.ask(false)
	case n < 83:
		m.purge()
	case n < 92 && d.log != nil && len(d.log.ops) > 0:
		d.store(1 + m.rnd.IntN(len(d.log.ops)))
	case d.log != nil && len(d.log.loads) > 0:
		d.load()
	}
	m.check()
}

func (m *model) publish(n int) {
	d := m.d
	if d.priorities {
		n = 1 // a consumer may get the first of several before the next one comes
	}
	in := make([]queue.Publish, n)
	for i := range in {
		b := m.body()
		m.insert(b)
		d.published++
		in[i] = queue.Publish{
			Msg: d.message(b, d.log != nil && m.rnd.IntN(3) > 0),
			Ref: message.PublishRef{By: nobody{d.t}, Seq: d.published},
		}
	}
	d.q.Enqueue(in, &d.out)
	d.take()
}

// settle settles some of what is held, in any order and with one outcome.
func (m *model) settle() {
	if len(m.held) == 0 {
		return
	}
	m.rnd.Shuffle(len(m.held), func(i, j int) { m.held[i], m.held[j] = m.held[j], m.held[i] })
	n := 1 + m.rnd.IntN(len(m.held))
	batch := slices.Clone(m.held[:n])
	m.held = slices.Delete(m.held, 0, n)
	o := []queue.Outcome{queue.Ack, queue.Requeue, queue.Discard, queue.Ack}[m.rnd.IntN(4)]
	// One consumer's at a time: whether they go out before the next one's come back is
	// up to the type.
	for len(batch) > 0 {
		n := 1
		for n < len(batch) && batch[n].consumer == batch[0].consumer {
			n++
		}
		if o == queue.Requeue {
			for _, x := range batch[:n] {
				m.insert(x.body)
			}
		}
		m.d.settle(o, batch[:n]...)
		batch = batch[n:]
	}
}

func (m *model) purge() {
	want := len(m.ready)
	m.ready = nil
	if n := m.d.purge(); n != want {
		m.d.t.Fatalf("purged %d, want %d", n, want)
	}
}

// check compares the counts, and that nobody who could take a message waits for
// one that is there.
func (m *model) check() {
	d := m.d
	d.t.Helper()
	d.wantStat(len(m.ready), len(m.held), len(m.open))
	if len(m.ready) == 0 || d.log != nil && len(d.log.loads) > 0 {
		return
	}
	for _, c := range m.open {
		full := !c.NoAck && c.Prefetch > 0 && c.held >= c.Prefetch
		if !full && c.gate == nil {
			d.t.Fatalf("%d messages are ready and consumer %d could take one", len(m.ready), c.ID)
		}
	}
	if len(d.got) != int(d.gets) {
		d.t.Fatal("messages are ready and a get waits")
	}
}

// settleDown answers everything that is waited for and empties the queue.
func (m *model) settleDown() {
	d := m.d
	for _, c := range m.open {
		d.cancel(c)
	}
	m.open = nil
	for len(m.ready)+len(m.held) > 0 {
		batch := m.held
		m.held = nil
		d.settle(queue.Ack, batch...)
		d.ask(false)
		if d.log != nil {
			d.drain()
		}
		m.check()
	}
	if d.log == nil {
		return
	}
	d.drain()
	for seq, msg := range d.log.kept {
		d.t.Errorf("the store keeps %s at %d", msg.Body(), seq)
	}
	for _, op := range d.log.ops {
		if op.Kind == store.Append {
			d.t.Error("an operation was left unanswered")
		}
	}
}
