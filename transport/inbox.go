package transport

import (
	"context"
	"errors"
	"sync"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
)

// ErrCancelled is the error of a consumer whose queue was deleted or failed.
var ErrCancelled = errors.New("consumer was cancelled by the broker")

// ErrStopped is the error of settling a delivery whose consumer has been stopped:
// the message is back in its queue.
var ErrStopped = errors.New("the delivery's consumer was stopped, and the message is back in its queue")

// Inbox is where the deliveries of one consumer wait for it. The room is limited
// by the channel's window (channel.Config.MaxUnsent): what has been taken out
// makes room for more.
type Inbox struct {
	m     *Memory
	tag   string
	noAck bool
	// stopped is guarded by the channel's lock.
	stopped bool

	mu     sync.Mutex
	items  []Item
	asleep bool
	err    error // why nothing comes any more
	wake   chan struct{}
	taken  []Item // lent to Next's caller
}

// Item is one delivery. It carries a reference to the message.
type Item struct {
	Tag         uint64
	Redelivered bool
	Msg         *message.Message
}

// Consume adds a consumer, which ends with Stop or Cancel, with its queue or with
// the channel. The error is a refusal, which closes the channel, or ctx's if that
// ended before the channel was free.
func (m *Memory) Consume(ctx context.Context, c channel.Consume) (*Inbox, error) {
	in := &Inbox{m: m, noAck: c.NoAck, wake: make(chan struct{}, 1)}
	c.UniqueTag = true // inboxes are known by theirs
	err := m.Do(ctx, func(ch *channel.Channel) error {
		return ch.Consume(c, func(tag string) {
			in.tag = tag
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.err != nil {
				in.err = m.err
				return
			}
			m.inboxes[tag] = in
		})
	})
	if err != nil {
		return nil, err
	}
	return in, nil
}

// Tag is the consumer's tag.
func (in *Inbox) Tag() string { return in.tag }

// NoAck reports whether its deliveries need no acknowledgement.
func (in *Inbox) NoAck() bool { return in.noAck }

// put takes deliveries, and reports false if nobody takes them any more.
func (in *Inbox) put(first uint64, ds []queue.Delivery) bool {
	in.mu.Lock()
	if in.err != nil {
		in.mu.Unlock()
		return false
	}
	for i := range ds {
		in.items = append(in.items, Item{Tag: first + uint64(i), Redelivered: ds[i].Redelivered, Msg: ds[i].Msg})
	}
	wake := in.asleep
	in.asleep = false
	in.mu.Unlock()
	if wake {
		in.wake <- struct{}{} // has room: who slept took what was there before
	}
	return true
}

// end says that nothing comes any more.
func (in *Inbox) end(why error) {
	in.mu.Lock()
	if in.err == nil {
		in.err = why
	}
	wake := in.asleep
	in.asleep = false
	in.mu.Unlock()
	if wake {
		in.wake <- struct{}{}
	}
}

// Next waits for deliveries and gives all that are there, at least one. The
// slice is good until the next call; the references are the caller's. After the
// consumer has ended it gives what had come before, then the reason. One
// goroutine at a time may call it.
func (in *Inbox) Next(ctx context.Context) ([]Item, error) {
	clear(in.taken)
	in.mu.Lock()
	for len(in.items) == 0 {
		if in.err != nil {
			defer in.mu.Unlock()
			return nil, in.err
		}
		in.asleep = true
		in.mu.Unlock()
		select {
		case <-in.wake:
			in.mu.Lock()
		case <-ctx.Done():
			in.mu.Lock()
			if !in.asleep {
				<-in.wake // it is on its way
			}
			in.asleep = false
			if len(in.items) == 0 {
				in.mu.Unlock()
				return nil, ctx.Err()
			}
		}
	}
	in.taken, in.items = in.items, in.taken[:0]
	in.mu.Unlock()
	return in.taken, nil
}

// Release gives the room of a message back that Next gave out, and its
// reference.
func (in *Inbox) Release(items []Item) {
	cost := 0
	for i := range items {
		cost += channel.Cost(items[i].Msg.Size())
		items[i].Msg.Release()
	}
	in.m.ch.Written(cost)
}

// Settle calls f with the channel object like Memory.Do, unless the consumer was
// stopped: then its deliveries are the queue's again, and the error is
// ErrStopped.
func (in *Inbox) Settle(f func(*channel.Channel) error) error {
	ctx := context.Background()
	if err := in.m.enter(ctx); err != nil {
		return err
	}
	if in.stopped {
		in.m.lock.unlock()
		return ErrStopped
	}
	full, err := in.m.run(func() error { return f(in.m.ch) })
	return in.m.leave(ctx, full, err)
}

// Cancel ends the consumer as basic.cancel does: what it was given and has not
// settled stays its to settle. Next gives what has come before, then ErrClosed.
func (in *Inbox) Cancel(ctx context.Context) error {
	return in.m.Do(ctx, func(ch *channel.Channel) error {
		if !in.registered() {
			return nil
		}
		err := ch.Cancel(in.tag)
		in.unregister()
		in.end(ErrClosed)
		return err
	})
}

// registered reports whether the tag is this consumer's. After its end another
// one may have it.
func (in *Inbox) registered() bool {
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	return in.m.inboxes[in.tag] == in
}

func (in *Inbox) unregister() {
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	if in.m.inboxes[in.tag] == in {
		delete(in.m.inboxes, in.tag)
	}
}

// Stop ends the consumer. What it was given and has not settled returns to the
// queue, at its old place and marked as redelivered.
func (in *Inbox) Stop() {
	in.end(ErrClosed)
	err := in.m.Do(context.Background(), func(ch *channel.Channel) error {
		in.stopped = true
		if !in.registered() {
			return nil
		}
		defer in.unregister()
		return ch.CancelAndRequeue(in.tag)
	})
	_ = err // the channel is closed, and with it the consumer
	in.mu.Lock()
	items := in.items
	in.items = nil
	in.mu.Unlock()
	in.Release(items)
}
