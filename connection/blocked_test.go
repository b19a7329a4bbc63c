package connection

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// Contract 07 §3 and §6, as RabbitMQ 3.10.8 was seen to do it.

func lowOn(what string) *wire.ConnectionBlocked {
	return &wire.ConnectionBlocked{Reason: "low on " + what}
}

// publisher is a client with a queue "q" on channel 1, in confirm mode.
func (b *fakeBroker) publisher(t testing.TB, tune *wire.ConnectionTuneOK) *client {
	t.Helper()
	cl := b.dial(t, nil).toStage(afterOpen, tune).channel(1).declare(1, "q")
	cl.send(1, &wire.ConfirmSelect{})
	cl.expect(1, &wire.ConfirmSelectOK{})
	return cl
}

// confirmed expects the confirms of publishes up to a tag, however they are
// counted together.
func (c *client) confirmed(last uint64) {
	c.t.Helper()
	for {
		if ack := await[*wire.BasicAck](c, 1); ack.DeliveryTag == last {
			return
		}
	}
}

func TestAlarmSequencesAsTheClientSeesThem(t *testing.T) {
	t.Parallel()
	type steps []string
	for name, sequence := range map[string]steps{
		"consumer only":                        {"+memory", "call", "-memory"},
		"publish":                              {"+memory", "publish", "<low on memory", "-memory", "<unblocked", "confirm 1"},
		"publish before the alarm":             {"publish", "confirm 1", "+memory", "call", "-memory", "call"},
		"publish after the alarm":              {"+disk", "-disk", "publish", "confirm 1"},
		"second source while blocked":          {"+memory", "publish", "<low on memory", "+disk", "-memory", "silence", "-disk", "<unblocked", "confirm 1"},
		"second source clears first":           {"+memory", "publish", "<low on memory", "+disk", "-disk", "silence", "-memory", "<unblocked", "confirm 1"},
		"two sources":                          {"+memory", "+disk", "publish", "<low on disk & memory", "-disk", "silence", "-memory", "<unblocked", "confirm 1"},
		"another source at the time":           {"+memory", "+disk", "-memory", "publish", "<low on disk", "-disk", "<unblocked", "confirm 1"},
		"second episode without a publish":     {"+memory", "publish", "<low on memory", "-memory", "<unblocked", "confirm 1", "+memory", "call", "-memory", "call"},
		"second episode with a publish":        {"+memory", "publish", "<low on memory", "-memory", "<unblocked", "confirm 1", "+disk", "publish", "<low on disk", "-disk", "<unblocked", "confirm 2"},
		"empty body completes":                 {"+memory", "publish empty", "<low on memory", "confirm 1", "-memory", "<unblocked"},
		"several publishes, once per episode":  {"+memory", "publish empty", "<low on memory", "confirm 1", "publish", "publish", "silence", "-memory", "<unblocked", "confirm 3"},
		"header without the rest of the frame": {"+memory", "half", "silence", "-memory", "rest", "confirm 1"},
		"body frame, alarm after the header":   {"header", "+memory", "body", "<low on memory", "confirm 1", "-memory", "<unblocked"},
		"what is behind the publish waits":     {"+memory", "publish empty", "<low on memory", "confirm 1", "ask", "silence", "-memory", "<unblocked", "answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.publisher(t, nil)
				whole := published(t, 1, &wire.BasicPublish{RoutingKey: []byte("q")}, []byte("body"), 131072)
				body := len(whole) - len(frame(wire.FrameBody, 1, []byte("body")))
				for _, s := range sequence {
					synctest.Wait()
					switch s {
					case "+memory", "+disk":
						b.alarms.Set(s[1:])
					case "-memory", "-disk":
						b.alarms.Clear(s[1:])
					case "publish":
						cl.raw(whole)
					case "publish empty":
						cl.publish(1, "q", nil)
					case "half":
						cl.raw(whole[:body-1])
					case "rest":
						cl.raw(whole[body-1:])
					case "header":
						cl.raw(whole[:body])
					case "body":
						cl.raw(whole[body:])
					case "call":
						cl.send(1, &wire.BasicQos{})
						cl.expect(1, &wire.BasicQosOK{})
					case "ask":
						cl.send(1, &wire.BasicQos{})
					case "answer":
						cl.expect(1, &wire.BasicQosOK{})
					case "silence":
						cl.nothing()
					case "<unblocked":
						cl.expect(0, &wire.ConnectionUnblocked{})
					case "confirm 1", "confirm 2", "confirm 3":
						cl.confirmed(uint64(s[len(s)-1] - '0'))
					default:
						cl.expect(0, &wire.ConnectionBlocked{Reason: s[1:]})
					}
				}
				cl.nothing()
				cl.close()
				require.Empty(t, b.log.above())
			})
		})
	}
}

