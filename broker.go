package warren

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/connection"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/intercept"
	"github.com/warrenmq/warren/limiter"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/store/msgstore"
)

// Broker is a message broker, made by New and ended by Shutdown or Close. Its
// methods may be called from any goroutine, at any time, also while it closes.
type Broker struct {
	opts          Options
	auth          *auth.Registry
	exchangeTypes *exchange.Types
	queueTypes    *queue.Types
	connConfig    connection.Config
	connIDs       atomic.Uint64
	alarms        limiter.Alarms
	alarming      sync.Mutex // held while an alarm changes, so that events are in order
	events        events

	// With Options.Store:
	ms          *msgstore.Store
	defs        *definitions
	authNoted   []msgstore.Definition // of the change under way; guarded by auth's lock
	noSpace     atomic.Bool           // the store said so last
	diskWakes   chan struct{}
	diskShort   bool // the disk's alarm is set; belongs to watchDisk
	storeClosed sync.Once
	storeErr    error

	mu        sync.Mutex
	vhosts    map[string]*vhost
	leaving   map[string]struct{} // virtual hosts that are being deleted
	limits    map[string]int      // of connections, by virtual host
	conns     map[client]*link
	listeners map[net.Listener]struct{}
	closing   bool
	running   sync.WaitGroup // grows under mu and only while not closing
	accepting chan struct{}  // closed when closing begins
}

// client is a connection, from a socket or from within the program.
type client interface {
	ID() uint64
	Close(*reply.Error)
	Abort()
	Done() <-chan struct{}
	Channels() int
}

// link is what the broker knows of a connection.
type link struct {
	user, vhost string // empty until it opened a virtual host
	v           *vhost
	announced   bool // listeners were told that it is open
}

// New makes a broker that is ready when New returns. It holds no goroutine, file or
// socket until it is asked to serve, unless Options ask for it: a MemoryLimit is a
// goroutine, a Store some. With a Store the broker has everything durable that was
// left in it, and owns it from then on; if New fails, it is the caller's again. The
// error names the field of Options that is out of range or contradicts another.
func New(o Options) (*Broker, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &Broker{
		opts:      o,
		vhosts:    map[string]*vhost{},
		leaving:   map[string]struct{}{},
		limits:    map[string]int{},
		conns:     map[client]*link{},
		listeners: map[net.Listener]struct{}{},
		accepting: make(chan struct{}),
	}
	if b.exchangeTypes, err = exchange.NewTypes(o.ExchangeTypes...); err != nil {
		return nil, fmt.Errorf("warren: Options.ExchangeTypes: %w", err)
	}
	if b.queueTypes, err = queue.NewTypes(append(o.builtInQueues(), o.QueueTypes...)...); err != nil {
		return nil, fmt.Errorf("warren: Options.QueueTypes: %w", err)
	}
	interceptors, err := intercept.NewSet(o.Logger, o.Interceptors...)
	if err != nil {
		return nil, fmt.Errorf("warren: Options.Interceptors: %w", err)
	}
	b.auth = auth.New(auth.Options{
		LoopbackUsers: o.LoopbackUsers, UserDeleted: b.userDeleted,
		Changed: b.authChanged, Done: b.authDone, Settled: b.authSettled,
	})
	b.connConfig = connection.Config{
		Broker: gate{b}, Logger: o.Logger, ServerProperties: serverProperties(),
		ChannelMax: o.ChannelMax, FrameMax: o.FrameMax, Heartbeat: uint16(o.Heartbeat.Seconds()),
		HandshakeTimeout: o.HandshakeTimeout, MaxMessageSize: o.MaxMessageSize, MaxUnsent: o.MaxUnsent,
		ConsumerTimeout: o.ConsumerTimeout,
		Interceptors:    interceptors, Alarms: &b.alarms, Go: b.start,
	}
	if o.Store != nil {
		err = b.openStore()
	} else {
		err = b.begin()
	}
	if err != nil {
		return nil, err
	}
	if o.MemoryLimit > 0 {
		b.watch(MemoryAlarm, memoryInterval, memoryShort(o.MemoryLimit, heapInUse))
	}
	return b, nil
}

