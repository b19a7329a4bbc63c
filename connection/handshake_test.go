package connection

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

func amqplain(t *testing.T, fields ...message.Field) []byte {
	p, err := message.AppendTable(nil, fields)
	require.NoError(t, err)
	return p[4:] // without the length
}

func TestHandshakeSucceeds(t *testing.T) {
	t.Parallel()
	for name, startOK := range map[string]*wire.ConnectionStartOK{
		"PLAIN": plain(),
		"AMQPLAIN": {Mechanism: "AMQPLAIN", Response: amqplain(t,
			message.Field{Name: "LOGIN", Value: "guest"}, message.Field{Name: "PASSWORD", Value: "guest"})},
		"locale is ignored":                   {Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest"), Locale: "tlh"},
		"capabilities of another type":        plain(message.Field{Name: "capabilities", Value: "all"}),
		"capability of another type":          plain(message.Field{Name: "capabilities", Value: message.Table{{Name: "basic.nack", Value: int32(1)}}}),
		"connection_name of another type":     plain(message.Field{Name: "connection_name", Value: int32(7)}),
		"properties that mean nothing at all": plain(message.Field{Name: "x", Value: []any{nil, int8(1)}}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil).toStage(afterHeader, nil)
				cl.send(0, startOK)
				cl.expect(0, &wire.ConnectionTune{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60})
				cl.send(0, &wire.ConnectionTuneOK{ChannelMax: 2047, FrameMax: 131072})
				cl.nothing()
				cl.send(0, &wire.ConnectionOpen{VirtualHost: "/"})
				cl.expect(0, &wire.ConnectionOpenOK{})
				require.Equal(t, testName, cl.conn.Name())
				cl.close()
				require.Equal(t, []string{
					"INFO accepting AMQP connection (" + testName + ")",
					"INFO connection (" + testName + "): user 'guest' authenticated and granted access to vhost '/'",
					"INFO closing AMQP connection (" + testName + ", vhost: '/', user: 'guest')",
				}, b.log.all())
			})
		})
	}
}

func TestTuneOKAndOpenMayBePipelined(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil)
		cl.raw([]byte(wire.ProtocolHeader))
		cl.send(0, plain(), &wire.ConnectionTuneOK{ChannelMax: 1, FrameMax: 4096}, &wire.ConnectionOpen{VirtualHost: "/"})
		cl.send(1, &wire.ChannelOpen{})
		await[*wire.ConnectionStart](cl, 0)
		await[*wire.ConnectionTune](cl, 0)
		await[*wire.ConnectionOpenOK](cl, 0)
		await[*wire.ChannelOpenOK](cl, 1)
		cl.close()
	})
}

// Contract 02 §2.3: only a refused login is ever told, and only to those who can
// understand it.
func TestLoginFails(t *testing.T) {
	t.Parallel()
	elsewhere := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 50000}
	for name, c := range map[string]struct {
		mechanism, response string
		peer                net.Addr
		refused             bool // told to a client with the capability
		log                 string
	}{
		"bad password": {"PLAIN", "\x00guest\x00wrong", nil, true,
			"PLAIN login refused: user 'guest' - invalid credentials"},
		"unknown user": {"PLAIN", "\x00nobody\x00guest", nil, true,
			"PLAIN login refused: user 'nobody' - invalid credentials"},
		"bad password by AMQPLAIN": {"AMQPLAIN", string(amqplain(t,
			message.Field{Name: "LOGIN", Value: "guest"}, message.Field{Name: "PASSWORD", Value: "wrong"})), nil, true,
			"AMQPLAIN login refused: user 'guest' - invalid credentials"},
		"blank password": {"PLAIN", "\x00guest\x00", nil, true,
			"PLAIN login refused: user 'guest' attempted to log in with a blank password, which is never accepted"},
		"loopback user from elsewhere": {"PLAIN", "\x00guest\x00guest", elsewhere, true,
			"PLAIN login refused: user 'guest' can only connect via localhost"},
		"unknown mechanism": {"plain", "\x00guest\x00guest", nil, false,
			"unknown authentication mechanism 'plain'"},
		"mechanism not offered": {"EXTERNAL", "", nil, false,
			"invalid authentication mechanism 'EXTERNAL'"},
		"authzid":        {"PLAIN", "me\x00guest\x00guest", nil, false, "response <<..>> invalid"},
		"empty response": {"PLAIN", "", nil, false, "response <<..>> invalid"},
		"bad AMQPLAIN":   {"AMQPLAIN", "\x05LOGINS\xff", nil, false, "response <<..>> invalid"},
		"AMQPLAIN without a password": {"AMQPLAIN", string(amqplain(t,
			message.Field{Name: "LOGIN", Value: "guest"})), nil, false, "response <<..>> invalid"},
	} {
		for _, able := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, capability %v", name, able), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, b *fakeBroker) {
					here, there := net.Pipe()
					peer := net.Addr(nil)
					if peer = c.peer; peer == nil {
						peer = addressed{}.RemoteAddr()
					}
					cl := b.serve(t, 1, from{there, peer}, here, nil).toStage(afterHeader, nil)
					m := &wire.ConnectionStartOK{Mechanism: c.mechanism, Response: []byte(c.response)}
					if able {
						m.ClientProperties = message.Table{withCapabilities("authentication_failure_close")}
					}
					// What is pipelined behind it counts for nothing.
					cl.send(0, m, &wire.ConnectionTuneOK{ChannelMax: 1, FrameMax: 4096}, &wire.ConnectionOpen{VirtualHost: "/"})
					if able && c.refused {
						cl.expect(0, closeWith(reply.AccessRefused, "Login was refused using authentication mechanism "+
							c.mechanism+". For details see the broker logfile.", 0))
					}
					cl.ends(3 * time.Second)
					require.Equal(t, []string{fmt.Sprintf(
						"ERROR Error on AMQP connection (%s -> 127.0.0.1:5672, state: starting): %s", peer, c.log)}, b.log.above())
				})
			})
		}
	}
}

