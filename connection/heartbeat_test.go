package connection

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// Contract 02 §7. Time is virtual, so that instants are exact.

func beating(seconds uint16) *wire.ConnectionTuneOK {
	return &wire.ConnectionTuneOK{ChannelMax: 2047, FrameMax: 131072, Heartbeat: seconds}
}

// instants gives when each of the next n frames comes, all of them heartbeats.
func (c *client) instants(begin time.Time, n int) (at []time.Duration) {
	c.t.Helper()
	for range n {
		f := c.next()
		require.Equal(c.t, wire.Frame{Type: wire.FrameHeartbeat}, wire.Frame{Type: f.Type, Channel: f.Channel})
		require.Empty(c.t, f.Payload)
		at = append(at, time.Since(begin))
	}
	return at
}

func seconds(s ...float64) (ds []time.Duration) {
	for _, s := range s {
		ds = append(ds, time.Duration(s*float64(time.Second)))
	}
	return ds
}

func TestHeartbeatIsSentEachHalfIntervalAndASilentClientIsDroppedAfterThree(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil)
		begin := time.Now()
		cl.toStage(afterOpen, beating(2))
		require.Equal(t, seconds(1, 2, 3, 4, 5), cl.instants(begin, 5))
		cl.ends(time.Second)
		require.Equal(t, []string{"ERROR closing AMQP connection (" + testName +
			", vhost: '/', user: 'guest'): missed heartbeats from client, timeout: 2s"}, b.log.above())
	})
}

func TestHeartbeatsBeginWithTuneOK(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterStartOK, nil)
		time.Sleep(3 * time.Second)
		begin := time.Now()
		cl.send(0, beating(1))
		require.Equal(t, seconds(0.5, 1, 1.5, 2, 2.5), cl.instants(begin, 5))
		cl.ends(500 * time.Millisecond)
		require.Equal(t, []string{"ERROR closing AMQP connection (" + testName +
			", vhost: 'none', user: 'guest'): missed heartbeats from client, timeout: 1s"}, b.log.above())
	})
}

func TestAnyOctetSentPutsAHeartbeatOffExceptTheFirst(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil)
		begin := time.Now()
		cl.toStage(afterOpen, beating(10)).channel(1)
		ask := func(at float64) {
			time.Sleep(time.Until(begin.Add(seconds(at)[0])))
			cl.send(1, &wire.BasicQos{})
			cl.expect(1, &wire.BasicQosOK{})
		}
		ask(4)
		require.Equal(t, seconds(5), cl.instants(begin, 1), "the first comes in any case")
		ask(6)
		ask(11)
		ask(19)
		cl.nothing()
		require.Equal(t, seconds(25, 30), cl.instants(begin, 2))
		cl.close()
	})
}

func TestAnyOctetReceivedIsASignOfLife(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterOpen, beating(2)).channel(1)
		begin := time.Now()
		// A method, octet by octet, the last of them at 13 s.
		for _, octet := range encoded(t, 1, &wire.BasicQos{PrefetchCount: 1})[:14] {
			cl.raw([]byte{octet})
			time.Sleep(time.Second)
		}
		cl.nothingBut(wire.FrameHeartbeat)
		for f := range cl.frames {
			require.EqualValues(t, wire.FrameHeartbeat, f.Type)
		}
		require.Equal(t, 18*time.Second, time.Since(begin), "two to three intervals after the last octet")
		cl.hangUp()
	})
}

func TestHeartbeatsOfTheClientKeepTheConnection(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterOpen, beating(2))
		for range 1000 {
			cl.frame(wire.FrameHeartbeat, 0, nil)
			time.Sleep(2 * time.Second)
		}
		cl.nothingBut(wire.FrameHeartbeat)
		cl.close()
		require.Empty(t, b.log.above())
	})
}

func TestHeartbeat0IsOff(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterOpen, beating(0))
		cl.frame(wire.FrameHeartbeat, 0, nil) // is taken all the same
		time.Sleep(24 * time.Hour)
		cl.nothing()
		cl.close()
	})
}

func TestTheHeartbeatIsTheClientsChoice(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, func(c *Config) { c.Heartbeat = 1 })
		begin := time.Now()
		cl.toStage(afterOpen, beating(65535))
		time.Sleep(time.Until(begin.Add(32767 * time.Second)))
		cl.nothing()
		require.Equal(t, seconds(32767.5), cl.instants(begin, 1))
		cl.close()
	})
}

// A client's silence is no matter once the connection closes: the wait for its
// answer is limited by itself.
func TestMissedHeartbeatsAreIgnoredWhileClosing(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterOpen, beating(10))
		time.Sleep(29 * time.Second) // they would be missed at 30 s
		cl.conn.Close(reply.Errorf(reply.ConnectionForced, "go"))
		await[*wire.ConnectionClose](cl, 0)
		cl.ends(10 * time.Second)
		require.Empty(t, b.log.above())
	})
}

// Contract 02 §7: the receiver's check pauses while the broker itself does not
// read.
func TestAClientIsNotBlamedForWhatTheBrokerDoesNotRead(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterOpen, beating(2)).channel(1).declare(1, "q")
		resume := cl.halt()
		cl.owe(3 * maxOwed)
		for range 60 {
			cl.frame(wire.FrameHeartbeat, 0, nil)
			time.Sleep(time.Second)
		}
		resume()
		cl.owed(3 * maxOwed)
		cl.nothingBut(wire.FrameHeartbeat)
		cl.close()
		require.Empty(t, b.log.above())
	})
}

func TestHeartbeatsDoNotPileUpForAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterOpen, beating(2))
		cl.nothing()
		resume := cl.halt()
		for range 1000 {
			cl.frame(wire.FrameHeartbeat, 0, nil)
			time.Sleep(time.Second)
		}
		resume()
		n := cl.nothingBut(wire.FrameHeartbeat)
		require.Less(t, n, 10)
		cl.close()
	})
}
