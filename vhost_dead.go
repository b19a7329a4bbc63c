package warren

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/internal/deadletter"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
)

// undertaker sends the dead letters of one queue on their way, and ends the queue
// itself. It is used by whoever runs that queue, one goroutine at a time.
type undertaker struct {
	v   *vhost
	log uint64 // the number of the queue's log; 0 without one
	// tools are made for the first one: most queues never have any.
	*tools
}

type tools struct {
	subject *exchange.Subject
	found   []*exchange.Destination
	to      []*queue.Host
}

// gone implements queue.HostEnv.Gone.
func (u *undertaker) gone(h *queue.Host, err error) { u.v.queueGone(h, u.log, err) }

// deadLetter implements queue.HostEnv.DeadLetter: the letter goes through the
// dead-letter exchange as if it were published there, but for rights, and comes
// to no queue that it would only circle through. Without that exchange it is
// dropped (contract 05 §7).
func (u *undertaker) deadLetter(h *queue.Host, d *queue.Dead) (m *message.Message, to []*queue.Host) {
	name := h.Spec().Name
	x, ok := u.v.exchanges.Lookup(d.Exchange)
	if !ok {
		return nil, nil
	}
	l, err := deadletter.Write(d.Msg, deadletter.Death{
		Queue: name, Reason: string(d.Reason), Time: time.Now(),
		Exchange: x.Name(), RoutingKey: d.RoutingKey, Rekeyed: d.Rekeyed,
	})
	if err != nil {
		u.v.b.opts.Logger.Warn("a dead letter is dropped", slog.String("vhost", u.v.name), slog.Any("error", err))
		return nil, nil
	}
	if err := u.route(x, l); err != nil {
		u.v.b.opts.Logger.Error("a dead letter is dropped", slog.String("vhost", u.v.name),
			slog.String("queue", name), slog.Any("error", err))
		u.to = u.to[:0]
	}
	if len(u.to) == 0 {
		l.Msg.Release()
		return nil, nil
	}
	return l.Msg, u.to
}

// route finds the queues of a letter. An exchange type of a user's that panics
// must not take the queue with it.
func (u *undertaker) route(x *exchange.Exchange, l *deadletter.Letter) (err error) {
	if u.tools == nil {
		u.tools = &tools{subject: new(exchange.Subject)}
	}
	defer func() {
		clear(u.found)
		u.subject.Reset(nil)
		if v := recover(); v != nil {
			u.subject = new(exchange.Subject) // whatever state the old one is in
			err = fmt.Errorf("its exchange '%s' panicked: %v", x.Name(), v)
		}
	}()
	clear(u.to)
	u.to = u.to[:0]
	u.subject.Reset(l.Msg, l.Keys...)
	u.found, _ = u.v.exchanges.Route(x, u.subject, u.found[:0])
	for _, d := range u.found {
		if l.Circles(d.Name) {
			u.v.cycles.warn(u.v, d.Name)
			continue
		}
		u.to = append(u.to, queueOf(d))
	}
	return nil
}

// cycleWarnings remembers for which queues a cycle of dead letters was logged.
type cycleWarnings struct {
	mu     sync.Mutex
	logged map[string]struct{}
}

// maxCycleWarnings bounds the memory for it; when it is full it begins anew.
const maxCycleWarnings = 1000

// warn logs a cycle, once for each queue.
func (c *cycleWarnings) warn(v *vhost, queue string) {
	c.mu.Lock()
	_, logged := c.logged[queue]
	if !logged {
		if c.logged == nil || len(c.logged) == maxCycleWarnings {
			c.logged = map[string]struct{}{}
		}
		c.logged[queue] = struct{}{}
	}
	c.mu.Unlock()
	if !logged {
		v.b.opts.Logger.Warn("Message dropped. Dead-letter queues cycle detected", slog.String("vhost", v.name), slog.String("queue", queue))
	}
}
