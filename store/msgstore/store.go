package msgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/warrenmq/warren/store"
)

// ErrClosed is what becomes of changes that come after Close, or that Close
// could not carry out because their atom was not complete.
var ErrClosed = errors.New("msgstore: closed")

// ErrTooLarge is what becomes of an atom whose index does not fit into one
// Apply: one of many hundred thousand messages.
var ErrTooLarge = errors.New("msgstore: too many changes for one atom")

// Options are the settings of a Store. The zero value is usable.
type Options struct {
	// OnError is told once of the error after which nothing is stored any more.
	OnError func(error)
	// OnNoSpace is told the error when the medium is full, and nil when something
	// that takes room was written after that.
	OnNoSpace func(error)
	// Readers is how many goroutines may read at once; 4 if it is 0. There are
	// none while nothing is read.
	Readers int
	// ShareFrom is the size in octets from which the body of a message that
	// several queues get at a time is stored once; 512 if it is 0. Below, a copy
	// for each queue is cheaper.
	ShareFrom int
	// PackSize is about how many octets of messages go into one value; 256 KiB
	// if it is 0. Larger ones cost less to write and more to read in pieces.
	PackSize int
	// CompactFrom is how many octets of removed messages may stand among living
	// ones before packs are rewritten without them; 64 MiB if it is 0. Beyond
	// that, half of what is kept may be dead.
	CompactFrom int64
	// MergeFrom is how many packs of a few messages a queue may get before some are
	// merged to a larger one; 512 if it is 0.
	MergeFrom int
}

func (o *Options) setDefaults() {
	if o.Readers <= 0 {
		o.Readers = 4
	}
	if o.ShareFrom <= 0 {
		o.ShareFrom = 512
	}
	if o.PackSize <= 0 {
		o.PackSize = 256 << 10
	}
	if o.CompactFrom <= 0 {
		o.CompactFrom = 64 << 20
	}
	if o.MergeFrom <= 0 {
		o.MergeFrom = 512
	}
}

// Definition is one change to the definitions: Value is kept under Kind and
// Key, or nothing any more if Delete is set.
type Definition struct {
	Kind   byte
	Key    []byte
	Value  []byte
	Delete bool
	// Err is why there is no Value. Define then makes none of the changes that it is
	// called with, and gives it.
	Err error
}

// Store makes Logs and keeps definitions in a store.Store, all of whose keys are
// its own. Its methods may be called from any goroutine. Callbacks come from its
// goroutines, never from within a call, and must not block.
type Store struct {
	kv     store.Store
	opts   Options
	limits store.Limits

	// mu guards what the committer takes. Taking everything under one lock makes
	// one order of all that is submitted to whichever Log.
	mu       sync.Mutex
	work     sync.Cond // of mu; there is something in inbox, or closing
	in       inbox
	pace     pace
	logs     map[uint64]*queue
	failed   error // final
	closing  bool
	finished bool // the committer has ended

	readers   readers
	compactor compactor
	done      chan struct{} // closed when the committer has ended

	// What follows is the committer's.
	group    group
	nextID   uint64
	queues   []*queue                 // with something in queue.taken, in the order of arrival
	atoms    map[*store.Atom]struct{} // complete and not yet written
	owed     []Definition             // changes of definitions that failed to be written
	unsaved  []dirtyPack              // packs whose state failed to be written
	touched  []*sharedPack            // that lost references
	garbage  [][]byte                 // keys to be deleted
	dropping []dirtyPack              // packs to be deleted
	sparse   []sparse                 // packs to be compacted
	merging  []*queue                 // queues with packs to be merged
	pruned   int                      // length of sparse when it was cleaned up
	bytes    int64                    // weight of all packs
	dead     int64                    // of that, what was removed
	sharing  sharing
	// atomBytes and atomChanges are about the most that the atoms of a round take,
	// without the messages.
	atomBytes   int64
	atomChanges int
	noSpace     bool
	more        bool // atoms that are complete wait for the next round
	lost        bool // changes that Close could not carry out
	ending      bool // nobody completes an atom any more
}

// inbox is what was submitted and not yet taken.
type inbox struct {
	queues      []*queue
	definitions []defined
	complete    []*store.Atom
	dropped     []*queue
	rewrites    []rewrite
	merges      []*merge
	retry       bool
}

func (in *inbox) empty() bool {
	return len(in.queues) == 0 && in.onlyQueues()
}

