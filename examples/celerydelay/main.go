// Command celerydelay delays messages for seconds or years as Celery 5.5 does it with
// RabbitMQ ("native delayed delivery"): by queues in which messages expire, without a
// plugin and without a worker that holds tasks until their time. See topology.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren"
)

// target is where tasks without a delay go, and those with one when it is over.
const target = "celery"

// withoutHeartbeats is the client's part of having none; Options.Heartbeat is the
// broker's. In a test of a delay of years there would be a great many.
const withoutHeartbeats = "amqp://?heartbeat=0"

func main() {
	queueType := flag.String("queue-type", amqp.QueueTypeClassic, "type of the queues: classic or quorum")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout, *queueType, 3*time.Second, 1*time.Second, 2*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "celerydelay:", err)
		os.Exit(1)
	}
}

// run sends a task with each of the delays and waits for all of them.
func run(ctx context.Context, w io.Writer, queueType string, delays ...time.Duration) (err error) {
	b, err := warren.New(warren.Options{Heartbeat: -1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	conn, err := amqp.DialConfig(withoutHeartbeats, amqp.Config{Dial: b.Dial})
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := declareDelays(ch, queueType); err != nil {
		return err
	}
	if err := declareTarget(ch, queueType, target); err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	tasks, err := ch.ConsumeWithContext(ctx, target, "", true, false, false, false, nil)
	if err != nil {
		return err
	}
	start := time.Now()
	for _, delay := range delays {
		if err := send(ctx, ch, fmt.Sprint("task of ", delay), delay); err != nil {
			return err
		}
	}
	for range delays {
		d, ok := <-tasks
		if !ok {
			return errors.Join(errors.New("the consumer ended before all tasks came"), ctx.Err())
		}
		fmt.Fprintf(w, "%s: came after %v\n", d.Body, time.Since(start).Round(10*time.Millisecond))
	}
	return nil
}

// send publishes a task that is due after a delay, and returns when it is safe. The
// channel is in confirm mode.
func send(ctx context.Context, ch *amqp.Channel, task string, delay time.Duration) error {
	exchange, key, err := delayed(delay, target)
	if err != nil {
		return err
	}
	confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false,
		amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(task)})
	if err != nil {
		return err
	}
	acked, err := confirm.WaitContext(ctx)
	if err == nil && !acked {
		err = errors.New("the broker refused a task")
	}
	return err
}
