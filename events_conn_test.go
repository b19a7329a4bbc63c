package warren_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/amqp091"
	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/wire"
)

// client is what the official client and package amqp091 have in common.
type client interface {
	Close() error
	open(t *testing.T) clientChannel
}

type clientChannel interface {
	Close() error
	QueueInspect(name string) (amqp.Queue, error)
}

type overWire struct{ *amqp.Connection }

func (c overWire) open(t *testing.T) clientChannel { return channel(t, c.Connection) }

type inProcess struct{ *amqp091.Connection }

func (c inProcess) open(t *testing.T) clientChannel {
	t.Helper()
	ch, err := c.Channel()
	require.NoError(t, err)
	return ch
}

// The ways in, and whether frames travel on them: then the client says why it
// closes something.
var waysIn = map[string]struct {
	frames bool
	dial   func(t *testing.T, b *warren.Broker) client
}{
	"tcp": {true, func(t *testing.T, b *warren.Broker) client { return overWire{dial(t, serve(t, b, listen(t)))} }},
	"pipe": {true, func(t *testing.T, b *warren.Broker) client {
		conn, err := amqp.DialConfig("amqp://", amqp.Config{Dial: b.Dial})
		require.NoError(t, err)
		return overWire{conn}
	}},
	"amqp091": {false, func(t *testing.T, b *warren.Broker) client {
		conn, err := amqp091.Open(b, warren.User("guest"))
		require.NoError(t, err)
		return inProcess{conn}
	}},
}

func TestEventsOfConnectionsAndChannels(t *testing.T) {
	t.Parallel()
	// What the official client says when it closes a connection, or a channel.
	byClient := func(frames bool, text string) warren.CloseReason {
		if frames {
			return warren.CloseReason{By: warren.ByClient, Code: 200, Text: text}
		}
		return warren.CloseReason{By: warren.ByClient}
	}
	forced := func(text string) warren.CloseReason {
		return warren.CloseReason{By: warren.ByBroker, Code: 320, Text: "CONNECTION_FORCED - " + text}
	}
	for way, in := range waysIn {
		for name, tc := range map[string]struct {
			end    func(b *warren.Broker, c client) error
			want   warren.CloseReason
			before []warren.Event
		}{
			"closed by the client": {
				end:  func(_ *warren.Broker, c client) error { return c.Close() },
				want: byClient(in.frames, "kthxbai"),
			},
			"closed by an operator": {
				end:  func(b *warren.Broker, _ client) error { b.CloseConnections("guest", "maintenance"); return nil },
				want: forced("maintenance"),
			},
			"user deleted": {
				end:    func(b *warren.Broker, _ client) error { return b.Auth().DeleteUser("guest") },
				want:   forced("user 'guest' is deleted"),
				before: []warren.Event{warren.PermissionDeleted{User: "guest", VHost: "/"}, warren.UserDeleted{User: "guest"}},
			},
			"shutdown": {
				end:  func(b *warren.Broker, _ client) error { return b.Shutdown(context.Background()) },
				want: forced("broker forced connection closure with reason 'shutdown'"),
			},
			"broker closed": {
				end:  func(b *warren.Broker, _ client) error { return b.Close() },
				want: warren.CloseReason{By: warren.ByBroker, Text: "the broker closed it"},
			},
		} {
			t.Run(way+"/"+name, func(t *testing.T) {
				t.Parallel()
				b := newBroker(t, warren.Options{})
				h := listenTo(t, b)
				c := in.dial(t, b)
				if in.frames {
					login, ok := h.next().(warren.UserAuthenticationSuccess)
					require.True(t, ok)
					require.Equal(t, "guest", login.User)
					require.Equal(t, "PLAIN", login.Mechanism)
					require.NotNil(t, login.Peer)
				}
				created, ok := h.next().(warren.ConnectionCreated)
				require.True(t, ok)
				require.Equal(t, warren.ConnectionInfo{
					ID: created.ID, Memory: !in.frames, Info: created.Info,
				}, created.ConnectionInfo)
				require.Equal(t, "running", created.State)
				require.Equal(t, "guest", created.User)
				require.Equal(t, "/", created.VHost)
				require.NotEmpty(t, created.Name)
				if in.frames {
					require.EqualValues(t, 2047, created.ChannelMax)
					require.NotEmpty(t, created.ClientProperties)
				}

				// One channel is closed by each side, and one ends with the connection.
				require.NoError(t, c.open(t).Close())
				_, err := c.open(t).QueueInspect("none")
				require.Error(t, err)
				c.open(t)
				for _, why := range []warren.CloseReason{
					byClient(in.frames, ""),
					{By: warren.ByBroker, Code: warren.NotFound, Text: "NOT_FOUND - no queue 'none' in vhost '/'"},
				} {
					opened, ok := h.next().(warren.ChannelCreated)
					require.True(t, ok)
					require.Equal(t, warren.ChannelCreated{Connection: created.ID, Number: opened.Number, User: "guest", VHost: "/"}, opened)
					h.all(warren.ChannelClosed{Connection: created.ID, Number: opened.Number, Reason: why})
				}
				opened, ok := h.next().(warren.ChannelCreated)
				require.True(t, ok)

				require.NoError(t, tc.end(b, c))
				h.all(tc.before...)
				h.all(warren.ChannelClosed{Connection: created.ID, Number: opened.Number, Reason: tc.want})
				h.all(warren.ConnectionClosed{ID: created.ID, Name: created.Name, User: "guest", VHost: "/", Reason: tc.want})
				if in.frames {
					_ = c.Close() // the case may have done it
				}
				require.NoError(t, b.Close())
				require.Nil(t, h.next(), "the stream ends with the broker")
			})
		}
	}
}

