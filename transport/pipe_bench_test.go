package transport

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// links are the connections to compare: those of this package beside what there
// is otherwise. The first end is the one that writes.
var links = []struct {
	name string
	make func(testing.TB) (writer, reader net.Conn)
}{
	{"ToServer", func(testing.TB) (net.Conn, net.Conn) { return Pipe() }},
	{"ToClient", func(testing.TB) (net.Conn, net.Conn) {
		client, server := Pipe()
		return server, client
	}},
	{"net.Pipe", func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() }},
	{"TCP", func(tb testing.TB) (net.Conn, net.Conn) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(tb, err)
		defer l.Close()
		client, err := net.Dial("tcp", l.Addr().String())
		require.NoError(tb, err)
		server, err := l.Accept()
		require.NoError(tb, err)
		return client, server
	}},
}

var writeSizes = []struct {
	name string
	size int
}{{"64B", 64}, {"16KiB", 16 << 10}}

// BenchmarkStream writes as fast as the other end reads.
func BenchmarkStream(b *testing.B) {
	for _, link := range links {
		for _, w := range writeSizes {
			b.Run(link.name+"/"+w.name, func(b *testing.B) {
				out, in := link.make(b)
				defer in.Close()
				read := make(chan int64)
				go func() {
					n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{in}, make([]byte, 64<<10))
					read <- n
				}()
				p := make([]byte, w.size)
				b.SetBytes(int64(w.size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := out.Write(p); err != nil {
						b.Fatal(err)
					}
				}
				out.Close()
				require.EqualValues(b, b.N*w.size, <-read)
			})
		}
	}
}

// BenchmarkPingPong sends to and fro, so that somebody waits each time.
func BenchmarkPingPong(b *testing.B) {
	for _, link := range links {
		if link.name == "ToClient" {
			continue // both ways are used anyway
		}
		for _, w := range writeSizes {
			b.Run(link.name+"/"+w.name, func(b *testing.B) {
				here, there := link.make(b)
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer there.Close()
					p := make([]byte, w.size)
					for {
						if _, err := io.ReadFull(there, p); err != nil {
							return
						}
						if _, err := there.Write(p); err != nil {
							return
						}
					}
				}()
				p := make([]byte, w.size)
				b.SetBytes(2 * int64(w.size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := here.Write(p); err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadFull(here, p); err != nil {
						b.Fatal(err)
					}
				}
				here.Close()
				<-done
			})
		}
	}
}
