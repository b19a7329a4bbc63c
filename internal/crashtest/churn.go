package crashtest

import (
	"context"
	"errors"
	"fmt"
	"maps"

	amqp "github.com/rabbitmq/amqp091-go"
)

// churner declares, deletes, binds and unbinds what is its own, and publishes to
// its durable queues between, so that it shows if something of a deleted queue
// comes back in a later one of that name.
type churner struct {
	name  string
	books books[*world]
}

func newChurner(name string) *churner {
	return &churner{name: name, books: books[*world]{now: newWorld()}}
}

const (
	churnQueues    = 4
	churnExchanges = 3
	churnKeys      = 2
)

func (w *churner) queue(i int) string    { return fmt.Sprintf("%s.q%d", w.name, i) }
func (w *churner) exchange(i int) string { return fmt.Sprintf("%s.x%d", w.name, i) }

// binding gives one of the possible bindings. Each has a key of its own, so that
// a message tells whether it is there.
func (w *churner) binding(source, destination string, exchange bool, key int) bindingDef {
	return bindingDef{source, fmt.Sprintf("%s.%d", destination, key), destination, exchange}
}

// possible gives all bindings there could be between what exists.
func (w *churner) possible(in *world) []bindingDef {
	var out []bindingDef
	for x := range in.exchanges {
		for q := range in.queues {
			for key := range churnKeys {
				out = append(out, w.binding(x, q, false, key))
			}
		}
		out = append(out, w.binding(x, sink, true, 0))
	}
	return out
}

// churn changes definitions one after another.
func (w *churner) churn(a *actor) error {
	c, err := a.open()
	if err != nil {
		return err
	}
	if err := c.confirms(100); err != nil {
		return err
	}
	defer func() {
		_ = a.conn.Close()
		<-c.drained
	}()
	for {
		if err := w.step(a, c); err != nil {
			return err
		}
	}
}

func (w *churner) step(a *actor, c *channel) error {
	now := w.books.now
	after := now.clone()
	q, x := w.queue(a.r.IntN(churnQueues)), w.exchange(a.r.IntN(churnExchanges))
	_, hasQueue := now.queues[q]
	_, hasExchange := now.exchanges[x]
	switch k := a.r.IntN(20); {
	case !hasQueue:
		d := queueDef{durable: a.r.IntN(5) > 0, autoDelete: a.r.IntN(5) == 0, exclusive: a.r.IntN(8) == 0, lazy: a.r.IntN(3) == 0}
		after.queues[q] = d
		return w.change(fmt.Sprintf("declare queue %s %+v", q, d), after, func() error {
			if d.lasts() {
				a.l.AddQueue(q, QueueOptions{Get: true})
			}
			_, err := c.QueueDeclare(q, d.durable, d.autoDelete, d.exclusive, false, d.args())
			return err
		})
	case !hasExchange:
		d := exchangeDef{kind: pick(a.r, []string{"direct", "topic"}), durable: a.r.IntN(4) > 0, autoDelete: a.r.IntN(6) == 0}
		after.exchanges[x] = d
		return w.change(fmt.Sprintf("declare exchange %s %+v", x, d), after, func() error {
			return c.ExchangeDeclare(x, d.kind, d.durable, d.autoDelete, false, false, nil)
		})
	case k == 0:
		after.deleteExchange(x)
		return w.change("delete exchange "+x, after, func() error { return c.ExchangeDelete(x, false, false) })
	case k < 3:
		after.deleteQueue(q)
		d := now.queues[q]
		return w.change("delete queue "+q, after, func() error {
			if d.autoDelete && a.r.IntN(2) == 0 {
				return w.leave(a, c, q)
			}
			if _, err := c.QueueDelete(q, false, false, false); err != nil {
				return err
			}
			w.forget(a.l, q)
			return nil
		})
	case k < 12:
		possible := w.possible(now)
		if len(possible) == 0 {
			return nil
		}
		return w.bindOrUnbind(c, after, pick(a.r, possible))
	}
	return w.fill(a, c, q)
}

// change carries a change out. Everything that is changed so is durable when it
// is answered.
func (w *churner) change(what string, after *world, f func() error) error {
	w.books.begin(what, after)
	if err := f(); err != nil {
		return err
	}
	w.books.done()
	return nil
}

func (w *churner) bindOrUnbind(c *channel, after *world, b bindingDef) error {
	what, f := "bind", c.QueueBind
	if b.exchange {
		f = c.ExchangeBind
	}
	if after.bindings[b] {
		after.deleteBindings(func(other bindingDef) bool { return other == b })
		what, f = "unbind", func(destination, key, source string, _ bool, args amqp.Table) error {
			if b.exchange {
				return c.ExchangeUnbind(destination, key, source, false, args)
			}
			return c.QueueUnbind(destination, key, source, args)
		}
	} else {
		after.bindings[b] = true
	}
	return w.change(fmt.Sprintf("%s %+v", what, b), after, func() error { return f(b.destination, b.key, b.source, false, nil) })
}

// forget takes a queue that was deleted off the ledger.
func (w *churner) forget(l *Ledger, name string) {
	for _, q := range l.Queues() {
		if q.name == name {
			l.RemoveQueue(q)
		}
	}
}

