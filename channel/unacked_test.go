package channel

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/queue"
)

// naive is what unacked is, in a plain list.
type naive []unackedEntry

func (u *naive) take(keep func(unackedEntry) bool) (taken []unackedEntry) {
	var kept []unackedEntry
	for _, e := range *u {
		if keep(e) {
			kept = append(kept, e)
		} else {
			taken = append(taken, e)
		}
	}
	*u = kept
	return taken
}

func (u naive) has(tag uint64) bool {
	return slices.ContainsFunc(u, func(e unackedEntry) bool { return e.tag == tag })
}

func TestUnackedAgainstAPlainList(t *testing.T) {
	t.Parallel()
	hosts := []*queue.Host{{}, {}, {}}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		var u unacked
		var model naive
		var held []unackedEntry // settled in a transaction
		tag := uint64(0)
		growth := 1 + r.IntN(12) // how likely it is to grow
		for range 1000 {
			pick := uint64(r.Int64N(int64(tag) + 2))
			switch op := r.IntN(20); {
			case op < growth:
				tag += 1 + uint64(r.IntN(3)) // deliveries without acknowledgement in between
				e := unackedEntry{tag: tag, host: hosts[r.IntN(len(hosts))], id: r.Uint64(), by: &consumer{id: 1}}
				u.push(e)
				model = append(model, e)
			case op < 17:
				want := model.take(func(e unackedEntry) bool { return e.tag != pick })
				e, ok := u.take(pick)
				require.Equal(t, len(want) == 1, ok)
				if ok {
					require.Equal(t, want[0], e)
					if r.IntN(4) == 0 {
						held = append(held, e)
					}
				}
			case op == 17:
				var want []unackedEntry
				known := model.has(pick)
				if known {
					want = model.take(func(e unackedEntry) bool { return e.tag > pick })
				}
				got, ok := u.takeUpTo(pick, nil)
				require.Equal(t, known, ok)
				require.Equal(t, want, got)
			case op == 18:
				slices.SortFunc(held, func(a, b unackedEntry) int { return int(int64(a.tag) - int64(b.tag)) })
				model = append(model, held...)
				slices.SortFunc(model, func(a, b unackedEntry) int { return int(int64(a.tag) - int64(b.tag)) })
				u.restore(held)
				held = nil
			case r.IntN(10) == 0:
				require.Equal(t, model.take(func(unackedEntry) bool { return false }), u.takeAll(nil))
			default:
				h := hosts[r.IntN(len(hosts))]
				require.Equal(t, model.take(func(e unackedEntry) bool { return e.host != h }), u.takeConsumer(h, 1, nil))
			}
			require.Equal(t, len(model), u.live)
		}
		require.Equal(t, model.take(func(unackedEntry) bool { return false }), u.takeAll(nil))
	}
}

// One delivery that is never settled must not make the memory grow with all that
// are settled after it.
func TestUnackedMemoryFollowsWhatIsUnsettled(t *testing.T) {
	t.Parallel()
	h := &queue.Host{}
	var u unacked
	u.push(unackedEntry{tag: 1, host: h})
	for tag := uint64(2); tag < 100_000; tag++ {
		u.push(unackedEntry{tag: tag, host: h})
		if tag > 10 {
			_, ok := u.take(tag - 8)
			require.True(t, ok)
		}
	}
	require.LessOrEqual(t, len(u.ring), 64)
	_, ok := u.take(1)
	require.True(t, ok)
}

func TestUnackedGivesTheMemoryOfABurstBack(t *testing.T) {
	t.Parallel()
	h := &queue.Host{}
	for _, left := range []uint64{0, 1, 10} {
		var u unacked
		for tag := uint64(1); tag <= 100_000; tag++ {
			u.push(unackedEntry{tag: tag, host: h})
		}
		_, ok := u.takeUpTo(100_000-left, nil)
		require.True(t, ok)
		require.LessOrEqual(t, len(u.ring), 1024, "with %d left", left)
		require.Len(t, u.takeAll(nil), int(left))
	}
}
