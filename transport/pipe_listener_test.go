package transport

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestListenerConnectsDialWithAccept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ListenPipe(Names("app", "broker"), ToServer(4))
		require.Equal(t, Addr("broker"), l.Addr())
		for _, name := range []string{"app-1", "app-2"} {
			servers := make(chan net.Conn)
			go func() {
				time.Sleep(halfHour)
				s, err := l.Accept()
				if err != nil {
					close(servers)
					return
				}
				servers <- s
			}()
			begin := time.Now()
			c, err := l.Dial(t.Context())
			require.NoError(t, err)
			require.Equal(t, halfHour, time.Since(begin), "Dial waits")
			s := <-servers
			require.NotNil(t, s)
			require.Equal(t, Addr(name), s.RemoteAddr())
			require.Equal(t, Addr("broker"), s.LocalAddr())
			mustWrite(t, c, "to")
			mustRead(t, s, "to")
			mustWrite(t, s, "fro")
			mustRead(t, c, "fro")

			require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Second)))
			n, err := c.Write([]byte("12345"))
			wantTimeout(t, err)
			require.Equal(t, 4, n, "the listener's options hold")
			require.NoError(t, c.Close())
			require.NoError(t, s.Close())
		}
		require.NoError(t, l.Close())
	})
}

func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ListenPipe()
		ctx, cancel := context.WithTimeout(t.Context(), halfHour)
		defer cancel()
		begin := time.Now()
		for range 2 { // while it waits, and beforehand
			c, err := l.Dial(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			var oe *net.OpError
			require.ErrorAs(t, err, &oe)
			require.True(t, oe.Timeout())
			require.Nil(t, c)
			require.Equal(t, halfHour, time.Since(begin))
		}
		require.NoError(t, l.Close())
	})
}

func TestClosedListener(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		call func(context.Context, *PipeListener) (net.Conn, error)
	}{
		{"Dial", func(ctx context.Context, l *PipeListener) (net.Conn, error) { return l.Dial(ctx) }},
		{"Accept", func(_ context.Context, l *PipeListener) (net.Conn, error) { return l.Accept() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := ListenPipe()
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						c, err := tc.call(t.Context(), l)
						assert.ErrorIs(t, err, net.ErrClosed)
						assert.Nil(t, c)
					})
				}
				synctest.Wait()
				require.NoError(t, l.Close())
				wg.Wait()
				require.NoError(t, l.Close())
				_, err := tc.call(t.Context(), l)
				require.ErrorIs(t, err, net.ErrClosed)
			})
		})
	}
}

func TestConnectionsOutliveTheirListener(t *testing.T) {
	t.Parallel()
	l := ListenPipe()
	servers := make(chan net.Conn, 1)
	go func() {
		s, _ := l.Accept() // nil if it failed
		servers <- s
	}()
	c, err := l.Dial(t.Context())
	require.NoError(t, err)
	s := <-servers
	require.NoError(t, l.Close())
	mustWrite(t, c, "still there")
	mustRead(t, s, "still there")
	require.NoError(t, c.Close())
	require.NoError(t, s.Close())
}
