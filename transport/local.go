package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/intercept"
	"github.com/warrenmq/warren/limiter"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

// LocalConfig is what a connection from within the program is made of.
type LocalConfig struct {
	// ID tells the connection from all others of the broker.
	ID    uint64
	VHost channel.VHost
	// Access gives the rights of one channel.
	Access       func() *auth.Access
	User         string
	Impersonator bool
	// MaxMessageSize and MaxUnsent are those of channel.Config.
	MaxMessageSize, MaxUnsent int
	// ConsumerTimeout is that of channel.Config.
	ConsumerTimeout time.Duration
	// Interceptors see methods first; nil are none.
	Interceptors *intercept.Set
	// ChannelMax is how many channels a client that numbers them should open, as
	// connection.tune would say it.
	ChannelMax uint16
	// MaxChannels is the user's limit of channels, where a negative one, and a nil
	// function, is none, and how many the user has open on other connections than l.
	MaxChannels func(l *Local) (limit, elsewhere int)
	// Alarms, while there are any, make publishes wait; nil is never.
	Alarms *limiter.Alarms
	// Single says that the connection is only there for the one channel it has,
	// and ends with it when that is refused something.
	Single bool
	// Logger hears of panics in a user's own exchange types, and of channels that are
	// closed because a delivery was not settled in time; nil is silence.
	Logger *slog.Logger
	// ServerProperties are what connection.start would say of the broker.
	ServerProperties message.Table
	// Release is called once, when the connection has ended and its channels are
	// closed; it deletes the connection's exclusive queues.
	Release func(*Local)
}

// Local is a connection from within the program: what a socket is to a client
// elsewhere. It has no goroutine. Its methods may be called from any goroutine
// but one that runs a queue.
type Local struct {
	cfg LocalConfig

	mu       sync.Mutex
	channels map[*Memory]struct{}
	opened   uint64 // channels so far
	err      error  // why it was closed
	done     chan struct{}

	episodes episodes
}

// NewLocal makes a connection, which is open until Leave, Close or Abort.
func NewLocal(cfg LocalConfig) *Local {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Local{cfg: cfg, channels: map[*Memory]struct{}{}, done: make(chan struct{})}
}

// ID tells the connection from all others of the broker.
func (l *Local) ID() uint64 { return l.cfg.ID }

// Name is what the connection is called where others have their addresses:
// "memory-" and its ID.
func (l *Local) Name() string { return fmt.Sprintf("memory-%d", l.cfg.ID) }

// Config is what the connection was made of.
func (l *Local) Config() LocalConfig { return l.cfg }

// Channel opens a channel. The error is the one the connection was closed with;
// one channel more than the user may have closes it.
func (l *Local) Channel() (*Memory, error) {
	m, err := l.channel()
	if errors.Is(err, reply.NotAllowed) {
		l.close(err)
	}
	return m, err
}

func (l *Local) channel() (*Memory, error) {
	limit, elsewhere := -1, 0
	if l.cfg.MaxChannels != nil {
		limit, elsewhere = l.cfg.MaxChannels(l) // which may lock other connections
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	if limit >= 0 && elsewhere+len(l.channels) >= limit {
		return nil, reply.Errorf(reply.NotAllowed,
			"number of channels opened for user '%s' has reached the maximum allowed user limit of (%d)", l.cfg.User, limit)
	}
	l.opened++
	m := &Memory{conn: l, number: l.opened, inboxes: map[string]*Inbox{}, closing: make(chan struct{}), done: make(chan struct{})}
	m.lock.free = make(chan struct{}, 1)
	m.ch = channel.New(channel.Config{
		VHost: l.cfg.VHost, Access: l.cfg.Access(), User: l.cfg.User, Impersonator: l.cfg.Impersonator,
		Connection: l.cfg.ID, Number: m.number, Out: (*out)(m),
		MaxMessageSize: l.cfg.MaxMessageSize, MaxUnsent: l.cfg.MaxUnsent,
		ConsumerTimeout: l.cfg.ConsumerTimeout,
		Interceptors:    l.cfg.Interceptors,
		Ended:           m.closing,
		Client: intercept.Client{
			Connection: l.cfg.ID, Channel: int(m.number), Name: l.Name(),
			User: l.cfg.User, VHost: l.cfg.VHost.Name(),
		},
	})
	l.channels[m] = struct{}{}
	return m, nil
}

// Close ends the connection with all its channels: calls that wait and calls to
// come get why. Deliveries that were not settled return to their queues, and the
// connection's exclusive queues are deleted before it returns. It waits for calls
// that have a channel object at hand, and so must not be called from within Do. It
// is idempotent.
func (l *Local) Close(why *reply.Error) { l.close(why) }

// Leave is Close by the program that uses the connection; its error is ErrClosed.
func (l *Local) Leave() { l.close(ErrClosed) }

// Abort is Close by the broker, without a reason: its error is one that wraps
// ErrClosed. It waits for the end as Close does.
func (l *Local) Abort() { l.close(errAborted) }

func (l *Local) close(why error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		<-l.done
		return
	}
	l.err = why
	channels := l.channels
	l.channels = nil
	l.mu.Unlock()
	closeTogether(slices.Collect(maps.Keys(channels)), why)
	l.cfg.Release(l)
	close(l.done)
}

func (l *Local) forget(m *Memory) {
	l.mu.Lock()
	delete(l.channels, m)
	l.mu.Unlock()
}

// ChannelInfo is what can be seen of one channel of a connection. The first channel
// that a connection opens is number 1; no number is used again.
type ChannelInfo struct {
	Number uint64
	channel.Info
}

// Channels gives the number of open channels. Any goroutine may call it.
func (l *Local) Channels() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.channels)
}

// Info gives what can be seen of the connection's open channels, the oldest first.
func (l *Local) Info() []ChannelInfo {
	l.mu.Lock()
	open := slices.Collect(maps.Keys(l.channels))
	l.mu.Unlock()
	slices.SortFunc(open, func(a, b *Memory) int { return cmp.Compare(a.number, b.number) })
	infos := make([]ChannelInfo, 0, len(open))
	for _, m := range open {
		infos = append(infos, ChannelInfo{m.number, m.ch.Info()})
	}
	return infos
}

// Done is closed when the connection has ended and nothing of it is left.
func (l *Local) Done() <-chan struct{} { return l.done }

// Err is why the connection ended, nil while it has not.
func (l *Local) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Reason is why the connection ended, zero while it has not.
func (l *Local) Reason() reply.Reason { return reason(l.Err()) }

// reason turns the error that a connection or a channel ended with into why.
func reason(err error) reply.Reason {
	var e *reply.Error
	switch {
	case err == nil:
		return reply.Reason{}
	case errors.As(err, &e):
		return e.Reason()
	case err == errAborted:
		return reply.Reason{By: reply.ByBroker, Text: "the broker closed it"}
	}
	return reply.Reason{By: reply.ByClient}
}

// lock is a mutex for which one can wait no longer than a context lasts.
type lock struct {
	held    atomic.Bool
	waiting atomic.Int32
	free    chan struct{} // has one place
}

func (l *lock) lock(ctx context.Context) error {
	if l.held.CompareAndSwap(false, true) {
		return nil
	}
	l.waiting.Add(1)
	defer l.waiting.Add(-1)
	for !l.held.CompareAndSwap(false, true) {
		select {
		case <-l.free:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (l *lock) unlock() {
	l.held.Store(false)
	if l.waiting.Load() > 0 {
		select {
		case l.free <- struct{}{}:
		default: // somebody is woken already
		}
	}
}
