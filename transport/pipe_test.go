package transport

import (
	"bytes"
	"errors"
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

// halfHour is how long things stay as they are in a bubble.
const halfHour = 30 * time.Minute

// directions are the two ways through a pipe with a small limit in each.
var directions = []struct {
	name string
	make func(limit int) (writer, reader net.Conn)
}{
	{"to the server", func(limit int) (net.Conn, net.Conn) { return Pipe(ToServer(limit)) }},
	{"to the client", func(limit int) (net.Conn, net.Conn) {
		client, server := Pipe(ToClient(limit))
		return server, client
	}},
}

// inBothDirections runs a test in a bubble for each direction.
func inBothDirections(t *testing.T, limit int, f func(t *testing.T, w, r net.Conn)) {
	t.Helper()
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, r := d.make(limit)
				f(t, w, r)
				require.NoError(t, w.Close())
				require.NoError(t, r.Close())
			})
		})
	}
}

func mustWrite(t testing.TB, c net.Conn, p string) {
	t.Helper()
	n, err := c.Write([]byte(p))
	require.NoError(t, err)
	require.Len(t, p, n)
}

// mustRead reads once, and expects p.
func mustRead(t testing.TB, c net.Conn, p string) {
	t.Helper()
	buf := make([]byte, len(p)+1)
	n, err := c.Read(buf)
	require.NoError(t, err)
	require.Equal(t, p, string(buf[:n]))
}

// wantTimeout may be called from any goroutine.
func wantTimeout(t testing.TB, err error) {
	t.Helper()
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var ne net.Error
	assert.True(t, errors.As(err, &ne) && ne.Timeout())
}

func noise(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(p)
	return p
}

func TestPipeCarriesEverythingInOrderBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 100, chunkSize, DefaultToClient, DefaultToServer} {
		t.Run(fmt.Sprintf("limit %d", limit), func(t *testing.T) {
			t.Parallel()
			want := noise(min(4<<20, 8192*limit))
			client, server := Pipe(ToServer(limit), ToClient(limit))
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() { // sends back what it gets
				defer server.Close()
				_, err := io.Copy(struct{ io.Writer }{server}, server)
				assert.NoError(t, err)
			})
			wg.Go(func() {
				n, err := client.Write(want)
				assert.NoError(t, err)
				assert.Len(t, want, n)
				assert.NoError(t, client.(interface{ CloseWrite() error }).CloseWrite())
			})
			got, err := io.ReadAll(client)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
			require.NoError(t, client.Close())
		})
	}
}

func TestPipeWritesNetBuffers(t *testing.T) {
	t.Parallel()
	inBothDirections(t, 100, func(t *testing.T, w, r net.Conn) {
		n, err := (&net.Buffers{[]byte("a"), nil, []byte("bc"), []byte("d")}).WriteTo(w)
		require.NoError(t, err)
		require.EqualValues(t, 4, n)
		mustRead(t, r, "abcd")
	})
}

func TestReadWaitsForHalfAnHourAndIsWoken(t *testing.T) {
	t.Parallel()
	inBothDirections(t, 100, func(t *testing.T, w, r net.Conn) {
		begin := time.Now()
		go func() {
			time.Sleep(halfHour)
			_, _ = w.Write([]byte("late")) // the reader sees what came of it
		}()
		mustRead(t, r, "late")
		require.Equal(t, halfHour, time.Since(begin))
	})
}

func TestWriteWaitsForHalfAnHourWhileFull(t *testing.T) {
	t.Parallel()
	inBothDirections(t, 8, func(t *testing.T, w, r net.Conn) {
		begin := time.Now()
		got := make(chan string)
		go func() {
			time.Sleep(halfHour)
			p, err := io.ReadAll(r)
			assert.NoError(t, err)
			got <- string(p)
		}()
		mustWrite(t, w, "12345678")
		require.Zero(t, time.Since(begin))
		mustWrite(t, w, "9abcdefghijklmno")
		require.Equal(t, halfHour, time.Since(begin))
		require.NoError(t, w.Close())
		require.Equal(t, "123456789abcdefghijklmno", <-got)
	})
}

// The official client holds a mutex while it writes. If Write waited under it,
// the goroutines that want the mutex would keep the bubble's clock from moving.
func TestClientsThatWriteUnderAMutexDoNotStopTheClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := Pipe()
		var mu sync.Mutex
		var wg sync.WaitGroup
		const writers, size = 8, 4 << 20
		for range writers {
			wg.Go(func() {
				mu.Lock()
				defer mu.Unlock()
				_, err := client.Write(make([]byte, size))
				assert.NoError(t, err)
			})
		}
		begin := time.Now()
		time.Sleep(halfHour) // the server reads nothing
		require.Equal(t, halfHour, time.Since(begin))
		wg.Wait()
		require.NoError(t, client.Close())
		n, err := io.Copy(io.Discard, server)
		require.NoError(t, err)
		require.EqualValues(t, writers*size, n)
		require.NoError(t, server.Close())
	})
}

