package pvec

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func collect[T any](v Vec[T]) (all []T) {
	for chunk := range v.Chunks() {
		all = append(all, chunk...)
	}
	return all
}

func TestVecAgreesWithASlice(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	var v Vec[int]
	var want []int
	type version struct {
		want []int
		v    Vec[int]
	}
	var versions []version
	step := func(push bool, i int) {
		switch {
		case len(want) > 0 && r.IntN(4) == 0:
			at := r.IntN(len(want))
			v = v.Set(at, -i)
			want[at] = -i
		case push || len(want) == 0:
			v = v.Push(i)
			want = append(want, i)
		default:
			v = v.Pop()
			want = want[:len(want)-1]
		}
		require.Equal(t, len(want), v.Len())
		if i%997 == 0 || len(want) < 3 {
			versions = append(versions, version{slices.Clone(want), v})
		}
	}
	// Past 32 and 1024 items, where the tree gains a level, up and down.
	for i := range 8000 {
		step(r.IntN(10) < 7, i)
	}
	for i := range 16000 {
		step(r.IntN(10) < 2, i)
	}
	for _, w := range versions {
		require.Equal(t, len(w.want), w.v.Len())
		require.True(t, slices.Equal(w.want, collect(w.v)))
		for i := 0; i < len(w.want); i += 31 {
			require.Equal(t, w.want[i], w.v.Get(i))
		}
	}
}

func TestVecEmptiedIsTheZeroVec(t *testing.T) {
	t.Parallel()
	var v Vec[int]
	for i := range 33 {
		v = v.Push(i)
	}
	for range 33 {
		v = v.Pop()
	}
	require.Equal(t, Vec[int]{}, v)
}

func TestVecWalkStopsEarly(t *testing.T) {
	t.Parallel()
	var v Vec[int]
	for i := range 5000 {
		v = v.Push(i)
	}
	var got []int
	for chunk := range v.Chunks() {
		got = append(got, chunk...)
		if len(got) >= 64 {
			break
		}
	}
	require.Len(t, got, 64)
}

func BenchmarkVecPush(b *testing.B) {
	var v Vec[int]
	for i := range 100_000 {
		v = v.Push(i)
	}
	b.ReportAllocs()
	for b.Loop() {
		v.Push(1)
	}
}
