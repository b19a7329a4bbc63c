package warren

import (
	"errors"
	"net"
	"slices"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/store/msgstore"
)

// What the packages below tell the broker becomes events here. It is told under
// their locks and in queues' turns; nothing here calls back, waits or runs a
// user's code.

// emit tells all who listen that something happened; event is asked what only if
// somebody does.
func (b *Broker) emit(event func() Event) { b.events.tell(event) }

// watch is a virtual host's channel.Watcher and exchange.Watcher.
type watch struct {
	b *Broker
	v *vhost
}

func (w watch) ChannelOpened(ch *channel.Channel) {
	w.b.emit(func() Event {
		return ChannelCreated{Connection: ch.Connection, Number: ch.Number, User: ch.User, VHost: w.v.name}
	})
}

func (w watch) ChannelClosed(ch *channel.Channel, why reply.Reason) {
	w.b.emit(func() Event {
		return ChannelClosed{Connection: ch.Connection, Number: ch.Number, Reason: why}
	})
}

func (w watch) ConsumerAdded(ch *channel.Channel, c channel.ConsumerInfo) {
	w.b.emit(func() Event {
		return ConsumerCreated{VHost: w.v.name, Connection: ch.Connection, Channel: ch.Number, ConsumerInfo: c}
	})
}

func (w watch) ConsumerRemoved(ch *channel.Channel, c channel.ConsumerInfo) {
	w.b.emit(func() Event {
		return ConsumerDeleted{VHost: w.v.name, Connection: ch.Connection, Channel: ch.Number, Queue: c.Queue, Tag: c.Tag}
	})
}

func (w watch) ExchangeDeclared(x exchange.Spec) {
	w.b.emit(func() Event { return ExchangeCreated{x} })
	if x.Durable && w.b.defs != nil {
		w.v.note(define(exchangeRecord{w.v.id, x}))
	}
}

func (w watch) ExchangeDeleted(x exchange.Spec) {
	w.b.emit(func() Event { return ExchangeDeleted{VHost: w.v.name, Name: x.Name} })
	if x.Durable && w.b.defs != nil {
		w.v.note(undefine(exchangeRecord{w.v.id, x}))
	}
}

func (w watch) Bound(b exchange.Binding) {
	w.b.emit(func() Event { return BindingCreated{bindingInfo(w.v.name, b)} })
	if w.b.defs != nil && w.v.keeps(b) {
		w.v.note(define(bindingRecord{w.v.id, bindingInfo(w.v.name, b)}))
	}
}

func (w watch) Unbound(b exchange.Binding) {
	w.b.emit(func() Event { return BindingDeleted{bindingInfo(w.v.name, b)} })
	if w.b.defs != nil && durableDestination(b.Destination) {
		w.v.note(undefine(bindingRecord{w.v.id, bindingInfo(w.v.name, b)}))
	}
}

func (w watch) QueueForgotten(queue *exchange.Destination) {
	if w.b.defs != nil && durableDestination(queue) {
		w.v.note(undefine(queueRecord{vhost: w.v.id, Spec: queueOf(queue).Spec()}))
	}
}

// Changed hands over what was noted in one change: what was deleted first, and then
// its bindings. If that is more than can be written at once, and the broker ends
// halfway, the bindings that are left lead nowhere and are forgotten.
func (w watch) Changed() {
	if w.b.defs != nil {
		slices.Reverse(w.v.noted)
		w.b.defs.commit(w.v.noted...)
		w.v.noted = nil
	}
}

// authChanged is auth.Options.Changed.
func (b *Broker) authChanged(c auth.Change) {
	b.emit(func() Event { return authEvent(c) })
	if b.defs != nil {
		b.authNoted = append(b.authNoted, authDefinition(c))
	}
}

// authDone is auth.Options.Done.
func (b *Broker) authDone() {
	if b.defs != nil {
		slices.Reverse(b.authNoted) // as watch.Changed
		b.defs.commit(b.authNoted...)
		b.authNoted = nil
	}
}

// authSettled is auth.Options.Settled.
func (b *Broker) authSettled() error { return b.settled() }

func authDefinition(c auth.Change) msgstore.Definition {
	switch c.Kind {
	case auth.UserDeleted:
		return undefine(userNamed(c.User))
	case auth.PermissionCreated:
		return define(permissionRecord{c.Permission})
	case auth.PermissionDeleted:
		return undefine(permissionRecord{Permission{User: c.User, VHost: c.VHost}})
	case auth.TopicPermissionCreated:
		return define(topicPermissionRecord{c.TopicPermission})
	case auth.TopicPermissionDeleted:
		return undefine(topicPermissionRecord{TopicPermission{User: c.User, VHost: c.VHost, Exchange: c.Exchange}})
	default:
		return define(userRecord{c.Now})
	}
}

func authEvent(c auth.Change) Event {
	switch c.Kind {
	case auth.UserCreated:
		return UserCreated{User: c.User, Tags: c.Tags}
	case auth.UserDeleted:
		return UserDeleted{User: c.User}
	case auth.PasswordChanged:
		return UserPasswordChanged{User: c.User}
	case auth.PasswordCleared:
		return UserPasswordCleared{User: c.User}
	case auth.TagsSet:
		return UserTagsSet{User: c.User, Tags: c.Tags}
	case auth.LimitSet:
		return UserLimitSet{User: c.User, Limit: c.Limit, N: c.N}
	case auth.LimitCleared:
		return UserLimitCleared{User: c.User, Limit: c.Limit}
	case auth.PermissionCreated:
		return PermissionCreated{c.Permission}
	case auth.PermissionDeleted:
		return PermissionDeleted{User: c.User, VHost: c.VHost}
	case auth.TopicPermissionCreated:
		return TopicPermissionCreated{c.TopicPermission}
	default: // auth.TopicPermissionDeleted
		return TopicPermissionDeleted{User: c.User, VHost: c.VHost, Exchange: c.Exchange}
	}
}

// authenticated tells how a login ended.
func (b *Broker) authenticated(u *auth.User, mechanism string, peer net.Addr, err error) {
	b.emit(func() Event {
		if err == nil {
			return UserAuthenticationSuccess{User: u.Name(), Mechanism: mechanism, Peer: peer}
		}
		e := UserAuthenticationFailure{Mechanism: mechanism, Peer: peer, Err: err}
		var refused *auth.RefusedError
		if errors.As(err, &refused) {
			e.User = refused.User
		}
		return e
	})
}
