package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A job goes round in a circle:
//
//	exchange jobs ──▶ queue jobs ──(rejected)──▶ exchange jobs.failed
//	     ▲                                               │
//	     └──(expired)── queue jobs.wait.N ◀──────────────┘
//
// Its routing key says which attempt is next. A queue to wait in lets what is in it
// expire after its own time, and gives it the key of the next attempt as it sends it
// back; so the N-th rejection leads to the N-th queue, and the last one to the
// parking lot. There is one queue for each wait, and not one for all with a TTL in
// each message, because messages expire at the head of a queue only: one that waits
// for an hour would hold up those behind it that wait for a second.
//
// No copy is made and none is lost on the way, since no program is between the
// queues. How often a job was rejected, and when it first was, is in its header
// x-death.
const (
	workExchange   = "jobs"
	failedExchange = "jobs.failed"
	workQueue      = "jobs"
	parkingLot     = "jobs.parked"
)

// key is the routing key of a job that is about to be tried for the n-th time.
func key(attempt int) string { return fmt.Sprintf("attempt.%d", attempt) }

// declare makes the topology: a job is tried once more after each of the waits. It
// can be declared again as long as they stay the same.
func declare(ch *amqp.Channel, waits []time.Duration) error {
	for name, kind := range map[string]string{workExchange: amqp.ExchangeTopic, failedExchange: amqp.ExchangeDirect} {
		if err := ch.ExchangeDeclare(name, kind, true, false, false, false, nil); err != nil {
			return err
		}
	}
	// Rejected jobs keep their routing key.
	rejected := amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeClassic, "x-dead-letter-exchange": failedExchange}
	if err := declareBound(ch, workQueue, workExchange, "attempt.*", rejected); err != nil {
		return err
	}
	for i, wait := range waits {
		back := amqp.Table{
			amqp.QueueMessageTTLArg:     wait.Milliseconds(),
			"x-dead-letter-exchange":    workExchange,
			"x-dead-letter-routing-key": key(i + 2),
		}
		if err := declareBound(ch, fmt.Sprintf("jobs.wait.%d", i+1), failedExchange, key(i+1), back); err != nil {
			return err
		}
	}
	return declareBound(ch, parkingLot, failedExchange, key(len(waits)+1), nil)
}

// declareBound makes a queue that outlives a restart, and binds it.
func declareBound(ch *amqp.Channel, name, exchange, key string, args amqp.Table) error {
	if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
		return err
	}
	return ch.QueueBind(name, key, exchange, false, nil)
}

// submit gives a job its first attempt, and returns when it is safe in its queue.
// The channel is in confirm mode.
func submit(ctx context.Context, ch *amqp.Channel, job string) error {
	confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, workExchange, key(1), false, false,
		amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(job)})
	if err != nil {
		return err
	}
	acked, err := confirm.WaitContext(ctx)
	if err == nil && !acked {
		err = errors.New("the broker refused a job")
	}
	return err
}

// rejections says how often a job was rejected from the work queue: the broker counts
// in x-death, in one entry for each queue and reason.
func rejections(headers amqp.Table) int64 {
	deaths, _ := headers["x-death"].([]any)
	for _, d := range deaths {
		if d, ok := d.(amqp.Table); ok && d["queue"] == workQueue && d["reason"] == "rejected" {
			count, _ := d["count"].(int64)
			return count
		}
	}
	return 0
}
