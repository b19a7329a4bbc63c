package limiter_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/limiter"
)

func TestWindowWithoutALimitLetsEverythingPass(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]*limiter.Window{"zero": {}, "negative": limiter.NewWindow(-1)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 1000 {
				require.True(t, w.TryTake(1<<20))
			}
			require.False(t, w.Release(1000<<20))
			require.Zero(t, w.Used())
		})
	}
}

func TestWindowSteps(t *testing.T) {
	t.Parallel()
	type step struct {
		take, release int
		ok            bool // take: let through; release: opened
		used          int
		closed        bool
	}
	tests := []struct {
		name  string
		limit int
		steps []step
	}{
		{"fills up to the limit exactly", 100, []step{
			{take: 60, ok: true, used: 60},
			{take: 40, ok: true, used: 100},
			{take: 1, used: 100, closed: true},
		}},
		{"opens at half and not before", 100, []step{
			{take: 100, ok: true, used: 100},
			{take: 1, used: 100, closed: true},
			{release: 49, used: 51, closed: true},
			{take: 1, used: 51, closed: true},
			{release: 1, ok: true, used: 50},
			{release: 10, used: 40},
		}},
		{"nobody was refused, so nothing opens", 100, []step{
			{take: 100, ok: true, used: 100},
			{release: 100, used: 0},
		}},
		{"lets one through however large", 100, []step{
			{take: 5000, ok: true, used: 5000},
			{take: 1, used: 5000, closed: true},
			{release: 5000, ok: true, used: 0},
			{take: 5000, ok: true, used: 5000},
		}},
		{"a large one is not overtaken for ever by small ones", 100, []step{
			{take: 30, ok: true, used: 30},
			{take: 90, used: 30, closed: true},
			{take: 1, used: 30, closed: true},
			{release: 30, ok: true, used: 0},
			{take: 90, ok: true, used: 90},
		}},
		{"a large one may be refused again after it opened", 100, []step{
			{take: 30, ok: true, used: 30},
			{take: 90, used: 30, closed: true},
			{release: 10, ok: true, used: 20},
			{take: 90, used: 20, closed: true},
			{release: 20, ok: true, used: 0},
			{take: 90, ok: true, used: 90},
		}},
		{"a limit of one octet", 1, []step{
			{take: 1, ok: true, used: 1},
			{take: 1, used: 1, closed: true},
			{release: 1, ok: true, used: 0},
		}},
		{"releasing too much empties it", 100, []step{
			{take: 10, ok: true, used: 10},
			{release: 500, used: 0},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := limiter.NewWindow(tt.limit)
			for i, s := range tt.steps {
				if s.release > 0 {
					require.Equal(t, s.ok, w.Release(s.release), "step %d", i)
				} else {
					require.Equal(t, s.ok, w.TryTake(s.take), "step %d", i)
				}
				require.Equal(t, s.used, w.Used(), "step %d", i)
				require.Equal(t, s.closed, w.Closed(), "step %d", i)
			}
		})
	}
}

func TestWhatIsTakenWithoutAskingCounts(t *testing.T) {
	t.Parallel()
	w := limiter.NewWindow(100)
	w.Take(150)
	require.Equal(t, 150, w.Used())
	require.False(t, w.Closed(), "nobody was refused")
	require.False(t, w.TryTake(1))
	w.Take(50)
	require.True(t, w.Closed())
	require.False(t, w.Release(149))
	require.True(t, w.Release(1), "half of it is free")
	require.Equal(t, 50, w.Used())
}

func TestWindowNeverHoldsMoreThanItsLimitAndOne(t *testing.T) {
	t.Parallel()
	const limit = 1000
	w := limiter.NewWindow(limit)
	rnd := rand.New(rand.NewPCG(1, 2))
	var held []int
	for range 20_000 {
		if n := 1 + rnd.IntN(400); rnd.IntN(2) == 0 && w.TryTake(n) {
			held = append(held, n)
		} else if len(held) > 0 {
			w.Release(held[0])
			held = held[1:]
		}
		sum := 0
		for _, n := range held {
			sum += n
		}
		require.Equal(t, sum, w.Used())
		require.LessOrEqual(t, sum, limit)
		if len(held) == 0 {
			require.False(t, w.Closed(), "an empty window has nobody left to open it")
		}
	}
}

func TestWindowLosesNoWakeUp(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 100, 1000} {
		w := limiter.NewWindow(limit)
		runProtocol(6, 500, func(taker int) gate {
			n := 1 + taker*37 // The largest is beyond the smaller limits.
			return gate{
				tryTake: func() bool { return w.TryTake(n) },
				release: func() bool { return w.Release(n) },
			}
		})
		require.Zero(t, w.Used())
		require.False(t, w.Closed())
	}
}

func BenchmarkWindow(b *testing.B) {
	w := limiter.NewWindow(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		w.TryTake(256)
		w.Release(256)
	}
}
