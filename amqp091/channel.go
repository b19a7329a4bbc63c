package amqp091

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/transport"
)

// Channel is a channel of a [Connection] with the methods of *amqp.Channel. Its
// methods may be called from any goroutine. It holds one goroutine that tells its
// listeners, and one for each consumer, until it ends.
type Channel struct {
	conn     *Connection
	m        *transport.Memory
	pub      channel.Publish // scratch; belongs to whose turn it is in m.Do
	confirms confirms

	closing  atomic.Bool   // Close was called
	wake     chan struct{} // has one place
	ended    chan struct{} // closed when the channel has ended
	finished chan struct{} // closed when all listeners and deliveries are closed
	feeding  sync.WaitGroup

	mu        sync.Mutex
	over      bool // ended is closed, or about to be
	err       *amqp.Error
	consumers map[string]*subscriber
	events    []func(*feeder) // what is to be told, in order
	held      int             // octets of returned messages in events
	room      chan struct{}   // closed when events were taken; nil if nobody waits

	closes    []chan *amqp.Error
	flows     []chan bool
	returns   []chan amqp.Return
	cancelled []chan string
	publishes []chan amqp.Confirmation
	tags      []tagListener
	cancels   []chan struct{}
	states    []chan *amqp.StateChanged
}

// tagListener is a listener of NotifyConfirm.
type tagListener struct{ ack, nack chan uint64 }

func newChannel(c *Connection, m *transport.Memory) *Channel {
	return &Channel{
		conn: c, m: m,
		confirms:  confirms{first: 1},
		wake:      make(chan struct{}, 1),
		ended:     make(chan struct{}),
		finished:  make(chan struct{}),
		consumers: map[string]*subscriber{},
	}
}

// do calls f with the broker's channel object. refused is what f gave, as the
// client would give it, after it has ended the channel or the connection; err is
// why f was not called.
func (ch *Channel) do(ctx context.Context, f func(*channel.Channel) error) (refused *amqp.Error, err error) {
	called := false
	err = ch.m.Do(ctx, func(c *channel.Channel) error {
		called = true
		err := f(c)
		if err != nil {
			ch.gather() // the channel ends, and with it what it did not tell
		}
		return err
	})
	switch {
	case err == nil:
		return nil, nil
	case called:
		e := reply.From(err)
		if e.Code.Hard() {
			<-ch.conn.told
		}
		return fromReply(e), nil
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return nil, err
	}
	return nil, amqp.ErrClosed
}

// call is for methods that have an answer.
func (ch *Channel) call(f func(*channel.Channel) error) error {
	refused, err := ch.do(context.Background(), f)
	if refused != nil {
		return refused
	}
	return err
}

// send is for methods without an answer: a refusal is not theirs to tell.
func (ch *Channel) send(ctx context.Context, f func(*channel.Channel) error) error {
	_, err := ch.do(ctx, f)
	return err
}

// invoke is call, or with noWait send.
func (ch *Channel) invoke(noWait bool, f func(*channel.Channel) error) error {
	if noWait {
		return ch.send(context.Background(), f)
	}
	return ch.call(f)
}

// withTable is invoke for methods with an argument table and short strings. It
// makes the checks that the client makes before it sends something.
func (ch *Channel) withTable(noWait bool, args amqp.Table, f func(*channel.Channel, message.Table) error, short ...string) error {
	if err := args.Validate(); err != nil {
		return err
	}
	if err := ch.writable(short...); err != nil {
		return err
	}
	table, err := tableFrom(args)
	if err != nil {
		return ch.conn.fail(err)
	}
	return ch.invoke(noWait, func(c *channel.Channel) error {
		if err := decodable(table); err != nil {
			return err
		}
		return f(c, table)
	})
}

// writable refuses what the client could not write: anything on a closed channel,
// and strings that are too long.
func (ch *Channel) writable(short ...string) error {
	if ch.IsClosed() {
		return amqp.ErrClosed
	}
	for _, s := range short {
		if err := checkShort(s); err != nil {
			return ch.conn.fail(err)
		}
	}
	return nil
}

// event takes what the broker's channel tells of itself. It must not block.
func (ch *Channel) event(e transport.Event) {
	switch e.Kind {
	case transport.MessageReturned:
		for _, r := range ch.m.TakeReturns() {
			ch.returned(r)
		}
	case transport.ConsumerCancelled:
		ch.later(func(f *feeder) { offer(f, listeners(ch, &ch.cancelled), e.ConsumerTag) })
	case transport.ConfirmsReady:
		ch.nudge()
	case transport.Closed:
		ch.end(e.Err)
	}
}

// later queues something to be told. It reports false after the end.
func (ch *Channel) later(tell func(*feeder)) bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.over {
		return false
	}
	ch.events = append(ch.events, tell)
	ch.nudge()
	return true
}

