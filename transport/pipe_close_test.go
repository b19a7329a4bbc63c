package transport

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func closeWrite(t testing.TB, c net.Conn) {
	t.Helper()
	require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
}

func TestCallsAfterTheEnd(t *testing.T) {
	t.Parallel()
	read := func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }
	readNothing := func(c net.Conn) error { _, err := c.Read(nil); return err }
	write := func(c net.Conn) error { _, err := c.Write([]byte("x")); return err }
	writeNothing := func(c net.Conn) error { _, err := c.Write(nil); return err }
	half := func(c net.Conn) error { return c.(interface{ CloseWrite() error }).CloseWrite() }
	set := func(c net.Conn) error { return c.SetDeadline(time.Now().Add(time.Hour)) }
	setRead := func(c net.Conn) error { return c.SetReadDeadline(time.Unix(1, 0)) }
	setWrite := func(c net.Conn) error { return c.SetWriteDeadline(time.Unix(1, 0)) }
	here := func(f func(net.Conn) error) func(c, _ net.Conn) error {
		return func(c, _ net.Conn) error { return f(c) }
	}
	peer := func(f func(net.Conn) error) func(_, c net.Conn) error {
		return func(_, c net.Conn) error { return f(c) }
	}

	for _, tc := range []struct {
		name string
		end  func(c, peer net.Conn) error
		call func(net.Conn) error
		want error
	}{
		{"Read after Close", here(net.Conn.Close), read, net.ErrClosed},
		{"Read of nothing after Close", here(net.Conn.Close), readNothing, net.ErrClosed},
		{"Write after Close", here(net.Conn.Close), write, net.ErrClosed},
		{"Write of nothing after Close", here(net.Conn.Close), writeNothing, net.ErrClosed},
		{"CloseWrite after Close", here(net.Conn.Close), half, net.ErrClosed},
		{"SetDeadline after Close", here(net.Conn.Close), set, net.ErrClosed},
		{"SetReadDeadline after Close", here(net.Conn.Close), setRead, net.ErrClosed},
		{"SetWriteDeadline after Close", here(net.Conn.Close), setWrite, net.ErrClosed},
		{"Close after Close", here(net.Conn.Close), net.Conn.Close, nil},

		{"Write after CloseWrite", here(half), write, net.ErrClosed},
		{"CloseWrite after CloseWrite", here(half), half, nil},
		{"SetDeadline after CloseWrite", here(half), set, nil},
		{"Close after CloseWrite", here(half), net.Conn.Close, nil},

		{"Read after the peer's Close", peer(net.Conn.Close), read, io.EOF},
		{"Read of nothing after the peer's Close", peer(net.Conn.Close), readNothing, nil},
		{"Write after the peer's Close", peer(net.Conn.Close), write, io.ErrClosedPipe},
		{"Write of nothing after the peer's Close", peer(net.Conn.Close), writeNothing, io.ErrClosedPipe},
		{"CloseWrite after the peer's Close", peer(net.Conn.Close), half, nil},
		{"SetDeadline after the peer's Close", peer(net.Conn.Close), set, nil},
		{"Close after the peer's Close", peer(net.Conn.Close), net.Conn.Close, nil},

		{"Read after the peer's CloseWrite", peer(half), read, io.EOF},
		{"Write after the peer's CloseWrite", peer(half), write, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			inBothDirections(t, 4, func(t *testing.T, c, peer net.Conn) {
				require.NoError(t, tc.end(c, peer))
				err := tc.call(c)
				if tc.want == nil || tc.want == io.EOF {
					require.Equal(t, tc.want, err) // io.EOF as it is
					return
				}
				require.ErrorIs(t, err, tc.want)
				var oe *net.OpError
				require.ErrorAs(t, err, &oe)
				require.Equal(t, c.LocalAddr(), oe.Source)
				require.Equal(t, c.RemoteAddr(), oe.Addr)
			})
		})
	}
}

