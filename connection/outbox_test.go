package connection

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

func TestAnswersAndDeliveriesKeepTheirOrder(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1).declare(1, "q")
		cl.send(1, &wire.ConfirmSelect{})
		cl.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoAck: true})
		cl.publish(1, "q", []byte("first"))
		cl.send(1, &wire.BasicCancel{ConsumerTag: "c"})
		cl.publish(1, "q", []byte("second"))
		cl.send(1, &wire.BasicGet{Queue: "q"})
		cl.send(1, &wire.BasicQos{PrefetchCount: 1})
		await[*wire.ConfirmSelectOK](cl, 1)
		await[*wire.BasicConsumeOK](cl, 1)
		var order []string
		for range 7 {
			f := cl.next()
			m, err := wire.Decode(f.Payload)
			require.NoError(t, err)
			if _, confirm := m.(*wire.BasicAck); !confirm { // these come when there is time
				order = append(order, m.ID().String())
			}
			if m.ID().HasContent() {
				_, body, _ := cl.content(1)
				order = append(order, string(body))
			}
			if len(order) == 6 {
				break
			}
		}
		require.Equal(t, []string{"basic.deliver", "first", "basic.cancel-ok", "basic.get-ok", "second", "basic.qos-ok"}, order)
		cl.hangUp()
	})
}

func TestReturnComesBeforeItsConfirm(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1)
		cl.send(1, &wire.ConfirmSelect{})
		await[*wire.ConfirmSelectOK](cl, 1)
		for tag := range uint64(20) {
			cl.raw(published(t, 1, &wire.BasicPublish{RoutingKey: []byte("nowhere"), Mandatory: true}, []byte("back"), 0))
			r := await[*wire.BasicReturn](cl, 1)
			require.EqualValues(t, reply.NoRoute, r.ReplyCode)
			_, body, _ := cl.content(1)
			require.Equal(t, "back", string(body))
			cl.expect(1, &wire.BasicAck{DeliveryTag: tag + 1})
		}
		cl.close()
	})
}

func TestConfirmsOfManyPublishesComeTogether(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1).declare(1, "q")
		cl.send(1, &wire.ConfirmSelect{})
		await[*wire.ConfirmSelectOK](cl, 1)
		const n = 10000
		for range n {
			cl.publish(1, "q", []byte("x"))
		}
		answers := 0
		for last := uint64(0); last < n; answers++ {
			a := await[*wire.BasicAck](cl, 1)
			require.Greater(t, a.DeliveryTag, last)
			require.True(t, a.Multiple || a.DeliveryTag == last+1)
			last = a.DeliveryTag
		}
		require.Less(t, answers, n/2)
		cl.close()
	})
}

// Bodies go to a TCP socket by reference, to anything else by a copy.
func TestBodiesAreCutToFrameMaxAndArriveWhole(t *testing.T) {
	t.Parallel()
	for _, tcp := range []bool{false, true} {
		for _, frameMax := range []uint32{4096, 4097, 9000, 65536, 131072} {
			t.Run(fmt.Sprintf("tcp %v, frame_max %d", tcp, frameMax), func(t *testing.T) {
				t.Parallel()
				b := newFakeBroker(t)
				cl := (*client)(nil)
				if tcp {
					cl = b.dialTCP(t, 1, nil)
				} else {
					cl = b.dial(t, nil)
				}
				cl.toStage(afterOpen, &wire.ConnectionTuneOK{ChannelMax: 9, FrameMax: frameMax}).channel(1).declare(1, "q")
				chunk := int(frameMax) - wire.FrameOverhead
				sizes := []int{0, 1, 100, chunk - 1, chunk, chunk + 1, 2*chunk - 1, 2 * chunk, 2*chunk + 1,
					byReference - 1, byReference, byReference + 1, flushAt - 1, flushAt, flushAt + 1, 300_000, 1 << 20}
				for i, n := range sizes {
					cl.raw(published(t, 1, &wire.BasicPublish{RoutingKey: []byte("q")}, pattern(i, n), frameMax))
				}
				for range 2 { // by get, and redelivered to a consumer
					if sizes[0] == 0 {
						cl.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
						await[*wire.BasicConsumeOK](cl, 1)
					}
					for i, n := range sizes {
						d := await[*wire.BasicDeliver](cl, 1)
						_, body, chunks := cl.content(1)
						require.True(t, bytes.Equal(pattern(i, n), body), "%d octets", n)
						for i, c := range chunks {
							require.Equal(t, min(chunk, n-i*chunk), c)
						}
						cl.send(1, &wire.BasicNack{DeliveryTag: d.DeliveryTag})
					}
					if b.ready(t, "q") == 0 {
						break
					}
				}
				for i, n := range sizes {
					cl.raw(published(t, 1, &wire.BasicPublish{RoutingKey: []byte("no"), Mandatory: true}, pattern(i, n), frameMax))
					await[*wire.BasicReturn](cl, 1)
					_, body, _ := cl.content(1)
					require.True(t, bytes.Equal(pattern(i, n), body), "%d octets returned", n)
				}
				cl.close()
				b.wg.Wait()
			})
		}
	}
}

