// Command twobrokers runs two brokers in one process and forwards the messages of
// a queue from one to the other. A message is acknowledged at its source only
// once the other broker has confirmed it: whatever goes wrong, it is in at least
// one of the two.
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

// The queue the messages come from, and the one they go to.
const (
	outbox = "outbox"
	inbox  = "inbox"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "twobrokers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) (err error) {
	// Brokers share nothing: each has its own queues, users and connections.
	near, closeNear, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeNear()) }()
	far, closeFar, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeFar()) }()

	if _, err := near.DeclareQueue(ctx, outbox); err != nil {
		return err
	}
	const messages = 3
	for i := range messages {
		m := warren.Message{Body: fmt.Appendf(nil, "message %d", i+1)}
		if err := near.PublishConfirmed(ctx, "", outbox, m); err != nil {
			return err
		}
	}

	// The other broker has no such queue yet, so that it returns what it gets.
	// Nothing is lost: leaving the loop puts the message back where it was.
	err = forward(ctx, near, far, messages)
	var returned *warren.ReturnError
	if !errors.As(err, &returned) {
		return fmt.Errorf("forwarding to nowhere: %w", err)
	}
	fmt.Fprintln(w, "no queue to forward to:", err)
	if err := count(ctx, w, near, outbox); err != nil {
		return err
	}

	if _, err := far.DeclareQueue(ctx, inbox); err != nil {
		return err
	}
	if err := forward(ctx, near, far, messages); err != nil {
		return err
	}
	fmt.Fprintln(w, "forwarded", messages)
	if err := count(ctx, w, near, outbox); err != nil {
		return err
	}
	return count(ctx, w, far, inbox)
}

// open starts a broker and opens a channel of it.
func open(ctx context.Context) (*warren.Channel, func() error, error) {
	b, err := warren.New(warren.Options{})
	if err != nil {
		return nil, nil, err
	}
	ch, err := b.Channel(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, b.Close())
	}
	return ch, b.Close, nil // closing a broker closes its channels
}

// forward moves n messages, properties included.
func forward(ctx context.Context, from, to *warren.Channel, n int) error {
	for d, err := range from.Consume(ctx, outbox, warren.Prefetch(100)) {
		if err != nil {
			return err
		}
		m := warren.Message{Properties: d.Properties(), Body: d.Body}
		if err := to.PublishConfirmed(ctx, "", inbox, m); err != nil {
			return err
		}
		if err := d.Ack(); err != nil {
			return err // it is in both now: a consumer must bear a copy
		}
		if n--; n == 0 {
			break
		}
	}
	return nil
}

// count prints how many messages wait in a queue.
func count(ctx context.Context, w io.Writer, ch *warren.Channel, queue string) error {
	q, err := ch.DeclareQueue(ctx, queue, warren.Passive())
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s has %d\n", queue, q.Messages)
	return nil
}
