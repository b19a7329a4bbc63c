package connection

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// badInput is one row of contract 01 §8: what a client sends on an open
// connection, whose channel 1 is open, and what it gets.
type badInput struct {
	name string
	send []byte
	code reply.Code
	text string
	id   wire.ID
	// fatal says that the input cannot be split into frames any more: nothing
	// more is read, and the socket is closed after three seconds.
	fatal bool
}

// methodFrame gives a method frame with any arguments.
func methodFrame(channel uint16, id wire.ID, args ...byte) []byte {
	payload := []byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}
	return frame(wire.FrameMethod, channel, append(payload, args...))
}

// contentHeader gives the payload of a content header frame.
func contentHeader(class, weight uint16, size uint64, props ...byte) []byte {
	p := wire.AppendHeaderFrame(nil, 1, class, size, props)
	p = p[wire.FrameHeaderSize : len(p)-1]
	p[2], p[3] = byte(weight>>8), byte(weight)
	return p
}

func badInputs(t *testing.T) []badInput {
	publish := encoded(t, 1, &wire.BasicPublish{RoutingKey: []byte("q")})
	inBody := append(bytes.Clone(publish), frame(wire.FrameHeader, 1, contentHeader(60, 0, 10, 0, 0))...)
	after := func(before []byte, then ...byte) []byte { return append(bytes.Clone(before), then...) }
	tooLarge := func(typ byte, channel byte) []byte { return []byte{typ, 0, channel, 0, 2, 0, 1} }
	const (
		noHeader = "expected content header for class 60, got non content header frame instead"
		noBody   = "expected content body, got non content body frame instead"
		noMethod = "expected method frame, got non method frame instead"
		publishM = wire.BasicPublishID
	)
	unknown := func(typ byte, octets string) string {
		return fmt.Sprintf("type %d, %s: unknown_frame", typ, octets)
	}
	rows := []badInput{
		// What is no frame at all.
		{"wrong end octet", []byte{1, 0, 1, 0, 0, 0, 5, 0, 20, 0, 10, 0, 0xCF}, reply.FrameError,
			"type 1, all octets = <<0,20,0,10,0>>: {invalid_frame_end_marker,207}", 0, true},
		{"wrong end octet on channel 0", []byte{1, 0, 0, 0, 0, 0, 1, 'x', 0}, reply.FrameError,
			`type 1, all octets = <<"x">>: {invalid_frame_end_marker,0}`, 0, true},
		{"wrong end octet of a long frame", append(append([]byte{3, 0, 1, 0, 0, 0, 17}, "aaaaaaaaaaaaaaaaa"...), 0), reply.FrameError,
			`type 3, first 16 octets = <<"aaaaaaaaaaaaaaaa">>: {invalid_frame_end_marker,0}`, 0, true},
		{"method too large", tooLarge(1, 1), reply.FrameError, "type 1, all octets = <<>>: {frame_too_large,131073,131064}", 0, true},
		{"body too large", tooLarge(3, 1), reply.FrameError, "type 3, all octets = <<>>: {frame_too_large,131073,131064}", 0, true},
		{"unknown type too large", tooLarge(77, 0), reply.FrameError, "type 77, all octets = <<>>: {frame_too_large,131073,131064}", 0, true},
		{"four gigabytes", []byte{1, 0, 0, 255, 255, 255, 255}, reply.FrameError,
			"type 1, all octets = <<>>: {frame_too_large,4294967295,131064}", 0, true},
		{"a protocol header", []byte("AMQP\x00\x00\x09\x01"), reply.FrameError,
			"type 65, all octets = <<>>: {frame_too_large,1342177289,131064}", 0, true},

		// Frames that are not what their type says, which counts before anything else.
		{"unknown type", frame(4, 1, []byte("zz")), reply.FrameError, unknown(4, `all octets = <<"zz">>`), 0, false},
		{"unknown type 0", frame(0, 1, nil), reply.FrameError, unknown(0, "all octets = <<>>"), 0, false},
		{"unknown type on channel 0", frame(9, 0, []byte{1}), reply.FrameError, unknown(9, "all octets = <<1>>"), 0, false},
		{"unknown type, long", frame(4, 1, []byte(strings.Repeat("z", 17))), reply.FrameError,
			unknown(4, `first 16 octets = <<"zzzzzzzzzzzzzzzz">>`), 0, false},
		{"unknown type in a content", after(inBody, frame(4, 1, nil)...), reply.FrameError, unknown(4, "all octets = <<>>"), 0, false},
		{"heartbeat with payload", frame(8, 0, []byte{0}), reply.FrameError, unknown(8, "all octets = <<0>>"), 0, false},
		{"heartbeat with payload on a channel", frame(8, 1, []byte{0}), reply.FrameError, unknown(8, "all octets = <<0>>"), 0, false},
		{"short method", frame(1, 1, []byte{0, 20, 0}), reply.FrameError, unknown(1, "all octets = <<0,20,0>>"), 0, false},
		{"short method on channel 0", frame(1, 0, nil), reply.FrameError, unknown(1, "all octets = <<>>"), 0, false},
		{"short method on a new channel", frame(1, 9, []byte{1}), reply.FrameError, unknown(1, "all octets = <<1>>"), 0, false},
		{"short method instead of a header", after(publish, frame(1, 1, nil)...), reply.FrameError, unknown(1, "all octets = <<>>"), 0, false},
		{"short method instead of a body", after(inBody, frame(1, 1, nil)...), reply.FrameError, unknown(1, "all octets = <<>>"), 0, false},
		{"short header", after(publish, frame(2, 1, make([]byte, 11))...), reply.FrameError,
			unknown(2, "all octets = <<0,0,0,0,0,0,0,0,0,0,0>>"), 0, false},
		{"short header that nobody waits for", frame(2, 1, []byte("z")), reply.FrameError, unknown(2, `all octets = <<"z">>`), 0, false},
		{"short header on channel 0", frame(2, 0, []byte("z")), reply.FrameError, unknown(2, `all octets = <<"z">>`), 0, false},
		{"short header instead of a body", after(inBody, frame(2, 1, nil)...), reply.FrameError, unknown(2, "all octets = <<>>"), 0, false},

		// Frames where they must not be.
		{"heartbeat on a channel", frame(8, 1, nil), reply.UnexpectedFrame, "type 8, all octets = <<>>", 0, false},
		{"header on channel 0", frame(2, 0, contentHeader(60, 0, 0, 0, 0)), reply.UnexpectedFrame,
			"type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0,0,0,0>>", 0, false},
		{"body on channel 0", frame(3, 0, []byte("zz")), reply.UnexpectedFrame, `type 3, all octets = <<"zz">>`, 0, false},
		{"header without a method", frame(2, 1, contentHeader(60, 0, 0, 0, 0)), reply.UnexpectedFrame, noMethod, 0, false},
		{"body without a method", frame(3, 1, []byte("zz")), reply.UnexpectedFrame, noMethod, 0, false},
		{"body without a method on a new channel", frame(3, 9, []byte("zz")), reply.UnexpectedFrame, noMethod, 0, false},
		{"method instead of a header", after(publish, publish...), reply.UnexpectedFrame, noHeader, publishM, false},
		{"body instead of a header", after(publish, frame(3, 1, []byte("a"))...), reply.UnexpectedFrame, noHeader, publishM, false},
		{"weight", after(publish, frame(2, 1, contentHeader(60, 1, 0, 0, 0))...), reply.UnexpectedFrame, noHeader, publishM, false},
		{"weight and another class", after(publish, frame(2, 1, contentHeader(50, 1, 0, 0, 0))...), reply.UnexpectedFrame, noHeader, publishM, false},
		{"header of another class", after(publish, frame(2, 1, contentHeader(50, 0, 0, 0, 0))...), reply.UnexpectedFrame,
			"expected content header for class 60, got one for class 50 instead", publishM, false},
		{"method instead of a body", after(inBody, methodFrame(1, wire.TxSelectID)...), reply.UnexpectedFrame, noBody, publishM, false},
		{"header instead of a body", after(inBody, frame(2, 1, contentHeader(60, 0, 0, 0, 0))...), reply.UnexpectedFrame, noBody, publishM, false},
		{"method after too long a body", after(inBody, append(frame(3, 1, make([]byte, 11)), methodFrame(1, wire.TxSelectID)...)...),
			reply.UnexpectedFrame, noBody, publishM, false},

		// Arguments.
		{"too few arguments", methodFrame(1, wire.QueueDeclareID, 0, 0), reply.FrameError, "cannot decode <<0,0>>", wire.QueueDeclareID, false},
		{"no arguments", methodFrame(1, wire.BasicAckID), reply.FrameError, "cannot decode <<>>", wire.BasicAckID, false},
		{"printable arguments", methodFrame(1, wire.BasicNackID, []byte("abc")...), reply.FrameError, "cannot decode <<97,98,99>>", wire.BasicNackID, false},
		{"too few for reject", methodFrame(1, wire.BasicRejectID, 1), reply.FrameError, "cannot decode <<1>>", wire.BasicRejectID, false},
		{"too many arguments", methodFrame(1, wire.TxSelectID, 7), reply.FrameError, "cannot decode <<7>>", wire.TxSelectID, false},
		{"too few for a publish", methodFrame(1, publishM, 0, 0, 0), reply.FrameError, "cannot decode <<0,0,0>>", publishM, false},
		{"too few on a new channel", methodFrame(9, wire.ChannelOpenID), reply.FrameError, "cannot decode <<>>", wire.ChannelOpenID, false},
		{"string longer than the frame", methodFrame(1, wire.BasicCancelID, 9, 'a', 0), reply.FrameError,
			"cannot decode <<9,97,0>>", wire.BasicCancelID, false},
		{"table longer than the frame", methodFrame(1, wire.QueueDeclareID, 0, 0, 1, 'q', 0, 0, 0, 0, 9), reply.FrameError,
			"cannot decode <<0,0,1,113,0,0,0,0,9>>", wire.QueueDeclareID, false},
		{"too few on channel 0", methodFrame(0, wire.ConnectionUpdateSecretID, 0), reply.InternalError, "", 0, false},
		{"too many on channel 0", methodFrame(0, wire.ConnectionCloseOKID, 0), reply.InternalError, "", 0, false},
		{"too few for another class on channel 0", methodFrame(0, wire.BasicAckID, 0), reply.InternalError, "", 0, false},
		{"no UTF-8", methodFrame(1, wire.BasicCancelID, 1, 0xff, 0), reply.FrameError, "Malformed UTF-8 in shortstr", 0, false},
		{"no UTF-8 on channel 0", methodFrame(0, wire.ConnectionUpdateSecretID, 0, 0, 0, 0, 1, 0xff), reply.FrameError, "Malformed UTF-8 in shortstr", wire.ConnectionUpdateSecretID, false},

		// Where RabbitMQ drops the socket; the contract recommends these.
		{"unknown class", methodFrame(1, wire.MakeID(99, 10)), reply.CommandInvalid, "unknown method 99.10", 0, false},
		{"unknown method", methodFrame(1, wire.MakeID(60, 99), 1, 2, 3), reply.CommandInvalid, "unknown method 60.99", 0, false},
		{"unknown method on channel 0", methodFrame(0, wire.MakeID(10, 99)), reply.CommandInvalid, "unknown method 10.99", 0, false},
		{"unknown method on a new channel", methodFrame(9, wire.MakeID(0, 0)), reply.CommandInvalid, "unknown method 0.0", 0, false},
		{"unknown method instead of a body", after(inBody, methodFrame(1, wire.MakeID(60, 99))...), reply.UnexpectedFrame, noBody, publishM, false},

		// Properties.
		{"bad properties", after(publish, frame(2, 1, contentHeader(60, 0, 0, 0x80, 0, 9, 'a'))...), reply.InternalError, "", 0, false},
		{"trailing octets in properties", after(publish, frame(2, 1, contentHeader(60, 0, 0, 0, 0, 1))...), reply.InternalError, "", 0, false},
		{"no flags in the properties", after(publish, frame(2, 1, contentHeader(60, 0, 0))...), reply.InternalError, "", 0, false},

		// Methods where they must not be.
		{"second open", methodFrame(1, wire.ChannelOpenID, 0), reply.ChannelError, "second 'channel.open' seen", wire.ChannelOpenID, false},
		{"publish on channel 0", encoded(t, 0, &wire.BasicPublish{}), reply.ChannelError,
			"unexpected method in connection state running", publishM, false},
	}
	for _, m := range []wire.Method{
		plain(), &wire.ConnectionStart{}, &wire.ConnectionTune{}, &wire.ConnectionTuneOK{}, &wire.ConnectionOpen{VirtualHost: "/"},
		&wire.ConnectionSecureOK{}, &wire.ConnectionCloseOK{}, &wire.ConnectionBlocked{}, &wire.ChannelOpen{}, &wire.QueueDeclare{}, &wire.TxSelect{},
	} {
		rows = append(rows, badInput{m.ID().String() + " on channel 0", encoded(t, 0, m), reply.ChannelError,
			"unexpected method in connection state running", m.ID(), false})
	}
	for _, m := range []wire.Method{
		&wire.ChannelClose{}, &wire.ChannelCloseOK{}, &wire.ConnectionClose{}, &wire.BasicAck{DeliveryTag: 1}, &wire.QueueDeclare{},
		&wire.ConfirmSelectOK{},
	} {
		rows = append(rows, badInput{m.ID().String() + " on a new channel", encoded(t, 9, m), reply.ChannelError,
			"expected 'channel.open'", m.ID(), false})
	}
	rows = append(rows, badInput{"publish on a new channel", published(t, 9, &wire.BasicPublish{}, []byte("x"), 0), reply.ChannelError,
		"expected 'channel.open'", publishM, false})
	for class := range uint16(100) {
		for method := range uint16(250) {
			id := wire.MakeID(class, method)
			if m, ok := wire.New(id); ok && (!id.FromClient() || class == 10 || id == wire.ChannelCloseOKID || id == wire.ChannelFlowOKID || id == wire.BasicCancelOKID) {
				p := encoded(t, 1, m)
				if id.HasContent() {
					p = append(p, frame(wire.FrameHeader, 1, contentHeader(60, 0, 1, 0, 0))...)
					p = append(p, frame(wire.FrameBody, 1, []byte("x"))...)
				}
				rows = append(rows, badInput{id.String() + " on an open channel", p, reply.CommandInvalid, "unimplemented method", id, false})
			}
		}
	}
	return rows
}

