package pmap

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func collect[K comparable, V any](o Ordered[K, V]) (all []Entry[K, V]) {
	for chunk := range o.Chunks() {
		all = append(all, chunk...)
	}
	return all
}

func TestOrderedAgreesWithASlice(t *testing.T) {
	t.Parallel()
	for _, keys := range []int{3, 12, 40, 3000} {
		r := rand.New(rand.NewPCG(uint64(keys), 1))
		var o Ordered[int, int]
		var want []Entry[int, int]
		type version struct {
			want []Entry[int, int]
			o    Ordered[int, int]
		}
		var versions []version
		for i := range 4 * keys {
			k := r.IntN(keys)
			at := slices.IndexFunc(want, func(e Entry[int, int]) bool { return e.Key == k })
			v, ok := o.Get(k)
			require.Equal(t, at >= 0, ok)
			switch {
			case at >= 0 && r.IntN(2) == 0:
				require.Equal(t, want[at].Value, v)
				o = o.Delete(k)
				last := len(want) - 1
				want[at] = want[last]
				want = want[:last]
			case at >= 0:
				o = o.Set(k, i)
				want[at].Value = i
			case r.IntN(8) == 0:
				o = o.Delete(k)
			default:
				o = o.Set(k, i)
				want = append(want, Entry[int, int]{k, i})
			}
			require.Equal(t, len(want), o.Len())
			if i%(keys/3) == 0 {
				versions = append(versions, version{slices.Clone(want), o})
			}
		}
		versions = append(versions, version{want, o})
		for _, v := range versions {
			require.Equal(t, len(v.want), v.o.Len())
			require.True(t, slices.Equal(v.want, collect(v.o)))
		}
		for _, e := range want {
			o = o.Delete(e.Key)
		}
		require.Zero(t, o.Len())
		require.Empty(t, collect(o))
	}
}

func TestOrderedWalkStopsEarly(t *testing.T) {
	t.Parallel()
	var o Ordered[int, int]
	for i := range 5000 {
		o = o.Set(i, i)
	}
	seen := 0
	for chunk := range o.Chunks() {
		if seen += len(chunk); seen >= 64 {
			break
		}
	}
	require.Equal(t, 64, seen)
}

func TestOrderedWalkDoesNotAllocate(t *testing.T) {
	var o Ordered[int, int]
	for i := range 5000 {
		o = o.Set(i, i)
	}
	sum := 0
	require.Zero(t, testing.AllocsPerRun(10, func() {
		for chunk := range o.Chunks() {
			for _, e := range chunk {
				sum += e.Value
			}
		}
	}))
}
