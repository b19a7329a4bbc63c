package amqp091

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/transport"
)

// Connection is a connection within the program with the methods of
// *amqp.Connection. Its methods may be called from any goroutine.
type Connection struct {
	// Config has what would have been negotiated: the virtual host, the number of
	// channels that may be open, the locale.
	Config amqp.Config

	Major      int        // the protocol's major version, 0
	Minor      int        // the protocol's minor version, 9
	Properties amqp.Table // what the broker says of itself
	Locales    []string   // the broker's locales

	local    *transport.Local
	closing  atomic.Bool                // Close was called
	fault    atomic.Pointer[amqp.Error] // why this side ended it, if it was not Close
	told     chan struct{}              // closed when NotifyClose's listeners have the reason
	finished chan struct{}              // closed when all listeners are closed

	mu       sync.Mutex
	ended    bool
	channels map[*Channel]struct{}
	closes   []chan *amqp.Error
	blocks   []chan amqp.Blocking
	cancels  []chan struct{}
	states   []chan *amqp.StateChanged
}

// Open connects to a broker: as the user and in the virtual host that
// [warren.User] and [warren.VHost] say, by default with all rights and in "/". A
// refusal is an *amqp.Error, as it would be from amqp.Dial. The connection is
// open until Close or until the broker ends it.
func Open(b *warren.Broker, options ...warren.ChannelOption) (*Connection, error) {
	if err := checkDeferred(); err != nil {
		return nil, err
	}
	local, err := b.Connect(context.Background(), options...)
	if err != nil {
		if e := refusal(err); e != nil {
			return nil, e
		}
		return nil, fmt.Errorf("amqp091: open a connection: %w", err)
	}
	cfg := local.Config()
	c := &Connection{
		Config:     amqp.Config{Vhost: cfg.VHost.Name(), ChannelMax: cfg.ChannelMax, Locale: locale},
		Minor:      9,
		Properties: tableTo(cfg.ServerProperties),
		Locales:    []string{locale},
		local:      local,
		told:       make(chan struct{}),
		finished:   make(chan struct{}),
		channels:   map[*Channel]struct{}{},
	}
	go c.watch()
	return c, nil
}

// locale is the only one that RabbitMQ has.
const locale = "en_US"

// Channel opens a channel. The error is amqp.ErrChannelMax if as many are open as
// Config.ChannelMax says, and amqp.ErrClosed after the connection has ended.
func (c *Connection) Channel() (*Channel, error) {
	c.mu.Lock()
	n, ended := len(c.channels), c.ended
	c.mu.Unlock()
	switch {
	case ended || c.IsClosed():
		return nil, amqp.ErrClosed
	case n >= int(c.Config.ChannelMax):
		return nil, amqp.ErrChannelMax
	}
	m, err := c.local.Channel()
	if err != nil {
		<-c.told
		if e := refusal(err); e != nil {
			return nil, e
		}
		return nil, amqp.ErrClosed
	}
	ch := newChannel(c, m)
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return nil, amqp.ErrClosed
	}
	c.channels[ch] = struct{}{}
	c.mu.Unlock()
	go ch.feed()
	m.Notify(ch.event)
	return ch, nil
}

func (c *Connection) forget(ch *Channel) {
	c.mu.Lock()
	delete(c.channels, ch)
	c.mu.Unlock()
}

// open gives the channels that are not finished.
func (c *Connection) open() []*Channel {
	c.mu.Lock()
	defer c.mu.Unlock()
	channels := make([]*Channel, 0, len(c.channels))
	for ch := range c.channels {
		channels = append(channels, ch)
	}
	return channels
}

// Close ends the connection and its channels. Unsettled deliveries return to
// their queues and exclusive queues are deleted before it returns, and all
// listeners and deliveries are closed. A second Close gives amqp.ErrClosed, and so
// does one after the broker ended the connection.
func (c *Connection) Close() error { return c.close(nil) }

// CloseDeadline is Close that waits for listeners no longer than until the
// deadline, and then gives os.ErrDeadlineExceeded. The connection is closed all
// the same.
func (c *Connection) CloseDeadline(deadline time.Time) error {
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	return c.close(t.C)
}

func (c *Connection) close(late <-chan time.Time) error {
	if c.IsClosed() || !c.closing.CompareAndSwap(false, true) {
		return amqp.ErrClosed
	}
	for _, ch := range c.open() {
		ch.gather()
	}
	c.local.Leave()
	select {
	case <-c.finished:
		return nil
	case <-late:
		return os.ErrDeadlineExceeded
	}
}

// fail ends the connection from this side, as the client does when it cannot
// write something.
func (c *Connection) fail(err error) error {
	c.fault.CompareAndSwap(nil, &amqp.Error{Code: amqp.FrameError, Reason: err.Error()})
	c.local.Leave()
	<-c.told
	return err
}

