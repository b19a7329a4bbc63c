package warren

import (
	"context"
	"fmt"
	"sync"
	"weak"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/transport"
)

// The errors of a Channel that are not refusals.
var (
	// ErrChannelClosed is what a Channel gives after Close, its own or the broker's.
	ErrChannelClosed = transport.ErrClosed
	// ErrConsumerCancelled ends a consumer whose queue was deleted.
	ErrConsumerCancelled = transport.ErrCancelled
	// ErrConsumerStopped is what settling a delivery gives after its loop was
	// left: the message is back in its queue.
	ErrConsumerStopped = transport.ErrStopped
)

// NackError says that a queue refused a message: it may be in other queues that
// it was routed to, but not in all. The channel stays open.
type NackError struct{ Exchange, RoutingKey string }

// Error says where the message was to go.
func (e *NackError) Error() string {
	return fmt.Sprintf("warren: publish to exchange '%s' with routing key '%s': refused by a queue", e.Exchange, e.RoutingKey)
}

// ReturnError says that a message had no route: it is in no queue. The channel
// stays open.
type ReturnError struct{ Exchange, RoutingKey string }

// Error says where the message was to go.
func (e *ReturnError) Error() string {
	return fmt.Sprintf("warren: publish to exchange '%s' with routing key '%s': NO_ROUTE", e.Exchange, e.RoutingKey)
}

// noProperties are the property flags of a message without any.
var noProperties = []byte{0, 0}

// propertyBuffers are lent for encoding properties.
var propertyBuffers = sync.Pool{New: func() any { return new([]byte) }}

// encode makes the broker's form of a message, with one reference, and checks
// where it is to go.
func encode(exchange, key string, m *Message) (*message.Message, error) {
	if err := checkNames(exchange, key); err != nil {
		return nil, err
	}
	if m.Properties.Present() == 0 {
		msg := message.New("", "", noProperties, len(m.Body))
		msg.AppendBody(m.Body)
		return msg, nil
	}
	buf := propertyBuffers.Get().(*[]byte)
	defer propertyBuffers.Put(buf)
	props, err := m.Properties.Append((*buf)[:0])
	if err != nil {
		return nil, fmt.Errorf("warren: publish: %w", err)
	}
	*buf = props
	msg := message.New("", "", props, len(m.Body))
	msg.AppendBody(m.Body)
	return msg, nil
}

// Publish hands a message to the broker. It waits while a queue is behind, and
// then no longer than ctx lasts; the message is in its queues all the same. While
// the broker has an alarm it waits as well, and if ctx ends meanwhile the message
// is not published and the error says so; see Blocked.
// A message without a route is dropped, or with Mandatory comes back to Returns.
// A message that cannot be sent at all, such as one with a string property of
// more than 255 octets, is an error that leaves the channel open.
func (c *Channel) Publish(ctx context.Context, exchange, key string, m Message, options ...PublishOption) error {
	msg, err := encode(exchange, key, &m)
	if err != nil {
		return err
	}
	return c.m.Publish(ctx, exchange, key, mandatory(options), msg, nil)
}

func mandatory(options []PublishOption) bool {
	if len(options) == 0 {
		return false // mostly, and without the allocation that m is
	}
	var m bool
	for _, o := range options {
		o.publish(&m)
	}
	return m
}

// Confirmation is a publish of which the outcome is still to come. Any number of
// goroutines may wait for it.
type Confirmation struct {
	exchange, key string
	c             *Channel

	mu        sync.Mutex
	open      int32 // queues that have not answered; 1 until it is routed
	routed    bool  // to any queue
	nacked    bool
	mandatory bool
	// done is made by the first who waits: mostly the outcome is known when somebody
	// asks for it, and then nobody needs a channel.
	done chan struct{}
}

// PublishAsync hands a message to the broker and gives a Confirmation to wait
// with until all its queues have taken it. It waits for its turn, for a queue that
// is behind and for alarms as Publish does, and not for the confirmation. With
// Mandatory a message without a route is an error of the Confirmation and does not
// come to Returns; without, it counts as taken.
func (c *Channel) PublishAsync(ctx context.Context, exchange, key string, m Message, options ...PublishOption) (*Confirmation, error) {
	msg, err := encode(exchange, key, &m)
	if err != nil {
		return nil, err
	}
	w := &Confirmation{exchange: exchange, key: key, mandatory: mandatory(options), c: c, open: 1}
	// The Confirmation says what a return would.
	if err := c.m.Publish(ctx, exchange, key, false, msg, (*answers)(w)); err != nil {
		return nil, err
	}
	return w, nil
}

// PublishConfirmed publishes a message and waits until all its queues have taken
// it: with the safety that the queue and the message ask for, so that a
// persistent message of a durable queue is in the broker's store, if it has one.
// The error is a *NackError if
// a queue refused it, a *ReturnError if it had no route, and that of ctx or of
// the channel if one of them ended first: then the outcome is not known.
func (c *Channel) PublishConfirmed(ctx context.Context, exchange, key string, m Message) error {
	w, err := c.PublishAsync(ctx, exchange, key, m, Mandatory())
	if err != nil {
		return err
	}
	return w.Wait(ctx)
}

// Done is closed when the outcome is known. It may never be if the channel ends
// first; see Channel.Done.
func (w *Confirmation) Done() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done == nil {
		w.done = make(chan struct{})
		if w.open == 0 {
			close(w.done)
		}
	}
	return w.done
}

// Wait waits for the outcome: nil, a *NackError, or a *ReturnError for a message
// published with Mandatory. If ctx or the channel ends before, it gives its error.
func (w *Confirmation) Wait(ctx context.Context) error {
	if known, err := w.outcome(); known {
		return err
	}
	var ended error
	select {
	case <-w.Done():
	case <-w.c.Done():
		ended = w.c.Err()
	case <-ctx.Done():
		ended = ctx.Err()
	}
	if known, err := w.outcome(); known {
		return err // it counts even if something else ended, too
	}
	return ended
}

// outcome is what Wait gives once it is known.
func (w *Confirmation) outcome() (known bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.open > 0:
		return false, nil
	case w.nacked:
		return true, &NackError{w.exchange, w.key}
	case w.mandatory && !w.routed:
		return true, &ReturnError{w.exchange, w.key}
	}
	return true, nil
}

// publisher stands for the channel where queues tell publishers apart.
func (c *Channel) publisher() any { return weak.Make(c) }

// answers is a Confirmation as the broker's channel and the queues see it.
type answers Confirmation

// Publisher implements message.Publisher.
func (w *answers) Publisher() any { return w.c.publisher() }

// Routed implements channel.Confirmation. It takes no lock: no queue has the message
// yet, nor the caller of PublishAsync the Confirmation.
func (w *answers) Routed(queues int) { w.open, w.routed = int32(queues), queues > 0 }

// Confirm implements message.Confirmer.
func (w *answers) Confirm(_, _ uint64) { w.settle(false) }

// Reject implements message.Confirmer.
func (w *answers) Reject(uint64) { w.settle(true) }

func (w *answers) settle(nacked bool) {
	w.mu.Lock()
	w.nacked = w.nacked || nacked
	if w.open--; w.open == 0 && w.done != nil {
		close(w.done)
	}
	w.mu.Unlock()
}
