package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// ErrClosed is the error of a channel or connection that was closed without a
// refusal: by its own side, or by a broker that ended at once.
var ErrClosed = errors.New("channel or connection is closed")

// errAborted is what it is if the broker did so without giving a reason.
var errAborted = fmt.Errorf("%w by the broker", ErrClosed)

// Memory is a channel's client within the program: it calls the channel object
// directly, with neither frames nor a codec in between. Unlike an AMQP channel
// it may be used by any number of goroutines at once.
//
// What RabbitMQ answers by closing the channel, or the connection, does so here:
// the call that was refused gets the *reply.Error, and so do all later ones.
type Memory struct {
	conn   *Local
	number uint64 // which of the connection's channels it is
	lock   lock   // held by who calls ch
	ch     *channel.Channel
	// refused says that something was refused, so that the channel is about to be
	// closed: nothing that comes after it is carried out. It is guarded by lock.
	refused bool
	pub     channel.Publish // scratch of Publish and PublishAll

	mu      sync.Mutex
	inboxes map[string]*Inbox
	returns []Returned
	held    int         // octets of the bodies in returns
	onEvent func(Event) // see Notify
	err     error
	closing chan struct{} // closed when err is set
	done    chan struct{} // closed when all is over
}

// Returned is a message that had no route and came back.
type Returned struct {
	Code reply.Code
	// Msg carries a reference.
	Msg *message.Message
}

// Do calls f with the channel object, one goroutine at a time, and waits no
// longer than ctx lasts: for its turn, and for the store to keep what f declares,
// which is in force then all the same. What f wants to publish or settle is handed
// over before Do returns. An error that closes an AMQP channel closes this one.
func (m *Memory) Do(ctx context.Context, f func(*channel.Channel) error) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	full, err := m.run(func() error {
		m.ch.WaitUntil(ctx.Done())
		defer m.ch.WaitUntil(nil)
		return f(m.ch)
	})
	return m.leave(ctx, full, err)
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
	if m.refused {
		m.lock.unlock()
		select {
		case <-m.done:
			return m.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// run calls f, hands over what was collected and gives the lock back, which the
// caller has taken. An exchange type of a user's own runs in it: if it panics,
// the connection ends as it does over a socket, and nobody waits for the lock.
func (m *Memory) run(f func() error) (full queue.Wait, err error) {
	defer m.lock.unlock()
	defer func() {
		if v := recover(); v != nil {
			m.conn.cfg.Logger.Error(fmt.Sprintf("channel of the program: panic: %v", v),
				slog.String("stack", string(debug.Stack())))
			err = &reply.Error{Code: reply.InternalError, NoMethod: true}
		}
		m.refused = err != nil && !errors.Is(err, channel.ErrUnsettled)
	}()
	if err := f(); err != nil {
		return full, err
	}
	return m.ch.Flush(), nil
}

// leave waits for queues that are behind. If ctx or the channel ends meanwhile,
// what was handed over stays so.
func (m *Memory) leave(ctx context.Context, full queue.Wait, err error) error {
	switch {
	case errors.Is(err, channel.ErrUnsettled):
		return cmp.Or(m.Err(), ctx.Err())
	case err != nil:
		return m.refuse(err)
	case full.C == nil || full.Optional():
		return nil
	}
	select {
	case <-full.C:
	case <-m.done:
	case <-ctx.Done(): // the call did what it should; the next one waits
	}
	return nil
}

// refuse ends what an AMQP client would see ended.
func (m *Memory) refuse(err error) error {
	e := reply.From(err)
	if e.Code.Hard() || m.conn.cfg.Single {
		m.conn.Close(e)
	} else {
		m.conn.forget(m)
		m.close(e)
	}
	return e
}

// Publish publishes to an exchange. Msg brings a reference, which Publish takes
// over. confirm may be nil. While there is an alarm it waits like Admit.
func (m *Memory) Publish(ctx context.Context, exchange, key string, mandatory bool, msg *message.Message, confirm channel.Confirmation) error {
	err := m.Admit(ctx)
	if err == nil {
		err = m.enter(ctx)
	}
	if err != nil {
		msg.Release()
		return err
	}
	full, err := m.run(func() error {
		p := &m.pub
		p.Exchange = append(p.Exchange[:0], exchange...)
		p.RoutingKey = append(p.RoutingKey[:0], key...)
		p.Mandatory, p.Msg, p.Confirm, p.Seq = mandatory, msg, confirm, 0
		return m.publish()
	})
	return m.leave(ctx, full, err)
}

// publish publishes what is in pub. The caller has the channel object.
func (m *Memory) publish() error {
	p := &m.pub
	p.Size = uint64(p.Msg.Size())
	err := m.ch.Publish(p)
	p.Msg, p.Confirm = nil, nil
	return err
}

// How much PublishAll hands over in one turn at the channel: as many messages as a
// channel collects, and so many octets of bodies, or one that is larger.
const (
	maxTogether       = 512
	maxOctetsTogether = 1 << 20
)

// PublishAll publishes n messages that belong together, which fill puts into p one
// after the other. It fills in all of p but Size, may use p's slices again, and must
// not use the Memory. Messages share a turn at the channel object and one hand-over to
// each queue; before each turn PublishAll waits like Publish. It tells how many were
// published, which is not n if one was refused, fill gave an error, or ctx ended.
func (m *Memory) PublishAll(ctx context.Context, n int, fill func(i int, p *channel.Publish) error) (published int, err error) {
	for published < n {
		if err := m.Admit(ctx); err != nil {
			return published, err
		}
		if err := m.enter(ctx); err != nil {
			return published, err
		}
		var unfilled error
		full, err := m.run(func() error {
			p, octets := &m.pub, uint64(0)
			for range min(n-published, maxTogether) {
				if unfilled = fill(published, p); unfilled != nil {
					return nil // which is the caller's matter and not the channel's
				}
				if err := m.publish(); err != nil {
					return err
				}
				published++
				octets += p.Size
				if octets >= maxOctetsTogether || ctx.Err() != nil || m.conn.cfg.Alarms.Any() {
					return nil
				}
			}
			return nil
		})
		if err := m.leave(ctx, full, err); err != nil {
			return published, err
		}
		if unfilled != nil {
			return published, unfilled
		}
	}
	return published, nil
}

// Close closes the channel: consumers end, unsettled deliveries return to their
// queues. It is idempotent.
func (m *Memory) Close() {
	m.conn.forget(m)
	m.close(ErrClosed)
}

func (m *Memory) close(why error) { closeTogether([]*Memory{m}, why) }

// closeTogether closes channels of a connection, so that none of them gets what another
// one gives back. It waits for those that somebody else is closing.
func closeTogether(list []*Memory, why error) {
	var ending []*Memory
	var told []func()
	for _, m := range list {
		if tell := m.end(why); tell != nil {
			ending, told = append(ending, m), append(told, tell)
		}
	}
	channels := make([]*channel.Channel, 0, len(ending))
	for _, m := range ending {
		// Whoever has the channel object is waited for, and nobody gets it any more.
		if err := m.lock.lock(context.Background()); err == nil {
			m.lock.unlock()
		}
		channels = append(channels, m.ch)
	}
	if len(channels) > 0 {
		channel.CloseAll(channels, reason(why))
	}
	for _, tell := range told {
		tell()
	}
	for _, m := range list {
		<-m.done
	}
}

// end has all calls to come refused. It gives what is to be called once the channel
// object is closed, or nil if the channel ended before.
func (m *Memory) end(why error) (tell func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil
	}
	m.err = why
	close(m.closing)
	inboxes, returns, onEvent := m.inboxes, m.returns, m.onEvent
	m.inboxes, m.returns = nil, nil
	return func() {
		for _, in := range inboxes {
			in.end(why)
		}
		for _, r := range returns {
			r.Msg.Release()
		}
		if onEvent != nil {
			onEvent(Event{Kind: Closed, Err: why})
		}
		close(m.done)
	}
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
	ConsumerTag string // ConsumerCancelled
	Err         error  // Closed: why, as Memory.Err has it
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
	m.returns, m.held = nil, 0
	return rs
}

// TakeReturn is TakeReturns for the oldest one; ok is false if there is none.
func (m *Memory) TakeReturn() (r Returned, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.returns) == 0 {
		return r, false
	}
	return m.takeReturn(), true
}

