// Package metamorphic holds the test that all ways into a broker are alike. It
// has no code of its own.
//
// Random histories of operations are played over TCP and Pipe with the official
// client, with package amqp091, and with the native API, and what a program sees
// of each has to be the same: results, errors with code and text and what they
// end, deliveries with all their properties, returns, confirms, cancellations, and
// what is left in the broker. There is no model of a broker here that says what is
// right: the conformance suite does that, over TCP.
//
// A history is played step by step, and each step waits until nothing is under
// way any more. So what is not ordered in AMQP, such as deliveries on different
// channels, does not make two players of one history differ. When two do, the
// history is shrunk to the steps that it takes.
package metamorphic
