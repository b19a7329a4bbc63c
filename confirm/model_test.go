package confirm_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/confirm"
)

// model is the rule of contract 06 §6 in the plainest form.
type model struct {
	unsettled map[uint64]int
	acks      []uint64
	nacks     []uint64
}

func (m *model) add(seq uint64, queues int) {
	if queues == 0 {
		m.acks = append(m.acks, seq)
		return
	}
	m.unsettled[seq] = queues
}

func (m *model) confirm(from, to uint64) {
	for seq := from; seq <= to; seq++ {
		left, ok := m.unsettled[seq]
		switch {
		case !ok:
		case left == 1:
			delete(m.unsettled, seq)
			m.acks = append(m.acks, seq)
		default:
			m.unsettled[seq] = left - 1
		}
	}
}

func (m *model) reject(seq uint64) {
	if _, ok := m.unsettled[seq]; ok {
		delete(m.unsettled, seq)
		m.nacks = append(m.nacks, seq)
	}
}

func (m *model) drain() (answers []confirm.Answer) {
	slices.Sort(m.acks)
	slices.Sort(m.nacks)
	coalesce := func(these, others []uint64, nack bool) {
		if len(these) == 0 {
			return
		}
		cutoff := these[len(these)-1] + 1
		for seq := range m.unsettled {
			cutoff = min(cutoff, seq)
		}
		for _, seq := range others {
			cutoff = min(cutoff, seq)
		}
		n, _ := slices.BinarySearch(these, cutoff)
		if n > 0 {
			answers = append(answers, confirm.Answer{Tag: these[n-1], Multiple: true, Nack: nack})
		}
		for _, seq := range these[n:] {
			answers = append(answers, confirm.Answer{Tag: seq, Nack: nack})
		}
	}
	if len(m.acks) == 1 {
		answers = append(answers, confirm.Answer{Tag: m.acks[0]})
	} else {
		coalesce(m.acks, m.nacks, false)
	}
	coalesce(m.nacks, m.acks, true)
	m.acks, m.nacks = nil, nil
	return answers
}

// play runs one random history against the model and the client. The seed's
// habits differ: how far confirms lag, how often they come in ranges, how many
// are refused, and whether some publishes are left unsettled for very long.
func play(t *testing.T, seed uint64, publishes int) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	lag := 1 + rnd.IntN(400)
	refuse := rnd.IntN(3) == 0
	stuckEvery := []int{0, 0, 50, 500}[rnd.IntN(4)]
	drainEvery := 1 + rnd.IntN(40)
	tr := confirm.New(nil)
	m := &model{unsettled: map[uint64]int{}}
	c := newClient(t, publishes)
	drain := func() {
		answers := tr.Drain(nil)
		require.Equal(t, m.drain(), answers, "seed %d", seed)
		require.Equal(t, len(m.unsettled), tr.Outstanding())
		c.take(answers)
	}
	var owed []uint64 // one entry for each answer a queue still owes
	settleOne := func() {
		i := rnd.IntN(len(owed))
		seq := owed[i]
		owed = slices.Delete(owed, i, i+1)
		switch {
		case refuse && rnd.IntN(10) == 0:
			tr.Reject(seq)
			m.reject(seq)
		case rnd.IntN(4) == 0:
			to := seq + uint64(rnd.IntN(8))
			tr.Confirm(seq, to)
			m.confirm(seq, to)
		default:
			tr.Confirm(seq, seq)
			m.confirm(seq, seq)
		}
	}
	var stuck []uint64
	for seq := uint64(1); seq <= uint64(publishes); seq++ {
		queues := rnd.IntN(4)
		tr.Add(seq, queues)
		m.add(seq, queues)
		for range queues {
			if stuckEvery > 0 && rnd.IntN(stuckEvery) == 0 {
				stuck = append(stuck, seq)
			} else {
				owed = append(owed, seq)
			}
		}
		for len(owed) > lag {
			settleOne()
		}
		if rnd.IntN(drainEvery) == 0 {
			drain()
		}
	}
	owed = append(owed, stuck...)
	for len(owed) > 0 {
		settleOne()
		if rnd.IntN(drainEvery) == 0 {
			drain()
		}
	}
	drain()
	require.Zero(t, c.open, "every publish is answered")
}

func TestRandomHistoriesMatchTheModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		play(t, seed, 2000)
	}
}

func FuzzHistory(f *testing.F) {
	f.Add(uint64(1), uint16(100))
	f.Fuzz(func(t *testing.T, seed uint64, publishes uint16) {
		play(t, seed, int(publishes%3000))
	})
}
