// Package warren is an AMQP 0-9-1 broker that lives inside a Go program and
// behaves like RabbitMQ.
//
// New makes a broker; Serve and ListenAndServe let AMQP clients of any language
// connect to it over TCP; Shutdown ends it. A broker starts no goroutine that
// outlives it, keeps no global state, logs nothing unless Options.Logger is set,
// and any number of them can live in one process.
//
// How it behaves is RabbitMQ 3.10's contract, down to reply codes and texts;
// docs/architecture.md says how it is built.
//
// # Errors
//
// What the broker refuses, it refuses with an *Error that carries AMQP's reply
// code and RabbitMQ's text; errors.Is(err, warren.NotFound) and the like tell
// what kind it is.
package warren
