package amqp091_test

import (
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// BenchmarkPublishConsume sends messages through one queue from one channel to
// another, with the official client over a pipe and with this package. One
// operation is one message; no more than window are under way.
//
//	go test -run '^$' -bench PublishConsume ./amqp091
func BenchmarkPublishConsume(b *testing.B) {
	const window = 512
	for _, size := range []int{16, 1024} {
		for _, mode := range []struct {
			name             string
			autoAck, confirm bool
		}{{"autoack", true, false}, {"ack", false, false}, {"ack and confirm", false, true}} {
			for _, face := range faces {
				b.Run(fmt.Sprintf("%dB/%s/%s", size, mode.name, face.name), func(b *testing.B) {
					w := newWorld(b, face.dial)
					to, from := w.channel(), w.channel()
					q := w.queue(to, "")
					ds, err := from.Consume(q, "", mode.autoAck, false, false, false, nil)
					require.NoError(b, err)
					var confirms chan amqp.Confirmation
					if mode.confirm {
						require.NoError(b, to.Confirm(false))
						confirms = to.NotifyPublish(make(chan amqp.Confirmation, window))
					}
					room := make(chan struct{}, window)
					received := make(chan int)
					go func() {
						n := 0
						for d := range ds {
							if n++; !mode.autoAck && d.Ack(false) != nil {
								break
							}
							<-room
						}
						received <- n
					}()
					msg := amqp.Publishing{Body: make([]byte, size)}
					b.ReportAllocs()
					b.SetBytes(int64(size))
					n := 0
					for b.Loop() {
						room <- struct{}{}
						if err := to.Publish("", q, false, false, msg); err != nil {
							require.NoError(b, err)
						}
						if n++; mode.confirm && n > window/2 {
							<-confirms
						}
					}
					for range window { // waits until all has arrived
						room <- struct{}{}
					}
					require.NoError(b, from.Close())
					require.Equal(b, n, <-received)
				})
			}
		}
	}
}

// BenchmarkRequestReply sends a message and waits for the answer.
func BenchmarkRequestReply(b *testing.B) {
	for _, face := range faces {
		b.Run(face.name, func(b *testing.B) {
			w := newWorld(b, face.dial)
			ch, server := w.channel(), w.channel()
			requests, replies := w.queue(ch, "requests"), w.queue(ch, "replies")
			asked, err := server.Consume(requests, "", true, false, false, false, nil)
			require.NoError(b, err)
			go func() {
				for d := range asked {
					if server.Publish("", d.ReplyTo, false, false, amqp.Publishing{Body: d.Body}) != nil {
						return // the benchmark waits in vain
					}
				}
			}()
			answers, err := ch.Consume(replies, "", true, false, false, false, nil)
			require.NoError(b, err)
			msg := amqp.Publishing{ReplyTo: replies, Body: make([]byte, 16)}
			b.ReportAllocs()
			for b.Loop() {
				if err := ch.Publish("", requests, false, false, msg); err != nil {
					require.NoError(b, err)
				}
				<-answers
			}
		})
	}
}
