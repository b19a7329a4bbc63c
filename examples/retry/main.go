// Command retry is a worker whose failed jobs are tried again later, each time
// after a longer wait, and put aside after the last attempt. The broker does all of
// it: the worker only acknowledges or rejects. See topology.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// Minutes and hours in earnest; nobody wants to watch that.
	waits := []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}
	if err := run(ctx, os.Stdout, waits); err != nil {
		fmt.Fprintln(os.Stderr, "retry:", err)
		os.Exit(1)
	}
}

// run works on three jobs until each is done or put aside.
func run(ctx context.Context, w io.Writer, waits []time.Duration) (err error) {
	b, err := warren.New(warren.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	conn, err := amqp.DialConfig("amqp://", amqp.Config{Dial: b.Dial})
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := declare(ch, waits); err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	jobs := []string{"fine", "flaky", "hopeless"}
	for _, job := range jobs {
		if err := submit(ctx, ch, job); err != nil {
			return err
		}
	}

	// One job at a time. What waits for its next attempt holds nobody up.
	if err := ch.Qos(1, 0, false); err != nil {
		return err
	}
	work, err := ch.ConsumeWithContext(ctx, workQueue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	parked, err := ch.ConsumeWithContext(ctx, parkingLot, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	start := time.Now()
	for left := len(jobs); left > 0; {
		select {
		case d, ok := <-work:
			switch {
			case !ok:
				return errors.Join(errors.New("the worker's consumer ended"), ctx.Err())
			case attempt(w, d, time.Since(start)):
				left--
				err = d.Ack(false)
			default:
				err = d.Reject(false) // dead-lettered
			}
		case d, ok := <-parked:
			if !ok {
				return errors.Join(errors.New("the parking lot's consumer ended"), ctx.Err())
			}
			left--
			fmt.Fprintf(w, "%s: put aside after %d attempts\n", d.Body, rejections(d.Headers))
			err = d.Ack(false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// attempt works on a job and reports whether it is done.
func attempt(w io.Writer, d amqp.Delivery, age time.Duration) bool {
	n := rejections(d.Headers) + 1
	age = age.Round(10 * time.Millisecond)
	if err := perform(string(d.Body), n); err != nil {
		fmt.Fprintf(w, "%s: attempt %d after %v: %v\n", d.Body, n, age, err)
		return false
	}
	fmt.Fprintf(w, "%s: attempt %d after %v: done\n", d.Body, n, age)
	return true
}

// perform stands for work that fails now and then.
func perform(job string, attempt int64) error {
	if job == "hopeless" || job == "flaky" && attempt < 3 {
		return errors.New("out of luck")
	}
	return nil
}
