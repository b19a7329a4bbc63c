package transport

import (
	"context"
	"errors"
	"sync"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// ErrClosed is the error of a channel or connection that its own side closed.
var ErrClosed = errors.New("channel or connection is closed")

// Memory is a channel's client within the program: it calls the channel object
// directly, with neither frames nor a codec in between. Unlike an AMQP channel
// it may be used by any number of goroutines at once.
//
// What RabbitMQ answers by closing the channel, or the connection, does so here:
// the call that was refused gets the *reply.Error, and so do all later ones.
type Memory struct {
	conn *Local
	lock lock // held by who calls ch
	ch   *channel.Channel
	pub  channel.Publish // scratch of Publish

	mu      sync.Mutex
	inboxes map[string]*Inbox
	returns []Returned
	onEvent func(Event) // see Notify
	err     error
	done    chan struct{}
}

// Returned is a message that had no route and came back.
type Returned struct {
	Code reply.Code
	// Msg carries a reference.
	Msg *message.Message
}

// Do calls f with the channel object, one goroutine at a time, and waits no
// longer than ctx lasts for its turn. What f wants to publish or settle is handed
// over before Do returns. An error that closes an AMQP channel closes this one.
func (m *Memory) Do(ctx context.Context, f func(*channel.Channel) error) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	return m.leave(ctx, f(m.ch))
}

// enter takes the lock of an open channel.
func (m *Memory) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.lock.lock(ctx); err != nil {
		return err
	}
	if err := m.Err(); err != nil {
		m.lock.unlock()
		return err
	}
	return nil
}

// leave hands over what was collected, gives the lock back, and waits for queues
// that are behind. If ctx ends meanwhile, what was handed over stays so.
func (m *Memory) leave(ctx context.Context, err error) error {
	if err != nil {
		m.lock.unlock()
		return m.refused(err)
	}
	full := m.ch.Flush()
	m.lock.unlock()
	if full == nil {
		return nil
	}
	select {
	case <-full:
	case <-ctx.Done(): // the call did what it should; the next one waits
	}
	return nil
}

// refused ends what an AMQP client would see ended.
func (m *Memory) refused(err error) error {
	e := reply.From(err)
	if e.Code.Hard() {
		m.conn.Close(e)
	} else {
		m.conn.forget(m)
		m.close(e)
	}
	return e
}

// Publish publishes to an exchange. Msg brings a reference, which Publish takes
// over. confirm may be nil.
func (m *Memory) Publish(ctx context.Context, exchange, key string, mandatory bool, msg *message.Message, confirm channel.Confirmation) error {
	if err := m.enter(ctx); err != nil {
		msg.Release()
		return err
	}
	p := &m.pub
	p.Exchange = append(p.Exchange[:0], exchange...)
	p.RoutingKey = append(p.RoutingKey[:0], key...)
	p.Mandatory, p.Msg, p.Size, p.Confirm = mandatory, msg, uint64(msg.Size()), confirm
	err := m.ch.Publish(p)
	p.Msg, p.Confirm = nil, nil
	return m.leave(ctx, err)
}

// Close closes the channel: consumers end, unsettled deliveries return to their
// queues. It is idempotent.
func (m *Memory) Close() {
	m.conn.forget(m)
	m.close(ErrClosed)
}

func (m *Memory) close(why error) {
	m.mu.Lock()
	if m.err != nil {
		m.mu.Unlock()
		<-m.done
		return
	}
	m.err = why
	inboxes := m.inboxes
	m.inboxes = nil
	returns := m.returns
	m.returns = nil
	ended := m.onEvent
	m.mu.Unlock()
	if err := m.lock.lock(context.Background()); err == nil {
		m.ch.Close()
		m.lock.unlock()
	}
	for _, in := range inboxes {
		in.end(why)
	}
	for _, r := range returns {
		r.Msg.Release()
	}
	if ended != nil {
		ended(Event{Kind: Closed, Err: why})
	}
	close(m.done)
}

// Err is why the channel is closed, nil while it is open.
func (m *Memory) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// Done is closed when the channel has ended and its deliveries are back in their
// queues.
func (m *Memory) Done() <-chan struct{} { return m.done }

// EventKind says what an Event tells.
type EventKind uint8

const (
	// MessageReturned: a mandatory message had no route.
	MessageReturned EventKind = iota + 1
	// ConsumerCancelled: the broker cancelled a consumer, because its queue went.
	ConsumerCancelled
	// ConfirmsReady: Confirms has something to drain.
	ConfirmsReady
	// Closed: the channel has ended.
	Closed
)

// Event is something a channel says of itself.
type Event struct {
	Kind        EventKind
	ConsumerTag string
	Err         error
}

// Notify sets who hears of events; it has to be set before the channel is used.
// f is called from the goroutine that caused the event, which may run a queue: it
// must not block, and must not call the channel, but for TakeReturns. It hears of
// Closed exactly once, and right away if the channel has ended already.
func (m *Memory) Notify(f func(Event)) {
	m.mu.Lock()
	m.onEvent = f
	err := m.err
	m.mu.Unlock()
	if err != nil {
		f(Event{Kind: Closed, Err: err})
	}
}

func (m *Memory) notify(e Event) {
	m.mu.Lock()
	f := m.onEvent
	m.mu.Unlock()
	if f != nil {
		f(e)
	}
}

// Confirms appends the answers to publishes that are due, once the channel is in
// confirm mode. Any goroutine may call it, one at a time, and within Do too.
func (m *Memory) Confirms(to []channel.Answer) []channel.Answer { return m.ch.Confirms(to) }

// TakeReturns gives the messages that came back since the last call; each brings
// a reference.
func (m *Memory) TakeReturns() []Returned {
	m.mu.Lock()
	defer m.mu.Unlock()
	rs := m.returns
	m.returns = nil
	return rs
}

// out is the Memory as its channel sees it.
type out Memory

func (o *out) Deliver(consumerTag string, first uint64, ds []queue.Delivery) {
	m := (*Memory)(o)
	m.mu.Lock()
	in := m.inboxes[consumerTag]
	m.mu.Unlock()
	if in == nil || !in.put(first, ds) {
		cost := 0
		for i := range ds {
			cost += channel.Cost(ds[i].Msg.Size())
			ds[i].Msg.Release()
		}
		m.ch.Dropped(cost)
	}
}

// maxReturns is how many returned messages wait to be taken; the oldest go first
// when nobody takes them.
const maxReturns = 1024

func (o *out) Return(code reply.Code, msg *message.Message) {
	m := (*Memory)(o)
	m.mu.Lock()
	if m.err != nil {
		m.mu.Unlock()
		msg.Release()
		return
	}
	if len(m.returns) == maxReturns {
		m.returns[0].Msg.Release()
		m.returns = append(m.returns[:0], m.returns[1:]...)
	}
	m.returns = append(m.returns, Returned{code, msg})
	m.mu.Unlock()
	m.notify(Event{Kind: MessageReturned})
}

func (o *out) Cancelled(consumerTag string) {
	m := (*Memory)(o)
	m.mu.Lock()
	in := m.inboxes[consumerTag]
	delete(m.inboxes, consumerTag)
	m.mu.Unlock()
	// Whoever sees the consumer end has been told why.
	m.notify(Event{Kind: ConsumerCancelled, ConsumerTag: consumerTag})
	if in != nil {
		in.end(ErrCancelled)
	}
}

func (o *out) ConfirmsReady() { (*Memory)(o).notify(Event{Kind: ConfirmsReady}) }
