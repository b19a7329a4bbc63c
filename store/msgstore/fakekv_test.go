package msgstore

import (
	"bytes"
	"maps"
	"slices"
	"sync"

	"github.com/warrenmq/warren/store"
)

// fakeKV is a store.Store in a map, with errors and crashes at the test's
// command.
type fakeKV struct {
	mu     sync.RWMutex
	m      map[string][]byte
	keys   []string // sorted; nil if it has to be made
	limits store.Limits
	// applies counts the calls of Apply; before is asked first what it is to
	// return, and after each that succeeded image gets what there is, if set.
	applies int
	before  func(n int) error
	image   func(map[string][]byte)
	written int64
	// full has Apply refuse what does more than delete and shrink.
	full bool
	// gate, if set, is waited for by every Apply.
	gate    chan struct{}
	entered chan struct{} // told, if set, that an Apply waits for gate
}

// holdUp makes the committer of s wait in an Apply, so that what is submitted
// until let is called is one round.
func (kv *fakeKV) holdUp(s *Store) (let func()) {
	kv.gate, kv.entered = make(chan struct{}), make(chan struct{}, 1)
	gate := kv.gate
	s.Define([]Definition{{Kind: 'z', Key: []byte("hold")}}, nil)
	<-kv.entered
	return func() { close(gate) }
}

func newFakeKV() *fakeKV {
	return &fakeKV{m: map[string][]byte{}, limits: store.Limits{MaxBytes: 1 << 20, MaxChanges: 10000}}
}

func (kv *fakeKV) reopen(m map[string][]byte) *fakeKV {
	return &fakeKV{m: maps.Clone(m), limits: kv.limits}
}

func (kv *fakeKV) Apply(changes []store.Change) error {
	if kv.gate != nil {
		select {
		case kv.entered <- struct{}{}:
		default:
		}
		<-kv.gate
	}
	kv.mu.Lock()
	defer kv.mu.Unlock()
	kv.applies++
	if kv.before != nil {
		if err := kv.before(kv.applies); err != nil {
			return err
		}
	}
	if kv.full && needsRoom(changes) {
		return store.ErrNoSpace
	}
	if len(changes) > kv.limits.MaxChanges {
		panic("too many changes")
	}
	size := int64(0)
	for _, c := range changes {
		size += int64(len(c.Key) + len(c.Value))
	}
	if size > kv.limits.MaxBytes {
		panic("too large a batch")
	}
	kv.written += size
	for _, c := range changes {
		if c.Delete {
			delete(kv.m, string(c.Key))
		} else {
			kv.m[string(c.Key)] = bytes.Clone(c.Value)
		}
	}
	kv.keys = nil
	if kv.image != nil {
		kv.image(maps.Clone(kv.m))
	}
	return nil
}

func (kv *fakeKV) Get(key []byte, use func([]byte) error) error {
	kv.mu.RLock()
	v, ok := kv.m[string(key)]
	kv.mu.RUnlock()
	if !ok {
		return store.ErrNotFound
	}
	return use(v)
}

func (kv *fakeKV) Scan(from, to []byte, keysOnly bool, each func(k, v []byte) error) error {
	kv.mu.Lock()
	if kv.keys == nil {
		kv.keys = slices.Sorted(maps.Keys(kv.m))
	}
	keys := kv.keys
	m := kv.m
	kv.mu.Unlock()
	i, _ := slices.BinarySearch(keys, string(from))
	for ; i < len(keys) && (to == nil || keys[i] < string(to)); i++ {
		var v []byte
		if !keysOnly {
			kv.mu.RLock()
			v = m[keys[i]]
			kv.mu.RUnlock()
		}
		if err := each([]byte(keys[i]), v); err != nil {
			return err
		}
	}
	return nil
}

func (kv *fakeKV) Limits() store.Limits        { return kv.limits }
func (kv *fakeKV) Space() (store.Space, error) { return store.Space{}, nil }
func (kv *fakeKV) Close() error                { return nil }

// setFull says whether the medium is full.
func (kv *fakeKV) setFull(full bool) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	kv.full = full
}

// count gives the number of keys that begin with prefix.
func (kv *fakeKV) count(prefix byte) (n int) {
	kv.mu.RLock()
	defer kv.mu.RUnlock()
	for k := range kv.m {
		if k[0] == prefix {
			n++
		}
	}
	return n
}
