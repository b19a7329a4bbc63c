package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// ruledModel is the naive model of a queue with rules and without consumers.
type ruledModel struct {
	rules rules
	ready []ruledMessage // sorted by body
	held  []ruledMessage
	dead  []string
}

type ruledMessage struct {
	body   string
	id     uint64
	expiry time.Time // zero for never
}

func (m *ruledModel) die(body string, why Reason) {
	if m.rules.buries {
		m.dead = append(m.dead, fmt.Sprint(body, " ", why, " ", m.rules.dlx, " ", m.rules.rekey))
	}
}

func (m *ruledModel) expire() {
	for len(m.ready) > 0 && !m.ready[0].expiry.IsZero() && !time.Now().Before(m.ready[0].expiry) {
		m.die(m.ready[0].body, Expired)
		m.ready = m.ready[1:]
	}
}

// obey takes another policy over.
func (m *ruledModel) obey(arguments, policy message.Table) {
	refused := m.rules.rejects
	m.rules = rulesOf(Spec{Arguments: arguments}, policy)
	if !refused || !m.rules.rejects {
		m.shorten()
	}
	m.expire()
}

func (m *ruledModel) dropOver() {
	if !m.rules.refuses {
		m.shorten()
	}
	m.expire()
}

func (m *ruledModel) shorten() {
	for int64(len(m.ready)) > m.rules.maxLength || int64(4*len(m.ready)) > m.rules.maxBytes {
		m.die(m.ready[0].body, MaxLen)
		m.ready = m.ready[1:]
	}
}

// publish reports whether the message was taken.
func (m *ruledModel) publish(body string, ttl int64) bool {
	if m.rules.refuses && (int64(len(m.ready)) >= m.rules.maxLength || int64(4*len(m.ready)+4) > m.rules.maxBytes) {
		if m.rules.refusedDie {
			m.die(body, MaxLen)
		}
		return false
	}
	if m.rules.ttl >= 0 && (ttl < 0 || m.rules.ttl < ttl) {
		ttl = m.rules.ttl
	}
	x := ruledMessage{body: body}
	if ttl >= 0 {
		x.expiry = time.Now().Add(time.Duration(ttl) * time.Millisecond)
	}
	m.ready = append(m.ready, x)
	m.dropOver()
	return true
}

// Whatever is published, taken, settled, waited for and set by policy, a queue with rules does
// what the naive model does: in memory, with a store, and with a store that holds
// nearly all of the bodies.
func TestRandomHistoriesUnderRulesAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { playRules(t, seed) })
		})
	}
}

func randomPolicy(rnd *rand.Rand) (p message.Table) {
	for _, f := range []message.Field{
		{Name: "dead-letter-exchange", Value: []string{"e", "f"}[rnd.IntN(2)]},
		{Name: "dead-letter-routing-key", Value: "r"},
		{Name: "message-ttl", Value: int64(rnd.IntN(4) * 20)},
		{Name: "max-length", Value: int64(rnd.IntN(9))},
		{Name: "max-length-bytes", Value: int64(rnd.IntN(40))},
		{Name: "overflow", Value: []string{"drop-head", "reject-publish", "reject-publish-dlx"}[rnd.IntN(3)]},
	} {
		if rnd.IntN(3) == 0 {
			p = append(p, f)
		}
	}
	return p
}

func playRules(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 51))
	var a message.Table
	add := func(name string, v any) { a = append(a, message.Field{Name: name, Value: v}) }
	if rnd.IntN(3) > 0 {
		add(argDeadLetterExchange, "d")
		if rnd.IntN(2) == 0 {
			add("x-dead-letter-routing-key", "k")
		}
	}
	if rnd.IntN(2) == 0 {
		add("x-message-ttl", int32(rnd.IntN(4)*20))
	}
	if rnd.IntN(2) == 0 {
		add("x-max-length", int32(rnd.IntN(9)))
	}
	if rnd.IntN(3) == 0 {
		add("x-max-length-bytes", int32(rnd.IntN(40)))
	}
	if rnd.IntN(2) == 0 {
		add("x-overflow", []string{"drop-head", "reject-publish", "reject-publish-dlx"}[rnd.IntN(3)])
	}
	m := ruledModel{rules: rulesOf(Spec{Arguments: a}, nil)}
	log := newFakeLog()
	stored := seed%3 > 0
	r, dead := newRuled(t, a, func(s *Spec, env *HostEnv) {
		if stored {
			log.with(s, env)
			if seed%3 == 2 {
				env.Memory = Bounds{Messages: 1}
			}
		}
	})
	settle := func() {
		synctest.Wait()
		if stored {
			log.settleAll(rnd)
		}
	}
	settle()
	want := map[uint64]bool{}
	for next := range 400 {
		time.Sleep(time.Duration(rnd.IntN(3)*7) * time.Millisecond)
		settle()
		m.expire()
		switch k := rnd.IntN(21); {
		case k == 20:
			p := randomPolicy(rnd)
			m.obey(a, p)
			r.h.SetPolicy(p)
		case k < 10:
			body := fmt.Sprintf("%04d", next)
			ttl := int64(rnd.IntN(6)-3) * 15
			p := r.publish(body, rnd.IntN(3) > 0)
			if ttl >= 0 {
				p.Msg.SetTTL(ttl)
			}
			b := NewBatch()
			b.Publish(p)
			want[p.Ref.Seq] = m.publish(body, ttl)
			r.h.Post(b)
		case k < 16:
			noAck := rnd.IntN(4) == 0
			var got GetReply
			b := NewBatch()
			done := make(chan struct{})
			b.control(r.h.getter(noAck, func(g GetReply) { got = g }, done))
			r.h.Post(b)
			settle()
			<-done
			if len(m.ready) == 0 {
				require.Nil(t, got.Msg)
				break
			}
			x := m.ready[0]
			m.ready = m.ready[1:]
			m.expire()
			require.NotNil(t, got.Msg, "%s was next", x.body)
			require.Equal(t, x.body, string(got.Msg.Body()))
			require.Equal(t, len(m.ready), got.Remaining)
			got.Msg.Release()
			if !noAck {
				x.id = got.ID
				m.held = append(m.held, x)
			}
		case len(m.held) > 0:
			rnd.Shuffle(len(m.held), func(i, j int) { m.held[i], m.held[j] = m.held[j], m.held[i] })
			n := 1 + rnd.IntN(len(m.held))
			o := []Outcome{Ack, Requeue, Discard}[rnd.IntN(3)]
			b := NewBatch()
			for _, x := range m.held[:n] {
				b.Settle(Settle{ID: x.id, Outcome: o})
				switch o {
				case Requeue:
					m.ready = append(m.ready, x)
				case Discard:
					m.die(x.body, Rejected)
				}
			}
			m.held = slices.Clone(m.held[n:])
			slices.SortFunc(m.ready, func(a, b ruledMessage) int { return strings.Compare(a.body, b.body) })
			m.dropOver()
			r.h.Post(b)
		}
		settle()
		m.expire()
		require.Equal(t, m.dead, dead.taken(), "step %d", next)
		m.dead = nil
		require.Equal(t, Stat{Ready: len(m.ready), Unacked: len(m.held), ReadyBytes: int64(4 * len(m.ready))}, r.stat(), "step %d", next)
		if stored {
			r.h.do(func() { checkMemory(t, r.h) })
		}
	}
	require.Equal(t, want, r.answers.verdicts)
	if stored {
		require.LessOrEqual(t, len(log.left()), len(m.ready)+len(m.held))
	}
	r.deleteAndBalance()
}