func TestAClientWithoutTheCapabilityIsBlockedInSilence(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil)
		cl.raw([]byte(wire.ProtocolHeader))
		await[*wire.ConnectionStart](cl, 0)
		cl.send(0, plain(withCapabilities("consumer_cancel_notify")))
		await[*wire.ConnectionTune](cl, 0)
		cl.send(0, &wire.ConnectionTuneOK{ChannelMax: 2047, FrameMax: 131072}, &wire.ConnectionOpen{VirtualHost: "/"})
		await[*wire.ConnectionOpenOK](cl, 0)
		cl.channel(1).declare(1, "q")
		b.alarms.Set("memory")
		cl.publish(1, "q", []byte("body"))
		cl.nothing()
		require.Equal(t, StateBlocked, cl.conn.Info().State)
		require.Zero(t, b.ready(t, "q"))
		b.alarms.Clear("memory")
		cl.nothing()
		require.Equal(t, 1, b.ready(t, "q"))
		cl.close()
	})
}

func TestAConnectionOpenedDuringAnAlarmIsBlockedByItsFirstPublish(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		b.alarms.Set("disk")
		cl := b.publisher(t, nil)
		require.Equal(t, StateBlocking, cl.conn.Info().State)
		cl.publish(1, "q", []byte("body"))
		cl.expect(0, lowOn("disk"))
		synctest.Wait()
		require.Equal(t, StateBlocked, cl.conn.Info().State)
		b.alarms.Clear("disk")
		cl.expect(0, &wire.ConnectionUnblocked{})
		cl.confirmed(1)
		require.Equal(t, "running", cl.conn.Info().State)
		cl.close()
	})
}

func TestALongNameOfAnAlarmIsCut(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.publisher(t, nil)
		b.alarms.Set(string(bytes.Repeat([]byte("x"), 1000)))
		cl.publish(1, "q", nil)
		require.Len(t, await[*wire.ConnectionBlocked](cl, 0).Reason, 255)
		cl.conn.Abort()
		cl.hangUp()
	})
}

// What came before the frame that blocks is carried out, and what comes after it
// keeps its order.
func TestABlockedConnectionLosesNothingAndKeepsTheOrder(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.publisher(t, nil)
		reader := b.dial(t, nil).open().channel(1)
		const n = 500
		for i := range n {
			if i == n/2 {
				cl.nothingBut(wire.FrameMethod) // confirms
				b.alarms.Set("memory")
			}
			cl.publish(1, "q", []byte{byte(i), byte(i >> 8)})
		}
		cl.expect(0, lowOn("memory"))
		synctest.Wait()
		require.Equal(t, n/2, b.ready(t, "q"))
		b.alarms.Clear("memory")
		cl.expect(0, &wire.ConnectionUnblocked{})
		cl.confirmed(n)
		for i := range n {
			reader.send(1, &wire.BasicGet{Queue: "q", NoAck: true})
			await[*wire.BasicGetOK](reader, 1)
			_, body, _ := reader.content(1)
			require.Equal(t, []byte{byte(i), byte(i >> 8)}, body)
		}
		cl.close()
		reader.close()
	})
}

// Consumers go on: that is how a broker gets rid of what it is short of.
func TestDeliveriesAndAcksGoOnDuringAnAlarm(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.publisher(t, nil)
		for range 10 {
			cl.publish(1, "q", []byte("body"))
		}
		cl.confirmed(10)
		b.alarms.Set("memory")
		cl.publish(1, "q", []byte("body"))
		cl.expect(0, lowOn("memory"))

		reader := b.dial(t, nil).open().channel(1)
		reader.send(1, &wire.BasicQos{PrefetchCount: 1})
		reader.expect(1, &wire.BasicQosOK{})
		reader.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
		reader.expect(1, &wire.BasicConsumeOK{ConsumerTag: "c"})
		for tag := range uint64(10) {
			require.Equal(t, tag+1, await[*wire.BasicDeliver](reader, 1).DeliveryTag)
			reader.content(1)
			reader.send(1, &wire.BasicAck{DeliveryTag: tag + 1})
		}
		reader.nothing()
		require.Equal(t, StateBlocking, reader.conn.Info().State)
		b.alarms.Clear("memory")
		await[*wire.BasicDeliver](reader, 1)
		reader.content(1)
		reader.close()
		cl.expect(0, &wire.ConnectionUnblocked{})
		cl.confirmed(11)
		cl.close()
	})
}

