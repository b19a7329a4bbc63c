package connection

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/wire"
)

// Contract 01 §1.

func TestProtocolHeaderOfThisVersionIsAnsweredWithStart(t *testing.T) {
	t.Parallel()
	bare := testProperties()
	bare[0].Value = message.Table(nil)
	for name, c := range map[string]struct {
		header       string
		major, minor uint8
		properties   message.Table
	}{
		"0-9-1":         {"AMQP\x00\x00\x09\x01", 0, 9, testProperties()},
		"0-9":           {"AMQP\x01\x01\x00\x09", 0, 9, testProperties()},
		"0-8":           {"AMQP\x01\x01\x08\x00", 8, 0, bare},
		"0-8, the rare": {"AMQP\x01\x01\x09\x01", 8, 0, bare},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil)
				cl.raw([]byte(c.header))
				start := await[*wire.ConnectionStart](cl, 0)
				require.Equal(t, []uint8{c.major, c.minor}, []uint8{start.VersionMajor, start.VersionMinor})
				require.True(t, c.properties.Equal(start.ServerProperties), "%v", start.ServerProperties)
				require.Equal(t, "AMQPLAIN PLAIN", start.Mechanisms)
				require.Equal(t, "en_US", start.Locales)
				cl.nothing()
				cl.hangUp()
			})
		})
	}
}

func TestAnyOtherHeaderIsAnsweredWithTheRightOneAtOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ header, log string }{
		"1.0":           {"AMQP\x00\x01\x00\x00", "{bad_version,{0,1,0,0}}"},
		"SASL of 1.0":   {"AMQP\x03\x01\x00\x00", "{bad_version,{3,1,0,0}}"},
		"0-9-0":         {"AMQP\x00\x00\x09\x00", "{bad_version,{0,0,9,0}}"},
		"HTTP":          {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", `{bad_header,<<"GET / HT">>}`},
		"a TLS hello":   {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "{bad_header,<<22,3,1,2,0,1,0,1>>}"},
		"eight zeros":   {"\x00\x00\x00\x00\x00\x00\x00\x00", "{bad_header,<<0,0,0,0,0,0,0,0>>}"},
		"a lower case":  {"amqp\x00\x00\x09\x01", "{bad_header,<<97,109,113,112,0,0,9,1>>}"},
		"a frame first": {"\x01\x00\x00\x00\x00\x00\x05\x00", "{bad_header,<<1,0,0,0,0,0,5,0>>}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil)
				cl.raw([]byte(c.header))
				f := cl.next()
				require.EqualValues(t, frameRaw, f.Type)
				require.Equal(t, wire.ProtocolHeader, string(f.Payload))
				cl.ends(0)
				require.Equal(t, []string{
					"INFO accepting AMQP connection (" + testName + ")",
					"ERROR closing AMQP connection (" + testName + "): " + c.log,
				}, b.log.all())
			})
		})
	}
}

func TestHeaderMayComeInPieces(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil)
		for _, octet := range []byte(wire.ProtocolHeader) {
			cl.nothing()
			cl.raw([]byte{octet})
			time.Sleep(time.Second)
		}
		await[*wire.ConnectionStart](cl, 0)
		cl.hangUp()
	})
}

func TestClientOverTCPCanReadTheAnswerToABadHeader(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t)
	cl := b.dialTCP(t, 1, nil)
	cl.raw([]byte("GET /index.html HTTP/1.1\r\nHost: a-name-that-makes-it-longer\r\n\r\n"))
	require.EqualValues(t, frameRaw, cl.next().Type)
	_, more := <-cl.frames
	require.False(t, more, "an orderly end follows")
	cl.hangUp()
	b.wg.Wait()
}
