package transport

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// held counts the chunks of what one can write into c.
func held(c net.Conn) int {
	s := c.(*pipeConn).out
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for c := s.head; c != nil; c = c.next {
		n++
	}
	return n
}

func TestBuffersGrowAndShrinkWithWhatIsUnread(t *testing.T) {
	t.Parallel()
	inBothDirections(t, 1<<20, func(t *testing.T, w, r net.Conn) {
		require.Zero(t, held(w))
		mustWrite(t, w, "x")
		require.Equal(t, 1, held(w))
		_, err := w.Write(make([]byte, 1<<20-1))
		require.NoError(t, err)
		chunk := len(chunk{}.data)
		require.Equal(t, (1<<20+chunk-1)/chunk, held(w))
		_, err = io.ReadFull(r, make([]byte, 1<<19))
		require.NoError(t, err)
		require.LessOrEqual(t, held(w), 1<<19/chunk+2)
		_, err = io.ReadFull(r, make([]byte, 1<<19-1))
		require.NoError(t, err)
		require.Equal(t, 1, held(w))
		mustRead(t, r, "\x00")
		require.Zero(t, held(w))
	})
}

func TestCloseGivesTheMemoryBack(t *testing.T) {
	t.Parallel()
	inBothDirections(t, 1<<20, func(t *testing.T, w, r net.Conn) {
		_, err := w.Write(make([]byte, 1<<20))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		require.NotZero(t, held(w), "the peer may read it yet")
		require.NoError(t, r.Close())
		require.Zero(t, held(w))
	})
}

// The tests below count allocations of the whole program, so they run while no
// other test does.

func TestIdlePipeTakesLittleMemory(t *testing.T) {
	pipes := make([]net.Conn, 2000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range pipes {
		c, s := Pipe()
		if _, err := c.Write([]byte("some")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		pipes[i] = c
	}
	runtime.GC()
	runtime.GC() // the second empties the pool of chunks
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / int64(len(pipes))
	require.Less(t, each, int64(1<<10))
	runtime.KeepAlive(pipes)
}

func TestSteadyTrafficAllocatesNothing(t *testing.T) {
	client, server := Pipe()
	p := make([]byte, 3000)
	deadline := time.Now().Add(time.Hour)
	var err error
	check := func(e error) {
		if e != nil {
			err = e
		}
	}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		_, e := client.Write(p)
		check(e)
		_, e = io.ReadFull(server, p)
		check(e)
		deadline = deadline.Add(time.Second)
		check(server.SetReadDeadline(deadline))
	}))
	require.NoError(t, err)
	require.NoError(t, client.Close())
	require.NoError(t, server.Close())
}
