package channel

import (
	"math/big"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var number = regexp.MustCompile(`^[+-]?[0-9]+$`)

// FuzzExpiration checks that exactly the numbers from 0 to the maximum pass.
func FuzzExpiration(f *testing.F) {
	for _, s := range []string{"", "0", "-0", "+1", "1.5", "10 ", "315360000000", "315360000001", "-99999999999999999999", "1\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var want int64
		good := false
		if number.MatchString(s) {
			n, _ := new(big.Int).SetString(s, 10)
			good = n.Sign() >= 0 && n.Cmp(big.NewInt(maxExpiration)) <= 0
			if good {
				want = n.Int64()
			}
		}
		ms, err := parseExpiration(s)
		require.Equal(t, good, err == nil)
		require.Equal(t, want, ms)
	})
}
