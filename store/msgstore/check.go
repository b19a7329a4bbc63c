package msgstore

import (
	"errors"
	"fmt"

	"github.com/warrenmq/warren/store"
)

// Report is what Check counted.
type Report struct {
	Definitions int
	Queues      int
	Packs       int // of queues and shared
	Messages    int // living ones, for each queue that has them
	Octets      int64
	// Orphans are packs that a crash left without an index. They do no harm; Open
	// deletes them.
	Orphans int
	Damaged int // problems told
}

// Check reads and verifies every record of kv, checksums included, and changes
// nothing. Each thing that is wrong is told to problem. The error is that of a
// kv that cannot be read, or that is not for this version. Nobody may write to
// kv meanwhile.
func Check(kv store.Store, problem func(error)) (Report, error) {
	if err := checkFormat(kv, false); err != nil {
		return Report{}, fmt.Errorf("msgstore: %w", err)
	}
	c := checker{kv: kv, problem: problem, shared: map[uint64]bitmap{}}
	for _, step := range []struct {
		prefix   byte
		keysOnly bool
		each     func(key, value []byte) error
	}{
		{keyDefinition, false, c.definition},
		{keyIndex, false, c.pack},
		{keySharedInfo, false, c.sharedPack},
		{keyState, true, c.lonely},
		{keyPack, true, c.lonely},
		{keyShared, true, c.lonely},
	} {
		err := kv.Scan([]byte{step.prefix}, after(step.prefix), step.keysOnly, func(key, value []byte) error {
			return c.tell(key, step.each(key, value))
		})
		if err != nil {
			return c.Report, fmt.Errorf("msgstore: %w", err)
		}
	}
	for id := range c.shared {
		if err := c.tell(appendInfoKey(nil, id), damaged("a shared pack is missing")); err != nil {
			return c.Report, err
		}
	}
	return c.Report, nil
}

type checker struct {
	Report
	kv      store.Store
	problem func(error)
	queue   uint64
	// shared are the living slots that queues refer to, of shared packs that were
	// not seen yet.
	shared map[uint64]bitmap
}

// tell tells of damage; other errors are handed on.
func (c *checker) tell(key []byte, err error) error {
	if !errors.Is(err, errDamaged) && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	c.Damaged++
	c.problem(fmt.Errorf("key %x: %w", key, err))
	return nil
}

func (c *checker) definition(key, _ []byte) error {
	if len(key) < 2 {
		return damaged("a definition without a kind")
	}
	c.Definitions++
	return nil
}

// pack checks a queue's pack by its index.
func (c *checker) pack(key, value []byte) error {
	queue, id, _, ok := parseEntryKey(key)
	if !ok {
		return damaged("a key of this length has no meaning")
	}
	e, err := readEntry(value)
	if err != nil {
		return err
	}
	if c.Queues == 0 || c.queue != queue {
		c.queue = queue
		c.Queues++
	}
	c.Packs++
	st := &state{n: e.n}
	err = c.kv.Get(appendEntryKey(nil, keyState, queue, id), func(v []byte) (err error) {
		st, err = readState(v)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return fmt.Errorf("state: %w", err)
	case st.n != e.n:
		return damaged("a state of %d messages for a pack of %d", st.n, e.n)
	}
	own := makeBitmap(e.n)
	for slot := range e.n {
		if st.removed.has(slot) || e.transient {
			continue
		}
		c.Messages++
		c.Octets += int64(e.sizeOf(slot))
		ref := sharedRef{}
		if e.refs != nil {
			ref = e.refs[slot]
		}
		if ref.from == 0 {
			own.set(slot)
			continue
		}
		sid := e.shared[ref.from-1]
		if c.shared[sid] == nil {
			c.shared[sid] = makeBitmap(maxSlots)
		}
		c.shared[sid].set(uint32(ref.slot))
	}
	if e.parts == 0 {
		if own.count() > 0 {
			return damaged("%d messages are nowhere", own.count())
		}
		return nil
	}
	return c.bundle(appendPackKey(nil, queue, id, 0), e.parts, own, func(slot uint32, size int) bool {
		return slot < e.n && size == int(e.sizeOf(slot))
	})
}

// bundle checks a pack, which must have what is alive.
func (c *checker) bundle(key []byte, parts int, alive bitmap, fits func(slot uint32, size int) bool) error {
	return whole(c.kv, key, parts, func(value []byte) error {
		b, err := openBundle(value)
		if err != nil {
			return err
		}
		var names reader
		found := 0
		for i := range b.len() {
			record, err := b.record(i)
			if err != nil {
				return err
			}
			m, err := names.message(record)
			if err != nil {
				return err
			}
			size := m.Size()
			m.Release()
			if !fits(b.slot(i), size) {
				return damaged("message %d is not what the index says", b.slot(i))
			}
			if alive.has(b.slot(i)) {
				found++
			}
		}
		if missing := alive.count() - found; missing > 0 {
			return damaged("%d messages are missing", missing)
		}
		return nil
	})
}

func (c *checker) sharedPack(key, value []byte) error {
	id, _, ok := parseSharedKey(key)
	if !ok {
		return damaged("a key of this length has no meaning")
	}
	alive := c.shared[id]
	delete(c.shared, id)
	c.Packs++
	i, err := readInfo(value)
	if err != nil {
		return err
	}
	return c.bundle(appendSharedKey(nil, id, 0), i.parts, alive, func(slot uint32, _ int) bool { return slot < i.n })
}

// lonely looks for the index of a part or a state.
func (c *checker) lonely(key, _ []byte) error {
	var index []byte
	if key[0] == keyShared {
		id, _, ok := parseSharedKey(key)
		if !ok {
			return damaged("a key of this length has no meaning")
		}
		index = appendInfoKey(nil, id)
	} else {
		queue, id, _, ok := parseEntryKey(key)
		if !ok {
			return damaged("a key of this length has no meaning")
		}
		index = appendEntryKey(nil, keyIndex, queue, id)
	}
	err := c.kv.Get(index, func([]byte) error { return nil })
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if key[0] == keyState {
		return damaged("a state without its pack")
	}
	c.Orphans++
	return nil
}
