package queue

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// The lower number counts, and for the rest the argument (contract 08 §5).
func TestAPolicyIsMergedWithTheArguments(t *testing.T) {
	t.Parallel()
	const none = math.MaxInt64
	plain := rules{ttl: -1, idle: -1, maxLength: none, maxBytes: none}
	with := func(change func(*rules)) rules {
		r := plain
		change(&r)
		r.any = true
		return r
	}
	for name, c := range map[string]struct {
		args, policy message.Table
		want         rules
	}{
		"neither":            {nil, nil, plain},
		"nothing it knows":   {args("x-whatever", "x"), args("max-age", "1h", "queue-mode", "lazy", "consumer-timeout", int64(1)), plain},
		"policy alone":       {nil, args("message-ttl", int64(0), "expires", int64(7)), with(func(r *rules) { r.ttl, r.idle, r.fleeting = 0, 7, true })},
		"argument alone":     {args("x-message-ttl", int32(5), "x-expires", int8(7)), nil, with(func(r *rules) { r.ttl, r.idle = 5, 7 })},
		"the lower argument": {args("x-message-ttl", int32(5)), args("message-ttl", int64(6)), with(func(r *rules) { r.ttl = 5 })},
		"the lower policy":   {args("x-expires", int32(5)), args("expires", int64(4)), with(func(r *rules) { r.idle = 4 })},
		"both lengths": {args("x-max-length", int32(5), "x-max-length-bytes", int32(6)), args("max-length", int64(6), "max-length-bytes", int64(5)),
			with(func(r *rules) { r.limited, r.maxLength, r.maxBytes = true, 5, 5 })},
		"overflow needs a limit": {nil, args("overflow", "reject-publish"), func() rules {
			r := plain
			r.rejects = true
			return r
		}()},
		"overflow of the policy for a limit of the arguments": {args("x-max-length", int32(5)), args("overflow", "reject-publish-dlx"),
			with(func(r *rules) { r.limited, r.maxLength, r.rejects, r.refuses, r.refusedDie = true, 5, true, true, true })},
		"the argument's overflow": {args("x-overflow", "drop-head"), args("max-length", int64(5), "overflow", "reject-publish"),
			with(func(r *rules) { r.limited, r.maxLength = true, 5 })},
		"a routing key alone does nothing": {nil, args("dead-letter-routing-key", "k"), func() rules {
			r := plain
			r.rekeys, r.rekey = true, "k"
			return r
		}()},
		"the policy's routing key": {args("x-dead-letter-exchange", ""), args("dead-letter-exchange", "p", "dead-letter-routing-key", "k"),
			with(func(r *rules) { r.buries, r.rekeys, r.rekey = true, true, "k" })},
		"a time without end is a very long one": {nil, args("message-ttl", int64(math.MaxInt64), "expires", int64(math.MaxInt64)),
			with(func(r *rules) { r.ttl, r.idle = longest, longest })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, rulesOf(c.args, c.policy))
		})
	}
}

func TestALimitThatComesByPolicyIsObeyedAtOnce(t *testing.T) {
	t.Parallel()
	r, dead := newRuled(t, args("x-max-length", int32(5)), nil)
	r.post(bodies1to(6)...)
	r.h.SetPolicy(args("max-length", int64(3), "dead-letter-exchange", "d", "dead-letter-routing-key", "k"))
	require.Equal(t, []string{"2 maxlen d k", "3 maxlen d k"}, dead.taken(), "with the exchange that came with it")
	r.h.SetPolicy(args("max-length-bytes", int64(2)))
	require.Equal(t, 2, r.stat().Ready)
	r.h.SetPolicy(nil)
	r.post("7", "8", "9", "10")
	require.Equal(t, 5, r.stat().Ready, "the argument counts again")
	require.Empty(t, dead.taken())
	r.deleteAndBalance()
}

// RabbitMQ takes a new limit over before the new overflow.
func TestALimitThatComesWithARefusalStillDrops(t *testing.T) {
	t.Parallel()
	r, _ := newRuled(t, nil, nil)
	r.post(bodies1to(6)...)
	r.h.SetPolicy(args("max-length", int64(4), "overflow", "reject-publish"))
	require.Equal(t, 4, r.stat().Ready)
	r.h.SetPolicy(args("max-length", int64(2), "overflow", "reject-publish"))
	require.Equal(t, 4, r.stat().Ready, "what is refused drops nothing")
	r.post("7")
	_, rejected := r.answers.given()
	require.Equal(t, []uint64{7}, rejected)
	r.h.SetPolicy(args("max-length", int64(2)))
	require.Equal(t, 2, r.stat().Ready)
	r.deleteAndBalance()
}

