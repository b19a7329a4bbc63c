package queue

import "github.com/warrenmq/warren/message"

const (
	segBits = 6
	segSize = 1 << segBits
)

// segment holds the messages of segSize positions. What is known of a message
// that is not in memory is its size and its flags, five octets: ten million of
// them fit where ten million pointers would not.
type segment struct {
	msgs   *messages       // nil, or the bodies that are in memory
	live   int16           // how many messages there are
	bodies int16           // how many of them are in memory
	levels *[segSize]uint8 // nil but in a priority queue
	sizes  [segSize]uint32
	flags  [segSize]slotFlags
	rare   *rare // nil as long as there is nothing in it
}

// rare is what is known of messages in few queues, in a place of its own so that the
// segments of others stay small.
type rare struct {
	// expiries are when messages expire, in milliseconds since 1970 and 0 for
	// never; nil as long as none of them ever does.
	expiries *[segSize]int64
	// counts are how often messages were delivered before, in a queue that counts;
	// nil as long as none of them was.
	counts *[segSize]uint32
}

func (seg *segment) extend() *rare {
	if seg.rare == nil {
		seg.rare = new(rare)
	}
	return seg.rare
}

type messages [segSize]*message.Message

// slotFlags is what is known of one message; 0 if it is gone.
type slotFlags uint8

const (
	// A message is ready, or held by a consumer, or neither: then it is dying, and
	// here only to be taken off the store.
	slotReady slotFlags = 1 << iota
	slotHeld
	// redelivered says that it was delivered before.
	redelivered
	// stored says that the store has it, or was asked to: it must be asked to
	// remove it.
	stored
	// kept says that the store has it: its body may leave memory.
	kept
	// paged says of a stored one that it is there only to be out of memory: it
	// does not survive a restart.
	paged
	// refused says that the store did not take it: it stays in memory.
	refused
	// loading says that its body is on its way back.
	loading
)

// slot is one message in its place, for as long as it is there.
type slot struct {
	seg *segment
	i   int
}

func (s slot) gone() bool             { return s.seg == nil || s.seg.flags[s.i] == 0 }
func (s slot) is(f slotFlags) bool    { return s.seg != nil && s.seg.flags[s.i]&f == f }
func (s slot) isAny(f slotFlags) bool { return s.seg.flags[s.i]&f != 0 }
func (s slot) set(f slotFlags)        { s.seg.flags[s.i] |= f }
func (s slot) unset(f slotFlags)      { s.seg.flags[s.i] &^= f }

// dying reports a message that left the queue and is still in the store.
func (s slot) dying() bool { return !s.gone() && !s.isAny(slotReady|slotHeld) }

// expiry is when the message expires, in milliseconds since 1970; 0 is never.
func (s slot) expiry() int64 {
	if r := s.seg.rare; r != nil && r.expiries != nil {
		return r.expiries[s.i]
	}
	return 0
}

func (s slot) setExpiry(at int64) {
	if s.expiry() == at {
		return
	}
	r := s.seg.extend()
	if r.expiries == nil {
		r.expiries = new([segSize]int64)
	}
	r.expiries[s.i] = at
}

// count is how often the message was delivered before, in a queue that counts.
func (s slot) count() uint32 {
	if r := s.seg.rare; r != nil && r.counts != nil {
		return r.counts[s.i]
	}
	return 0
}

func (s slot) setCount(n uint32) {
	if s.count() == n {
		return
	}
	r := s.seg.extend()
	if r.counts == nil {
		r.counts = new([segSize]uint32)
	}
	r.counts[s.i] = n
}

// size is that of the body in octets.
func (s slot) size() int { return int(s.seg.sizes[s.i]) }

// level is that of a message in a priority queue.
func (s slot) level() uint8 { return s.seg.levels[s.i] }

func (s slot) setLevel(l uint8) {
	if s.seg.levels == nil {
		s.seg.levels = new([segSize]uint8)
	}
	s.seg.levels[s.i] = l
}

// msg is the message, nil while only the store has it.
func (s slot) msg() *message.Message {
	if s.seg.msgs == nil {
		return nil
	}
	return s.seg.msgs[s.i]
}

// clear forgets the message. The memory for bodies stays with the segment, which
// may be used again.
func (s slot) clear() {
	if s.msg() != nil {
		s.seg.msgs[s.i] = nil
		s.seg.bodies--
	}
	s.seg.flags[s.i] = 0
	s.seg.live--
}
