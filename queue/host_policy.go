package queue

import (
	"math"
	"time"

	"github.com/warrenmq/warren/message"
)

// SetPolicy gives the queue another effective policy definition, in place of that of
// HostEnv. It keeps its place in the order of what is posted, and does not wait: what
// is asked of the queue after SetPolicy's return comes after it. A queue that is gone
// ignores it. The table must not be changed afterwards.
func (h *Host) SetPolicy(p message.Table) {
	h.patience.Store(patienceOf(h.spec, p))
	b := NewBatch()
	b.control(func(gone bool) {
		if !gone {
			h.q.Event(Event{Kind: PolicyChanged, Policy: p}, &h.work.out)
			h.apply()
		}
	})
	h.Post(b)
}

// ConsumerTimeout is how long a delivery of the queue may stay unsettled: the lower one
// of the argument x-consumer-timeout and of the policy's consumer-timeout, in
// milliseconds. ok is false if there is neither. RabbitMQ has the two from 3.12 on; to
// 3.10 an argument that it does not know is no mistake, so that one which is no number
// is ignored here, too.
func (h *Host) ConsumerTimeout() (d time.Duration, ok bool) {
	ms := h.patience.Load()
	return time.Duration(max(ms, 0)) * time.Millisecond, ms >= 0
}

func patienceOf(s Spec, policy message.Table) int64 {
	patience := int64(-1)
	for _, v := range both(s.Arguments, policy, "consumer-timeout") {
		n, ok := message.Int(v)
		if ok && n >= 0 && (patience < 0 || n < patience) {
			patience = min(n, math.MaxInt64/int64(time.Millisecond))
		}
	}
	return patience
}
