package storetest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
)

func testEmpty(t *testing.T, b *bench) {
	b.requireAbsent("a")
	require.Empty(t, b.all("", ""))
	b.apply()
	require.Empty(t, b.all("", ""))
}

func testReadBack(_ *testing.T, b *bench) {
	b.apply(set("a", "1"), set("b", ""), set("\x00", "zero"), set("\xff\xff", "high"))
	b.requireValue("a", "1")
	b.requireValue("b", "")
	b.requireValue("\x00", "zero")
	b.requireValue("\xff\xff", "high")
	b.requireAbsent("aa")
	b.apply(set("a", "2"), del("b"))
	b.requireValue("a", "2")
	b.requireAbsent("b")
}

func testLastChangeCounts(t *testing.T, b *bench) {
	b.apply(set("a", "1"), set("a", "2"), set("b", "1"), del("b"), del("c"), set("c", "1"))
	require.Equal(t, []entry{{"a", "2"}, {"c", "1"}}, b.all("", ""))
}

func testDeleteAbsent(t *testing.T, b *bench) {
	b.apply(del("a"), del("a"))
	b.apply(set("b", "1"), del("a"))
	require.Equal(t, []entry{{"b", "1"}}, b.all("", ""))
}

func testCallerKeepsSlices(t *testing.T, b *bench) {
	large := bytes.Repeat([]byte("v"), 100_000)
	changes := []store.Change{{Key: []byte("k"), Value: []byte("v")}, {Key: []byte("large"), Value: large}}
	b.apply(changes...)
	for _, c := range changes {
		clear(c.Key)
		clear(c.Value)
	}
	b.requireValue("k", "v")
	b.requireValue("large", string(bytes.Repeat([]byte("v"), 100_000)))
	require.Equal(t, []string{"k", "large"}, b.keys("", ""))
}

func testOrder(t *testing.T, b *bench) {
	want := []string{"\x00", "\x00\x00", "\x00\x01", "\x01", "A", "B", "a", "a\x00", "a\x00b", "aa", "b", "\x7f", "\x80", "\xfe", "\xff", "\xff\x00", "\xff\xff"}
	for _, i := range rand.Perm(len(want)) {
		b.apply(set(want[i], "v"))
	}
	require.Equal(t, want, b.keys("", ""))
	b.reopen()
	require.Equal(t, want, b.keys("", ""))
}

func testRanges(t *testing.T, b *bench) {
	b.apply(set("a", ""), set("b", ""), set("b\x00", ""), set("ba", ""), set("c", ""), set("d", ""))
	for _, test := range []struct {
		from, to string
		want     []string
	}{
		{"", "", []string{"a", "b", "b\x00", "ba", "c", "d"}},
		{"b", "", []string{"b", "b\x00", "ba", "c", "d"}},
		{"b", "c", []string{"b", "b\x00", "ba"}},
		{"b\x00", "d", []string{"b\x00", "ba", "c"}},
		{"bb", "d", []string{"c"}},
		{"b", "b", nil},
		{"c", "b", nil},
		{"e", "", nil},
		{"0", "1", nil},
	} {
		require.Equal(t, test.want, b.keys(test.from, test.to), "from %q to %q", test.from, test.to)
	}
	b.apply(del("b"), del("c"))
	require.Equal(t, []string{"b\x00", "ba"}, b.keys("b", "d"))
}

func testKeysOnly(t *testing.T, b *bench) {
	b.apply(set("a", "1"), set("b", ""), set("c", "3"))
	var keys []string
	require.NoError(t, b.Scan([]byte("a"), []byte("c"), true, func(k, v []byte) error {
		require.Nil(t, v)
		keys = append(keys, string(k))
		return nil
	}))
	require.Equal(t, []string{"a", "b"}, keys)
}

func testScanError(t *testing.T, b *bench) {
	b.apply(set("a", "1"), set("b", "2"), set("c", "3"))
	stop := errors.New("stop")
	n := 0
	require.ErrorIs(t, b.Scan(nil, nil, false, func([]byte, []byte) error {
		if n++; n == 2 {
			return stop
		}
		return nil
	}), stop)
	require.Equal(t, 2, n)
}

func testUseError(t *testing.T, b *bench) {
	b.apply(set("a", "1"))
	stop := errors.New("stop")
	require.ErrorIs(t, b.Get([]byte("a"), func([]byte) error { return stop }), stop)
	require.ErrorIs(t, b.Get([]byte("b"), func([]byte) error {
		t.Error("use was called for an absent key")
		return nil
	}), store.ErrNotFound)
}

// testSizes goes around the sizes at which an implementation may change how it
// keeps a value.
func testSizes(t *testing.T, b *bench) {
	limits := b.Limits()
	sizes := []int{0, 1, 2, 15, 16, 17, 255, 256, 257, 511, 512, 513, 1023, 1024, 4095, 4096, 4097,
		8191, 8192, 16383, 16384, 16385, 65535, 65536, 131072, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3 << 20}
	random := rand.NewChaCha8([32]byte{1})
	want := map[string][]byte{}
	for i, size := range sizes {
		if int64(size)+2 > limits.MaxBytes {
			break
		}
		value := make([]byte, size)
		_, _ = random.Read(value)
		key := string([]byte{'k', byte(i)})
		want[key] = value
		b.apply(set(key, string(value)))
	}
	for range 2 {
		n := 0
		require.NoError(t, b.Scan(nil, nil, false, func(k, v []byte) error {
			require.True(t, bytes.Equal(want[string(k)], v), "%q has another value", k)
			n++
			return nil
		}))
		require.Len(t, want, n)
		for key, value := range want {
			require.NoError(t, b.Get([]byte(key), func(v []byte) error {
				require.True(t, bytes.Equal(value, v), "%q has another value", key)
				return nil
			}))
		}
		b.reopen()
	}
}

func testSpace(t *testing.T, b *bench) {
	b.apply(set("a", "1"))
	sp, err := b.Space()
	require.NoError(t, err)
	require.GreaterOrEqual(t, sp.Free, int64(0))
	require.GreaterOrEqual(t, sp.Reserve, int64(0))
	require.GreaterOrEqual(t, sp.Used, int64(0))
}
