// Package amqp091 lets code that was written for the official Go client,
// github.com/rabbitmq/amqp091-go, run on a broker of the same program without
// a socket, frames or a codec.
//
// [Connection] and [Channel] have the methods of the client's types of those
// names, with the same signatures and the client's own types (amqp.Publishing,
// amqp.Delivery, amqp.Table, *amqp.Error …), and reach the broker's channel
// objects directly. So they satisfy the small interfaces that programs put
// before the client's types, and what such a program does with them has the same
// results, errors included. Only Connection.Channel differs, as it has to return
// this package's [*Channel].
//
// Besides examples and tests, this is the one package of Warren that imports the
// client. A program that does not import it does not link it.
//
// # What is as with the client
//
//   - A refusal is an *amqp.Error with the broker's code and text. It closes the
//     channel or the connection; what is called afterwards gives amqp.ErrClosed.
//   - Methods without an answer, which are those that publish or settle and all
//     with noWait, return nil when the broker refuses them: NotifyClose tells.
//   - A listener that does not take what it is told for 5 seconds loses it, and
//     an error only reaches a NotifyClose channel that has room or a receiver.
//     All listeners are closed when the channel or connection ends.
//   - Confirmations reach listeners in the order of their tags, after the returns
//     that came before them.
//   - Go values become field values as the client writes them: an int becomes 32
//     bits, times lose what is below a second. A string too long for AMQP's short
//     strings ends the connection.
//
// # What is not
//
//   - There is no password: the program vouches for the user that
//     [warren.User] names. Heartbeats, frame sizes and TLS do not exist, and there
//     is nothing to recover: IsRecoveryEnabled reports false, Reconnect gives
//     amqp.ErrClosed, TopologyConfiguration is empty.
//   - After a method without an answer was refused, the channel is known to be
//     closed when the method returns, while the client would learn it a moment
//     later.
//   - Deliveries that nobody receives stay in the queue beyond
//     [warren.Options.MaxUnsent], where the client would read all into its memory.
//   - Close waits at most some 10 seconds for listeners that do not take what they
//     are told.
//   - Consumers without a tag get one from the broker, not from the client.
//     Channel.Confirm does not wait in vain when asked not to wait.
//   - While the broker has an alarm, a publish waits in its method, where the
//     client would fill the socket's buffers first, and nothing else waits: the same
//     connection may consume, settle and close.
//   - A context that a method gets also limits how long it waits for its turn and
//     for a queue that is behind.
package amqp091
