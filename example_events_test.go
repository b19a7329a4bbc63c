package warren_test

import (
	"context"
	"fmt"
	"log"

	"github.com/warrenmq/warren"
)

func ExampleBroker_Events() {
	ctx := context.Background()
	b, err := warren.New(warren.Options{})
	if err != nil {
		log.Fatal(err)
	}
	events := b.Events(ctx, 100)

	ch, err := b.Channel(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := ch.DeclareQueue(ctx, "jobs", warren.Exclusive()); err != nil {
		log.Fatal(err)
	}
	if _, err := ch.DeclareQueue(ctx, "payments", warren.Passive()); err == nil {
		log.Fatal("there should be no such queue")
	}
	if err := b.Close(); err != nil {
		log.Fatal(err)
	}

	// The stream ends with the broker; usually a goroutine of its own listens.
	for stamp, e := range events.All() {
		if stamp.Missed > 0 {
			fmt.Println("missed", stamp.Missed)
		}
		switch e := e.(type) {
		case warren.QueueCreated:
			fmt.Println("new queue", e.Name, "of type", e.Type)
		case warren.QueueDeleted:
			fmt.Println("queue", e.Name, "is gone")
		case warren.ConnectionClosed:
			fmt.Println(e.Name, "was closed by the", e.Reason)
		default:
			fmt.Println(warren.EventName(e))
		}
	}
	// Output:
	// connection.created
	// channel.created
	// new queue jobs of type classic
	// channel.closed
	// queue jobs is gone
	// memory-1 was closed by the broker: 404 "NOT_FOUND - no queue 'payments' in vhost '/'"
}
