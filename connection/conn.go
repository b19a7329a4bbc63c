package connection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/intercept"
	"github.com/warrenmq/warren/limiter"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// Broker is what a connection needs of the broker it belongs to. Its methods may
// be called from any goroutine.
type Broker interface {
	// Mechanisms are the SASL mechanisms offered, separated by blanks.
	Mechanisms() string
	// Authenticate checks a start-ok; its errors are those of auth.Registry.
	Authenticate(mechanism string, response []byte, peer net.Addr) (*auth.User, error)
	// Open lets a user into a virtual host, or refuses with a *reply.Error
	// (contract 02 §5). From then on the connection counts as open in it.
	Open(c *Conn, vhost string, user *auth.User) (channel.VHost, *auth.Access, error)
	// Opened is called once the client is in the virtual host that Open let it
	// into, before it hears of it: Info has all there is to know.
	Opened(c *Conn)
	// Release ends what Open began: it deletes the connection's exclusive queues.
	// Channels have ended by then.
	Release(c *Conn, why reply.Reason)
	// MaxChannels is the user's limit of channels, negative is none, and how many the
	// user has open on other connections than c.
	MaxChannels(c *Conn, user string) (limit, elsewhere int)
}

// Config is what a broker gives to all its connections.
type Config struct {
	Broker Broker
	// Logger must not be nil. Connections that end in order are told of at info,
	// what clients do wrong at warn and error, as RabbitMQ does.
	Logger *slog.Logger
	// ServerProperties go into connection.start.
	ServerProperties message.Table
	// ChannelMax, FrameMax (octets) and Heartbeat (seconds) are proposed to the
	// client.
	ChannelMax uint16
	FrameMax   uint32
	Heartbeat  uint16
	// HandshakeTimeout is how long a client may take from the TCP accept to
	// connection.open-ok.
	HandshakeTimeout time.Duration
	// MaxMessageSize and MaxUnsent are those of channel.Config.
	MaxMessageSize, MaxUnsent int
	// ConsumerTimeout is that of channel.Config.
	ConsumerTimeout time.Duration
	// Interceptors see methods first; nil are none.
	Interceptors *intercept.Set
	// Alarms, while there are any, block connections that publish; nil is never.
	Alarms *limiter.Alarms
	// Go starts a goroutine that the broker waits for, or reports that it is
	// closing.
	Go func(func()) bool
}

// penalty is how long a client that could not be trusted is kept waiting before
// its socket is closed (RabbitMQ's SILENT_CLOSE_DELAY).
const penalty = 3 * time.Second

// maxCloseWait is how long the broker waits for a client to end the TCP
// connection, or to answer connection.close, where the heartbeat is not shorter.
const maxCloseWait = 30 * time.Second

// state is where a connection is in its life (contract 02 §1).
type state int

const (
	stateHeader state = iota // the protocol header has not come
	stateStarting
	stateTuning
	stateOpening
	stateRunning
	// stateClosed: close-ok was sent, or the broker sent close. RabbitMQ's closing,
	// in which a client's channels end, is over within one call here.
	stateClosed
)

func (s state) String() string {
	return [...]string{"pre_init", "starting", "tuning", "opening", "running", "closed"}[s]
}

// Conn is one connection. Its fields belong to the reader unless said otherwise.
type Conn struct {
	Config
	id  uint64
	nc  net.Conn
	in  input
	out *outbox
	w   writer

	state     state
	user      *auth.User
	vhostName string
	vhost     channel.VHost
	access    *auth.Access
	caps      capabilities

	channelMax uint16
	frameMax   uint32
	heartbeat  uint16

	sessions map[uint16]*session
	last     *session   // the session of the last frame
	dirty    []*session // those with something to flush
	pauses   *time.Timer
	alarmed  bool // there was an alarm when the reader read last

	view      view
	name      string        // "127.0.0.1:50000 -> 127.0.0.1:5672"
	given     string        // the name the client gave itself
	received  atomic.Uint64 // octets
	sent      atomic.Uint64
	handshake *time.Timer
	beats     heartbeats

	// interrupt makes one step of saying what the reader is wanted for, and setting
	// the deadline that makes it look.
	interrupt sync.Mutex
	overdue   []overdue         // channels to be closed; guarded by interrupt
	released  bool              // there are no channels any more; guarded by interrupt
	attention chan struct{}     // overdue has something; has one place
	forced    chan *reply.Error // why Close was called; has one place
	broken    chan error        // the writer's error; has one place
	kill      chan struct{}     // closed by Abort
	missed    atomic.Bool       // heartbeats were missed
	late      atomic.Bool       // the handshake took too long
	orderly   bool              // the client said connection.close
	told      bool              // the log has the reason of the end already
	done      chan struct{}
}

