package exchange

import (
	"sync/atomic"

	"github.com/warrenmq/warren/message"
)

// argAlternate names the exchange that takes what an exchange cannot route.
const argAlternate = "alternate-exchange"

// Exchange is one exchange of a Topology. All but its bindings is fixed. Its
// methods may be called from any number of goroutines.
type Exchange struct {
	spec      Spec
	typ       Type
	byKey     bool
	alternate string // of its arguments; named if it is among them, empty or not
	named     bool
	// byPolicy is the alternate exchange that its policy names; nil without one.
	byPolicy atomic.Pointer[string]
	self     *Destination
	router   atomic.Pointer[Router]

	// out are the bindings of which it is the source. The topology's mutex
	// guards it.
	out map[bindingID]*binding
}

func newExchange(spec Spec, typ Type) *Exchange {
	x := &Exchange{
		spec:  spec,
		typ:   typ,
		byKey: typ.RoutesByKey(spec),
		out:   make(map[bindingID]*binding),
	}
	x.alternate, x.named = alternateOf(spec.Arguments)
	x.self = &Destination{Kind: KindExchange, Name: spec.Name, Target: x}
	x.setRouter(typ.New(spec))
	return x
}

// alternateOf gives the alternate exchange that arguments name, and whether they name
// one. To name the default exchange is to name none, see Route.
func alternateOf(args message.Table) (name string, named bool) {
	v, named := args.Get(argAlternate)
	name, _ = v.(string)
	return name, named
}

func (x *Exchange) setRouter(r Router) { x.router.Store(&r) }

// Spec describes the exchange as it was declared.
func (x *Exchange) Spec() Spec { return x.spec }

// Name is the exchange's name; that of the default exchange is empty.
func (x *Exchange) Name() string { return x.spec.Name }

// Type is the exchange's type.
func (x *Exchange) Type() Type { return x.typ }

// Internal reports whether clients may not publish to it.
func (x *Exchange) Internal() bool { return x.spec.Internal }

// AlternateExchange is the name of the exchange that takes what this one cannot route,
// or "": that of its arguments, or else that of its policy (contract 04 §7). There need
// not be an exchange of that name.
func (x *Exchange) AlternateExchange() string {
	if x.named {
		return x.alternate
	}
	if p := x.byPolicy.Load(); p != nil {
		return *p
	}
	return ""
}

// obey takes over what its policy names as its alternate exchange, and reports whether
// that changes its routes.
func (x *Exchange) obey(policy Policy) bool {
	before := x.AlternateExchange()
	if name := policy(x.spec.Name); name != "" {
		x.byPolicy.Store(&name)
	} else {
		x.byPolicy.Store(nil)
	}
	return x.AlternateExchange() != before
}

// Destination is the exchange as the destination of bindings.
func (x *Exchange) Destination() *Destination { return x.self }

// route appends what the type alone makes of the bindings.
func (x *Exchange) route(m *Subject, to []*Destination) []*Destination {
	return (*x.router.Load()).Route(m, to)
}

// distinct reports whether route gives no destination twice. A built-in router
// may know; that saves looking for it.
func (x *Exchange) distinct(m *Subject) bool {
	r, ok := (*x.router.Load()).(interface{ distinct(*Subject) bool })
	return ok && r.distinct(m)
}
