package warren

import (
	"context"
	"fmt"
	"net"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/transport"
)

// Connect makes a connection from within the program, on which any number of
// channels may be opened. It is what packages such as amqp091 give other faces
// to; for the native one see Channel. The caller ends it with Leave; the end of ctx
// does not. Errors are those of Channel.
func (b *Broker) Connect(ctx context.Context, options ...ChannelOption) (*transport.Local, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := channelSettings{vhost: auth.DefaultVHost}
	for _, o := range options {
		o.channel(&s)
	}
	return b.local(s)
}

// local makes a connection from within the program.
func (b *Broker) local(s channelSettings) (*transport.Local, error) {
	b.mu.Lock()
	v, closing := b.vhosts[s.vhost], b.closing
	b.mu.Unlock()
	switch {
	case closing:
		return nil, ErrClosed
	case v == nil:
		return nil, reply.Errorf(reply.NotAllowed, "vhost %s not found", s.vhost)
	}
	cfg := transport.LocalConfig{
		ID: b.connIDs.Add(1), VHost: v, User: s.user,
		MaxMessageSize: b.opts.MaxMessageSize, MaxUnsent: b.opts.MaxUnsent,
		ConsumerTimeout: b.opts.ConsumerTimeout,
		Interceptors:    b.connConfig.Interceptors,
		ChannelMax:      b.opts.ChannelMax, ServerProperties: b.connConfig.ServerProperties,
		Single: s.single, Logger: b.opts.Logger, Alarms: &b.alarms,
		Access:       func() *auth.Access { return b.auth.Unrestricted(s.user, s.vhost) },
		Impersonator: true,
	}
	if s.hasUser {
		u, ok := b.auth.User(s.user)
		if !ok {
			return nil, fmt.Errorf("user '%s': %w", s.user, auth.ErrNoUser)
		}
		cfg.Impersonator = u.MayImpersonate()
		cfg.MaxChannels = func(l *transport.Local) (limit, elsewhere int) { return gate{b}.maxChannels(l, s.user) }
		cfg.Access = func() *auth.Access {
			// Without a row there is an Access all the same: it allows nothing.
			a, _ := b.auth.Access(s.user, s.vhost)
			return a
		}
	}
	cfg.Release = func(l *transport.Local) {
		gate{b}.release(l, l.Name(), l.Reason())
		b.forgetClient(l)
	}
	l := transport.NewLocal(cfg)
	b.mu.Lock()
	if b.closing {
		b.mu.Unlock()
		return nil, ErrClosed
	}
	b.conns[l] = &link{}
	b.mu.Unlock()
	if _, err := (gate{b}).register(l, s.vhost, s.user); err != nil {
		b.forgetClient(l)
		return nil, err
	}
	if s.hasUser {
		if _, ok := b.auth.Access(s.user, s.vhost); !ok {
			l.Abort()
			return nil, reply.Errorf(reply.NotAllowed, "access to vhost '%s' refused for user '%s'", s.vhost, s.user)
		}
	}
	b.announceLocal(l)
	return l, nil
}

// announceLocal tells of a connection of the program, unless the broker has ended
// it already.
func (b *Broker) announceLocal(c *transport.Local) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.conns[c]; l != nil && l.v != nil {
		l.announced = true
		b.emit(func() Event { return ConnectionCreated{localInfo(c, *l)} })
	}
}

func (b *Broker) forgetClient(c client) {
	b.mu.Lock()
	delete(b.conns, c)
	b.mu.Unlock()
}

// Dial connects to the broker through memory: the other end of the connection is
// served like one that came in by TCP. It has the signature that the official
// client's Config.Dial wants, so that the client runs unchanged; what it is asked
// to dial does not matter. The connection counts as one from this machine. The error
// wraps ErrClosed if the broker is closing; all else a client is told by AMQP.
func (b *Broker) Dial(_, _ string) (net.Conn, error) {
	return b.DialContext(context.Background())
}

// DialContext is Dial for who has a context, which matters only if it has ended
// already: there is nothing to wait for.
func (b *Broker) DialContext(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	near, far := transport.Pipe()
	if !b.serveConn(far) {
		return nil, fmt.Errorf("warren: dial: %w", ErrClosed)
	}
	return near, nil
}
