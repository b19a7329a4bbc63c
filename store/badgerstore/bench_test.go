package badgerstore_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/badgerstore"
)

// The benchmarks write where os.MkdirTemp does; with TMPDIR it can be another disk.
// They say how many times as long as a plain append with fsync of the same octets
// something takes, from one run.

// groups are numbers of messages of 1 KiB that are written together.
var groups = []int{1, 64, 256, 1024}

// benchGroups runs one benchmark for each size of group and way of writing. A way
// opens something and gives a function that writes the i-th group.
func benchGroups(b *testing.B, ways []way) {
	for _, n := range groups {
		value := make([]byte, n<<10)
		_, _ = rand.NewChaCha8([32]byte{3}).Read(value)
		var plain float64
		for i, w := range append([]way{{"append", openAppend}}, ways...) {
			b.Run(fmt.Sprintf("messages=%d/%s", n, w.name), func(b *testing.B) {
				write := w.open(b, value)
				b.ReportAllocs()
				b.SetBytes(int64(len(value)))
				done := uint64(0)
				begin := time.Now()
				for b.Loop() {
					write(done)
					done++
				}
				each := float64(time.Since(begin)) / float64(done)
				if i == 0 {
					plain = each
				} else if plain > 0 {
					b.ReportMetric(each/plain, "x-append")
				}
				b.ReportMetric(float64(n)*1e9/each, "messages/s")
			})
		}
	}
}

type way struct {
	name string
	open func(b *testing.B, value []byte) func(i uint64)
}

// openAppend appends to a file.
func openAppend(b *testing.B, value []byte) func(uint64) {
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, f.Close()) })
	return func(uint64) {
		_, err := f.Write(value)
		require.NoError(b, err)
		require.NoError(b, f.Sync())
	}
}

// keep is how many groups later a group is deleted.
const keep = 8

func BenchmarkApply(b *testing.B) {
	with := func(o badgerstore.Options) func(*testing.B, []byte) func(uint64) {
		return func(b *testing.B, value []byte) func(uint64) {
			s := open(b, b.TempDir(), o)
			return func(i uint64) {
				changes := []store.Change{{Key: key(int(i)), Value: value}}
				if i >= keep {
					changes = append(changes, store.Change{Key: key(int(i - keep)), Delete: true})
				}
				require.NoError(b, s.Apply(changes))
			}
		}
	}
	benchGroups(b, []way{
		{"durable", with(badgerstore.Options{})},
		{"encrypted", with(badgerstore.Options{EncryptionKey: []byte("0123456789abcdef")})},
		{"unsafe", with(badgerstore.Options{Unsafe: true})},
	})
}

// BenchmarkBadger compares settings of badger's with those that were chosen.
func BenchmarkBadger(b *testing.B) {
	const mib = 1 << 20
	with := func(sync bool, change func(badger.Options) badger.Options) func(*testing.B, []byte) func(uint64) {
		return func(b *testing.B, value []byte) func(uint64) {
			o := badger.DefaultOptions(b.TempDir()).WithLogger(nil).WithMetricsEnabled(false).
				WithSyncWrites(true).WithDetectConflicts(false).
				WithCompression(options.None).WithBlockCacheSize(0).
				WithMemTableSize(8 * mib).WithNumMemtables(1).WithNumLevelZeroTables(1).WithNumCompactors(2).
				WithValueThreshold(2 << 10).WithValueLogFileSize(32 * mib)
			db, err := badger.Open(change(o))
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, db.Close()) })
			return func(i uint64) {
				require.NoError(b, db.Update(func(tx *badger.Txn) error {
					if i >= keep {
						if err := tx.Delete(binary.BigEndian.AppendUint64(nil, i-keep)); err != nil {
							return err
						}
					}
					return tx.Set(binary.BigEndian.AppendUint64(nil, i), value)
				}))
				if sync {
					require.NoError(b, db.Sync())
				}
			}
		}
	}
	same := func(o badger.Options) badger.Options { return o }
	benchGroups(b, []way{
		{"as chosen", with(false, same)},
		// Not durable, see docs/architecture.md.
		{"SyncWrites off and Sync", with(true, func(o badger.Options) badger.Options { return o.WithSyncWrites(false) })},
		{"no value log below 1 MiB", with(false, func(o badger.Options) badger.Options {
			return o.WithMemTableSize(64 * mib).WithValueThreshold(mib)
		})},
		{"memtable of 64 MiB", with(false, func(o badger.Options) badger.Options { return o.WithMemTableSize(64 * mib) })},
		{"value log files of 1 GiB", with(false, func(o badger.Options) badger.Options { return o.WithValueLogFileSize(1<<30 - 1) })},
		{"conflict detection", with(false, func(o badger.Options) badger.Options { return o.WithDetectConflicts(true) })},
		{"Snappy", with(false, func(o badger.Options) badger.Options {
			return o.WithCompression(options.Snappy).WithBlockCacheSize(16 * mib)
		})},
		{"defaults and SyncWrites", with(false, func(o badger.Options) badger.Options {
			return badger.DefaultOptions(o.Dir).WithLogger(nil).WithSyncWrites(true)
		})},
	})
}

// BenchmarkGet reads values of several sizes at random.
func BenchmarkGet(b *testing.B) {
	for _, size := range []int{100, 10_000, 1_000_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := open(b, b.TempDir(), badgerstore.Options{Unsafe: true})
			const keys = 100
			for i := range keys {
				require.NoError(b, s.Apply([]store.Change{{Key: key(i), Value: make([]byte, size)}}))
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			i := 0
			for b.Loop() {
				i++
				require.NoError(b, s.Get(key(i%keys), func([]byte) error { return nil }))
			}
		})
	}
}

// BenchmarkOpen closes a store with little in it and opens it again.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		s, err := badgerstore.Open(dir, badgerstore.Options{})
		require.NoError(b, err)
		require.NoError(b, s.Apply(set("k", "v")))
		require.NoError(b, s.Close())
	}
}
