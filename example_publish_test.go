package warren_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/warrenmq/warren"
)

// A broker in the program, from its beginning to its end.
func Example() {
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
	if _, err := ch.DeclareQueue(ctx, "greetings"); err != nil {
		log.Fatal(err)
	}
	// Nil means that the queue has the message.
	if err := ch.PublishConfirmed(ctx, "", "greetings", warren.Message{Body: []byte("hello")}); err != nil {
		log.Fatal(err)
	}
	for d, err := range ch.Consume(ctx, "greetings", warren.Prefetch(100)) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", d.Body)
		if err := d.Ack(); err != nil {
			log.Fatal(err)
		}
		break // ends the consumer
	}
	// Output: hello
}

// channelWith gives a channel of a new broker with one queue.
func channelWith(ctx context.Context, queue string) (ch *warren.Channel, end func() error) {
	b, err := warren.New(warren.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if ch, err = b.Channel(ctx); err != nil {
		log.Fatal(err)
	}
	if _, err := ch.DeclareQueue(ctx, queue); err != nil {
		log.Fatal(err)
	}
	return ch, b.Close
}

func ExampleChannel_PublishBatch() {
	ctx := context.Background()
	ch, end := channelWith(ctx, "jobs")
	defer end()

	// All of them are on their way before the first confirm is waited for.
	err := ch.PublishBatch(ctx, []warren.Publishing{
		{RoutingKey: "jobs", Message: warren.Message{Body: []byte("wash")}},
		{RoutingKey: "jbos", Message: warren.Message{Body: []byte("dry")}},
		{RoutingKey: "jobs", Message: warren.Message{Body: []byte("fold")}},
	})
	fmt.Println(err)
	n, err := ch.PurgeQueue(ctx, "jobs")
	fmt.Println(n, err)
	// Output:
	// message 2 of 3: warren: publish to exchange '' with routing key 'jbos': NO_ROUTE
	// 2 <nil>
}

func ExampleChannel_PublishAsync() {
	ctx := context.Background()
	ch, end := channelWith(ctx, "jobs")
	defer end()

	// The program goes on, and asks for the outcome when it needs it.
	confirmation, err := ch.PublishAsync(ctx, "", "jobs", warren.Message{Body: []byte("wash")}, warren.Mandatory())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(confirmation.Wait(ctx))
	// Output: <nil>
}

func ExampleChannel_Returns() {
	ctx := context.Background()
	ch, end := channelWith(ctx, "jobs")
	defer end()

	// Publish does not wait for anything but its queues, so that a message without a
	// route comes back on a way of its own.
	if err := ch.Publish(ctx, "amq.direct", "nowhere", warren.Message{Body: []byte("wash")}, warren.Mandatory()); err != nil {
		log.Fatal(err)
	}
	for r, err := range ch.Returns(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d: %s to %s with %s\n", r.Code, r.Body, r.Exchange, r.RoutingKey)
		break
	}
	// Output: 312: wash to amq.direct with nowhere
}

func ExampleChannel_Request() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ch, end := channelWith(ctx, "greeter")
	defer end()

	// The service: it may be any AMQP client, in this program or elsewhere.
	served := make(chan error, 1)
	go func() {
		served <- ch.Handle(ctx, "greeter", 1, func(ctx context.Context, d warren.Delivery) error {
			reply := warren.Message{Body: fmt.Appendf(nil, "hello, %s", d.Body)}
			return ch.Publish(ctx, "", d.Properties().ReplyTo, reply)
		})
	}()

	d, err := ch.Request(ctx, "", "greeter", warren.Message{Body: []byte("world")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", d.Body)
	cancel()
	<-served
	// Output: hello, world
}

func ExampleChannel_Get() {
	ctx := context.Background()
	ch, end := channelWith(ctx, "jobs")
	defer end()
	if err := ch.Publish(ctx, "", "jobs", warren.Message{Body: []byte("wash")}); err != nil {
		log.Fatal(err)
	}

	for {
		d, ok, err := ch.Get(ctx, "jobs")
		if err != nil {
			log.Fatal(err)
		}
		if !ok {
			fmt.Println("no more")
			return
		}
		fmt.Printf("%s\n", d.Body)
		if err := d.Ack(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// wash
	// no more
}

func ExampleChannel_TxSelect() {
	ctx := context.Background()
	ch, end := channelWith(ctx, "jobs")
	defer end()

	if err := ch.TxSelect(ctx); err != nil {
		log.Fatal(err)
	}
	publish := func(job string) {
		if err := ch.Publish(ctx, "", "jobs", warren.Message{Body: []byte(job)}); err != nil {
			log.Fatal(err)
		}
	}
	publish("wash")
	fmt.Println(ch.TxRollback(ctx)) // as if it had never been
	publish("dry")
	fmt.Println(ch.TxCommit(ctx))

	d, _, err := ch.Get(ctx, "jobs", warren.NoAck())
	fmt.Println(string(d.Body), d.MessageCount, err)
	// Output:
	// <nil>
	// <nil>
	// dry 0 <nil>
}

func ExampleDelivery_Nack() {
	ctx := context.Background()
	ch, end := channelWith(ctx, "jobs")
	defer end()
	if err := ch.Publish(ctx, "", "jobs", warren.Message{Body: []byte("wash")}); err != nil {
		log.Fatal(err)
	}

	for d, err := range ch.Consume(ctx, "jobs") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s, redelivered: %v\n", d.Body, d.Redelivered)
		if d.Redelivered {
			fmt.Println(d.Nack(false)) // not again
			break
		}
		if err := d.Nack(true); err != nil { // back to its place in the queue
			log.Fatal(err)
		}
	}
	// Output:
	// wash, redelivered: false
	// wash, redelivered: true
	// <nil>
}

// A client acts for a user, with that user's rights.
func ExampleUser() {
	ctx := context.Background()
	b, err := warren.New(warren.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	if err := b.Auth().AddUser("app", "secret"); err != nil {
		log.Fatal(err)
	}
	if err := b.Auth().SetPermissions(warren.Permission{User: "app", VHost: "/", Configure: "^app\\.", Write: ".*", Read: ".*"}); err != nil {
		log.Fatal(err)
	}
	ch, err := b.Channel(ctx, warren.User("app"))
	if err != nil {
		log.Fatal(err)
	}
	_, err = ch.DeclareQueue(ctx, "app.jobs")
	fmt.Println(err)
	_, err = ch.DeclareQueue(ctx, "jobs")
	fmt.Println(errors.Is(err, warren.AccessRefused), err)
	// Output:
	// <nil>
	// true ACCESS_REFUSED - access to queue 'jobs' in vhost '/' refused for user 'app'
}

// A test can look into its broker, and make it refuse to take more.
func ExampleBroker_SetAlarm() {
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

	b.SetAlarm(warren.MemoryAlarm)
	impatient, cancel := context.WithCancel(ctx)
	cancel()
	err = ch.Publish(impatient, "", "jobs", warren.Message{Body: []byte("wash")})
	fmt.Println(errors.Is(err, context.Canceled))
	b.ClearAlarm(warren.MemoryAlarm) // publishers go on

	q, err := b.Queue("/", "jobs")
	fmt.Println(q.Ready, q.Consumers, err)
	// Output:
	// true
	// 0 0 <nil>
}
