// Command requestreply asks a service questions through a queue. Each request has an
// address in its properties where the reply should go: the broker makes it up, for this
// one request, and hands the reply straight to who waits for it. So many requests can be
// under way at once, their replies may come in any order, and there are no queues for
// replies to declare and to clean up.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/warrenmq/warren"
)

// service is the queue in which requests wait.
const service = "squares"

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "requestreply:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) (err error) {
	b, err := warren.New(warren.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()

	// The service and its client have a channel each, like two programs.
	server, err := b.Channel(ctx)
	if err != nil {
		return err
	}
	defer server.Close()
	if _, err := server.DeclareQueue(ctx, service); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() {
		// Two workers, so that a slow answer does not hold up the next one.
		served <- server.Handle(ctx, service, 2, func(ctx context.Context, d warren.Delivery) error {
			return answer(ctx, server, d)
		})
		stop() // nobody answers any more
	}()

	client, err := b.Channel(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	questions := []string{"3", "12", "many"}
	answers, err := ask(ctx, client, questions)
	stop()
	if e := <-served; !errors.Is(e, context.Canceled) {
		err = errors.Join(err, e)
	}
	if err != nil {
		return err
	}
	for i, q := range questions {
		fmt.Fprintf(w, "%s squared: %s\n", q, answers[i])
	}
	return nil
}

// answer replies to one request; the request is acknowledged when it returns nil.
func answer(ctx context.Context, ch *warren.Channel, d warren.Delivery) error {
	request := d.Properties()
	reply := warren.Message{
		// This client needs none, but others tell their replies apart by it.
		Properties: warren.Properties{CorrelationID: request.CorrelationID},
		Body:       square(d.Body),
	}
	// Not mandatory: the client may have gone, and then nobody misses the reply.
	return ch.Publish(ctx, "", request.ReplyTo, reply)
}

func square(number []byte) []byte {
	n, err := strconv.Atoi(string(number))
	if err != nil {
		return []byte("not a number")
	}
	return strconv.AppendInt(nil, int64(n)*int64(n), 10)
}

// ask sends all questions at once and gives the answers in the order of the
// questions.
func ask(ctx context.Context, ch *warren.Channel, questions []string) ([]string, error) {
	answers := make([]string, len(questions))
	errs := make([]error, len(questions))
	var all sync.WaitGroup
	for i, q := range questions {
		all.Go(func() {
			// A *warren.ReturnError here means that there is no such service.
			d, err := ch.Request(ctx, "", service, warren.Message{Body: []byte(q)})
			answers[i], errs[i] = string(d.Body), err
		})
	}
	all.Wait()
	return answers, errors.Join(errs...)
}
