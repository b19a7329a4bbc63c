// Package warren is an AMQP 0-9-1 broker that lives inside a Go program and
// behaves like RabbitMQ.
//
// New makes a broker, and Shutdown or Close ends it. In between there are three
// ways to use it:
//
//   - Broker.Channel gives the program a Channel: typed methods, contexts and
//     errors, with no socket and no codec in between.
//   - Broker.Dial gives a net.Conn through memory, over which an AMQP client for Go
//     runs unchanged: the broker as a test double. Package amqp091 has the official
//     client's types without even that.
//   - Broker.Serve and Broker.ListenAndServe let AMQP clients of any language
//     connect over TCP.
//
// All of them reach the same virtual hosts, exchanges and queues. A broker starts no
// goroutine that outlives it, keeps no global state, logs nothing unless
// Options.Logger is set, and any number of them can live in one process.
//
// Without Options.Store everything is kept in memory and gone with the broker. With
// one, such as store/badgerstore, what is durable survives restarts and crashes, and a
// persistent message is confirmed when it is on the disk.
//
// How it behaves is RabbitMQ 3.10's contract, down to reply codes and texts;
// docs/architecture.md says how it is built. Comments that name a "contract" and a
// section mean the description of it that Warren is built from.
//
// # Errors
//
// What the broker refuses, it refuses with an *Error that carries AMQP's reply
// code and RabbitMQ's text; errors.Is(err, warren.NotFound) and the like tell
// what kind it is. As in AMQP a refusal closes the Channel that it is about. Other
// errors are ErrClosed of a broker that ends, those of contexts, and the Err values
// of this package, for errors.Is.
//
// # Goroutines
//
// The methods of Broker, Channel, Delivery, Confirmation and EventStream may be
// called from any goroutine. The rest are plain values. What a program plugs in, such
// as an interceptor or an exchange type, has rules of its own, which its package
// tells.
//
// # Looking in
//
// Broker.Stats, Connections, Queues, Exchanges and Bindings give what there is as
// plain values of one moment; Broker.Events tells what comes and goes.
package warren
