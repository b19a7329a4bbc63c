package badgerstore

import (
	"fmt"
	"path/filepath"

	badger "github.com/dgraph-io/badger/v4"
)

// Report is what Verify found.
type Report struct {
	// Records is how many keys have a value, Octets the length of keys and values.
	Records, Octets int64
	// Damaged is how many of the values cannot be read.
	Damaged int64
}

// Verify reads everything and verifies all checksums. It may run while the store is
// used. The report counts what was there when it began; the error is the first
// *DamagedError, also if others followed.
func (s *Store) Verify() (Report, error) {
	var r Report
	if !s.users.Enter() {
		return r, ErrClosed
	}
	defer s.users.Leave()
	if err := s.db.VerifyChecksum(); err != nil {
		return r, &DamagedError{Path: filepath.Join(s.dir, "*.sst"), Cause: err, Remedy: "restore a backup"}
	}
	tx := s.db.NewTransaction(false)
	defer tx.Discard()
	it := tx.NewIterator(badger.IteratorOptions{Prefix: []byte{userKeys}})
	defer it.Close()
	buf := s.buffers.get()
	defer s.buffers.put(buf)
	var first error
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		r.Records++
		if err := readItem(item, buf); err != nil {
			r.Damaged++
			if first == nil {
				first = s.damagedValue(item.Key()[1:], fmt.Errorf("value of %d octets: %w", item.ValueSize(), err))
			}
			continue
		}
		r.Octets += int64(len(item.Key())-1) + int64(len(*buf))
	}
	return r, first
}
