package wire_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/wire"
)

// The check vectors of contract 01 §2.
func TestFramesHaveTheRecordedOctets(t *testing.T) {
	t.Parallel()
	got, err := wire.AppendMethodFrame(nil, 1, &wire.ChannelOpen{})
	require.NoError(t, err)
	require.Equal(t, "\x01\x00\x01\x00\x00\x00\x05\x00\x14\x00\x0a\x00\xce", string(got))
	got, err = wire.AppendMethodFrame(nil, 1, &wire.ChannelOpenOK{})
	require.NoError(t, err)
	require.Equal(t, "\x01\x00\x01\x00\x00\x00\x08\x00\x14\x00\x0b\x00\x00\x00\x00\xce", string(got))
	require.Equal(t, "\x08\x00\x00\x00\x00\x00\x00\xce", string(wire.AppendHeartbeat(nil)))
	require.Equal(t, "AMQP\x00\x00\x09\x01", wire.ProtocolHeader)
}

func TestFramesAreParsedInPlace(t *testing.T) {
	t.Parallel()
	stream, err := wire.AppendMethodFrame([]byte("."), 258, &wire.ChannelCloseOK{})
	require.NoError(t, err)
	stream = wire.AppendHeartbeat(stream)[1:]

	f, n, err := wire.ParseFrame(stream, 0)
	require.NoError(t, err)
	require.Equal(t, 12, n)
	require.Equal(t, wire.Frame{Type: wire.FrameMethod, Channel: 258, Payload: []byte("\x00\x14\x00\x29")}, f)
	require.Same(t, &stream[7], &f.Payload[0])
	require.Equal(t, 4, cap(f.Payload))

	f, n, err = wire.ParseFrame(stream[n:], 0)
	require.NoError(t, err)
	require.Equal(t, 8, n)
	require.Equal(t, wire.Frame{Type: wire.FrameHeartbeat, Payload: []byte{}}, f)
}

func TestIncompleteFramesSayHowMuchTheyNeed(t *testing.T) {
	t.Parallel()
	whole := wire.AppendBodyFrames(nil, 1, []byte("body"), 0)
	for i := range whole {
		_, n, err := wire.ParseFrame(whole[:i], 4096)
		require.NoError(t, err)
		require.Zero(t, n)
		length, ok := wire.FrameLength(whole[:i])
		require.Equal(t, i >= wire.FrameHeaderSize, ok)
		if ok {
			require.EqualValues(t, len(whole), length)
		}
	}
	length, ok := wire.FrameLength([]byte("\x03\x00\x01\xff\xff\xff\xff"))
	require.True(t, ok)
	require.EqualValues(t, uint64(math.MaxUint32)+8, length)
}

func TestPayloadOfFrameMaxIsTakenAndOneMoreIsNot(t *testing.T) {
	t.Parallel()
	body := make([]byte, 4097)
	_, n, err := wire.ParseFrame(wire.AppendBodyFrames(nil, 1, body[:4096], 0), 4096)
	require.NoError(t, err)
	require.Equal(t, 4096+8, n)

	var large *wire.FrameTooLargeError
	_, n, err = wire.ParseFrame(wire.AppendBodyFrames(nil, 1, body, 0)[:7], 4096)
	require.ErrorAs(t, err, &large)
	require.Zero(t, n)
	require.Equal(t, wire.FrameTooLargeError{Type: 3, Size: 4097, Limit: 4088}, *large)
	require.Equal(t, "type 3, all octets = <<>>: {frame_too_large,4097,4088}", wire.Explanation(err))
	require.EqualError(t, err, "wire: frame too large: type 3, all octets = <<>>: {frame_too_large,4097,4088}")

	_, n, err = wire.ParseFrame([]byte("\x03\x00\x01\xff\xff\xff\xff"), 0)
	require.NoError(t, err, "no limit")
	require.Zero(t, n)
}

func TestWrongFrameEndIsShown(t *testing.T) {
	t.Parallel()
	frame := []byte("\x01\x00\x01\x00\x00\x00\x05\x00\x14\x00\x14\x01\xcf")
	_, n, err := wire.ParseFrame(frame, 4096)
	var end *wire.FrameEndError
	require.ErrorAs(t, err, &end)
	require.Zero(t, n)
	require.Equal(t, wire.FrameEndError{Type: 1, Payload: frame[7:12], End: 207}, *end)
	require.Equal(t, "type 1, all octets = <<0,20,0,20,1>>: {invalid_frame_end_marker,207}", wire.Explanation(err))
	require.ErrorContains(t, err, "bad frame end")
}

