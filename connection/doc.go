// Package connection is one AMQP 0-9-1 connection as a broker sees it: the
// handshake, tuning, heartbeats, the way from frames to channels and back, and
// how it all ends (contract 01 and 02).
//
// # Goroutines
//
// A connection has two: the reader, which is the goroutine that calls Serve and
// carries out everything the client asks for, and the writer, the only one that
// writes to the socket once the handshake is done with its first octets. Whoever
// has something for the client puts it into the outbox, which never blocks.
package connection
