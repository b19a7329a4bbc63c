package transport

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// modelStream is what one direction of a pipe should be.
type modelStream struct {
	unread                      []byte
	limit                       int
	readerClosed, writerClosed  bool
	readDeadline, writeDeadline bool // they are past
	begun                       uint64
}

// next makes n octets that come nowhere else soon.
func (m *modelStream) next(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		m.begun++
		p[i] = byte(m.begun ^ m.begun>>8 ^ m.begun>>16)
	}
	return p
}

// write tells what Write does; a wait without end times out.
func (m *modelStream) write(p []byte) (int, error) {
	switch {
	case m.writerClosed:
		return 0, net.ErrClosed
	case m.writeDeadline:
		return 0, os.ErrDeadlineExceeded
	case m.readerClosed:
		return 0, io.ErrClosedPipe
	}
	n := min(len(p), m.limit-len(m.unread))
	m.unread = append(m.unread, p[:n]...)
	if n < len(p) {
		return n, os.ErrDeadlineExceeded
	}
	return n, nil
}

// read tells what Read of up to n octets does.
func (m *modelStream) read(n int) ([]byte, error) {
	switch {
	case m.readerClosed:
		return nil, net.ErrClosed
	case n == 0:
		return nil, nil
	case m.readDeadline:
		return nil, os.ErrDeadlineExceeded
	case len(m.unread) > 0:
		n = min(n, len(m.unread))
		p := m.unread[:n]
		m.unread = m.unread[n:]
		return p, nil
	case m.writerClosed:
		return nil, io.EOF
	}
	return nil, os.ErrDeadlineExceeded
}

// modelEnd is one end of a pipe and what it should do.
type modelEnd struct {
	net.Conn
	in, out *modelStream
}

func (e *modelEnd) step(t *testing.T, rnd *rand.Rand) {
	past := time.Unix(1, 0)
	soon := time.Now().Add(time.Duration(1 + rnd.IntN(1000)))
	size := rnd.IntN([]int{2, 100, chunkSize + 100, 3 * chunkSize}[rnd.IntN(4)])
	closed := e.in.readerClosed
	set := func(err error) {
		if closed {
			require.ErrorIs(t, err, net.ErrClosed)
		} else {
			require.NoError(t, err)
		}
	}
	switch op := rnd.IntN(1000); {
	case op < 450:
		if !e.out.writeDeadline {
			set(e.SetWriteDeadline(soon))
		}
		p := e.out.next(size)
		want, wantErr := e.out.write(p)
		n, err := e.Write(p)
		require.ErrorIs(t, err, wantErr)
		require.Equal(t, want, n)
	case op < 900:
		if !e.in.readDeadline {
			set(e.SetReadDeadline(soon))
		}
		want, wantErr := e.in.read(size)
		p := make([]byte, size)
		n, err := e.Read(p)
		require.ErrorIs(t, err, wantErr)
		require.True(t, bytes.Equal(want, p[:n]))
	case op < 940:
		set(e.SetReadDeadline(time.Time{}))
		e.in.readDeadline = false
	case op < 980:
		set(e.SetWriteDeadline(time.Time{}))
		e.out.writeDeadline = false
	case op < 992:
		set(e.SetDeadline(past))
		e.in.readDeadline, e.out.writeDeadline = true, true
	case op < 995:
		set(e.Conn.(interface{ CloseWrite() error }).CloseWrite())
		e.out.writerClosed = true
	case op < 997:
		require.NoError(t, e.Close())
		e.in.readerClosed, e.out.writerClosed = true, true
		e.in.unread = nil
	}
	if n := held(e.Conn); n > len(e.out.unread)/chunkSize+2 || len(e.out.unread) == 0 && n > 0 {
		t.Fatalf("%d chunks are held for %d octets", n, len(e.out.unread))
	}
}

// TestRandomHistoriesGoAsInTheModel plays operations at random at both ends, and
// compares each result with the model's.
func TestRandomHistoriesGoAsInTheModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(16) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 0))
				limits := []int{1, 7, 100, chunkSize, 3*chunkSize + 5, 1 << 20}
				up := &modelStream{limit: limits[rnd.IntN(len(limits))]}
				down := &modelStream{limit: limits[rnd.IntN(len(limits))], begun: 1 << 40}
				client, server := Pipe(ToServer(up.limit), ToClient(down.limit))
				ends := []*modelEnd{{client, down, up}, {server, up, down}}
				for range 1000 {
					ends[rnd.IntN(2)].step(t, rnd)
				}
				require.NoError(t, client.Close())
				require.NoError(t, server.Close())
			})
		})
	}
}

// TestNothingIsLostOrDoubledUnderDeadlines streams both ways at once while calls
// of all sizes keep timing out, and go on from where they were.
func TestNothingIsLostOrDoubledUnderDeadlines(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 1000, 2 * chunkSize} {
		t.Run(fmt.Sprintf("limit %d", limit), func(t *testing.T) {
			t.Parallel()
			client, server := Pipe(ToServer(limit), ToClient(limit))
			var streams, alarms sync.WaitGroup
			done := make(chan struct{})
			for i, c := range []net.Conn{client, server} {
				data := noise(min(1<<20, 5000*limit))
				// again reports that a call that ended with err may be repeated.
				again := func(err error) bool {
					if err != nil {
						wantTimeout(t, err)
						assert.NoError(t, c.SetDeadline(time.Time{}))
					}
					return !t.Failed()
				}
				streams.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(i), 1))
					for rest := data; len(rest) > 0; {
						n, err := c.Write(rest[:rnd.IntN(len(rest)+1)])
						if rest = rest[n:]; !again(err) {
							return
						}
					}
				})
				streams.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(i), 2))
					got := make([]byte, len(data))
					for rest := got; len(rest) > 0; {
						n, err := c.Read(rest[:rnd.IntN(len(rest)+1)])
						if rest = rest[n:]; !again(err) {
							return
						}
					}
					assert.True(t, bytes.Equal(data, got))
				})
				alarms.Go(func() {
					tick := time.NewTicker(20 * time.Microsecond)
					defer tick.Stop()
					for i := time.Duration(0); ; i++ {
						select {
						case <-tick.C:
							assert.NoError(t, c.SetDeadline(time.Now().Add(i%3*time.Microsecond)))
						case <-done:
							return
						}
					}
				})
			}
			streams.Wait()
			close(done)
			alarms.Wait()
			require.NoError(t, client.Close())
			require.NoError(t, server.Close())
		})
	}
}
