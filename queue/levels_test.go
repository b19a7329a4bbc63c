package queue

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// firstDigit is the priority of a message whose body begins with it.
func firstDigit(body string) uint8 { return body[0] - '0' }

// prioritisedQueue declares x-max-priority 5.
func prioritisedQueue(s *Spec, env *HostEnv) {
	inline(s, env)
	s.Arguments = args(argMaxPriority, int32(5))
}

func (r *rig) getAll(want ...string) {
	r.t.Helper()
	var got []string
	for range want {
		d, _ := r.get(true)
		got = append(got, d.body)
	}
	require.Equal(r.t, want, got)
}

func TestAPriorityQueueGivesTheHighestFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), prioritisedQueue)
	r.priorityOf = firstDigit
	r.post("1a", "5a", "0a", "9a", "1b", "5b", "0b")
	in := r.consume(Consumer{Prefetch: 4})
	held := in.want("5a", "9a", "5b", "1a") // above the maximum counts as the maximum
	r.post("3a", "5c")
	r.h.Cancel(in.id)
	r.settle(Requeue, held[3], held[1])
	r.getAll("9a", "5c", "3a", "1a", "1b", "0a")
	r.settle(Requeue, held[0])
	n, err := r.h.Purge()
	require.NoError(t, err)
	require.Equal(t, 2, n)
	r.settle(Requeue, held[2])
	r.post("0c", "4a")
	require.Equal(t, 3, r.stat().Ready)
	r.getAll("5b", "4a", "0c")
	require.Equal(t, Stat{}, r.stat())
	r.deleteAndBalance()
}

// Each publish is served before the next, even if they come together.
func TestAWaitingConsumerGetsWhatComesFirstOfABatch(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), prioritisedQueue)
	r.priorityOf = firstDigit
	in := r.consume(Consumer{Prefetch: 2})
	r.post("1a", "5a", "0a", "3a")
	held := in.want("1a", "5a")
	r.settle(Ack, held...)
	in.want("3a", "0a")
	r.deleteAndBalance()
}

func TestPrioritiesWhoseMessagesLeaveMemory(t *testing.T) {
	t.Parallel()
	const kept, n = 100, 3000
	log := newFakeLog()
	r := newRig(t, Classic(), func(s *Spec, env *HostEnv) {
		prioritisedQueue(s, env)
		log.with(s, env)
		env.Memory = Bounds{Messages: 16}
	})
	r.priorityOf = func(body string) uint8 { return body[len(body)-1] - '0' }
	for i := range kept {
		log.put(uint64(100+i), r.message(fmt.Sprintf("%04d", i), true), false)
	}
	log.recoverIn(7, nil)
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := kept; i < n; i++ {
		body := fmt.Sprintf("%04d", i)
		if i%3 == 0 {
			r.post(body)
		} else {
			r.postStored(body)
		}
	}
	log.settleAll(rnd)
	require.LessOrEqual(t, r.inMemory(), 16)

	// What has the level of the last digit, but that 6 to 9 are of level 5.
	var want []string
	for level := 5; level >= 0; level-- {
		for i := range n {
			if min(i%10, 5) == level {
				want = append(want, fmt.Sprintf("%04d", i))
			}
		}
	}
	in := r.consume(Consumer{Prefetch: 50})
	for len(want) > 0 {
		log.settleAll(rnd)
		got := in.take()
		require.NotEmpty(t, got)
		for i, d := range got {
			require.Equal(t, want[i], d.body)
		}
		require.LessOrEqual(t, r.inMemory(), 16+50+loadMessages)
		want = want[len(got):]
		r.settle(Ack, got...)
	}
	log.settleAll(rnd)
	require.Empty(t, log.left())
	require.Equal(t, Stat{Consumers: 1}, r.stat())
	r.deleteAndBalance()
}

// What two loads ask for could overlap, so that the one which is answered first would
// take for lost what the other one brings.
func TestAPriorityQueueLoadsItsDeadWhenNothingElseIsLoaded(t *testing.T) {
	t.Parallel()
	log := newFakeLog()
	r, dead := newRuled(t, args(argMaxPriority, uint8(5), argDeadLetterExchange, "d"), func(s *Spec, env *HostEnv) {
		log.with(s, env)
		env.Memory = Bounds{Messages: 1}
	})
	r.priorityOf = firstDigit
	log.recoverIn(1, nil)
	rnd := rand.New(rand.NewPCG(1, 1))
	r.postStored("5a", "5b", "5c", "1a", "3a")
	log.settleAll(rnd)
	in := r.consume(Consumer{Prefetch: 3})
	log.settleAll(rnd)
	held := in.want("5a", "5b", "5c")
	r.settle(Ack, held[2]) // so that one more is loaded
	for _, d := range held[:2] {
		r.settle(Discard, d)
	}
	require.Len(t, log.loads, 1)
	log.settleAll(rnd)
	in.want("3a", "1a")
	require.Equal(t, []string{"5a rejected d ", "5b rejected d "}, dead.taken())
	r.deleteAndBalance()
}

func TestAPriorityQueueInUseAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool forgets at random under the race detector")
	}
	q, err := Classic().Open(Spec{Arguments: args(argMaxPriority, uint8(9))}, Env{})
	require.NoError(t, err)
	var out Actions
	require.NoError(t, q.Consume(Consumer{ID: 1, Prefetch: 1}, &out))
	m := message.New("", "q", []byte{0, 0}, 0)
	m.Retain(1 << 20)
	in := make([]Publish, 10)
	for i := range in {
		in[i].Msg = m
	}
	settle := make([]Settle, 1)
	round := func() {
		q.Enqueue(in, &out)
		for range in {
			settle[0] = Settle{ID: out.Deliver[0].ID, Consumer: 1, Outcome: Ack}
			out.Deliver = out.Deliver[:0]
			q.Settle(settle, &out)
		}
	}
	require.Less(t, testing.AllocsPerRun(2000, round), 0.1)
	require.Zero(t, q.Stat().Ready)
}

// What overtakes the others is not looked at until the queue looks at its first
// message for another reason, as in RabbitMQ: conformance's priority/ttl-unnoticed-*.
func TestAMessageThatOvertakesExpiresLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const hour = 3600_000
		for name, c := range map[string]struct {
			lower int64 // the time to live of the message that is overtaken
			do    func(r *rig)
			left  int
		}{
			"nothing happens":         {hour, func(*rig) {}, 3},
			"a get takes it":          {hour, func(r *rig) { r.getAll("5 first") }, 1},
			"a consumer takes it":     {hour, func(r *rig) { r.consume(Consumer{Prefetch: 1}).want("5 first") }, 1},
			"another one comes":       {hour, func(r *rig) { r.expiring("0 last", hour) }, 4},
			"another one behind it":   {hour, func(r *rig) { r.post("5 last"); wait(time.Minute) }, 4},
			"before the lower's time": {200, func(*rig) { wait(50 * time.Millisecond) }, 3},
			"at the lower's time":     {200, func(*rig) { wait(101 * time.Millisecond) }, 0},
		} {
			r, _ := newRuled(t, args(argMaxPriority, int32(5)), nil)
			r.priorityOf = firstDigit
			r.expiring("1", c.lower)
			r.expiring("5 first", 50)
			r.expiring("5 second", 50)
			wait(100 * time.Millisecond)
			require.Equal(t, 3, r.stat().Ready)
			c.do(r)
			wait(time.Millisecond)
			require.Equal(t, c.left, r.stat().Ready, name)
			r.deleteAndBalance()
		}
	})
}
