// Package exchange routes messages: exchanges, their types, the bindings
// between them and to queues, and the way a message takes through all of them
// (contract 04).
//
// A Type is a kind of exchange. direct, fanout, topic and headers are built in;
// users write their own and hand them to NewTypes.
//
// A Topology holds the exchanges and bindings of one virtual host. Its changes
// are serialised by a mutex; Lookup and Route take no lock. That works because
// a Router, which is what a Type makes of an exchange's bindings, is immutable:
// a change makes a new one that shares most of the old one, and the exchange
// swaps it in at once.
//
// Errors that a client is to see are *reply.Error with RabbitMQ's texts.
package exchange