func TestExplanationsAreRabbitMQs(t *testing.T) {
	t.Parallel()
	require.Equal(t, `type 5, all octets = <<"abc">>: unknown_frame`, wire.FrameExplanation(5, []byte("abc"), "unknown_frame"))
	require.Equal(t, `type 8, all octets = <<>>`, wire.FrameExplanation(8, nil, ""))
	require.Equal(t, `type 5, all octets = <<"0123456789abcdef">>: unknown_frame`,
		wire.FrameExplanation(5, []byte("0123456789abcdef"), "unknown_frame"))
	require.Equal(t, `type 5, first 16 octets = <<"0123456789abcdef">>: unknown_frame`,
		wire.FrameExplanation(5, []byte("0123456789abcdef\x00"), "unknown_frame"))

	_, err := wire.Decode([]byte("\x00\x14\x00\x0a\x01zzz"))
	require.Equal(t, "cannot decode <<1,122,122,122>>", wire.Explanation(err))
	require.EqualError(t, err, "wire: channel.open: cannot decode <<1,122,122,122>>")
	_, err = wire.Decode([]byte("\x00\x14\x00\x0a\x01\xff"))
	require.Equal(t, "Malformed UTF-8 in shortstr", wire.Explanation(err))
	require.Empty(t, wire.Explanation(errors.New("another")))
}

// RabbitMQ 3.10.8 was seen to take these names, and to refuse the others.
func TestUTF8IsWhatRabbitMQTakesForIt(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{
		"q": true, "\u00e9": true, "\u20ac": true, "\U0001f600": true, "\x00": true,
		"\xed\xa0\x80": true, "\xf4\x90\x80\x80": true, // a surrogate; beyond the last code point
		"\xff\xfe": false, "\xff": false, "\x80": false, "\xc0\x80": false, "\xe0\x80\x80": false,
		"\xf0\x80\x80\x80": false, "\xed\xa0": false, "\xed\xa0A": false, "\xf8\x88\x80\x80\x80": false,
	} {
		_, err := wire.Decode(append([]byte("\x00\x14\x00\x0a"), append([]byte{byte(len(name))}, name...)...))
		if good {
			require.NoError(t, err, "%q", name)
		} else {
			require.ErrorIs(t, err, wire.ErrUTF8, "%q", name)
		}
	}
}

// The wanted texts were printed by Erlang/OTP 25 with ~p.
func TestOctetsArePrintedAsErlangDoes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ octets, text string }{
		{"", "<<>>"},
		{"abc", `<<"abc">>`},
		{"a\"b\\", `<<"a\"b\\">>`},
		{"a\n\t\r\v\b\f\x1b", `<<"a\n\t\r\v\b\f\e">>`},
		{"\xe9A", "<<\"\xe9A\">>"},
		{"\xa0", "<<\"\xa0\">>"},
		{"\x9f", "<<159>>"},
		{"\x7f", "<<127>>"},
		{"\x00", "<<0>>"},
		{"\xe9\x00", "<<233,0>>"},
		{"abc\x00", "<<97,98,99,0>>"},
	} {
		require.Equal(t, c.text, wire.ErlangBinary([]byte(c.octets)))
	}
	require.Equal(t, "<<97,98>>", wire.ErlangOctets([]byte("ab")), "never as a string")
	require.Equal(t, "<<>>", wire.ErlangOctets(nil))
}

func TestPrintedOctetsAreBounded(t *testing.T) {
	t.Parallel()
	octets := bytes.Repeat([]byte{200}, 1<<20)
	for _, text := range []string{wire.ErlangOctets(octets), wire.ErlangBinary(octets), wire.ErlangBinary(append(octets, 0))} {
		require.Less(t, len(text), 600)
		require.Greater(t, len(text), 255, "more than a reply text can show")
		require.True(t, strings.HasSuffix(text, `...>>`) || strings.HasSuffix(text, `...">>`))
	}
}

