//go:build !race

// Not under the race detector: it has memory of its own, and lets sync.Pool forget
// at random.

package connection

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/wire"
)

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
		"an answered burst and a heartbeat":   {after(oneChannel, answered, wire.AppendHeartbeat(nil)), small},
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
