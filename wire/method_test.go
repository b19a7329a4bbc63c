package wire_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/wire"
)

// knownIDs finds all methods there are by asking for each possible one.
func knownIDs() (ids []wire.ID) {
	for class := range uint16(256) {
		for method := range uint16(256) {
			if id := wire.MakeID(class, method); id.Known() {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

func TestThereAreAllMethods(t *testing.T) {
	t.Parallel()
	ids := knownIDs()
	require.Len(t, ids, 69)
	for _, id := range ids {
		m, ok := wire.New(id)
		require.True(t, ok)
		require.Equal(t, id, m.ID())
		require.True(t, id.FromClient() || id.FromServer())
		name := reflect.TypeOf(m).Elem().Name()
		require.Equal(t, strings.ToLower(name), strings.NewReplacer(".", "", "-", "").Replace(id.String()))
	}
	_, ok := wire.New(wire.MakeID(60, 99))
	require.False(t, ok)
}

func TestIDsSayWhatTheirMethodsAre(t *testing.T) {
	t.Parallel()
	id := wire.BasicPublishID
	require.Equal(t, uint16(60), id.Class())
	require.Equal(t, uint16(40), id.Method())
	require.Equal(t, "basic.publish", id.String())
	require.True(t, id.HasContent() && id.FromClient())
	require.False(t, id.Sync() || id.FromServer())

	require.True(t, wire.BasicCancelID.FromClient() && wire.BasicCancelID.FromServer() && wire.BasicCancelID.Sync())
	require.Equal(t, wire.MakeID(40, 51), wire.ExchangeUnbindOKID, "not 40,41")
	require.Equal(t, "60.99", wire.MakeID(60, 99).String())
	require.False(t, wire.MakeID(60, 99).HasContent())

	content := 0
	for _, id := range knownIDs() {
		if id.HasContent() {
			content++
		}
	}
	require.Equal(t, 4, content)
}

// vectors are methods with the octets of their payload, written by hand from
// the specification.
var vectors = []struct {
	method  wire.Method
	payload string
}{
	{&wire.ChannelOpen{}, "\x00\x14\x00\x0a\x00"},
	{&wire.ChannelOpenOK{}, "\x00\x14\x00\x0b\x00\x00\x00\x00"},
	{&wire.ConnectionStart{VersionMinor: 9, Mechanisms: "PLAIN", Locales: "en_US"},
		"\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x05en_US"},
	{&wire.ConnectionStart{VersionMajor: 8, Mechanisms: "PLAIN"},
		"\x00\x0a\x00\x0a\x08\x00\x00\x00\x00\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x00"},
	{&wire.ConnectionStartOK{Mechanism: "PLAIN", Response: []byte("\x00u\x00p"), Locale: "en_US"},
		"\x00\x0a\x00\x0b\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x04\x00u\x00p\x05en_US"},
	{&wire.ConnectionTune{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60},
		"\x00\x0a\x00\x1e\x07\xff\x00\x02\x00\x00\x00\x3c"},
	{&wire.ConnectionOpen{VirtualHost: "/", Insist: true}, "\x00\x0a\x00\x28\x01/\x00\x01"},
	{&wire.ConnectionClose{ReplyCode: 320, ReplyText: "bye", ClassID: 60, MethodID: 40},
		"\x00\x0a\x00\x32\x01\x40\x03bye\x00\x3c\x00\x28"},
	{&wire.ConnectionCloseOK{}, "\x00\x0a\x00\x33"},
	{&wire.ExchangeDeclare{Exchange: "x", Type: "topic", Durable: true, Internal: true},
		"\x00\x28\x00\x0a\x00\x00\x01x\x05topic\x0a\x00\x00\x00\x00"},
	{&wire.QueueDeclare{Queue: "q", Passive: true, NoWait: true, Arguments: message.Table{{Name: "n", Value: int32(1)}}},
		"\x00\x32\x00\x0a\x00\x00\x01q\x11\x00\x00\x00\x07\x01nI\x00\x00\x00\x01"},
	{&wire.QueueUnbind{Queue: "q", Exchange: "x", RoutingKey: "k"},
		"\x00\x32\x00\x32\x00\x00\x01q\x01x\x01k\x00\x00\x00\x00"},
	{&wire.QueueDeleteOK{MessageCount: 258}, "\x00\x32\x00\x29\x00\x00\x01\x02"},
	{&wire.BasicPublish{Exchange: []byte("x"), RoutingKey: []byte("\xff"), Mandatory: true},
		"\x00\x3c\x00\x28\x00\x00\x01x\x01\xff\x01"},
	{&wire.BasicReturn{ReplyCode: 312, ReplyText: []byte("NO_ROUTE"), Exchange: []byte("x"), RoutingKey: []byte("k")},
		"\x00\x3c\x00\x32\x01\x38\x08NO_ROUTE\x01x\x01k"},
	{&wire.BasicDeliver{ConsumerTag: []byte("c"), DeliveryTag: 258, Redelivered: true, Exchange: []byte("x"), RoutingKey: []byte("k")},
		"\x00\x3c\x00\x3c\x01c\x00\x00\x00\x00\x00\x00\x01\x02\x01\x01x\x01k"},
	{&wire.BasicGetOK{DeliveryTag: 1, Exchange: []byte("x"), RoutingKey: []byte("k"), MessageCount: 7},
		"\x00\x3c\x00\x47\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01x\x01k\x00\x00\x00\x07"},
	{&wire.BasicGetEmpty{}, "\x00\x3c\x00\x48\x00"},
	{&wire.BasicAck{DeliveryTag: 3, Multiple: true}, "\x00\x3c\x00\x50\x00\x00\x00\x00\x00\x00\x00\x03\x01"},
	{&wire.BasicNack{DeliveryTag: 3, Requeue: true}, "\x00\x3c\x00\x78\x00\x00\x00\x00\x00\x00\x00\x03\x02"},
	{&wire.BasicCredit{ConsumerTag: "c", Credit: 1, Drain: true}, "\x00\x3c\x00\xc8\x01c\x00\x00\x00\x01\x01"},
	{&wire.AccessRequestOK{Ticket: 1}, "\x00\x1e\x00\x0b\x00\x01"},
	{&wire.TxRollbackOK{}, "\x00\x5a\x00\x1f"},
}

func TestMethodsHaveTheOctetsOfTheSpecification(t *testing.T) {
	t.Parallel()
	for _, v := range vectors {
		got, err := v.method.Append([]byte("before"))
		require.NoError(t, err)
		require.Equal(t, "before"+v.payload, string(got), v.method.ID())
	}
}

func TestTheTicketIsIgnored(t *testing.T) {
	t.Parallel()
	m, err := wire.Decode([]byte("\x00\x3c\x00\x46\x12\x34\x01q\x01"))
	require.NoError(t, err)
	require.Equal(t, &wire.BasicGet{Queue: "q", NoAck: true}, m)
}

func TestUnusedBitsAreIgnored(t *testing.T) {
	t.Parallel()
	m, err := wire.Decode([]byte("\x00\x14\x00\x14\xfe"))
	require.NoError(t, err)
	require.Equal(t, &wire.ChannelFlow{}, m)
}

func TestEveryMethodRoundTrips(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, id := range knownIDs() {
		for range 50 {
			m, _ := wire.New(id)
			fill(rnd, reflect.ValueOf(m).Elem())
			payload, err := m.Append(nil)
			require.NoError(t, err)
			got, err := wire.Decode(payload)
			require.NoError(t, err, "%s %x", id, payload)
			require.Equal(t, m, got)
			again, err := got.Append(nil)
			require.NoError(t, err)
			require.Equal(t, payload, again)

			// What is exact cannot be longer or shorter.
			var decode *wire.DecodeError
			_, err = wire.Decode(append(payload, 0))
			require.ErrorAs(t, err, &decode)
			require.Equal(t, id, decode.ID)
			if cut := rnd.IntN(len(payload)); cut >= 4 {
				_, err = wire.Decode(payload[:cut])
				require.ErrorAs(t, err, &decode, "%s %x", id, payload[:cut])
				require.Equal(t, payload[4:cut], decode.Args)
			}
		}
	}
}

// fill gives each field of a method a random value.
func fill(rnd *rand.Rand, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		switch f.Kind() {
		case reflect.Bool:
			f.SetBool(rnd.IntN(2) == 1)
		case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			f.SetUint(rnd.Uint64() >> (64 - f.Type().Bits()))
		case reflect.String:
			f.SetString(strings.Repeat("é", rnd.IntN(128)))
		case reflect.Slice:
			if f.Type() == reflect.TypeFor[message.Table]() {
				f.Set(reflect.ValueOf(randomTable(rnd, 3)))
				continue
			}
			p := make([]byte, rnd.IntN(256))
			for i := range p {
				p[i] = byte(rnd.Uint32())
			}
			f.SetBytes(p)
		}
	}
}

func randomTable(rnd *rand.Rand, depth int) message.Table {
	var t message.Table
	for range rnd.IntN(4) {
		values := []any{
			nil, true, int8(-1), uint8(1), int16(-2), uint16(2), int32(-3), uint32(3), int64(rnd.Int64()),
			float32(0.5), rnd.Float64(), message.Decimal{Scale: 1, Value: 2}, "s\xff", []byte{0, 1},
			time.Unix(rnd.Int64N(1<<40), 0).UTC(),
		}
		if depth > 0 {
			inner := randomTable(rnd, depth-1)
			if inner == nil {
				inner = message.Table{}
			}
			values = append(values, inner, []any{inner, int32(5)})
		}
		t = append(t, message.Field{Name: strings.Repeat("n", rnd.IntN(5)), Value: values[rnd.IntN(len(values))]})
	}
	return t
}

func TestBrokenMethodsAreToldApart(t *testing.T) {
	t.Parallel()
	const declare = "\x00\x32\x00\x0a\x00\x00"
	var decode *wire.DecodeError

	for name, payload := range map[string]string{
		"no arguments":             "\x00\x32\x00\x0a",
		"shortstr past the end":    declare + "\x05ab",
		"table past the end":       declare + "\x01q\x00\x00\x00\x00\x01",
		"table of 4 GiB":           declare + "\x01q\x00\xff\xff\xff\xff",
		"trailing octet":           "\x00\x14\x00\x0a\x00z",
		"shape before UTF-8":       declare + "\x01\xff\x00\x00\x00\x00\x01",
		"shape before the table":   declare + "\x01q\x00\x00\x00\x00\x03\x01az\x00",
		"no arguments wanted":      "\x00\x0a\x00\x33\x00",
		"longstr past the end":     "\x00\x0a\x00\x15\x00\x00\x00\x02x",
		"long integer cut":         "\x00\x3c\x00\x50\x00\x00\x00\x00\x00\x00\x00",
		"bits cut":                 "\x00\x3c\x00\x50\x00\x00\x00\x00\x00\x00\x00\x03",
		"publish with an octet on": "\x00\x3c\x00\x28\x00\x00\x00\x00\x00z",
	} {
		_, err := wire.Decode([]byte(payload))
		require.ErrorAs(t, err, &decode, name)
		require.Equal(t, payload[4:], string(decode.Args), name)
		require.NotErrorIs(t, err, wire.ErrUTF8)
		require.NotErrorIs(t, err, message.ErrBadTable)
	}

	_, err := wire.Decode([]byte(declare + "\x01\xff\x00\x00\x00\x00\x03\x01az"))
	require.ErrorIs(t, err, wire.ErrUTF8, "strings are looked at before tables")
	require.ErrorContains(t, err, "queue.declare: queue")
	require.NotErrorIs(t, err, message.ErrBadTable)

	_, err = wire.Decode([]byte(declare + "\x01q\x00\x00\x00\x00\x03\x01az"))
	require.ErrorIs(t, err, message.ErrBadTable)
	require.ErrorContains(t, err, `queue.declare: arguments: field "a"`)
	require.False(t, errors.As(err, &decode))

	_, err = wire.Decode([]byte("\x00\x3c\x00\x63"))
	require.ErrorIs(t, err, wire.ErrUnknownMethod)
	require.ErrorContains(t, err, "60.99")
	_, err = wire.Decode([]byte("\x00\x3c\x00"))
	require.ErrorIs(t, err, wire.ErrShortMethod)
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 256)
	for _, m := range []wire.Method{
		&wire.QueueBind{Queue: "q", Exchange: long, RoutingKey: long},
		&wire.BasicPublish{Exchange: []byte(long)},
	} {
		dst, err := m.Append([]byte("dst"))
		require.ErrorIs(t, err, wire.ErrTooLong)
		require.ErrorContains(t, err, m.ID().String()+": exchange: ", "the first error counts")
		require.Equal(t, "dst", string(dst))
		dst, err = wire.AppendMethodFrame([]byte("dst"), 1, m)
		require.ErrorIs(t, err, wire.ErrTooLong)
		require.Equal(t, "dst", string(dst))
	}
	_, err := (&wire.QueueDeclare{Arguments: message.Table{{Name: "a", Value: struct{}{}}}}).Append(nil)
	require.ErrorIs(t, err, message.ErrBadTable)
	require.ErrorContains(t, err, `queue.declare: arguments: field "a"`)
}

// The hot methods alias the payload, and decode without an allocation.
func TestHotMethodsDecodeWithoutAllocation(t *testing.T) {
	for _, m := range []wire.Method{
		&wire.BasicPublish{Exchange: []byte("exchange"), RoutingKey: []byte("routing.key"), Mandatory: true},
		&wire.BasicAck{DeliveryTag: 5}, &wire.BasicNack{DeliveryTag: 5}, &wire.BasicReject{DeliveryTag: 5},
	} {
		payload, err := m.Append(nil)
		require.NoError(t, err)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if err := m.Decode(payload[4:]); err != nil {
				t.Error(err)
			}
		}), m.ID())
	}
	payload := []byte("\x00\x3c\x00\x28\x00\x00\x01x\x01k\x00")
	var m wire.BasicPublish
	require.NoError(t, m.Decode(payload[4:]))
	payload[7] = 'y'
	require.Equal(t, "y", string(m.Exchange))
	require.Equal(t, 1, cap(m.Exchange), "appending must not write into the payload")
}