// from gives a pipe the address of any peer.
type from struct {
	net.Conn
	peer net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.peer }
func (f from) LocalAddr() net.Addr  { return addressed{}.LocalAddr() }

func TestRefusedLoginEndsWithCloseOK(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterHeader, nil)
		cl.send(0, &wire.ConnectionStartOK{
			ClientProperties: message.Table{withCapabilities("authentication_failure_close")}, Mechanism: "PLAIN",
		}, &wire.ConnectionStartOK{})
		cl.hangUp() // a malformed response: see TestLoginFails
		cl = b.dial(t, nil).toStage(afterHeader, nil)
		cl.send(0, &wire.ConnectionStartOK{
			ClientProperties: message.Table{withCapabilities("authentication_failure_close")},
			Mechanism:        "PLAIN", Response: []byte("\x00guest\x00no"),
		})
		await[*wire.ConnectionClose](cl, 0)
		cl.send(0, &wire.ConnectionCloseOK{})
		cl.ends(0)
	})
}

// A client that is not told that its login was refused is still heard.
func TestSilentlyRefusedLoginEndsWithClose(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterHeader, nil)
		cl.send(0, &wire.ConnectionStartOK{Mechanism: "PLAIN", Response: []byte("\x00guest\x00no")},
			&wire.ConnectionTuneOK{ChannelMax: 1, FrameMax: 4096}, &wire.ConnectionOpen{VirtualHost: "/"})
		cl.nothing()
		cl.send(0, &wire.ConnectionClose{})
		cl.expect(0, &wire.ConnectionCloseOK{})
		cl.send(0, &wire.ConnectionCloseOK{})
		cl.ends(0)
	})
}

// Contract 02 §3: a choice that is not allowed is answered with silence.
func TestTuneOK(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		channelMax uint16
		frameMax   uint32
		log        string // empty if it is fine
	}{
		{2047, 131072, ""},
		{1, 4096, ""},
		{2047, 131071, ""},
		{2047, 4095, "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)"},
		{2047, 1, "negotiated frame_max = 1 is lower than the minimum allowed value (4096)"},
		{2047, 131073, "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)"},
		{2047, 1<<32 - 1, "negotiated frame_max = 4294967295 is higher than the maximum allowed value (131072)"},
		{2047, 0, "negotiated frame_max = 0 (no limit) is higher than the maximum allowed value (131072)"},
		{0, 131072, "negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)"},
		{2048, 131072, "negotiated channel_max = 2048 is higher than the maximum allowed value (2047)"},
		{65535, 131072, "negotiated channel_max = 65535 is higher than the maximum allowed value (2047)"},
	} {
		t.Run(fmt.Sprintf("channel_max %d, frame_max %d", c.channelMax, c.frameMax), func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil).toStage(afterStartOK, nil)
				cl.send(0, &wire.ConnectionTuneOK{ChannelMax: c.channelMax, FrameMax: c.frameMax},
					&wire.ConnectionOpen{VirtualHost: "/"})
				if c.log == "" {
					cl.expect(0, &wire.ConnectionOpenOK{})
					cl.close()
					return
				}
				cl.ends(3 * time.Second)
				require.Equal(t, []string{"ERROR closing AMQP connection (" + testName +
					"): failed to negotiate connection parameters: " + c.log}, b.log.above())
			})
		})
	}
}

