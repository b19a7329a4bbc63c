package confirm

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// slots is how much a tracker keeps: the length of its ring and of its list.
func slots(t *Tracker) (ring, old int) { return len(t.waiting.ring), cap(t.waiting.old) }

func TestARingStaysSmallWhileConfirmsKeepUp(t *testing.T) {
	t.Parallel()
	tr := New(nil)
	for seq := uint64(1); seq <= 100_000; seq++ {
		tr.Add(seq, 1)
		if seq > 20 {
			tr.Confirm(seq-20, seq-20)
		}
		tr.Drain(nil)
	}
	ring, old := slots(tr)
	require.Equal(t, minRing, ring)
	require.Zero(t, old)
}

func TestMemoryShrinksAfterABurst(t *testing.T) {
	t.Parallel()
	const burst = 20_000
	fill := func() (*Tracker, uint64) {
		tr := New(nil)
		for seq := uint64(1); seq <= burst; seq++ {
			tr.Add(seq, 1)
		}
		ring, _ := slots(tr)
		require.GreaterOrEqual(t, ring, burst)
		return tr, burst
	}
	t.Run("when all is settled", func(t *testing.T) {
		t.Parallel()
		tr, last := fill()
		tr.Confirm(1, last)
		ring, _ := slots(tr)
		require.Zero(t, ring)
	})
	t.Run("while publishing goes on", func(t *testing.T) {
		t.Parallel()
		tr, last := fill()
		for seq := last + 1; seq < last+10*burst; seq++ {
			tr.Add(seq, 1)
			tr.Confirm(1, seq-10)
		}
		ring, _ := slots(tr)
		require.Equal(t, minRing, ring)
	})
	t.Run("what waits to be drained", func(t *testing.T) {
		t.Parallel()
		tr, last := fill()
		for seq := last; seq > 0; seq-- {
			tr.Confirm(seq, seq)
		}
		require.Len(t, tr.Drain(nil), 1)
		require.Zero(t, cap(tr.drainedAcks))
	})
}

func TestAQueueThatNeverAnswersDoesNotGrowTheRing(t *testing.T) {
	t.Parallel()
	const publishes, stuckEvery = 200_000, 2_000
	tr := New(nil)
	var stuck []uint64
	for seq := uint64(1); seq <= publishes; seq++ {
		tr.Add(seq, 1)
		if seq%stuckEvery == 1 {
			stuck = append(stuck, seq)
		} else {
			tr.Confirm(seq, seq)
		}
		tr.Drain(nil)
	}
	ring, old := slots(tr)
	require.LessOrEqual(t, ring, 4*minRing)
	require.LessOrEqual(t, old, 4*len(stuck))
	require.Equal(t, len(stuck), tr.Outstanding())

	last := stuck[len(stuck)-1]
	tr.Confirm(last, last)
	tr.Reject(stuck[1])
	tr.Reject(stuck[1])
	require.Equal(t, []Answer{{Tag: last}, {Tag: stuck[1], Nack: true}}, tr.Drain(nil))
	tr.Confirm(stuck[0], stuck[0])
	require.Equal(t, []Answer{{Tag: stuck[0]}}, tr.Drain(nil))
	tr.Confirm(1, publishes)
	require.Equal(t, []Answer{{Tag: stuck[len(stuck)-2], Multiple: true}}, tr.Drain(nil))
	require.Zero(t, tr.Outstanding())
	_, old = slots(tr)
	require.Zero(t, old)
}

func TestNothingIsAllocatedPerPublish(t *testing.T) {
	tr := New(func() {})
	answers := make([]Answer, 0, 16)
	seq := uint64(0)
	step := func() {
		for range 100 {
			seq++
			tr.Add(seq, 2)
			tr.Confirm(seq, seq)
			if seq > 50 {
				tr.Confirm(seq-50, seq-50)
			}
		}
		answers = tr.Drain(answers[:0])
	}
	step()
	step()
	require.Zero(t, testing.AllocsPerRun(100, step))
}

func BenchmarkPublishConfirmDrain(b *testing.B) {
	tr := New(func() {})
	var answers []Answer
	seq := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		seq++
		tr.Add(seq, 1)
		tr.Confirm(seq, seq)
		answers = tr.Drain(answers[:0])
	}
}

func BenchmarkBatchOf100(b *testing.B) {
	benchmark100(b, func(tr *Tracker, first uint64) { tr.Confirm(first, first+99) })
}

func BenchmarkOutOfOrder(b *testing.B) {
	benchmark100(b, func(tr *Tracker, first uint64) {
		for i := range uint64(100) {
			n := first + i*37%100
			tr.Confirm(n, n)
		}
	})
}

// benchmark100 adds a hundred publishes at a time and has them confirmed.
func benchmark100(b *testing.B, confirm func(tr *Tracker, first uint64)) {
	tr := New(func() {})
	var answers []Answer
	seq := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		first := seq + 1
		for range 100 {
			seq++
			tr.Add(seq, 1)
		}
		confirm(tr, first)
		answers = tr.Drain(answers[:0])
	}
}
