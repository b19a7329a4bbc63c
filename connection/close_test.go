package connection

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// Contract 02 §8.

func TestWhatWasSentBeforeTheCloseIsCarriedOut(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1).declare(1, "q")
		for range 20 {
			cl.publish(1, "q", []byte("x"))
		}
		cl.close()
		require.Equal(t, 20, b.ready(t, "q"))
	})
}

func TestCloseOKComesAfterEverythingWasGivenBack(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1).declare(1, "q")
		cl.send(1, &wire.QueueDeclare{Queue: "mine", Exclusive: true})
		await[*wire.QueueDeclareOK](cl, 1)
		for range 3 {
			cl.publish(1, "q", []byte("x"))
		}
		cl.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
		await[*wire.BasicConsumeOK](cl, 1)
		for range 3 {
			await[*wire.BasicDeliver](cl, 1)
			cl.content(1)
		}
		require.Zero(t, b.ready(t, "q"))
		require.Zero(t, b.ready(t, "mine"))
		cl.send(0, &wire.ConnectionClose{})
		cl.expect(0, &wire.ConnectionCloseOK{})
		require.Equal(t, 3, b.ready(t, "q"))
		require.Equal(t, -1, b.ready(t, "mine"), "the exclusive queue is gone")
		h, _ := b.vhost.Queue("q")
		st, err := h.Stat()
		require.NoError(t, err)
		require.Zero(t, st.Consumers)
		cl.hangUp()
	})
}

func TestTheSameIsGivenBackHoweverTheConnectionEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*client){
		"hang up": (*client).hangUp,
		"abort":   func(c *client) { c.conn.Abort(); <-c.conn.Done() },
		"forced": func(c *client) {
			c.conn.Close(reply.Errorf(reply.ConnectionForced, "go"))
			await[*wire.ConnectionClose](c, 0)
		},
		"hard error":  func(c *client) { c.send(0, &wire.TxSelect{}); await[*wire.ConnectionClose](c, 0) },
		"fatal error": func(c *client) { c.raw([]byte{1, 0, 0, 255, 255, 255, 255}); await[*wire.ConnectionClose](c, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil).open().channel(1).declare(1, "q").channel(2)
				cl.send(1, &wire.QueueDeclare{Queue: "mine", Exclusive: true})
				await[*wire.QueueDeclareOK](cl, 1)
				cl.publish(1, "q", []byte("got"))
				cl.publish(1, "q", []byte("in a transaction"))
				cl.send(1, &wire.BasicGet{Queue: "q"})
				await[*wire.BasicGetOK](cl, 1)
				cl.content(1)
				cl.send(2, &wire.TxSelect{})
				await[*wire.TxSelectOK](cl, 2)
				cl.publish(2, "q", []byte("not committed"))
				cl.raw(published(t, 1, &wire.BasicPublish{RoutingKey: []byte("q")}, []byte("half"), 0)[:40])
				synctest.Wait()
				end(cl)
				require.Equal(t, 2, b.ready(t, "q"))
				require.Equal(t, -1, b.ready(t, "mine"))
				cl.hangUp()
			})
		})
	}
}

func TestCloseInTheMiddleOfAContent(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1).declare(1, "q")
		p := published(t, 1, &wire.BasicPublish{RoutingKey: []byte("q")}, []byte("0123456789"), 13)
		cl.raw(p[:len(p)-13]) // without the last body frame
		cl.send(0, &wire.ConnectionClose{ReplyCode: 99, ReplyText: "whatever", ClassID: 7, MethodID: 8})
		cl.expect(0, &wire.ConnectionCloseOK{})
		require.Zero(t, b.ready(t, "q"))
		cl.hangUp()
	})
}

func TestRepeatedCloseIsAnsweredEachTime(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open()
		cl.send(0, &wire.ConnectionClose{}, &wire.ConnectionClose{}, &wire.ConnectionClose{})
		for range 3 {
			cl.expect(0, &wire.ConnectionCloseOK{})
		}
		cl.nothing()
		cl.hangUp()
	})
}

