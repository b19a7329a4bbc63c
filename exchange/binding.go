package exchange

import (
	"cmp"
	"slices"
	"strings"

	"github.com/warrenmq/warren/message"
)

// bindingID tells the bindings of one source apart.
type bindingID struct {
	to        *Destination
	key, args string
}

// binding is a Binding that exists.
type binding struct {
	Binding
	source *Exchange
	at     int // its place among the destination's
}

func (b Binding) id() bindingID { return bindingID{b.Destination, b.Key, b.args} }

// Allow decides whether a client may change the bindings of a queue. It is
// called with the topology locked: it must neither block nor call it.
type Allow func(queue *Destination) error

// BindQueue binds a queue to an exchange and tells whether the binding is new.
// It refuses, in this order: the default exchange, ACCESS_REFUSED; a source or
// a queue that does not exist, NOT_FOUND; what the type of the source has
// against the binding; what allow has against it, which may be nil.
func (t *Topology) BindQueue(source, queue, key string, args message.Table, allow Allow) (created bool, err error) {
	return t.bind(source, KindQueue, queue, key, args, allow)
}

// BindExchange binds an exchange to another, or to itself. It refuses what
// BindQueue refuses, and the default exchange as a destination too.
func (t *Topology) BindExchange(source, destination, key string, args message.Table) (created bool, err error) {
	if err := t.CheckNotDefault(source); err != nil {
		return false, err
	}
	if err := t.CheckNotDefault(destination); err != nil {
		return false, err
	}
	return t.bind(source, KindExchange, destination, key, args, nil)
}

// UnbindQueue removes a binding of a queue. Nothing that is missing is an
// error, not even the queue; allow is asked only about a binding that exists.
// The default exchange is refused: ACCESS_REFUSED.
func (t *Topology) UnbindQueue(source, queue, key string, args message.Table, allow Allow) (Removed, error) {
	return t.unbind(source, KindQueue, queue, key, args, allow)
}

// UnbindExchange removes a binding between exchanges. Nothing that is missing
// is an error. The default exchange is refused on either side: ACCESS_REFUSED.
func (t *Topology) UnbindExchange(source, destination, key string, args message.Table) (Removed, error) {
	if err := t.CheckNotDefault(source); err != nil {
		return Removed{}, err
	}
	if err := t.CheckNotDefault(destination); err != nil {
		return Removed{}, err
	}
	return t.unbind(source, KindExchange, destination, key, args, nil)
}

// HasBinding reports whether a binding exists now.
func (t *Topology) HasBinding(source string, to *Destination, key string, args message.Table) bool {
	b, err := newBinding(source, to, key, args)
	if err != nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	x, ok := t.Lookup(source)
	return ok && x.out[b.id()] != nil
}

// Forget removes all bindings to a queue that has gone, and changes the
// generation. Call it once the queue function of NewTopology no longer gives
// the queue; no binding to it can be made after that.
func (t *Topology) Forget(queue *Destination) Removed {
	var r Removed
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeAllTo(queue, &r)
	t.settle(&r, queue)
	return r
}

// Bindings gives all bindings, sorted by source, destination, key and
// arguments. The bindings that every queue has from the default exchange are
// not among them.
func (t *Topology) Bindings() []Binding {
	var all []Binding
	t.mu.Lock()
	for _, in := range t.in {
		for _, b := range in {
			all = append(all, b.Binding)
		}
	}
	t.mu.Unlock()
	return sorted(all)
}

// BindingsFrom gives the bindings of which x is the source, sorted as those of
// Bindings.
func (t *Topology) BindingsFrom(x *Exchange) []Binding {
	t.mu.Lock()
	from := make([]Binding, 0, len(x.out))
	for _, b := range x.out {
		from = append(from, b.Binding)
	}
	t.mu.Unlock()
	return sorted(from)
}

// BindingsTo gives the bindings that lead to a destination, sorted as those of
// Bindings.
func (t *Topology) BindingsTo(d *Destination) []Binding {
	t.mu.Lock()
	to := make([]Binding, 0, len(t.in[d]))
	for _, b := range t.in[d] {
		to = append(to, b.Binding)
	}
	t.mu.Unlock()
	return sorted(to)
}

func sorted(all []Binding) []Binding {
	slices.SortFunc(all, func(a, b Binding) int {
		return cmp.Or(
			strings.Compare(a.Source, b.Source),
			cmp.Compare(a.Destination.Kind, b.Destination.Kind),
			strings.Compare(a.Destination.Name, b.Destination.Name),
			strings.Compare(a.Key, b.Key),
			strings.Compare(a.args, b.args),
		)
	})
	return all
}

