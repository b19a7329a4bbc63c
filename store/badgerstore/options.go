package badgerstore

import (
	"errors"
	"fmt"
	"log/slog"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// Options says how a directory is used. The zero value is durable and sensible.
type Options struct {
	// Unsafe leaves out the fsync of each Apply. UNSAFE: a crash of the machine
	// loses confirmed messages, and may leave damaged ones behind. A crash or a
	// kill of the process alone loses nothing. It is several times faster on a
	// slow disk.
	Unsafe bool
	// ReadOnly opens for inspection: Apply is refused and nothing is written.
	// The directory must exist and must have been closed in an orderly way. Any
	// number of processes can have it open so, but none for writing. Not on Windows.
	ReadOnly bool
	// Salvage goes on where Open would refuse with a *DamagedError because a log
	// is damaged before its end: what comes after the damage in that file is lost.
	Salvage bool
	// EncryptionKey encrypts what is written, by AES with a key of 16, 24 or 32
	// octets, nil for none. A directory is encrypted from its first day or never.
	// It costs processor time for each octet and up to 32 MiB for caches.
	EncryptionKey []byte
	// Compress compresses tables by Snappy. It does nothing for values that are
	// in the value log, which are most of what a broker writes, and costs up to
	// 16 MiB for a cache.
	Compress bool
	// Reserve is how much room there must be for Apply to write, in octets. 0
	// means what badger may need on its own, about 140 MiB; more leaves
	// room to others on the same file system; less risks the end of the process.
	Reserve int64
	// Logger takes what the store and badger have to say; nil is silence.
	// Badger's words come at debug, its warnings and errors as such.
	Logger *slog.Logger
}

// How badger is set up. Measured with the benchmarks of this package; the sizes also
// bound memory (a few memtables and the tables being built from them) and the
// reserve.
const (
	mib = 1 << 20

	// memTable is what one memtable takes before it becomes a table. Badger bounds
	// a transaction to 15 % of it, values in the value log not counted.
	memTable    = 8 * mib
	transaction = memTable * 15 / 100
	// memTables is how many full memtables may wait for being written.
	memTables = 1
	// valueLogFile is when a file of the value log is full. Space comes back by
	// whole files, each of which Apply waits for; and each is open and mapped.
	valueLogFile = 32 * mib
	// threshold is from which length on a value goes to the value log. A smaller
	// one needs one fsync, not two; a larger one is written once, not three
	// times, and costs a tenth of the memory.
	threshold = 2 << 10
	// stallTables is at how many tables of the first level writing waits.
	stallTables = 6
	baseLevel   = 10 * mib
	cache       = 16 * mib

	// What one Apply takes. maxChanges times what a change has in a transaction
	// at the most, when its value is in the value log or below smallValue, is less
	// than a transaction: see commit.
	maxBytes       = 8 * mib
	maxChanges     = 4096
	maxKey         = 128
	smallValue     = 128
	changeOverhead = 16
)

// badgerOptions gives badger's options for dir.
func (o Options) badgerOptions(dir string, log badger.Logger) badger.Options {
	b := badger.DefaultOptions(dir).
		WithLogger(log).
		WithSyncWrites(!o.Unsafe).
		WithReadOnly(o.ReadOnly).
		// One goroutine writes, so that no two transactions conflict.
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithMemTableSize(memTable).
		WithNumMemtables(memTables).
		WithValueThreshold(threshold).
		WithValueLogFileSize(valueLogFile).
		// A table goes to the base level as soon as there is one: only this tells
		// badger which values are dead.
		WithNumLevelZeroTables(1).
		WithNumLevelZeroTablesStall(stallTables).
		WithBaseLevelSize(baseLevel).
		WithNumCompactors(2).
		WithNumGoroutines(2).
		WithBaseTableSize(1 << 20).
		WithVerifyValueChecksum(true).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0)
	if o.Compress {
		b = b.WithCompression(options.Snappy).WithBlockCacheSize(cache)
	}
	if len(o.EncryptionKey) > 0 {
		b = b.WithEncryptionKey(o.EncryptionKey).WithBlockCacheSize(cache).WithIndexCacheSize(cache)
	}
	return b
}

// minReserve is what badger may write on its own, or for one more Apply, before
// the next look at the free space.
func minReserve() int64 {
	const batch = memTable * 15 / 100
	logs := int64(memTables+2) * (memTable + batch)       // the memtables' logs
	values := int64(valueLogFile + batch)                 // the log that is written
	collected := int64(valueLogFile) / 2                  // and what a collection moves into it
	compaction := int64(stallTables)*memTable + baseLevel // tables that are merged are there twice
	return logs + values + collected + compaction
}

func (o Options) reserve() int64 {
	if o.Reserve == 0 {
		return minReserve()
	}
	return o.Reserve
}

// check says what is wrong with the options.
func (o Options) check() error {
	switch len(o.EncryptionKey) {
	case 0, 16, 24, 32:
	default:
		return fmt.Errorf("badgerstore: an encryption key of %d octets; 16, 24 or 32 are needed", len(o.EncryptionKey))
	}
	if o.Reserve < 0 {
		return errors.New("badgerstore: a reserve below 0")
	}
	return nil
}
