package erlang

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func negativeZero() float64 { return math.Copysign(0, -1) }

// The right side is what Erlang 25 prints.
func TestFloatsPrintAsInErlang(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]float64{
		"0.0":                     0,
		"-0.0":                    negativeZero(),
		"1.0":                     1,
		"10.0":                    10,
		"100.0":                   100,
		"1.0e3":                   1000,
		"12345.0":                 12345,
		"123450.0":                123450,
		"1.2345e6":                1234500,
		"123456.789":              123456.789,
		"123456789.0":             123456789,
		"-1234567.0":              -1234567,
		"-1.5":                    -1.5,
		"0.1":                     0.1,
		"0.01":                    0.01,
		"0.001":                   0.001,
		"0.0001":                  0.0001,
		"1.0e-5":                  0.00001,
		"0.00123":                 0.00123,
		"1.23e-4":                 0.000123,
		"1.25e-7":                 1.25e-7,
		"9007199254740991.0":      9007199254740991,
		"9.007199254740992e15":    9007199254740992,
		"9.007199254740994e16":    90071992547409940,
		"1.0e15":                  1e15,
		"1.0e22":                  1e22,
		"1.2345678901234567e19":   12345678901234567890,
		"4503599627370495.5":      4503599627370495.5,
		"1.7976931348623157e308":  math.MaxFloat64,
		"2.2250738585072014e-308": 2.2250738585072014e-308,
		"5.0e-324":                math.SmallestNonzeroFloat64,
	} {
		require.Equal(t, want, string(AppendFloat(nil, f)))
	}
}

func TestNumbersThatErlangDoesNotHave(t *testing.T) {
	t.Parallel()
	require.Equal(t, "+Inf", string(AppendFloat(nil, math.Inf(1))))
	require.Equal(t, "NaN", string(AppendFloat(nil, math.NaN())))
}

func TestStringsPrintAsInErlang(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ s, binary, str string }{
		{"", `<<>>`, `""`},
		{"abc", `<<"abc">>`, `"abc"`},
		{"a\"\\\n\x1b", `<<"a\"\\\n\e">>`, `"a\"\\\n\e"`},
		{"\x00\x01", `<<0,1>>`, `[0,1]`},
		{"\xe9", "<<\"\xe9\">>", "\"\xe9\""},
		{"é", `<<"é">>`, `"é"`}, // two letters, as Latin-1
		{"ā", `<<196,129>>`, `[196,129]`},
	} {
		require.Equal(t, c.binary, string(AppendBinary(nil, c.s)))
		require.Equal(t, c.str, string(AppendString(nil, c.s)))
	}
}