func TestMalformedInputClosesTheConnection(t *testing.T) {
	t.Parallel()
	for _, row := range badInputs(t) {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil).open().channel(1).declare(1, "q")
				cl.raw(row.send)
				cl.expect(0, closeWith(row.code, row.text, row.id))
				cl.send(0, &wire.ConnectionCloseOK{})
				if row.fatal {
					cl.ends(3 * time.Second)
				} else {
					cl.ends(0)
				}
				require.Zero(t, b.ready(t, "q"), "messages")
				require.Len(t, b.log.above(), 1)
				require.Regexp(t, `^ERROR Error on AMQP connection \(`+testName+`, vhost: '/', user: 'guest', state: running\), channel \d: operation `,
					b.log.above()[0])
			})
		})
	}
}

// Contract 01 §9: nothing but close and close-ok counts in a connection that is
// being closed.
func TestMalformedInputIsIgnoredWhileClosing(t *testing.T) {
	t.Parallel()
	for _, row := range badInputs(t) {
		for _, byClient := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, by client %v", row.name, byClient), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, b *fakeBroker) {
					cl := b.dial(t, nil).open().channel(1).declare(1, "q")
					if byClient {
						cl.send(0, &wire.ConnectionClose{})
						cl.expect(0, &wire.ConnectionCloseOK{})
					} else {
						cl.send(0, &wire.TxSelect{})
						await[*wire.ConnectionClose](cl, 0)
					}
					lines := len(b.log.all())
					cl.raw(row.send)
					switch {
					case row.fatal, row.name == "unknown method on channel 0":
						cl.ends(0)
					case strings.HasPrefix(row.name, "connection.close-ok on channel 0"):
						cl.ends(0)
					default:
						cl.nothing()
						cl.send(0, &wire.ConnectionCloseOK{})
						cl.ends(0)
					}
					for _, l := range b.log.all()[lines:] {
						require.True(t, byClient && strings.HasPrefix(l, "INFO closing AMQP connection"), l)
					}
				})
			})
		}
	}
}

