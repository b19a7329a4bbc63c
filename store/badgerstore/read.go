package badgerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/warrenmq/warren/store"
)

// getAttempts is how often Get looks a value up that it cannot read. One look may
// fail because a collection of the value log moved the value meanwhile; the next
// finds it at its new place.
const getAttempts = 3

// errUnreadable is what value returns for a value that badger cannot give.
var errUnreadable = errors.New("the value cannot be read")

// Get implements store.Store. A value that is damaged is a *DamagedError.
func (s *Store) Get(key []byte, use func(value []byte) error) error {
	if !s.users.Enter() {
		return ErrClosed
	}
	defer s.users.Leave()
	stored := make([]byte, 0, 64)
	stored = append(append(stored, userKeys), key...)
	buf := s.buffers.get()
	defer s.buffers.put(buf)
	var err error
	for range getAttempts {
		if err = s.read(stored, buf); !errors.Is(err, errUnreadable) {
			break
		}
	}
	switch {
	case err == nil:
		return use(*buf)
	case errors.Is(err, badger.ErrKeyNotFound):
		return store.ErrNotFound
	case errors.Is(err, errUnreadable):
		return s.damagedValue(key, err)
	default:
		return fmt.Errorf("badgerstore: %s: %w", s.dir, err)
	}
}

// read copies the value of a stored key to buf.
func (s *Store) read(stored []byte, buf *[]byte) error {
	tx := s.db.NewTransaction(false)
	defer tx.Discard()
	item, err := tx.Get(stored)
	if err != nil {
		return err
	}
	return readItem(item, buf)
}

// readItem copies the value of an item to buf, so that badger's file is not
// locked while somebody uses it: a reader that waits must not keep Apply from
// going on to the next file. It returns errUnreadable if badger gives nothing for
// a value that is not empty, which is how it tells of damage.
func readItem(item *badger.Item, buf *[]byte) error {
	v, err := item.ValueCopy((*buf)[:0])
	if err != nil {
		return err
	}
	if len(v) == 0 && item.UserMeta() != metaEmpty {
		return errUnreadable
	}
	if v == nil {
		v = (*buf)[:0]
	}
	*buf = v
	if item.UserMeta() != metaPadded {
		return nil
	}
	if len(v) < lengthSize {
		return errUnreadable
	}
	end := len(v) - lengthSize
	n := int(binary.BigEndian.Uint16(v[end:]))
	if n > end {
		return errUnreadable
	}
	*buf = v[:n]
	return nil
}

func (s *Store) damagedValue(key []byte, cause error) error {
	return &DamagedError{
		Path: s.dir, Cause: fmt.Errorf("key %x: %w", key, cause),
		Remedy: "restore a backup",
	}
}

// Scan implements store.Store. It sees the state at the time it was called, and
// keeps badger from dropping what was deleted since: a long one costs room on the
// disk. A value that is damaged is a *DamagedError.
func (s *Store) Scan(from, to []byte, keysOnly bool, each func(key, value []byte) error) error {
	if !s.users.Enter() {
		return ErrClosed
	}
	defer s.users.Leave()
	tx := s.db.NewTransaction(false)
	defer tx.Discard()
	it := tx.NewIterator(badger.IteratorOptions{Prefix: commonPrefix(from, to)})
	defer it.Close()
	buf := s.buffers.get()
	defer s.buffers.put(buf)
	var end []byte
	if to != nil {
		end = append([]byte{userKeys}, to...)
	}
	for it.Seek(append([]byte{userKeys}, from...)); it.Valid(); it.Next() {
		item := it.Item()
		stored := item.Key()
		if end != nil && bytes.Compare(stored, end) >= 0 {
			return nil
		}
		key := stored[1:]
		var v []byte
		if !keysOnly {
			if err := readItem(item, buf); err != nil {
				return s.damagedValue(key, err)
			}
			v = *buf
		}
		if err := each(key, v); err != nil {
			return err
		}
	}
	return nil
}

// commonPrefix gives what all stored keys of a range begin with: badger leaves
// out the tables that have none of them.
func commonPrefix(from, to []byte) []byte {
	prefix := []byte{userKeys}
	for i := 0; i < min(len(from), len(to)) && from[i] == to[i]; i++ {
		prefix = append(prefix, from[i])
	}
	return prefix
}

// buffers are for values on their way to a reader. Its zero value is ready.
type buffers struct{ pool sync.Pool }

// maxKept is how large a buffer may be that is kept for the next reader.
const maxKept = 4 * mib

func (b *buffers) get() *[]byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, 0, 4096)
	return &buf
}

func (b *buffers) put(buf *[]byte) {
	if cap(*buf) <= maxKept {
		b.pool.Put(buf)
	}
}
