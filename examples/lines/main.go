// Command lines sends real text through a broker and checks that all of it
// arrives.
//
//	go run ./examples/lines
//
// It starts a broker in this process, serves AMQP on a free TCP port of this
// machine, and uses it as any program would, with RabbitMQ's official Go client.
// The text is the documentation that comes with the Go toolchain: each line is
// one message, published with confirms to a topic exchange under a routing key
// made of where its file lies and what kind of file it is, such as doc.html. Three
// consumers with manual acknowledgements and a prefetch take the lines from three
// queues.
//
// In the end it prints what was sent, confirmed and received, with a checksum
// over all lines. Its exit status is 0 if everything agrees, and 1 otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren"
)

func main() {
	maxLines := flag.Int("lines", 50_000, "send `N` lines at most")
	timeout := flag.Duration("timeout", 2*time.Minute, "give up after this time")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if err := run(ctx, os.Stdout, "", *maxLines); err != nil {
		fmt.Fprintln(os.Stderr, "lines:", err)
		os.Exit(1)
	}
}

// run sends up to maxLines lines of the documentation under root, which is the
// toolchain's if it is empty, and prints the totals. The error says what went
// wrong or does not agree.
func run(ctx context.Context, w io.Writer, root string, maxLines int) (err error) {
	if root == "" {
		if root, err = goroot(ctx); err != nil {
			return err
		}
	}
	text, err := readText(root, maxLines)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d lines of %d files under %s\n", len(text.lines), text.files, root)

	broker, err := warren.New(warren.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, broker.Close()) }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go broker.Serve(l) // it returns when the broker is closed
	fmt.Fprintf(w, "through a broker at %s\n\n", l.Addr())

	t, err := send(ctx, "amqp://guest:guest@"+l.Addr().String(), text.lines)
	t.print(w)
	return errors.Join(err, t.check())
}

// exchange is where the lines are published.
const exchange = "lines"

// queues are the three queues, each with the routing keys that lead to it. Every
// line goes to exactly one of them.
var queues = [...]struct {
	name string
	keys []string
}{
	{"web", []string{"*.html"}},
	{"notes", []string{"*.md", "*.plain"}},
	{"text", []string{"*.txt"}},
}

// send publishes the lines and consumes them at the same time.
func send(ctx context.Context, url string, lines []line) (t totals, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := declare(url); err != nil {
		return t, fmt.Errorf("declare: %w", err)
	}
	taken := make(chan receipt, 1024)
	var consumers []*amqp.Connection
	for i := range queues {
		conn, err := consume(ctx, url, i, taken, cancel)
		if err != nil {
			return t, fmt.Errorf("consume from %s: %w", queues[i].name, err)
		}
		defer conn.Close()
		consumers = append(consumers, conn)
	}
	published := make(chan totals, 1)
	go func() {
		p, err := publish(ctx, url, lines)
		if err != nil {
			cancel(fmt.Errorf("publish: %w", err))
		}
		published <- p
	}()
	for range lines {
		select {
		case r := <-taken:
			t.received[r.queue].add(r.size, r.sum)
			continue
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		break
	}
	p := <-published
	t.sent, t.confirmed, t.nacked, t.returned = p.sent, p.confirmed, p.nacked, p.returned
	for _, conn := range consumers {
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		return t, err
	}
	t.left, err = deleteAll(url)
	return t, err
}

// prefetch is how many lines a consumer may hold without having acknowledged
// them.
const prefetch = 100

// consume acknowledges what comes from a queue and reports it to taken, until its
// connection is closed.
func consume(ctx context.Context, url string, queue int, taken chan<- receipt, failed context.CancelCauseFunc) (*amqp.Connection, error) {
	conn, ch, err := dial(url)
	if err != nil {
		return nil, err
	}
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	ds, err := ch.Consume(queues[queue].name, "", false, false, false, false, nil)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go func() {
		for d := range ds {
			if err := d.Ack(false); err != nil {
				failed(fmt.Errorf("acknowledge a line of %s: %w", queues[queue].name, err))
				return
			}
			select {
			case taken <- receipt{queue: queue, size: len(d.Body), sum: checksum(d.Body)}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return conn, nil
}

// maxUnconfirmed is how many lines may be on their way to the broker.
const maxUnconfirmed = 1000

// publish sends the lines and waits until the broker has answered for all of
// them.
func publish(ctx context.Context, url string, lines []line) (t totals, err error) {
	conn, ch, err := dial(url)
	if err != nil {
		return t, err
	}
	defer conn.Close()
	if err := ch.Confirm(false); err != nil {
		return t, err
	}
	returns := ch.NotifyReturn(make(chan amqp.Return, maxUnconfirmed))
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, maxUnconfirmed))
	waiting := 0
	answer := func() error {
		select {
		case c, open := <-confirms:
			switch {
			case !open:
				return errors.New("the channel was closed")
			case c.Ack:
				t.confirmed++
			default:
				t.nacked++
			}
			waiting--
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for _, l := range lines {
		if waiting == maxUnconfirmed {
			if err := answer(); err != nil {
				return t, err
			}
		}
		// Mandatory: a line that no queue wants comes back.
		err := ch.PublishWithContext(ctx, exchange, l.key, true, false, amqp.Publishing{
			ContentType: "text/plain", Body: l.body,
		})
		if err != nil {
			return t, err
		}
		waiting++
		t.sent.add(len(l.body), checksum(l.body))
	}
	for waiting > 0 {
		if err := answer(); err != nil {
			return t, err
		}
	}
	// A return comes before its confirm, so that all are here by now.
	t.returned = len(returns)
	return t, nil
}

// declare makes the exchange, the queues and the bindings.
func declare(url string) error {
	conn, ch, err := dial(url)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := ch.ExchangeDeclare(exchange, amqp.ExchangeTopic, false, false, false, false, nil); err != nil {
		return err
	}
	for _, q := range queues {
		if _, err := ch.QueueDeclare(q.name, false, false, false, false, nil); err != nil {
			return err
		}
		for _, key := range q.keys {
			if err := ch.QueueBind(q.name, key, exchange, false, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// deleteAll deletes the queues and gives the number of lines that were in them.
func deleteAll(url string) (left int, err error) {
	conn, ch, err := dial(url)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	for _, q := range queues {
		n, err := ch.QueueDelete(q.name, false, false, false)
		if err != nil {
			return left, err
		}
		left += n
	}
	return left, nil
}

func dial(url string) (*amqp.Connection, *amqp.Channel, error) {
	conn, err := amqp.Dial(url)
	if err != nil {
		return nil, nil, err
	}
	ch, err := conn.Channel()
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, ch, nil
}