func TestBadTableIsASyntaxError(t *testing.T) {
	t.Parallel()
	declare := func(table ...byte) []byte {
		args := append([]byte{0, 0, 1, 'q', 0, 0, 0, 0, byte(len(table))}, table...)
		return methodFrame(1, wire.QueueDeclareID, args...)
	}
	for name, p := range map[string][]byte{
		"unknown tag":        declare(1, 'k', '?', 0),
		"entry over the end": declare(1, 'k', 'I', 0, 0, 0),
		"NaN":                declare(1, 'k', 'f', 0x7f, 0xc0, 0, 0),
		"infinite":           declare(1, 'k', 'd', 0x7f, 0xf0, 0, 0, 0, 0, 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil).open().channel(1)
				cl.raw(p)
				m := await[*wire.ConnectionClose](cl, 0)
				require.EqualValues(t, reply.SyntaxError, m.ReplyCode)
				require.Equal(t, wire.QueueDeclareID, wire.MakeID(m.ClassID, m.MethodID))
			})
		})
	}
}

// Contract 01 §8: before tune-ok nothing is told of what is no frame.
func TestOversizeFrameBeforeTuneOKIsPunishedInSilence(t *testing.T) {
	t.Parallel()
	for _, stage := range []int{afterHeader, afterStartOK} {
		for name, c := range map[string]struct {
			send []byte
			log  string
		}{
			"4097 octets":       {[]byte{1, 0, 0, 0, 0, 0x10, 0x01}, "{frame_too_large,4097,4088}"},
			"4 GiB":             {[]byte{1, 0, 0, 255, 255, 255, 255}, "{frame_too_large,4294967295,4088}"},
			"a second header":   {[]byte(wire.ProtocolHeader), "{frame_too_large,1342177289,4088}"},
			"a wrong end":       {[]byte{8, 0, 0, 0, 0, 0, 0, 0}, "{invalid_frame_end_marker,0}"},
			"an unknown type":   {frame(9, 0, nil), "unknown_frame"},
			"a body":            {frame(3, 0, nil), "type 3"},
			"bad arguments":     {methodFrame(0, wire.ConnectionStartOKID, 1), "cannot decode <<1>>"},
			"an unknown method": {methodFrame(0, wire.MakeID(10, 99)), "unknown method 10.99"},
		} {
			t.Run(fmt.Sprintf("%s, stage %d", name, stage), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, b *fakeBroker) {
					cl := b.dial(t, nil).toStage(stage, nil)
					cl.raw(c.send)
					cl.ends(3 * time.Second)
					require.Len(t, b.log.above(), 1)
					require.Contains(t, b.log.above()[0], c.log)
				})
			})
		}
	}
}

