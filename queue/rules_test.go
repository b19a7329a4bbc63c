package queue

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// letters is a dead-letter exchange that records.
type letters struct {
	r   *rig
	mu  sync.Mutex // for those who send letters when their time has come
	got []string   // "body reason exchange key"
	to  []*Host
}

// sendTo says where letters go from now on.
func (l *letters) sendTo(to ...*Host) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = to
}

func (l *letters) take(_ *Host, d *Dead) (*message.Message, []*Host) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, fmt.Sprint(string(d.Msg.Body()), " ", d.Reason, " ", d.Exchange, " ", d.RoutingKey))
	if len(l.to) == 0 {
		return nil, nil
	}
	m := l.r.message(string(d.Msg.Body()), d.Msg.Persistent())
	return m, l.to
}

func (l *letters) taken() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.got
	l.got = nil
	return got
}

// newRuled hosts a classic queue with arguments.
func newRuled(t testing.TB, a message.Table, change func(*Spec, *HostEnv)) (*rig, *letters) {
	t.Helper()
	l := &letters{}
	l.r = newRig(t, Classic(), func(s *Spec, env *HostEnv) {
		inline(s, env)
		s.Arguments = a
		env.DeadLetter = l.take
		if change != nil {
			change(s, env)
		}
	})
	return l.r, l
}

// expiring posts a message with a time to live of its own.
func (r *rig) expiring(body string, ms int64) {
	b := NewBatch()
	p := r.publish(body, false)
	p.Msg.SetTTL(ms)
	b.Publish(p)
	r.h.Post(b)
}

// bubble runs f with virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, f)
}

func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestTheLowerTimeToLiveCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := newRuled(t, args("x-message-ttl", int32(1000)), nil)
		r.expiring("short", 10)
		r.expiring("long", 5000)
		r.post("queue's")
		wait(12 * time.Millisecond)
		require.Equal(t, 2, r.stat().Ready)
		wait(985 * time.Millisecond)
		require.Equal(t, 2, r.stat().Ready)
		wait(5 * time.Millisecond)
		require.Zero(t, r.stat().Ready)
		r.deleteAndBalance()
	})
}

func TestARequeuedMessageKeepsTheInstantItExpiresAt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, dead := newRuled(t, args("x-message-ttl", int32(1000), argDeadLetterExchange, "dlx"), nil)
		in := r.consume(Consumer{Prefetch: 1})
		r.post("1")
		held := in.take()
		wait(900 * time.Millisecond)
		r.h.Cancel(in.id)
		r.settle(Requeue, held...)
		require.Equal(t, 1, r.stat().Ready)
		wait(99 * time.Millisecond)
		require.Equal(t, 1, r.stat().Ready)
		wait(2 * time.Millisecond)
		require.Zero(t, r.stat().Ready)
		require.Equal(t, []string{"1 expired dlx "}, dead.taken())
		r.post("2")
		_, g := r.get(false)
		wait(time.Hour)
		require.Equal(t, 1, r.stat().Unacked, "what is held does not expire")
		r.settle(Requeue, received{id: g.ID})
		require.Equal(t, []string{"2 expired dlx "}, dead.taken())
		r.deleteAndBalance()
	})
}

// Who looks never sees a message at the head that has expired.
func TestWhatComesToTheHeadExpiredIsGoneAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := newRuled(t, nil, nil)
		r.post("1", "2")
		r.expiring("short", 0)
		require.Equal(t, 3, r.stat().Ready, "it stands behind others")
		in := r.consume(Consumer{Prefetch: 2})
		in.want("1", "2")
		require.Zero(t, r.stat().Ready)
		r.deleteAndBalance()
	})
}

// TTL 0 is for consumers that are there, whatever else the batch brought.
func TestTimeToLiveZeroReachesWhoIsReady(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := newRuled(t, args("x-message-ttl", int32(0)), nil)
		r.post("nobody")
		require.Zero(t, r.stat().Ready)
		in := r.consume(Consumer{Prefetch: 2})
		r.post("1", "2", "3")
		in.want("1", "2")
		require.Equal(t, Stat{Unacked: 2, Consumers: 1}, r.stat())
		require.True(t, r.answers.confirmedAll(r.seq))
		r.deleteAndBalance()
	})
}

