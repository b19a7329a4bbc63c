package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/warrenmq/warren/internal/gate"
	"github.com/warrenmq/warren/store"
)

var (
	// ErrClosed is what the methods return after Close.
	ErrClosed = errors.New("badgerstore: the store is closed")
	// ErrNeedsWriting is what Open returns, in an *OpenError, for a directory that
	// cannot be opened with Options.ReadOnly: after a crash, or on Windows.
	ErrNeedsWriting = errors.New("it can be opened for writing only")
	// ErrReadOnly is what Apply returns when the store was opened with
	// Options.ReadOnly.
	ErrReadOnly = errors.New("badgerstore: the store is open for reading only")
)

// Store is an open directory. Get, Scan, Space, Backup and Verify may be called
// from any goroutine, Apply from one at a time.
type Store struct {
	dir      string
	options  Options
	log      *slog.Logger
	db       *badger.DB
	recovery Recovery

	// users are inside a method; Close waits for them.
	users gate.Gate
	// apply keeps Apply and the maintenance's own writes apart.
	apply sync.Mutex
	// deleted is what Apply has deleted, and not set again, since files of the value
	// log are being collected; nil while none are. It is guarded by apply.
	deleted map[string]struct{}
	// failed is why Apply fails for ever.
	failed atomic.Pointer[error]
	// free tells the room on the file system; tests replace it.
	free func(dir string) (int64, error)
	used usage
	// buffers are for Get and Scan.
	buffers buffers

	maintenance maintenance
}

var _ store.Store = (*Store)(nil)

// Every key of a user begins with userKeys, so that the empty key is a key and
// none is like badger's own or those of padding.
const (
	padKeys  = 0
	userKeys = 1
)

// meta octets of badger's entries. Badger gives an empty value for one that it
// cannot read; this tells them apart.
const (
	metaEmpty  = 1
	metaValue  = 2
	metaPadded = 3 // the value, zeros, and its length in lengthSize octets
)

const lengthSize = 2

// Dir is the directory.
func (s *Store) Dir() string { return s.dir }

// Recovery says what Open found that an earlier process had not finished.
func (s *Store) Recovery() Recovery { return s.recovery }

// Apply implements store.Store. One call is one transaction of badger's.
//
// It looks at the free space first and returns an error that wraps
// store.ErrNoSpace if there is less than the reserve. Batches that only delete or
// shrink are let through down to three quarters of the reserve, since they are how
// space comes back.
// A batch beyond Limits changes nothing and can be tried in smaller parts.
func (s *Store) Apply(changes []store.Change) error {
	if !s.users.Enter() {
		return ErrClosed
	}
	defer s.users.Leave()
	if s.options.ReadOnly {
		return ErrReadOnly
	}
	size, err := s.measure(changes)
	if err != nil || len(changes) == 0 {
		return err
	}
	s.apply.Lock()
	defer s.apply.Unlock()
	if err := s.failure(); err != nil {
		return err
	}
	if err := s.checkSpace(changes); err != nil {
		if !errors.Is(err, store.ErrNoSpace) {
			err = s.fail(err)
		}
		return err
	}
	if err := s.commit(changes, size); err != nil {
		return s.fail(err)
	}
	s.noteDeleted(changes)
	s.maintenance.wrote(size)
	return s.failure()
}

// batchSize is what the parts of a batch sum up to, in octets: its keys, all of it,
// and what goes to badger's tree; and how many of its changes delete.
type batchSize struct{ keys, total, tree, deletes int64 }

// measure checks a batch against the limits.
func (s *Store) measure(changes []store.Change) (batchSize, error) {
	var size batchSize
	if len(changes) > maxChanges {
		return size, fmt.Errorf("badgerstore: a batch of %d changes; at most %d are allowed", len(changes), maxChanges)
	}
	for i := range changes {
		key, value := len(changes[i].Key), len(changes[i].Value)
		if key > maxKey {
			return size, fmt.Errorf("badgerstore: a key of %d octets; at most %d are allowed", key, maxKey)
		}
		if changes[i].Delete {
			value = 0
			size.deletes++
		}
		size.keys += int64(key)
		size.total += int64(key + value)
		if value >= threshold {
			value = 0
		}
		size.tree += int64(key + value + changeOverhead)
	}
	if size.total > maxBytes {
		return size, fmt.Errorf("badgerstore: a batch of %d octets; at most %d are allowed", size.total, maxBytes)
	}
	return size, nil
}

// commit writes a batch as one transaction. Badger bounds what a transaction
// brings to the tree. In a batch beyond that, values that are not quite small
// are made as long as it takes to go to the value log.
func (s *Store) commit(changes []store.Change, size batchSize) error {
	tx := s.db.NewTransaction(true)
	defer tx.Discard()
	pad := size.tree > transaction-1024
	keys := make([]byte, 0, size.keys+int64(len(changes)))
	entries := make([]badger.Entry, len(changes))
	for i := range changes {
		c, e := &changes[i], &entries[i]
		begin := len(keys)
		keys = append(append(keys, userKeys), c.Key...)
		e.Key = keys[begin:len(keys):len(keys)]
		var err error
		if c.Delete {
			err = tx.Delete(e.Key)
		} else {
			setValue(e, c.Value, pad)
			err = tx.SetEntry(e)
		}
		if err != nil {
			return fmt.Errorf("badgerstore: %s: %w", s.dir, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("badgerstore: %s: %w", s.dir, err)
	}
	return nil
}

// setValue gives an entry its value.
func setValue(e *badger.Entry, value []byte, pad bool) {
	switch n := len(value); {
	case n == 0:
		e.UserMeta = metaEmpty
	case pad && n >= smallValue && n < threshold:
		padded := make([]byte, threshold+lengthSize)
		copy(padded, value)
		binary.BigEndian.PutUint16(padded[threshold:], uint16(n))
		e.Value, e.UserMeta = padded, metaPadded
	default:
		e.Value, e.UserMeta = value, metaValue
	}
}

// fail remembers the first error that makes the store unusable, and gives it.
func (s *Store) fail(err error) error {
	if s.failed.CompareAndSwap(nil, &err) {
		s.log.Error("the store failed; nothing is written any more", "dir", s.dir, "error", err)
	}
	return *s.failed.Load()
}

// failure is what fail remembered.
func (s *Store) failure() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Limits implements store.Store: 8 MiB and 4096 changes. A key is of 128 octets at
// the most.
func (s *Store) Limits() store.Limits {
	return store.Limits{MaxBytes: maxBytes, MaxChanges: maxChanges}
}

// Close implements store.Store: it waits for those who read, stops the
// maintenance and writes badger's memtable to a table. A second call does nothing.
func (s *Store) Close() error {
	if !s.users.Shut() {
		return nil
	}
	s.maintenance.stop()
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("badgerstore: close %s: %w", s.dir, err)
	}
	return nil
}
