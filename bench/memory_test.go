package bench

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren"
)

var sizes = []int{16, 1024}

// perSize runs a benchmark for each size of body.
func perSize(b *testing.B, f func(b *testing.B, body []byte)) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("%dB", n), func(b *testing.B) {
			b.ReportAllocs()
			f(b, make([]byte, n))
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// share gives worker i of n its part of total.
func share(total, i, n int) int {
	part := total / n
	if i < total%n {
		part++
	}
	return part
}

// memory moves b.N messages from producers to consumers through one queue for
// each pair, or through a fanout exchange to all consumers.
func memory(b *testing.B, body []byte, pairs, fanout int, ack bool) {
	ctx := b.Context()
	broker := must(warren.New(warren.Options{}))
	defer broker.Close()
	admin := must(broker.Channel(ctx))
	check(admin.DeclareExchange(ctx, "x", "fanout"))
	consumers := max(pairs, fanout)
	options := []warren.ConsumeOption{warren.NoAck()}
	if ack {
		options = []warren.ConsumeOption{warren.Prefetch(1000)}
	}
	var done sync.WaitGroup
	busy := 0 // consumers that get anything
	for i := range consumers {
		name := fmt.Sprint("q", i)
		must(admin.DeclareQueue(ctx, name))
		want := share(b.N, i, pairs)
		if fanout > 0 {
			check(admin.BindQueue(ctx, name, "x", ""))
			want = b.N
		}
		if want > 0 {
			busy++
			ch := must(broker.Channel(ctx))
			done.Go(func() { consume(ctx, ch, name, want, ack, options) })
		}
	}
	waitForConsumers(broker, busy)
	b.ResetTimer()
	for i := range pairs {
		ch := must(broker.Channel(ctx))
		exchange, key := "", fmt.Sprint("q", i)
		if fanout > 0 {
			exchange = "x"
		}
		done.Go(func() {
			for range share(b.N, i, pairs) {
				check(ch.Publish(ctx, exchange, key, warren.Message{Body: body}))
			}
		})
	}
	done.Wait()
	b.StopTimer()
}

func consume(ctx context.Context, ch *warren.Channel, queue string, n int, ack bool, options []warren.ConsumeOption) {
	for d, err := range ch.Consume(ctx, queue, options...) {
		check(err)
		if ack {
			check(d.Ack())
		}
		if n--; n == 0 {
			return
		}
	}
}

func waitForConsumers(b *warren.Broker, n int) {
	for b.Stats().Consumers < n {
		time.Sleep(time.Millisecond)
	}
}

func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct {
		name          string
		pairs, fanout int
		ack           bool
	}{
		{"1to1", 1, 0, false}, {"1to1-ack", 1, 0, true}, {"4to4", 4, 0, false}, {"fanout10", 1, 10, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			perSize(b, func(b *testing.B, body []byte) { memory(b, body, c.pairs, c.fanout, c.ack) })
		})
	}
}

// BenchmarkMemoryConfirms keeps 1000 publishes unconfirmed.
func BenchmarkMemoryConfirms(b *testing.B) {
	perSize(b, func(b *testing.B, body []byte) {
		ctx := b.Context()
		broker := must(warren.New(warren.Options{}))
		defer broker.Close()
		ch := must(broker.Channel(ctx))
		must(ch.DeclareQueue(ctx, "q"))
		var done sync.WaitGroup
		done.Go(func() {
			consume(ctx, must(broker.Channel(ctx)), "q", b.N, false, []warren.ConsumeOption{warren.NoAck()})
		})
		waitForConsumers(broker, 1)
		const window = 1000
		var open [window]*warren.Confirmation
		b.ResetTimer()
		for i := range b.N {
			if w := open[i%window]; w != nil {
				check(w.Wait(ctx))
			}
			open[i%window] = must(ch.PublishAsync(ctx, "", "q", warren.Message{Body: body}))
		}
		done.Wait()
		b.StopTimer()
	})
}

// BenchmarkMemoryRequestReply has one call outstanding.
func BenchmarkMemoryRequestReply(b *testing.B) {
	perSize(b, func(b *testing.B, body []byte) {
		ctx := b.Context()
		broker := must(warren.New(warren.Options{}))
		defer broker.Close()
		client, server := must(broker.Channel(ctx)), must(broker.Channel(ctx))
		must(client.DeclareQueue(ctx, "calls"))
		must(client.DeclareQueue(ctx, "answers"))
		var done sync.WaitGroup
		done.Go(func() {
			n := 0
			for d, err := range server.Consume(ctx, "calls", warren.NoAck()) {
				check(err)
				check(server.Publish(ctx, "", "answers", warren.Message{Body: d.Body}))
				if n++; n == b.N {
					return
				}
			}
		})
		waitForConsumers(broker, 1)
		b.ResetTimer()
		check(client.Publish(ctx, "", "calls", warren.Message{Body: body}))
		n := 0
		for d, err := range client.Consume(ctx, "answers", warren.NoAck()) {
			check(err)
			if n++; n == b.N {
				break
			}
			check(client.Publish(ctx, "", "calls", warren.Message{Body: d.Body}))
		}
		done.Wait()
		b.StopTimer()
	})
}

// BenchmarkPipe is the official client through Broker.Dial.
func BenchmarkPipe(b *testing.B) {
	perSize(b, func(b *testing.B, body []byte) {
		broker := must(warren.New(warren.Options{}))
		defer broker.Close()
		conn := must(amqp.DialConfig("amqp://", amqp.Config{Dial: broker.Dial}))
		defer conn.Close()
		pub, sub := must(conn.Channel()), must(conn.Channel())
		must(pub.QueueDeclare("q", false, false, false, false, nil))
		ds := must(sub.Consume("q", "", true, false, false, false, nil))
		b.ResetTimer()
		go func() {
			for range b.N {
				check(pub.PublishWithContext(b.Context(), "", "q", false, false, amqp.Publishing{Body: body}))
			}
		}()
		for range b.N {
			<-ds
		}
		b.StopTimer()
	})
}

// BenchmarkGoChannel is what the language offers: no queue, no copy.
func BenchmarkGoChannel(b *testing.B) {
	perSize(b, func(b *testing.B, body []byte) {
		c := make(chan []byte, 1024)
		go func() {
			for range b.N {
				c <- body
			}
			close(c)
		}()
		for range c {
		}
	})
}

// BenchmarkNATS is an embedded nats-server with its in-process connection.
func BenchmarkNATS(b *testing.B) {
	perSize(b, func(b *testing.B, body []byte) {
		s := must(server.NewServer(&server.Options{DontListen: true, NoLog: true, NoSigs: true}))
		s.Start()
		defer s.Shutdown()
		if !s.ReadyForConnections(10 * time.Second) {
			b.Fatal("nats-server did not start")
		}
		pub := must(nats.Connect("", nats.InProcessServer(s)))
		defer pub.Close()
		sub := must(nats.Connect("", nats.InProcessServer(s)))
		defer sub.Close()
		got := make(chan struct{})
		n := 0
		subscription := must(sub.Subscribe("q", func(*nats.Msg) {
			if n++; n == b.N {
				close(got)
			}
		}))
		check(subscription.SetPendingLimits(-1, -1))
		check(sub.Flush())
		b.ResetTimer()
		for range b.N {
			check(pub.Publish("q", body))
		}
		check(pub.Flush())
		<-got
		b.StopTimer()
	})
}
