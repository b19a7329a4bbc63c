package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// settled is what follows from one call of Settle.
type settled struct {
	tags, dead []string // of the consumers in the order of deliveries; body and reason
}

// settleDirect gives messages to a queue that is not hosted, has its first consumer take
// all of them, adds more messages and consumers, and settles what the first one holds.
func settleDirect(t *testing.T, typ Type, a message.Table, settle func(id uint64) Settle, more []string, tags ...string) settled {
	t.Helper()
	q, err := typ.Open(Spec{Name: "q", Type: typ.Name(), Arguments: a}, Env{Now: time.Now})
	require.NoError(t, err)
	var out Actions
	publish := func(bodies []string) {
		for _, body := range bodies {
			m := message.New("", "q", []byte{0, 0}, len(body))
			m.AppendBody([]byte(body))
			m.SetAttributes(false, body[0]-'0')
			q.Enqueue([]Publish{{Msg: m}}, &out)
		}
	}
	require.NoError(t, q.Consume(Consumer{ID: 1, Tag: "holder"}, &out))
	publish([]string{"1", "3", "2"})
	in := make([]Settle, len(out.Deliver))
	for i := range out.Deliver {
		in[i] = settle(out.Deliver[i].ID)
		in[i].First = in[i].First || i == 0
	}
	q.Cancel(1, ByClient, &out)
	publish(more)
	tagOf := map[message.ConsumerID]string{}
	for i, tag := range tags {
		id := message.ConsumerID(i + 2)
		tagOf[id] = tag
		require.NoError(t, q.Consume(Consumer{ID: id, Tag: tag}, &out))
	}
	out = Actions{}
	q.Settle(in, &out)
	var s settled
	for i := range out.Deliver {
		s.tags = append(s.tags, tagOf[out.Deliver[i].Consumer])
	}
	for i := range out.DeadLetter {
		d := &out.DeadLetter[i]
		s.dead = append(s.dead, string(d.Msg.Body())+" "+string(d.Reason))
	}
	return s
}

func TestWhatIsSettledAtOnceHasAnOrderOfItsOwn(t *testing.T) {
	t.Parallel()
	outcome := func(o Outcome) func(uint64) Settle {
		return func(id uint64) Settle { return Settle{ID: id, Consumer: 1, Outcome: o} }
	}
	apart := func(o Outcome) func(uint64) Settle {
		return func(id uint64) Settle { return Settle{ID: id, Consumer: 1, Outcome: o, First: true} }
	}
	limit := message.Field{Name: argDeliveryLimit, Value: int32(9)}
	length := args("x-max-length", int32(2), argDeadLetterExchange, "d")
	levels := args("x-max-priority", uint8(5), argDeadLetterExchange, "d")
	full := []string{"8", "9"}
	for name, c := range map[string]struct {
		typ       Type
		arguments message.Table
		settle    func(uint64) Settle
		more      []string
		consumers []string
		want      settled
	}{
		"returned to several": {
			Quorum(), nil, outcome(Return), nil, []string{"z", "b"}, settled{tags: []string{"b", "z", "z"}},
		},
		"requeued to several, one by one": {
			Quorum(), nil, outcome(Requeue), nil, []string{"z", "b"}, settled{tags: []string{"z", "b", "z"}},
		},
		"requeued to several with a limit": {
			Quorum(), message.Table{limit}, outcome(Requeue), nil, []string{"z", "b"}, settled{tags: []string{"b", "z", "z"}},
		},
		"requeued by several methods with a limit": {
			Quorum(), message.Table{limit}, apart(Requeue), nil, []string{"z", "b"}, settled{tags: []string{"z", "b", "z"}},
		},
		"returned to a full queue": {
			Quorum(), length, outcome(Return), full, nil, settled{dead: []string{"2 maxlen", "3 maxlen", "1 maxlen"}},
		},
		"requeued to a full queue with a limit": {
			Quorum(), append(length[:2:2], limit), outcome(Requeue), full, nil,
			settled{dead: []string{"2 maxlen", "3 maxlen", "1 maxlen"}},
		},
		"requeued to a full queue with a limit by several methods": {
			Quorum(), append(length[:2:2], limit), apart(Requeue), full, nil,
			settled{dead: []string{"1 maxlen", "3 maxlen", "2 maxlen"}},
		},
		"rejected from a priority queue": {
			Classic(), levels, outcome(Discard), nil, nil,
			settled{dead: []string{"3 rejected", "2 rejected", "1 rejected"}},
		},
		"rejected from a priority queue by several methods": {
			Classic(), levels, apart(Discard), nil, nil,
			settled{dead: []string{"1 rejected", "3 rejected", "2 rejected"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, settleDirect(t, c.typ, c.arguments, c.settle, c.more, c.consumers...))
		})
	}
}

func TestAFullConsumerOfAQuorumQueueLosesItsTurnAtOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		typ  Type
		want []string // of the one without a limit
	}{
		"quorum":  {Quorum(), []string{"2", "3"}},
		"classic": {Classic(), []string{"2", "4"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, c.typ, func(s *Spec, env *HostEnv) {
				inline(s, env)
				s.Durable = true
			})
			one, many := r.consume(Consumer{Prefetch: 1}), r.consume(Consumer{})
			r.post("1")
			r.post("2")
			r.settle(Ack, one.want("1")...)
			r.post("3")
			r.post("4")
			many.want(c.want...)
			r.deleteAndBalance()
		})
	}
}

// What does not fit beside a message that was put to the end of the queue dies as it does
// beside one that is published: the latest first.
func TestWhatAReturnPushesOutDiesTheLatestFirst(t *testing.T) {
	t.Parallel()
	q, err := Quorum().Open(Spec{
		Name: "q", Type: "quorum", Arguments: args("x-max-length-bytes", int32(4), argDeadLetterExchange, "d"),
	}, Env{Now: time.Now})
	require.NoError(t, err)
	var out Actions
	publish := func(body string) {
		m := message.New("", "q", []byte{0, 0}, len(body))
		m.AppendBody([]byte(body))
		q.Enqueue([]Publish{{Msg: m}}, &out)
	}
	require.NoError(t, q.Consume(Consumer{ID: 1}, &out))
	publish("long")
	held := out.Deliver[0].ID
	q.Cancel(1, ByClient, &out)
	for _, body := range []string{"1", "2", "3"} {
		publish(body)
	}
	out = Actions{}
	q.Settle([]Settle{{ID: held, Consumer: 1, Outcome: Requeue, First: true}}, &out)
	var dead []string
	for _, d := range out.DeadLetter {
		dead = append(dead, string(d.Msg.Body()))
	}
	require.Equal(t, []string{"3", "2", "1"}, dead)
}
