package transport

import (
	"context"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
)

// PipeListener is a net.Listener in memory: Accept gives the server ends of the
// pipes whose client ends Dial gave. Its methods may be called from any
// goroutine. It has no goroutine and no backlog.
type PipeListener struct {
	opts    []PipeOption
	names   pipeOptions
	dialled atomic.Uint64
	pending chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

// ListenPipe makes a listener whose pipes have the given options. The clients'
// addresses are their name and a number that counts them: "client-1", and so on.
func ListenPipe(opts ...PipeOption) *PipeListener {
	return &PipeListener{
		opts:    opts,
		names:   applied(opts),
		pending: make(chan net.Conn),
		closed:  make(chan struct{}),
	}
}

// Dial makes a connection, and waits until it is accepted. When ctx ends first,
// or the listener is closed, there is none; the error is a *net.OpError that
// wraps ctx's or net.ErrClosed.
func (l *PipeListener) Dial(ctx context.Context) (net.Conn, error) {
	name := l.names.client + "-" + strconv.FormatUint(l.dialled.Add(1), 10)
	client, server := Pipe(append(l.opts[:len(l.opts):len(l.opts)], Names(name, l.names.server))...)
	err := ctx.Err()
	if err == nil {
		select {
		case <-l.closed:
			err = net.ErrClosed
		case <-ctx.Done():
			err = ctx.Err()
		case l.pending <- server:
			return client, nil
		}
	}
	return nil, &net.OpError{Op: "dial", Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
}

// Accept waits for the next connection. Once the listener is closed, its error is
// a *net.OpError that wraps net.ErrClosed.
func (l *PipeListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed: // whoever is dialling
	default:
		select {
		case nc := <-l.pending:
			return nc, nil
		case <-l.closed:
		}
	}
	return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: net.ErrClosed}
}

// Close ends Accept and Dial, but no connection. It may be called again.
func (l *PipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is the address of the server ends.
func (l *PipeListener) Addr() net.Addr { return Addr(l.names.server) }