// begin makes what a new broker has: the virtual host "/" and the user guest.
func (b *Broker) begin() error {
	if err := b.AddVHost(auth.DefaultVHost); err != nil {
		return fmt.Errorf("warren: %w", err)
	}
	if b.opts.NoDefaultUser {
		return nil
	}
	if err := b.auth.AddDefaultUser(); err != nil {
		return fmt.Errorf("warren: add the default user: %w", err)
	}
	return nil
}

// start starts a goroutine of the broker, unless it is closing.
func (b *Broker) start(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return false
	}
	b.running.Go(f)
	return true
}

// Shutdown ends the broker in order: it accepts nothing new, closes connections
// with 320 CONNECTION_FORCED, and waits until all have ended. When ctx ends
// first, the rest is cut off and ctx's error returned. Everything has ended in either
// case; what was confirmed is durable, and the store closed. It is idempotent, and may
// be called while Close or another Shutdown is under way.
func (b *Broker) Shutdown(ctx context.Context) error {
	conns := b.beginClosing()
	for _, c := range conns {
		c.Close(reply.Errorf(reply.ConnectionForced, "broker forced connection closure with reason 'shutdown'"))
	}
	err := waitFor(ctx, conns)
	for _, c := range conns {
		c.Abort()
		<-c.Done()
	}
	b.running.Wait()
	b.stopTimers()
	b.events.close()
	return errors.Join(err, b.closeStore())
}

// Close ends the broker at once: connections are cut off. What was confirmed is
// durable; the error is that of closing the store. It is idempotent, and may be called
// while Shutdown or another Close is under way.
func (b *Broker) Close() error {
	conns := b.beginClosing()
	for _, c := range conns {
		c.Abort()
	}
	for _, c := range conns {
		<-c.Done()
	}
	b.running.Wait()
	b.stopTimers()
	b.events.close()
	return b.closeStore()
}

// stopTimers takes the queues' timers away when nothing runs any more.
func (b *Broker) stopTimers() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, v := range b.vhosts {
		for _, d := range v.queues.Load().All() {
			queueOf(d).StopTimer()
		}
	}
}

// beginClosing sees that nothing new starts, and gives the connections there are.
func (b *Broker) beginClosing() []client {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closing {
		b.closing = true
		close(b.accepting)
	}
	for l := range b.listeners {
		// Its Serve returns whatever Close says.
		_ = l.Close()
	}
	conns := make([]client, 0, len(b.conns))
	for c := range b.conns {
		conns = append(conns, c)
	}
	return conns
}

func waitFor(ctx context.Context, conns []client) error {
	for _, c := range conns {
		select {
		case <-c.Done():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// CloseConnections closes the open connections of a user with 320
// CONNECTION_FORCED and the given text, and gives their number. Channels that act
// for the user (see User) are among them; the empty name is for those that act for
// nobody.
//
// It does not wait for clients that came in by a socket or by Dial: they are told,
// and end when they have answered. Connections within the program have nobody to
// wait for, and have ended when it returns, each as soon as the call it was busy
// with is over. So an interceptor must not close the connection that it is asked
// for.
func (b *Broker) CloseConnections(user, reason string) int {
	return b.closeConns(reason, func(l *link) bool { return l.user == user })
}

func (b *Broker) closeConns(reason string, which func(*link) bool) int {
	b.mu.Lock()
	var conns []client
	for c, l := range b.conns {
		if l.v != nil && which(l) {
			conns = append(conns, c)
		}
	}
	b.mu.Unlock()
	for _, c := range conns {
		c.Close(reply.Errorf(reply.ConnectionForced, "%s", reason))
	}
	return len(conns)
}
