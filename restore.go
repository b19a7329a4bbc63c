package warren

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/msgstore"
)

// kept is what an earlier run left, by kind.
type kept struct {
	any         bool
	counter     uint64
	vhosts      map[uint64]vhostRecord
	leaving     map[string]vhostRecord // by name; a namesake is not there before it is gone
	users       map[string]restoredUser
	permissions []Permission
	topics      []TopicPermission
	policies    []policyRecord
	exchanges   []exchangeRecord
	queues      []queueRecord
	bindings    []bindingRecord
	recovering  []*heldLog
}

type restoredUser struct {
	name   string
	hash   auth.PasswordHash
	tags   []string
	limits map[UserLimit]int
}

// restore makes anew what the store has, or begins in a store that has nothing.
func (b *Broker) restore() error {
	k, err := b.readKept()
	if err != nil {
		return err
	}
	if !k.any {
		b.defs.next, b.defs.reserved = 1, 1
		b.defs.restoring.Store(false)
		// As one change: a crash must not leave a broker without its user.
		b.defs.hold()
		err := b.begin()
		b.defs.release()
		return errors.Join(err, b.settled())
	}
	b.defs.next, b.defs.reserved = k.counter, k.counter
	if err := errors.Join(b.restoreAuth(k), b.restoreTopology(k)); err != nil {
		return err
	}
	b.defs.restoring.Store(false)
	b.forgetOrphans(k)
	for _, q := range k.recovering {
		q.recover()
	}
	return b.settled()
}

// heldLog is the log of a queue that must not recover yet: one that is too long, or
// has messages that expired, sends dead letters at once, and they need the bindings.
type heldLog struct {
	store.Log
	recover func()
}

// Recover implements store.Log.
func (l *heldLog) Recover(batch func([]store.Entry), done func(error)) {
	l.recover = func() { l.Log.Recover(batch, done) }
}

func (b *Broker) readKept() (*kept, error) {
	k := newKept()
	err := b.ms.Definitions(k.read)
	if err == nil && k.any && k.counter == 0 {
		err = errors.New("there are definitions, but none that says which numbers were given out; restore the store from a backup")
	}
	return k, err
}

func newKept() *kept {
	return &kept{vhosts: map[uint64]vhostRecord{}, leaving: map[string]vhostRecord{}, users: map[string]restoredUser{}}
}

// read takes one definition.
func (k *kept) read(kind byte, key, value []byte) error {
	k.any = true
	f := readRecord(value)
	if err := k.take(kind, f); err != nil {
		return err
	}
	if f.err != nil {
		return fmt.Errorf("the definition %c %x is damaged: %w; restore the store from a backup", kind, key, f.err)
	}
	return nil
}

func (k *kept) take(kind byte, f *fieldReader) error {
	switch kind {
	case kindCounter:
		k.counter = uint64(f.number("next"))
	case kindVHost:
		if v := readVHost(f); v.Leaving {
			k.leaving[v.Name] = v
		} else {
			k.vhosts[v.ID] = v
		}
	case kindUser:
		u := readUser(f)
		k.users[u.name] = u
	case kindPermission:
		k.permissions = append(k.permissions, readPermission(f))
	case kindTopicPermission:
		k.topics = append(k.topics, readTopicPermission(f))
	case kindPolicy:
		k.policies = append(k.policies, readPolicy(f))
	case kindExchange:
		k.exchanges = append(k.exchanges, readExchange(f))
	case kindQueue:
		k.queues = append(k.queues, readQueue(f))
	case kindBinding:
		k.bindings = append(k.bindings, readBinding(f))
	default:
		return fmt.Errorf("there is a definition of the unknown kind %q: it was written by a newer Warren; use that one", kind)
	}
	return nil
}

func readUser(f *fieldReader) restoredUser {
	u := restoredUser{name: f.text("name"), limits: map[UserLimit]int{}}
	for _, t := range f.list("tags") {
		tag, ok := t.(string)
		f.check("tags", ok)
		u.tags = append(u.tags, tag)
	}
	limits := f.list("limits")
	f.check("limits", len(limits)%2 == 0)
	for ; len(limits) > 1; limits = limits[2:] {
		name, named := limits[0].(string)
		n, limited := limits[1].(int64)
		f.check("limits", named && limited)
		u.limits[UserLimit(name)] = int(n)
	}
	hash, err := auth.ParsePasswordHash(auth.Algorithm(f.text("algorithm")), f.text("hash"))
	if err != nil && f.err == nil {
		f.err = err
	}
	u.hash = hash
	return u
}

func (b *Broker) restoreAuth(k *kept) error {
	for _, u := range k.users {
		if err := b.auth.AddUserHash(u.name, u.hash, u.tags...); err != nil {
			return err
		}
		for l, n := range u.limits {
			if err := b.auth.SetLimit(u.name, l, n); err != nil {
				return err
			}
		}
	}
	for _, p := range k.permissions {
		if k.lapsed(p.User, p.VHost) {
			continue
		}
		if err := b.auth.SetPermissions(p); err != nil {
			return err
		}
	}
	for _, p := range k.topics {
		if k.lapsed(p.User, p.VHost) {
			continue
		}
		if err := b.auth.SetTopicPermissions(p); err != nil {
			return err
		}
	}
	return nil
}

