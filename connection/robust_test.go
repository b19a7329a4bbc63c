package connection

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
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

// A peer that says much, or announces much, and does not go on must not cost
// much. Not parallel: it measures memory.
func TestMemoryOfAConnection(t *testing.T) {
	open := opening(t, &wire.ConnectionTuneOK{ChannelMax: 2047, FrameMax: 131072})
	oneChannel := append(open[:len(open):len(open)], encoded(t, 1, &wire.ChannelOpen{})...)
	after := func(p []byte, more ...[]byte) []byte {
		p = p[:len(p):len(p)]
		for _, m := range more {
			p = append(p, m...)
		}
		return p
	}
	publish := encoded(t, 1, &wire.BasicPublish{RoutingKey: []byte("q")})
	const (
		huge  = 128 << 20
		small = 20 << 10
	)
	var contents []byte
	const channels = 2000
	for ch := range uint16(channels) {
		contents = append(contents, encoded(t, ch+1, &wire.ChannelOpen{})...)
		contents = append(contents, encoded(t, ch+1, &wire.BasicPublish{RoutingKey: []byte("q")})...)
		contents = append(contents, wire.AppendHeaderFrame(nil, ch+1, classBasic, huge, []byte{0, 0})...)
		contents = append(contents, frame(wire.FrameBody, ch+1, []byte("x"))...)
	}
	var answered []byte
	for range 2000 {
		answered = append(answered, published(t, 1, &wire.BasicPublish{RoutingKey: []byte("no"), Mandatory: true}, []byte("x"), 0)...)
	}
	for name, c := range map[string]struct {
		script []byte
		limit  int // octets a connection
	}{
		"nothing":                             {nil, small},
		"a header":                            {[]byte(wire.ProtocolHeader), small},
		"half a frame":                        {after(open, []byte{1, 0, 1, 0, 0, 0, 200, 0, 20}), small},
		"an open connection":                  {open, small},
		"an open channel":                     {oneChannel, small},
		"a frame of 4 GiB before tune-ok":     {[]byte(wire.ProtocolHeader + "\x01\x00\x00\xff\xff\xff\xff"), small},
		"a frame of 4 GiB":                    {after(open, []byte{3, 0, 1, 255, 255, 255, 255}), small},
		"a frame of 128 KiB":                  {after(open, []byte{3, 0, 1, 0, 2, 0, 0}), small},
		"a body of 128 MiB":                   {after(oneChannel, publish, wire.AppendHeaderFrame(nil, 1, classBasic, huge, []byte{0, 0})), small},
		"a body of 128 MiB and its beginning": {after(oneChannel, publish, wire.AppendHeaderFrame(nil, 1, classBasic, huge, []byte{0, 0}), frame(wire.FrameBody, 1, []byte("x"))), small},
		"a body of all the octets there are":  {after(oneChannel, publish, wire.AppendHeaderFrame(nil, 1, classBasic, 1<<64-1, []byte{0, 0}), frame(wire.FrameBody, 1, make([]byte, 4000))), small},
		"a body longer than announced":        {after(oneChannel, publish, wire.AppendHeaderFrame(nil, 1, classBasic, 1, []byte{0, 0}), frame(wire.FrameBody, 1, make([]byte, 4000)), frame(wire.FrameBody, 1, make([]byte, 100_000))), 200 << 10},
		"2000 half-open contents":             {after(open, contents), channels * 2 << 10},
		"an answered burst":                   {after(oneChannel, answered), maxBuffer + 86<<10},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFakeBroker(t)
			n := 100
			if len(c.script) > 1<<16 {
				n = 10
			}
			conns := make([]*Conn, n)
			var reading []chan struct{}
			cfg := b.config()
			cfg.HandshakeTimeout = time.Hour
			measure := func() int {
				var m runtime.MemStats
				runtime.GC()
				runtime.GC()
				runtime.ReadMemStats(&m)
				return int(m.HeapAlloc + m.StackInuse)
			}
			before := measure()
			for i := range conns {
				nc := newScripted(c.script)
				read := make(chan struct{})
				nc.reading = read
				conns[i] = New(uint64(i), nc, cfg)
				b.wg.Go(conns[i].Serve)
				reading = append(reading, read)
			}
			patience, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			for _, read := range reading {
				select {
				case <-read: // the reader waits for more
				case <-patience.Done(): // or keeps its client waiting
				}
			}
			for _, c := range conns {
				for !c.out.idle() { // the writer has something to write yet
					runtime.Gosched()
				}
			}
			used := (measure() - before) / n
			t.Logf("%d octets a connection", used)
			require.Less(t, used, c.limit)
			for _, c := range conns {
				c.Abort()
				<-c.Done()
			}
			b.wg.Wait()
			b.balanced(t)
		})
	}
}

// idle reports that the writer waits for something to write.
func (o *outbox) idle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asleep
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
