// Package confirm keeps account of the publishes of one channel until every
// queue they were routed to has answered, and turns the answers into the
// basic.ack and basic.nack methods that RabbitMQ would send (contract 06 §6).
//
// It knows nothing of queues, channels or frames: a publish is a number and how
// many answers it waits for.
package confirm
