package warren_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/store/badgerstore"
)

// durable gives a broker that keeps what is durable in a directory.
func durable(dir string) *warren.Broker {
	s, err := badgerstore.Open(dir, badgerstore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	b, err := warren.New(warren.Options{Store: s}) // the broker closes the store
	if err != nil {
		log.Fatal(err)
	}
	return b
}

func ExampleNew_durable() {
	dir, err := os.MkdirTemp("", "warren")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	b := durable(dir)
	ctx := context.Background()
	ch, err := b.Channel(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := ch.DeclareQueue(ctx, "orders", warren.Durable()); err != nil {
		log.Fatal(err)
	}
	// Nil means that the message is on the disk.
	m := warren.Message{Body: []byte("three apples"), Properties: warren.Properties{DeliveryMode: 2}}
	if err := ch.PublishConfirmed(ctx, "", "orders", m); err != nil {
		log.Fatal(err)
	}
	if err := b.Close(); err != nil { // closes the store as well
		log.Fatal(err)
	}

	b = durable(dir)
	defer b.Close()
	if ch, err = b.Channel(ctx); err != nil {
		log.Fatal(err)
	}
	d, ok, err := ch.Get(ctx, "orders")
	if err != nil || !ok {
		log.Fatal(ok, err)
	}
	fmt.Printf("%s\n", d.Body)
	fmt.Println(d.Ack())
	// Output:
	// three apples
	// <nil>
}

func ExampleBroker_Backup() {
	dir, err := os.MkdirTemp("", "warren")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b := durable(filepath.Join(dir, "data"))
	ctx := context.Background()
	ch, err := b.Channel(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := ch.DeclareQueue(ctx, "orders", warren.Durable()); err != nil {
		log.Fatal(err)
	}

	file, err := os.Create(filepath.Join(dir, "backup"))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	if err := b.Backup(file); err != nil { // the broker works on meanwhile
		log.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		log.Fatal(err)
	}
	if err := b.Close(); err != nil {
		log.Fatal(err)
	}

	if _, err := file.Seek(0, 0); err != nil {
		log.Fatal(err)
	}
	restored := filepath.Join(dir, "restored")
	if err := badgerstore.Restore(restored, badgerstore.Options{}, file); err != nil {
		log.Fatal(err)
	}
	b = durable(restored)
	defer b.Close()
	q, err := b.Queue("/", "orders")
	fmt.Println(q.Name, err)
	// Output: orders <nil>
}