func TestATimeToLiveByPolicyIsForWhatComesLater(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, dead := newRuled(t, nil, func(_ *Spec, env *HostEnv) { env.Policy = args("message-ttl", int64(1000)) })
		r.post("a second")
		r.h.SetPolicy(args("message-ttl", int64(10), "dead-letter-exchange", "d"))
		r.post("less")
		wait(500 * time.Millisecond)
		require.Equal(t, 2, r.stat().Ready, "it is behind the other")
		r.h.SetPolicy(args("dead-letter-exchange", "e"))
		r.post("for ever")
		wait(502 * time.Millisecond)
		require.Equal(t, []string{"a second expired e ", "less expired e "}, dead.taken())
		r.h.SetPolicy(nil)
		wait(time.Hour)
		require.Equal(t, 1, r.stat().Ready)
		r.deleteAndBalance()
	})
}

func TestExpiresByPolicyCountsFromItsChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := newRuled(t, nil, nil)
		wait(time.Hour)
		ends := func() int {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.ends)
		}
		r.h.SetPolicy(args("expires", int64(1000)))
		wait(900 * time.Millisecond)
		r.h.SetPolicy(args("expires", int64(1000), "max-length", int64(1)))
		wait(900 * time.Millisecond)
		require.Zero(t, ends(), "another policy lets it begin anew")
		r.h.SetPolicy(nil)
		wait(time.Hour)
		require.Zero(t, ends())
		in := r.consume(Consumer{})
		r.h.SetPolicy(args("expires", int64(1000)))
		wait(time.Hour)
		require.Zero(t, ends(), "it is used")
		r.h.Cancel(in.id)
		r.h.SetPolicy(args("expires", int64(5)))
		wait(7 * time.Millisecond)
		require.NoError(t, r.gone())
		r.balance()
	})
}

// Those whose bodies only the store has wait; meanwhile the policy may change.
func TestTheDeadGoWhereTheyWentWhenTheyDied(t *testing.T) {
	t.Parallel()
	for _, next := range []message.Table{nil, args("dead-letter-exchange", "f"), args("message-ttl", int64(1))} {
		t.Run(fmt.Sprint(next), func(t *testing.T) {
			t.Parallel()
			log := newFakeLog()
			r, dead := newRuled(t, nil, func(s *Spec, env *HostEnv) {
				log.with(s, env)
				env.Memory = Bounds{Messages: 1}
				env.Policy = args("dead-letter-exchange", "d")
			})
			log.recoverIn(10, nil)
			for _, body := range bodies1to(20) {
				r.postStored(body)
				log.commit(9)
			}
			r.h.SetPolicy(args("dead-letter-exchange", "e", "max-length", int64(12)))
			early := dead.taken()
			require.Less(t, len(early), 8, "the others have to be loaded")
			r.h.SetPolicy(next)
			log.settleAll(rand.New(rand.NewPCG(1, 2)))
			var want []string
			for _, body := range bodies1to(8) {
				want = append(want, body+" maxlen e ")
			}
			require.Equal(t, want, append(early, dead.taken()...))
			require.Equal(t, bodies1to(20)[8:], log.left())
			require.True(t, r.answers.confirmedAll(r.seq))
			r.deleteAndBalance()
		})
	}
}

// What an earlier run left is all there before a policy may drop of it.
func TestAPolicyWaitsForTheRecovery(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	r, _ := newRuled(t, nil, func(s *Spec, env *HostEnv) { log.with(s, env) })
	r.postStored(bodies1to(3)...)
	r.h.SetPolicy(args("max-length", int64(2)))
	log.recoverIn(10, nil)
	require.Equal(t, 2, r.stat().Ready)
	r.deleteAndBalance()
}

// A change of the policy is nothing that happens to a consumer.
func TestTheNextActiveConsumerDoesNotBeginWithAPolicy(t *testing.T) {
	t.Parallel()
	r, _ := newRuled(t, args(argSingleActive, true), nil)
	first, second := r.consume(Consumer{Prefetch: 1}), r.consume(Consumer{Prefetch: 1})
	r.post("1", "2", "3")
	held := first.want("1")
	r.h.Cancel(first.id)
	r.h.SetPolicy(args("max-length", int64(1)))
	require.Empty(t, second.take())
	r.settle(Ack, held...)
	second.want("3")
	r.deleteAndBalance()
}

func TestAPolicyForAQueueThatIsGoneIsIgnored(t *testing.T) {
	t.Parallel()
	r, _ := newRuled(t, nil, nil)
	require.NoError(t, r.h.Delete(false, false, nil))
	r.h.SetPolicy(args("max-length", int64(1)))
	r.balance()
}

// The keys of a classic queue are those that RabbitMQ has for it, with which it does
// nothing included.
func TestTheClassicTypeNamesItsPolicies(t *testing.T) {
	t.Parallel()
	known := Classic().Capabilities().Policies
	for _, key := range []string{"message-ttl", "dead-letter-routing-key", "ha-mode", "max-in-memory-bytes"} {
		require.True(t, slices.Contains(known, key), key)
	}
	for _, key := range []string{"delivery-limit", "dead-letter-strategy", "max-age", "queue-leader-locator"} {
		require.False(t, slices.Contains(known, key), key)
	}
}
