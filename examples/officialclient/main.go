// Command officialclient shows RabbitMQ's official Go client, unchanged, with a
// broker in the same process. The client is handed a dial function that connects
// through memory: there is no port to choose, nothing to wait for, and nobody
// else can connect.
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
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "officialclient:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) (err error) {
	b, err := warren.New(warren.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()

	// The URL may name a user, a password and a virtual host; without, they are
	// guest, guest and "/". Its host does not matter.
	conn, err := amqp.DialConfig("amqp://", amqp.Config{Dial: b.Dial})
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintln(w, "connected over", conn.RemoteAddr().Network())

	// From here on it is the client as everywhere.
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	q, err := ch.QueueDeclare("orders", false, false, false, false, nil)
	if err != nil {
		return err
	}
	order := amqp.Publishing{ContentType: "text/plain", Body: []byte("two teas")}
	confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", q.Name, true, false, order)
	if err != nil {
		return err
	}
	acked, err := confirm.WaitContext(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "confirmed", acked)

	deliveries, err := ch.ConsumeWithContext(ctx, q.Name, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	d, ok := <-deliveries
	if !ok {
		return errors.New("the consumer ended before the order came")
	}
	fmt.Fprintf(w, "received %s (%s)\n", d.Body, d.ContentType)
	return d.Ack(false)
}
