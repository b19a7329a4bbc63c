package transport

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// blocking are the two ways to wait at the end of a pipe, which is made so that
// all of them do.
var blocking = []struct {
	name string
	call func(net.Conn) error
	set  func(net.Conn, time.Time) error
}{
	{"Read", func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }, net.Conn.SetReadDeadline},
	{"Write", func(c net.Conn) error { _, err := c.Write(make([]byte, 8)); return err }, net.Conn.SetWriteDeadline},
	{"Read by SetDeadline", func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }, net.Conn.SetDeadline},
	{"Write by SetDeadline", func(c net.Conn) error { _, err := c.Write(make([]byte, 8)); return err }, net.Conn.SetDeadline},
}

// bothEnds runs a test in a bubble for each end of a pipe that holds 4 octets
// each way.
func bothEnds(t *testing.T, f func(t *testing.T, c net.Conn)) {
	t.Helper()
	for i, name := range []string{"client", "server"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, server := Pipe(ToServer(4), ToClient(4))
				f(t, []net.Conn{client, server}[i])
				require.NoError(t, client.Close())
				require.NoError(t, server.Close())
			})
		})
	}
}

func TestDeadlineEndsACallAtItsInstant(t *testing.T) {
	t.Parallel()
	// at are the deadlines that are set, by when after the beginning; a call that
	// waits from the beginning fails at want.
	type at struct {
		when, deadline time.Duration // a deadline of 0 is none
	}
	for _, tc := range []struct {
		name string
		at   []at
		want time.Duration
	}{
		{"set before", []at{{0, time.Second}}, time.Second},
		{"past before", []at{{0, -time.Second}}, 0},
		{"set while it waits", []at{{time.Minute, time.Hour}}, time.Hour},
		{"past while it waits", []at{{time.Minute, time.Second}}, time.Minute},
		{"present while it waits", []at{{time.Minute, time.Minute}}, time.Minute},
		{"put off", []at{{0, time.Second}, {time.Millisecond, time.Hour}}, time.Hour},
		{"put off again and again", []at{{0, 3}, {1, 4}, {2, 5}, {3, 6}, {4, 7}}, 7},
		{"brought forward", []at{{0, time.Hour}, {time.Millisecond, time.Second}}, time.Second},
		{"put off, then brought forward", []at{{0, time.Minute}, {1, time.Hour}, {2, time.Second}}, time.Second},
		{"put off beyond the first, then brought forward", []at{{0, 10}, {1, 100}, {50, 60}}, 60},
		{"cleared and set again", []at{{0, time.Second}, {1, 0}, {time.Minute, time.Hour}}, time.Hour},
		{"same again", []at{{0, time.Second}, {1, time.Second}}, time.Second},
	} {
		for _, b := range blocking {
			t.Run(tc.name+"/"+b.name, func(t *testing.T) {
				t.Parallel()
				bothEnds(t, func(t *testing.T, c net.Conn) {
					begin := time.Now()
					set := func(a at) {
						var deadline time.Time
						if a.deadline != 0 {
							deadline = begin.Add(a.deadline)
						}
						assert.NoError(t, b.set(c, deadline))
					}
					later := tc.at
					if tc.at[0].when == 0 {
						set(tc.at[0])
						later = later[1:]
					}
					var wg sync.WaitGroup
					wg.Go(func() {
						for _, a := range later {
							time.Sleep(a.when - time.Since(begin))
							set(a)
						}
					})
					wantTimeout(t, b.call(c))
					require.Equal(t, tc.want, time.Since(begin))
					wg.Wait()
					wantTimeout(t, b.call(c)) // it stays past
				})
			})
		}
	}
}

func TestPassedDeadlineEndsAllCalls(t *testing.T) {
	t.Parallel()
	for _, b := range blocking {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			bothEnds(t, func(t *testing.T, c net.Conn) {
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() { wantTimeout(t, b.call(c)) })
				}
				synctest.Wait()
				require.NoError(t, b.set(c, time.Unix(1, 0)))
				wg.Wait()
			})
		})
	}
}

