package msgstore

import (
	"encoding/binary"
	"math"
	"slices"
)

const (
	// maxSlots is the most messages of a pack that can be read, newSlots the most
	// of one that is written.
	maxSlots = 1 << 16
	newSlots = 1 << 13
	// maxParts is the most values that one pack can be spread over.
	maxParts = 1<<16 - 1
)

// entry is the value of an I key: what is in a pack of a queue.
//
//	flags, parts, n, first position
//	unless dense: n-1 distances to the position before
//	sizes: one if uniform, else n
//	if any has one: n priorities, n expiries (0, or 1 + zigzag of the difference to the last)
//	if any is shared: number of shared packs, their ids,
//	  per message 0, or 1 + which shared pack and then the slot in it
//
// A message that is not shared is at the slot of the pack that is its number
// here. A pack without own messages has no parts.
type entry struct {
	transient  bool
	parts      int
	n          uint32
	first      uint64
	offsets    []uint32 // from first; nil if dense
	size       uint32   // of all, if sizes is nil
	sizes      []uint32
	priorities []byte  // nil if all are 0
	expiries   []int64 // nil if none
	shared     []uint64
	refs       []sharedRef // nil if nothing is shared
}

// sharedRef says where a message is: in the pack of its own queue if from is 0,
// else in slot of the shared pack number from-1 of its entry.
type sharedRef struct{ from, slot uint16 }

const (
	entryTransient = 1 << iota
	entryDense
	entryUniform
	entryPriorities
	entryExpiries
	entryShared
)

// slotSize is the most that one message takes in an entry, entrySize the rest.
const (
	slotSize  = 3*binary.MaxVarintLen32 + 1 + 2*binary.MaxVarintLen64 + binary.MaxVarintLen16 + binary.MaxVarintLen64
	entrySize = recordHeader + 1 + 5*binary.MaxVarintLen64
)

func (e *entry) seq(slot uint32) uint64 {
	if e.offsets == nil {
		return e.first + uint64(slot)
	}
	return e.first + uint64(e.offsets[slot])
}

func (e *entry) sizeOf(slot uint32) uint32 {
	if e.sizes == nil {
		return e.size
	}
	return e.sizes[slot]
}

func (e *entry) priorityOf(slot uint32) uint8 {
	if e.priorities == nil {
		return 0
	}
	return e.priorities[slot]
}

func (e *entry) expiryOf(slot uint32) int64 {
	if e.expiries == nil {
		return 0
	}
	return e.expiries[slot]
}

// put describes the message in slot i of an entry that is made; n and first are set,
// and those before it are described.
func (e *entry) put(i int, seq uint64, size uint32, priority uint8, expiry int64) {
	if i == 0 {
		e.size = size
	}
	if seq != e.first+uint64(i) && e.offsets == nil {
		e.offsets = make([]uint32, e.n)
		for j := range i {
			e.offsets[j] = uint32(j)
		}
	}
	if e.offsets != nil {
		e.offsets[i] = uint32(seq - e.first)
	}
	if size != e.size && e.sizes == nil {
		e.sizes = slices.Repeat([]uint32{e.size}, int(e.n))
	}
	if e.sizes != nil {
		e.sizes[i] = size
	}
	if priority != 0 {
		if e.priorities == nil {
			e.priorities = make([]byte, e.n)
		}
		e.priorities[i] = priority
	}
	if expiry != 0 {
		if e.expiries == nil {
			e.expiries = make([]int64, e.n)
		}
		e.expiries[i] = expiry
	}
}