// A million messages that expire at their own times wake the queue once for each
// instant at the most, and messages that are consumed in time hardly ever.
func TestAQueueWakesNoMoreThanItMust(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var events, wakes atomic.Int32
		typ := hooked{
			Type: Classic(),
			before: func(call string) {
				if call == "Event" {
					events.Add(1)
				}
			},
			after: func(_ string, out *Actions) {
				if out != nil && !out.Wake.IsZero() {
					wakes.Add(1)
				}
			},
		}
		r := newRig(t, typ, func(s *Spec, _ *HostEnv) { s.Arguments = args("x-message-ttl", int32(60000)) })
		events.Store(0)
		for range 1000 {
			b := NewBatch()
			for range 10 {
				b.Publish(r.publish("x", false))
			}
			r.h.Post(b)
			time.Sleep(5 * time.Microsecond) // all within 5 ms
		}
		require.EqualValues(t, 1, wakes.Load(), "they stand behind the first")
		wait(2 * time.Minute)
		require.Zero(t, r.stat().Ready)
		require.LessOrEqual(t, events.Load(), int32(8))
		events.Store(0)
		r.consume(Consumer{NoAck: true})
		for range 1000 {
			r.post("taken at once")
			time.Sleep(time.Second)
		}
		require.Zero(t, events.Load(), "nothing waits to expire")
		r.deleteAndBalance()
	})
}

// A queue that saw a message expire at once reads the time anew for the next.
func TestAnExpiryCountsFromItsOwnPublish(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := newRuled(t, nil, nil)
		r.expiring("at once", 0)
		require.Zero(t, r.stat().Ready)
		wait(time.Hour)
		r.expiring("later", 1000)
		require.Equal(t, 1, r.stat().Ready)
		wait(1002 * time.Millisecond)
		require.Zero(t, r.stat().Ready)
		r.deleteAndBalance()
	})
}

func TestAnUnusedQueueGoes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, dead := newRuled(t, args("x-expires", int32(1000), argDeadLetterExchange, "dlx"), nil)
		for _, use := range []func(){
			func() { r.get(true) },
			func() {
				_, err := r.h.Declared()
				require.NoError(t, err)
			},
			func() {
				in := r.consume(Consumer{})
				wait(time.Hour)
				r.h.Cancel(in.id)
			},
		} {
			wait(999 * time.Millisecond)
			use()
		}
		wait(500 * time.Millisecond)
		r.post("no use")
		r.stat()
		wait(499 * time.Millisecond)
		r.mu.Lock()
		require.Empty(t, r.ends)
		r.mu.Unlock()
		wait(2 * time.Millisecond)
		require.NoError(t, r.gone())
		require.Empty(t, dead.taken(), "its messages die with it")
		r.balance()
	})
}

// A message that nobody noticed to have expired is none that the end of the queue
// makes it notice.
func TestAnUnusedQueueTakesWhatExpiredUnnoticedWithIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, dead := newRuled(t, args("x-expires", int32(1000), argMaxPriority, uint8(1), argDeadLetterExchange, "dlx"), nil)
		r.priorityOf = firstDigit
		r.post("0")
		r.expiring("1", 10)
		wait(1002 * time.Millisecond)
		require.NoError(t, r.gone())
		require.Empty(t, dead.taken())
		r.balance()
	})
}

