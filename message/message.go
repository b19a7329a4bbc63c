package message

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Message is one published message on its way through the broker.
//
// Its fields never change after it was posted to the first queue, so that any
// number of queues and writers may read it at once without a lock. It is
// counted: New gives one reference to its maker; every queue that holds the
// message and every outbox that still has to write it owns one more. The last
// Release returns the buffer to a pool, unless Pin was called.
type Message struct {
	refs       atomic.Int32
	pinned     bool
	persistent bool
	priority   uint8
	class      int8
	ttl        int64 // of its own in milliseconds, plus 1; 0 without
	exchange   string
	routingKey string
	hidden     []string // routing keys of the BCC header
	nprops     int
	buf        []byte // the properties' octets, then the body
}

// Buffers are pooled by size, with eight sizes between a power of two and the
// next, so that a backlog wastes at most an eighth of its memory.
const (
	minPooled = 128     // octets; the smallest buffer made
	maxPooled = 1 << 18 // larger ones are left to the garbage collector
	stepBits  = 3
	unpooled  = -1
)

// classes is the number of pooled sizes: the smallest, and eight for each
// doubling from minPooled to maxPooled.
const classes = 1 + 11<<stepBits

// pools hold bytes only, never a channel, timer or lock: they outlive a broker
// and may be shared between brokers and synctest bubbles.
var pools [classes]sync.Pool

// classOf gives the class of buffers that hold n octets, and their size.
func classOf(n int) (class int8, size int) {
	switch {
	case n <= minPooled:
		return 0, minPooled
	case n > maxPooled:
		return unpooled, n
	}
	below := bits.Len(uint(n-1)) - 1 // 1<<below is the power of two below n
	shift := below - stepBits
	step := (n - 1<<below + 1<<shift - 1) >> shift
	doublings := below - (bits.Len(minPooled) - 1)
	return int8(doublings<<stepBits + step), 1<<below + step<<shift
}

// New makes a message with one reference. props are the content header's
// octets from the property flags on, as the publisher sent them; they are
// copied. The body is given with AppendBody; sizeHint octets of room are made
// for it, so give what has arrived, not what a peer promised.
func New(exchange, routingKey string, props []byte, sizeHint int) *Message {
	c, size := classOf(len(props) + sizeHint)
	var m *Message
	if c != unpooled {
		m, _ = pools[c].Get().(*Message)
	}
	if m == nil {
		m = &Message{buf: make([]byte, 0, size)}
	}
	m.refs.Store(1)
	m.class = c
	m.exchange, m.routingKey = exchange, routingKey
	m.buf = append(m.buf[:0], props...)
	m.nprops = len(props)
	return m
}

// AppendBody adds octets to the body. Only the maker may call it, and only
// before the message is posted.
func (m *Message) AppendBody(p []byte) { m.buf = append(m.buf, p...) }

// SetAttributes tells what the broker itself needs of the properties:
// persistent is delivery-mode 2, priority the priority property (0 if absent).
// Only the maker may call it, and only before the message is posted.
func (m *Message) SetAttributes(persistent bool, priority uint8) {
	m.persistent, m.priority = persistent, priority
}

// SetTTL tells what the expiration property says: how many milliseconds after
// it entered a queue the message expires. Only the maker may call it, and only
// before the message is posted.
func (m *Message) SetTTL(ms int64) { m.ttl = ms + 1 }

// TTL is what SetTTL was given; ok is false if it was not called, as it is not for
// one that was read from a store: its queue knows when it expires.
func (m *Message) TTL() (ms int64, ok bool) { return m.ttl - 1, m.ttl > 0 }

// SetHiddenKeys gives the further routing keys that are not in the headers any
// more, since receivers must not see them: those of BCC (contract 04 §8). Only
// the maker may call it, and only before the message is posted.
func (m *Message) SetHiddenKeys(keys []string) { m.hidden = keys }

// HiddenKeys are the routing keys that only the broker knows. They must not be
// changed.
func (m *Message) HiddenKeys() []string { return m.hidden }

// Exchange is the name of the exchange the message was published to.
func (m *Message) Exchange() string { return m.exchange }

// RoutingKey is the primary routing key it was published with.
func (m *Message) RoutingKey() string { return m.routingKey }

// Persistent reports delivery-mode 2.
func (m *Message) Persistent() bool { return m.persistent }

// Priority is the priority property, 0 if absent.
func (m *Message) Priority() uint8 { return m.priority }

// Props are the octets of the content header from the property flags on. The
// caller must not change them, nor keep them longer than its reference.
func (m *Message) Props() []byte { return m.buf[:m.nprops:m.nprops] }

// Body is the body. The caller must not change it, nor keep it longer than its
// reference.
func (m *Message) Body() []byte { return m.buf[m.nprops:len(m.buf):len(m.buf)] }

// Size is the length of the body in octets: what length limits count.
func (m *Message) Size() int { return len(m.buf) - m.nprops }

// Footprint is about how much memory the message keeps from the collector.
func (m *Message) Footprint() int { return cap(m.buf) + 128 }

// Properties decodes the message's properties.
func (m *Message) Properties() (Properties, error) { return DecodeProperties(m.Props()) }

// Retain adds n references.
func (m *Message) Retain(n int32) { m.refs.Add(n) }

// Refs is how many references there are: for tests and for checks of the
// balance. Other holders may change it at any time.
func (m *Message) Refs() int32 { return m.refs.Load() }

// Release gives one reference back. After its last reference is gone the
// message must not be touched.
func (m *Message) Release() {
	n := m.refs.Add(-1)
	if n > 0 {
		return
	}
	released(m, n)
	if m.pinned || m.class == unpooled {
		return
	}
	if c, size := classOf(cap(m.buf)); c != m.class || size != cap(m.buf) {
		return // the body outgrew what was made for it
	}
	m.exchange, m.routingKey = "", ""
	m.persistent, m.priority, m.ttl = false, 0, 0
	if m.hidden != nil {
		m.hidden = nil
	}
	pools[m.class].Put(m)
}

// Pin keeps the message from being recycled: its slices may be handed to code
// that keeps them. Only a holder of a reference may call it, and only while no
// other goroutine can.
func (m *Message) Pin() { m.pinned = true }

// SetRoute tells which exchange the message was published to and with which
// routing key. Only the maker may call it, and only before the message is posted.
func (m *Message) SetRoute(exchange, routingKey string) {
	m.exchange, m.routingKey = exchange, routingKey
}
