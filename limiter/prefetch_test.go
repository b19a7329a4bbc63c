package limiter_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/limiter"
)

func TestPrefetchWithoutALimitLetsEverythingPass(t *testing.T) {
	t.Parallel()
	var p limiter.Prefetch
	for range 10_000 {
		require.True(t, p.TryTake())
		require.True(t, p.TryPass())
	}
	require.False(t, p.Release(10_000))
	require.Zero(t, p.Held())
}

func TestPrefetchStopsAtItsLimit(t *testing.T) {
	t.Parallel()
	var p limiter.Prefetch
	p.SetLimit(2, 0)
	require.True(t, p.TryTake())
	require.True(t, p.TryTake())
	require.False(t, p.TryTake())
	require.True(t, p.Release(1), "the first one back opens it")
	require.False(t, p.Release(1), "it was open already")
	require.True(t, p.TryTake())
}

func TestPrefetchAMultipleAckGivesAllBack(t *testing.T) {
	t.Parallel()
	var p limiter.Prefetch
	p.SetLimit(3, 0)
	for range 3 {
		require.True(t, p.TryTake())
	}
	require.True(t, p.Release(3))
	require.Zero(t, p.Held())
}

func TestPrefetchNoAckPassesWithoutCountingButStopsAtTheLimit(t *testing.T) {
	t.Parallel()
	var p limiter.Prefetch
	p.SetLimit(1, 0)
	for range 5 {
		require.True(t, p.TryPass())
	}
	require.Zero(t, p.Held())
	require.True(t, p.TryTake())
	require.False(t, p.TryPass())
	require.True(t, p.Release(1))
	require.True(t, p.TryPass())
}

func TestPrefetchSetLimit(t *testing.T) {
	t.Parallel()
	type set struct {
		limit, unacked int
		opened         bool
	}
	tests := []struct {
		name  string
		takes int // after the first set
		sets  []set
		held  int
		room  int // deliveries that still fit; -1 without limit
	}{
		{"what is unacked counts when the limit begins", 0, []set{{5, 3, false}}, 3, 2},
		{"more unacked than the limit leaves no room", 0, []set{{2, 7, false}}, 7, 0},
		{"raising it opens", 3, []set{{3, 0, false}, {5, 99, true}}, 3, 2},
		{"raising it while there is room opens nothing", 2, []set{{3, 0, false}, {5, 0, false}}, 2, 3},
		{"lowering it recalls nothing", 3, []set{{5, 0, false}, {2, 0, false}}, 3, 0},
		{"raising it by too little opens nothing", 5, []set{{5, 0, false}, {2, 0, false}, {4, 0, false}}, 5, 0},
		{"taking it away opens", 3, []set{{3, 0, false}, {0, 3, true}}, 0, -1},
		{"setting it anew counts anew", 3, []set{{3, 0, false}, {0, 3, true}, {4, 1, false}}, 1, 3},
		{"a negative limit is none", 0, []set{{-1, 5, false}}, 0, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var p limiter.Prefetch
			for i, s := range tt.sets {
				require.Equal(t, s.opened, p.SetLimit(s.limit, s.unacked), "set %d", i)
				if i == 0 {
					for range tt.takes {
						require.True(t, p.TryTake())
					}
				}
			}
			require.Equal(t, tt.held, p.Held())
			if tt.room < 0 {
				require.Zero(t, p.Limit())
				return
			}
			for range tt.room {
				require.True(t, p.TryTake())
			}
			require.False(t, p.TryTake())
		})
	}
}

func TestPrefetchReleaseOfMoreThanIsHeldEmptiesIt(t *testing.T) {
	t.Parallel()
	var p limiter.Prefetch
	p.SetLimit(2, 0)
	require.True(t, p.TryTake())
	require.False(t, p.Release(50))
	require.False(t, p.Release(-3))
	require.Zero(t, p.Held())
}

func TestPrefetchLosesNoWakeUp(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 2, 7} {
		var p limiter.Prefetch
		p.SetLimit(limit, 0)
		runProtocol(6, 500, func(int) gate {
			return gate{tryTake: p.TryTake, release: func() bool { return p.Release(1) }}
		})
		require.Zero(t, p.Held())
	}
}

func BenchmarkPrefetch(b *testing.B) {
	var p limiter.Prefetch
	p.SetLimit(100, 0)
	b.ReportAllocs()
	for b.Loop() {
		p.TryTake()
		p.Release(1)
	}
}
