package connection

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// Contract 03 §1 and §3, 02 §6.

var noQueue = &wire.ChannelClose{
	ReplyCode: 404, ReplyText: "NOT_FOUND - no queue 'none' in vhost '/'", ClassID: 50, MethodID: 10,
}

// fail closes a channel by an error.
func (c *client) fail(n uint16) *client {
	c.t.Helper()
	c.send(n, &wire.QueueDeclare{Queue: "none", Passive: true})
	c.expect(n, noQueue)
	return c
}

func TestChannelNumberIsFreeAfterTheClientsClose(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open()
		for range 3 {
			cl.channel(7)
			cl.send(7, &wire.ChannelClose{ReplyCode: 200}, &wire.ChannelOpen{})
			cl.expect(7, &wire.ChannelCloseOK{})
			cl.expect(7, &wire.ChannelOpenOK{})
			cl.send(7, &wire.ChannelClose{})
			cl.expect(7, &wire.ChannelCloseOK{})
		}
		cl.send(7, &wire.ChannelClose{})
		cl.refused(reply.ChannelError, "expected 'channel.open'", wire.ChannelCloseID)
	})
}

func TestChannelCloseGivesBackBeforeCloseOK(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1).declare(1, "q").channel(2)
		cl.publish(1, "q", []byte("x"))
		cl.send(1, &wire.BasicGet{Queue: "q"})
		await[*wire.BasicGetOK](cl, 1)
		cl.content(1)
		cl.send(1, &wire.ChannelClose{})
		cl.expect(1, &wire.ChannelCloseOK{})
		require.Equal(t, 1, b.ready(t, "q"))
		cl.send(2, &wire.BasicGet{Queue: "q", NoAck: true})
		require.True(t, await[*wire.BasicGetOK](cl, 2).Redelivered)
		cl.content(2)
		cl.close()
	})
}

func TestSoftErrorClosesTheChannelOnly(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1).channel(2).fail(1)
		require.Equal(t, []string{"ERROR Channel error on connection (" + testName + ", vhost: '/', user: 'guest'), channel 1: " +
			"operation queue.declare caused a channel exception not_found: no queue 'none' in vhost '/'"}, b.log.above())
		cl.send(2, &wire.BasicQos{})
		cl.expect(2, &wire.BasicQosOK{})
		cl.send(1, &wire.ChannelCloseOK{})
		cl.channel(1).close()
	})
}

func TestClosingChannelSwallowsEverythingButCloseAndCloseOK(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1).declare(1, "q")
		cl.send(1, &wire.ConfirmSelect{})
		await[*wire.ConfirmSelectOK](cl, 1)
		cl.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
		await[*wire.BasicConsumeOK](cl, 1)
		cl.fail(1).channel(2)
		cl.publish(1, "q", []byte("dropped"))
		cl.raw(published(t, 1, &wire.BasicPublish{}, nil, 0))
		cl.send(1, &wire.QueueDeclare{Queue: "other"}, &wire.BasicAck{DeliveryTag: 9}, &wire.BasicQosOK{},
			&wire.ConnectionClose{}, &wire.BasicGet{Queue: "q"}, &wire.TxSelect{})
		cl.publish(2, "q", []byte("kept"))
		cl.nothing()
		require.Equal(t, 1, b.ready(t, "q"), "its consumer is gone")
		require.Equal(t, -1, b.ready(t, "other"))
		cl.send(1, &wire.ChannelClose{})
		cl.expect(1, &wire.ChannelCloseOK{})
		cl.send(1, &wire.ChannelClose{})
		cl.expect(1, &wire.ChannelCloseOK{})
		cl.send(1, &wire.BasicQos{})
		cl.nothing() // the broker still waits for its own answer
		cl.send(1, &wire.ChannelCloseOK{})
		cl.channel(1).close()
	})
}

func TestClosingChannelMustNotBeOpenedAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1).fail(1)
		cl.send(1, &wire.ChannelOpen{})
		cl.refused(reply.ChannelError, "second 'channel.open' seen", wire.ChannelOpenID)
	})
}

func TestClosingChannelIsStillChecked(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1).fail(1)
		cl.send(1, &wire.BasicPublish{}, &wire.BasicPublish{})
		cl.refused(reply.UnexpectedFrame, "expected content header for class 60, got non content header frame instead", wire.BasicPublishID)
	})
}

func TestChannelMaxCountsOpenChannels(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterOpen, &wire.ConnectionTuneOK{ChannelMax: 2, FrameMax: 4096})
		cl.channel(65535).channel(3)
		cl.send(3, &wire.ChannelClose{})
		cl.expect(3, &wire.ChannelCloseOK{})
		cl.channel(4).fail(4)
		cl.send(4, &wire.ChannelCloseOK{})
		cl.channel(5).fail(5)
		// One that waits for close-ok counts.
		cl.send(6, &wire.ChannelOpen{})
		cl.refused(reply.NotAllowed, "number of channels opened (2) has reached the negotiated channel_max (2)", 0)
	})
}

func TestUsersLimitOfChannels(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, 1, 5} {
		inBubble(t, func(t *testing.T, b *fakeBroker) {
			b.maxChannels = limit
			cl := b.dial(t, nil).open()
			for i := range limit {
				cl.channel(uint16(i + 1))
			}
			cl.send(100, &wire.ChannelOpen{})
			cl.refused(reply.NotAllowed, "number of channels opened for user 'guest' has reached the maximum allowed user limit of ("+
				string(rune('0'+limit))+")", 0)
		})
	}
}

