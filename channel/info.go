package channel

import (
	"cmp"
	"slices"

	"github.com/warrenmq/warren/message"
)

// Info is what can be seen of a channel from outside: the items of RabbitMQ's
// info call (contract 08 §7.1).
type Info struct {
	Mode
	// Unacknowledged deliveries are settled by the client, Unconfirmed publishes
	// by the broker.
	Unacknowledged, Unconfirmed int
	// GlobalPrefetch is the limit that all consumers share, 0 without one.
	GlobalPrefetch int
	// Consumers are sorted by tag.
	Consumers []ConsumerInfo
}

// Mode is what the client made of its channel.
type Mode struct {
	Confirm, Transactional bool
	// Prefetch is the limit of each consumer to come, 0 without one.
	Prefetch int
	// UncommittedPublishes and UncommittedAcks wait for tx.commit.
	UncommittedPublishes, UncommittedAcks int
}

// ConsumerInfo is what can be seen of a consumer.
type ConsumerInfo struct {
	Tag, Queue       string
	NoAck, Exclusive bool
	// Active is false for a consumer that waits behind the single active one of its
	// queue.
	Active bool
	// Prefetch is its limit of unacknowledged deliveries, 0 without one.
	Prefetch  int
	Arguments message.Table
}

// Info gives what can be seen of the channel now. Any goroutine may call it.
func (ch *Channel) Info() Info {
	unconfirmed := ch.confirms.Outstanding()
	ch.mu.Lock()
	defer ch.mu.Unlock()
	i := Info{
		Mode: ch.mode, Unacknowledged: ch.unacked.live, Unconfirmed: unconfirmed,
		GlobalPrefetch: ch.global.Limit(),
	}
	for _, c := range ch.consumers {
		i.Consumers = append(i.Consumers, c.info())
	}
	slices.SortFunc(i.Consumers, func(a, b ConsumerInfo) int { return cmp.Compare(a.Tag, b.Tag) })
	return i
}

func (c *consumer) info() ConsumerInfo {
	return ConsumerInfo{
		Tag: c.tag, Queue: c.host.Spec().Name, NoAck: c.noAck, Exclusive: c.spec.Exclusive,
		Active:   c.active.Load(),
		Prefetch: max(c.spec.Prefetch, 0), Arguments: c.spec.Arguments,
	}
}

// setMode changes what Info says of the channel.
func (ch *Channel) setMode(f func(*Mode)) {
	ch.mu.Lock()
	f(&ch.mode)
	ch.mu.Unlock()
}
