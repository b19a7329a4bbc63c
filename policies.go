package warren

import (
	"fmt"

	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/internal/pmap"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/policy"
	"github.com/warrenmq/warren/queue"
)

// Policy gives queues and exchanges whose names match a pattern settings beyond those
// that they were declared with; see policy.Policy. SetPolicy and SetOperatorPolicy set
// it.
type Policy = policy.Policy

// What a Policy may be for.
const (
	ApplyToAll       = policy.All
	ApplyToQueues    = policy.Queues
	ApplyToExchanges = policy.Exchanges
)

// SetPolicy sets a policy in a virtual host, in place of the one of that name. When it
// returns, every operation that begins later goes by it: on queues and exchanges that
// are there and on those to come. Each has one policy, that of the highest priority
// which matches; together with its operator policy, the lower number counts. With an
// argument of the declare, too, the lower number counts, and otherwise the argument
// (contract 08 §5).
//
// The error is a *policy.Error for a policy that RabbitMQ refuses, or wraps ErrNoVHost;
// then nothing has changed. Any other is that of Options.Store: the policy is in force,
// but not durable.
func (b *Broker) SetPolicy(vhost string, p Policy) error {
	return b.setPolicy(vhost, policy.User, p)
}

// ClearPolicy takes a policy away, with immediate effect as SetPolicy. The error wraps
// ErrNoVHost or ErrNoPolicy, or is that of Options.Store: then a restart may bring the
// policy back.
func (b *Broker) ClearPolicy(vhost, name string) error {
	return b.clearPolicy(vhost, policy.User, name)
}

// Policies gives the policies of a virtual host, sorted by name, without those of
// operators. Their definitions must not be changed. The error wraps ErrNoVHost.
func (b *Broker) Policies(vhost string) ([]Policy, error) {
	return b.policies(vhost, policy.User)
}

// SetOperatorPolicy is SetPolicy for a policy that limits what users set. It may have
// these keys: delivery-limit, expires, max-in-memory-bytes, max-in-memory-length,
// max-length, max-length-bytes and message-ttl.
func (b *Broker) SetOperatorPolicy(vhost string, p Policy) error {
	return b.setPolicy(vhost, policy.Operator, p)
}

// ClearOperatorPolicy is ClearPolicy for a policy of SetOperatorPolicy.
func (b *Broker) ClearOperatorPolicy(vhost, name string) error {
	return b.clearPolicy(vhost, policy.Operator, name)
}

// OperatorPolicies is Policies for those of SetOperatorPolicy.
func (b *Broker) OperatorPolicies(vhost string) ([]Policy, error) {
	return b.policies(vhost, policy.Operator)
}

func (b *Broker) policies(vhost string, k policy.Kind) ([]Policy, error) {
	v, err := b.vhostNamed(vhost)
	if err != nil {
		return nil, err
	}
	return v.policies.Load().Policies(k), nil
}

func (b *Broker) setPolicy(in string, k policy.Kind, p Policy) error {
	c, err := policy.Compile(k, p)
	if err == nil {
		err = b.changePolicies(in, func(v *vhost) error { return v.setPolicy(c) })
	}
	if err != nil {
		return fmt.Errorf("set policy '%s': %w", p.Name, err)
	}
	return b.settled()
}

func (b *Broker) clearPolicy(in string, k policy.Kind, name string) error {
	err := b.changePolicies(in, func(v *vhost) error { return v.clearPolicy(k, name) })
	if err != nil {
		return fmt.Errorf("clear policy '%s': %w", name, err)
	}
	return b.settled()
}

func (b *Broker) changePolicies(in string, change func(*vhost) error) error {
	v, err := b.vhostNamed(in)
	if err != nil {
		return err
	}
	v.policing.Lock()
	defer v.policing.Unlock()
	return change(v)
}

