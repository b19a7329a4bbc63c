package warren

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/store/msgstore"
)

// Permission is what one user may do in one virtual host; see auth.Permission.
// Auth().SetPermissions sets it.
type Permission = auth.Permission

// TopicPermission limits a user's routing keys at one topic exchange; see
// auth.TopicPermission. Auth().SetTopicPermissions sets it.
type TopicPermission = auth.TopicPermission

// UserLimit names a limit of a user, which Auth().SetLimit sets.
type UserLimit = auth.Limit

// The limits of a user, as numbers of what may be open at once: connections, and
// channels on one connection (contract 08 §2).
const (
	UserMaxConnections = auth.MaxConnections
	UserMaxChannels    = auth.MaxChannels
)

// VHostLimit names a limit of a virtual host, which SetVHostLimit sets.
type VHostLimit string

// The limits of a virtual host: how many connections may be open and how many
// queues may exist in it (contract 08 §1).
const (
	VHostMaxConnections VHostLimit = "max-connections"
	VHostMaxQueues      VHostLimit = "max-queues"
)

// Auth is the broker's users and permissions. Changes are obeyed at once, by
// open connections too; deleting a user closes that user's connections as
// CloseConnections does. It is always the same Registry.
func (b *Broker) Auth() *auth.Registry { return b.auth }

// userDeleted closes the connections of a user that was deleted.
func (b *Broker) userDeleted(name string) {
	b.CloseConnections(name, fmt.Sprintf("user '%s' is deleted", name))
}

// AddVHost makes a virtual host with RabbitMQ's pre-declared exchanges. Nobody
// has rights in it yet. The error wraps ErrVHostExists, also while the one of that
// name is being deleted, or ErrClosed.
func (b *Broker) AddVHost(name string) error {
	if err := b.addVHost(name); err != nil {
		return err
	}
	return b.settled()
}

func (b *Broker) addVHost(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return fmt.Errorf("add vhost '%s': %w", name, ErrClosed)
	}
	if _, leaving := b.leaving[name]; leaving || b.vhosts[name] != nil {
		return fmt.Errorf("add vhost '%s': %w", name, ErrVHostExists)
	}
	var id uint64
	if b.defs != nil {
		id = b.defs.number()
	}
	v := newVHost(b, name, id)
	b.vhosts[name] = v
	v.define()
	b.emit(func() Event { return VHostCreated{name} })
	for _, x := range v.exchangesInfo() {
		b.emit(func() Event { return ExchangeCreated{x.Spec} })
	}
	return nil
}

// DeleteVHost deletes a virtual host with everything in it, closes its
// connections with 320 CONNECTION_FORCED and forgets the permissions in it. It
// waits for the connections' ends as CloseConnections does. The error wraps
// ErrNoVHost.
func (b *Broker) DeleteVHost(name string) error {
	b.mu.Lock()
	v := b.vhosts[name]
	delete(b.vhosts, name)
	delete(b.limits, name)
	if v != nil {
		b.leaving[name] = struct{}{}
		// First: from then on a restart forgets everything that is in it.
		b.keep(func() msgstore.Definition { return define(vhostRecord{ID: v.id, Name: name, Leaving: true}) })
	}
	b.mu.Unlock()
	if v == nil {
		return fmt.Errorf("delete vhost '%s': %w", name, ErrNoVHost)
	}
	unsettled := b.auth.DeleteVHost(name)
	v.delete()
	b.mu.Lock()
	b.keep(func() msgstore.Definition { return undefine(vhostRecord{Name: name}) })
	delete(b.leaving, name)
	b.emit(func() Event { return VHostDeleted{name} })
	b.mu.Unlock()
	b.closeConns(fmt.Sprintf("vhost '%s' is deleted", name), func(l *link) bool { return l.v == v })
	return cmp.Or(b.settled(), unsettled)
}

// VHosts gives the names of the virtual hosts in alphabetical order.
func (b *Broker) VHosts() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	names := make([]string, 0, len(b.vhosts))
	for name := range b.vhosts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// SetVHostLimit limits a virtual host: 0 lets nothing in, a negative number
// takes the limit away. What is there already stays. The error wraps ErrNoVHost
// or says that there is no such limit.
func (b *Broker) SetVHostLimit(vhost string, limit VHostLimit, n int) error {
	if err := b.setVHostLimit(vhost, limit, n); err != nil {
		return err
	}
	return b.settled()
}

func (b *Broker) setVHostLimit(vhost string, limit VHostLimit, n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.vhosts[vhost]
	if v == nil {
		return fmt.Errorf("set limit %s of vhost '%s': %w", limit, vhost, ErrNoVHost)
	}
	switch limit {
	case VHostMaxConnections:
		b.limits[vhost] = n
	case VHostMaxQueues:
		v.mu.Lock()
		v.maxQueues = n
		v.mu.Unlock()
	default:
		return fmt.Errorf("set limit %s of vhost '%s': no such limit", limit, vhost)
	}
	v.define()
	b.emit(func() Event {
		if n < 0 {
			return VHostLimitCleared{VHost: vhost, Limit: limit}
		}
		return VHostLimitSet{VHost: vhost, Limit: limit, N: n}
	})
	return nil
}
