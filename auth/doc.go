// Package auth knows who may connect and what they may do: users and their
// passwords, permissions in virtual hosts, and the SASL mechanisms of the
// AMQP handshake. It behaves as RabbitMQ's internal backend does; see contract
// 02 §2.3, 03 §4 and 08 §2 to §4.
//
// Everything is kept in a Registry, one for each broker. It holds no
// connections and knows no virtual hosts of its own: permissions name a virtual
// host, and whoever deletes one has to say so with DeleteVHost.
//
// # Patterns
//
// Permissions are regular expressions in the syntax of package regexp (RE2).
// They are searched for anywhere in a name unless they are anchored. RabbitMQ's
// are Perl's; what RE2 does not know of these, look-ahead and back references,
// is refused when the permission is set.
package auth
