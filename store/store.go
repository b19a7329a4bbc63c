// Package store says what a queue needs from a disk.
//
// A queue is a state machine that touches no disk itself: it asks for changes
// (Op) and for messages that are not in memory (Range), and is told later what
// became of them. What carries the requests out is a Log, one for each durable
// queue. Package msgstore makes Logs out of a Store, an ordered map on some
// medium. This package holds the contracts only.
package store

import "github.com/warrenmq/warren/message"

// OpKind is what an Op does.
type OpKind uint8

const (
	// Append puts Msg at position Seq.
	Append OpKind = iota + 1
	// Remove takes the message at Seq away for good, or all from Seq to To: it
	// was acknowledged, discarded, dropped or purged. Positions where there is
	// nothing are passed over: a queue may remove what it asked to append
	// before it hears that the append failed, and may ask once more for a
	// Remove that failed.
	Remove
	// Delivered marks the message at Seq as delivered before, so that it is
	// redelivered after a restart.
	Delivered
)

// Op is one change to what one queue has on disk.
type Op struct {
	Kind OpKind
	// Transient says of an Append that the message is only to be out of memory:
	// it must never come back after a restart, nobody waits for it to be durable,
	// and it need not be synced.
	Transient bool
	// Deliveries is how often the message was delivered: for Delivered, where 0
	// means once, and for an Append of one that was delivered before.
	Deliveries uint32
	// Seq is the position. A position that is taken must not be appended again.
	// Removing or marking one that the Log does not have changes nothing.
	Seq uint64
	// To is the last position of a Remove of more than one; else it is 0.
	To uint64
	// Expiry is when the message of an Append expires, in milliseconds since
	// 1970; 0 for never. The Log only hands it back in the Entry.
	Expiry int64
	// Msg is the message of an Append. The Op carries a reference to it; the
	// Log releases it when the Op is done.
	Msg *message.Message
	// Atom, if set, makes this Op durable together with all others of the same
	// atom or not at all.
	Atom *Atom
}

// Range is a run of positions whose messages are wanted in memory, both ends
// included.
type Range struct{ From, To uint64 }

// Entry is what a Log knows of one stored message without its body.
type Entry struct {
	Seq         uint64
	Size        int   // of the body, in octets
	Expiry      int64 // as in Op
	Deliveries  uint32
	Priority    uint8
	Redelivered bool // Deliveries is not 0
}

// Loaded is one message read back. It carries a reference.
type Loaded struct {
	Seq uint64
	Msg *message.Message
}

// Log keeps one queue's messages. Its methods never block and may be called by
// one goroutine at a time; the callbacks come from goroutines of the Log, never
// from within the call.
type Log interface {
	// Submit hands in changes in their order. done is called once for each
	// Submit, in the order of the calls, with nil once all of them are durable,
	// or with the error for which none of them may be relied upon. The Log owns
	// ops from the call on.
	//
	// The ops of one Submit have all the same Atom, or none. One with an Atom is
	// not carried out before the atom is whole, and is done, with an error, if
	// the atom failed; what is submitted after it is done after it.
	//
	// After an error that is ErrNoSpace the Log goes on: it forgets the Appends
	// that failed, so that their messages have to stay in memory, but carries out
	// the Removes and marks, and everything that belongs to an Atom, as soon as
	// it can. After any other error every later Submit fails as well.
	Submit(ops []Op, done func(error))
	// Load reads the messages of a range, in order. Positions that were removed
	// are left out. There may be several loads at once; done is called in the
	// order of the calls.
	Load(r Range, done func([]Loaded, error))
	// Recover reports what an earlier run left, in order and in batches, then
	// calls done once. The queue goes on after the highest position reported, so
	// that positions above it, whose messages were all removed, are used again.
	Recover(batch func([]Entry), done func(error))
	// Drop forgets the queue and everything in it, also what is in an atom that
	// is not whole yet: the atom goes on without it. No callback begins after it;
	// one that is under way in another goroutine may still end.
	Drop()
}