// setPolicy sets a policy. To set one that is there already is no change.
func (v *vhost) setPolicy(c *policy.Compiled) error {
	p, of := c.Policy(), c.Kind()
	old := v.policies.Load()
	if there := old.Get(of, p.Name); there != nil && there.Equal(c) {
		return nil
	}
	queues, err := v.storePolicies(old.With(c), func() {
		v.b.defs.commit(define(policyRecord{v.id, of, p}))
	})
	if err != nil {
		return err
	}
	v.applyPolicies(old, queues, func(s queue.Spec, i PolicyInfo) Event {
		return QueuePolicyUpdated{VHost: v.name, Name: s.Name, Type: s.Type, PolicyInfo: i}
	})
	v.b.emit(func() Event { return PolicySet{VHost: v.name, Operator: of == policy.Operator, Policy: p} })
	return nil
}

func (v *vhost) clearPolicy(of policy.Kind, name string) error {
	old := v.policies.Load()
	if old.Get(of, name) == nil {
		return fmt.Errorf("vhost '%s': %w", v.name, ErrNoPolicy)
	}
	queues, err := v.storePolicies(old.Without(of, name), func() {
		v.b.defs.commit(undefine(policyRecord{v.id, of, Policy{Name: name}}))
	})
	if err != nil {
		return err
	}
	v.applyPolicies(old, queues, func(s queue.Spec, i PolicyInfo) Event {
		return QueuePolicyCleared{VHost: v.name, Name: s.Name, Type: s.Type, PolicyInfo: i}
	})
	v.b.emit(func() Event { return PolicyCleared{VHost: v.name, Name: name, Operator: of == policy.Operator} })
	return nil
}

// queueMap is the queues of a virtual host at one moment.
type queueMap = *pmap.Map[string, *exchange.Destination]

// storePolicies makes next the policies of queues that are declared from now on, and
// gives those that there are. keep is called if definitions are kept.
func (v *vhost) storePolicies(next *policy.Set, keep func()) (queueMap, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.deleted {
		return nil, fmt.Errorf("vhost '%s': %w", v.name, ErrNoVHost)
	}
	v.policies.Store(next)
	if v.b.defs != nil {
		keep()
	}
	return v.queues.Load(), nil
}

// applyPolicies brings the exchanges, and the given queues, from the old policies to
// those of now. Neither a queue's own lock nor the virtual host's is held when a queue
// runs, so that it may do what it likes.
func (v *vhost) applyPolicies(old *policy.Set, queues queueMap, event func(queue.Spec, PolicyInfo) Event) {
	now := v.policies.Load()
	v.exchanges.SetPolicy(alternatesOf(now))
	definitions := map[policy.Match]message.Table{} // one for the many queues of a policy
	for _, d := range queues.All() {
		h := queueOf(d)
		name, known := h.Spec().Name, h.Capabilities().Policies
		m := now.ForQueue(name, known)
		if m == old.ForQueue(name, known) {
			continue
		}
		if _, ok := definitions[m]; !ok {
			definitions[m] = m.Definition()
		}
		v.mu.Lock()
		if v.destination(name) == d { // else it is gone, and that was told
			v.b.emit(func() Event { return event(h.Spec(), policyInfo(m)) })
		}
		v.mu.Unlock()
		h.SetPolicy(definitions[m])
	}
}

// alternatesOf gives the alternate exchanges that policies name.
func alternatesOf(s *policy.Set) exchange.Policy {
	return func(name string) string {
		v, _ := s.ForExchange(name).Definition().Get("alternate-exchange")
		alternate, _ := v.(string)
		return alternate
	}
}

// restorePolicy makes a policy anew, before there is anything to which it applies but
// the exchanges of every virtual host.
func (v *vhost) restorePolicy(r policyRecord) error {
	c, err := policy.Compile(r.of, r.Policy)
	if err != nil {
		return err
	}
	v.policies.Store(v.policies.Load().With(c))
	v.exchanges.SetPolicy(alternatesOf(v.policies.Load()))
	return nil
}

// forgetPolicies ends the policies with the virtual host, in which nothing is left.
func (v *vhost) forgetPolicies() {
	v.policing.Lock()
	defer v.policing.Unlock()
	old := v.policies.Swap(&policy.Set{})
	for _, of := range []policy.Kind{policy.User, policy.Operator} {
		for _, p := range old.Policies(of) {
			if v.b.defs != nil {
				v.b.defs.commit(undefine(policyRecord{v.id, of, p}))
			}
			v.b.emit(func() Event { return PolicyCleared{VHost: v.name, Name: p.Name, Operator: of == policy.Operator} })
		}
	}
}