// onlyQueues reports whether nothing but queues wait.
func (in *inbox) onlyQueues() bool {
	return len(in.definitions) == 0 && len(in.complete) == 0 && len(in.dropped) == 0 && len(in.rewrites) == 0 &&
		len(in.merges) == 0 && !in.retry
}

type defined struct {
	changes []Definition
	done    func(error)
	err     error // why they are not even tried
}

// Open reads what kv holds of an earlier run, from the indexes only, and starts
// to take changes. A kv that is empty is made ready. Nobody else may use kv until
// Close has returned; closing kv is left to the caller.
//
// It fails, and changes nothing, if kv belongs to something else or to a newer
// version, or if an index is damaged.
func Open(kv store.Store, o Options) (*Store, error) {
	o.setDefaults()
	s := &Store{
		kv: kv, opts: o, limits: kv.Limits(),
		logs:  map[uint64]*queue{},
		done:  make(chan struct{}),
		atoms: map[*store.Atom]struct{}{},
	}
	s.work.L = &s.mu
	s.readers.most = o.Readers
	s.group.init(s)
	if err := s.recover(); err != nil {
		return nil, fmt.Errorf("msgstore: %w", err)
	}
	go s.commit()
	return s, nil
}

// Log gives the log of a queue: what an earlier run left of it, or a new one. An
// id whose log was dropped must not be used again. A Log must be used as one: all
// calls of Log with one id give the same.
func (s *Store) Log(queueID uint64) store.Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log(queueID)
}

func (s *Store) log(id uint64) *queue {
	q := s.logs[id]
	if q == nil {
		q = newQueue(s, id)
		s.logs[id] = q
	}
	return q
}

// Define hands in changes of definitions, which become durable together, and not
// after anything that is submitted later. More of them than fit into one Apply
// become so in their order. done, which may be nil, is called once with what became
// of them, after what was submitted earlier: without changes, with what became of
// those before. The slices are the Store's from the call on.
//
// After store.ErrNoSpace they are written before anything else as soon as there is
// space. A change that is too large for any Apply is ErrTooLarge, and forgotten.
func (s *Store) Define(changes []Definition, done func(error)) {
	s.mu.Lock()
	if s.finished {
		s.mu.Unlock()
		if done != nil {
			go done(ErrClosed)
		}
		return
	}
	s.in.definitions = append(s.in.definitions, defined{changes: changes, done: done})
	s.work.Signal()
	s.mu.Unlock()
}

// Definitions calls each for every durable definition, by kind and key. The
// slices are valid during the call only.
func (s *Store) Definitions(each func(kind byte, key, value []byte) error) error {
	return Definitions(s.kv, each)
}

// Definitions is Store.Definitions for a kv that no Store is open on, as for Check.
func Definitions(kv store.Store, each func(kind byte, key, value []byte) error) error {
	return kv.Scan([]byte{keyDefinition}, after(keyDefinition), false, func(k, v []byte) error {
		if len(k) < 2 {
			return fmt.Errorf("msgstore: key %x: %w", k, damaged("a definition without a kind"))
		}
		return each(k[1], k[2:], v)
	})
}

// Sync waits until everything that was submitted before is durable, and gives
// the error if it is not. What waits for an atom is not waited for.
func (s *Store) Sync(ctx context.Context) error {
	done := make(chan error, 1)
	s.Define(nil, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Failed gives the error after which nothing is stored any more, or nil.
func (s *Store) Failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// Retry tries again what could not be written for lack of space, and finds out
// whether there is space again, of which Options.OnNoSpace is told. Anything that is
// submitted tries again as well; Retry is for a broker in which all is quiet.
func (s *Store) Retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in.retry = true
	s.work.Signal()
}

// Queues gives the ids of the queues of which there is something, in order.
func (s *Store) Queues() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]uint64, 0, len(s.logs))
	for id := range s.logs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Forget drops the logs of all queues that are not known, in the background, and
// gives their ids: what an earlier run was about to delete when it ended.
func (s *Store) Forget(known func(queueID uint64) bool) []uint64 {
	ids := slices.DeleteFunc(s.Queues(), known)
	for _, id := range ids {
		s.Log(id).Drop()
	}
	return ids
}

// Close makes durable what was submitted, save for atoms that are not complete,
// and ends all goroutines. It gives the error if something could not be kept.
// What is submitted later fails with ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closing = true
	s.work.Signal()
	s.mu.Unlock()
	<-s.done
	s.readers.wait()
	s.compactor.wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	if s.lost {
		return fmt.Errorf("msgstore: some changes were not written: %w", store.ErrNoSpace)
	}
	return nil
}
