package warren_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
)

func startForLoad(t testing.TB) (*warren.Broker, string) {
	t.Helper()
	return start(t, warren.Options{})
}

// BenchmarkPublishConsume sends messages from one connection to another through
// one queue over loopback TCP. One operation is one message; the time includes
// that of the client, which runs on the same processors.
//
//	go test -run '^$' -bench PublishConsume .
func BenchmarkPublishConsume(b *testing.B) {
	for _, size := range []int{16, 1024} {
		for _, m := range modes {
			b.Run(fmt.Sprintf("%dB/%s", size, m.name), func(b *testing.B) {
				_, addr := startForLoad(b)
				l := newLoad(b, addr, size, m.manualAck, m.confirmed)
				run(b, l)
			})
		}
	}
}

// The publisher sends chunk messages at a time, and no more than window chunks
// ahead of the consumer and of the confirms.
const (
	chunk  = 64
	window = 32
)

func run(b *testing.B, l *load) {
	b.ReportAllocs()
	b.SetBytes(int64(len(l.one)))
	chunks := make(chan struct{}, window)
	failed := make(chan error, 1)
	go func() {
		for range chunks {
			if err := l.consume(chunk); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	n := 0
	for b.Loop() {
		if n++; n%chunk > 0 {
			continue
		}
		chunks <- struct{}{} // waits while the consumer is far behind
		require.NoError(b, l.publish(chunk))
		if n > window*chunk {
			require.NoError(b, l.confirms(uint64(n-window*chunk)))
		}
	}
	close(chunks)
	require.NoError(b, <-failed)
}

// BenchmarkConnect opens and closes a connection with a channel.
func BenchmarkConnect(b *testing.B) {
	_, addr := startForLoad(b)
	b.ReportAllocs()
	for b.Loop() {
		c := dialRaw(b, addr)
		require.NoError(b, c.Close())
	}
}
