package amqp091

import amqp "github.com/rabbitmq/amqp091-go"

// NotifyClose registers a listener for the reason of the channel's end, which may
// be that of the connection. It gets none if the end is asked for by Close, and is
// closed in any case. Give it room for one.
func (ch *Channel) NotifyClose(c chan *amqp.Error) chan *amqp.Error {
	return register(&ch.mu, ch.finished, &ch.closes, c)
}

// NotifyFlow registers a listener for the broker's channel.flow. RabbitMQ never
// sends it, so that the listener is closed at the end without having been told
// anything.
func (ch *Channel) NotifyFlow(c chan bool) chan bool {
	return register(&ch.mu, ch.finished, &ch.flows, c)
}

// NotifyReturn registers a listener for mandatory messages that had no route.
func (ch *Channel) NotifyReturn(c chan amqp.Return) chan amqp.Return {
	return register(&ch.mu, ch.finished, &ch.returns, c)
}

// NotifyCancel registers a listener for the tags of consumers that the broker
// cancels, because their queue was deleted. It is told before the consumer's
// deliveries are closed.
func (ch *Channel) NotifyCancel(c chan string) chan string {
	return register(&ch.mu, ch.finished, &ch.cancelled, c)
}

// NotifyPublish registers a listener for the confirmations of a channel in
// confirm mode, which come in the order of their tags.
func (ch *Channel) NotifyPublish(confirm chan amqp.Confirmation) chan amqp.Confirmation {
	ch.confirms.listen()
	return register(&ch.mu, ch.finished, &ch.publishes, confirm)
}

// NotifyConfirm is NotifyPublish with a listener for acks and one for nacks, which
// may be the same.
func (ch *Channel) NotifyConfirm(ack, nack chan uint64) (chan uint64, chan uint64) {
	ch.confirms.listen()
	ch.mu.Lock()
	defer ch.mu.Unlock()
	select {
	case <-ch.finished:
		close(ack)
		if nack != ack {
			close(nack)
		}
	default:
		ch.tags = append(ch.tags, tagListener{ack, nack})
	}
	return ack, nack
}

// NotifyStateChange registers a listener for the steps to the channel's end, as
// Connection.NotifyStateChange does for the connection's.
func (ch *Channel) NotifyStateChange(c chan *amqp.StateChanged) {
	registerState(&ch.mu, ch.finished, &ch.states, c)
}

// NotifyRecoveryCancel registers a listener that is closed at the end: there is
// no recovery.
func (ch *Channel) NotifyRecoveryCancel(receiver chan struct{}) chan struct{} {
	return register(&ch.mu, ch.finished, &ch.cancels, receiver)
}
