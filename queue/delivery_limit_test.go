package queue

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// limited is a classic queue that takes delivery limits.
func limitedQueue(t *testing.T, log *fakeLog, byDefault int, arguments message.Table) (*rig, *deadOnes) {
	dead := &deadOnes{}
	r := newRig(t, Classic(DeliveryLimit(byDefault)), func(s *Spec, env *HostEnv) {
		inline(s, env)
		s.Arguments = arguments
		env.DeadLetter = dead.take
		if log != nil {
			log.with(s, env)
		}
	})
	if log != nil {
		log.recoverIn(3, nil)
		log.settleAll(rand.New(rand.NewPCG(1, 1)))
	}
	return r, dead
}

// deadOnes records what dies.
type deadOnes struct{ died []string }

func (d *deadOnes) take(_ *Host, x *Dead) (*message.Message, []*Host) {
	d.died = append(d.died, fmt.Sprint(string(x.Msg.Body()), " ", x.Reason))
	return nil, nil
}

func TestAMessageThatComesBackTooOftenIsDeadLettered(t *testing.T) {
	t.Parallel()
	dlx := message.Field{Name: argDeadLetterExchange, Value: "d"}
	for name, c := range map[string]struct {
		byDefault int
		arguments message.Table
		rounds    int // deliveries before it dies; 0 is never
		died      []string
	}{
		"the argument":           {0, message.Table{{Name: argDeliveryLimit, Value: int32(2)}, dlx}, 3, []string{"m delivery_limit"}},
		"without an exchange":    {0, message.Table{{Name: argDeliveryLimit, Value: int32(2)}}, 3, nil},
		"the broker's default":   {1, message.Table{dlx}, 2, []string{"m delivery_limit"}},
		"the argument, not both": {1, message.Table{{Name: argDeliveryLimit, Value: int64(3)}, dlx}, 4, []string{"m delivery_limit"}},
		"none":                   {0, message.Table{dlx}, 0, nil},
		"no return at all":       {0, message.Table{{Name: argDeliveryLimit, Value: int32(0)}, dlx}, 1, []string{"m delivery_limit"}},
		"below nothing":          {0, message.Table{{Name: argDeliveryLimit, Value: int32(-1)}, dlx}, 1, []string{"m delivery_limit"}},
		"what is no number":      {1, message.Table{{Name: argDeliveryLimit, Value: "1"}, dlx}, 0, nil},
		"nothing as a value":     {1, message.Table{{Name: argDeliveryLimit}, dlx}, 2, []string{"m delivery_limit"}},
	} {
		for _, outcome := range []Outcome{Requeue, Return} {
			t.Run(fmt.Sprint(name, outcome), func(t *testing.T) {
				t.Parallel()
				r, dead := limitedQueue(t, nil, c.byDefault, c.arguments)
				r.post("m", "n")
				rounds := 0
				for range 10 {
					got, _ := r.get(false)
					if got.body != "m" {
						r.settle(Ack, got)
						break
					}
					require.Equal(t, rounds > 0, got.redelivered)
					rounds++
					r.settle(outcome, got)
				}
				require.Equal(t, cmp.Or(c.rounds, 10), rounds)
				require.Equal(t, c.died, dead.died)
				r.deleteAndBalance()
			})
		}
	}
}

func TestDeliveriesAreCountedOverRestarts(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	rnd := rand.New(rand.NewPCG(3, 3))
	arguments := message.Table{{Name: argDeliveryLimit, Value: int32(3)}, {Name: argDeadLetterExchange, Value: "d"}}
	r, _ := limitedQueue(t, log, 0, arguments)
	r.postStored("poison", "good")
	log.settleAll(rnd)
	got, reply := r.get(false)
	require.EqualValues(t, 0, reply.Count)
	r.settle(Requeue, got) // once
	log.settleAll(rnd)
	for life := uint32(1); life <= 3; life++ {
		// It is delivered, and brings the broker down.
		_, reply = r.getLate(log, rnd)
		require.Equal(t, life, reply.Count)
		log.settleAll(rnd)
		log = log.crash()
		var dead *deadOnes
		r, dead = limitedQueue(t, log, 0, arguments)
		if life < 3 {
			require.Empty(t, dead.died)
			continue
		}
		require.Equal(t, []string{"poison delivery_limit"}, dead.died)
	}
	log.settleAll(rnd)
	require.Equal(t, []string{"good"}, log.left())
	require.Equal(t, 1, r.stat().Ready)
}

// RabbitMQ takes any number for a limit, and what nobody had does not come back.
func TestARestartReturnsOnlyWhatSomebodyHad(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	rnd := rand.New(rand.NewPCG(3, 3))
	arguments := message.Table{{Name: argDeliveryLimit, Value: int32(-1)}, {Name: argDeadLetterExchange, Value: "d"}}
	r, _ := limitedQueue(t, log, 0, arguments)
	r.postStored("had", "fresh")
	log.settleAll(rnd)
	r.get(false)
	log.settleAll(rnd)
	log = log.crash()
	r, dead := limitedQueue(t, log, 0, arguments)
	require.Equal(t, []string{"had delivery_limit"}, dead.died)
	require.Equal(t, []string{"fresh"}, log.left())
	require.Equal(t, 1, r.stat().Ready)
}

func TestAQueueWithoutALimitAsksNothingMoreOfTheStore(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]int{"with": 5, "without": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := newFakeLog()
			r, _ := limitedQueue(t, log, limit, nil)
			r.postStored("m")
			for range 3 {
				got, _ := r.get(false)
				r.settle(Requeue, got)
			}
			want := []string{"append 0", "delivered 0"}
			if limit > 0 {
				want = append(want, "delivered 0", "delivered 0")
			}
			require.Equal(t, want, log.journal)
		})
	}
}

// getLate takes a message that may have to be loaded first.
func (r *rig) getLate(log *fakeLog, rnd *rand.Rand) (got received, reply GetReply) {
	answered := r.ask(false, func(g GetReply) {
		reply = g
		if g.Msg != nil {
			got = received{body: string(g.Msg.Body()), id: g.ID, redelivered: g.Redelivered}
			g.Msg.Release()
		}
	})
	log.settleAll(rnd)
	<-answered
	return got, reply
}

// To a quorum queue a consumer of the same name is the one before it, also where it
// counts twice what came back once too often.
func TestAnHeirIsLentRoomAsWell(t *testing.T) {
	t.Parallel()
	for name, hasHeir := range map[string]bool{"the consumer itself": false, "its heir": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q, err := Quorum().Open(Spec{Name: "q", Type: "quorum", Arguments: args(argDeliveryLimit, int32(0))}, Env{Now: time.Now})
			require.NoError(t, err)
			var out Actions
			c := Consumer{ID: 1, Tag: "t", Place: "channel", Prefetch: 1}
			require.NoError(t, q.Consume(c, &out))
			for range 3 {
				q.Enqueue([]Publish{{Msg: message.New("", "q", []byte{0, 0}, 0)}}, &out)
			}
			require.Len(t, out.Deliver, 1)
			if hasHeir {
				q.Cancel(c.ID, ByClient, &out)
				c.ID = 2
				require.NoError(t, q.Consume(c, &out))
				require.Len(t, out.Deliver, 1, "it holds what the other one does")
			}
			q.Settle([]Settle{{ID: out.Deliver[0].ID, Consumer: 1, Outcome: Requeue, First: true}}, &out)
			require.Len(t, out.Deliver, 3)
			require.Equal(t, c.ID, out.Deliver[2].Consumer)
		})
	}
}