func TestCrossingClosesStillWaitForCloseOK(t *testing.T) {
	t.Parallel()
	for _, answered := range []bool{true, false} {
		t.Run(fmt.Sprintf("answered %v", answered), func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil).open().channel(1)
				cl.send(1, &wire.ChannelOpen{})
				cl.send(0, &wire.ConnectionClose{})
				await[*wire.ConnectionClose](cl, 0)
				cl.expect(0, &wire.ConnectionCloseOK{})
				time.Sleep(7 * time.Second)
				cl.nothing()
				if answered {
					cl.send(0, &wire.ConnectionCloseOK{})
					cl.ends(0)
				} else {
					cl.ends(23 * time.Second)
				}
			})
		})
	}
}

func TestHowLongTheBrokerWaitsAtTheEnd(t *testing.T) {
	t.Parallel()
	for heartbeat, wait := range map[uint16]time.Duration{0: 30, 1: 1, 5: 5, 29: 29, 30: 30, 31: 30, 60: 30, 65535: 30} {
		for name, end := range map[string]func(*client){
			"after its close-ok": func(c *client) {
				c.send(0, &wire.ConnectionClose{})
				c.expect(0, &wire.ConnectionCloseOK{})
			},
			"for the client's": func(c *client) {
				c.send(0, &wire.TxSelect{})
				await[*wire.ConnectionClose](c, 0)
			},
			"after being forced": func(c *client) {
				c.conn.Close(reply.Errorf(reply.ConnectionForced, "go"))
				await[*wire.ConnectionClose](c, 0)
			},
		} {
			t.Run(fmt.Sprintf("%s, heartbeat %d", name, heartbeat), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, b *fakeBroker) {
					cl := b.dial(t, nil).toStage(afterOpen, beating(heartbeat))
					end(cl)
					cl.ends(wait * time.Second)
				})
			})
		}
	}
}

func TestClientThatHangsUpIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open()
		begin := time.Now()
		cl.close()
		require.Zero(t, time.Since(begin))
	})
}

func TestNothingIsStoredWhileClosing(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1).declare(1, "q")
		cl.send(0, &wire.TxSelect{})
		cl.publish(1, "q", []byte("late"))
		cl.send(1, &wire.QueueDelete{Queue: "q"})
		await[*wire.ConnectionClose](cl, 0)
		cl.nothing()
		require.Zero(t, b.ready(t, "q"))
		cl.hangUp()
	})
}

func TestForcedClose(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1)
		cl.nothing()
		cl.conn.Close(reply.Errorf(reply.ConnectionForced, "user 'guest' is deleted"))
		cl.refused(reply.ConnectionForced, "user 'guest' is deleted", 0)
		require.Equal(t, "INFO closing AMQP connection ("+testName+", vhost: '/', user: 'guest'): user 'guest' is deleted",
			b.log.all()[2])
		require.Empty(t, b.log.above())
	})
}

// Contract 02 §8: what is not open is just dropped, without a penalty, for it did
// nothing wrong.
func TestForcedCloseOfWhatIsNotOpen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ until func(*client) }{
		"without an octet":   {func(*client) {}},
		"in the header":      {func(c *client) { c.raw([]byte("AMQ")) }},
		"after the header":   {func(c *client) { c.toStage(afterHeader, nil) }},
		"after start-ok":     {func(c *client) { c.toStage(afterStartOK, nil) }},
		"after tune-ok":      {func(c *client) { c.toStage(afterTuneOK, nil) }},
		"after the close-ok": {func(c *client) { c.open().send(0, &wire.ConnectionClose{}); c.expect(0, &wire.ConnectionCloseOK{}) }},
		"after its close": {func(c *client) {
			c.open().conn.Close(reply.Errorf(reply.ConnectionForced, "go"))
			await[*wire.ConnectionClose](c, 0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil)
				c.until(cl)
				cl.nothing()
				cl.conn.Close(reply.Errorf(reply.ConnectionForced, "shutdown"))
				cl.ends(0)
				require.Empty(t, b.log.above())
			})
		})
	}
}

