package badgerstore

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/warrenmq/warren/store"
)

// pace says when there is work for the maintenance.
type pace struct {
	// tick is how often it looks.
	tick time.Duration
	// every is after how many written octets dead values are looked for.
	every int64
	// quiet is for how many ticks nothing must have been written for the last
	// garbage to be looked for.
	quiet int
}

// usualPace keeps garbage under a GiB at any speed of writing that was measured, and
// costs 2 % more writing.
var usualPace = pace{tick: time.Second, every: 512 * mib, quiet: 10}

const (
	// smallGarbage is how much must have been written for a quiet moment to be used.
	smallGarbage = 64 << 10
	// deleteWeight is what a deletion counts as, in octets written: what it deletes
	// may be much larger than its key.
	deleteWeight = 1 << 10
	// discardRatio is how much of a value log file must be dead for the rest of
	// it to be moved.
	discardRatio = 0.5
	// settleTime bounds how long one round waits for badger's compaction.
	settleTime = 10 * time.Second
	settlePoll = 20 * time.Millisecond
	// flattenFactor is by how much the directory may grow until the whole
	// tree is compacted, which finds dead values whose deletion has not met
	// them.
	flattenFactor = 2
	flattenSlack  = 1 << 30
)

// maintenance gives room back that deleted values take. Badger learns which
// values are dead when it merges a deletion with what it deletes, and that happens
// when the deletion leaves the memtable. A memtable of deletions of large values
// is nearly empty for a long time; so a round fills it up, waits until its table
// is merged, and then has badger remove or rewrite the files that are mostly dead.
type maintenance struct {
	s       *Store
	pace    pace
	written atomic.Int64 // octets since the last round, deletions at their weight
	stopped chan struct{}
	ended   chan struct{}
	// flattened is what the directory occupied after the tree was last
	// compacted as a whole.
	flattened int64
}

func (m *maintenance) start(s *Store, p pace) {
	m.s, m.pace = s, p
	m.stopped, m.ended = make(chan struct{}), make(chan struct{})
	// What an earlier process left is looked at in the first quiet moment.
	m.written.Store(smallGarbage)
	go m.run()
}

// stop ends the goroutine and waits for it. It may be called without start.
func (m *maintenance) stop() {
	if m.stopped == nil {
		return
	}
	close(m.stopped)
	<-m.ended
}

// wrote counts what an Apply has written.
func (m *maintenance) wrote(size batchSize) {
	m.written.Add(size.total + size.deletes*deleteWeight)
}

func (m *maintenance) run() {
	defer close(m.ended)
	ticker := time.NewTicker(m.pace.tick)
	defer ticker.Stop()
	var seen int64
	still, since := 0, 0 // ticks without a write, and since the last round
	for {
		select {
		case <-m.stopped:
			return
		case <-ticker.C:
		}
		written := m.written.Load()
		since++
		if still++; written != seen {
			seen, still = written, 0
		}
		quiet := still >= m.pace.quiet && written >= smallGarbage
		// Where room is short nothing but deletions is written, and who deletes
		// waits for the room: that may be little, and need not be quiet.
		short := since >= m.pace.quiet && written > 0 && m.short()
		if written < m.pace.every && !quiet && !short {
			continue
		}
		m.written.Add(-written)
		err := m.round(quiet || short)
		seen, still, since = m.written.Load(), 0, 0
		if err != nil && m.s.failure() == nil {
			m.s.log.Warn("dead values could not be removed; it is tried again later", "dir", m.s.dir, "error", err)
			m.written.Add(smallGarbage)
		}
	}
}

// stopping says whether Close waits.
func (m *maintenance) stopping() bool {
	select {
	case <-m.stopped:
		return true
	default:
		return false
	}
}