func FuzzMethod(f *testing.F) {
	for _, v := range vectors {
		f.Add([]byte(v.payload))
	}
	for _, id := range knownIDs() {
		f.Add(binary.BigEndian.AppendUint32(nil, uint32(id)))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := wire.Decode(payload)
		if err != nil {
			require.Nil(t, m)
			return
		}
		first, err := m.Append(nil)
		require.NoError(t, err)
		require.Len(t, first, len(payload))
		again, err := wire.Decode(first)
		require.NoError(t, err)
		second, err := again.Append(nil)
		require.NoError(t, err)
		require.Equal(t, first, second)
	})
}

func BenchmarkDecodePublish(b *testing.B) {
	payload, err := (&wire.BasicPublish{Exchange: []byte("amq.topic"), RoutingKey: []byte("eu.de.berlin")}).Append(nil)
	require.NoError(b, err)
	b.ReportAllocs()
	var m wire.BasicPublish
	for b.Loop() {
		if err := m.Decode(payload[4:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeAck(b *testing.B) {
	payload, err := (&wire.BasicAck{DeliveryTag: 1 << 40}).Append(nil)
	require.NoError(b, err)
	b.ReportAllocs()
	var m wire.BasicAck
	for b.Loop() {
		if err := m.Decode(payload[4:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeQueueDeclare(b *testing.B) {
	payload, err := (&wire.QueueDeclare{Queue: "jobs", Durable: true, Arguments: message.Table{{Name: "x-max-length", Value: int64(100)}}}).Append(nil)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.Decode(payload); err != nil {
			b.Fatal(err)
		}
	}
}
