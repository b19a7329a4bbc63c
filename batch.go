package warren

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/warrenmq/warren/channel"
)

// Publishing is one message of PublishBatch and where it goes.
type Publishing struct {
	Exchange, RoutingKey string
	Message
}

// PublishBatch publishes messages in their order and waits until all of them are
// confirmed. The error joins what is wrong with each message that was not, by its
// number in the batch, and wraps what PublishConfirmed would give for it. When a
// message cannot be handed over, because it is refused, cannot be sent or ctx
// ended, those after it are not published.
//
// It is the cheapest way to publish many messages that are to be confirmed: they are
// handed over some hundred at a time, other publishers of the channel taking their
// turns in between, and all are waited for at once.
func (c *Channel) PublishBatch(ctx context.Context, batch []Publishing) error {
	if len(batch) == 0 {
		return nil
	}
	b := &batchAnswers{c: c, left: len(batch), done: make(chan struct{}), each: make([]batchAnswer, len(batch))}
	published, err := c.m.PublishAll(ctx, len(batch), func(i int, p *channel.Publish) (err error) {
		m := &batch[i]
		p.Exchange, p.RoutingKey = append(p.Exchange[:0], m.Exchange...), append(p.RoutingKey[:0], m.RoutingKey...)
		p.Mandatory, p.Confirm, p.Seq = false, b, uint64(i+1) // the Confirm says what a return would
		p.Msg, err = encode(m.Exchange, m.RoutingKey, &m.Message)
		return err
	})
	var errs []error
	if err != nil {
		errs = append(errs, inBatch(published, len(batch), err))
	}
	return errors.Join(b.wait(ctx, batch[:published], errs)...)
}

// inBatch says with which message of a batch something is wrong.
func inBatch(i, of int, err error) error {
	return fmt.Errorf("message %d of %d: %w", i+1, of, err)
}

// batchAnswers hears what becomes of the messages of a batch, each of which has its
// number, from 1, as its Seq. Queues tell it of many in one call, and who waits is
// woken once.
type batchAnswers struct {
	c      *Channel
	routed int           // messages so far; only who publishes looks
	done   chan struct{} // closed when left is 0

	mu   sync.Mutex
	left int // messages of which the outcome is not known
	each []batchAnswer
}

// batchAnswer is a Confirmation within a batch.
type batchAnswer struct {
	open   int32 // queues that have not answered
	routed bool  // to any queue
	nacked bool
}

// Publisher implements message.Publisher.
func (b *batchAnswers) Publisher() any { return b.c.publisher() }

// Routed implements channel.Confirmation. It takes no lock for what no queue knows of
// yet.
func (b *batchAnswers) Routed(queues int) {
	a := &b.each[b.routed]
	b.routed++
	a.open, a.routed = int32(queues), queues > 0
	if queues == 0 {
		b.known(1)
	}
}

// Confirm implements message.Confirmer.
func (b *batchAnswers) Confirm(first, last uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for i := first - 1; i < last; i++ {
		if b.each[i].open--; b.each[i].open == 0 {
			n++
		}
	}
	b.knownLocked(n)
}

// Reject implements message.Confirmer.
func (b *batchAnswers) Reject(seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := &b.each[seq-1]
	a.nacked = true
	if a.open--; a.open == 0 {
		b.knownLocked(1)
	}
}

// known says that nothing more is to come for n messages.
func (b *batchAnswers) known(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.knownLocked(n)
}

func (b *batchAnswers) knownLocked(n int) {
	if b.left -= n; b.left == 0 && n > 0 {
		close(b.done)
	}
}

// wait waits for those that were published, as Confirmation.Wait does, and appends
// what is wrong with them.
func (b *batchAnswers) wait(ctx context.Context, published []Publishing, errs []error) []error {
	all := len(b.each)
	b.known(all - len(published))
	var ended error
	select {
	case <-b.done:
	case <-b.c.Done():
		ended = b.c.Err()
	case <-ctx.Done():
		ended = ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range published {
		switch a, p := b.each[i], &published[i]; {
		case a.open > 0:
			errs = append(errs, inBatch(i, all, ended))
		case a.nacked:
			errs = append(errs, inBatch(i, all, &NackError{p.Exchange, p.RoutingKey}))
		case !a.routed:
			errs = append(errs, inBatch(i, all, &ReturnError{p.Exchange, p.RoutingKey}))
		}
	}
	return errs
}