// round looks for dead values and gives their room back. thorough is for when
// nobody is kept waiting by it.
func (m *maintenance) round(thorough bool) error {
	begin := time.Now()
	if !m.roomToCollect() {
		return fmt.Errorf("badgerstore: collect %s: %w", m.s.dir, store.ErrNoSpace)
	}
	before, err := dirUsage(m.s.dir)
	if err != nil {
		return err
	}
	full, err := m.flush()
	if err != nil {
		return err
	}
	m.settle(full)
	if thorough || before > flattenFactor*m.flattened+flattenSlack {
		if err := m.s.db.Flatten(1); err != nil {
			m.s.log.Debug("the tree was not compacted as a whole", "dir", m.s.dir, "error", err)
		}
	}
	files, err := m.collect()
	if err != nil {
		return err
	}
	after, err := dirUsage(m.s.dir)
	if err != nil {
		return err
	}
	if thorough || m.flattened == 0 {
		m.flattened = after
	}
	m.s.log.Debug("looked for dead values", "dir", m.s.dir, "before", before, "after", after,
		"files", files, "took", time.Since(begin))
	return nil
}

// flush has badger write its memtable to a table by filling it up: there is no
// other way that does not stop readers and writers. It writes 16 MiB at the most, and
// gives the name of the log of that memtable, which badger removes when the table is
// there.
func (m *maintenance) flush() (full string, err error) {
	newest, err := m.newestMemLog()
	if err != nil {
		return newest, err
	}
	value := make([]byte, threshold-1)
	const perBatch = transaction / 2 / (threshold + changeOverhead)
	for range memTable/threshold/perBatch + 2 {
		if m.stopping() {
			return newest, nil
		}
		if err := m.pad(value, perBatch); err != nil {
			return newest, err
		}
		now, err := m.newestMemLog()
		if err != nil || now != newest {
			return newest, err
		}
	}
	return newest, nil
}

// pad writes one batch of padding.
func (m *maintenance) pad(value []byte, entries int) error {
	m.s.apply.Lock()
	defer m.s.apply.Unlock()
	if err := m.s.failure(); err != nil {
		return err
	}
	tx := m.s.db.NewTransaction(true)
	defer tx.Discard()
	for i := range entries {
		e := badger.NewEntry([]byte{padKeys, byte(i >> 8), byte(i)}, value).WithMeta(metaValue)
		if err := tx.SetEntry(e); err != nil {
			return m.s.fail(err)
		}
	}
	if err := tx.Commit(); err != nil {
		return m.s.fail(err)
	}
	return m.s.failure()
}

// newestMemLog names the log of the memtable that is written to.
func (m *maintenance) newestMemLog() (string, error) {
	entries, err := os.ReadDir(m.s.dir)
	if err != nil {
		return "", err
	}
	newest := ""
	for _, e := range entries { // sorted, and the names have a fixed width
		if filepath.Ext(e.Name()) == ".mem" {
			newest = e.Name()
		}
	}
	return newest, nil
}

// settle waits until a full memtable has become a table and no table is left in the
// first level.
func (m *maintenance) settle(full string) {
	poll := time.NewTicker(settlePoll)
	defer poll.Stop()
	late := time.NewTimer(settleTime)
	defer late.Stop()
	for m.exists(full) || m.s.db.Levels()[0].NumTables > 0 {
		select {
		case <-m.stopped:
			return
		case <-late.C:
			return
		case <-poll.C:
		}
	}
}

func (m *maintenance) exists(name string) bool {
	_, err := os.Stat(filepath.Join(m.s.dir, name))
	return err == nil
}

// short says whether Apply refuses what does not give room back.
func (m *maintenance) short() bool {
	free, err := m.s.free(m.s.dir)
	return err == nil && free < m.s.options.reserve()
}

// roomToCollect says whether the memtable may be filled up and the rest of a file
// be written anew. That is a part of the reserve; without it a collection could fill
// the disk.
func (m *maintenance) roomToCollect() bool {
	free, err := m.s.free(m.s.dir)
	return err == nil && free >= collectReserve()
}