func TestClearedDeadlineLetsCallsWaitAgain(t *testing.T) {
	t.Parallel()
	inBothDirections(t, 4, func(t *testing.T, w, r net.Conn) {
		require.NoError(t, r.SetReadDeadline(time.Unix(1, 0)))
		require.NoError(t, w.SetWriteDeadline(time.Unix(1, 0)))
		_, err := w.Write([]byte("abc"))
		wantTimeout(t, err)
		require.NoError(t, w.SetWriteDeadline(time.Time{}))
		mustWrite(t, w, "abc")

		_, err = r.Read(make([]byte, 1))
		wantTimeout(t, err) // though there is something
		require.NoError(t, r.SetReadDeadline(time.Time{}))
		mustRead(t, r, "abc")

		require.NoError(t, r.SetReadDeadline(time.Now().Add(time.Second)))
		require.NoError(t, r.SetReadDeadline(time.Time{}))
		go func() {
			time.Sleep(halfHour)
			_, _ = w.Write([]byte("d")) // the reader sees what came of it
		}()
		mustRead(t, r, "d")
	})
}

func TestReadDeadlineLeavesWritesAlone(t *testing.T) {
	t.Parallel()
	inBothDirections(t, 4, func(t *testing.T, w, r net.Conn) {
		require.NoError(t, w.SetReadDeadline(time.Unix(1, 0)))
		require.NoError(t, r.SetWriteDeadline(time.Unix(1, 0)))
		mustWrite(t, w, "x")
		mustRead(t, r, "x")
	})
}

func TestTimedOutWriteTellsWhatItWrote(t *testing.T) {
	t.Parallel()
	inBothDirections(t, 4, func(t *testing.T, w, r net.Conn) {
		require.NoError(t, w.SetWriteDeadline(time.Now().Add(time.Second)))
		n, err := w.Write([]byte("abcdef"))
		wantTimeout(t, err)
		require.Equal(t, 4, n)
		mustRead(t, r, "abcd")
	})
}

func TestTimersRunOnlyForDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, peer := Pipe()
		in, out := &c.(*pipeConn).in.reader, &c.(*pipeConn).out.writer
		running := func() [2]bool { return [2]bool{!in.due.IsZero(), !out.due.IsZero()} }

		require.Equal(t, [2]bool{}, running())
		require.NoError(t, c.SetDeadline(time.Now().Add(time.Hour)))
		require.Equal(t, [2]bool{true, true}, running())
		require.NoError(t, c.SetReadDeadline(time.Unix(1, 0)))
		require.Equal(t, [2]bool{false, true}, running(), "past")
		require.NoError(t, c.SetDeadline(time.Time{}))
		require.Equal(t, [2]bool{}, running(), "cleared")
		require.NoError(t, c.SetDeadline(time.Now().Add(time.Second)))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, [2]bool{}, running(), "passed")
		require.NoError(t, c.SetDeadline(time.Now().Add(time.Second)))
		require.NoError(t, c.Close())
		require.Equal(t, [2]bool{}, running(), "closed")
		require.NoError(t, peer.Close())
	})
}

func TestOverlappingDeadlinesRace(t *testing.T) {
	t.Parallel()
	client, server := Pipe(ToServer(64), ToClient(64))
	var wg sync.WaitGroup
	for _, c := range []net.Conn{client, server} {
		for _, b := range blocking[:2] {
			for range 2 {
				wg.Go(func() {
					for range 50 {
						assert.NoError(t, b.set(c, time.Now().Add(50*time.Microsecond)))
						for range 3 {
							if err := b.call(c); err != nil {
								wantTimeout(t, err)
							}
						}
					}
				})
			}
		}
	}
	wg.Wait()
	require.NoError(t, client.Close())
	require.NoError(t, server.Close())
}