func TestWriteTakesAsMuchAsTheLimit(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{-1, 1, 100, 3*chunkSize + 1, DefaultToClient} {
		inBothDirections(t, limit, func(t *testing.T, w, r net.Conn) {
			limit := max(limit, 1)
			require.NoError(t, w.SetWriteDeadline(time.Now().Add(time.Minute)))
			n, err := w.Write(make([]byte, limit+1))
			wantTimeout(t, err)
			require.Equal(t, limit, n)

			require.NoError(t, w.SetWriteDeadline(time.Time{}))
			_, err = io.ReadFull(r, make([]byte, limit))
			require.NoError(t, err)
			n, err = w.Write(make([]byte, limit))
			require.NoError(t, err)
			require.Equal(t, limit, n)
		})
	}
}

func TestDefaultLimits(t *testing.T) {
	t.Parallel()
	client, server := Pipe()
	for _, end := range []struct {
		c     net.Conn
		limit int
	}{{client, 64 << 20}, {server, 64 << 10}} {
		n, err := end.c.Write(make([]byte, end.limit))
		require.NoError(t, err)
		require.Equal(t, end.limit, n)
		require.NoError(t, end.c.SetWriteDeadline(time.Now().Add(time.Microsecond)))
		n, err = end.c.Write([]byte("x"))
		wantTimeout(t, err)
		require.Zero(t, n)
	}
	require.NoError(t, client.Close())
	require.NoError(t, server.Close())
}

func TestReadsAndWritesOfNothingDoNotWait(t *testing.T) {
	t.Parallel()
	inBothDirections(t, 1, func(t *testing.T, w, r net.Conn) {
		n, err := r.Read(nil)
		require.NoError(t, err)
		require.Zero(t, n)
		mustWrite(t, w, "x") // it is full now
		mustWrite(t, w, "")
		mustRead(t, r, "x")
	})
}

func TestWritesAtOnceDoNotMix(t *testing.T) {
	t.Parallel()
	inBothDirections(t, 10, func(t *testing.T, w, r net.Conn) {
		var wg sync.WaitGroup
		const writers, size = 4, 1000
		for i := range writers {
			wg.Go(func() {
				_, err := w.Write(bytes.Repeat([]byte{byte(i)}, size))
				assert.NoError(t, err)
			})
		}
		p := make([]byte, writers*size)
		_, err := io.ReadFull(r, p)
		require.NoError(t, err)
		wg.Wait()
		seen := map[byte]bool{}
		for run := range bytesIn(p, size) {
			require.Equal(t, bytes.Repeat(run[:1], size), run)
			seen[run[0]] = true
		}
		require.Len(t, seen, writers)
	})
}

// bytesIn gives p in pieces of n.
func bytesIn(p []byte, n int) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(p) >= n && yield(p[:n]) {
			p = p[n:]
		}
	}
}

func TestReadersAtOnceGetEachOctetOnce(t *testing.T) {
	t.Parallel()
	inBothDirections(t, 64, func(t *testing.T, w, r net.Conn) {
		var (
			wg    sync.WaitGroup
			mu    sync.Mutex
			count [256]int
		)
		for range 4 {
			wg.Go(func() {
				for p := make([]byte, 7); ; {
					n, err := r.Read(p)
					mu.Lock()
					for _, b := range p[:n] {
						count[b]++
					}
					mu.Unlock()
					if err != nil {
						assert.ErrorIs(t, err, io.EOF)
						return
					}
				}
			})
		}
		for i := range 256 * 10 {
			_, err := w.Write([]byte{byte(i)})
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		wg.Wait()
		for _, n := range count {
			require.Equal(t, 10, n)
		}
	})
}

func TestPipeAddresses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name           string
		opts           []PipeOption
		client, server string
	}{
		{"by default", nil, "client", "server"},
		{"by name", []PipeOption{Names("app", "broker")}, "app", "broker"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			client, server := Pipe(tc.opts...)
			for _, c := range []net.Conn{client, server} {
				require.Equal(t, "pipe", c.LocalAddr().Network())
				require.Equal(t, "pipe", c.RemoteAddr().Network())
			}
			require.Equal(t, tc.client, client.LocalAddr().String())
			require.Equal(t, tc.server, client.RemoteAddr().String())
			require.Equal(t, tc.client, server.RemoteAddr().String())
			require.Equal(t, tc.server, server.LocalAddr().String())
		})
	}
}
