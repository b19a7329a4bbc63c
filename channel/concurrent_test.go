package channel_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// worker does random things on a channel and opens another when it closed it.
type worker struct {
	w    *world
	r    *rand.Rand
	mu   *sync.Mutex // guards world.open
	c    *client
	kind int
}

func (k *worker) open() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.c = k.w.open(func(c *channel.Config) { c.MaxUnsent = 500 })
	switch k.kind = k.r.IntN(3); k.kind {
	case 1:
		k.c.ok(k.c.ConfirmSelect())
	case 2:
		k.c.ok(k.c.TxSelect())
	}
}

func (k *worker) queue() string { return fmt.Sprint("q", k.r.IntN(3)) }

func (k *worker) do() error {
	c, r := k.c, k.r
	switch r.IntN(24) {
	case 0, 1, 2, 3, 4:
		for range 20 {
			c.put(k.queue(), "m")
		}
	case 5:
		return c.try(publish{exchange: "amq.fanout", body: "fan", mandatory: true})
	case 6, 7:
		return c.tryConsume(channel.Consume{Queue: k.queue(), Tag: fmt.Sprint(r.IntN(4)), NoAck: r.IntN(3) == 0})
	case 8:
		return c.Cancel(fmt.Sprint(r.IntN(4)))
	case 9:
		return c.CancelAndRequeue(fmt.Sprint(r.IntN(4)))
	case 10, 11:
		return c.Ack(0, true)
	case 12:
		return c.Nack(0, true, r.IntN(2) == 0)
	case 13:
		return c.Ack(uint64(1+r.IntN(50)), r.IntN(2) == 0)
	case 14:
		return c.get(k.queue(), r.IntN(2) == 0)
	case 15:
		return c.Qos(0, r.IntN(4), r.IntN(2) == 0)
	case 16:
		return c.Recover(true, func() {})
	case 17, 18:
		c.stall()
		c.read()
	case 19:
		_, err := c.PurgeQueue(k.queue())
		return err
	case 20:
		return c.deleteQueue(k.queue(), false, false)
	case 21:
		d := channel.QueueDeclare{Name: k.queue()}
		if _, err := c.DeclareQueue(d); err != nil {
			return err
		}
		return c.BindQueue(d.Name, "amq.fanout", "", nil)
	case 22:
		if k.kind == 2 {
			if r.IntN(3) == 0 {
				return c.TxRollback()
			}
			return c.TxCommit()
		}
	case 23:
		if r.IntN(4) == 0 {
			c.Close()
			k.open()
		}
	}
	return nil
}

// TestChannelsAtOnce has channels do all they can on the same few queues, which
// come and go. Nothing may race, hang or be refused for a wrong reason, and at
// the end no message may be held; see world.end.
func TestChannelsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Microsecond)
	var running sync.WaitGroup
	var mu sync.Mutex
	for seed := range uint64(5) {
		running.Go(func() {
			k := &worker{w: w, r: rand.New(rand.NewPCG(seed, 2)), mu: &mu}
			k.open()
			for range 1500 {
				err := k.do()
				switch {
				case err == nil, errors.Is(err, reply.NotFound): // the queue is gone
				case errors.Is(err, reply.NotAllowed): // the tag is in use
				case errors.Is(err, reply.PreconditionFailed): // no such delivery
				default:
					t.Errorf("%v", err)
					return
				}
				if k.r.IntN(3) == 0 {
					if w := k.c.Flush(); w.C != nil {
						<-w.C
					}
				}
			}
		})
	}
	running.Wait()
}

// reader is a client that reads, and acknowledges, what it gets on a goroutine
// of its own.
type reader struct {
	sink
	due chan queue.Delivery
}

func (r *reader) Deliver(_ string, _ uint64, ds []queue.Delivery) {
	for _, d := range ds {
		r.due <- d
	}
}

// TestNoWakeUpIsLost sends many messages through channels whose every limit is
// reached all the time. If one were forgotten, everybody would wait, and the
// bubble would end the test.
func TestNoWakeUpIsLost(t *testing.T) {
	t.Parallel()
	for _, prefetch := range []int{0, 1, 3} {
		t.Run(fmt.Sprint("prefetch ", prefetch), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { drainWithLimits(newWorld(t, time.Second), prefetch) })
		})
	}
}

func drainWithLimits(w *world, prefetch int) {
	const messages, queues, readers = 3000, 3, 4
	p := w.open()
	for i := range queues {
		p.queues(fmt.Sprint("q", i))
	}
	var left atomic.Int64
	left.Store(messages)
	done := make(chan struct{})
	var running sync.WaitGroup
	for range readers {
		r := &reader{due: make(chan queue.Delivery, messages)}
		access, _ := w.users.Access("guest", "v")
		r.ch = channel.New(channel.Config{
			VHost: w.vhost, Access: access, User: "guest", Connection: 1,
			Out: r, MaxMessageSize: 100, MaxUnsent: 2 * channel.Cost(1),
		})
		require.NoError(w.t, r.ch.Qos(0, prefetch, true))
		for i := range 2 * queues {
			require.NoError(w.t, r.ch.Consume(channel.Consume{
				Queue: fmt.Sprint("q", i/2), Tag: fmt.Sprint(i), NoAck: i == 0,
			}, func(string) {}))
		}
		running.Go(func() {
			defer r.ch.Close()
			for {
				select {
				case d := <-r.due:
					r.ch.Written(channel.Cost(d.Msg.Size()))
					d.Msg.Release()
					_ = r.ch.Ack(0, true) // accepts that there is nothing
					r.ch.Flush()
					if left.Add(-1) == 0 {
						close(done)
					}
				case <-done:
					return
				}
			}
		})
	}
	for i := range messages {
		p.put(fmt.Sprint("q", i%queues), "m")
		if i%7 == 0 {
			p.Flush()
		}
	}
	p.Flush()
	<-done
	running.Wait()
}
