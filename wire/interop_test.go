package wire_test

import (
	"net"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/wire"
)

// peer is the server's end of a connection to the official client. It answers
// every method with success, and keeps what the client sent. It checks that
// each method and its arguments, written again, are the octets that came.
type peer struct {
	t       *testing.T
	conn    net.Conn
	in      []byte
	seen    map[wire.ID]wire.Method
	props   []byte
	body    []byte
	missing uint64
	pending *wire.BasicPublish
	tag     uint64
}

const peerFrameMax = 4096

func (p *peer) frame() (wire.Frame, bool) {
	buf := make([]byte, 4096)
	for {
		f, n, err := wire.ParseFrame(p.in, peerFrameMax)
		if err != nil {
			p.t.Error(err)
			return f, false
		}
		if n > 0 {
			p.in = p.in[n:]
			return f, true
		}
		n, err = p.conn.Read(buf)
		if err != nil {
			p.t.Error(err)
			return f, false
		}
		p.in = append(p.in, buf[:n]...)
	}
}

func (p *peer) send(octets []byte) {
	if _, err := p.conn.Write(octets); err != nil {
		p.t.Error(err)
	}
}

func (p *peer) method(channel uint16, m wire.Method) {
	octets, err := wire.AppendMethodFrame(nil, channel, m)
	if err != nil {
		p.t.Error(err)
	}
	p.send(octets)
}

// serve runs the connection until the client has closed it.
func (p *peer) serve() {
	defer p.conn.Close()
	header := make([]byte, len(wire.ProtocolHeader))
	if _, err := p.conn.Read(header); err != nil || string(header) != wire.ProtocolHeader {
		p.t.Errorf("protocol header %q, %v", header, err)
		return
	}
	p.method(0, &wire.ConnectionStart{VersionMinor: 9, Mechanisms: "AMQPLAIN PLAIN", Locales: "en_US",
		ServerProperties: message.Table{{Name: "product", Value: "peer"}, {Name: "capabilities", Value: message.Table{{Name: "basic.nack", Value: true}}}}})
	for {
		f, ok := p.frame()
		if !ok {
			return
		}
		switch f.Type {
		case wire.FrameMethod:
			m, err := wire.Decode(f.Payload)
			if err != nil {
				p.t.Error(err)
				return
			}
			again, err := m.Append(nil)
			if err != nil || string(again) != string(f.Payload) {
				p.t.Errorf("%s: %v: came as\n%x, written as\n%x", m.ID(), err, f.Payload, again)
			}
			if !m.ID().FromClient() {
				p.t.Errorf("the client sends %s", m.ID())
			}
			p.seen[m.ID()] = m
			if p.answer(f.Channel, m); m.ID() == wire.ConnectionCloseID {
				return
			}
		case wire.FrameHeader:
			h, err := wire.ParseContentHeader(f.Payload)
			if err != nil || h.Class != 60 || h.Weight != 0 {
				p.t.Errorf("content header %+v, %v", h, err)
			}
			p.props, p.body, p.missing = h.Props, nil, h.BodySize
			p.content(f.Channel)
		case wire.FrameBody:
			p.body = append(p.body, f.Payload...)
			p.missing -= uint64(len(f.Payload))
			p.content(f.Channel)
		}
	}
}

// content handles a publish once its body is there: it comes back as a return
// if it is mandatory, as a delivery otherwise; the routing key "nack" refuses it.
func (p *peer) content(channel uint16) {
	if p.missing > 0 {
		return
	}
	p.tag++
	x, key := string(p.pending.Exchange), string(p.pending.RoutingKey)
	var out []byte
	if p.pending.Mandatory {
		out = wire.AppendReturn(out, channel, 312, "NO_ROUTE", x, key)
	} else {
		out = wire.AppendDeliver(out, channel, "ctag", p.tag, true, x, key)
	}
	out = wire.AppendHeaderFrame(out, channel, 60, uint64(len(p.body)), p.props)
	out = wire.AppendBodyFrames(out, channel, p.body, peerFrameMax)
	if key == "nack" {
		out = wire.AppendNack(out, channel, p.tag, false)
	} else {
		out = wire.AppendAck(out, channel, p.tag, false)
	}
	p.send(out)
}