func (t *Topology) bind(source string, kind Kind, name, key string, args message.Table, allow Allow) (bool, error) {
	for {
		x, to, err := t.ends(source, kind, name)
		if err != nil {
			return false, err
		}
		b, err := newBinding(source, to, key, args)
		if err != nil {
			return false, err
		}
		// Asked without the lock, for it may be a user's code.
		if err := refusal(x.typ.ValidateBinding(x.spec, b)); err != nil {
			return false, err
		}
		if created, done, err := t.add(x, b, allow); done {
			return created, err
		}
	}
}

// ends finds both ends of a new binding; the source is missed first.
func (t *Topology) ends(source string, kind Kind, name string) (*Exchange, *Destination, error) {
	if err := t.CheckNotDefault(source); err != nil {
		return nil, nil, err
	}
	x, err := t.Find(source)
	if err != nil {
		return nil, nil, err
	}
	to := t.destination(kind, name)
	if to == nil {
		return nil, nil, t.notFound(kind, name)
	}
	return x, to, nil
}

func (t *Topology) destination(kind Kind, name string) *Destination {
	if kind == KindQueue {
		return t.queue(name)
	}
	if x, ok := t.Lookup(name); ok {
		return x.self
	}
	return nil
}

// add adds b unless one of its ends has changed meanwhile; then it is not done.
func (t *Topology) add(x *Exchange, b Binding, allow Allow) (created, done bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	to := b.Destination
	if now, _ := t.Lookup(b.Source); now != x || t.destination(to.Kind, to.Name) != to {
		return false, false, nil
	}
	if allow != nil {
		if err := allow(to); err != nil {
			return false, true, err
		}
	}
	if x.out[b.id()] != nil {
		return false, true, nil
	}
	x.setRouter((*x.router.Load()).Bind(b))
	in := t.in[to]
	added := &binding{Binding: b, source: x, at: len(in)}
	t.in[to] = append(in, added)
	x.out[b.id()] = added
	t.Touch()
	if t.watcher != nil {
		t.watcher.Bound(b)
		t.watcher.Changed()
	}
	return true, true, nil
}

func (t *Topology) unbind(source string, kind Kind, name, key string, args message.Table, allow Allow) (Removed, error) {
	var r Removed
	if err := t.CheckNotDefault(source); err != nil {
		return r, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	x, ok := t.Lookup(source)
	to := t.destination(kind, name)
	if !ok || to == nil {
		return r, nil
	}
	wanted, err := newBinding(source, to, key, args)
	if err != nil {
		return r, err
	}
	b := x.out[wanted.id()]
	if b == nil {
		return r, nil
	}
	if allow != nil {
		if err := allow(to); err != nil {
			return r, err
		}
	}
	t.remove(b, &r)
	t.settle(&r, nil)
	return r, nil
}

// remove removes a binding, and its source if that is auto-delete and this was
// its last. settle has to follow.
func (t *Topology) remove(b *binding, r *Removed) {
	x := b.source
	x.setRouter((*x.router.Load()).Unbind(b.Binding))
	delete(x.out, b.id())
	t.detach(b)
	r.Bindings = append(r.Bindings, b.Binding)
	if x.spec.AutoDelete && len(x.out) == 0 {
		t.drop(x, r)
	}
}

// detach takes b from its destination's bindings. The last one takes its place.
func (t *Topology) detach(b *binding) {
	in := t.in[b.Destination]
	last := len(in) - 1
	if last == 0 {
		delete(t.in, b.Destination)
		return
	}
	in[b.at] = in[last]
	in[b.at].at = b.at
	in[last] = nil
	t.in[b.Destination] = in[:last]
}

// drop deletes an exchange and the bindings from it. Those to it are left to
// settle.
func (t *Topology) drop(x *Exchange, r *Removed) {
	all := t.exchanges.Load().Delete(x.spec.Name)
	t.exchanges.Store(&all)
	for _, b := range x.out {
		t.detach(b)
		r.Bindings = append(r.Bindings, b.Binding)
	}
	x.out = nil
	r.Exchanges = append(r.Exchanges, x)
}

// settle removes the bindings to the exchanges that were dropped, which may
// drop more of them, ends the change and tells of it.
func (t *Topology) settle(r *Removed, queue *Destination) {
	for i := 0; i < len(r.Exchanges); i++ {
		t.removeAllTo(r.Exchanges[i].self, r)
	}
	t.Touch()
	if t.watcher == nil {
		return
	}
	for _, b := range r.Bindings {
		t.watcher.Unbound(b)
	}
	for _, x := range r.Exchanges {
		t.watcher.ExchangeDeleted(x.spec)
	}
	if queue != nil {
		t.watcher.QueueForgotten(queue)
	}
	t.watcher.Changed()
}

func (t *Topology) removeAllTo(d *Destination, r *Removed) {
	for {
		in := t.in[d]
		if len(in) == 0 {
			return
		}
		t.remove(in[len(in)-1], r)
	}
}
