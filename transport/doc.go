// Package transport holds the ways into a broker that do not leave the process.
//
// There are two of them. Memory, of a Local connection, calls channel objects
// directly, with no frame, codec or connection in between. Pipe is for AMQP
// clients that want a [net.Conn]: a buffered connection in memory, over which
// the same octets travel as over TCP. A PipeListener hands the server ends of
// such connections to whatever serves a [net.Listener].
//
// What comes through memory comes from this machine: the network of a pipe's
// addresses is "pipe", which package auth counts as local.
//
// Everything here works inside a bubble of testing/synctest, as long as whoever
// uses it lives in the bubble it was made in: all waiting is on channels and
// condition variables that are made with it, and never while a mutex is held.
package transport
