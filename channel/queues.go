package channel

import (
	"errors"
	"strings"
	"sync"

	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/intercept"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// QueueDeclare is queue.declare.
type QueueDeclare struct {
	Name string // empty for one of the broker's making
	// Passive only asks whether the queue exists.
	Passive, Durable, Exclusive, AutoDelete bool
	Arguments                               message.Table
	// NoCounts says that nobody asks for the counts (nowait).
	NoCounts bool
}

// QueueInfo answers a queue.declare.
type QueueInfo struct {
	Name             string
	Ready, Consumers int
}

// DeclareQueue makes a queue, or finds it equivalent to the one there is
// (contract 03 §8, 05 §2, §3).
func (ch *Channel) DeclareQueue(d QueueDeclare) (QueueInfo, error) {
	ch.flush()
	if err := ch.interceptQueueDeclare(&d); err != nil {
		return QueueInfo{}, err
	}
	name := stripped(d.Name)
	if strings.HasPrefix(d.Name, directReply) { // as it came, like RabbitMQ
		return ch.declareReplies(name)
	}
	if d.Passive {
		h, err := ch.queue(name)
		if err != nil {
			return QueueInfo{}, err
		}
		return ch.declared(h, d.NoCounts)
	}
	s := queue.Spec{
		Name: name, VHost: ch.VHost.Name(),
		Durable: d.Durable && !d.Exclusive, Exclusive: d.Exclusive, AutoDelete: d.AutoDelete,
		Arguments: d.Arguments,
	}
	if d.Exclusive {
		s.Owner = ch.Connection
	}
	if name == "" {
		if err := queue.CheckServerNamed(ch.VHost.QueueTypes(), s); err != nil {
			return QueueInfo{}, err
		}
		s.Name = generated("amq.gen-")
	} else if strings.HasPrefix(name, "amq.") {
		return QueueInfo{}, reply.Errorf(reply.AccessRefused, "queue name '%s' contains reserved prefix 'amq.*'", name)
	}
	if err := ch.mayConfigureQueue(s.Name); err != nil {
		return QueueInfo{}, err
	}
	for {
		if h, ok := ch.VHost.Queue(s.Name); ok {
			if err := queue.CheckEquivalent(h.Spec(), h.Capabilities(), s); err != nil {
				return QueueInfo{}, err
			}
			info, err := ch.declared(h, d.NoCounts)
			if errors.Is(err, reply.NotFound) {
				continue // deleted meanwhile: then it is made anew
			}
			if err == nil && s.Durable {
				err = ch.lasting(nil, ch.queueResource(s.Name)) // it may have been made just now
			}
			return info, err
		}
		h, err := ch.createQueue(&s)
		if err != nil {
			return QueueInfo{}, err
		}
		if h != nil {
			ch.lastQueue = s.Name
			if s.Durable {
				err = ch.lasting(nil, ch.queueResource(s.Name))
			}
			return QueueInfo{Name: s.Name}, err
		}
	}
}

// createQueue makes a queue; it gives nil if somebody else made one of that name
// first.
func (ch *Channel) createQueue(s *queue.Spec) (*queue.Host, error) {
	if err := ch.VHost.CheckQueueLimit(s.Name); err != nil {
		return nil, err
	}
	if err := queue.CheckDeadLetterType(*s); err != nil {
		return nil, err
	}
	if dlx, ok := queue.DeadLetterExchange(*s); ok {
		if err := ch.mayReadQueue(s.Name); err != nil {
			return nil, err
		}
		if err := ch.mayWriteExchange(dlx); err != nil {
			return nil, err
		}
	}
	t, err := queue.CheckDeclare(ch.VHost.QueueTypes(), *s)
	if err != nil {
		return nil, err
	}
	s.Type = t.Name()
	h, created, err := ch.VHost.DeclareQueue(*s)
	if err != nil || !created {
		return nil, err
	}
	return h, nil
}

// declared answers a declare of a queue that exists.
func (ch *Channel) declared(h *queue.Host, noCounts bool) (QueueInfo, error) {
	name := h.Spec().Name
	var st queue.Stat
	if !noCounts {
		var err error
		if st, err = h.Declared(); err != nil {
			return QueueInfo{}, ch.noQueue(name)
		}
	}
	ch.lastQueue = name
	return QueueInfo{Name: name, Ready: st.Ready, Consumers: st.Consumers - st.Waiting}, nil
}

// BindQueue is queue.bind.
func (ch *Channel) BindQueue(q, source, key string, args message.Table) error {
	q, key, err := ch.bindShortcuts(q, key)
	if err != nil {
		return err
	}
	m, err := intercepted(ch, intercept.QueueBind{Queue: q, Exchange: source, RoutingKey: key, Arguments: args})
	if err != nil {
		return err
	}
	if q, source, err = ch.checkBindQueue(m.Queue, m.Exchange, m.RoutingKey); err != nil {
		return err
	}
	_, err = ch.VHost.Exchanges().BindQueue(source, q, m.RoutingKey, m.Arguments, ch.allowOwner)
	return ch.lastingBindings(err, source, ch.queueLasts(q), ch.queueResource(q))
}

// UnbindQueue is queue.unbind. A binding, exchange or queue that does not exist
// is fine.
func (ch *Channel) UnbindQueue(q, source, key string, args message.Table) error {
	q, key, err := ch.bindShortcuts(q, key)
	if err != nil {
		return err
	}
	m, err := intercepted(ch, intercept.QueueUnbind{Queue: q, Exchange: source, RoutingKey: key, Arguments: args})
	if err != nil {
		return err
	}
	if q, source, err = ch.checkBindQueue(m.Queue, m.Exchange, m.RoutingKey); err != nil {
		return err
	}
	_, err = ch.VHost.Exchanges().UnbindQueue(source, q, m.RoutingKey, m.Arguments, ch.allowOwner)
	return ch.lastingBindings(err, source, ch.queueLasts(q), ch.queueResource(q))
}

// lasting waits until a change of something, if it succeeded, is durable.
func (ch *Channel) lasting(err error, what string) error {
	if err != nil {
		return err
	}
	settled := make(chan error, 1)
	ch.VHost.Settle(func(err error) { settled <- err })
	if err = ch.await(settled); err != nil && err != ErrUnsettled {
		err = reply.Errorf(reply.InternalError, "the change of %s is not durable: %v", what, err)
	}
	return err
}

// await waits for the store's word, unless that is given up.
func (ch *Channel) await(settled <-chan error) error {
	select {
	case err := <-settled:
		return err
	case <-ch.Ended:
	case <-ch.until:
	}
	return ErrUnsettled
}

// lastingBindings is lasting for a binding between an exchange and a queue or an
// exchange; none that is transient has to last. An exchange that is not there may have
// been durable, and have gone with the binding.
func (ch *Channel) lastingBindings(err error, source string, durable bool, what string) error {
	if x, ok := ch.VHost.Exchanges().Lookup(source); ok && !(durable && x.Spec().Durable) {
		return err
	}
	return ch.lasting(err, "the bindings of "+what)
}

func (ch *Channel) queueLasts(name string) bool {
	h, ok := ch.VHost.Queue(name)
	return !ok || h.Spec().Durable
}

func (ch *Channel) exchangeLasts(name string) bool {
	x, ok := ch.VHost.Exchanges().Lookup(name)
	return !ok || x.Spec().Durable
}

// allowOwner refuses the bindings of another connection's exclusive queue.
func (ch *Channel) allowOwner(d *exchange.Destination) error {
	return ch.checkOwner(d.Target.(*queue.Host))
}

// bindShortcuts expands the shortcuts of bind and unbind: without a queue name it
// is the queue declared last, and without a key either, the key is its name.
func (ch *Channel) bindShortcuts(q, key string) (_, _ string, err error) {
	ch.flush()
	name, err := ch.queueName(q)
	if q == "" && key == "" {
		key = name
	}
	return name, key, err
}

// checkBindQueue makes the checks that bind and unbind share, and gives the names of
// queue and exchange without what is not theirs.
func (ch *Channel) checkBindQueue(q, source, key string) (_, _ string, err error) {
	name, source := stripped(q), stripped(source)
	if err := ch.mayWriteQueue(name); err != nil {
		return "", "", err
	}
	if err := ch.VHost.Exchanges().CheckNotDefault(source); err != nil {
		return "", "", err
	}
	if err := ch.mayReadExchange(source); err != nil {
		return "", "", err
	}
	return name, source, ch.mayReadTopic(source, key)
}

// PurgeQueue drops the ready messages of a queue and gives their number.
func (ch *Channel) PurgeQueue(q string) (int, error) {
	ch.flush()
	name, err := ch.queueName(q)
	if err != nil {
		return 0, err
	}
	m, err := intercepted(ch, intercept.QueuePurge{Queue: name})
	if err != nil {
		return 0, err
	}
	name = m.Queue
	if err := ch.mayReadQueue(name); err != nil {
		return 0, err
	}
	h, err := ch.queue(name)
	if err != nil {
		return 0, err
	}
	n, err := h.Purge()
	if err != nil {
		return 0, ch.noQueue(name)
	}
	return n, nil
}

// DeleteQueue deletes a queue; one that does not exist is fine. ok is called
// with the number of messages it had before the consumers are told, possibly on
// another goroutine but before DeleteQueue returns.
func (ch *Channel) DeleteQueue(q string, ifUnused, ifEmpty bool, ok func(n int)) error {
	ch.flush()
	name, err := ch.queueName(q)
	if err != nil {
		return err
	}
	m, err := intercepted(ch, intercept.QueueDelete{Queue: name, IfUnused: ifUnused, IfEmpty: ifEmpty})
	if err != nil {
		return err
	}
	name = stripped(m.Queue)
	if err := ch.mayConfigureQueue(name); err != nil {
		return err
	}
	h, found := ch.VHost.Queue(name)
	if !found {
		return ch.deletedBefore(name, ok)
	}
	if err := ch.checkOwner(h); err != nil {
		return err
	}
	err = ch.deleteHost(h, m.IfUnused, m.IfEmpty, ok)
	var refused *reply.Error
	switch {
	case err == ErrUnsettled:
		return err
	case errors.As(err, &refused):
		return err // by the queue's type
	case errors.Is(err, queue.ErrGone):
		return ch.deletedBefore(name, ok)
	case errors.Is(err, queue.ErrInUse):
		return reply.Errorf(reply.PreconditionFailed, "%s in use", ch.queueResource(name))
	case errors.Is(err, queue.ErrNotEmpty):
		return reply.Errorf(reply.PreconditionFailed, "%s not empty", ch.queueResource(name))
	case err != nil:
		return reply.Errorf(reply.InternalError, "the change of %s is not durable: %v", ch.queueResource(name), err)
	}
	return nil
}

// deleteHost deletes a queue. Once it has returned ok is not called any more.
func (ch *Channel) deleteHost(h *queue.Host, ifUnused, ifEmpty bool, ok func(int)) error {
	var mu sync.Mutex
	left := false
	settled, err := h.BeginDelete(ifUnused, ifEmpty, func(n int) {
		mu.Lock()
		defer mu.Unlock()
		if !left {
			ok(n)
		}
	})
	if err != nil {
		return err
	}
	err = ch.await(settled)
	mu.Lock()
	left = true
	mu.Unlock()
	return err
}

// deletedBefore answers the delete of a queue that is not there. Its deletion by
// somebody else may be under way, or it failed.
func (ch *Channel) deletedBefore(name string, ok func(int)) error {
	ch.VHost.DeleteLost(name)
	if err := ch.lasting(nil, ch.queueResource(name)); err != nil {
		return err
	}
	ok(0)
	return nil
}