func TestFrameMaxCountsThePayloadOfWhatIsReceived(t *testing.T) {
	t.Parallel()
	for _, frameMax := range []uint32{4096, 5000, 131072} {
		t.Run(fmt.Sprint(frameMax), func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil).toStage(afterOpen, &wire.ConnectionTuneOK{ChannelMax: 1, FrameMax: frameMax})
				cl.channel(1).declare(1, "q")
				body := bytes.Repeat([]byte("x"), int(frameMax))
				cl.raw(published(t, 1, &wire.BasicPublish{RoutingKey: []byte("q")}, body, frameMax+8))
				cl.send(1, &wire.BasicGet{Queue: "q", NoAck: true})
				await[*wire.BasicGetOK](cl, 1)
				_, got, chunks := cl.content(1)
				require.True(t, bytes.Equal(body, got))
				require.Equal(t, []int{int(frameMax) - 8, 8}, chunks, "what is sent counts whole frames")
				cl.frame(wire.FrameBody, 1, append(body, 'x'))
				cl.expect(0, closeWith(reply.FrameError, fmt.Sprintf("type 3, all octets = <<>>: {frame_too_large,%d,%d}", frameMax+1, frameMax-8), 0))
				cl.ends(3 * time.Second)
			})
		})
	}
}

func TestContentHeaderIsNeverSplit(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		wide := b.dial(t, nil).open().channel(1).declare(1, "q")
		value := strings.Repeat("v", 100<<10)
		props, err := message.Properties{Headers: message.Table{{Name: "h", Value: value}}}.Append(nil)
		require.NoError(t, err)
		p := encoded(t, 1, &wire.BasicPublish{RoutingKey: []byte("q")})
		p = wire.AppendHeaderFrame(p, 1, classBasic, 3, props)
		wide.raw(wire.AppendBodyFrames(p, 1, []byte("abc"), 0))
		wide.close()
		narrow := b.dial(t, nil).toStage(afterOpen, &wire.ConnectionTuneOK{ChannelMax: 1, FrameMax: 4096}).channel(1)
		narrow.send(1, &wire.BasicGet{Queue: "q", NoAck: true})
		await[*wire.BasicGetOK](narrow, 1)
		got, body, _ := narrow.content(1)
		require.True(t, bytes.Equal(props, got))
		require.Equal(t, "abc", string(body))
		narrow.close()
	})
}

