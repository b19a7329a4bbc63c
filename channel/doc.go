// Package channel is one AMQP channel: what a client can ask for, in typed
// methods, with the checks in RabbitMQ's order and its reply texts (contract 03
// and 06).
//
// A Channel knows neither frames nor sockets: a connection calls its methods for
// what it reads and gets what the channel has to say through an Out. The
// in-memory transport does the same without a frame in between.
//
// # Errors
//
// A method that refuses gives a *reply.Error, which ends the channel if its code is
// soft and the connection if it is hard. To carry that out is for the caller, who
// then calls CloseBecause and nothing else. An error of another kind is a fault of a
// type or an interceptor of a user's; reply.From makes an INTERNAL_ERROR of it.
//
// # Goroutines
//
// The methods of a Channel are called by one goroutine at a time, the one that
// reads for the client. Deliveries, confirms and cancellations come from the
// goroutines that run queues, at any time; what they share with the methods is
// guarded by a mutex that is never held while anything waits.
//
// Publishes and acknowledgements are collected for each queue and handed over by
// Flush, by any method that has an answer, and when a good number has come
// together: the caller must Flush before it waits for its client.
package channel