func appendEntry(buf []byte, e *entry) (out, value []byte) {
	buf, start := beginRecord(buf, entryKind)
	var flags byte
	set := func(flag byte, on bool) {
		if on {
			flags |= flag
		}
	}
	set(entryTransient, e.transient)
	set(entryDense, e.offsets == nil)
	set(entryUniform, e.sizes == nil)
	set(entryPriorities, e.priorities != nil)
	set(entryExpiries, e.expiries != nil)
	set(entryShared, e.refs != nil)
	buf = append(buf, flags)
	buf = binary.AppendUvarint(buf, uint64(e.parts))
	buf = binary.AppendUvarint(buf, uint64(e.n))
	buf = binary.AppendUvarint(buf, e.first)
	if e.offsets != nil {
		for i := 1; i < len(e.offsets); i++ {
			buf = binary.AppendUvarint(buf, uint64(e.offsets[i]-e.offsets[i-1]))
		}
	}
	if e.sizes == nil {
		buf = binary.AppendUvarint(buf, uint64(e.size))
	}
	for _, size := range e.sizes {
		buf = binary.AppendUvarint(buf, uint64(size))
	}
	buf = append(buf, e.priorities...)
	var last int64
	for _, at := range e.expiries {
		if at == 0 {
			buf = append(buf, 0)
			continue
		}
		buf = binary.AppendUvarint(buf, zigzag(at-last)+1)
		last = at
	}
	if e.refs != nil {
		buf = binary.AppendUvarint(buf, uint64(len(e.shared)))
		for _, id := range e.shared {
			buf = binary.AppendUvarint(buf, id)
		}
		for _, r := range e.refs {
			buf = binary.AppendUvarint(buf, uint64(r.from))
			if r.from != 0 {
				buf = binary.AppendUvarint(buf, uint64(r.slot))
			}
		}
	}
	return buf, endRecord(buf, start)
}

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

func readEntry(value []byte) (*entry, error) {
	r := openRecord(value, entryKind, "index of a pack")
	flags := r.number(entryShared<<1 - 1)
	e := &entry{
		transient: flags&entryTransient != 0,
		parts:     int(r.number(maxParts)),
		n:         uint32(r.number(maxSlots)),
		first:     r.number(math.MaxUint64),
	}
	const uniform = entryDense | entryUniform
	if flags&uniform != uniform && uint64(e.n) > uint64(len(r.rest))+1 {
		r.bad = true // before anything is made for so many
	}
	if r.bad || e.n == 0 {
		return nil, damaged("not a sound %s", r.what)
	}
	if flags&entryDense == 0 {
		e.offsets = make([]uint32, e.n)
		at := uint64(0)
		for i := uint32(1); i < e.n; i++ {
			d := r.number(math.MaxUint32)
			if at += d; d == 0 || at > math.MaxUint32 {
				r.bad = true
				break
			}
			e.offsets[i] = uint32(at)
		}
	}
	if e.seq(e.n-1) < e.first {
		r.bad = true // beyond the highest position
	}
	if flags&entryUniform != 0 {
		e.size = uint32(r.number(math.MaxUint32))
	} else {
		e.sizes = make([]uint32, e.n)
		for i := range e.sizes {
			e.sizes[i] = uint32(r.number(math.MaxUint32))
		}
	}
	if flags&entryPriorities != 0 {
		e.priorities = append([]byte{}, r.octets(int(e.n))...)
	}
	if flags&(entryExpiries|entryShared) != 0 && uint64(e.n) > uint64(len(r.rest)) {
		r.bad = true
		return nil, r.end()
	}
	if flags&entryExpiries != 0 {
		e.expiries = make([]int64, e.n)
		var last int64
		for i := range e.expiries {
			if u := r.number(math.MaxUint64); u != 0 {
				last += unzigzag(u - 1)
				e.expiries[i] = last
			}
		}
	}
	if flags&entryShared != 0 {
		e.readShared(&r)
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *entry) readShared(r *scanner) {
	n := r.number(min(uint64(e.n), math.MaxUint16))
	for range n {
		e.shared = append(e.shared, r.number(math.MaxUint64))
	}
	e.refs = make([]sharedRef, e.n)
	for i := range e.refs {
		if from := r.number(n); from != 0 {
			e.refs[i] = sharedRef{uint16(from), uint16(r.number(maxSlots - 1))}
		}
	}
}
