// Command tcp serves a broker over TCP, as for programs on other machines and in
// other languages, and connects to it with RabbitMQ's official Go client.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tcp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) error {
	b, err := warren.New(warren.Options{})
	if err != nil {
		return err
	}
	// Port 0 lets the system choose one; the usual one is 5672. The user guest may
	// connect from this machine only, so make another one for others.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, b.Close())
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(l) }()

	err = talk(ctx, w, "amqp://guest:guest@"+l.Addr().String())

	// Shutdown tells clients that are still there that the connection closes, and
	// waits until they have gone, no longer than ctx lasts.
	err = errors.Join(err, b.Shutdown(ctx))
	if e := <-served; !errors.Is(e, warren.ErrClosed) {
		err = errors.Join(err, e)
	}
	if err == nil {
		fmt.Fprintln(w, "the broker has shut down")
	}
	return err
}

// talk is what any AMQP client does, with any broker.
func talk(ctx context.Context, w io.Writer, url string) (err error) {
	conn, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	fmt.Fprintln(w, "connected over", conn.RemoteAddr().Network())

	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	// One fanout exchange, and a queue for each of two subscribers.
	if err := ch.ExchangeDeclare("news", amqp.ExchangeFanout, false, false, false, false, nil); err != nil {
		return err
	}
	subscribers := []string{"mail", "web"}
	for _, name := range subscribers {
		if _, err := ch.QueueDeclare(name, false, false, false, false, nil); err != nil {
			return err
		}
		if err := ch.QueueBind(name, "", "news", false, nil); err != nil {
			return err
		}
	}
	if err := ch.PublishWithContext(ctx, "news", "", false, false, amqp.Publishing{Body: []byte("it works")}); err != nil {
		return err
	}
	for _, name := range subscribers {
		deliveries, err := ch.ConsumeWithContext(ctx, name, "", false, false, false, false, nil)
		if err != nil {
			return err
		}
		d, ok := <-deliveries
		if !ok {
			return fmt.Errorf("the consumer of %s ended before the news came", name)
		}
		fmt.Fprintf(w, "%s received %s\n", name, d.Body)
		if err := d.Ack(false); err != nil {
			return err
		}
	}
	return nil
}
