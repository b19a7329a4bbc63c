package pmap

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// checkShape fails if a node breaks what node's comment promises.
func checkShape[K comparable, V any](t *testing.T, n *node[K, V], shift uint) (entries int) {
	t.Helper()
	if shift < hashBits {
		require.Zero(t, n.data&n.down)
	}
	entries = len(n.entries)
	for _, sub := range n.nodes {
		entries += checkShape(t, sub, shift+levelBits)
	}
	if shift > 0 {
		require.Greater(t, entries, 1)
	}
	return entries
}

func checkMap(t *testing.T, want map[string]int, m Map[string, int]) {
	t.Helper()
	require.Equal(t, len(want), m.Len())
	require.Equal(t, want, maps.Collect(m.All()))
	if m.root != nil {
		require.Equal(t, len(want), checkShape(t, m.root, 0))
	}
}

func TestMapAgreesWithABuiltinMap(t *testing.T) {
	t.Parallel()
	hashes := map[string]func(string) uint64{
		"real hashes":       hashOf[string],
		"all the same":      func(string) uint64 { return 42 },
		"differ at the end": func(s string) uint64 { return uint64(len(s)%3) << 62 },
		"few":               func(s string) uint64 { return uint64(s[len(s)-1]) },
	}
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, 2))
			want := map[string]int{}
			var m Map[string, int]
			type version struct {
				want map[string]int
				m    Map[string, int]
			}
			var versions []version
			for i := range 4000 {
				key := fmt.Sprint("k", r.IntN(300))
				if r.IntN(100) < 45 {
					m = m.del(hash(key), key)
					delete(want, key)
				} else {
					m = m.set(hash(key), key, i)
					want[key] = i
				}
				if m.root != nil {
					got, ok := m.root.get(hash(key), key)
					w, wok := want[key]
					require.Equal(t, wok, ok)
					require.Equal(t, w, got)
				}
				if i%500 == 0 {
					versions = append(versions, version{maps.Clone(want), m})
				}
			}
			checkMap(t, want, m)
			for _, v := range versions {
				checkMap(t, v.want, v.m)
			}
			for key := range want {
				m = m.del(hash(key), key)
			}
			require.Equal(t, Map[string, int]{}, m)
		})
	}
}

func TestMapDeleteOfAMissingKeyGivesTheSameMap(t *testing.T) {
	t.Parallel()
	var m Map[string, int]
	require.Equal(t, m, m.Delete("a"))
	for i := range 100 {
		m = m.Set(fmt.Sprint(i), i)
	}
	require.Same(t, m.root, m.Delete("a").root)
}

func TestMapWalkStopsEarly(t *testing.T) {
	t.Parallel()
	var m Map[int, int]
	for i := range 1000 {
		m = m.Set(i, i)
	}
	seen := 0
	for range m.All() {
		if seen++; seen == 7 {
			break
		}
	}
	require.Equal(t, 7, seen)
}

func TestMapGetDoesNotAllocate(t *testing.T) {
	var m Map[string, int]
	for i := range 10_000 {
		m = m.Set(fmt.Sprint("key.", i), i)
	}
	key, raw := "key.77", []byte("key.4711")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if v, ok := m.Get(key); !ok || v != 77 {
			t.Fatal("lost key.77")
		}
		if v, ok := GetBytes(m, raw); !ok || v != 4711 {
			t.Fatal("lost key.4711")
		}
		if _, ok := GetBytes(m, nil); ok {
			t.Fatal("found what is not there")
		}
	}))
}

func BenchmarkMapGet(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var m Map[string, int]
			keys := make([]string, n)
			for i := range n {
				keys[i] = fmt.Sprint("some.key.", i)
				m = m.Set(keys[i], i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.Get(keys[i%n])
			}
		})
	}
}

func BenchmarkMapSet(b *testing.B) {
	var m Map[string, int]
	keys := make([]string, 100_000)
	for i := range keys {
		keys[i] = fmt.Sprint("some.key.", i)
		m = m.Set(keys[i], i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Set(keys[i%len(keys)], i)
	}
}
