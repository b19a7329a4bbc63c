package transport

import (
	"io"
	"net"
	"time"
)

// Limits of a pipe in octets, unless options say otherwise.
const (
	// DefaultToServer is how many unread octets a client may have sent. It is
	// large because the usual clients hold a mutex while they write: a client
	// that waited inside Write would make all its goroutines wait for a mutex,
	// which stops the clock of a synctest bubble.
	DefaultToServer = 64 << 20
	// DefaultToClient is how many unread octets a server may have sent. It is
	// about what a server writes at once: what the client does not read has to
	// wait where the server can see it.
	DefaultToClient = 64 << 10
)

// PipeOption is an option of Pipe and ListenPipe.
type PipeOption func(*pipeOptions)

type pipeOptions struct {
	toServer, toClient int
	client, server     string
}

// applied gives the options there are, and defaults for the others.
func applied(opts []PipeOption) pipeOptions {
	o := pipeOptions{toServer: DefaultToServer, toClient: DefaultToClient, client: "client", server: "server"}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// ToServer sets how many octets the client's Write takes before the server reads
// them. Below 1 means 1.
func ToServer(limit int) PipeOption {
	return func(o *pipeOptions) { o.toServer = max(limit, 1) }
}

// ToClient sets how many octets the server's Write takes before the client reads
// them. Below 1 means 1.
func ToClient(limit int) PipeOption {
	return func(o *pipeOptions) { o.toClient = max(limit, 1) }
}

// Names sets the addresses of the two ends, which are "client" and "server"
// otherwise.
func Names(client, server string) PipeOption {
	return func(o *pipeOptions) { o.client, o.server = client, server }
}

// Addr is the address of one end of a pipe: a name, which need not be unique.
type Addr string

// Network is always "pipe".
func (Addr) Network() string { return "pipe" }

// String is the name.
func (a Addr) String() string { return string(a) }

// Pipe makes a full-duplex connection in memory and returns its ends. Unlike
// those of net.Pipe they are buffered: Write returns when the octets are in the
// buffer, and waits only while that is full. The buffers take memory for what is
// unread and none while the pipe is idle; DefaultToServer and DefaultToClient
// bound them.
//
// Both ends have a CloseWrite method, like those of a TCP connection: the peer
// reads what was written and then io.EOF, and can still write. Close does the
// same and drops what this end has not read.
//
// Errors other than io.EOF are *net.OpError. They wrap net.ErrClosed where this
// end was closed, io.ErrClosedPipe for a Write that the peer will not read, and
// os.ErrDeadlineExceeded. A Close or CloseWrite that comes again does nothing.
//
// All methods may be called from any goroutine. Concurrent Writes do not mix
// their octets. A pipe has no goroutine, and timers only while deadlines are
// set, so that there is nothing to clean up behind one that was not closed.
func Pipe(opts ...PipeOption) (client, server net.Conn) {
	o := applied(opts)
	var p struct {
		toServer, toClient stream
		client, server     pipeConn
	}
	p.toServer.init(o.toServer)
	p.toClient.init(o.toClient)
	a, b := net.Addr(Addr(o.client)), net.Addr(Addr(o.server))
	p.client = pipeConn{in: &p.toClient, out: &p.toServer, local: a, remote: b}
	p.server = pipeConn{in: &p.toServer, out: &p.toClient, local: b, remote: a}
	return &p.client, &p.server
}

// pipeConn is one end of a pipe.
type pipeConn struct {
	in, out       *stream
	local, remote net.Addr
}

func (c *pipeConn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	if err != nil && err != io.EOF {
		err = c.opError("read", err)
	}
	return n, err
}

func (c *pipeConn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

// Close drops what was not read and lets the peer read what was written.
func (c *pipeConn) Close() error {
	c.out.closeWriter()
	c.in.closeReader()
	return nil
}

// CloseWrite ends what the peer can read.
func (c *pipeConn) CloseWrite() error {
	if c.closed() {
		return c.opError("close", net.ErrClosed)
	}
	c.out.closeWriter()
	return nil
}

func (c *pipeConn) LocalAddr() net.Addr  { return c.local }
func (c *pipeConn) RemoteAddr() net.Addr { return c.remote }

func (c *pipeConn) SetDeadline(t time.Time) error {
	if c.closed() {
		return c.opError("set", net.ErrClosed)
	}
	c.in.setReadDeadline(t)
	c.out.setWriteDeadline(t)
	return nil
}

func (c *pipeConn) SetReadDeadline(t time.Time) error {
	if c.closed() {
		return c.opError("set", net.ErrClosed)
	}
	c.in.setReadDeadline(t)
	return nil
}

func (c *pipeConn) SetWriteDeadline(t time.Time) error {
	if c.closed() {
		return c.opError("set", net.ErrClosed)
	}
	c.out.setWriteDeadline(t)
	return nil
}

func (c *pipeConn) closed() bool { return c.in.readerClosed() }

func (c *pipeConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}
