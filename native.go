package warren

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/transport"
)

// Channel is a channel of the broker for the program that it is part of. It
// reaches the broker's own channel object, with no frames, no codec and no
// goroutine in between, and does what an AMQP channel does, with the same
// checks, errors and texts. It counts as a connection of its own: its exclusive
// queues are its alone.
//
// Unlike an AMQP channel it may be used by any number of goroutines at once. What
// would close an AMQP channel closes it: the call that was refused returns an
// *Error, and so do all calls after it. An error of a name that is too long, of
// arguments or properties that AMQP cannot carry, or of a context leaves it open.
//
// The contexts limit how long a call waits: for its turn at the channel, and where
// a method says so for more. What the broker has begun it carries out, whatever
// becomes of the context.
type Channel struct {
	m        *transport.Memory
	conn     *transport.Local
	returned chan struct{} // has one place; see Returns
}

// Channel opens a channel. It is open until Close, until a call is refused, or
// until the broker ends; the end of ctx does not close it. The error wraps ErrClosed
// if the broker is closing, and a NotAllowed *Error (530) if there is no such virtual
// host. With User, the error is RabbitMQ's refusal (530) where
// that user may not use the virtual host, and wraps auth.ErrNoUser where there is
// no such user.
func (b *Broker) Channel(ctx context.Context, options ...ChannelOption) (*Channel, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := channelSettings{vhost: auth.DefaultVHost, single: true}
	for _, o := range options {
		o.channel(&s)
	}
	conn, err := b.local(s)
	if err != nil {
		return nil, fmt.Errorf("warren: open a channel: %w", err)
	}
	m, err := conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("warren: open a channel: %w", err)
	}
	c := &Channel{m: m, conn: conn, returned: make(chan struct{}, 1)}
	m.Notify(func(e transport.Event) {
		if e.Kind == transport.MessageReturned {
			c.wakeReturns()
		}
	})
	return c, nil
}

// Close closes the channel: consumers end, what was not settled returns to its
// queues, exclusive queues are deleted. It is idempotent and never fails.
func (c *Channel) Close() error {
	c.conn.Leave()
	return nil
}

// Done is closed when the channel has ended, and what it had not settled is back in
// its queues.
func (c *Channel) Done() <-chan struct{} { return c.m.Done() }

// Err is why the channel has ended: an *Error if the broker refused something or
// was told to close the connection, ErrChannelClosed after Close, nil while it is
// open.
func (c *Channel) Err() error { return c.m.Err() }

// Queue is what a declare says of a queue.
type Queue struct {
	Name      string
	Messages  int // ready ones
	Consumers int
}

// DeclareQueue makes a queue, or finds that the one of that name is as asked for.
// An empty name lets the broker make one up; the result has it. Without options the
// queue is transient and for everybody. It is refused with PreconditionFailed if
// the queue there is differs, ResourceLocked if it is another's exclusive one, and
// NotFound if there is none and it was asked for with Passive.
func (c *Channel) DeclareQueue(ctx context.Context, name string, options ...QueueOption) (Queue, error) {
	d := channel.QueueDeclare{Name: name}
	for _, o := range options {
		o.queue(&d)
	}
	var err error
	if d.Arguments, err = asSent(d.Arguments, name); err != nil {
		return Queue{}, err
	}
	var info channel.QueueInfo
	err = c.m.Do(ctx, func(ch *channel.Channel) (err error) {
		info, err = ch.DeclareQueue(d)
		return err
	})
	return Queue{Name: info.Name, Messages: info.Ready, Consumers: info.Consumers}, err
}

// maxName is the length of AMQP's short strings in octets.
const maxName = 255

// checkNames refuses what no AMQP client could say or be told.
func checkNames(names ...string) error {
	for _, s := range names {
		if len(s) > maxName {
			return fmt.Errorf("warren: a name of %d octets (%.20q…) where %d is the most", len(s), s, maxName)
		}
	}
	return nil
}