func TestLengthLimits(t *testing.T) {
	t.Parallel()
	const x = argDeadLetterExchange
	for _, c := range []struct {
		name     string
		args     message.Table
		bodies   []string
		left     string
		dead     []string
		rejected []uint64
	}{
		{"drop-head", args("x-max-length", int32(2)), []string{"1", "2", "3", "4"}, "[3 4]", nil, nil},
		{"dead letters", args("x-max-length", int32(1), x, "d", "x-dead-letter-routing-key", "k"), []string{"1", "2", "3"},
			"[3]", []string{"1 maxlen d k", "2 maxlen d k"}, nil},
		{"bytes", args("x-max-length-bytes", int32(5)), []string{"12", "345", "6"}, "[345 6]", nil, nil},
		{"both", args("x-max-length-bytes", int32(5), "x-max-length", int32(1)), []string{"12", "345", "6"}, "[6]", nil, nil},
		{"zero", args("x-max-length", int32(0)), []string{"1", "2"}, "[]", nil, nil},
		{"refused", args("x-max-length", int32(2), "x-overflow", "reject-publish", x, "d"), []string{"1", "2", "3", "4"},
			"[1 2]", nil, []uint64{3, 4}},
		{"refused by bytes", args("x-max-length-bytes", int32(4), "x-overflow", "reject-publish"), []string{"123", "45", "6"},
			"[123 6]", nil, []uint64{2}},
		{"refused and dead", args("x-max-length", int32(1), "x-overflow", "reject-publish-dlx", x, ""), []string{"1", "2"},
			"[1]", []string{"2 maxlen  "}, []uint64{2}},
		{"refused without an exchange", args("x-max-length", int32(1), "x-overflow", "reject-publish-dlx"), []string{"1", "2"},
			"[1]", nil, []uint64{2}},
		{"no limit to refuse by", args("x-overflow", "reject-publish"), []string{"1", "2"}, "[1 2]", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, dead := newRuled(t, c.args, nil)
			r.post(c.bodies...)
			require.Equal(t, c.dead, dead.taken())
			_, rejected := r.answers.given()
			require.Equal(t, c.rejected, rejected)
			in := r.consume(Consumer{NoAck: true})
			require.Equal(t, c.left, fmt.Sprint(bodiesOf(in.take())))
			require.Len(t, r.answers.verdicts, len(c.bodies))
			r.deleteAndBalance()
		})
	}
}

func TestLimitsCountWhatIsReadyOnly(t *testing.T) {
	t.Parallel()
	r, dead := newRuled(t, args("x-max-length", int32(1), argDeadLetterExchange, "d"), nil)
	in := r.consume(Consumer{Prefetch: 2})
	r.post("1", "2", "3")
	held := in.take()
	require.Len(t, held, 2)
	require.Empty(t, dead.taken())
	r.h.Cancel(in.id)
	r.settle(Requeue, held...)
	require.Equal(t, []string{"1 maxlen d ", "2 maxlen d "}, dead.taken(), "requeued above the limit the oldest go")
	r.deleteAndBalance()
}

// Dead letters whose bodies only the store has are loaded first, and keep their
// order with those that died after them.
func TestTheDeadAreLoadedInTheirOrder(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	r, dead := newRuled(t, args("x-max-length", int32(40), argDeadLetterExchange, "d"), func(s *Spec, env *HostEnv) {
		log.with(s, env)
		env.Memory = Bounds{Messages: 2}
	})
	log.recoverIn(10, nil)
	bodies := bodies1to(60)
	for _, body := range bodies[:40] {
		r.postStored(body)
		log.commit(9)
	}
	r.postStored(bodies[40:]...)
	log.settleAll(rand.New(rand.NewPCG(1, 2)))
	var want []string
	for _, body := range bodies[:20] {
		want = append(want, body+" maxlen d ")
	}
	require.Equal(t, want, dead.taken())
	require.Equal(t, 40, r.stat().Ready)
	require.Equal(t, bodies[20:], log.left())
	require.True(t, r.answers.confirmedAll(r.seq))
	r.deleteAndBalance()
}

