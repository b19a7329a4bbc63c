package msgstore

import "math/bits"

// bitmap is a set of slots. A nil one is empty.
type bitmap []uint64

func makeBitmap(n uint32) bitmap { return make(bitmap, (n+63)/64) }

func (b bitmap) has(i uint32) bool {
	return int(i/64) < len(b) && b[i/64]&(1<<(i%64)) != 0
}

func (b bitmap) set(i uint32)   { b[i/64] |= 1 << (i % 64) }
func (b bitmap) clear(i uint32) { b[i/64] &^= 1 << (i % 64) }

func (b bitmap) count() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// appendTo writes the first n bits, lowest first, in whole octets.
func (b bitmap) appendTo(out []byte, n uint32) []byte {
	for i := range (n + 7) / 8 {
		var octet byte
		if int(i/8) < len(b) {
			octet = byte(b[i/8] >> (i % 8 * 8))
		}
		out = append(out, octet)
	}
	return out
}

// readBitmap is the reverse of appendTo; bits beyond n must be 0.
func readBitmap(in []byte, n uint32) (b bitmap, rest []byte, ok bool) {
	octets := int(n+7) / 8
	if len(in) < octets {
		return nil, nil, false
	}
	b = makeBitmap(n)
	for i, octet := range in[:octets] {
		b[i/8] |= uint64(octet) << (i % 8 * 8)
	}
	if n%8 != 0 && in[octets-1]>>(n%8) != 0 {
		return nil, nil, false
	}
	return b, in[octets:], true
}

// Weights. What a message takes in a pack is remembered in one octet, rounded
// down by an eighth at the most: enough to tell when a pack is mostly dead.

// overhead is about what a message takes beyond its body.
const overhead = 64

func weigh(size uint32) uint8 {
	w := uint64(size) + overhead
	n := bits.Len64(w)
	return uint8((n-7)<<3 | int(w>>(n-4)&7))
}

func weight(code uint8) int64 { return int64(8+code&7) << (code>>3 + 3) }
