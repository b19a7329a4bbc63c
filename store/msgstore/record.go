package msgstore

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// I, A and T values, and the format, are small records:
//
//	kind 1, checksum of the rest (4), the rest: mostly uvarints

const (
	entryKind  = 2
	stateKind  = 3
	infoKind   = 4
	formatKind = 5

	recordHeader = 1 + 4
)

// beginRecord starts a record at the end of buf and gives where.
func beginRecord(buf []byte, kind byte) ([]byte, int) {
	return append(buf, kind, 0, 0, 0, 0), len(buf)
}

// endRecord completes the record at start.
func endRecord(buf []byte, start int) []byte {
	r := buf[start:len(buf):len(buf)]
	binary.LittleEndian.PutUint32(r[1:], crc32.Checksum(r[recordHeader:], castagnoli))
	return r
}

// scanner reads a record. After an error it gives zeros; end tells.
type scanner struct {
	rest []byte
	what string
	bad  bool
}

func openRecord(value []byte, kind byte, what string) scanner {
	if len(value) < recordHeader || value[0] != kind ||
		crc32.Checksum(value[recordHeader:], castagnoli) != binary.LittleEndian.Uint32(value[1:]) {
		return scanner{what: what, bad: true}
	}
	return scanner{rest: value[recordHeader:], what: what}
}

// number reads a uvarint of at most limit.
func (s *scanner) number(limit uint64) uint64 {
	if len(s.rest) > 0 && s.rest[0] < 0x80 && uint64(s.rest[0]) <= limit && !s.bad {
		v := s.rest[0]
		s.rest = s.rest[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(s.rest)
	if n <= 0 || v > limit || s.bad {
		s.bad = true
		return 0
	}
	s.rest = s.rest[n:]
	return v
}

// octets reads n octets.
func (s *scanner) octets(n int) []byte {
	if s.bad || n > len(s.rest) {
		s.bad = true
		return nil
	}
	b := s.rest[:n]
	s.rest = s.rest[n:]
	return b
}

func (s *scanner) bitmap(n uint32) (b bitmap) {
	if s.bad {
		return nil
	}
	var ok bool
	if b, s.rest, ok = readBitmap(s.rest, n); !ok {
		s.bad = true
	}
	return b
}

// end tells whether all was well and nothing is left.
func (s *scanner) end() error {
	if s.bad || len(s.rest) > 0 {
		return damaged("not a sound %s", s.what)
	}
	return nil
}

// The format record.

// formatVersion is that of the layout in doc.go.
const formatVersion = 1

func appendFormat(buf []byte) []byte {
	buf, start := beginRecord(buf, formatKind)
	return endRecord(binary.AppendUvarint(buf, formatVersion), start)
}

func readFormat(value []byte) (version uint64, err error) {
	s := openRecord(value, formatKind, "format version")
	version = s.number(math.MaxUint64)
	if s.bad {
		return 0, damaged("not a sound %s", s.what)
	}
	return version, nil // what follows a newer version is that version's affair
}

// state is the value of an A key: what happened to the messages of a pack.
type state struct {
	n                  uint32
	held               int64 // weight of what a rewritten pack holds; 0 if it was not
	removed, delivered bitmap
	counts             map[uint32]uint32 // deliveries, of slots with more than one
}

const (
	stateRemoved = 1 << iota
	stateDelivered
	stateCounts
)

// stateSize is the most that a state takes.
func stateSize(n uint32, counts int) int64 {
	return recordHeader + 3*binary.MaxVarintLen64 + 2*int64(n/8+1) + 2*binary.MaxVarintLen32*int64(counts)
}

func appendState(buf []byte, s *state) (out, value []byte) {
	buf, start := beginRecord(buf, stateKind)
	buf = binary.AppendUvarint(buf, uint64(s.n))
	buf = binary.AppendUvarint(buf, uint64(s.held))
	var flags byte
	if s.removed.count() > 0 {
		flags |= stateRemoved
	}
	if s.delivered.count() > 0 {
		flags |= stateDelivered
	}
	if len(s.counts) > 0 {
		flags |= stateCounts
	}
	buf = append(buf, flags)
	if flags&stateRemoved != 0 {
		buf = s.removed.appendTo(buf, s.n)
	}
	if flags&stateDelivered != 0 {
		buf = s.delivered.appendTo(buf, s.n)
	}
	if flags&stateCounts != 0 {
		buf = binary.AppendUvarint(buf, uint64(len(s.counts)))
		for slot := range s.n {
			if c, ok := s.counts[slot]; ok {
				buf = binary.AppendUvarint(buf, uint64(slot))
				buf = binary.AppendUvarint(buf, uint64(c))
			}
		}
	}
	return buf, endRecord(buf, start)
}

func readState(value []byte) (*state, error) {
	r := openRecord(value, stateKind, "state of a pack")
	s := &state{n: uint32(r.number(maxSlots)), held: int64(r.number(math.MaxInt64))}
	flags := r.number(stateRemoved | stateDelivered | stateCounts)
	if flags&stateRemoved != 0 {
		s.removed = r.bitmap(s.n)
	}
	if flags&stateDelivered != 0 {
		s.delivered = r.bitmap(s.n)
	}
	if flags&stateCounts != 0 {
		n := r.number(min(uint64(s.n), uint64(len(r.rest))))
		s.counts = make(map[uint32]uint32, n)
		next := uint64(0)
		for range n {
			slot := r.number(math.MaxUint32)
			count := r.number(math.MaxUint32)
			if r.bad || slot < next || slot >= uint64(s.n) || !s.delivered.has(uint32(slot)) {
				return nil, damaged("not a sound %s", r.what)
			}
			s.counts[uint32(slot)] = uint32(count)
			next = slot + 1
		}
	}
	return s, r.end()
}

// info is the value of a T key: what is known of a shared pack without it.
type info struct {
	parts int
	n     uint32
	bytes int64 // weight of what the pack holds
}

func appendInfo(buf []byte, i info) (out, value []byte) {
	buf, start := beginRecord(buf, infoKind)
	buf = binary.AppendUvarint(buf, uint64(i.parts))
	buf = binary.AppendUvarint(buf, uint64(i.n))
	buf = binary.AppendUvarint(buf, uint64(i.bytes))
	return buf, endRecord(buf, start)
}

func readInfo(value []byte) (info, error) {
	r := openRecord(value, infoKind, "index of a shared pack")
	i := info{
		parts: int(r.number(maxParts)),
		n:     uint32(r.number(maxSlots)),
		bytes: int64(r.number(math.MaxInt64)),
	}
	return i, r.end()
}
