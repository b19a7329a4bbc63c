package amqp091_test

import (
	"fmt"
	"log"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/amqp091"
)

// Publisher is what a program asks of a channel; *amqp.Channel has it, and so has
// *amqp091.Channel.
type Publisher interface {
	Publish(exchange, key string, mandatory, immediate bool, msg amqp.Publishing) error
}

// greet was written for the official client.
func greet(p Publisher, queue, name string) error {
	return p.Publish("", queue, false, false, amqp.Publishing{
		ContentType: "text/plain",
		Body:        []byte("hello, " + name),
	})
}

func Example() {
	broker, err := warren.New(warren.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer broker.Close()

	conn, err := amqp091.Open(broker)
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
	if err := greet(ch, q.Name, "rabbit"); err != nil {
		log.Fatal(err)
	}

	deliveries, err := ch.Consume(q.Name, "", false, false, false, false, nil)
	if err != nil {
		log.Fatal(err)
	}
	d := <-deliveries
	fmt.Printf("%s: %s\n", d.ContentType, d.Body)
	if err := d.Ack(false); err != nil {
		log.Fatal(err)
	}
	// Output: text/plain: hello, rabbit
}
