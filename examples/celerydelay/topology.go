package main

import (
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// The topology, by the names that kombu gives it. A delay in whole seconds is a
// number of 28 bits. For each bit there is a level: a topic exchange and a queue in
// which messages expire after as many seconds as the bit is worth. A message carries
// its delay in its routing key, one word for each bit, the highest first. At each
// level it waits in the queue if its bit is 1, and passes by if it is 0:
//
//	publisher ──▶ exchange 27 ──(1.#)──▶ queue 27, 2^27 s ──(expired)──┐
//	                   └───────(0.#)────────────────────────▶ exchange 26 ◀┘
//	              exchange 26 ──(*.1.#)──▶ queue 26, 2^26 s ──(expired)──┐
//	                   └───────(*.0.#)──────────────────────▶ exchange 25 ◀┘
//	                   …
//	              exchange 0, queue 0, 1 s ──▶ exchange celery_delayed_delivery
//	                                              └─(#.KEY)──▶ where the task was to go
//
// In each queue all messages wait equally long, so that the first one in it is the
// first one to leave. 28 queues do for every delay up to eight and a half years.
const (
	levels           = 28
	deliveryExchange = "celery_delayed_delivery"
	maxDelay         = (1<<levels - 1) * time.Second
)

// level is the name of the exchange and of the queue of a bit.
func level(bit int) string { return fmt.Sprintf("celery_delayed_%d", bit) }

// words is the pattern of keys whose bit is 0 or 1.
func words(bit int, value string) string {
	return strings.Repeat("*.", levels-1-bit) + value + ".#"
}

// declareDelays makes the topology with queues of a type, classic or quorum. Celery
// asks for quorum by default; then a message is on its way from one queue to the next
// until the next one has confirmed it (x-dead-letter-strategy).
func declareDelays(ch *amqp.Channel, queueType string) error {
	next := deliveryExchange
	if err := declareTopic(ch, next); err != nil {
		return err
	}
	for bit := range levels { // from the lowest on, so that what follows is there
		name := level(bit)
		if err := declareTopic(ch, name); err != nil {
			return err
		}
		args := amqp.Table{
			amqp.QueueTypeArg:        queueType,
			amqp.QueueOverflowArg:    amqp.QueueOverflowRejectPublish,
			amqp.QueueMessageTTLArg:  int64(1000) << bit,
			"x-dead-letter-exchange": next,
		}
		if queueType == amqp.QueueTypeQuorum {
			args["x-dead-letter-strategy"] = "at-least-once"
		}
		if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
			return err
		}
		if err := ch.QueueBind(name, words(bit, "1"), name, false, nil); err != nil {
			return err
		}
		if err := ch.ExchangeBind(next, words(bit, "0"), name, false, nil); err != nil {
			return err
		}
		next = name
	}
	return nil
}

// declareTarget makes the exchange and the queue of the tasks themselves, and leads
// to it what comes from the delays. The key has the delay's bits before it then,
// which is why the exchange must be a topic exchange.
func declareTarget(ch *amqp.Channel, queueType, name string) error {
	if err := declareTopic(ch, name); err != nil {
		return err
	}
	if _, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{amqp.QueueTypeArg: queueType}); err != nil {
		return err
	}
	if err := ch.QueueBind(name, "#."+name, name, false, nil); err != nil {
		return err
	}
	return ch.ExchangeBind(name, "#."+name, deliveryExchange, false, nil)
}

func declareTopic(ch *amqp.Channel, name string) error {
	return ch.ExchangeDeclare(name, amqp.ExchangeTopic, true, false, false, false, nil)
}

// delayed gives the exchange and the routing key by which a task comes to a target
// after a delay. What is left of a whole second is cut off, as in Celery.
func delayed(delay time.Duration, target string) (exchange, key string, err error) {
	if delay < time.Second || delay > maxDelay {
		return "", "", fmt.Errorf("a delay of %v, which is not within 1s and %v", delay, maxDelay)
	}
	var b strings.Builder
	for _, bit := range fmt.Sprintf("%0*b", levels, delay/time.Second) {
		b.WriteRune(bit)
		b.WriteByte('.')
	}
	return level(levels - 1), b.String() + target, nil
}
