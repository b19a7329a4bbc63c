// Package msgstore keeps queues' messages and a broker's definitions in a
// store.Store. It is all that stands between a queue's store.Log and the medium.
//
// # Committing
//
// One goroutine, the committer, carries out what was submitted. There is no
// timer: a round takes all that arrived while the last one was being made
// durable, so that groups grow with the load. A message that is appended and
// removed again within one round never reaches the medium.
//
// # Layout
//
// Keys are one letter and fixed-width big-endian numbers. A pack is a group's
// messages for one queue; id numbers count packs and are not used twice.
//
//	F                        the version of this layout
//	D kind name              a definition
//	P queue id part          a pack: bodies, routing and properties
//	I queue id               its index: positions and sizes; read by Open instead of the pack
//	A queue id               its state: what was removed and delivered; only if anything was
//	S id part                a shared pack: messages that several queues got in one round
//	T id                     its index; what refers to it is in the queues' indexes
//
// A pack exists exactly if its index does, and a shared pack exactly if its T
// does: where a group is too large for one Apply, packs are written first, and
// one last Apply makes them count. Packs without an index are swept by Open.
//
// When the last message of a pack is removed, all of its keys are deleted in the
// same Apply that would have recorded the removal. A pack of which little is
// left is rewritten with what is left, under the same key and the same slots. Many
// small packs of a queue become one, under a key of its own, in an Apply that deletes
// them.
//
// # Errors
//
// When the medium is full (store.ErrNoSpace) the round fails and nothing else
// changes: appends are forgotten; definitions, removals and marks, and atoms as a
// whole, stay pending in memory and are tried again with the next round, or when
// Retry is called: definitions first, so that no message is durable before the
// queue that it is in. While the medium is full, removals are written on their own,
// before anything that needs room, and what only removes or marks is
// store.Change.Shrinks. Any other error is final.
package msgstore