// asSent gives a table as it would arrive over a wire, so that a Go int is what a
// client's int is, and checks the names that go with it. What a client could not
// send is an error here, and not a reason to close the channel.
func asSent(t Table, names ...string) (Table, error) {
	if err := checkNames(names...); err != nil || len(t) == 0 {
		return nil, err
	}
	raw, err := message.AppendTableBody(nil, t)
	if err != nil {
		return nil, fmt.Errorf("warren: arguments: %w", err)
	}
	return message.DecodeTable(raw)
}

// DeclareExchange makes an exchange of a type such as "direct", "fanout", "topic"
// or "headers", or finds that the one of that name is as asked for. It is refused
// with PreconditionFailed if the exchange there is differs, NotFound if there is
// none and it was asked for with Passive, and CommandInvalid (503) if there is no
// such type.
func (c *Channel) DeclareExchange(ctx context.Context, name, kind string, options ...ExchangeOption) error {
	d := channel.ExchangeDeclare{Name: name, Type: kind}
	for _, o := range options {
		o.exchange(&d)
	}
	var err error
	if d.Arguments, err = asSent(d.Arguments, name, kind); err != nil {
		return err
	}
	return c.m.Do(ctx, func(ch *channel.Channel) error { return ch.DeclareExchange(d) })
}

// bind calls f, a method of a binding between a destination and a source, with
// the arguments that the options give.
func (c *Channel) bind(ctx context.Context, f func(ch *channel.Channel, destination, source, key string, args Table) error,
	destination, source, key string, options []BindOption) error {
	var args Table
	for _, o := range options {
		o.bind(&args)
	}
	sent, err := asSent(args, destination, source, key)
	if err != nil {
		return err
	}
	return c.m.Do(ctx, func(ch *channel.Channel) error { return f(ch, destination, source, key, sent) })
}

// BindQueue lets what exchange routes with key go to queue. What the key and the
// arguments mean is for the exchange's type to say. A binding that is there already
// is fine; a queue or exchange that is not is refused with NotFound.
func (c *Channel) BindQueue(ctx context.Context, queue, exchange, key string, options ...BindOption) error {
	return c.bind(ctx, (*channel.Channel).BindQueue, queue, exchange, key, options)
}

// UnbindQueue takes away the binding with the same key and arguments; one that is
// not there is fine.
func (c *Channel) UnbindQueue(ctx context.Context, queue, exchange, key string, options ...BindOption) error {
	return c.bind(ctx, (*channel.Channel).UnbindQueue, queue, exchange, key, options)
}

// BindExchange lets what source routes with key go to destination, an exchange
// that routes it on. Otherwise it is as BindQueue.
func (c *Channel) BindExchange(ctx context.Context, destination, source, key string, options ...BindOption) error {
	return c.bind(ctx, (*channel.Channel).BindExchange, destination, source, key, options)
}

// UnbindExchange takes away the binding with the same key and arguments; one that
// is not there is fine.
func (c *Channel) UnbindExchange(ctx context.Context, destination, source, key string, options ...BindOption) error {
	return c.bind(ctx, (*channel.Channel).UnbindExchange, destination, source, key, options)
}

// PurgeQueue drops the ready messages of a queue and gives their number. Those that
// consumers have and did not settle stay theirs. It is refused with NotFound if there
// is no such queue.
func (c *Channel) PurgeQueue(ctx context.Context, queue string) (n int, err error) {
	err = c.m.Do(ctx, func(ch *channel.Channel) (err error) {
		n, err = ch.PurgeQueue(queue)
		return err
	})
	return n, err
}

// DeleteQueue deletes a queue and gives the number of ready messages it had; one
// that does not exist is fine. Its consumers end with ErrConsumerCancelled. It is
// refused with PreconditionFailed where IfUnused or IfEmpty is in its way.
func (c *Channel) DeleteQueue(ctx context.Context, queue string, options ...DeleteQueueOption) (n int, err error) {
	var ifUnused, ifEmpty bool
	for _, o := range options {
		o.deleteQueue(&ifUnused, &ifEmpty)
	}
	err = c.m.Do(ctx, func(ch *channel.Channel) error {
		return ch.DeleteQueue(queue, ifUnused, ifEmpty, func(had int) { n = had })
	})
	return n, err
}