func TestServerWithoutLimitsTakesAnyTuneOK(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, func(c *Config) { c.ChannelMax, c.FrameMax = 0, 0 })
		cl.toStage(afterOpen, &wire.ConnectionTuneOK{}).channel(65535).declare(65535, "q")
		body := []byte(strings.Repeat("long ", 1<<18))
		cl.raw(published(t, 65535, &wire.BasicPublish{RoutingKey: []byte("q")}, body, 0))
		cl.send(65535, &wire.BasicGet{Queue: "q", NoAck: true})
		await[*wire.BasicGetOK](cl, 65535)
		_, got, chunks := cl.content(65535)
		require.True(t, string(got) == string(body))
		require.Len(t, chunks, 1)
		cl.close()
	})
}

// Contract 02 §1 and 01 §8: before the virtual host is open.
func TestMethodsThatAreNotDueInTheHandshake(t *testing.T) {
	t.Parallel()
	early := []wire.Method{
		&wire.ConnectionClose{}, &wire.ConnectionCloseOK{}, &wire.ConnectionSecureOK{},
		&wire.ConnectionUpdateSecret{}, &wire.ChannelOpen{}, &wire.BasicQos{},
	}
	for _, c := range []struct {
		stage   int
		methods []wire.Method
		state   string
	}{
		{afterHeader, append(early, &wire.ConnectionTuneOK{}, &wire.ConnectionOpen{}), "starting"},
		{afterStartOK, append(early, plain(), &wire.ConnectionOpen{VirtualHost: "/"}), "tuning"},
		{afterTuneOK, append(early, plain(), &wire.ConnectionTuneOK{}), "opening"},
	} {
		for _, m := range c.methods {
			t.Run(fmt.Sprintf("%s in %s", m.ID(), c.state), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, b *fakeBroker) {
					cl := b.dial(t, nil).toStage(c.stage, nil)
					cl.send(0, m)
					if c.stage < afterTuneOK {
						cl.ends(3 * time.Second)
					} else {
						cl.refused(reply.ChannelError, "unexpected method in connection state opening", m.ID())
					}
					user := ""
					if c.stage > afterHeader {
						user = ", vhost: 'none', user: 'guest'"
					}
					require.Equal(t, []string{fmt.Sprintf("ERROR Error on AMQP connection (%s%s, state: %s): "+
						"CHANNEL_ERROR - unexpected method in connection state %[3]s", testName, user, c.state)}, b.log.above())
				})
			})
		}
	}
}

// RabbitMQ names the method in the one close, and drops the socket for the other.
func TestConnectionOpenThatCannotBeRead(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterTuneOK, nil)
		cl.raw(methodFrame(0, wire.ConnectionOpenID, 1, 0xff, 0, 0))
		cl.refused(reply.FrameError, "Malformed UTF-8 in shortstr", wire.ConnectionOpenID)
	})
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterTuneOK, nil)
		cl.raw(methodFrame(0, wire.ConnectionOpenID, 1, '/', 0))
		cl.ends(3 * time.Second)
	})
}

func TestFramesOnChannelsBeforeOpen(t *testing.T) {
	t.Parallel()
	for stage, silent := range map[int]bool{afterHeader: true, afterStartOK: true, afterTuneOK: false} {
		for typ := range uint8(10) {
			t.Run(fmt.Sprintf("stage %d, type %d", stage, typ), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, b *fakeBroker) {
					cl := b.dial(t, nil).toStage(stage, nil)
					cl.frame(typ, 1, []byte{0, 20, 0, 10, 0})
					if silent {
						cl.ends(3 * time.Second)
						return
					}
					cl.refused(reply.UnexpectedFrame, fmt.Sprintf("type %d, all octets = <<0,20,0,10,0>>", typ), 0)
				})
			})
		}
	}
}

func TestHeartbeatsAreTakenDuringTheHandshake(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterHeader, nil)
		cl.frame(wire.FrameHeartbeat, 0, nil)
		cl.send(0, plain())
		await[*wire.ConnectionTune](cl, 0)
		cl.frame(wire.FrameHeartbeat, 0, nil)
		cl.send(0, &wire.ConnectionTuneOK{ChannelMax: 1, FrameMax: 4096})
		cl.frame(wire.FrameHeartbeat, 0, nil)
		cl.send(0, &wire.ConnectionOpen{VirtualHost: "/"})
		await[*wire.ConnectionOpenOK](cl, 0)
		cl.close()
	})
}

func TestVirtualHostIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		vhost string
		err   error // of Broker.Open, if not its own
		code  reply.Code
		text  string
	}{
		"unknown":         {"nowhere", nil, reply.NotAllowed, "vhost nowhere not found"},
		"without a name":  {"", nil, reply.NotAllowed, "vhost  not found"},
		"full":            {"/", reply.Errorf(reply.NotAllowed, "it is full"), reply.NotAllowed, "it is full"},
		"down":            {"/", reply.Errorf(reply.InternalError, "it is down"), reply.InternalError, "it is down"},
		"not an amqp err": {"/", net.ErrClosed, reply.InternalError, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				b.refuse = c.err
				cl := b.dial(t, nil).toStage(afterTuneOK, nil)
				cl.send(0, &wire.ConnectionOpen{VirtualHost: c.vhost})
				id := wire.ConnectionOpenID
				if c.text == "" {
					id = 0
				}
				cl.refused(c.code, c.text, id)
				require.Len(t, b.log.above(), 1)
				require.Contains(t, b.log.above()[0], "Error on AMQP connection ("+testName+
					", vhost: 'none', user: 'guest', state: opening): "+c.code.Name())
			})
		})
	}
}

// Contract 02 §4: the handshake's timer is ignored once the connection closes.
func TestRefusedVirtualHostWaitsLongerForCloseOKThanTheHandshakeMayTake(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterTuneOK, nil)
		cl.send(0, &wire.ConnectionOpen{VirtualHost: "nowhere"})
		await[*wire.ConnectionClose](cl, 0)
		cl.ends(30 * time.Second)
	})
}

func TestPenaltyIsServedInFullWhenTheHandshakeIsLate(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterHeader, nil)
		time.Sleep(9 * time.Second)
		cl.send(0, &wire.ConnectionStartOK{Mechanism: "PLAIN"})
		cl.ends(3 * time.Second)
	})
}

func TestHandshakeTimeout(t *testing.T) {
	t.Parallel()
	header := func(n int) func(*client) {
		return func(c *client) { c.raw([]byte(wire.ProtocolHeader)[:n]) }
	}
	stage := func(n int) func(*client) { return func(c *client) { c.toStage(n, nil) } }
	for name, c := range map[string]struct {
		until func(*client)
		state string
	}{
		"without an octet":   {func(*client) {}, "handshake"},
		"in the header":      {header(7), "handshake"},
		"after the header":   {stage(afterHeader), "frame_header"},
		"after start-ok":     {stage(afterStartOK), "frame_header"},
		"after tune-ok":      {stage(afterTuneOK), "frame_header"},
		"in half a start-ok": {func(c *client) { c.toStage(afterHeader, nil).raw([]byte{1, 0, 0, 0, 0, 0, 9, 0}) }, "frame_header"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil)
				c.until(cl)
				cl.ends(10 * time.Second)
				require.Equal(t, "INFO accepting AMQP connection ("+testName+")", b.log.all()[0])
				require.Len(t, b.log.above(), 1)
				require.Regexp(t, `^ERROR closing AMQP connection \(`+testName+`.*\): \{handshake_timeout,`+c.state+`\}$`,
					b.log.above()[0])
			})
		})
	}
}

func TestHandshakeTimeoutIsNoMatterForAnOpenConnection(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open()
		time.Sleep(time.Hour)
		cl.nothing()
		cl.close()
		require.Empty(t, b.log.above())
	})
}

func TestConnectionNameOfTheClientStandsInTheLog(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterHeader, nil)
		cl.send(0, plain(message.Field{Name: "connection_name", Value: "orders"}))
		await[*wire.ConnectionTune](cl, 0)
		cl.send(0, &wire.ConnectionTuneOK{ChannelMax: 1, FrameMax: 4096}, &wire.ConnectionOpen{VirtualHost: "/"})
		await[*wire.ConnectionOpenOK](cl, 0)
		cl.close()
		synctest.Wait()
		require.Equal(t, []string{
			"INFO accepting AMQP connection (" + testName + ")",
			"INFO connection (" + testName + ") has a client-provided name: orders",
			"INFO connection (" + testName + " - orders): user 'guest' authenticated and granted access to vhost '/'",
			"INFO closing AMQP connection (" + testName + " - orders, vhost: '/', user: 'guest')",
		}, b.log.all())
	})
}

func TestUpdateSecretIsAcceptedAndLogged(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open()
		cl.send(0, &wire.ConnectionUpdateSecret{NewSecret: []byte("x"), Reason: "rotation"})
		cl.expect(0, &wire.ConnectionUpdateSecretOK{})
		cl.close()
		require.Contains(t, b.log.all(), "INFO connection ("+testName+"): user 'guest' updated secret, reason: rotation")
	})
}
