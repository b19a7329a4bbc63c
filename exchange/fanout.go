package exchange

// fanoutType routes to all bindings (contract 04 §6.2).
type fanoutType struct{ keyed }

func (fanoutType) Name() string        { return "fanout" }
func (fanoutType) Description() string { return "routes to all bindings" }
func (fanoutType) New(Spec) Router     { return fanoutRouter{} }

type fanoutRouter struct {
	all bag
}

func (r fanoutRouter) Bind(b Binding) Router   { return fanoutRouter{r.all.add(b.Destination)} }
func (r fanoutRouter) Unbind(b Binding) Router { return fanoutRouter{r.all.remove(b.Destination)} }

func (r fanoutRouter) Route(_ *Subject, to []*Destination) []*Destination {
	return r.all.appendTo(to)
}

func (fanoutRouter) distinct(*Subject) bool { return true }