// DeleteExchange deletes an exchange and its bindings; one that does not exist is
// fine. It is refused with PreconditionFailed where IfUnused is in its way, and with
// AccessRefused for those of the broker, "amq.direct" and the like.
func (c *Channel) DeleteExchange(ctx context.Context, exchange string, options ...DeleteExchangeOption) error {
	var ifUnused bool
	for _, o := range options {
		o.deleteExchange(&ifUnused)
	}
	return c.m.Do(ctx, func(ch *channel.Channel) error { return ch.DeleteExchange(exchange, ifUnused) })
}

// Qos limits the number of unsettled deliveries of each consumer to come, or, with
// global, of all consumers of the channel together. A prefetch below 1 is no limit.
// The option Prefetch says it for one consumer.
func (c *Channel) Qos(ctx context.Context, prefetch int, global bool) error {
	return c.m.Do(ctx, func(ch *channel.Channel) error { return ch.Qos(0, prefetch, global) })
}

// Ack settles a delivery by its tag; with multiple all up to it, and all there
// are for tag 0. A tag that the channel did not give, or that was settled before, is
// refused with PreconditionFailed. Delivery.Ack is the same for one delivery.
func (c *Channel) Ack(ctx context.Context, tag uint64, multiple bool) error {
	return c.m.Do(ctx, func(ch *channel.Channel) error { return ch.Ack(tag, multiple) })
}

// Nack settles deliveries as Ack does, but gives them back to their queues, at their
// old places, or without requeue discards them.
func (c *Channel) Nack(ctx context.Context, tag uint64, multiple, requeue bool) error {
	return c.m.Do(ctx, func(ch *channel.Channel) error { return ch.Nack(tag, multiple, requeue) })
}

// Recover requeues all unsettled deliveries of the channel. They come again, to
// whichever consumer is next, marked as redelivered.
func (c *Channel) Recover(ctx context.Context) error {
	return c.m.Do(ctx, func(ch *channel.Channel) error { return ch.Recover(true, func() {}) })
}

// TxSelect makes the channel transactional: publishes and settles take effect
// with TxCommit, and not at all after TxRollback. It cannot be undone. The channel
// is shared: the transaction is of all goroutines that use it. A confirmed publish
// is refused on such a channel.
func (c *Channel) TxSelect(ctx context.Context) error {
	return c.m.Do(ctx, (*channel.Channel).TxSelect)
}