// nudge wakes the feeder.
func (ch *Channel) nudge() {
	select {
	case ch.wake <- struct{}{}:
	default: // it is awake
	}
}

// returned queues a message that came back.
func (ch *Channel) returned(r transport.Returned) {
	ch.mu.Lock()
	wanted := len(ch.returns) > 0 && !ch.over
	if wanted {
		ch.held += channel.Cost(r.Msg.Size())
	}
	ch.mu.Unlock()
	if !wanted || !ch.later(func(f *feeder) {
		ret := returnOf(r)
		r.Msg.Release()
		offer(f, listeners(ch, &ch.returns), ret)
	}) {
		r.Msg.Release()
	}
}

// maxHeld is how many octets of returned messages may wait for their listeners
// before publishers do.
const maxHeld = 16 << 20

// yield makes who publishes mandatory messages wait for listeners of returns that
// are behind, as long as these may take for one.
func (ch *Channel) yield(ctx context.Context) {
	ch.mu.Lock()
	if ch.held < maxHeld || ch.over {
		ch.mu.Unlock()
		return
	}
	if ch.room == nil {
		ch.room = make(chan struct{})
	}
	room := ch.room
	ch.mu.Unlock()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-room:
	case <-t.C:
	case <-ctx.Done():
	case <-ch.ended:
	}
}

// listeners gives the listeners of one kind as they are now.
func listeners[T any](ch *Channel, of *[]T) []T {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return *of
}

// gather takes the confirmations that are due from the broker.
func (ch *Channel) gather() { ch.confirms.gather(ch.m) }

// tell tells all there is to tell.
func (ch *Channel) tell(f *feeder) {
	// A message's return is queued before its confirmation is due, so that those
	// that are due now go after the events that are there now.
	ch.gather()
	due := ch.confirms.take()
	ch.mu.Lock()
	events, publishes, tags := ch.events, ch.publishes, ch.tags
	ch.events, ch.held = nil, 0
	if ch.room != nil {
		close(ch.room)
		ch.room = nil
	}
	ch.mu.Unlock()
	for _, e := range events {
		e(f)
	}
	for _, c := range due {
		offer(f, publishes, c)
		for _, t := range tags {
			to := t.nack
			if c.Ack {
				to = t.ack
			}
			offer(f, []chan uint64{to}, c.DeliveryTag)
		}
	}
}

// end notes why the channel has ended. It may run in a queue's turn.
func (ch *Channel) end(why error) {
	var err *amqp.Error
	if e := refusal(why); e != nil || !ch.closing.Load() {
		err = ch.conn.reason(why)
	}
	ch.mu.Lock()
	ch.over, ch.err = true, err
	if err != nil {
		tryAll(ch.closes, err)
	}
	ch.mu.Unlock()
	close(ch.ended)
}

// feed tells the listeners until the end, and then closes all there is to close.
func (ch *Channel) feed() {
	f := &feeder{ended: ch.ended}
	for open := true; open; {
		select {
		case <-ch.wake:
		case <-ch.ended:
			open = false
		}
		ch.tell(f)
	}
	ch.feeding.Wait()
	ch.confirms.close()
	ch.conn.forget(ch)
	ch.mu.Lock()
	defer ch.mu.Unlock()
	closeAll(ch.closes)
	closeAll(ch.flows)
	closeAll(ch.returns)
	closeAll(ch.cancelled)
	closeAll(ch.publishes)
	closeAll(ch.cancels)
	for _, t := range ch.tags {
		close(t.ack)
		if t.nack != t.ack {
			close(t.nack)
		}
	}
	tellStates(ch.states, stepsToEnd("channel", ch.closing.Load(), ch.err))
	close(ch.finished)
}

// Close ends the channel: unsettled deliveries return to their queues. All
// listeners and deliveries are closed when it returns. Closing a closed channel
// is fine.
func (ch *Channel) Close() error {
	if ch.IsClosed() {
		return nil
	}
	ch.closing.Store(true)
	ch.gather()
	ch.m.Close()
	<-ch.finished
	return nil
}

// IsClosed reports whether the channel has ended.
func (ch *Channel) IsClosed() bool { return ch.m.Err() != nil }

// Reconnect gives amqp.ErrClosed: there is no recovery.
func (ch *Channel) Reconnect() error { return amqp.ErrClosed }

// TopologyConfiguration is empty: without recovery, nothing is recorded.
func (ch *Channel) TopologyConfiguration(bool) amqp.TopologyConfiguration {
	return amqp.TopologyConfiguration{
		Exchanges: map[string]amqp.ExchangeConfig{},
		Queues:    map[string]amqp.QueueConfig{},
	}
}
