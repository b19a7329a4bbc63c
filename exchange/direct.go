package exchange

import "github.com/warrenmq/warren/internal/pmap"

// bag is a persistent set of destinations that counts how many bindings lead
// to each, so that a destination bound often is still one destination.
type bag struct {
	counts pmap.Ordered[*Destination, int]
}

func (b bag) add(d *Destination) bag {
	n, _ := b.counts.Get(d)
	return bag{b.counts.Set(d, n+1)}
}

func (b bag) remove(d *Destination) bag {
	switch n, ok := b.counts.Get(d); {
	case !ok:
		return b
	case n > 1:
		return bag{b.counts.Set(d, n-1)}
	default:
		return bag{b.counts.Delete(d)}
	}
}

func (b bag) empty() bool { return b.counts.Len() == 0 }

func (b bag) appendTo(to []*Destination) []*Destination {
	for chunk := range b.counts.Chunks() {
		for i := range chunk {
			to = append(to, chunk[i].Key)
		}
	}
	return to
}

// keyed is embedded in the types that look at nothing but keys and take any
// arguments and bindings.
type keyed struct{}

func (keyed) Validate(Spec) error                 { return nil }
func (keyed) ValidateBinding(Spec, Binding) error { return nil }
func (keyed) RoutesByKey(Spec) bool               { return true }

// directType routes to the bindings whose key is one of the message's, byte by
// byte (contract 04 §6.1).
type directType struct{ keyed }

func (directType) Name() string        { return "direct" }
func (directType) Description() string { return "routes to bindings with the same key" }
func (directType) New(Spec) Router     { return directRouter{} }

type directRouter struct {
	byKey pmap.Map[string, bag]
}

func (r directRouter) Bind(b Binding) Router {
	there, _ := r.byKey.Get(b.Key)
	return directRouter{r.byKey.Set(b.Key, there.add(b.Destination))}
}

func (r directRouter) Unbind(b Binding) Router {
	there, _ := r.byKey.Get(b.Key)
	if there = there.remove(b.Destination); there.empty() {
		return directRouter{r.byKey.Delete(b.Key)}
	}
	return directRouter{r.byKey.Set(b.Key, there)}
}

func (r directRouter) Route(m *Subject, to []*Destination) []*Destination {
	for _, key := range m.keys {
		if there, ok := r.byKey.Get(key); ok {
			to = there.appendTo(to)
		}
	}
	return to
}

func (directRouter) distinct(m *Subject) bool { return len(m.keys) <= 1 }