func TestContentHeaderRoundTrips(t *testing.T) {
	t.Parallel()
	frame := wire.AppendHeaderFrame(nil, 7, 60, 1<<40, []byte("\x10\x03\x02"))
	require.Equal(t, "\x02\x00\x07\x00\x00\x00\x0f\x00\x3c\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x10\x03\x02\xce", string(frame))
	f, _, err := wire.ParseFrame(frame, 0)
	require.NoError(t, err)
	h, err := wire.ParseContentHeader(f.Payload)
	require.NoError(t, err)
	require.Equal(t, wire.ContentHeader{Class: 60, BodySize: 1 << 40, Props: []byte("\x10\x03\x02")}, h)

	h, err = wire.ParseContentHeader([]byte("\x00\x32\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"))
	require.NoError(t, err, "missing flags are for the properties' decoder")
	require.Equal(t, wire.ContentHeader{Class: 50, Weight: 1, Props: []byte{}}, h)
	_, err = wire.ParseContentHeader(make([]byte, 11))
	require.ErrorIs(t, err, wire.ErrShortHeader)
}

func TestBodiesAreCutIntoFramesOfFrameMax(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("0123456789"), 1000)
	for _, c := range []struct {
		size     int
		frameMax uint32
		frames   []int
	}{
		{0, 4096, nil},
		{1, 4096, []int{1}},
		{4088, 4096, []int{4088}},
		{4089, 4096, []int{4088, 1}},
		{10000, 4096, []int{4088, 4088, 1824}},
		{10000, 0, []int{10000}},
		{10, 8, []int{10}},
		{3, 9, []int{1, 1, 1}},
	} {
		stream := wire.AppendBodyFrames(nil, 9, body[:c.size], c.frameMax)
		var sizes []int
		var got []byte
		for len(stream) > 0 {
			f, n, err := wire.ParseFrame(stream, 0)
			require.NoError(t, err)
			require.Equal(t, uint8(wire.FrameBody), f.Type)
			require.Equal(t, uint16(9), f.Channel)
			sizes = append(sizes, len(f.Payload))
			got = append(got, f.Payload...)
			stream = stream[n:]
		}
		require.Equal(t, c.frames, sizes)
		require.Equal(t, string(body[:c.size]), string(got))
	}
}

// The hot writers write what the methods' own Append writes.
func TestHotWritersAgreeWithTheMethods(t *testing.T) {
	t.Parallel()
	tag, x, key := "ctag", "exchange", "key\xff"
	for _, c := range []struct {
		got  []byte
		want wire.Method
	}{
		{wire.AppendDeliver(nil, 3, tag, 77, true, x, key),
			&wire.BasicDeliver{ConsumerTag: []byte(tag), DeliveryTag: 77, Redelivered: true, Exchange: []byte(x), RoutingKey: []byte(key)}},
		{wire.AppendDeliver(nil, 3, "", 77, false, "", ""), &wire.BasicDeliver{DeliveryTag: 77}},
		{wire.AppendGetOK(nil, 3, 77, true, x, key, 5),
			&wire.BasicGetOK{DeliveryTag: 77, Redelivered: true, Exchange: []byte(x), RoutingKey: []byte(key), MessageCount: 5}},
		{wire.AppendReturn(nil, 3, 312, "NO_ROUTE", x, key),
			&wire.BasicReturn{ReplyCode: 312, ReplyText: []byte("NO_ROUTE"), Exchange: []byte(x), RoutingKey: []byte(key)}},
		{wire.AppendAck(nil, 3, 77, true), &wire.BasicAck{DeliveryTag: 77, Multiple: true}},
		{wire.AppendAck(nil, 3, 77, false), &wire.BasicAck{DeliveryTag: 77}},
		{wire.AppendNack(nil, 3, 77, true), &wire.BasicNack{DeliveryTag: 77, Multiple: true, Requeue: true}},
		{wire.AppendNack(nil, 3, 77, false), &wire.BasicNack{DeliveryTag: 77, Requeue: true}},
	} {
		want, err := wire.AppendMethodFrame(nil, 3, c.want)
		require.NoError(t, err)
		require.Equal(t, want, c.got, c.want.ID())
	}
}

func TestHotWritersStayWellFormedWithLongNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 300)
	f, _, err := wire.ParseFrame(wire.AppendDeliver(nil, 1, long, 1, false, long, long), 0)
	require.NoError(t, err)
	m, err := wire.Decode(f.Payload)
	require.NoError(t, err)
	require.Len(t, m.(*wire.BasicDeliver).RoutingKey, 255)
}