func (p *peer) answer(channel uint16, m wire.Method) {
	switch m := m.(type) {
	case *wire.ConnectionStartOK:
		p.method(0, &wire.ConnectionTune{ChannelMax: 2047, FrameMax: peerFrameMax})
	case *wire.QueueDeclare:
		p.method(channel, &wire.QueueDeclareOK{Queue: m.Queue, MessageCount: 3, ConsumerCount: 4})
	case *wire.QueuePurge:
		p.method(channel, &wire.QueuePurgeOK{MessageCount: 5})
	case *wire.QueueDelete:
		p.method(channel, &wire.QueueDeleteOK{MessageCount: 6})
	case *wire.BasicConsume:
		p.method(channel, &wire.BasicConsumeOK{ConsumerTag: m.ConsumerTag})
	case *wire.BasicCancel:
		p.method(channel, &wire.BasicCancelOK{ConsumerTag: m.ConsumerTag})
	case *wire.BasicPublish:
		p.pending = m
	case *wire.BasicGet:
		if m.Queue == "empty" {
			p.method(channel, &wire.BasicGetEmpty{})
			return
		}
		out := wire.AppendGetOK(nil, channel, 99, true, "x", "k", 7)
		out = wire.AppendHeaderFrame(out, channel, 60, 0, []byte{0, 0})
		p.send(out)
	case *wire.ChannelFlow:
		p.method(channel, &wire.ChannelFlowOK{Active: m.Active})
	case *wire.ConnectionUpdateSecret:
		p.method(0, &wire.ConnectionUpdateSecretOK{})
		p.method(0, &wire.ConnectionBlocked{Reason: "low on memory"})
		p.method(0, &wire.ConnectionUnblocked{})
	case *wire.ExchangeUnbind:
		p.method(channel, &wire.ExchangeUnbindOK{})
	default:
		// The answer to all others has no arguments, or empty ones, and the
		// next number.
		if m.ID().Sync() {
			ok, found := wire.New(m.ID() + 1)
			if !found {
				p.t.Errorf("no answer to %s", m.ID())
				return
			}
			p.method(channel, ok)
		}
	}
}