// A blocked connection's own consumers get what comes, too.
func TestABlockedConnectionIsWrittenTo(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.publisher(t, nil)
		cl.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoAck: true})
		cl.expect(1, &wire.BasicConsumeOK{ConsumerTag: "c"})
		b.alarms.Set("memory")
		cl.publish(1, "q", nil)
		cl.expect(0, lowOn("memory"))
		await[*wire.BasicDeliver](cl, 1)
		cl.content(1)
		cl.confirmed(1)
		cl.conn.Abort()
		cl.hangUp()
	})
}

func TestTheReceiverCheckPausesWhileBlockedAndTheSenderGoesOn(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.publisher(t, beating(2))
		b.alarms.Set("memory")
		cl.publish(1, "q", []byte("body"))
		cl.expect(0, lowOn("memory"))
		time.Sleep(time.Hour)
		require.InDelta(t, 3600, cl.nothingBut(wire.FrameHeartbeat), 2)

		b.alarms.Clear("memory")
		cl.expect(0, &wire.ConnectionUnblocked{})
		cl.confirmed(1)
		begin := time.Now()
		for f := range cl.frames {
			require.EqualValues(t, wire.FrameHeartbeat, f.Type)
		}
		require.InDelta(t, 5, time.Since(begin).Seconds(), 1, "the check begins anew")
		cl.hangUp()
	})
}

func TestABlockedClientThatGoesIsNoticedByTheNextHeartbeat(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.publisher(t, beating(60))
		b.alarms.Set("memory")
		cl.publish(1, "q", []byte("body"))
		cl.expect(0, lowOn("memory"))
		begin := time.Now()
		cl.hangUp() // waits for the broker's side
		require.Positive(t, time.Since(begin))
		require.LessOrEqual(t, time.Since(begin), time.Minute)
		require.Zero(t, b.ready(t, "q"))
		require.Equal(t, []string{"WARN closing AMQP connection (" + testName +
			", vhost: '/', user: 'guest'): client unexpectedly closed TCP connection"}, b.log.above())
	})
}

func TestABlockedConnectionCanBeClosedByTheBroker(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.publisher(t, beating(10))
		b.alarms.Set("memory")
		cl.publish(1, "q", []byte("body"))
		cl.send(1, &wire.BasicQos{})
		cl.expect(0, lowOn("memory"))
		synctest.Wait()
		cl.conn.Close(reply.Errorf(reply.ConnectionForced, "go away"))
		cl.expect(0, closeWith(reply.ConnectionForced, "go away", 0))
		synctest.Wait()
		require.Equal(t, "closed", cl.conn.Info().State)
		cl.send(0, &wire.ConnectionCloseOK{})
		cl.ends(0)
		require.Zero(t, b.ready(t, "q"))
	})
}

func TestABlockedConnectionCanBeCutOff(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.publisher(t, nil)
		b.alarms.Set("memory")
		cl.publish(1, "q", []byte("body"))
		cl.expect(0, lowOn("memory"))
		cl.conn.Abort()
		cl.ends(0)
	})
}

// A client's close is not read while the connection is blocked.
func TestABlockedClientCannotClose(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.publisher(t, nil)
		b.alarms.Set("memory")
		cl.publish(1, "q", []byte("body"))
		cl.expect(0, lowOn("memory"))
		cl.send(0, &wire.ConnectionClose{ReplyCode: 200, ReplyText: "bye"})
		time.Sleep(time.Hour)
		cl.nothing()
		b.alarms.Clear("memory")
		cl.expect(0, &wire.ConnectionUnblocked{})
		for {
			if m, _ := cl.method(); m.ID() == wire.ConnectionCloseOKID {
				break // the confirm may have come before it
			}
		}
		require.Equal(t, 1, b.ready(t, "q"))
		cl.hangUp()
	})
}

// The publish that blocks may be refused, and an alarm does not keep the client
// from learning it.
func TestAPublishThatIsRefusedDuringAnAlarm(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.publisher(t, nil)
		b.alarms.Set("memory")
		cl.raw(published(t, 1, &wire.BasicPublish{Exchange: []byte("nope")}, nil, 131072))
		await[*wire.ChannelClose](cl, 1)
		cl.expect(0, lowOn("memory"))
		b.alarms.Clear("memory")
		cl.expect(0, &wire.ConnectionUnblocked{})
		cl.send(1, &wire.ChannelCloseOK{})
		cl.close()
	})
}
