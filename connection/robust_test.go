package connection

import (
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/wire"
)

// scripted is a socket whose peer sends the script, then nothing until the end,
// and reads everything. It costs next to no memory.
type scripted struct {
	mu       sync.Mutex
	script   []byte
	at, step int  // step is the most that a read gives; 0 is without limit
	hangUp   bool // the peer closes the connection behind the script
	deadline time.Time
	changed  chan struct{} // closed with the next change of the deadline
	closed   bool
	reading  chan struct{} // closed when the script is read, if not nil
}

func newScripted(script []byte) *scripted {
	return &scripted{script: script, changed: make(chan struct{})}
}

func (s *scripted) Read(p []byte) (int, error) {
	for {
		s.mu.Lock()
		switch {
		case s.closed:
			s.mu.Unlock()
			return 0, net.ErrClosed
		case !s.deadline.IsZero() && !s.deadline.After(time.Now()):
			s.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case s.at < len(s.script):
			if s.step > 0 && len(p) > s.step {
				p = p[:s.step]
			}
			n := copy(p, s.script[s.at:])
			s.at += n
			s.mu.Unlock()
			return n, nil
		case s.hangUp:
			s.mu.Unlock()
			return 0, io.EOF
		}
		if s.reading != nil {
			close(s.reading)
			s.reading = nil
		}
		changed, wait := s.changed, (<-chan time.Time)(nil)
		if !s.deadline.IsZero() {
			wait = time.After(time.Until(s.deadline))
		}
		s.mu.Unlock()
		select {
		case <-changed:
		case <-wait:
		}
	}
}

func (s *scripted) Write(p []byte) (int, error) { return len(p), nil }

func (s *scripted) SetReadDeadline(at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = at
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

func (s *scripted) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return s.SetReadDeadline(past)
}

func (s *scripted) SetDeadline(at time.Time) error   { return s.SetReadDeadline(at) }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }
func (s *scripted) LocalAddr() net.Addr              { return addressed{}.LocalAddr() }
func (s *scripted) RemoteAddr() net.Addr             { return addressed{}.RemoteAddr() }

// opening is all that a client sends up to connection.open.
func opening(t testing.TB, tune *wire.ConnectionTuneOK) []byte {
	p := []byte(wire.ProtocolHeader)
	for _, m := range []wire.Method{plain(), tune, &wire.ConnectionOpen{VirtualHost: "/"}} {
		p = append(p, encoded(t, 0, m)...)
	}
	return p
}

func TestAnotherConnectionIsNotDisturbed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		good := b.dial(t, nil).open().channel(1).declare(1, "q")
		var bad []*client
		for _, script := range [][]byte{
			[]byte("GET / HTTP/1.1\r\n\r\n"),
			[]byte(wire.ProtocolHeader + "\x01\x00\x00\xff\xff\xff\xff"),
			append(opening(t, &wire.ConnectionTuneOK{ChannelMax: 9, FrameMax: 4096}), 1, 2, 3),
			append(opening(t, &wire.ConnectionTuneOK{ChannelMax: 9, FrameMax: 4096}), methodFrame(1, wire.MakeID(7, 7))...),
		} {
			cl := b.dial(t, nil)
			cl.raw(script)
			bad = append(bad, cl)
		}
		greedy := b.dial(t, nil).open().channel(1)
		resume := greedy.halt()
		greedy.owe(5 * maxOwed)
		begin := time.Now()
		for range 100 {
			good.publish(1, "q", []byte("x"))
			good.send(1, &wire.BasicGet{Queue: "q", NoAck: true})
			await[*wire.BasicGetOK](good, 1)
			good.content(1)
		}
		require.Zero(t, time.Since(begin))
		resume()
		greedy.owed(5 * maxOwed)
		greedy.close()
		good.close()
		for _, cl := range bad {
			cl.hangUp()
		}
	})
}

func TestContentsOfAnySizeLeaveNoBuffersBehind(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1)
		props := make([]byte, 100_000)
		p := encoded(t, 1, &wire.BasicPublish{})
		p = wire.AppendHeaderFrame(p, 1, classBasic, 0, append([]byte{0x80, 0, 1, 'a'}, props[:0]...))
		cl.raw(p)
		cl.nothing()
		require.LessOrEqual(t, cap(cl.conn.sessions[1].content.props), keptProps)
		long := append([]byte{0x20, 0, 0, 1, 0x86, 0xa8, 1, 'h', 'x', 0, 1, 0x86, 0xa1}, make([]byte, 100_001)...)
		p = encoded(t, 1, &wire.BasicPublish{})
		cl.raw(wire.AppendHeaderFrame(p, 1, classBasic, 0, long))
		cl.nothing()
		require.LessOrEqual(t, cap(cl.conn.sessions[1].content.props), keptProps)
		cl.close()
	})
}