// withPeer runs a test with an official client's connection and channel, closes
// them, and then gives the peer with what it has seen.
func withPeer(t *testing.T, test func(*amqp.Connection, *amqp.Channel)) *peer {
	t.Helper()
	client, server := net.Pipe()
	p := &peer{t: t, conn: server, seen: map[wire.ID]wire.Method{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.serve()
	}()
	conn, err := amqp.Open(client, amqp.Config{
		SASL: []amqp.Authentication{&amqp.PlainAuth{Username: "guest", Password: "guest"}}, Vhost: "/", Locale: "en_US",
	})
	require.NoError(t, err)
	ch, err := conn.Channel()
	require.NoError(t, err)
	test(conn, ch)
	require.NoError(t, ch.Close())
	require.NoError(t, conn.Close())
	<-done
	return p
}

var clientTable = amqp.Table{
	"bool": true, "byte": int8(-1), "ubyte": byte(200), "short": int16(-2), "ushort": uint16(60000),
	"int": int32(-3), "uint": uint32(4000000000), "long": int64(-4), "float": float32(1.5), "double": -2.5,
	"decimal": amqp.Decimal{Scale: 2, Value: 314}, "string": "text", "binary": []byte{0, 255},
	"time": time.Unix(1700000000, 0), "table": amqp.Table{"in": "side"}, "array": []any{int32(1), "two", nil}, "void": nil,
}

// warrenTable is clientTable, sorted.
var warrenTable = message.Table{
	{Name: "array", Value: []any{int32(1), "two", nil}}, {Name: "binary", Value: []byte{0, 255}},
	{Name: "bool", Value: true}, {Name: "byte", Value: int8(-1)},
	{Name: "decimal", Value: message.Decimal{Scale: 2, Value: 314}}, {Name: "double", Value: -2.5},
	{Name: "float", Value: float32(1.5)}, {Name: "int", Value: int32(-3)}, {Name: "long", Value: int64(-4)},
	{Name: "short", Value: int16(-2)}, {Name: "string", Value: "text"},
	{Name: "table", Value: message.Table{{Name: "in", Value: "side"}}},
	{Name: "time", Value: time.Unix(1700000000, 0)}, {Name: "ubyte", Value: byte(200)},
	{Name: "uint", Value: uint32(4000000000)}, {Name: "ushort", Value: uint16(60000)}, {Name: "void"},
}

func TestOfficialClientsMethodsAreUnderstood(t *testing.T) {
	t.Parallel()
	p := withPeer(t, func(conn *amqp.Connection, ch *amqp.Channel) {
		blocked := conn.NotifyBlocked(make(chan amqp.Blocking, 2))
		require.NoError(t, ch.ExchangeDeclare("x", "topic", true, false, true, false, clientTable))
		require.NoError(t, ch.ExchangeBind("d", "k", "s", false, clientTable))
		require.NoError(t, ch.ExchangeUnbind("d", "k", "s", false, nil))
		require.NoError(t, ch.ExchangeDelete("x", true, false))
		q, err := ch.QueueDeclare("q", true, false, true, false, clientTable)
		require.NoError(t, err)
		require.Equal(t, amqp.Queue{Name: "q", Messages: 3, Consumers: 4}, q)
		require.NoError(t, ch.QueueBind("q", "k", "x", false, nil))
		require.NoError(t, ch.QueueUnbind("q", "k", "x", clientTable))
		n, err := ch.QueuePurge("q", false)
		require.NoError(t, err)
		require.Equal(t, 5, n)
		n, err = ch.QueueDelete("q", true, true, false)
		require.NoError(t, err)
		require.Equal(t, 6, n)
		require.NoError(t, ch.Qos(10, 0, true))
		_, err = ch.Consume("q", "ctag", false, true, true, false, nil)
		require.NoError(t, err)
		require.NoError(t, ch.Cancel("ctag", false))
		require.NoError(t, ch.Ack(1, true))
		require.NoError(t, ch.Nack(2, false, true))
		require.NoError(t, ch.Reject(3, true))
		//lint:ignore SA1019 it is deprecated for those who write clients, and still a method of the protocol
		require.NoError(t, ch.Recover(true))
		require.NoError(t, ch.Flow(true))
		require.NoError(t, ch.Tx())
		require.NoError(t, ch.TxCommit())
		require.NoError(t, ch.TxRollback())
		_, ok, err := ch.Get("empty", false)
		require.NoError(t, err)
		require.False(t, ok)
		d, ok, err := ch.Get("q", true)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, uint32(7), d.MessageCount)
		require.Equal(t, "k", d.RoutingKey)
		require.NoError(t, conn.UpdateSecret("new", "why"))
		require.Equal(t, amqp.Blocking{Active: true, Reason: "low on memory"}, <-blocked)
		require.Equal(t, amqp.Blocking{}, <-blocked)
	})
	seen := p.seen
	declare := seen[wire.QueueDeclareID].(*wire.QueueDeclare)
	require.True(t, warrenTable.Equal(declare.Arguments.Sorted()), "%v", declare.Arguments.Sorted())
	declare.Arguments = nil
	require.Equal(t, &wire.QueueDeclare{Queue: "q", Durable: true, Exclusive: true}, declare)
	require.Equal(t, &wire.ExchangeUnbind{Destination: "d", RoutingKey: "k", Source: "s"}, seen[wire.ExchangeUnbindID])
	require.Equal(t, &wire.QueueDelete{Queue: "q", IfUnused: true, IfEmpty: true}, seen[wire.QueueDeleteID])
	require.Equal(t, &wire.BasicConsume{Queue: "q", ConsumerTag: "ctag", NoLocal: true, Exclusive: true}, seen[wire.BasicConsumeID])
	require.Equal(t, &wire.BasicQos{PrefetchCount: 10, Global: true}, seen[wire.BasicQosID])
	require.Equal(t, &wire.BasicAck{DeliveryTag: 1, Multiple: true}, seen[wire.BasicAckID])
	require.Equal(t, &wire.BasicNack{DeliveryTag: 2, Requeue: true}, seen[wire.BasicNackID])
	require.Equal(t, &wire.BasicReject{DeliveryTag: 3, Requeue: true}, seen[wire.BasicRejectID])
	require.Equal(t, &wire.ConnectionOpen{VirtualHost: "/"}, seen[wire.ConnectionOpenID])
	require.Equal(t, &wire.ConnectionTuneOK{ChannelMax: 2047, FrameMax: peerFrameMax}, seen[wire.ConnectionTuneOKID])
	require.Equal(t, "PLAIN", seen[wire.ConnectionStartOKID].(*wire.ConnectionStartOK).Mechanism)
	require.Equal(t, "why", seen[wire.ConnectionUpdateSecretID].(*wire.ConnectionUpdateSecret).Reason)
	require.Equal(t, uint16(200), seen[wire.ConnectionCloseID].(*wire.ConnectionClose).ReplyCode)
}