func TestPeerReadsWhatWasWrittenBeforeClose(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(testing.TB, net.Conn){
		"Close":      func(t testing.TB, c net.Conn) { require.NoError(t, c.Close()) },
		"CloseWrite": closeWrite,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBothDirections(t, 100, func(t *testing.T, w, r net.Conn) {
				mustWrite(t, w, "last words")
				end(t, w)
				mustRead(t, r, "last words")
				n, err := r.Read(make([]byte, 1))
				require.Equal(t, io.EOF, err)
				require.Zero(t, n)
			})
		})
	}
}

func TestHalfClosedPipeCarriesTheOtherWay(t *testing.T) {
	t.Parallel()
	inBothDirections(t, 100, func(t *testing.T, w, r net.Conn) {
		closeWrite(t, w)
		mustWrite(t, r, "go on")
		mustRead(t, w, "go on")
	})
}

func TestCloseEndsCallsThatWait(t *testing.T) {
	t.Parallel()
	half := func(c net.Conn) error { return c.(interface{ CloseWrite() error }).CloseWrite() }
	for _, tc := range []struct {
		name        string
		own         bool // the end that waits is closed, not its peer
		end         func(net.Conn) error
		read, write error // what the calls return; nil to go on waiting
	}{
		{"own Close", true, net.Conn.Close, net.ErrClosed, net.ErrClosed},
		{"own CloseWrite", true, half, nil, net.ErrClosed},
		{"peer's Close", false, net.Conn.Close, io.EOF, io.ErrClosedPipe},
		{"peer's CloseWrite", false, half, io.EOF, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			inBothDirections(t, 4, func(t *testing.T, c, peer net.Conn) {
				var (
					wg            sync.WaitGroup
					mu            sync.Mutex
					reads, writes []error
				)
				for range 3 {
					wg.Go(func() {
						_, err := c.Read(make([]byte, 1))
						mu.Lock()
						defer mu.Unlock()
						reads = append(reads, err)
					})
					wg.Go(func() {
						_, err := c.Write(make([]byte, 1<<20))
						mu.Lock()
						defer mu.Unlock()
						writes = append(writes, err)
					})
				}
				time.Sleep(halfHour)
				require.Empty(t, reads)
				if tc.own {
					require.NoError(t, tc.end(c))
				} else {
					require.NoError(t, tc.end(peer))
				}
				synctest.Wait()
				check := func(got []error, want error) {
					if want == nil {
						require.Empty(t, got)
						return
					}
					require.Len(t, got, 3)
					for _, err := range got {
						require.ErrorIs(t, err, want)
					}
				}
				check(reads, tc.read)
				check(writes, tc.write)
				require.NoError(t, c.Close())
				wg.Wait()
			})
		})
	}
}

func TestEverythingAtOnceWithClose(t *testing.T) {
	t.Parallel()
	for range 50 {
		client, server := Pipe(ToServer(chunkSize), ToClient(1))
		var wg sync.WaitGroup
		ended := func(err error) {
			if err != nil {
				assert.True(t, errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) || err == io.EOF, "%v", err)
			}
		}
		for _, c := range []net.Conn{client, server} {
			wg.Go(func() {
				_, err := io.Copy(io.Discard, struct{ io.Reader }{c})
				ended(err)
			})
			wg.Go(func() {
				for p := noise(1000); ; {
					if _, err := c.Write(p); err != nil {
						ended(err)
						return
					}
				}
			})
			wg.Go(func() {
				for range 50 {
					ended(c.SetDeadline(time.Now().Add(time.Hour)))
					ended(c.SetReadDeadline(time.Time{}))
					ended(c.SetWriteDeadline(time.Time{}))
					assert.NotNil(t, c.LocalAddr())
					assert.NotNil(t, c.RemoteAddr())
				}
				ended(c.(interface{ CloseWrite() error }).CloseWrite())
				assert.NoError(t, c.Close())
			})
		}
		wg.Wait()
	}
}
