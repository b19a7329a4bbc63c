package warren

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/internal/pmap"
	"github.com/warrenmq/warren/policy"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/store/msgstore"
)

// vhost is one virtual host: its exchanges, and its queues by name. Looking one
// up takes no lock.
type vhost struct {
	name      string
	id        uint64 // in definitions; 0 if nothing is kept
	b         *Broker
	exchanges *exchange.Topology
	queues    atomic.Pointer[pmap.Map[string, *exchange.Destination]]
	replies   channel.Replies
	// start and settle are for the hosts of queues: one of each, as there are many.
	start  func(func()) bool
	settle func(func(error))
	// policies are stored under mu, and while policing is held, so that each change
	// has reached the queues and exchanges before the next one. No other lock is
	// held when policing is taken.
	policies atomic.Pointer[policy.Set]
	policing sync.Mutex

	mu        sync.Mutex // guards changes of queues and what follows
	exclusive map[uint64]map[*queue.Host]struct{}
	maxQueues int // negative is unlimited
	deleted   bool
	lost      map[string]lostQueue // by name; nil until there is one

	cycles cycleWarnings

	// noted is what the change under way changes in the definitions; guarded by
	// the topology's lock.
	noted []msgstore.Definition
}

// newVHost makes a virtual host; id is its number in the definitions.
func newVHost(b *Broker, name string, id uint64) *vhost {
	v := &vhost{name: name, id: id, b: b, exclusive: map[uint64]map[*queue.Host]struct{}{}, maxQueues: -1}
	v.queues.Store(&pmap.Map[string, *exchange.Destination]{})
	v.policies.Store(&policy.Set{})
	v.start = b.start
	if b.defs != nil {
		v.settle = b.defs.settle
	}
	v.exchanges = exchange.NewTopology(name, b.exchangeTypes, v.destination)
	v.exchanges.Watch(watch{b, v})
	return v
}

// destination gives the queue of that name as bindings know it, or nil.
func (v *vhost) destination(name string) *exchange.Destination {
	d, _ := v.queues.Load().Get(name)
	return d
}

// The methods of channel.VHost.

func (v *vhost) Name() string                  { return v.name }
func (v *vhost) Exchanges() *exchange.Topology { return v.exchanges }
func (v *vhost) QueueTypes() *queue.Types      { return v.b.queueTypes }
func (v *vhost) Watcher() channel.Watcher      { return watch{v.b, v} }
func (v *vhost) Replies() *channel.Replies     { return &v.replies }

func (v *vhost) Queue(name string) (*queue.Host, bool) {
	d, ok := v.queues.Load().Get(name)
	if !ok {
		return nil, false
	}
	return queueOf(d), true
}

func queueOf(d *exchange.Destination) *queue.Host { return d.Target.(*queue.Host) }

func (v *vhost) noQueue(name string) error {
	return reply.Errorf(reply.NotFound, "no queue '%s' in vhost '%s'", name, v.name)
}

func (v *vhost) CheckQueueLimit(name string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.checkQueueLimit(name)
}

func (v *vhost) checkQueueLimit(name string) error {
	if v.maxQueues < 0 || v.queues.Load().Len() < v.maxQueues {
		return nil
	}
	return reply.Errorf(reply.PreconditionFailed,
		"cannot declare queue '%s': queue limit in vhost '%s' (%d) is reached", name, v.name, v.maxQueues)
}

func (v *vhost) DeclareQueue(s queue.Spec) (h *queue.Host, created bool, err error) {
	t, ok := v.b.queueTypes.Lookup(s.Type)
	if !ok {
		return nil, false, fmt.Errorf("declare queue '%s' in vhost '%s': no queue type %q", s.Name, v.name, s.Type)
	}
	// The type's own code runs here, so no lock is held; a queue that lost the
	// race for its name goes away unseen.
	env, log := v.hostEnv(s, 0)
	policies, known := v.policies.Load(), t.Capabilities().Policies
	env.Policy = policies.ForQueue(s.Name, known).Definition()
	if h, err = queue.NewHost(t, s, env); err != nil {
		return nil, false, err
	}
	other, err := v.add(h, log, policies)
	for errors.Is(err, errPoliciesChanged) {
		policies = v.policies.Load()
		h.SetPolicy(policies.ForQueue(s.Name, known).Definition())
		other, err = v.add(h, log, policies)
	}
	if other == h {
		return h, true, nil
	}
	if derr := h.Delete(false, false, func(int) {}); derr != nil && err == nil {
		err = fmt.Errorf("declare queue '%s' in vhost '%s': %w", s.Name, v.name, derr)
	}
	return other, false, err
}

