package exchange

import (
	"iter"
	"sync"
	"sync/atomic"

	"github.com/warrenmq/warren/internal/pmap"
	"github.com/warrenmq/warren/reply"
)

// Topology is the exchanges and bindings of one virtual host. Its methods may
// be called from any number of goroutines. Those that change something wait
// for each other, Bindings and its like for them; all others take no lock.
type Topology struct {
	vhost string
	types *Types
	queue func(name string) *Destination
	// unnamed is the default exchange.
	unnamed    *Exchange
	exchanges  atomic.Pointer[pmap.Map[string, *Exchange]]
	generation atomic.Uint64

	watcher Watcher // nil if nobody watches; guarded by mu

	mu sync.Mutex // guards what follows and each exchange's out, and serialises changes
	// policy gives the alternate exchanges of new exchanges; nil gives none.
	policy Policy
	// in are the bindings by destination, in no particular order. A binding
	// knows its place.
	in map[*Destination][]*binding
}

// Removed tells what vanished with a change.
type Removed struct {
	// Exchanges are the deleted exchanges: the one that was to be deleted
	// first, then those auto-delete exchanges that lost their last binding.
	Exchanges []*Exchange
	// Bindings are the removed bindings.
	Bindings []Binding
}

// Watcher hears of the changes of a Topology in their order. Its methods are
// called with the topology locked: they must neither block nor call it. What goes
// with something else goes before it: bindings before the exchange or the queue
// that they lead from or to.
type Watcher interface {
	// ExchangeDeclared says that there is a new exchange.
	ExchangeDeclared(x Spec)
	// ExchangeDeleted says that an exchange is gone, on its own or with the
	// virtual host.
	ExchangeDeleted(x Spec)
	// Bound says that there is a new binding.
	Bound(b Binding)
	// Unbound says that a binding is gone, on its own or with one of its ends.
	Unbound(b Binding)
	// QueueForgotten says that a queue has gone, after its bindings.
	QueueForgotten(queue *Destination)
	// Changed ends what was one change: an exchange's deletion with all its
	// bindings, and with exchanges that go because they were the last.
	Changed()
}

// Policy gives the name of the alternate exchange that a policy has for the exchange of
// a name, "" if there is none. It is called with the topology locked: it must neither
// block nor call it.
type Policy func(exchange string) (alternate string)

// NewTopology makes the topology of a virtual host with the exchanges that are
// there from the start (contract 04 §1). queue gives the queue of that name as
// it is now, nil if there is none. It is called by many goroutines at once,
// for routes through the default exchange and for bindings; it must neither
// block nor call the topology.
func NewTopology(vhost string, types *Types, queue func(name string) *Destination) *Topology {
	t := &Topology{
		vhost: vhost,
		types: types,
		queue: queue,
		in:    make(map[*Destination][]*binding),
	}
	var all pmap.Map[string, *Exchange]
	for _, spec := range []Spec{
		{Name: "", Type: "direct"},
		{Name: "amq.direct", Type: "direct"},
		{Name: "amq.fanout", Type: "fanout"},
		{Name: "amq.topic", Type: "topic"},
		{Name: "amq.headers", Type: "headers"},
		{Name: "amq.match", Type: "headers"},
		{Name: "amq.rabbitmq.trace", Type: "topic", Internal: true},
	} {
		spec.VHost, spec.Durable = vhost, true
		x := newExchange(spec, types.byName[spec.Type])
		all = all.Set(spec.Name, x)
		if spec.Name == "" {
			t.unnamed = x
		}
	}
	t.exchanges.Store(&all)
	return t
}

// Watch sets who hears of changes from now on.
func (t *Topology) Watch(w Watcher) {
	t.mu.Lock()
	t.watcher = w
	t.mu.Unlock()
}

// SetPolicy gives all exchanges the alternate exchanges that p names, and so those to
// come. An argument of the declare goes before it. What is routed after the return goes
// by it.
func (t *Topology) SetPolicy(p Policy) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.policy = p
	changed := false
	for _, x := range t.exchanges.Load().All() {
		if x.obey(p) {
			changed = true
		}
	}
	if changed {
		t.Touch()
	}
}

