package queue

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAFifoKeepsOrderAndLittleMemory(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 1))
	var f fifo[int]
	next, first := 0, 0
	for range 20_000 {
		if rnd.IntN(2) == 0 || f.len() == 0 {
			f.push(next)
			next++
		} else {
			require.Equal(t, first, *f.first())
			require.Equal(t, first, f.pop())
			first++
		}
		require.Len(t, f.all(), next-first)
	}
	require.Less(t, cap(f.items), 2000)
	for range 2 * maxKept {
		f.push(0)
	}
	for f.len() > 0 {
		f.pop()
	}
	require.Zero(t, cap(f.items))
}