// reason gives what an end looks like to a client: nil if it asked for it, and
// the end of the stream if the broker gave no reason.
func (c *Connection) reason(why error) *amqp.Error {
	if e := refusal(why); e != nil {
		return e
	}
	if e := c.fault.Load(); e != nil {
		return e
	}
	if c.closing.Load() {
		return nil
	}
	return &amqp.Error{Code: amqp.FrameError, Reason: io.EOF.Error()}
}

// watch tells the listeners of alarms, and of the end.
func (c *Connection) watch() {
	for b, err := range c.local.Blocked(context.Background()) {
		if err == nil {
			c.tellBlocked(amqp.Blocking{Active: b.Active, Reason: b.Reason})
		}
	}
	err := c.reason(c.local.Err())
	c.mu.Lock()
	c.ended = true
	if err != nil {
		tryAll(c.closes, err)
	}
	c.mu.Unlock()
	close(c.told)
	for _, ch := range c.open() {
		<-ch.finished
	}
	c.mu.Lock()
	closeAll(c.closes)
	closeAll(c.blocks)
	closeAll(c.cancels)
	tellStates(c.states, stepsToEnd("connection", true, err))
	close(c.finished)
	c.mu.Unlock()
}

// tellBlocked offers b to the listeners, each for as long as patience lasts, but
// without keeping the end waiting.
func (c *Connection) tellBlocked(b amqp.Blocking) {
	c.mu.Lock()
	listeners := c.blocks
	c.mu.Unlock()
	for _, l := range listeners {
		t := time.NewTimer(patience)
		select {
		case l <- b:
		case <-t.C:
		case <-c.local.Done():
		}
		t.Stop()
	}
}

// IsClosed reports whether the connection has ended.
func (c *Connection) IsClosed() bool { return c.local.Err() != nil }

// NotifyClose registers a listener for the reason of the connection's end. It
// gets none if the end is asked for by Close, and is closed in any case. Give it
// room for one.
func (c *Connection) NotifyClose(receiver chan *amqp.Error) chan *amqp.Error {
	return register(&c.mu, c.finished, &c.closes, receiver)
}

// NotifyBlocked registers a listener for the broker's alarms, see
// [warren.Broker.SetAlarm]. It is told, once for each time that the broker has any,
// when a publish of the connection begins to wait for them and when publishes go on.
// It is closed at the end.
func (c *Connection) NotifyBlocked(receiver chan amqp.Blocking) chan amqp.Blocking {
	return register(&c.mu, c.finished, &c.blocks, receiver)
}

// NotifyStateChange registers a listener for the steps to the connection's end.
// It is told of them when they are over and then closed, or closed without a word
// if it has not taken them 5 seconds later. A nil listener is ignored, and so is
// one that is registered already.
func (c *Connection) NotifyStateChange(ch chan *amqp.StateChanged) {
	registerState(&c.mu, c.finished, &c.states, ch)
}

// NotifyRecoveryCancel registers a listener that is closed at the end: there is
// no recovery.
func (c *Connection) NotifyRecoveryCancel(receiver chan struct{}) chan struct{} {
	return register(&c.mu, c.finished, &c.cancels, receiver)
}

// Reconnect gives amqp.ErrClosed: there is no recovery.
func (c *Connection) Reconnect() error { return amqp.ErrClosed }

// IsRecoveryEnabled reports false.
func (c *Connection) IsRecoveryEnabled() bool { return false }

// IsConnectionRecoveryEnabled reports false.
func (c *Connection) IsConnectionRecoveryEnabled() bool { return false }

// IsTopologyRecoveryEnabled reports false.
func (c *Connection) IsTopologyRecoveryEnabled() bool { return false }

// MaxRetryCount is 0: there is no recovery.
func (c *Connection) MaxRetryCount() int { return 0 }

// RetryInterval is 0: there is no recovery.
func (c *Connection) RetryInterval() time.Duration { return 0 }

// UpdateSecret does nothing, as there is no secret. The error is amqp.ErrClosed
// after the connection has ended.
func (c *Connection) UpdateSecret(_, _ string) error {
	if c.IsClosed() {
		return amqp.ErrClosed
	}
	return nil
}

// ConnectionState is zero: there is no TLS.
func (c *Connection) ConnectionState() tls.ConnectionState { return tls.ConnectionState{} }

// LocalAddr is an address whose network is "memory".
func (c *Connection) LocalAddr() net.Addr { return address("client") }

// RemoteAddr is an address whose network is "memory".
func (c *Connection) RemoteAddr() net.Addr { return address("broker") }

// address is an end of a connection within the program.
type address string

func (address) Network() string  { return "memory" }
func (a address) String() string { return string(a) }