// Contract 01 §4.
func TestContentIsPutTogether(t *testing.T) {
	t.Parallel()
	publish := encoded(t, 1, &wire.BasicPublish{RoutingKey: []byte("q")})
	header := func(size uint64) []byte { return frame(wire.FrameHeader, 1, contentHeader(60, 0, size, 0, 0)) }
	body := func(s string) []byte { return frame(wire.FrameBody, 1, []byte(s)) }
	for name, c := range map[string]struct {
		send [][]byte
		want []string // the messages
	}{
		"in one body frame":        {[][]byte{publish, header(3), body("abc")}, []string{"abc"}},
		"in several":               {[][]byte{publish, header(6), body("a"), body("bcde"), body("f")}, []string{"abcdef"}},
		"empty":                    {[][]byte{publish, header(0)}, []string{""}},
		"empty body frames":        {[][]byte{publish, header(2), body(""), body("a"), body(""), body(""), body("b")}, []string{"ab"}},
		"heartbeats in between":    {[][]byte{publish, frame(8, 0, nil), header(2), frame(8, 0, nil), body("ab")}, []string{"ab"}},
		"two in a row":             {[][]byte{publish, header(1), body("a"), publish, header(1), body("b")}, []string{"a", "b"}},
		"never finished":           {[][]byte{publish, header(9), body("a")}, nil},
		"overshot in one":          {[][]byte{publish, header(2), body("abc")}, nil},
		"overshot, then swallowed": {[][]byte{publish, header(2), body("a"), body("bc"), body("d"), body("")}, nil},
		"more than an int":         {[][]byte{publish, header(1<<64 - 1), body("a"), body("b")}, nil},
		"flags that mean nothing":  {[][]byte{publish, frame(wire.FrameHeader, 1, contentHeader(60, 0, 1, 0x10, 0x03, 2)), body("a")}, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil).open().channel(1).declare(1, "q").channel(2)
				for _, p := range c.send {
					cl.raw(p)
					// Frames of other channels may come at any time.
					cl.send(2, &wire.BasicQos{})
					cl.expect(2, &wire.BasicQosOK{})
				}
				cl.nothing()
				require.Equal(t, len(c.want), b.ready(t, "q"))
				for _, want := range c.want {
					cl.send(2, &wire.BasicGet{Queue: "q", NoAck: true})
					await[*wire.BasicGetOK](cl, 2)
					_, got, _ := cl.content(2)
					require.Equal(t, want, string(got))
				}
				cl.close()
			})
		})
	}
}

func TestMessageTooLargeClosesTheChannelOnceItIsComplete(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, func(c *Config) { c.MaxMessageSize = 1000 }).open().channel(1).declare(1, "q")
		cl.publish(1, "q", make([]byte, 1000))
		p := published(t, 1, &wire.BasicPublish{RoutingKey: []byte("q")}, make([]byte, 1001), 508)
		cl.raw(p[:len(p)-1])
		cl.nothing()
		cl.raw(p[len(p)-1:])
		cl.expect(1, &wire.ChannelClose{
			ReplyCode: 406, ReplyText: "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000",
			ClassID: 60, MethodID: 40,
		})
		require.Equal(t, 1, b.ready(t, "q"))
		cl.close()
	})
}
