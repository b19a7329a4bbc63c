package message

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestIntTakesEveryIntegerTypeAndNoOther(t *testing.T) {
	t.Parallel()
	for _, v := range []any{int8(9), uint8(9), int16(9), uint16(9), int32(9), uint32(9), int64(9), 9, uint(9), uint64(9)} {
		n, ok := Int(v)
		require.True(t, ok, "%T", v)
		require.Equal(t, int64(9), n)
	}
	for _, v := range []any{nil, true, float32(9), float64(9), Decimal{0, 9}, "9", []byte{9}, time.Unix(9, 0), Table{}, []any{9}, uint64(math.MaxInt64 + 1)} {
		_, ok := Int(v)
		require.False(t, ok, "%T", v)
	}
}

func TestTypeNameOfWhatNoTableHolds(t *testing.T) {
	t.Parallel()
	require.Equal(t, "unsupported", TypeName(struct{}{}))
	require.Equal(t, "unsupported", TypeName(uint64(math.MaxUint64)))
}

func TestTablesAreEqualWhenTheirOctetsAre(t *testing.T) {
	t.Parallel()
	for i, a := range everyTag {
		for j, b := range everyTag {
			got := Table{{"k", a.value}}.Equal(Table{{"k", b.value}})
			require.Equal(t, i == j, got, "%#v and %#v", a.value, b.value)
		}
	}
	require.True(t, Table(nil).Equal(Table{}))
	require.False(t, Table{{"a", 1}}.Equal(Table{{"b", 1}}))
	require.False(t, Table{{"a", 1}, {"b", 1}}.Equal(Table{{"b", 1}, {"a", 1}}), "order counts")
	require.False(t, Table{{"a", 0.0}}.Equal(Table{{"a", math.Copysign(0, -1)}}))
	require.True(t, Table{{"a", time.Unix(5, 1)}}.Equal(Table{{"a", time.Unix(5, 2).UTC()}}), "whole seconds count")
	require.False(t, Table{{"a", []string{}}}.Equal(Table{{"a", []string{}}}), "not a table's value")
}

func TestSortedIsStableAndLeavesTheOriginal(t *testing.T) {
	t.Parallel()
	in := Table{{"b", 1}, {"a", Table{{"z", 1}, {"y", 2}}}, {"b", 0}, {"B", 3}}
	require.Equal(t, Table{{"B", 3}, {"a", Table{{"z", 1}, {"y", 2}}}, {"b", 1}, {"b", 0}}, in.Sorted())
	require.Equal(t, "b", in[0].Name)
}

func TestCloneSharesNothing(t *testing.T) {
	t.Parallel()
	in := Table{{"a", []any{Table{{"b", []byte{1}}}, nil}}, {"c", "s"}}
	out := in.Clone()
	require.Equal(t, in, out)
	array := out[0].Value.([]any)
	array[0].(Table)[0].Value.([]byte)[0] = 2
	array[1] = "changed"
	out[1].Name = "d"
	require.Equal(t, Table{{"a", []any{Table{{"b", []byte{1}}}, nil}}, {"c", "s"}}, in)
	require.Nil(t, Table(nil).Clone())
	require.Equal(t, Table{{"a", []any(nil)}}, Table{{"a", []any(nil)}}.Clone())
}