func TestConsumerIsToldOfItsQueuesEndIfTheClientCanUnderstand(t *testing.T) {
	t.Parallel()
	for _, able := range []bool{true, false} {
		inBubble(t, func(t *testing.T, b *fakeBroker) {
			cl := b.dial(t, nil).toStage(afterHeader, nil)
			caps := withCapabilities()
			if able {
				caps = withCapabilities("consumer_cancel_notify")
			}
			cl.send(0, plain(caps), &wire.ConnectionTuneOK{ChannelMax: 9, FrameMax: 4096}, &wire.ConnectionOpen{VirtualHost: "/"})
			await[*wire.ConnectionTune](cl, 0)
			await[*wire.ConnectionOpenOK](cl, 0)
			cl.channel(1).declare(1, "q").channel(2)
			cl.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
			await[*wire.BasicConsumeOK](cl, 1)
			cl.send(2, &wire.QueueDelete{Queue: "q"})
			cl.expect(2, &wire.QueueDeleteOK{})
			if able {
				cl.expect(1, &wire.BasicCancel{ConsumerTag: "c", NoWait: true})
			}
			cl.nothing()
			cl.close()
		})
	}
}

func TestNamesMayHaveAllTheLengthAStringHas(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		long := make([]byte, 255)
		for i := range long {
			long[i] = 'n'
		}
		name := string(long)
		cl := b.dial(t, nil).open().channel(1).declare(1, name)
		cl.send(1, &wire.BasicConsume{Queue: name, ConsumerTag: name, NoAck: true})
		cl.expect(1, &wire.BasicConsumeOK{ConsumerTag: name})
		cl.raw(published(t, 1, &wire.BasicPublish{RoutingKey: long}, nil, 0))
		d := await[*wire.BasicDeliver](cl, 1)
		require.Equal(t, long, d.ConsumerTag)
		require.Equal(t, long, d.RoutingKey)
		cl.content(1)
		raw := make([]byte, 255) // not UTF-8 in a publish is fine, and goes back as it is
		for i := range raw {
			raw[i] = 0xff
		}
		cl.raw(published(t, 1, &wire.BasicPublish{RoutingKey: raw, Mandatory: true}, nil, 0))
		r := await[*wire.BasicReturn](cl, 1)
		require.Equal(t, raw, r.RoutingKey)
		require.Equal(t, "NO_ROUTE", string(r.ReplyText))
		cl.content(1)
		cl.raw(published(t, 1, &wire.BasicPublish{Exchange: raw}, nil, 0))
		f := cl.next() // its text is not UTF-8 either, and cut to what fits
		require.Equal(t, wire.ChannelCloseID, wire.ID(binary.BigEndian.Uint32(f.Payload)))
		require.EqualValues(t, 255, f.Payload[6])
		require.Equal(t, "...", string(f.Payload[7+252:7+255]))
		cl.close()
	})
}

func TestPublishesOfManyChannelsInterleave(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open()
		const n = 50
		for ch := uint16(1); ch <= n; ch++ {
			cl.channel(ch)
		}
		cl.declare(1, "q")
		parts := make([][]byte, n)
		for i := range parts {
			parts[i] = published(t, uint16(i+1), &wire.BasicPublish{RoutingKey: []byte("q")}, []byte{byte(i), 1, 2, 3}, 10)
		}
		size := len(frame(1, 1, []byte("\x00\x3c\x00\x28\x00\x00\x00\x01q\x00")))
		for len(parts[0]) > 0 {
			for i, p := range parts {
				cl.raw(p[:size])
				parts[i] = p[size:]
			}
			size = 8 + 14
			if len(parts[0]) <= 20 {
				size = 10
			}
		}
		time.Sleep(time.Second)
		require.Equal(t, n, b.ready(t, "q"))
		cl.close()
	})
}

// A publish that has its answer is confirmed before the client hears that the channel
// ends, even if it sent both at once.
func TestConfirmsThatAreDueGoBeforeTheClose(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		on     uint16
		m      wire.Method
		closed func(*client)
	}{
		"an error of the channel": {1, &wire.QueuePurge{Queue: "none"}, func(cl *client) { await[*wire.ChannelClose](cl, 1) }},
		"the channel's close":     {1, &wire.ChannelClose{}, func(cl *client) { await[*wire.ChannelCloseOK](cl, 1) }},
		"an error of another one": {2, &wire.ChannelFlow{}, func(cl *client) { await[*wire.ConnectionClose](cl, 0) }},
		"the connection's close":  {0, &wire.ConnectionClose{}, func(cl *client) { await[*wire.ConnectionCloseOK](cl, 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil).open().channel(1).channel(2)
				cl.send(1, &wire.ConfirmSelect{})
				await[*wire.ConfirmSelectOK](cl, 1)
				nowhere := published(t, 1, &wire.BasicPublish{RoutingKey: []byte("none")}, nil, 0)
				all := slices.Concat(nowhere, nowhere, nowhere)
				all, err := wire.AppendMethodFrame(all, c.on, c.m)
				require.NoError(t, err)
				cl.raw(all)
				cl.confirmed(3)
				c.closed(cl)
				cl.hangUp()
			})
		})
	}
}