// capabilities are those of the client that a broker acts on.
type capabilities struct {
	consumerCancelNotify, authenticationFailureClose, connectionBlocked bool
}

var (
	// errEnd ends the reader without anything more to say to the client or the log.
	errEnd = errors.New("connection: end")
	// errAborted ends the reader after Abort, where no read has failed.
	errAborted = errors.New("connection: aborted")
)

// past is a deadline that has passed: it makes a blocked read or write fail.
var past = time.Unix(1, 0)

// New makes a connection of an accepted socket. id tells it from all others of
// the broker.
func New(id uint64, nc net.Conn, cfg Config) *Conn {
	c := &Conn{
		Config: cfg, id: id, nc: nc, out: newOutbox(),
		sessions: map[uint16]*session{},
		name:     fmt.Sprintf("%s -> %s", nc.RemoteAddr(), nc.LocalAddr()),
		forced:   make(chan *reply.Error, 1), broken: make(chan error, 1), attention: make(chan struct{}, 1),
		kill: make(chan struct{}), done: make(chan struct{}),
		frameMax: wire.FrameMinSize,
	}
	c.view.info = Info{
		Name: c.name, State: stateHeader.String(), LocalAddr: nc.LocalAddr(), PeerAddr: nc.RemoteAddr(),
		ConnectedAt: time.Now(), FrameMax: c.frameMax,
	}
	c.in = newInput(nc, &c.received)
	_, tcp := nc.(*net.TCPConn)
	c.w = writer{nc: nc, out: c.out, vectored: tcp, sent: &c.sent, failed: c.writeFailed}
	return c
}

// ID tells the connection from all others of its broker.
func (c *Conn) ID() uint64 { return c.id }

// Name is "peer:port -> host:port".
func (c *Conn) Name() string { return c.name }

// Serve speaks with the client until the connection ends, and closes the socket. It
// is called once.
func (c *Conn) Serve() {
	defer close(c.done)
	c.handshake = time.AfterFunc(c.HandshakeTimeout, func() {
		c.late.Store(true)
		c.Abort()
	})
	written := make(chan struct{})
	if !c.Go(func() { defer close(written); c.w.run() }) {
		c.handshake.Stop()
		c.nc.Close()
		return
	}
	err := c.read()
	c.handshake.Stop()
	c.beats.stop()
	c.release(c.reason(err))
	c.out.close()
	c.settleDown(written)
	c.logEnd(err)
}

// read carries out what the client sends, until the end.
func (c *Conn) read() error {
	if err := c.readHeader(); err != nil {
		return err
	}
	for {
		f, err := c.in.frame(c.maxPayload())
		for err == errIncomplete {
			c.flush()
			if err = c.waitForRoom(); err != nil {
				return err
			}
			if err = c.listen(); err != nil {
				return err
			}
			f, err = c.in.frame(c.maxPayload())
		}
		if err == nil {
			err = c.carryOut(f)
		} else {
			err = c.badFrame(err)
		}
		if err != nil {
			return err
		}
	}
}

// carryOut is handle. An exchange type of a user's own runs in it, and if it
// panics this connection ends and nothing else does.
func (c *Conn) carryOut(f wire.Frame) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.log(slog.LevelError, fmt.Sprintf("AMQP connection (%s): panic: %v\n%s", c.place(), v, debug.Stack()))
			err = c.fault(nil, &reply.Error{Code: reply.InternalError, NoMethod: true})
		}
	}()
	return c.handle(f)
}

// maxPayload is the largest payload taken: frame_max octets, by RabbitMQ's
// grace of the eight that a frame has around it (contract 01 §2).
func (c *Conn) maxPayload() uint32 { return c.frameMax }

// listen waits for more of the client.
func (c *Conn) listen() error {
	c.beats.listening.Store(true)
	err := c.in.fill()
	c.beats.listening.Store(false)
	if err != nil {
		return c.interrupted(err)
	}
	c.alarmed = c.Alarms.Any()
	return nil
}

// interrupted finds out why a read ended: the client went, or somebody here
// wanted the reader's attention.
func (c *Conn) interrupted(err error) error {
	if c.aborted() {
		return err
	}
	select {
	case why := <-c.forced:
		return c.endForced(why)
	default:
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		select {
		case err = <-c.broken:
		case <-c.attention:
			c.closeOverdue()
			err = nil
		default:
		}
	}
	return err
}