// lapsed reports whether a permission was about to be deleted, with its user or its
// virtual host. One in a virtual host that is not there yet is fine.
func (k *kept) lapsed(user, vhost string) bool {
	_, there := k.users[user]
	_, leaving := k.leaving[vhost]
	return !there || leaving
}

// restoreTopology makes virtual hosts, policies, exchanges, queues and bindings, in this
// order. Queues take over what is in their logs by and by.
func (b *Broker) restoreTopology(k *kept) error {
	byID := map[uint64]*vhost{}
	for id, r := range k.vhosts {
		v := newVHost(b, r.Name, id)
		v.maxQueues = r.MaxQueues
		if r.MaxConnections >= 0 {
			b.limits[r.Name] = r.MaxConnections
		}
		b.vhosts[r.Name], byID[id] = v, v
	}
	for _, r := range k.policies {
		if v := byID[r.vhost]; v != nil {
			if err := v.restorePolicy(r); err != nil {
				return fmt.Errorf("policy '%s' in vhost '%s': %w", r.Name, v.name, err)
			}
		}
	}
	for _, r := range k.exchanges {
		if v := byID[r.vhost]; v != nil {
			if err := v.restoreExchange(r); err != nil {
				return fmt.Errorf("exchange '%s' in vhost '%s': %w", r.Name, v.name, err)
			}
		}
	}
	for _, r := range k.queues {
		if v := byID[r.vhost]; v != nil {
			held, err := v.restoreQueue(r)
			if err != nil {
				return fmt.Errorf("queue '%s' in vhost '%s': %w", r.Name, v.name, err)
			}
			k.recovering = append(k.recovering, held)
		}
	}
	for _, r := range k.bindings {
		if v := byID[r.vhost]; v != nil {
			if err := v.restoreBinding(r); err != nil {
				b.opts.Logger.Warn("a binding of an earlier run is left out", slog.String("vhost", v.name),
					slog.String("source", r.Source), slog.String("destination", r.Destination), slog.Any("error", err))
			}
		}
	}
	return nil
}

func (v *vhost) restoreExchange(r exchangeRecord) error {
	if v.exchanges.CheckType(r.Type) != nil {
		return fmt.Errorf("it is of type %q, which Options.ExchangeTypes lacks", r.Type)
	}
	_, _, err := v.exchanges.Declare(r.Spec)
	return err
}

// restoreQueue makes a queue, which waits for its log to be let go.
func (v *vhost) restoreQueue(r queueRecord) (*heldLog, error) {
	s := r.Spec
	s.VHost = v.name
	t, ok := v.b.queueTypes.Lookup(s.Type)
	if !ok {
		return nil, fmt.Errorf("it is of type %q, which Options.QueueTypes lacks", s.Type)
	}
	env, _ := v.hostEnv(s, r.log)
	held := &heldLog{Log: env.Log}
	env.Log = held
	policies := v.policies.Load()
	env.Policy = policies.ForQueue(s.Name, t.Capabilities().Policies).Definition()
	h, err := queue.NewHost(t, s, env)
	if err != nil {
		return nil, err
	}
	limit := v.maxQueues
	v.maxQueues = -1
	_, err = v.add(h, r.log, policies)
	v.maxQueues = limit
	return held, err
}

func (v *vhost) restoreBinding(r bindingRecord) error {
	var err error
	if r.ToExchange {
		_, err = v.exchanges.BindExchange(r.Source, r.Destination, r.RoutingKey, r.Arguments)
	} else {
		_, err = v.exchanges.BindQueue(r.Source, r.Destination, r.RoutingKey, r.Arguments, nil)
	}
	return err
}

// forgetOrphans deletes what belongs to something that an earlier run was about to
// delete when it ended.
func (b *Broker) forgetOrphans(k *kept) {
	var orphans []msgstore.Definition
	logs := map[uint64]bool{}
	gone := func(vhost uint64, r record) bool {
		if _, ok := k.vhosts[vhost]; ok {
			return false
		}
		orphans = append(orphans, undefine(r))
		return true
	}
	for _, p := range k.permissions {
		if k.lapsed(p.User, p.VHost) {
			orphans = append(orphans, undefine(permissionRecord{p}))
		}
	}
	for _, p := range k.topics {
		if k.lapsed(p.User, p.VHost) {
			orphans = append(orphans, undefine(topicPermissionRecord{p}))
		}
	}
	for _, r := range k.policies {
		gone(r.vhost, r)
	}
	for _, r := range k.exchanges {
		gone(r.vhost, r)
	}
	for _, r := range k.bindings {
		v, ok := k.vhosts[r.vhost]
		if !ok || !b.vhosts[v.Name].has(r) {
			orphans = append(orphans, undefine(r))
		}
	}
	for _, r := range k.queues {
		logs[r.log] = !gone(r.vhost, r)
	}
	for _, r := range k.leaving {
		orphans = append(orphans, undefine(r)) // last, if it takes more than one step
	}
	b.defs.commit(orphans...)
	b.ms.Forget(func(log uint64) bool { return logs[log] })
}

// has reports whether a binding could be made.
func (v *vhost) has(r bindingRecord) bool {
	to := v.destination(r.Destination)
	if r.ToExchange {
		x, ok := v.exchanges.Lookup(r.Destination)
		if !ok {
			return false
		}
		to = x.Destination()
	}
	return to != nil && v.exchanges.HasBinding(r.Source, to, r.RoutingKey, r.Arguments)
}
