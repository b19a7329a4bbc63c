package warren

import (
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/store/msgstore"
)

// note adds to what the change under way changes in the definitions. The topology
// is locked.
func (v *vhost) note(d msgstore.Definition) { v.noted = append(v.noted, d) }

// keeps reports whether a binding survives a restart: both of its ends must.
func (v *vhost) keeps(b exchange.Binding) bool {
	from, ok := v.exchanges.Lookup(b.Source)
	return ok && from.Spec().Durable && durableDestination(b.Destination)
}

// durableDestination reports whether the end of a binding survives a restart. A
// queue that failed is forgotten in memory only: a restart brings it back.
func durableDestination(d *exchange.Destination) bool {
	switch to := d.Target.(type) {
	case *queue.Host:
		return to.Spec().Durable && to.Lost() == nil
	case *exchange.Exchange:
		return to.Spec().Durable
	}
	return false
}

// hostEnv is what a queue gets of the broker. log is the number of its log, 0 for
// a new one if it needs one; the number is given back.
func (v *vhost) hostEnv(s queue.Spec, log uint64) (queue.HostEnv, uint64) {
	u := &undertaker{v: v}
	env := queue.HostEnv{Go: v.start, Memory: v.b.opts.QueueMemory, DeadLetter: u.deadLetter, Gone: u.gone}
	if v.b.defs == nil {
		return env, 0
	}
	env.Settle = v.settle // also for a transient queue: a durable exchange may go with it
	if !s.Durable {
		return env, 0
	}
	if log == 0 {
		log = v.b.defs.number()
	}
	u.log = log
	env.Log = v.b.ms.Log(log)
	return env, log
}

// lostQueue is what the store has of a durable queue that failed: a restart brings it
// back, unless it is declared anew before that.
type lostQueue struct {
	log      uint64
	bindings []msgstore.Definition // the changes that forget them
}

// keepLost remembers a queue that failed. v.mu is held.
func (v *vhost) keepLost(d *exchange.Destination, log uint64) {
	lost := lostQueue{log: log}
	for _, b := range v.exchanges.BindingsTo(d) {
		if from, ok := v.exchanges.Lookup(b.Source); ok && from.Spec().Durable {
			lost.bindings = append(lost.bindings, undefine(bindingRecord{v.id, bindingInfo(v.name, b)}))
		}
	}
	if v.lost == nil {
		v.lost = map[string]lostQueue{}
	}
	v.lost[d.Name] = lost
}

// dropLost deletes what the store has of a queue that failed, together with the given
// changes, and reports whether there was one. v.mu is held.
func (v *vhost) dropLost(name string, with ...msgstore.Definition) bool {
	lost, ok := v.lost[name]
	if ok {
		delete(v.lost, name)
		v.b.defs.commit(append(with, lost.bindings...)...)
		v.b.ms.Log(lost.log).Drop()
	}
	return ok
}

// DeleteLost implements channel.VHost.
func (v *vhost) DeleteLost(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dropLost(name, undefine(queueRecord{vhost: v.id, Spec: queue.Spec{Name: name}}))
}

// Settle implements channel.VHost.
func (v *vhost) Settle(then func(error)) {
	if v.b.defs == nil {
		then(nil)
		return
	}
	// What somebody else makes or removes just now may have been seen before it was
	// handed over.
	v.awaitChanges()
	v.b.defs.settle(then)
}

// awaitChanges waits until the changes that are under way have been handed over.
func (v *vhost) awaitChanges() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.exchanges.Await()
}

// define keeps the virtual host itself. b.mu is held.
func (v *vhost) define() {
	if v.b.defs == nil {
		return
	}
	r := vhostRecord{ID: v.id, Name: v.name, MaxConnections: -1}
	if n, ok := v.b.limits[v.name]; ok {
		r.MaxConnections = n
	}
	v.mu.Lock()
	r.MaxQueues = v.maxQueues
	v.mu.Unlock()
	v.b.defs.commit(define(r))
}
