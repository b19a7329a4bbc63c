package memstore

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"

	"github.com/warrenmq/warren/internal/gate"
	"github.com/warrenmq/warren/store"
)

// What one Apply takes: small enough for a test to reach, large enough not to be
// in the way of one that does not mean to.
const (
	maxBytes   = 4 << 20
	maxChanges = 8192
)

var (
	// ErrInUse is what Open returns while the disk is open already.
	ErrInUse = errors.New("memstore: the disk is open already")
	// ErrClosed is what the methods of a Store return after Close.
	ErrClosed = errors.New("memstore: the store is closed")
)

// Disk is what a Store in memory writes to. Any goroutine may use it. Its zero
// value is not usable; NewDisk makes one.
type Disk struct {
	seed maphash.Seed
	root atomic.Pointer[node]
	open atomic.Bool
}

// NewDisk gives an empty disk.
func NewDisk() *Disk { return &Disk{seed: maphash.MakeSeed()} }

// Open opens what is on the disk. It returns ErrInUse until the Store that was
// opened before is closed.
func (d *Disk) Open() (*Store, error) {
	if !d.open.CompareAndSwap(false, true) {
		return nil, ErrInUse
	}
	return &Store{disk: d}, nil
}

// Crash gives another disk with what would be left of this one if the machine
// stopped now: all batches whose Apply has returned, and the one that is on its
// way whole or not at all. It is cheap, and may be called at any time.
func (d *Disk) Crash() *Disk {
	c := &Disk{seed: d.seed}
	c.root.Store(d.root.Load())
	return c
}

// Store is an open Disk. See store.Store for which goroutine may do what.
type Store struct {
	disk *Disk
	// users are inside Apply, Get or Scan.
	users gate.Gate
}

var _ store.Store = (*Store)(nil)

// New opens an empty disk that nobody else knows of.
func New() *Store {
	d := NewDisk()
	d.open.Store(true)
	return &Store{disk: d}
}

// Apply implements store.Store. A batch beyond Limits changes nothing and can
// be tried in smaller parts.
func (s *Store) Apply(changes []store.Change) error {
	if !s.users.Enter() {
		return ErrClosed
	}
	defer s.users.Leave()
	if err := check(changes); err != nil {
		return err
	}
	root := s.disk.root.Load()
	for _, c := range changes {
		if c.Delete {
			root = root.without(c.Key)
		} else {
			root = root.with(s.disk.seed, bytes.Clone(c.Key), bytes.Clone(c.Value))
		}
	}
	s.disk.root.Store(root)
	return nil
}

// check says what is wrong with a batch.
func check(changes []store.Change) error {
	if len(changes) > maxChanges {
		return fmt.Errorf("memstore: a batch of %d changes; at most %d are allowed", len(changes), maxChanges)
	}
	n := 0
	for _, c := range changes {
		n += len(c.Key) + len(c.Value)
	}
	if n > maxBytes {
		return fmt.Errorf("memstore: a batch of %d octets; at most %d are allowed", n, maxBytes)
	}
	return nil
}

// Get implements store.Store.
func (s *Store) Get(key []byte, use func(value []byte) error) error {
	if !s.users.Enter() {
		return ErrClosed
	}
	defer s.users.Leave()
	n := s.disk.root.Load().get(key)
	if n == nil {
		return store.ErrNotFound
	}
	return use(n.value)
}

// Scan implements store.Store. It sees the state at the time it was called.
func (s *Store) Scan(from, to []byte, keysOnly bool, each func(key, value []byte) error) error {
	if !s.users.Enter() {
		return ErrClosed
	}
	defer s.users.Leave()
	return s.disk.root.Load().scan(from, to, func(n *node) error {
		if keysOnly {
			return each(n.key, nil)
		}
		return each(n.key, n.value)
	})
}

// Limits implements store.Store: 4 MiB and 8192 changes.
func (s *Store) Limits() store.Limits {
	return store.Limits{MaxBytes: maxBytes, MaxChanges: maxChanges}
}

// Space implements store.Store. There is no bound, and what is used is not
// counted.
func (s *Store) Space() (store.Space, error) { return store.Space{}, nil }

// Close implements store.Store. The disk keeps what it has and can be opened
// again.
func (s *Store) Close() error {
	if s.users.Shut() {
		s.disk.open.Store(false)
	}
	return nil
}