func TestAbort(t *testing.T) {
	t.Parallel()
	for name, until := range map[string]func(*client){
		"without an octet": func(*client) {},
		"in the header":    func(c *client) { c.raw([]byte("AMQ")) },
		"after the header": func(c *client) { c.toStage(afterHeader, nil) },
		"after start-ok":   func(c *client) { c.toStage(afterStartOK, nil) },
		"after tune-ok":    func(c *client) { c.toStage(afterTuneOK, nil) },
		"open":             func(c *client) { c.open() },
		"in a penalty":     func(c *client) { c.toStage(afterHeader, nil).send(0, &wire.TxSelect{}) },
		"after its close":  func(c *client) { c.open().send(0, &wire.TxSelect{}); await[*wire.ConnectionClose](c, 0) },
		"after the close-ok": func(c *client) {
			c.open().send(0, &wire.ConnectionClose{})
			c.expect(0, &wire.ConnectionCloseOK{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil)
				until(cl)
				cl.nothing()
				lines := len(b.log.above())
				cl.conn.Abort()
				cl.conn.Abort()
				cl.ends(0)
				require.Len(t, b.log.above(), lines)
			})
		})
	}
}

// Whoever wants a connection to end while its reader is about to wait for the
// client's close-ok must not be forgotten over that wait.
func TestAbortAndCloseBeforeTheWaitForCloseOK(t *testing.T) {
	t.Parallel()
	for name, meddle := range map[string]func(*Conn){
		"abort": (*Conn).Abort,
		"close": func(c *Conn) { c.Close(reply.Errorf(reply.ConnectionForced, "again")) },
	} {
		for cause, end := range map[string]func(*client){
			"forced":       func(c *client) { c.conn.Close(reply.Errorf(reply.ConnectionForced, "go")) },
			"hard error":   func(c *client) { c.send(0, &wire.TxSelect{}) },
			"client close": func(c *client) { c.send(0, &wire.ConnectionClose{}) },
		} {
			t.Run(name+" meets "+cause, func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, b *fakeBroker) {
					b.onRelease = meddle
					cl := b.dial(t, nil).open()
					cl.nothing()
					begin := time.Now()
					end(cl)
					<-cl.conn.Done()
					require.Zero(t, time.Since(begin))
				})
			})
		}
	}
}

func TestForcedCloseEndsAPenalty(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).toStage(afterHeader, nil)
		cl.send(0, &wire.TxSelect{})
		cl.nothing()
		cl.conn.Close(reply.Errorf(reply.ConnectionForced, "shutdown"))
		cl.ends(0)
	})
}

func TestCloseAndAbortMayBeCalledByAnyNumberOfGoroutines(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t)
	for i := range 20 {
		cl := b.dialTCP(t, uint64(i), nil).open().channel(1)
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				if g%4 == 3 {
					cl.conn.Abort()
				} else {
					cl.conn.Close(reply.Errorf(reply.ConnectionForced, "go"))
				}
			})
		}
		wg.Wait()
		<-cl.conn.Done()
		cl.hangUp()
	}
	b.wg.Wait()
	b.balanced(t)
}

func TestServeWhereNothingMayStart(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, func(c *Config) { c.Go = func(func()) bool { return false } })
		cl.ends(0)
		time.Sleep(time.Hour)
		require.Empty(t, b.log.all())
	})
}

func TestCloseOverTCPCanBeReadBehindUnreadInput(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t)
	cl := b.dialTCP(t, 1, nil).open().channel(1)
	// The broker closes the socket without having read all of this.
	cl.raw(append([]byte{3, 0, 1, 255, 255, 255, 255}, make([]byte, 32<<10)...))
	cl.expect(0, closeWith(reply.FrameError, "type 3, all octets = <<>>: {frame_too_large,4294967295,131064}", 0))
	_, more := <-cl.frames
	require.False(t, more)
	cl.hangUp()
	b.wg.Wait()
}
