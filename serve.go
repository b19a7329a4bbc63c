package warren

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/connection"
	"github.com/warrenmq/warren/reply"
)

// ListenAndServe listens on a TCP address, such as "127.0.0.1:5672" or ":5672",
// and serves it; see Serve.
func (b *Broker) ListenAndServe(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("warren: listen on %s: %w", addr, err)
	}
	return b.Serve(l)
}

// How long Serve waits after a failed Accept: it doubles from the first to the
// last.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// Serve accepts AMQP connections until the broker ends or the listener is
// closed, which it is when Serve returns. Any listener will do; for TLS give one
// of crypto/tls. The result is ErrClosed once the broker is closing. An Accept
// that fails for another reason than a closed listener is tried again.
func (b *Broker) Serve(l net.Listener) error {
	if !b.addListener(l) {
		return errors.Join(ErrClosed, l.Close())
	}
	defer b.removeListener(l)
	pause := minAcceptPause
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = minAcceptPause
			b.serveConn(nc)
			continue
		case b.isClosing():
			return ErrClosed
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("warren: accept on %s: %w", l.Addr(), err)
		}
		b.opts.Logger.Warn("accept failed, trying again", slog.String("listener", l.Addr().String()),
			slog.Duration("pause", pause), slog.Any("error", err))
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-b.accepting:
			t.Stop()
		}
		pause = min(2*pause, maxAcceptPause)
	}
}

func (b *Broker) addListener(l net.Listener) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return false
	}
	b.listeners[l] = struct{}{}
	return true
}

func (b *Broker) removeListener(l net.Listener) {
	b.mu.Lock()
	delete(b.listeners, l)
	b.mu.Unlock()
	_ = l.Close() // it may be closed already
}

func (b *Broker) isClosing() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closing
}

// serveConn serves one connection on a goroutine of its own; if the broker is
// closing, it closes it and reports false.
func (b *Broker) serveConn(nc net.Conn) bool {
	c := connection.New(b.connIDs.Add(1), nc, b.connConfig)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		_ = nc.Close() // nothing was said on it yet
		return false
	}
	b.conns[c] = &link{}
	b.running.Go(func() {
		c.Serve()
		b.forgetClient(c)
	})
	return true
}

// gate is the Broker as its connections see it.
type gate struct{ *Broker }

func (g gate) Mechanisms() string { return g.auth.Mechanisms() }

func (g gate) Authenticate(mechanism string, response []byte, peer net.Addr) (*auth.User, error) {
	u, err := g.auth.Authenticate(mechanism, response, peer)
	g.authenticated(u, mechanism, peer, err)
	return u, err
}

func (g gate) MaxChannels(c *connection.Conn, user string) (limit, elsewhere int) {
	return g.maxChannels(c, user)
}

// maxChannels is MaxChannels for a connection of any kind. The others are only counted
// where there is a limit.
func (g gate) maxChannels(c client, user string) (limit, elsewhere int) {
	u, ok := g.auth.User(user)
	if !ok {
		return 0, 0
	}
	limit = u.Limit(auth.MaxChannels)
	if limit < 0 {
		return limit, 0
	}
	g.mu.Lock()
	var others []client
	for o, l := range g.conns {
		if o != c && l.user == user {
			others = append(others, o)
		}
	}
	g.mu.Unlock()
	for _, o := range others {
		elsewhere += o.Channels()
	}
	return limit, elsewhere
}

// Open makes the checks of contract 02 §5 in their order. The connection is
// registered before its rights are looked at, so that whoever takes them away
// finds it.
func (g gate) Open(c *connection.Conn, name string, user *auth.User) (channel.VHost, *auth.Access, error) {
	v, err := g.register(c, name, user.Name())
	if err != nil {
		return nil, nil, err
	}
	access, ok := g.auth.Access(user.Name(), name)
	if !ok {
		g.unregister(c)
		return nil, nil, reply.Errorf(reply.NotAllowed, "access to vhost '%s' refused for user '%s'", name, user.Name())
	}
	return v, access, nil
}

func (g gate) register(c client, name, user string) (*vhost, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v, ok := g.vhosts[name]
	if !ok {
		return nil, reply.Errorf(reply.NotAllowed, "vhost %s not found", name)
	}
	inVHost, ofUser := 0, 0
	for _, l := range g.conns {
		if l.v == v {
			inVHost++
		}
		if l.v != nil && l.user == user {
			ofUser++
		}
	}
	if n, ok := g.limits[name]; ok && n >= 0 && inVHost >= n {
		return nil, reply.Errorf(reply.NotAllowed,
			"access to vhost '%s' refused for user '%s': connection limit (%d) is reached", name, user, n)
	}
	if u, ok := g.auth.User(user); ok {
		if n := u.Limit(auth.MaxConnections); n >= 0 && ofUser >= n {
			return nil, reply.Errorf(reply.NotAllowed,
				"connection refused for user '%s': user connection limit (%d) is reached", user, n)
		}
	}
	if l := g.conns[c]; l != nil {
		*l = link{user: user, vhost: name, v: v}
	}
	return v, nil
}

// Opened tells of a connection. Its reader calls this and Release.
func (g gate) Opened(c *connection.Conn) {
	g.mu.Lock()
	if l := g.conns[c]; l != nil {
		l.announced = true
	}
	g.mu.Unlock()
	g.emit(func() Event { return ConnectionCreated{connectionInfo(c, link{})} })
}

func (g gate) Release(c *connection.Conn, why reply.Reason) { g.release(c, c.Name(), why) }

// release ends an open connection: what was its own goes, and listeners hear of it
// if they heard of it before.
func (g gate) release(c client, name string, why reply.Reason) {
	l := g.unregister(c)
	if !l.announced {
		return
	}
	g.emit(func() Event {
		return ConnectionClosed{ID: c.ID(), Name: name, User: l.user, VHost: l.vhost, Reason: why}
	})
}

// unregister undoes register, deletes the connection's exclusive queues, and gives
// what it was registered as.
func (g gate) unregister(c client) (was link) {
	g.mu.Lock()
	if l := g.conns[c]; l != nil {
		was, *l = *l, link{}
	}
	g.mu.Unlock()
	if was.v != nil {
		was.v.deleteExclusive(c.ID())
	}
	return was
}