func TestOfficialClientsMessagesRoundTrip(t *testing.T) {
	t.Parallel()
	body := make([]byte, 3*peerFrameMax)
	for i := range body {
		body[i] = byte(i)
	}
	msg := amqp.Publishing{
		Headers: clientTable, ContentType: "ct", ContentEncoding: "ce", DeliveryMode: 2, Priority: 3,
		CorrelationId: "ci", ReplyTo: "rt", Expiration: "100", MessageId: "mi", Timestamp: time.Unix(1700000000, 0),
		Type: "ty", UserId: "guest", AppId: "ai", Body: body,
	}
	p := withPeer(t, func(_ *amqp.Connection, ch *amqp.Channel) {
		returns := ch.NotifyReturn(make(chan amqp.Return, 1))
		deliveries, err := ch.Consume("q", "ctag", false, false, false, false, nil)
		require.NoError(t, err)
		require.NoError(t, ch.Confirm(false))
		publish := func(key string, mandatory bool) bool {
			confirm, err := ch.PublishWithDeferredConfirm("x", key, mandatory, false, msg)
			require.NoError(t, err)
			acked, err := confirm.WaitContext(t.Context())
			require.NoError(t, err)
			return acked
		}
		require.True(t, publish("k", false))
		d := <-deliveries
		require.Equal(t, []any{"x", "k", "ctag", uint64(1), true}, []any{d.Exchange, d.RoutingKey, d.ConsumerTag, d.DeliveryTag, d.Redelivered})
		require.Equal(t, msg, amqp.Publishing{
			Headers: d.Headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: d.DeliveryMode,
			Priority: d.Priority, CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo, Expiration: d.Expiration, MessageId: d.MessageId,
			Timestamp: d.Timestamp, Type: d.Type, UserId: d.UserId, AppId: d.AppId, Body: d.Body,
		})

		require.True(t, publish("k", true))
		r := <-returns
		require.Equal(t, uint16(312), r.ReplyCode)
		require.Equal(t, "NO_ROUTE", r.ReplyText)
		require.Equal(t, body, r.Body)

		require.False(t, publish("nack", false))
	})
	// The client's properties mean the same to Warren, and have the same octets.
	props, err := message.DecodeProperties(p.props)
	require.NoError(t, err)
	again, err := props.Append(nil)
	require.NoError(t, err)
	require.Equal(t, p.props, again)
	require.True(t, warrenTable.Equal(props.Headers.Sorted()))
	props.Headers = nil
	want := message.Properties{
		ContentType: "ct", ContentEncoding: "ce", DeliveryMode: 2, Priority: 3,
		CorrelationID: "ci", ReplyTo: "rt", Expiration: "100", MessageID: "mi", Timestamp: time.Unix(1700000000, 0).UTC(),
		Type: "ty", UserID: "guest", AppID: "ai",
	}
	want.Mark(props.Present())
	require.Equal(t, want, props)
}
