package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// quorumModel is the naive model of a quorum queue.
type quorumModel struct {
	limit   int64
	limited bool // what is requeued comes back first
	// returned come before fresh.
	returned, fresh []*quorumMessage
	held            []*quorumMessage
	turn, all       []*quorumConsumer
	dead            []string
	position        int
}

type quorumMessage struct {
	body     string
	position int
	count    uint32
	by       *quorumConsumer // nil for a basic.get
	holder   message.ConsumerID
}

type quorumConsumer struct {
	in       *inbox
	prefetch int
	noAck    bool
	held     int
	expect   []quorumMessage
}

func (m *quorumModel) put(x *quorumMessage) {
	m.position++
	x.position = m.position
	m.fresh = append(m.fresh, x)
}

func (m *quorumModel) ready() int { return len(m.returned) + len(m.fresh) }

func (m *quorumModel) take() *quorumMessage {
	from := &m.fresh
	if len(m.returned) > 0 {
		from = &m.returned
	}
	x := (*from)[0]
	*from = (*from)[1:]
	return x
}

func (m *quorumModel) deliver() {
	for m.ready() > 0 && len(m.turn) > 0 {
		c := m.turn[0]
		m.turn = m.turn[1:]
		if !c.noAck && c.held >= c.prefetch {
			continue
		}
		x := m.take()
		c.expect = append(c.expect, *x)
		if !c.noAck {
			c.held++
			x.by, x.holder = c, c.in.id
			m.held = append(m.held, x)
		}
		m.turn = append(m.turn, c)
	}
}

// settle settles what was taken out of held, of one consumer after the other.
func (m *quorumModel) settle(o Outcome, xs []*quorumMessage) {
	for i, x := range xs {
		if i > 0 && x.holder != xs[i-1].holder {
			m.deliver()
		}
		if c := x.by; c != nil {
			c.held--
			if slices.Contains(m.all, c) && !slices.Contains(m.turn, c) {
				m.turn = append(m.turn, c)
			}
		}
		x.by = nil
		switch o {
		case Ack:
		case Discard:
			m.dead = append(m.dead, x.body+" rejected")
		default:
			m.comeBack(o, x)
		}
	}
	m.deliver()
}

func (m *quorumModel) comeBack(o Outcome, x *quorumMessage) {
	x.count++
	switch {
	case int64(x.count) > m.limit:
		m.dead = append(m.dead, x.body+" delivery_limit")
	case o == Requeue && !m.limited:
		m.put(x)
	default:
		m.returned = append(m.returned, x)
	}
}

// restart gives back what is held; the order is that of the store.
func (m *quorumModel) restart() {
	m.fresh = slices.Concat(m.fresh, m.returned)
	m.returned = nil
	for _, x := range m.held {
		x.count++
		x.by = nil
		m.fresh = append(m.fresh, x)
	}
	m.held, m.turn, m.all = nil, nil, nil
	slices.SortFunc(m.fresh, func(a, b *quorumMessage) int { return a.position - b.position })
	m.fresh = slices.DeleteFunc(m.fresh, func(x *quorumMessage) bool {
		if int64(x.count) > m.limit {
			m.dead = append(m.dead, x.body+" delivery_limit")
			return true
		}
		return false
	})
}

// quorumRun is the model next to the real thing, whose store answers at the end of
// each step.
type quorumRun struct {
	*rig
	t         *testing.T
	rnd       *rand.Rand
	m         quorumModel
	log       *fakeLog // nil without a store
	bounds    Bounds
	arguments message.Table
	dead      *deadOnes
	got       map[string]uint64 // ids of what was delivered, by body
	next      int
}

func TestRandomHistoriesOfQuorumQueuesAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(120) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			run := &quorumRun{t: t, rnd: rand.New(rand.NewPCG(seed, 61)), dead: &deadOnes{}, got: map[string]uint64{}}
			run.arguments = message.Table{{Name: argDeadLetterExchange, Value: "d"}}
			run.m.limit = noLimit
			if seed%2 == 1 {
				run.m.limit, run.m.limited = int64(1+seed%5), true
				run.arguments = append(run.arguments, message.Field{Name: argDeliveryLimit, Value: run.m.limit})
			}
			if seed%3 > 0 {
				run.log = newFakeLog()
			}
			if seed%3 == 2 { // nearly everything goes through the store
				run.bounds = Bounds{Messages: 1 + int(seed)%4}
			}
			run.begin()
			for step := range 400 {
				run.step()
				run.compare(step)
			}
			run.finish()
		})
	}
}

func (run *quorumRun) begin() {
	run.rig = newRig(run.t, Quorum(), func(s *Spec, env *HostEnv) {
		inline(s, env)
		s.Durable, s.Arguments = true, run.arguments
		env.DeadLetter = run.dead.take
		env.Memory = run.bounds
		if run.log != nil {
			run.log.with(s, env)
		}
	})
	run.answer()
}

// answer has the store answer everything.
func (run *quorumRun) answer() {
	if run.log != nil {
		run.log.settleAll(run.rnd)
	}
}