// A delivery and a publish go through the codec without an allocation.
func TestTheWayOfAMessageAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 1<<16)
	props, body := []byte("\x10\x00\x02"), make([]byte, 9000)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		dst = wire.AppendDeliver(dst[:0], 1, "consumer", 1, false, "exchange", "key")
		dst = wire.AppendHeaderFrame(dst, 1, 60, uint64(len(body)), props)
		dst = wire.AppendBodyFrames(dst, 1, body, 4096)
		dst = wire.AppendGetOK(dst, 1, 1, false, "exchange", "key", 1)
		dst = wire.AppendReturn(dst, 1, 312, "NO_ROUTE", "exchange", "key")
		dst = wire.AppendAck(dst, 1, 1, true)
		dst = wire.AppendNack(dst, 1, 1, true)
		dst = wire.AppendHeartbeat(dst)
	}))

	stream, err := wire.AppendMethodFrame(nil, 1, &wire.BasicPublish{Exchange: []byte("exchange"), RoutingKey: []byte("key")})
	require.NoError(t, err)
	stream = wire.AppendHeaderFrame(stream, 1, 60, uint64(len(body)), props)
	stream = wire.AppendBodyFrames(stream, 1, body, 4096)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for in := stream; len(in) > 0; {
			f, n, err := wire.ParseFrame(in, 4096)
			if err != nil || n == 0 {
				t.Error("stream broken", err)
			}
			switch f.Type {
			case wire.FrameMethod:
				var m wire.BasicPublish
				id, ok := wire.MethodID(f.Payload)
				if !ok || id != wire.BasicPublishID || m.Decode(f.Payload[4:]) != nil {
					t.Error("method broken")
				}
			case wire.FrameHeader:
				if _, err := wire.ParseContentHeader(f.Payload); err != nil {
					t.Error(err)
				}
			}
			in = in[n:]
		}
	}))
}

func FuzzFrame(f *testing.F) {
	f.Add(wire.AppendHeartbeat(wire.AppendAck(nil, 1, 1, true)), uint32(4096))
	f.Add(wire.AppendBodyFrames(wire.AppendHeaderFrame(nil, 1, 60, 9, []byte{0, 0}), 1, []byte("123456789"), 12), uint32(0))
	f.Add([]byte("\x03\x00\x01\xff\xff\xff\xff"), uint32(4096))
	f.Fuzz(func(t *testing.T, in []byte, frameMax uint32) {
		for {
			frame, n, err := wire.ParseFrame(in, frameMax)
			if err != nil {
				require.NotEmpty(t, wire.Explanation(err))
				return
			}
			need, ok := wire.FrameLength(in)
			if n == 0 {
				require.True(t, !ok || need > uint64(len(in)))
				return
			}
			require.EqualValues(t, need, n)
			out := wire.AppendFrameHeader(nil, frame.Type, frame.Channel, uint32(len(frame.Payload)))
			out = append(append(out, frame.Payload...), wire.FrameEnd)
			require.Equal(t, in[:n], out)
			if h, err := wire.ParseContentHeader(frame.Payload); err == nil && h.Weight == 0 {
				again := wire.AppendHeaderFrame(nil, frame.Channel, h.Class, h.BodySize, h.Props)
				require.Equal(t, frame.Payload, again[wire.FrameHeaderSize:len(again)-1])
			}
			in = in[n:]
		}
	})
}

func BenchmarkAppendDelivery(b *testing.B) {
	dst := make([]byte, 0, 1<<12)
	props, body := []byte("\x10\x00\x02"), make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		dst = wire.AppendDeliver(dst[:0], 1, "amq.ctag-1", 1, false, "amq.topic", "eu.de.berlin")
		dst = wire.AppendHeaderFrame(dst, 1, 60, uint64(len(body)), props)
		dst = wire.AppendBodyFrames(dst, 1, body, 131072)
	}
}

func BenchmarkParseFrame(b *testing.B) {
	frame := wire.AppendBodyFrames(nil, 1, make([]byte, 256), 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, n, err := wire.ParseFrame(frame, 131072); n == 0 || err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendAck(b *testing.B) {
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = wire.AppendAck(dst[:0], 1, 1<<40, true)
	}
}