// Retire tells the watcher that all bindings and exchanges are gone, and lets it
// hear of nothing after that. It is for a virtual host that was deleted: its last
// clients may use the topology until they hear of it.
func (t *Topology) Retire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watcher == nil {
		return
	}
	for _, in := range t.in {
		for _, b := range in {
			t.watcher.Unbound(b.Binding)
		}
	}
	for _, x := range t.exchanges.Load().All() {
		t.watcher.ExchangeDeleted(x.spec)
	}
	t.watcher.Changed()
	t.watcher = nil
}

// Lookup gives the exchange of that name; that of the default exchange is "".
func (t *Topology) Lookup(name string) (x *Exchange, ok bool) {
	return t.exchanges.Load().Get(name)
}

// Find is Lookup, but a missing exchange is a NOT_FOUND error.
func (t *Topology) Find(name string) (*Exchange, error) {
	if x, ok := t.Lookup(name); ok {
		return x, nil
	}
	return nil, t.notFound(KindExchange, name)
}

// All walks over the exchanges as they are when the walk begins, the default
// exchange included, in no particular order.
func (t *Topology) All() iter.Seq[*Exchange] {
	return func(yield func(*Exchange) bool) {
		for _, x := range t.exchanges.Load().All() {
			if !yield(x) {
				return
			}
		}
	}
}

// Generation gives another number once a change that may give a message another
// route is done; that is before the method that makes the change returns. So
// what was routed after a call of Generation may be used again as long as
// Generation gives the same number.
func (t *Topology) Generation() uint64 { return t.generation.Load() }

// Touch changes the generation. Call it after a queue was created, since the
// default exchange may now route to it. After a queue has gone Forget does it.
func (t *Topology) Touch() { t.generation.Add(1) }

// Declare gives the exchange that s describes and tells whether it had to be
// created. It checks, in this order, the type, that s is not the default
// exchange and, if the exchange exists, that it is the same; else the name, the
// arguments and what the type has to say of them. s.VHost is of no matter.
func (t *Topology) Declare(s Spec) (x *Exchange, created bool, err error) {
	typ, err := t.typeOf(s.Type)
	if err != nil {
		return nil, false, err
	}
	if err := t.CheckNotDefault(s.Name); err != nil {
		return nil, false, err
	}
	if x, ok := t.Lookup(s.Name); ok {
		return x, false, t.CheckEquivalent(x, s)
	}
	if err := t.CheckReserved(s.Name); err != nil {
		return nil, false, err
	}
	if err := t.CheckArguments(s); err != nil {
		return nil, false, err
	}
	s.VHost = t.vhost
	s.Arguments = s.Arguments.Clone()
	if err := refusal(typ.Validate(s)); err != nil {
		return nil, false, err
	}
	x = newExchange(s, typ)
	if there := t.addUnlessThere(x); there != nil {
		return there, false, t.CheckEquivalent(there, s)
	}
	return x, true, nil
}

// addUnlessThere gives the exchange that has the name already.
func (t *Topology) addUnlessThere(x *Exchange) *Exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := *t.exchanges.Load()
	if there, ok := all.Get(x.spec.Name); ok {
		return there
	}
	if t.policy != nil {
		x.obey(t.policy)
	}
	all = all.Set(x.spec.Name, x)
	t.exchanges.Store(&all)
	t.Touch()
	if t.watcher != nil {
		t.watcher.ExchangeDeclared(x.spec)
		t.watcher.Changed()
	}
	return nil
}

// Delete deletes an exchange and all bindings from it and to it. That there is
// none is no error. With ifUnused it refuses to delete the source of a binding:
// PRECONDITION_FAILED. See CheckDelete for what it refuses in any case.
func (t *Topology) Delete(name string, ifUnused bool) (Removed, error) {
	var r Removed
	if err := t.CheckDelete(name); err != nil {
		return r, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	x, ok := t.Lookup(name)
	if !ok {
		return r, nil
	}
	if ifUnused && len(x.out) > 0 {
		return r, reply.Errorf(reply.PreconditionFailed, "%s in use", t.printed(KindExchange, name))
	}
	t.drop(x, &r)
	t.settle(&r, nil)
	return r, nil
}