func TestEventsOfConnectionsThatAreLost(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end  func(t *testing.T, c *rawClient)
		want warren.CloseReason
	}{
		"the client goes without a word": {
			func(t *testing.T, c *rawClient) { require.NoError(t, c.Conn.Close()) },
			warren.CloseReason{By: warren.ByNetwork, Text: "client unexpectedly closed TCP connection", Err: io.EOF},
		},
		"a hard error": {
			func(t *testing.T, c *rawClient) { c.send(t, 1, &wire.ChannelOpen{}) },
			warren.CloseReason{By: warren.ByBroker, Code: 504, Text: "CHANNEL_ERROR - second 'channel.open' seen"},
		},
		"no frame": {
			func(t *testing.T, c *rawClient) { c.write(t, []byte{1, 0, 1, 0, 0, 0, 0, 0}) },
			warren.CloseReason{By: warren.ByBroker, Code: 501},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, addr := start(t, warren.Options{})
			c := dialRaw(t, addr)
			h := listenTo(t, b)
			tc.end(t, c)
			channel, ok := h.next().(warren.ChannelClosed)
			require.True(t, ok)
			connection, ok := h.next().(warren.ConnectionClosed)
			require.True(t, ok)
			if tc.want.Text == "" {
				tc.want.Text = connection.Reason.Text
			}
			require.Equal(t, tc.want, connection.Reason)
			require.Equal(t, tc.want, channel.Reason)
		})
	}
}

func TestEventsOfLoginsThatFail(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	h := listenTo(t, b)
	_, err := dialAs(addr, account{"guest", "wrong", "/"})
	require.Error(t, err)
	failed, ok := h.next().(warren.UserAuthenticationFailure)
	require.True(t, ok)
	require.Equal(t, "guest", failed.User)
	require.Equal(t, "PLAIN", failed.Mechanism)
	require.IsType(t, &net.TCPAddr{}, failed.Peer)
	var refused *auth.RefusedError
	require.ErrorAs(t, failed.Err, &refused)
	require.Equal(t, auth.BadCredentials, refused.Reason)

	// Who is let in but not into the virtual host has had no connection.
	_, err = dialAs(addr, account{"guest", "guest", "none"})
	require.Error(t, err)
	require.IsType(t, warren.UserAuthenticationSuccess{}, h.next())
	require.NoError(t, b.Close())
	require.Nil(t, h.next())
}

func TestBubbleEventOfMissedHeartbeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, err := warren.New(warren.Options{})
		require.NoError(t, err)
		begin := time.Now()
		stream := b.Events(t.Context(), 0)
		nc, err := b.Dial("", "")
		require.NoError(t, err)
		c := &rawClient{Conn: nc, buf: make([]byte, 4096)}
		c.startOK(t, "guest", "guest")
		c.expect(t, wire.ConnectionTuneID)
		c.send(t, 0, &wire.ConnectionTuneOK{ChannelMax: 10, FrameMax: 4096, Heartbeat: 60})
		c.send(t, 0, &wire.ConnectionOpen{VirtualHost: "/"})
		c.expect(t, wire.ConnectionOpenOKID)
		for stamp, e := range stream.All() {
			if closed, ok := e.(warren.ConnectionClosed); ok {
				require.Equal(t, warren.ByNetwork, closed.Reason.By)
				require.Equal(t, "missed heartbeats from client, timeout: 60s", closed.Reason.Text)
				require.Error(t, closed.Reason.Err)
				require.Equal(t, 3*time.Minute, stamp.Time.Sub(begin))
				break
			}
		}
		require.NoError(t, nc.Close())
		require.NoError(t, b.Close())
	})
}