// pattern is a body that is different at each place.
func pattern(seed, n int) []byte {
	p := make([]byte, n)
	for i := 0; i+4 <= n; i += 4 {
		binary.BigEndian.PutUint32(p[i:], uint32(i*2654435761+seed))
	}
	return p
}

func TestReaderStopsWhileTheClientDoesNotReadItsAnswers(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1)
		cl.nothing()
		before := cl.conn.received.Load()
		resume := cl.halt()
		const all = 8 * maxOwed
		cl.owe(all)
		synctest.Wait()
		// An answer is about as long as the question here. One maxOwed is with the
		// writer, the other in the outbox.
		require.Less(t, cl.conn.received.Load()-before, uint64(2*maxOwed+2*maxBuffer))
		resume()
		cl.owed(all)
		cl.close()
	})
}

func TestClientThatNeverReadsCanBeEnded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end   func(*client)
		after time.Duration
	}{
		"abort":    {func(c *client) { c.conn.Abort() }, 0},
		"close":    {func(c *client) { c.conn.Close(reply.Errorf(reply.ConnectionForced, "go")) }, maxCloseWait + penalty},
		"two ways": {func(c *client) { c.conn.Close(reply.Errorf(reply.ConnectionForced, "go")); c.conn.Abort() }, 0},
		"hang up":  {func(c *client) { c.nc.Close() }, 0},
	} {
		for _, stuck := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reader waits %v", name, stuck), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, b *fakeBroker) {
					cl := b.dial(t, nil).open().channel(1)
					cl.nothing()
					cl.halt()
					if stuck {
						cl.owe(3 * maxOwed)
					} else {
						cl.owe(maxOwed / 2)
					}
					synctest.Wait()
					begin := time.Now()
					c.end(cl)
					<-cl.conn.Done()
					require.Equal(t, c.after, time.Since(begin))
				})
			})
		}
	}
}

func TestDeliveriesToAClientThatDoesNotReadAreLimited(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1).declare(1, "q")
		const n, size = 2000, 10_000
		cl.nothing()
		resume := cl.halt()
		cl.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoAck: true})
		other := b.dial(t, nil).open().channel(1)
		for i := range n {
			other.publish(1, "q", pattern(i, size))
		}
		other.close()
		taken := n - b.ready(t, "q")
		// What the pipe took and what the window allows.
		require.LessOrEqual(t, taken, 2+(64<<10+128<<10+flushAt)/size)
		require.Positive(t, taken)
		resume()
		await[*wire.BasicConsumeOK](cl, 1)
		for i := range n {
			d := await[*wire.BasicDeliver](cl, 1)
			require.EqualValues(t, i+1, d.DeliveryTag)
			_, body, _ := cl.content(1)
			require.True(t, bytes.Equal(pattern(i, size), body))
		}
		cl.close()
	})
}

func TestPublisherPausesForConsumersOnceUnlessTheyCatchUp(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1).declare(1, "q")
		cl.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoAck: true})
		await[*wire.BasicConsumeOK](cl, 1)
		other := b.dial(t, nil).open().channel(1)
		const n, size = 200, 10_000
		took := func() time.Duration {
			begin := time.Now()
			for i := range n {
				other.publish(1, "q", pattern(i, size))
			}
			other.declare(1, "other")
			return time.Since(begin)
		}
		receive := func(n int) {
			for range n {
				await[*wire.BasicDeliver](cl, 1)
				cl.content(1)
			}
		}
		require.Zero(t, took(), "a consumer that reads keeps step")
		receive(n)
		cl.nothing()
		for range 2 {
			resume := cl.halt()
			require.Equal(t, maxPause, took())
			require.Zero(t, took(), "nobody waits twice")
			resume()
			receive(2 * n)
		}
		other.close()
		cl.close()
	})
}

