package badgerstore_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/badgerstore"
)

// crashed gives an image of a store that was not closed, after batches that have a
// small and a large value each.
func crashed(t testing.TB, batches int, o badgerstore.Options) string {
	t.Helper()
	s := open(t, t.TempDir(), o)
	for i := range batches {
		require.NoError(t, s.Apply(append(
			set(fmt.Sprintf("small%02d", i), fmt.Sprint(i)),
			set(fmt.Sprintf("large%02d", i), strings.Repeat(fmt.Sprint(i%10), 10_000))...)))
	}
	return crashImage(t, s.Dir())
}

// newest gives the last file of a kind.
func newest(t testing.TB, dir, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	return names[len(names)-1]
}

// contentEnd finds the end of what was written to a file that badger made longer.
func contentEnd(data []byte) int { return len(bytes.TrimRight(data, "\x00")) }

// requireBatches expects the first n batches of crashed, and none else.
func requireBatches(t testing.TB, s store.Store, n int) {
	t.Helper()
	count := 0
	require.NoError(t, s.Scan(nil, nil, true, func(k, _ []byte) error {
		count++
		return nil
	}))
	require.Equal(t, 2*n, count, "values")
	for i := range n {
		require.Equal(t, fmt.Sprint(i), get(t, s, fmt.Sprintf("small%02d", i)))
		require.Equal(t, strings.Repeat(fmt.Sprint(i%10), 10_000), get(t, s, fmt.Sprintf("large%02d", i)))
	}
}

// unsynced are the options for a look at an image: what is in it was synced when it
// was made.
func unsynced(o badgerstore.Options) badgerstore.Options {
	o.Unsafe = true
	return o
}

func TestAfterACrashNothingIsTorn(t *testing.T) {
	t.Parallel()
	for _, o := range []badgerstore.Options{{}, {EncryptionKey: []byte("0123456789abcdef")}} {
		s := open(t, crashed(t, 20, o), unsynced(o))
		requireBatches(t, s, 20)
		require.Equal(t, badgerstore.Recovery{}, s.Recovery())
	}
}

// The log of the memtable ends in the middle of the last batch, wherever that is.
func TestATornBatchIsCutOffAndCounted(t *testing.T) {
	t.Parallel()
	for _, o := range []badgerstore.Options{{}, {EncryptionKey: []byte("0123456789abcdef")}} {
		image := crashed(t, 5, o)
		log, err := os.ReadFile(newest(t, image, "*.mem"))
		require.NoError(t, err)
		end := contentEnd(log)
		for _, lost := range usuallyOr([]int{1, 40, 80}, []int{1, 2, 20, 40, 60, 80}) {
			dir := crashImage(t, image)
			change(t, newest(t, dir, "*.mem"), func(data []byte) []byte {
				clear(data[end-lost:])
				return data
			})
			s := open(t, dir, unsynced(o))
			requireBatches(t, s, 4)
			require.Equal(t, 1, s.Recovery().TornFiles, "%d octets less", lost)
			require.Positive(t, s.Recovery().TornBytes)
			require.NoError(t, s.Apply(set("again", "works")))
			require.NoError(t, s.Close())
			s = open(t, dir, unsynced(o))
			require.Equal(t, "works", get(t, s, "again"))
			require.Equal(t, badgerstore.Recovery{}, s.Recovery())
		}
	}
}

// Pages of the last batch may be there in any combination.
func TestABatchOfWhichPagesAreMissingIsCutOff(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), badgerstore.Options{})
	require.NoError(t, s.Apply(set("before", "1")))
	before := contentEnd(fileData(t, newest(t, s.Dir(), "*.mem")))
	var changes []store.Change
	for i := range 30 {
		changes = append(changes, set(fmt.Sprintf("k%02d", i), strings.Repeat("v", 1000))...)
	}
	require.NoError(t, s.Apply(changes))
	image := crashImage(t, s.Dir())
	r := rand.New(rand.NewPCG(1, 1))
	for range usuallyOr(6, 50) {
		dir := crashImage(t, image)
		change(t, newest(t, dir, "*.mem"), func(data []byte) []byte {
			missing := false
			for at := (before/4096 + 1) * 4096; at < contentEnd(data); at += 4096 {
				if r.IntN(3) == 0 {
					clear(data[at : at+4096])
					missing = true
				}
			}
			if !missing {
				clear(data[before+1:])
			}
			return data
		})
		s := open(t, dir, unsynced(badgerstore.Options{}))
		require.Equal(t, "1", get(t, s, "before"))
		require.ErrorIs(t, s.Get([]byte("k00"), nil), store.ErrNotFound)
		require.Equal(t, 1, s.Recovery().TornFiles)
		require.NoError(t, s.Close())
	}
}

func TestGarbageAtTheEndsIsCutOffAndCounted(t *testing.T) {
	t.Parallel()
	image := crashed(t, 5, badgerstore.Options{})
	for _, pattern := range []string{"*.mem", "*.vlog"} {
		dir := crashImage(t, image)
		change(t, newest(t, dir, pattern), func(data []byte) []byte {
			copy(data[contentEnd(data)+8:], strings.Repeat("garbage", 100))
			return data
		})
		s := open(t, dir, unsynced(badgerstore.Options{}))
		requireBatches(t, s, 5)
		require.Equal(t, 1, s.Recovery().TornFiles, pattern)
		require.GreaterOrEqual(t, s.Recovery().TornBytes, int64(700), pattern)
	}
}

// What follows damage was confirmed; badger would drop it without a word.
func TestADamagedLogIsRefusedAndCanBeSalvaged(t *testing.T) {
	t.Parallel()
	dir := crashed(t, 10, badgerstore.Options{})
	path := newest(t, dir, "*.mem")
	change(t, path, func(data []byte) []byte {
		data[contentEnd(data)*55/100] ^= 0x55 // in the sixth batch
		return data
	})
	requireRefused(t, dir, badgerstore.Options{}, path, "is damaged", "batches follow", "Options.Salvage")
	s := open(t, dir, badgerstore.Options{Salvage: true})
	requireBatches(t, s, 5)
	require.Equal(t, 1, s.Recovery().TornFiles)
}

func TestLogsWhoseMakingWasKilled(t *testing.T) {
	t.Parallel()
	dir := crashed(t, 3, badgerstore.Options{})
	for _, name := range []string{"00098.mem", "00099.mem"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	requireBatches(t, open(t, dir, badgerstore.Options{}), 3)
}

func TestReadOnlyRefusesWhatACrashLeft(t *testing.T) {
	t.Parallel()
	requireRefused(t, crashed(t, 2, badgerstore.Options{}), badgerstore.Options{ReadOnly: true}, "not closed in an orderly way", "open it for writing once")
}

func fileData(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

func FuzzReadLog(f *testing.F) {
	log := fileData(f, newest(f, crashed(f, 3, badgerstore.Options{}), "*.mem"))
	log = log[:contentEnd(log)+4]
	f.Add(log)
	f.Add(log[:len(log)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		end, lost := badgerstore.ReadLog(data)
		require.LessOrEqual(t, end, len(data))
		require.GreaterOrEqual(t, end, min(20, len(data)))
		require.GreaterOrEqual(t, lost, 0)
		again, none := badgerstore.ReadLog(data[:end])
		require.Equal(t, end, again, "what is kept is kept again")
		require.Zero(t, none)
	})
}