// The dead are loaded without what stands between them, however much that is.
func TestTheDeadDoNotBringTheLivingBackIntoMemory(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	r, dead := newRuled(t, args(argDeadLetterExchange, "d"), func(s *Spec, env *HostEnv) {
		log.with(s, env)
		env.Memory = Bounds{Messages: 2, Octets: 1 << 20}
	})
	log.recoverIn(10, nil)
	in := r.consume(Consumer{})
	big := func(i int) string { return fmt.Sprintf("%0*d", loadOctets/10, i) }
	const n = 50
	for i := range n {
		r.postStored(big(i))
	}
	log.settleAll(rand.New(rand.NewPCG(1, 2)))
	held := in.take()
	require.Len(t, held, n)
	r.h.Cancel(in.id)
	r.settle(Ack, append(held[:10:10], held[n-10:]...)...) // whose bodies may be in memory
	held = held[10 : n-10]
	r.settle(Requeue, held[1:len(held)-1]...)
	r.settle(Discard, held[0], held[len(held)-1])
	for log.commit(9) > 0 || len(log.loads) > 0 {
		for _, l := range log.loads {
			require.LessOrEqual(t, l.r.To-l.r.From, uint64(10), "it reads %v", l.r)
		}
		log.load()
	}
	require.Len(t, dead.taken(), 2)
	require.LessOrEqual(t, r.inMemory(), 4)
	r.deleteAndBalance()
}

// What cannot be read is not lost; it is tried again.
func TestADeadLetterThatCannotBeLoadedIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log := newFakeLog()
		var kept []*message.Message
		for seq := range uint64(3) {
			m := message.New("", "q", []byte{0, 0}, 1)
			m.AppendBody([]byte{'a' + byte(seq)})
			m.Retain(1)
			log.put(seq, m, false)
			kept = append(kept, m)
		}
		log.failLoad[1] = errDisk
		r, dead := newRuled(t, args("x-max-length", int32(1), argDeadLetterExchange, "d"), log.with)
		log.recoverIn(5, nil)
		log.settleAll(rand.New(rand.NewPCG(1, 2)))
		require.Empty(t, dead.taken())
		require.Equal(t, 1, r.stat().Ready)
		wait(2 * time.Second)
		log.settleAll(rand.New(rand.NewPCG(1, 2)))
		require.Equal(t, []string{"a maxlen d ", "b maxlen d "}, dead.taken())
		require.Equal(t, []string{"c"}, log.left())
		r.deleteAndBalance()
		for _, m := range kept {
			require.EqualValues(t, 1, m.Refs())
		}
	})
}

// The store gives back when a message expires, and the queue goes by that.
func TestExpiryIsRecovered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log := newFakeLog()
		r, _ := newRuled(t, args("x-message-ttl", int32(60000)), log.with)
		log.recoverIn(5, nil)
		b := NewBatch()
		p := r.publish("x", true)
		b.Publish(p)
		r.h.Post(b)
		at := time.Now().Add(time.Minute).UnixMilli()
		require.Equal(t, []store.Op{{Kind: store.Append, Msg: p.Msg, Expiry: at}}, log.submits[0].ops)
		log.commit(1)
		r.deleteAndBalance()

		q := &classic{rules: rulesOf(nil, nil), watch: watch{clock: time.Now, fresh: none}}
		q.recovered([]store.Entry{{Seq: 3, Size: 1, Expiry: at}})
		var out Actions
		q.Event(Event{Kind: RecoverDone}, &out)
		require.Equal(t, time.UnixMilli(at), out.Wake)
	})
}

// However many expire at once, only so many are under way.
func TestTheDeadAreBuriedByAndBy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		target := newRig(t, Classic(), nil)
		most := 0
		typ := hooked{Type: Classic(), after: func(_ string, out *Actions) {
			if out != nil {
				most = max(most, len(out.DeadLetter))
			}
		}}
		l := &letters{to: []*Host{target.h}}
		r := newRig(t, typ, func(s *Spec, env *HostEnv) {
			s.Arguments = args("x-message-ttl", int32(1000), argDeadLetterExchange, "d")
			env.DeadLetter = l.take
		})
		l.r = r
		const n = 10 * 1024
		r.post(bodies1to(n)...)
		wait(2 * time.Second)
		require.Zero(t, r.stat().Ready)
		require.Equal(t, n, target.stat().Ready)
		require.Equal(t, burst.Messages, most)
		in := target.consume(Consumer{NoAck: true})
		require.Equal(t, bodies1to(n), bodiesOf(in.take()))
		r.deleteAndBalance()
		target.deleteAndBalance()
	})
}
