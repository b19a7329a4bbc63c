package badgerstore

import (
	"errors"
	"fmt"
	"path/filepath"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/warrenmq/warren/store"
)

// collection removes files of the value log that are mostly dead, and sees to it
// that what was deleted stays so.
//
// Badger moves what is left of such a file to the end of its log, and puts what it
// moves above everything else in its tree: also a value with a deletion that has not
// met it yet. When the two do meet, further down, badger drops both, and the moved
// value is back (4.9.6 guards against that only for what is deleted meanwhile).
//
// So what is deleted and has not met its value is deleted once more before anything
// is moved, and again afterwards unless both went into one memtable, which stays
// together. The deletions from before are there until those from afterwards are,
// because badger drops nothing that is younger than a transaction which still reads.
// What is left is a crash between a move and the deletions after it, if the memtable
// was full in between and only the first one is merged then.
type collection struct {
	m *maintenance
	// shadowed are the keys with a value below their deletion, as it was at version
	// seen.
	shadowed [][]byte
	seen     uint64
	// buriedIn is the memtable that was written to when the deletions were last
	// begun to be repeated.
	buriedIn string
}

// maxDeleted is how many keys Apply may delete while files are collected. What is
// left then is for the next round.
const maxDeleted = 1 << 17

// collect removes the files of which discardRatio is dead, one after the other, and
// gives their number.
func (m *maintenance) collect() (files int, err error) {
	s := m.s
	if values, err := filepath.Glob(filepath.Join(s.dir, "*.vlog")); err != nil || len(values) < 2 {
		return 0, err // the one that is written to is never removed
	}
	s.apply.Lock()
	s.deleted = map[string]struct{}{}
	s.apply.Unlock()
	defer func() {
		s.apply.Lock()
		s.deleted = nil
		s.apply.Unlock()
	}()
	c := &collection{m: m}
	c.look()
	reader := s.db.NewTransaction(false)
	defer reader.Discard()
	for ; !m.stopping() && m.roomToCollect(); files++ {
		err := c.one()
		if errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, badger.ErrRejected) {
			break
		}
		if err != nil {
			return files, fmt.Errorf("badgerstore: collect %s: %w", s.dir, err)
		}
	}
	return files, nil
}

// look finds what is deleted and has not met its value.
func (c *collection) look() {
	tx := c.m.s.db.NewTransaction(false)
	defer tx.Discard()
	c.seen = tx.ReadTs()
	it := tx.NewIterator(badger.IteratorOptions{Prefix: []byte{userKeys}, AllVersions: true})
	defer it.Close()
	var key []byte // of the item before; its versions come from the newest to the oldest
	open := false  // it is deleted, and no value of it was found yet
	for it.Rewind(); it.Valid() && !c.m.stopping(); it.Next() {
		item := it.Item()
		if key == nil || string(item.Key()) != string(key) {
			key, open = item.KeyCopy(nil), item.IsDeletedOrExpired()
			continue
		}
		// Badger knows the size of a value in the value log only about.
		if open && !item.IsDeletedOrExpired() && item.ValueSize() >= threshold/2 {
			c.shadowed = append(c.shadowed, key)
			open = false
		}
	}
}

// one has badger remove one file that is mostly dead. Apply waits meanwhile, some
// hundredths of a second: badger reads there, without a lock, what a write changes.
func (c *collection) one() error {
	s := c.m.s
	s.apply.Lock()
	defer s.apply.Unlock()
	if err := s.failure(); err != nil {
		return err
	}
	if len(s.deleted) > maxDeleted {
		return badger.ErrNoRewrite
	}
	if c.buriedIn == "" {
		if err := c.bury(); err != nil {
			return err
		}
	}
	if err := s.db.RunValueLogGC(discardRatio); err != nil {
		return err
	}
	now, err := c.m.newestMemLog()
	if err != nil || now == c.buriedIn {
		return err
	}
	return c.bury()
}

// bury repeats the deletions of what must not come back.
func (c *collection) bury() (err error) {
	if c.buriedIn, err = c.m.newestMemLog(); err != nil {
		return err
	}
	s := c.m.s
	dead := make([][]byte, 0, len(c.shadowed)+len(s.deleted))
	tx := s.db.NewTransaction(false)
	for _, key := range c.shadowed {
		// One that was set since is left alone, and one that came back is not.
		switch item, err := tx.Get(key); {
		case errors.Is(err, badger.ErrKeyNotFound), err == nil && item.Version() <= c.seen:
			dead = append(dead, key)
		case err != nil:
			tx.Discard()
			return s.fail(err)
		}
	}
	tx.Discard()
	for key := range s.deleted {
		dead = append(dead, append([]byte{userKeys}, key...))
	}
	for len(dead) > 0 {
		n := min(len(dead), maxChanges)
		tx := s.db.NewTransaction(true)
		for _, key := range dead[:n] {
			if err := tx.Delete(key); err != nil {
				tx.Discard()
				return s.fail(err)
			}
		}
		if err := tx.Commit(); err != nil {
			return s.fail(err)
		}
		dead = dead[n:]
	}
	return s.failure()
}

// noteDeleted remembers what is deleted while files are collected. apply is held.
func (s *Store) noteDeleted(changes []store.Change) {
	if s.deleted == nil {
		return
	}
	for i := range changes {
		if c := &changes[i]; c.Delete {
			s.deleted[string(c.Key)] = struct{}{}
		} else {
			delete(s.deleted, string(c.Key))
		}
	}
}