// errPoliciesChanged says that a new queue obeys policies that are not those of now.
var errPoliciesChanged = errors.New("the policies changed")

// add makes a queue known by its name, unless there is another of that name,
// which it gives then. log is the number of its log, obeyed the policies of which it
// has its own: who changes them later finds it. One that has ended already comes and
// goes unseen.
func (v *vhost) add(h *queue.Host, log uint64, obeyed *policy.Set) (*queue.Host, error) {
	s := h.Spec()
	replaced := false
	defer func() {
		if replaced { // told without a lock
			v.b.opts.Logger.Warn("a queue that failed is declared anew: what the store has of it is deleted",
				slog.String("vhost", v.name), slog.String("queue", s.Name))
		}
	}()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.deleted {
		return nil, reply.Errorf(reply.NotAllowed, "vhost %s not found", v.name)
	}
	if d, ok := v.queues.Load().Get(s.Name); ok {
		return queueOf(d), nil
	}
	if err := v.checkQueueLimit(s.Name); err != nil {
		return nil, err
	}
	if v.policies.Load() != obeyed {
		return nil, errPoliciesChanged
	}
	if h.Ended() { // it expired, or failed: nobody takes away what is added now
		if err := h.Lost(); err != nil {
			return nil, err
		}
		return h, nil
	}
	if s.Durable && v.b.defs != nil {
		// Before anybody can publish to it: what is in it must not be durable
		// before it is.
		replaced = v.dropLost(s.Name)
		v.b.defs.commit(define(queueRecord{v.id, log, s}))
	}
	if s.Exclusive {
		if v.exclusive[s.Owner] == nil {
			v.exclusive[s.Owner] = map[*queue.Host]struct{}{}
		}
		v.exclusive[s.Owner][h] = struct{}{}
	}
	// Before anybody finds it, who takes no lock for that: the events of its bindings
	// and consumers come later.
	v.b.emit(func() Event { return QueueCreated{s} })
	next := v.queues.Load().Set(s.Name, &exchange.Destination{Kind: exchange.KindQueue, Name: s.Name, Target: h})
	v.queues.Store(&next)
	v.exchanges.Touch()
	return h, nil
}

// queueGone forgets a queue that has ended; see queue.HostEnv. log is the number of
// its log.
func (v *vhost) queueGone(h *queue.Host, log uint64, err error) {
	s := h.Spec()
	if v.forget(h, log, err) && err != nil {
		v.b.opts.Logger.Error("queue failed", slog.String("vhost", v.name), slog.String("queue", s.Name), slog.Any("error", err))
	}
}

// forget takes a queue and its bindings away, unless it never got its name. Who
// declares the name anew waits until all has been told of the old one.
func (v *vhost) forget(h *queue.Host, log uint64, err error) bool {
	s := h.Spec()
	v.mu.Lock()
	defer v.mu.Unlock()
	d, ok := v.queues.Load().Get(s.Name)
	if !ok || d.Target != h {
		return false
	}
	next := v.queues.Load().Delete(s.Name)
	v.queues.Store(&next)
	if owned := v.exclusive[s.Owner]; s.Exclusive && owned != nil {
		if delete(owned, h); len(owned) == 0 {
			delete(v.exclusive, s.Owner)
		}
	}
	// Told even if a user's exchange type panics while its bindings go.
	defer v.b.emit(func() Event { return QueueDeleted{VHost: v.name, Name: s.Name, Err: err} })
	if err != nil && log != 0 {
		v.keepLost(d, log)
	}
	v.exchanges.Forget(d)
	return true
}

// deleteExclusive deletes the exclusive queues of a connection.
func (v *vhost) deleteExclusive(connection uint64) {
	v.mu.Lock()
	owned := make([]*queue.Host, 0, len(v.exclusive[connection]))
	for h := range v.exclusive[connection] {
		owned = append(owned, h)
	}
	v.mu.Unlock()
	deleteAll(owned)
}

// delete deletes everything in the virtual host and lets nothing new in.
func (v *vhost) delete() {
	v.mu.Lock()
	v.deleted = true
	all := make([]*queue.Host, 0, v.queues.Load().Len())
	for _, d := range v.queues.Load().All() {
		all = append(all, queueOf(d))
	}
	v.mu.Unlock()
	deleteAll(all)
	v.exchanges.Retire()
	v.forgetPolicies()
}

// deleteAll deletes queues whatever is in them. One that is gone already is fine.
func deleteAll(hosts []*queue.Host) {
	for _, h := range hosts {
		_ = h.Delete(false, false, func(int) {}) // can only say that it is gone
	}
}
