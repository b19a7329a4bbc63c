package connection

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/wire"
)

// play lets a broker speak with a client that sends the script, in pieces of at
// most step octets, and hangs up. The connection must end, everything must be
// given back, and the memory that took must be in proportion to the script.
func play(t *testing.T, script []byte, step int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBroker(t)
		nc := newScripted(script)
		nc.step, nc.hangUp = step, true
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c := New(1, nc, b.config())
		b.start(c.Serve)
		select {
		case <-c.Done():
		case <-time.After(time.Minute): // virtual; the longest wait is half of it
			require.Fail(t, "the connection did not end")
		}
		runtime.ReadMemStats(&after)
		b.wg.Wait()
		b.balanced(t)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20+2000*len(script)))
	})
}

// FuzzConnection sends any octets: as they are, after a handshake, and as frames.
func FuzzConnection(f *testing.F) {
	f.Add(uint8(0), uint8(0), []byte(wire.ProtocolHeader))
	f.Add(uint8(0), uint8(1), opening(f, &wire.ConnectionTuneOK{ChannelMax: 1, FrameMax: 4096, Heartbeat: 1}))
	f.Add(uint8(0), uint8(3), []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(uint8(1), uint8(0), append(encoded(f, 1, &wire.ChannelOpen{}), published(f, 1, &wire.BasicPublish{}, []byte("x"), 0)...))
	f.Add(uint8(1), uint8(7), encoded(f, 0, &wire.ConnectionClose{}))
	all := make([]byte, 0, 4*len(fuzzSteps))
	for i := range fuzzSteps {
		all = append(all, byte(i), 1, 0, 0)
	}
	f.Add(uint8(2), uint8(0), all)
	f.Add(uint8(2), uint8(0), []byte{1, 1, 0, 0, 0, 1, 3, 4, 'a', 'b', 'c'})
	f.Fuzz(func(t *testing.T, kind, step uint8, p []byte) {
		tune := &wire.ConnectionTuneOK{ChannelMax: 3, FrameMax: 4096, Heartbeat: 5}
		switch kind % 3 {
		case 1:
			p = append(opening(t, tune), p...)
		case 2:
			p = append(opening(t, tune), fuzzFrames(t, p)...)
		}
		play(t, p, int(step))
	})
}

// fuzzFrames makes frames of any octets: each begins with what to send, the
// channel and how many octets of arguments follow.
func fuzzFrames(t testing.TB, p []byte) (out []byte) {
	for len(p) >= 3 {
		what, channel, n := int(p[0])%(len(fuzzSteps)+3), uint16(p[1]%5), int(p[2])
		args := p[3:min(len(p), 3+n)]
		p = p[3+len(args):]
		switch what -= len(fuzzSteps); what {
		case 0: // any arguments for any method
			id := wire.MakeID(60, 40)
			if len(args) >= 2 {
				id = fuzzIDs[(int(args[0])<<8|int(args[1]))%len(fuzzIDs)]
				args = args[2:]
			}
			out = append(out, methodFrame(channel, id, args...)...)
		case 1: // any payload for any type
			typ := uint8(wire.FrameBody)
			if len(args) >= 1 {
				typ, args = args[0]%10, args[1:]
			}
			out = append(out, frame(typ, channel, args)...)
		case 2: // any properties
			out = append(out, frame(wire.FrameHeader, channel, contentHeader(classBasic, 0, uint64(len(args)), args...))...)
		default:
			what += len(fuzzSteps)
			for _, m := range fuzzSteps[what] {
				out = append(out, encoded(t, channel, m)...)
				if m.ID().HasContent() {
					out = append(out, frame(wire.FrameHeader, channel, contentHeader(classBasic, 0, uint64(len(args)), 0, 0))...)
					out = append(out, frame(wire.FrameBody, channel, args)...)
				}
			}
		}
	}
	return out
}

// fuzzIDs are all methods there are.
var fuzzIDs = func() (ids []wire.ID) {
	for class := range uint16(100) {
		for method := range uint16(250) {
			if id := wire.MakeID(class, method); id.Known() {
				ids = append(ids, id)
			}
		}
	}
	return ids
}()

// fuzzSteps are things a client does.
var fuzzSteps = [][]wire.Method{
	{&wire.ChannelOpen{}},
	{&wire.ChannelClose{}},
	{&wire.ChannelCloseOK{}},
	{&wire.QueueDeclare{Queue: "q"}},
	{&wire.QueueDeclare{Exclusive: true}},
	{&wire.QueueDeclare{Queue: "none", Passive: true}}, // ends the channel
	{&wire.QueueDeclare{Queue: "gone", AutoDelete: true, NoWait: true}},
	{&wire.QueueBind{Queue: "q", Exchange: "amq.topic", RoutingKey: "a.#"}},
	{&wire.QueueBind{Queue: "q", Exchange: "amq.headers", Arguments: message.Table{{Name: "h", Value: int32(1)}}}},
	{&wire.QueueUnbind{Queue: "q", Exchange: "amq.topic", RoutingKey: "a.#"}},
	{&wire.QueuePurge{Queue: "q"}},
	{&wire.QueueDelete{Queue: "q"}},
	{&wire.ExchangeDeclare{Exchange: "x", Type: "fanout"}},
	{&wire.ExchangeBind{Destination: "x", Source: "amq.topic"}},
	{&wire.ExchangeDelete{Exchange: "x"}},
	{&wire.BasicPublish{RoutingKey: []byte("q")}},
	{&wire.BasicPublish{RoutingKey: []byte("no"), Mandatory: true}},
	{&wire.BasicPublish{Exchange: []byte("amq.topic"), RoutingKey: []byte("a.b")}},
	{&wire.BasicPublish{Exchange: []byte("none")}},
	{&wire.BasicConsume{Queue: "q"}},
	{&wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoAck: true}},
	{&wire.BasicConsume{Queue: "gone", Exclusive: true, NoWait: true}},
	{&wire.BasicCancel{ConsumerTag: "c"}},
	{&wire.BasicQos{PrefetchCount: 1}},
	{&wire.BasicQos{PrefetchCount: 2, Global: true}},
	{&wire.BasicGet{Queue: "q"}},
	{&wire.BasicAck{DeliveryTag: 1}},
	{&wire.BasicAck{Multiple: true}},
	{&wire.BasicNack{DeliveryTag: 1, Requeue: true}},
	{&wire.BasicNack{Multiple: true}},
	{&wire.BasicReject{DeliveryTag: 2}},
	{&wire.BasicRecover{Requeue: true}},
	{&wire.ConfirmSelect{}},
	{&wire.TxSelect{}},
	{&wire.TxCommit{}},
	{&wire.TxRollback{}},
	{&wire.ConnectionClose{}},
	{&wire.ConnectionCloseOK{}},
}
