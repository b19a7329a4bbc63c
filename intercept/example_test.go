package intercept_test

import (
	"context"
	"fmt"
	"log"
	"strings"
	"sync"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/intercept"
)

// Publishes are stamped, and those that do not belong are refused.
func ExampleOn() {
	ctx := context.Background()
	b, err := warren.New(warren.Options{Interceptors: []intercept.Interceptor{
		intercept.On(func(c intercept.Client, p *intercept.Publish) error {
			if strings.HasPrefix(p.RoutingKey, "internal.") {
				return &warren.Error{Code: warren.AccessRefused, Text: "internal queues take nothing from outside"}
			}
			props, err := p.Content.Properties()
			if err != nil {
				return err
			}
			props.Headers = append(props.Headers, warren.Field{Name: "via", Value: c.VHost})
			p.Content.SetProperties(props)
			return nil
		}),
	}})
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
	if err := ch.PublishConfirmed(ctx, "", "orders", warren.Message{Body: []byte("42")}); err != nil {
		log.Fatal(err)
	}
	d, _, err := ch.Get(ctx, "orders", warren.NoAck())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Properties().Headers)
	fmt.Println(ch.Publish(ctx, "", "internal.audit", warren.Message{}))
	// Output:
	// [{via /}]
	// ACCESS_REFUSED - internal queues take nothing from outside
}

// tenants gives each user queues of its own, by putting the user before their names.
type tenants struct{}

func (tenants) Methods() []string {
	return []string{"queue.declare", "basic.consume", "basic.get", "queue.delete"}
}

func (tenants) Intercept(c intercept.Client, m intercept.Method) (intercept.Method, error) {
	own := func(queue *string) {
		if !strings.HasPrefix(*queue, c.User+".") { // a shortcut stands for a full name
			*queue = c.User + "." + *queue
		}
	}
	switch m := m.(type) {
	case *intercept.QueueDeclare:
		own(&m.Queue)
	case *intercept.Consume:
		own(&m.Queue)
	case *intercept.Get:
		own(&m.Queue)
	case *intercept.QueueDelete:
		own(&m.Queue)
	}
	return m, nil
}

// One interceptor may claim several methods.
func ExampleInterceptor() {
	ctx := context.Background()
	b, err := warren.New(warren.Options{Interceptors: []intercept.Interceptor{tenants{}}})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	ch, err := b.Channel(ctx, warren.User("guest"))
	if err != nil {
		log.Fatal(err)
	}
	q, err := ch.DeclareQueue(ctx, "orders")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(q.Name)
	_, ok, err := ch.Get(ctx, "orders")
	fmt.Println(ok, err)
	// Output:
	// guest.orders
	// false <nil>
}

// A message that was published before counts as taken, and goes nowhere.
func ExamplePublish_drop() {
	ctx := context.Background()
	var seen sync.Map // message-ids; a real one forgets the old ones
	b, err := warren.New(warren.Options{Interceptors: []intercept.Interceptor{
		intercept.On(func(_ intercept.Client, p *intercept.Publish) error {
			props, err := p.Content.Properties()
			if err != nil {
				return err
			}
			if props.MessageID != "" {
				_, p.Drop = seen.LoadOrStore(props.MessageID, nil)
			}
			return nil
		}),
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	ch, err := b.Channel(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := ch.DeclareQueue(ctx, "payments"); err != nil {
		log.Fatal(err)
	}
	payment := warren.Message{Properties: warren.Properties{MessageID: "p-1"}, Body: []byte("42")}
	for range 3 {
		if err := ch.PublishConfirmed(ctx, "", "payments", payment); err != nil {
			log.Fatal(err)
		}
	}
	q, err := b.Queue("/", "payments")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(q.Ready)
	// Output: 1
}
