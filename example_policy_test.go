package warren_test

import (
	"context"
	"fmt"
	"log"

	"github.com/warrenmq/warren"
)

func ExampleBroker_SetPolicy() {
	ctx := context.Background()
	b, err := warren.New(warren.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	ch, err := b.Channel(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := ch.DeclareQueue(ctx, "events.audit"); err != nil {
		log.Fatal(err)
	}
	for range 5 {
		if err := ch.PublishConfirmed(ctx, "", "events.audit", warren.Message{}); err != nil {
			log.Fatal(err)
		}
	}

	// Queues that are there obey at once.
	err = b.SetPolicy("/", warren.Policy{
		Name: "events", Pattern: `^events\.`, ApplyTo: warren.ApplyToQueues,
		Definition: warren.Table{{Name: "max-length", Value: 3}, {Name: "message-ttl", Value: 60_000}},
	})
	if err != nil {
		log.Fatal(err)
	}
	// An operator's limit counts besides a user's: the lower one of the two.
	err = b.SetOperatorPolicy("/", warren.Policy{
		Name: "limits", Definition: warren.Table{{Name: "max-length", Value: 2}},
	})
	if err != nil {
		log.Fatal(err)
	}

	q, err := b.Queue("/", "events.audit")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(q.Ready, "messages are left by", q.Policy, "and", q.OperatorPolicy)
	for _, f := range q.PolicyDefinition {
		fmt.Println(f.Name, f.Value)
	}
	// Output:
	// 2 messages are left by events and limits
	// max-length 2
	// message-ttl 60000
}
