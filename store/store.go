// Package store says what a queue needs from a disk.
//
// A queue is a state machine that touches no disk itself: it asks for changes
// (Op) and for messages that are not in memory (Range), and is told later what
// became of them. What carries the requests out is a Log, one for each durable
// queue. This package holds the contract only; the first store that keeps
// anything is store/badgerstore.
package store

import "github.com/warrenmq/warren/message"

// OpKind is what an Op does.
type OpKind uint8

const (
	// Append puts Msg at position Seq.
	Append OpKind = iota + 1
	// Remove takes the message at Seq away for good: it was acknowledged,
	// discarded, dropped or purged.
	Remove
	// Delivered marks the message at Seq as delivered before, so that it is
	// redelivered after a restart.
	Delivered
)

// Op is one change to what one queue has on disk.
type Op struct {
	Kind OpKind
	Seq  uint64
	// Msg is the message of an Append. The Op carries a reference to it; the
	// Log releases it when the Op is done.
	Msg *message.Message
	// Atom, if set, makes this Op durable together with all others of the same
	// atom or not at all.
	Atom *Atom
}

// Atom is a set of changes, possibly of several queues, that becomes durable as
// one. It is identified by its address; what it needs to be carried out comes
// with the first store that writes to a disk.
type Atom struct {
	// Participants is the number of queues that add to the atom.
	Participants int
}

// Range is a run of positions whose messages are wanted in memory, both ends
// included.
type Range struct{ From, To uint64 }

// Entry is what a Log knows of one stored message without its body.
type Entry struct {
	Seq         uint64
	Size        int // of the body, in octets
	Redelivered bool
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
	Submit(ops []Op, done func(error))
	// Load reads the messages of a range, in order. Positions that were removed
	// are left out.
	Load(r Range, done func([]Loaded, error))
	// Recover reports what an earlier run left, in order and in batches, then
	// calls done once.
	Recover(batch func([]Entry), done func(error))
	// Drop forgets the queue and everything in it. No callback comes after it.
	Drop()
}
