package exchange

import (
	"math/rand/v2"

	"github.com/warrenmq/warren/internal/pvec"
)

// randomType is x-random, of RabbitMQ's plugin: each message goes to one binding,
// whichever, and no key matters. A queue that is bound twice is twice as likely
// (contract 04 §6.6).
type randomType struct{ keyed }

func (randomType) Name() string          { return "x-random" }
func (randomType) Description() string   { return "routes each message to one binding at random" }
func (randomType) New(Spec) Router       { return randomRouter{} }
func (randomType) RoutesByKey(Spec) bool { return false }

// randomRouter has an entry for each binding, in no order.
type randomRouter struct {
	bindings pvec.Vec[*Destination]
}

func (r randomRouter) Bind(b Binding) Router { return randomRouter{r.bindings.Push(b.Destination)} }

// Unbind looks through all bindings; it does not matter which of a destination's goes.
func (r randomRouter) Unbind(b Binding) Router {
	i := 0
	for chunk := range r.bindings.Chunks() {
		for _, d := range chunk {
			if d == b.Destination {
				last := r.bindings.Get(r.bindings.Len() - 1)
				return randomRouter{r.bindings.Set(i, last).Pop()}
			}
			i++
		}
	}
	return r
}

func (r randomRouter) Route(_ *Subject, to []*Destination) []*Destination {
	n := r.bindings.Len()
	if n == 0 {
		return to
	}
	return append(to, r.bindings.Get(rand.IntN(n)))
}

func (randomRouter) distinct(*Subject) bool { return true }
