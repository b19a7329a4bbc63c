//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/badgerstore"
	"github.com/warrenmq/warren/store/msgstore"
)

// brokerWays are Warren's in this process.
var brokerWays = []way{{wayStore, runStore}, {wayNative, runNative(false)}, {wayBatch, runNative(true)}}

// publishers runs one function for each publisher until d is over. Each handles some
// messages and tells how many.
func publishers(s shape, d time.Duration, open func(i int) (func() (int, error), error)) (sample, error) {
	counts, errs := make([]int, s.publishers), make([]error, s.publishers)
	steps := make([]func() (int, error), s.publishers)
	for i := range steps {
		var err error
		if steps[i], err = open(i); err != nil {
			return sample{}, err
		}
	}
	begin, used := time.Now(), processorTime()
	var all sync.WaitGroup
	for i, step := range steps {
		all.Go(func() {
			for time.Since(begin) < d && errs[i] == nil {
				var n int
				n, errs[i] = step()
				counts[i] += n
			}
		})
	}
	all.Wait()
	n := 0
	for _, c := range counts {
		n += c
	}
	return sampleOf(n, begin, used), errors.Join(errs...)
}

// runStore submits groups of messages, and the removal of an older one with each, to
// a queue for each publisher.
func runStore(dir string, s shape, d time.Duration) (_ sample, err error) {
	disk, err := badgerstore.Open(dir, badgerstore.Options{})
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	ms, err := msgstore.Open(disk, msgstore.Options{})
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, ms.Close()) }()
	return publishers(s, d, func(i int) (func() (int, error), error) {
		log := ms.Log(uint64(i + 1))
		var messages []*message.Message
		for _, body := range bodies(s.window, s.size) {
			m := message.New("", "queue", []byte{0x10, 0, 2}, len(body))
			m.AppendBody(body)
			m.SetAttributes(true, 0)
			messages = append(messages, m)
		}
		window, seq := uint64(s.window), uint64(0)
		done := make(chan error, 1)
		return func() (int, error) {
			ops := make([]store.Op, 0, s.window+1)
			for _, m := range messages {
				m.Retain(1)
				ops = append(ops, store.Op{Kind: store.Append, Seq: seq, Msg: m})
				seq++
			}
			if old := seq - window; old >= keptGroups*window {
				old -= keptGroups * window
				ops = append(ops, store.Op{Kind: store.Remove, Seq: old, To: old + window - 1})
			}
			log.Submit(ops, func(err error) { done <- err })
			return s.window, <-done
		}, nil
	})
}

// runNative publishes through the native API, each publisher to a queue of its own
// that nobody takes anything from: message by message, as many unconfirmed as the
// window has room for, or in batches of a window each.
func runNative(batches bool) func(string, shape, time.Duration) (sample, error) {
	return func(dir string, s shape, d time.Duration) (_ sample, err error) {
		disk, err := badgerstore.Open(dir, badgerstore.Options{})
		if err != nil {
			return sample{}, err
		}
		broker, err := warren.New(warren.Options{Store: disk})
		if err != nil {
			return sample{}, errors.Join(err, disk.Close())
		}
		defer func() { err = errors.Join(err, broker.Close()) }()
		ctx := context.Background()
		return publishers(s, d, func(i int) (func() (int, error), error) {
			ch, err := broker.Channel(ctx)
			if err != nil {
				return nil, err
			}
			name := fmt.Sprint("queue", i)
			if _, err := ch.DeclareQueue(ctx, name, warren.Durable()); err != nil {
				return nil, err
			}
			if batches {
				return inBatches(ctx, ch, name, s), nil
			}
			return oneByOne(ctx, ch, name, s), nil
		})
	}
}

// persistent gives n messages to publish.
func persistent(n, size int) []warren.Message {
	var all []warren.Message
	for _, body := range bodies(n, size) {
		all = append(all, warren.Message{Body: body, Properties: warren.Properties{DeliveryMode: message.Persistent}})
	}
	return all
}

// inBatches publishes a batch and waits for all of it.
func inBatches(ctx context.Context, ch *warren.Channel, queue string, s shape) func() (int, error) {
	var batch []warren.Publishing
	for _, m := range persistent(s.window, s.size) {
		batch = append(batch, warren.Publishing{RoutingKey: queue, Message: m})
	}
	return func() (int, error) { return len(batch), ch.PublishBatch(ctx, batch) }
}

// oneByOne publishes a message once there is room for it in the window.
func oneByOne(ctx context.Context, ch *warren.Channel, queue string, s shape) func() (int, error) {
	m := persistent(1, s.size)[0]
	if s.window == 1 {
		return func() (int, error) { return 1, ch.PublishConfirmed(ctx, "", queue, m) }
	}
	waiting, next := make([]*warren.Confirmation, s.window), 0
	return func() (int, error) {
		if w := waiting[next]; w != nil {
			if err := w.Wait(ctx); err != nil {
				return 0, err
			}
		}
		var err error
		waiting[next], err = ch.PublishAsync(ctx, "", queue, m)
		next = (next + 1) % s.window
		return 1, err
	}
}
