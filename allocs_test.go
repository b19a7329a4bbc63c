//go:build !race

// The race detector allocates by itself, and empties pools at random.

package warren_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A message costs nothing but its body on its way from the publisher's socket to
// the consumer's, and small bodies are pooled: nothing is left to allocate. The
// clients are in this process, but they do not allocate either.
//
// It is not parallel: the allocations of other tests would count.
func TestAMessageAllocatesNothingOnItsWay(t *testing.T) {
	const burst, most = 500, 0.1
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			_, addr := startForLoad(t)
			l := newLoad(t, addr, 16, m.manualAck, m.confirmed)
			sent := uint64(0)
			var failed error
			round := func() {
				sent += burst
				for _, err := range []error{l.publish(burst), l.consume(burst), l.confirms(sent)} {
					if err != nil {
						failed = err
					}
				}
			}
			for range 20 { // until buffers have grown
				round()
			}
			allocs := testing.AllocsPerRun(100, round) / burst
			require.NoError(t, failed)
			require.Less(t, allocs, most, "allocations for each message")
			t.Logf("%.4f allocations for each message", allocs)
		})
	}
}
