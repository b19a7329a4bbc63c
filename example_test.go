package warren_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren"
)

func ExampleNew() {
	b, err := warren.New(warren.Options{MaxMessageSize: 1 << 20})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	if err := b.AddVHost("orders"); err != nil {
		log.Fatal(err)
	}
	if err := b.Auth().AddUser("app", "secret"); err != nil {
		log.Fatal(err)
	}
	if err := b.Auth().SetPermissions(warren.Permission{
		User: "app", VHost: "orders", Configure: "^app\\.", Write: ".*", Read: ".*",
	}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.VHosts())

	err = b.AddVHost("orders")
	fmt.Println(err, errors.Is(err, warren.ErrVHostExists))
	// Output:
	// [/ orders]
	// add vhost 'orders': virtual host exists true
}

func ExampleBroker_Serve() {
	b, err := warren.New(warren.Options{})
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // 5672 is the usual port
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(l) }()

	// From here on it is RabbitMQ's official client, as against any broker.
	conn, err := amqp.Dial("amqp://guest:guest@" + l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	ch, err := conn.Channel()
	if err != nil {
		log.Fatal(err)
	}
	q, err := ch.QueueDeclare("greetings", false, false, false, false, nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := ch.PublishWithContext(ctx, "", q.Name, false, false, amqp.Publishing{Body: []byte("hello")}); err != nil {
		log.Fatal(err)
	}
	deliveries, err := ch.Consume(q.Name, "", true, false, false, false, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", (<-deliveries).Body)

	if err := b.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(errors.Is(<-served, warren.ErrClosed))
	// Output:
	// hello
	// true
}

func ExampleBroker_Shutdown() {
	b, err := warren.New(warren.Options{})
	if err != nil {
		log.Fatal(err)
	}
	// Clients are told that the connection closes, and get five seconds to
	// answer; who has not by then is cut off.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	fmt.Println(b.Shutdown(ctx))
	// Output: <nil>
}
