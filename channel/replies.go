package channel

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/warrenmq/warren/internal/pmap"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// directReply is the pseudo-queue of direct reply-to (contract 06 §8): a channel
// that consumes from it gets an address, which is put into the reply-to of its
// requests, and what is published to the default exchange with the address for a key
// goes straight to the channel.
const directReply = "amq.rabbitmq.reply-to"

// isReplyAddress reports whether the default exchange takes a key for an address.
func isReplyAddress(key string) bool { return strings.HasPrefix(key, directReply+".") }

// Replies are the channels of a virtual host that take direct replies, by their
// addresses. Its zero value has none. It may be used by any number of goroutines;
// looking an address up takes no lock.
type Replies struct {
	mu        sync.Mutex // guards changes
	consumers atomic.Pointer[pmap.Map[string, *replyConsumer]]
}

func (r *Replies) find(address string) *replyConsumer {
	all := r.consumers.Load()
	if all == nil {
		return nil
	}
	c, _ := all.Get(address)
	return c
}

// change puts what f makes of the addresses in their place.
func (r *Replies) change(f func(all pmap.Map[string, *replyConsumer]) pmap.Map[string, *replyConsumer]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all pmap.Map[string, *replyConsumer]
	if old := r.consumers.Load(); old != nil {
		all = *old
	}
	all = f(all)
	r.consumers.Store(&all)
}

func (r *Replies) add(c *replyConsumer) {
	r.change(func(all pmap.Map[string, *replyConsumer]) pmap.Map[string, *replyConsumer] {
		return all.Set(c.address, c)
	})
}

func (r *Replies) remove(c *replyConsumer) {
	r.change(func(all pmap.Map[string, *replyConsumer]) pmap.Map[string, *replyConsumer] {
		return all.Delete(c.address)
	})
}

// replyConsumer is a channel's consumer of direct replies. No queue knows of it, so
// that it is none of the consumers that Info and the watcher see.
type replyConsumer struct {
	ch           *Channel
	tag, address string
	one          [1]queue.Delivery // for Out.Deliver; guarded by ch.mu
}

// consumeReplies is Consume for the pseudo-queue. It needs no right, and looks at
// neither arguments nor flags but no-ack.
func (ch *Channel) consumeReplies(c Consume, ok func(tag string)) error {
	switch {
	case !c.NoAck:
		return reply.Errorf(reply.PreconditionFailed, "reply consumer cannot acknowledge")
	case ch.replies.Load() != nil:
		return reply.Errorf(reply.PreconditionFailed, "reply consumer already set")
	}
	tag := c.Tag
	if tag == "" {
		tag = generated("amq.ctag-")
	}
	// The address is all that it takes to reply, so that it cannot be guessed. Like
	// RabbitMQ's it has two parts.
	rc := &replyConsumer{ch: ch, tag: tag, address: generated(generated(directReply+".") + ".")}
	ch.replies.Store(rc)
	ch.VHost.Replies().add(rc)
	ok(tag)
	return nil
}

// cancelReplies ends the consumer of replies if it has that tag. An ordinary
// consumer may have it too; then the one of replies is the first to go.
func (ch *Channel) cancelReplies(tag string) bool {
	if rc := ch.replies.Load(); rc == nil || rc.tag != tag {
		return false
	}
	ch.endReplies()
	return true
}

// endReplies ends the consumer of replies, if there is one. No reply is delivered
// once it has returned.
func (ch *Channel) endReplies() {
	rc := ch.replies.Load()
	if rc == nil {
		return
	}
	ch.VHost.Replies().remove(rc)
	ch.mu.Lock()
	ch.replies.Store(nil)
	ch.pace.open()
	ch.mu.Unlock()
}

// declareReplies answers a declare of the pseudo-queue or of an address, which asks
// whether there is somebody to reply to, passive or not, and takes no right.
func (ch *Channel) declareReplies(name string) (QueueInfo, error) {
	if name != directReply {
		switch rc := ch.VHost.Replies().find(name); {
		case rc == nil:
			return QueueInfo{}, ch.noQueue(name)
		case rc.ch == ch:
			// RabbitMQ's channel would have to wait for itself, and crashes.
			return QueueInfo{}, &reply.Error{Code: reply.InternalError, NoMethod: true}
		}
	}
	ch.lastQueue = name
	return QueueInfo{Name: name, Consumers: 1}, nil
}

// setReplyAddress puts the channel's address into a request in place of the
// pseudo-queue's name.
func (ch *Channel) setReplyAddress(p *Publish) error {
	props, err := p.Msg.Properties()
	if err != nil {
		return &reply.Error{Code: reply.InternalError, NoMethod: true}
	}
	props.ReplyTo = ch.replies.Load().address
	return p.setProperties(props)
}

// sendReplies delivers a message to those of its keys that are addresses of somebody. Who
// is gone misses it, without a word to the publisher. The caller keeps its reference.
func (ch *Channel) sendReplies(m *message.Message, rt *route) {
	if len(rt.more) == 0 {
		ch.replyTo(rt.key, m)
		return
	}
	keys := append([]string{rt.key}, rt.more...)
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		if isReplyAddress(key) {
			ch.replyTo(key, m)
		}
	}
}

func (ch *Channel) replyTo(address string, m *message.Message) {
	if rc := ch.VHost.Replies().find(address); rc != nil {
		if w := rc.deliver(m); w.C != nil {
			ch.wait = w
		}
	}
}

// deliver sends a reply to the channel's client, in no order with what queues
// deliver. Like RabbitMQ it shows the delivery tag that comes next and does not use
// it up. It may be called from any goroutine that holds no lock. The result says
// whether who replies should wait.
func (c *replyConsumer) deliver(m *message.Message) queue.Wait {
	ch := c.ch
	ch.mu.Lock()
	if ch.replies.Load() != c || !ch.pace.take(ch.window, Cost(m.Size())) {
		ch.mu.Unlock()
		return queue.Wait{}
	}
	m.Retain(1)
	c.one[0] = queue.Delivery{Msg: m}
	ch.Out.Deliver(c.tag, ch.tag+1, c.one[:])
	c.one[0] = queue.Delivery{}
	dropped := ch.dropped
	ch.dropped = 0
	w := ch.pace.wait(ch)
	ch.mu.Unlock()
	if dropped > 0 {
		ch.Written(dropped)
	}
	return w
}