// leave deletes an auto-delete queue by leaving it. Nobody promises when that is
// durable, but the next definition comes after it.
func (w *churner) leave(a *actor, c *channel, q string) error {
	for _, known := range a.l.Queues() {
		if known.name == q {
			defer a.l.Consuming(known)()
		}
	}
	deliveries, err := c.Consume(q, "leaver", false, false, false, false, nil)
	if err != nil {
		return err
	}
	a.wg.Go(func() {
		for range deliveries {
		}
	})
	if err := c.Cancel("leaver", false); err != nil {
		return err
	}
	for {
		ch, err := a.conn.Channel()
		if err != nil {
			return err
		}
		_, err = ch.QueueDeclarePassive(q, false, false, false, false, nil)
		var e *amqp.Error
		if errors.As(err, &e) && e.Code == amqp.NotFound {
			break
		}
		if err != nil {
			return err
		}
		if err := ch.Close(); err != nil {
			return err
		}
	}
	marker := w.name + ".marker"
	if err := c.ExchangeDeclare(marker, "direct", true, false, false, false, nil); err != nil {
		return err
	}
	if err := c.ExchangeDelete(marker, false, false); err != nil {
		return err
	}
	w.forget(a.l, q)
	return nil
}

// fill publishes to a queue, takes from it or purges it.
func (w *churner) fill(a *actor, c *channel, name string) error {
	var q *Queue
	for _, other := range a.l.Queues() {
		if other.name == name {
			q = other
		}
	}
	if q == nil {
		return nil // it does not last
	}
	switch a.r.IntN(6) {
	case 0:
		if err := a.quiesce(c); err != nil {
			return err
		}
		c.log.Purge(q)
		_, err := c.QueuePurge(name, false)
		return err
	case 1, 2:
		m, tag, err := a.get(c, q)
		if err != nil || m == nil {
			return err
		}
		c.log.Ack(m)
		return c.Ack(tag, false)
	}
	for range a.r.IntN(30) {
		if err := a.send(c, c.nextID(a.r.IntN(4) > 0), route{"", name, []*Queue{q}}); err != nil {
			return err
		}
	}
	return nil
}

// inspect compares the definitions after a crash with the books.
func (w *churner) inspect(l *Ledger, conn *amqp.Connection) error {
	found, err := w.look(conn)
	if err != nil {
		return err
	}
	left := (*world).survivors
	if l.howEnded() == stoppedInOrder {
		left = (*world).stopped
	}
	if !w.books.crashed(found, left, l, w.name) {
		return nil
	}
	for _, q := range l.Queues() {
		_, there := found.queues[q.name]
		if !there && len(q.name) > len(w.name) && q.name[:len(w.name)+1] == w.name+"." {
			l.RemoveQueue(q)
		}
	}
	return w.redeclare(l, conn)
}

// look finds out what exists.
func (w *churner) look(conn *amqp.Connection) (*world, error) {
	found := newWorld()
	for i := range churnQueues {
		there, err := exists(conn, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive(w.queue(i), false, false, false, false, nil)
			return err
		})
		if err != nil {
			return nil, err
		}
		if there {
			found.queues[w.queue(i)] = w.expected().queues[w.queue(i)]
		}
	}
	for i := range churnExchanges {
		there, err := exists(conn, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(w.exchange(i), "direct", false, false, false, false, nil)
		})
		if err != nil {
			return nil, err
		}
		if there {
			found.exchanges[w.exchange(i)] = w.expected().exchanges[w.exchange(i)]
		}
	}
	return found, w.probe(conn, found)
}

// expected gives a world with the properties that what is found should have: one
// change does not alter them.
func (w *churner) expected() *world {
	out := w.books.now.clone()
	if next := w.books.next; next != nil {
		maps.Copy(out.queues, (*next).queues)
		maps.Copy(out.exchanges, (*next).exchanges)
	}
	return out
}

func exists(conn *amqp.Connection, passive func(*amqp.Channel) error) (bool, error) {
	ch, err := conn.Channel()
	if err != nil {
		return false, err
	}
	err = passive(ch)
	var e *amqp.Error
	if errors.As(err, &e) && e.Code == amqp.NotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, ch.Close()
}

// probe finds the bindings, by a mandatory message for each that might be there.
func (w *churner) probe(conn *amqp.Connection, found *world) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	defer ch.Close()
	if err := ch.Confirm(false); err != nil {
		return err
	}
	returns := ch.NotifyReturn(make(chan amqp.Return, 1))
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	for _, b := range w.possible(found) {
		c, err := ch.PublishWithDeferredConfirmWithContext(ctx, b.source, b.key, true, false, amqp.Publishing{Type: probeType})
		if err != nil {
			return err
		}
		if _, err := c.WaitContext(ctx); err != nil {
			return err
		}
		select {
		case <-returns: // comes before its confirm
		default:
			found.bindings[b] = true
		}
	}
	return nil
}

// redeclare asks for everything as it should be, which is an error for what is
// otherwise.
func (w *churner) redeclare(l *Ledger, conn *amqp.Connection) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	wrong := func(err error) error {
		var e *amqp.Error
		if errors.As(err, &e) && e.Code == amqp.PreconditionFailed {
			l.Violate(w.books.history, "a definition of %s came back otherwise: %v", w.name, err)
			return nil
		}
		return err
	}
	for name, q := range w.books.now.queues {
		if _, err := ch.QueueDeclare(name, q.durable, q.autoDelete, q.exclusive, false, q.args()); err != nil {
			return wrong(err)
		}
	}
	for name, x := range w.books.now.exchanges {
		if err := ch.ExchangeDeclare(name, x.kind, x.durable, x.autoDelete, false, false, nil); err != nil {
			return wrong(err)
		}
	}
	return ch.Close()
}