// takeReturn takes the oldest one. The caller holds mu.
func (m *Memory) takeReturn() Returned {
	r := m.returns[0]
	m.returns[0] = Returned{}
	m.returns = m.returns[1:]
	m.held -= r.Msg.Size()
	return r
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

// How many returned messages wait to be taken, and how many octets of bodies,
// though one may that is larger; the oldest go first when nobody takes them.
const (
	maxReturns = 1024
	maxHeld    = 1 << 20
)

func (o *out) Return(code reply.Code, msg *message.Message) {
	m := (*Memory)(o)
	m.mu.Lock()
	if m.err != nil {
		m.mu.Unlock()
		msg.Release()
		return
	}
	m.held += msg.Size()
	for n := len(m.returns); n == maxReturns || n > 0 && m.held > maxHeld; n = len(m.returns) {
		m.takeReturn().Msg.Release()
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

// TimedOut closes the channel before it is forgotten: who closes the connection
// meanwhile waits for that.
func (o *out) TimedOut(consumerTag string, why *reply.Error) {
	m := (*Memory)(o)
	m.conn.cfg.Logger.Warn(fmt.Sprintf("Consumer '%s' on channel %d of %s: %s", consumerTag, m.number, m.conn.Name(), why.Text))
	if m.conn.cfg.Single {
		m.conn.Close(why)
		return
	}
	m.close(why)
	m.conn.forget(m)
}

func (o *out) ConfirmsReady() { (*Memory)(o).notify(Event{Kind: ConfirmsReady}) }