// endForced carries out Close.
func (c *Conn) endForced(why *reply.Error) error {
	if c.state == stateRunning {
		return c.fault(nil, why)
	}
	c.log(slog.LevelInfo, fmt.Sprintf("closing AMQP connection (%s): %s", c.place(), why.Text))
	return errEnd
}

// readUntil limits how long the reader waits, unless it is wanted already.
func (c *Conn) readUntil(at time.Time) {
	c.interrupt.Lock()
	defer c.interrupt.Unlock()
	if c.aborted() || len(c.forced) > 0 {
		at = past
	}
	c.nc.SetReadDeadline(at)
}

// writeFailed is told the writer's first error. The reader has a moment left for
// what the client sent before it went.
func (c *Conn) writeFailed(err error) {
	c.broken <- err
	c.readUntil(time.Now().Add(penalty))
}

// flush hands over what channels collected, and waits for queues that have to
// catch up.
func (c *Conn) flush() {
	for i, s := range c.dirty {
		s.dirty = false
		c.dirty[i] = nil
		if s.ch == nil {
			continue
		}
		if w := s.ch.Flush(); w.C != nil {
			c.await(w)
		}
	}
	c.dirty = c.dirty[:0]
}

// maxPause is how long a publisher waits for consumers that are a little behind:
// some of the time in which a socket's buffers are emptied, and too short to be
// noticed.
const maxPause = 5 * time.Millisecond

// await waits for a queue.
func (c *Conn) await(w queue.Wait) {
	if !w.Optional() {
		select {
		case <-w.C:
		case <-c.kill:
		}
		return
	}
	if c.pauses == nil {
		c.pauses = time.NewTimer(maxPause)
	} else {
		c.pauses.Reset(maxPause)
	}
	select {
	case <-w.C:
		c.pauses.Stop()
	case <-c.pauses.C:
		w.GiveUp()
	case <-c.kill:
		c.pauses.Stop()
	}
}

// waitForRoom waits while too many answers wait for the client to read them.
func (c *Conn) waitForRoom() error {
	room := c.out.full()
	if room == nil {
		return nil
	}
	select {
	case <-room:
		return nil
	case why := <-c.forced:
		return c.endForced(why)
	case <-c.kill:
		return errAborted
	}
}

// pause keeps a client that could not be trusted waiting.
func (c *Conn) pause() {
	c.handshake.Stop()
	t := time.NewTimer(penalty)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.forced:
	case <-c.kill:
	}
}

// Close asks the connection to end with connection.close and the given reason.
// One that is not open, be it not yet or not any more, is just dropped (contract
// 02 §8). It does not wait and may be called from any goroutine. Of several
// reasons at once the first counts.
func (c *Conn) Close(why *reply.Error) {
	c.interrupt.Lock()
	defer c.interrupt.Unlock()
	select {
	case c.forced <- why:
	default:
	}
	c.nc.SetReadDeadline(past)
}

// Abort ends the connection without a word. It may be called from any goroutine.
func (c *Conn) Abort() {
	c.interrupt.Lock()
	defer c.interrupt.Unlock()
	if !c.aborted() {
		close(c.kill)
	}
	c.nc.SetDeadline(past)
}

func (c *Conn) aborted() bool {
	select {
	case <-c.kill:
		return true
	default:
		return false
	}
}

// Done is closed when Serve has returned and nothing of the connection is left.
func (c *Conn) Done() <-chan struct{} { return c.done }

// settleDown closes the socket once the client had a chance to read what was
// written to it last.
func (c *Conn) settleDown(written <-chan struct{}) {
	defer c.nc.Close()
	t := time.NewTimer(penalty)
	defer t.Stop()
	select {
	case <-written:
		c.linger()
		return
	case <-t.C:
	case <-c.kill:
	}
	c.nc.SetWriteDeadline(past)
	<-written
}

// linger reads what the client had sent already, so that closing the socket does
// not reset it and take away what was written.
func (c *Conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || c.in.ended || half.CloseWrite() != nil {
		return
	}
	c.readUntil(time.Now().Add(time.Second))
	var scrap [512]byte
	for range 128 {
		if _, err := c.nc.Read(scrap[:]); err != nil {
			return
		}
	}
}

func (c *Conn) log(level slog.Level, text string) {
	c.Logger.Log(context.Background(), level, text)
}