func (run *quorumRun) step() {
	rnd, m := run.rnd, &run.m
	switch n := rnd.IntN(100); {
	case n < 35:
		b := NewBatch()
		for range 1 + rnd.IntN(6) {
			run.next++
			body := fmt.Sprintf("%06d", run.next)
			b.Publish(run.publish(body, rnd.IntN(2) == 0))
			m.put(&quorumMessage{body: body})
			m.deliver()
		}
		run.h.Post(b)
	case n < 70:
		run.settleSome()
	case n < 76 && len(m.all) < 4:
		c := &quorumConsumer{in: &inbox{t: run.t}, prefetch: 1 + rnd.IntN(5), noAck: rnd.IntN(6) == 0}
		c.in.onDeliver = run.note
		spec := Consumer{Tag: fmt.Sprint("c", run.next, "-", rnd.Int()), Prefetch: c.prefetch, NoAck: c.noAck, Exclusive: rnd.IntN(3) == 0}
		require.NoError(run.t, run.h.Consume(spec, c.in, c.in.attach, func() {}))
		m.all, m.turn = append(m.all, c), append(m.turn, c)
		m.deliver()
	case n < 82 && len(m.all) > 0:
		run.endConsumer(rnd.IntN(2) == 0)
	case n < 92:
		run.getOne(rnd.IntN(3) == 0)
	case n < 93:
		got, err := run.h.Purge()
		require.NoError(run.t, err)
		require.Equal(run.t, m.ready(), got)
		m.returned, m.fresh = nil, nil
	case n < 97 && run.log != nil:
		run.answer()
		run.log = run.log.crash()
		m.restart()
		run.begin()
	}
	run.answer()
}

// note checks the header of what a consumer gets.
func (run *quorumRun) note(ds []Delivery) {
	for i := range ds {
		d := &ds[i]
		require.Equal(run.t, d.Count > 0, d.Redelivered)
		requireCount(run.t, d.Msg, d.Count, d.Count > 0)
		run.got[string(d.Msg.Body())] = d.ID
	}
}

func requireCount(t *testing.T, m *message.Message, count uint32, shown bool) {
	props, err := m.Properties()
	require.NoError(t, err)
	n, ok := props.Headers.Get("x-delivery-count")
	require.Equal(t, shown, ok)
	if ok {
		require.Equal(t, int64(count), n)
	}
}

func (run *quorumRun) settleSome() {
	m := &run.m
	if len(m.held) == 0 {
		return
	}
	run.rnd.Shuffle(len(m.held), func(i, j int) { m.held[i], m.held[j] = m.held[j], m.held[i] })
	n := 1 + run.rnd.IntN(len(m.held))
	if run.log != nil {
		// What has to be loaded is not delivered before the next consumer's comes back.
		other := slices.IndexFunc(m.held[:n], func(x *quorumMessage) bool { return x.holder != m.held[0].holder })
		if other > 0 {
			n = other
		}
	}
	some := slices.Clone(m.held[:n])
	m.held = slices.Clone(m.held[n:])
	o := []Outcome{Ack, Requeue, Requeue, Discard, Return}[run.rnd.IntN(5)]
	b := NewBatch()
	for _, x := range some {
		b.Settle(Settle{ID: run.got[x.body], Consumer: x.holder, Outcome: o})
	}
	m.settle(o, some)
	run.h.Post(b)
}

// endConsumer cancels a consumer, which keeps what it holds or goes with its channel.
func (run *quorumRun) endConsumer(channel bool) {
	m := &run.m
	c := m.all[run.rnd.IntN(len(m.all))]
	is := func(x *quorumConsumer) bool { return x == c }
	m.all, m.turn = slices.DeleteFunc(m.all, is), slices.DeleteFunc(m.turn, is)
	if !channel {
		run.h.Cancel(c.in.id)
		return
	}
	run.h.CancelEnded(c.in.id)
	b := NewBatch()
	var its []*quorumMessage
	m.held = slices.DeleteFunc(m.held, func(x *quorumMessage) bool {
		if x.by == c {
			its = append(its, x)
			b.Settle(Settle{ID: run.got[x.body], Consumer: x.holder, Outcome: Return})
		}
		return x.by == c
	})
	m.settle(Return, its)
	run.h.Post(b)
}

func (run *quorumRun) getOne(noAck bool) {
	m := &run.m
	var reply GetReply
	b := NewBatch()
	done := make(chan struct{})
	b.control(run.h.getter(noAck, func(g GetReply) { reply = g }, done))
	run.h.Post(b)
	run.answer()
	<-done
	if m.ready() == 0 {
		require.Nil(run.t, reply.Msg)
		return
	}
	x := m.take()
	require.NotNil(run.t, reply.Msg)
	require.Equal(run.t, x.body, string(reply.Msg.Body()))
	require.Equal(run.t, m.ready(), reply.Remaining)
	require.Equal(run.t, x.count, reply.Count)
	requireCount(run.t, reply.Msg, x.count, true)
	reply.Msg.Release()
	run.got[x.body] = reply.ID
	if !noAck {
		x.by, x.holder = nil, 0
		m.held = append(m.held, x)
	}
}

func (run *quorumRun) compare(step int) {
	m := &run.m
	require.ElementsMatch(run.t, m.dead, run.dead.died, "step %d", step)
	m.dead, run.dead.died = nil, nil
	for _, c := range m.all {
		var want []string
		for _, x := range c.expect {
			want = append(want, x.body)
		}
		c.expect = nil
		require.Equal(run.t, want, bodiesOf(c.in.take()), "step %d", step)
	}
	s := run.stat()
	s.Consumers = 0
	require.Equal(run.t, Stat{Ready: m.ready(), Unacked: len(m.held), ReadyBytes: 6 * int64(m.ready())}, s, "step %d", step)
	if run.log != nil {
		require.Len(run.t, run.log.left(), m.ready()+len(m.held), "step %d", step)
		run.h.do(func() { checkMemory(run.t, run.h) })
	}
	require.True(run.t, run.answers.confirmedAll(run.seq), "step %d", step)
}

func (run *quorumRun) finish() {
	require.NoError(run.t, run.h.Delete(false, false, nil))
	run.balance()
}
