package warren_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren"
)

func ExampleBroker_Channel() {
	ctx := context.Background()
	b, err := warren.New(warren.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	// Without options the channel is in the virtual host "/" and has all rights.
	ch, err := b.Channel(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer ch.Close()
	if err := ch.DeclareExchange(ctx, "events", "topic"); err != nil {
		log.Fatal(err)
	}
	if _, err := ch.DeclareQueue(ctx, "payments"); err != nil {
		log.Fatal(err)
	}
	if err := ch.BindQueue(ctx, "payments", "events", "payment.*"); err != nil {
		log.Fatal(err)
	}
	if err := ch.Publish(ctx, "events", "payment.made", warren.Message{Body: []byte("42")}); err != nil {
		log.Fatal(err)
	}
	d, ok, err := ch.Get(ctx, "payments", warren.NoAck())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%v %s %s\n", ok, d.RoutingKey, d.Body)

	// What the broker refuses closes the channel, and says why.
	_, err = ch.DeclareQueue(ctx, "refunds", warren.Passive())
	var refused *warren.Error
	fmt.Println(errors.As(err, &refused), refused.Code)
	fmt.Println(ch.Err() != nil)
	// Output:
	// true payment.made 42
	// true NOT_FOUND
	// true
}

func ExampleChannel_Consume() {
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
	if _, err := ch.DeclareQueue(ctx, "jobs"); err != nil {
		log.Fatal(err)
	}
	for _, job := range []string{"wash", "dry", "fold"} {
		if err := ch.PublishConfirmed(ctx, "", "jobs", warren.Message{Body: []byte(job)}); err != nil {
			log.Fatal(err)
		}
	}

	for d, err := range ch.Consume(ctx, "jobs", warren.Prefetch(100)) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", d.Body)
		if string(d.Body) == "dry" {
			break // before it was acknowledged: the job returns to the queue
		}
		if err := d.Ack(); err != nil {
			log.Fatal(err)
		}
	}

	d, _, err := ch.Get(ctx, "jobs", warren.NoAck())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("again: %s, redelivered: %v, behind it: %d\n", d.Body, d.Redelivered, d.MessageCount)
	// Output:
	// wash
	// dry
	// again: dry, redelivered: true, behind it: 1
}

func ExampleChannel_Handle() {
	b, err := warren.New(warren.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ch, err := b.Channel(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := ch.DeclareQueue(ctx, "numbers"); err != nil {
		log.Fatal(err)
	}
	for n := range byte(10) {
		if err := ch.PublishConfirmed(ctx, "", "numbers", warren.Message{Body: []byte{n}}); err != nil {
			log.Fatal(err)
		}
	}

	// Four goroutines share the work. What they return nil for is acknowledged.
	var sum, handled atomic.Int32
	err = ch.Handle(ctx, "numbers", 4, func(_ context.Context, d warren.Delivery) error {
		sum.Add(int32(d.Body[0]))
		if handled.Add(1) == 10 {
			stop()
		}
		return nil
	}, warren.Prefetch(8))
	fmt.Println(err)
	fmt.Println(sum.Load())
	// Output:
	// context canceled
	// 45
}

func ExampleChannel_PublishConfirmed() {
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
	if _, err := ch.DeclareQueue(ctx, "orders"); err != nil {
		log.Fatal(err)
	}

	order := warren.Message{
		Properties: warren.Properties{ContentType: "application/json", MessageID: "order-1"},
		Body:       []byte(`{"teas": 2}`),
	}
	fmt.Println(ch.PublishConfirmed(ctx, "", "orders", order))

	// A message that no queue takes is an error, and the channel stays open.
	err = ch.PublishConfirmed(ctx, "", "odrers", order)
	var returned *warren.ReturnError
	fmt.Println(errors.As(err, &returned), returned.RoutingKey, ch.Err())
	// Output:
	// <nil>
	// true odrers <nil>
}

func ExampleBroker_Dial() {
	b, err := warren.New(warren.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	// RabbitMQ's official client, unchanged, without a port.
	conn, err := amqp.DialConfig("amqp://", amqp.Config{Dial: b.Dial})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		log.Fatal(err)
	}
	q, err := ch.QueueDeclare("greetings", false, false, false, false, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(conn.RemoteAddr().Network(), q.Name, q.Messages)
	// Output: pipe greetings 0
}
