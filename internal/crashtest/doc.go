// Package crashtest proves that a broker keeps its word across kill -9.
//
// Run starts a broker in a process of its own on a data directory, works it with
// the official client at full speed, kills it at a random moment, starts it again
// on the same directory, and looks at what is there. It does so for many cycles.
//
// What may be there follows from a Ledger: it knows what was sent and what was
// answered, and so for each message in each queue whether it must be there, must
// not be there, or may be either. A message is made from its id alone, so that
// whatever comes out of a queue can be compared with what was put in, octet for
// octet. Definitions are held to a model: what is found after a crash is the state
// before or after the one change that was under way.
//
// What is known, and by what:
//
//   - A publish is durable when it was confirmed, or its transaction was.
//   - An acknowledgement promises nothing by itself. It is durable when a publish
//     that was sent after it, on the same channel and to the same queue, was
//     confirmed, or when it is part of a transaction whose commit was answered.
//   - That a message was delivered is durable when a publish to the queue that was
//     sent after the delivery had come was confirmed.
//
// A confirm is evidence for the two latter only if nobody acknowledged the message
// before its confirm came, for a broker may confirm what never reached its disk
// because it came and went.
//
// The package is for tests and for the command in cmd/crash; docs/testing.md says
// how to run it for long.
package crashtest