func TestOneDeliveryIsMadeHoweverLargeItIs(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, func(c *Config) { c.MaxUnsent = 1 }).open().channel(1).declare(1, "q")
		cl.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoAck: true})
		await[*wire.BasicConsumeOK](cl, 1)
		for i := range 10 {
			cl.publish(1, "q", pattern(i, 1<<20))
		}
		for i := range 10 {
			await[*wire.BasicDeliver](cl, 1)
			_, body, _ := cl.content(1)
			require.True(t, bytes.Equal(pattern(i, 1<<20), body))
		}
		cl.close()
	})
}

func TestWriterErrorBlocksNobody(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		here, there := net.Pipe()
		f := &faulty{Conn: addressed{there}}
		cl := b.serve(t, 1, f, here, nil).open().channel(1).declare(1, "q")
		cl.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoAck: true})
		await[*wire.BasicConsumeOK](cl, 1)
		cl.nothing()
		f.fail(nil, net.ErrClosed)
		other := b.dial(t, nil).open().channel(1)
		for range 100 {
			other.publish(1, "q", make([]byte, 100_000))
		}
		cl.owe(5 * maxOwed) // is read to the end although nothing can be answered
		other.close()
		synctest.Wait()
		require.Zero(t, b.ready(t, "q"), "the broker gives what it cannot send")
		cl.mu.Lock()
		require.Empty(t, cl.out)
		cl.mu.Unlock()
		cl.ends(penalty)
	})
}

// The outbox by itself.

func TestOutboxThatIsClosedTakesNothingAndGivesBack(t *testing.T) {
	t.Parallel()
	o := newOutbox()
	o.close()
	m := message.New("", "", []byte{0, 0}, 0)
	m.Retain(3)
	s := &session{ch: &channel.Channel{}}
	o.deliver(s, "c", 1, []queue.Delivery{{Msg: m}})
	o.getOK(s, 1, queue.GetReply{Msg: m})
	o.returned(s, reply.NoRoute, m)
	require.EqualValues(t, 1, m.Refs())
	m.Release()
	require.False(t, o.heartbeat())
	o.confirmsReady(s)
	o.octets("x")
	require.NoError(t, o.method(0, &wire.ConnectionCloseOK{}))
	require.Nil(t, o.full())
	l, _ := o.take()
	require.Nil(t, l)
}

func TestOutboxIsFullAboveMaxOwed(t *testing.T) {
	t.Parallel()
	o := newOutbox()
	o.octets(strings.Repeat("x", maxOwed))
	require.Nil(t, o.full())
	o.octets("x")
	room := o.full()
	require.NotNil(t, room)
	require.Equal(t, room, o.full())
	select {
	case <-room:
		require.Fail(t, "there is no room yet")
	default:
	}
	l, _ := o.take()
	<-room
	require.Nil(t, o.full())
	require.Len(t, l.frames, maxOwed+1)
}

func TestOutboxSaysWhatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	o := newOutbox()
	o.octets("before")
	require.ErrorIs(t, o.method(1, &wire.BasicCancel{ConsumerTag: strings.Repeat("x", 256)}), wire.ErrTooLong)
	l, _ := o.take()
	require.Equal(t, "before", string(l.frames))
}

func TestConnectionThatCannotSayItsAnswerEnds(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, func(c *Config) { c.ServerProperties = message.Table{{Name: "bad", Value: struct{}{}}} })
		cl.raw([]byte(wire.ProtocolHeader))
		cl.ends(0)
		require.Len(t, b.log.above(), 1)
		require.Contains(t, b.log.above()[0], "connection.start")
	})
}

func TestOutboxOfAnIdleConnectionKeepsLittle(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1).declare(1, "q")
		cl.nothing()
		resume := cl.halt()
		cl.owe(maxOwed)
		for i := range 1000 {
			cl.publish(1, "q", pattern(i, 100))
			cl.send(1, &wire.BasicGet{Queue: "q"})
		}
		cl.send(1, &wire.ConfirmSelect{})
		for range 5000 {
			cl.publish(1, "q", nil)
		}
		resume()
		cl.owed(maxOwed)
		synctest.Wait()
		o, w := cl.conn.out, &cl.conn.w
		o.mu.Lock()
		defer cl.hangUp()
		defer o.mu.Unlock()
		require.True(t, o.asleep)
		require.Nil(t, o.load)
		for name, n := range map[string]int{
			"buf": cap(w.buf), "vec": cap(w.vec), "refs": cap(w.refs), "costs": cap(w.costs), "answers": cap(w.answers),
		} {
			require.LessOrEqual(t, n, 256, name)
		}
	})
}