// TxCommit carries out the transaction and begins a new one. It waits for the
// queues to take what was published, and until what is to be durable of it is. If
// one of them refused a message, the rest is carried out all the same and the error
// is a PreconditionFailed *Error. It is that error, too, if the store has no room:
// then all of it is in force, and becomes durable as a whole once there is room. When
// ctx or the channel ends meanwhile, the transaction is carried out, but its outcome is
// not known. A channel without TxSelect is refused it.
func (c *Channel) TxCommit(ctx context.Context) error {
	var commit *channel.Commit
	err := c.m.Do(ctx, func(ch *channel.Channel) (err error) {
		commit, err = ch.TxCommit()
		return err
	})
	if err != nil {
		return err
	}
	select {
	case <-commit.Done():
	case <-c.m.Done():
		return c.m.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
	if commit.Err() == nil {
		return nil
	}
	// A refusal, of which the channel hears like of any other.
	return c.m.Do(context.WithoutCancel(ctx), func(*channel.Channel) error { return commit.Err() })
}

// TxRollback drops what was published in the transaction; what was settled in it
// is unsettled again, but not requeued. A channel without TxSelect is refused it.
func (c *Channel) TxRollback(ctx context.Context) error {
	return c.m.Do(ctx, (*channel.Channel).TxRollback)
}

// Get takes one message from a queue; ok is false if there was none. Without
// NoAck the delivery has to be settled. A queue that does not exist is refused with
// NotFound. To get one message after another, Consume is the faster way.
func (c *Channel) Get(ctx context.Context, queue string, options ...GetOption) (d Delivery, ok bool, err error) {
	var noAck bool
	for _, o := range options {
		o.get(&noAck)
	}
	var got channel.Got
	err = c.m.Do(ctx, func(ch *channel.Channel) error {
		return ch.Get(queue, noAck, func(g channel.Got) { got = g })
	})
	if err != nil || got.Reply.Msg == nil {
		return Delivery{}, false, err
	}
	var bodies arena
	d = newDelivery(got.Reply.Msg, &bodies)
	d.c, d.DeliveryTag, d.Redelivered, d.MessageCount = c, got.Tag, got.Reply.Redelivered, got.Reply.Remaining
	got.Reply.Msg.Release()
	return d, true, nil
}

// Consume gives the deliveries of a queue to a range loop. The loop ends when ctx
// does, when the queue is deleted (ErrConsumerCancelled), or when the channel is
// closed; the last thing it gets is then the reason. What needs to be settled is
// not handed out any more when the channel is closed: it is the queue's again.
// Leaving the loop, however it is left, ends the consumer, and what it was given
// but did not settle returns to its place in the queue, marked as redelivered.
//
//	for d, err := range ch.Consume(ctx, "jobs", warren.Prefetch(100)) {
//		if err != nil {
//			return err
//		}
//		…
//		err = d.Ack()
//	}
func (c *Channel) Consume(ctx context.Context, queue string, options ...ConsumeOption) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		in, err := c.subscribe(ctx, queue, options)
		if err != nil {
			yield(Delivery{}, err)
			return
		}
		var items []transport.Item // not handed out yet
		// The body of the loop may panic, too. Room for more is given back when
		// there is no consumer to get it.
		defer func() { in.Release(items) }()
		defer in.Stop()
		var bodies arena
		for {
			if len(items) == 0 {
				items, err = in.Next(ctx)
			}
			if err == nil {
				err = ctx.Err() // deliveries that keep coming must not hide it
			}
			if err == nil && !in.NoAck() {
				select {
				case <-c.m.Done():
					err = c.m.Err()
				default:
				}
			}
			if err != nil {
				yield(Delivery{}, err)
				return
			}
			it := &items[0]
			d := newDelivery(it.Msg, &bodies)
			d.c, d.in, d.ConsumerTag = c, in, in.Tag()
			d.DeliveryTag, d.Redelivered = it.Tag, it.Redelivered
			in.Release(items[:1])
			items = items[1:]
			if !yield(d, nil) {
				return
			}
		}
	}
}

func (c *Channel) subscribe(ctx context.Context, queue string, options []ConsumeOption) (*transport.Inbox, error) {
	s := channel.Consume{Queue: queue}
	for _, o := range options {
		o.consume(&s)
	}
	var err error
	if s.Arguments, err = asSent(s.Arguments, queue, s.Tag); err != nil {
		return nil, err
	}
	return c.m.Consume(ctx, s)
}

// Handle consumes a queue with workers: as many goroutines as asked for call
// handle with one delivery at a time. A delivery is acknowledged when handle
// returns nil, and given back to the queue when it returns an error, or rejected
// if the error wraps ErrReject. Handle returns when ctx ends or the consumer does,
// once all workers have finished, with the reason; what was not handled is back in
// the queue then. With NoAck there is nothing to settle, and an error of handle
// changes nothing.
func (c *Channel) Handle(ctx context.Context, queue string, workers int, handle func(context.Context, Delivery) error, options ...ConsumeOption) error {
	if workers < 1 {
		return fmt.Errorf("warren: handle queue '%s' with %d workers", queue, workers)
	}
	settle := Delivery.handled
	if noAck(options) {
		settle = func(Delivery, error) error { return nil }
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan Delivery)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for d := range work {
				if err := settle(d, handle(ctx, d)); err != nil {
					cancel(err)
				}
			}
		})
	}
	err := c.feed(ctx, queue, work, options, func() {
		close(work)
		wg.Wait()
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func noAck(options []ConsumeOption) bool {
	var s channel.Consume
	for _, o := range options {
		o.consume(&s)
	}
	return s.NoAck
}

// feed hands deliveries to workers. It calls finished before the consumer ends,
// so that what workers have at hand is still theirs to settle.
func (c *Channel) feed(ctx context.Context, queue string, work chan<- Delivery, options []ConsumeOption, finished func()) error {
	for d, err := range c.Consume(ctx, queue, options...) {
		if err == nil {
			select {
			case work <- d:
				continue
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		finished()
		return err
	}
	return nil // Consume ends with an error
}
