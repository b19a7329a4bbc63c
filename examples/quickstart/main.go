// Command quickstart is the shortest way from nothing to a message: a broker in
// this process, a channel of it, a queue, three messages in and out again. There
// is no server to start, no address and no client library.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/warrenmq/warren"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) (err error) {
	b, err := warren.New(warren.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()

	// A channel may be used by any number of goroutines. What the broker refuses
	// closes it, as AMQP wants it, and the call returns a *warren.Error.
	ch, err := b.Channel(ctx)
	if err != nil {
		return err
	}
	defer ch.Close()
	if _, err := ch.DeclareQueue(ctx, "greetings"); err != nil {
		return err
	}

	names := []string{"Ada", "Edsger", "Grace"}
	for _, name := range names {
		m := warren.Message{Body: []byte("hello " + name)}
		// The exchange without a name routes to the queue that the key names. Nil
		// means that the queue has the message.
		if err := ch.PublishConfirmed(ctx, "", "greetings", m); err != nil {
			return err
		}
	}
	fmt.Fprintln(w, "confirmed", len(names))

	received := 0
	for d, err := range ch.Consume(ctx, "greetings", warren.Prefetch(10)) {
		if err != nil {
			return err // the queue or the channel is gone, or ctx has ended
		}
		fmt.Fprintf(w, "received %s\n", d.Body)
		if err := d.Ack(); err != nil {
			return err
		}
		// Leaving the loop ends the consumer; what it had not acknowledged by
		// then would return to the queue.
		if received++; received == len(names) {
			break
		}
	}

	q, err := ch.DeclareQueue(ctx, "greetings", warren.Passive())
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "left", q.Messages)
	return nil
}
