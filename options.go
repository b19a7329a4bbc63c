package warren

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/intercept"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/store"
)

// Options says what a broker is made of. The zero value is a broker in memory
// with RabbitMQ's defaults, silent, with the virtual host "/" and the user guest
// (password guest), who may connect from this machine only.
type Options struct {
	// Logger takes what the broker has to say; nil is silence. Orderly work is
	// logged at info and below.
	Logger *slog.Logger
	// ExchangeTypes are added to direct, fanout, topic and headers; clients ask for
	// one by its Name. New fails if two have the same.
	ExchangeTypes []exchange.Type
	// QueueTypes are added to classic and quorum; a client asks for one by x-queue-type and its
	// Name. New fails if two have the same.
	QueueTypes []queue.Type
	// Interceptors see what clients ask for before it is carried out, and may
	// rewrite or refuse it, on every way into the broker; see package intercept. New
	// fails if two of them claim the same method.
	Interceptors []intercept.Interceptor
	// ChannelMax is how many channels a connection may have open, 2047 if 0. A
	// client may ask for fewer.
	ChannelMax uint16
	// FrameMax is the longest frame in octets that is proposed to clients: 131072
	// if 0, at least 4096.
	FrameMax uint32
	// Heartbeat is the heartbeat interval proposed to clients, in whole seconds:
	// 60 s if 0. A negative one proposes none. The client decides.
	Heartbeat time.Duration
	// HandshakeTimeout is how long a client may take from connecting to having
	// opened a virtual host: 10 s if 0.
	HandshakeTimeout time.Duration
	// MaxMessageSize is the largest body in octets: 128 MiB if 0, at most 512 MiB.
	MaxMessageSize int
	// MaxUnsent is how many octets of deliveries may wait for a channel's client
	// to read them before queues serve others: 128 KiB if 0. At least one
	// delivery may, whatever its size.
	MaxUnsent int
	// ConsumerTimeout is how long a delivery may stay unsettled: 30 min if 0, without
	// end if negative. After that, or up to a thirtieth of it later, its channel is
	// closed with PRECONDITION_FAILED (406), a Channel of the program too, and what it
	// holds returns to its queues. Below 30 ms it is checked every millisecond, above
	// half an hour every minute. A queue's own timeout goes before it, longer or not:
	// the lower one of the argument x-consumer-timeout and of the policy key
	// consumer-timeout, in milliseconds (as in RabbitMQ 3.12). It is looked at when a
	// delivery of that queue is the channel's oldest.
	ConsumerTimeout time.Duration
	// MemoryLimit is how many octets of the program's heap may be in use before
	// MemoryAlarm is set: the whole program's, garbage not counted, looked at every
	// 2.5 s. The alarm is cleared when the heap is within the limit again. 0 is no
	// limit. While the heap looks larger than that, each look costs a garbage
	// collection.
	MemoryLimit int64
	// LoopbackUsers may connect from this machine only, which Dial counts as: guest if
	// nil, nobody if empty and not nil.
	LoopbackUsers []string
	// Store keeps what is durable; nil keeps nothing, and everything is in memory.
	// The broker closes it when it ends; after an error of New it is still the
	// caller's, and that error names its directory if it has a method Dir() string. See
	// store/badgerstore. With it a confirm, and the answer to a declare or delete of
	// something durable, waits for the disk: one fsync, which many share that are
	// under way at a time.
	Store store.Store
	// OnStoreError is told the error after which Store keeps nothing any more, once
	// and on a goroutine of its own; see Broker.Health. It may close the broker.
	OnStoreError func(error)
	// QueueMemory is how much of its messages each durable queue keeps in memory, with
	// a Store; what is beyond waits there. 8192 messages and 8 MiB where zero. A busy
	// queue takes up to three times that, so that it costs memory by the number of
	// queues that are long; small ones have consumers of long queues wait for the
	// disk.
	QueueMemory queue.Bounds
	// FreeDiskLimit is how many octets must be free on the Store's medium, beside
	// what it keeps in reserve, for publishers not to be blocked: 50 MB if 0, as in
	// RabbitMQ (contract 07 §5). It is looked at every 10 s, and up to every 0.1 s as
	// it gets short.
	FreeDiskLimit int64
	// NoDefaultUser leaves out the user guest. Clients can then come in only as users
	// whom the program adds with Broker.Auth.
	NoDefaultUser bool
	// DefaultDeliveryLimit is how often a message may come back to a quorum queue that
	// has no x-delivery-limit, before it is dead-lettered with the reason delivery_limit,
	// or dropped. 0 is without limit, as in RabbitMQ 3.10.
	DefaultDeliveryLimit int
	// ClassicDeliveryLimit has classic queues take x-delivery-limit and obey
	// DefaultDeliveryLimit as quorum queues do. RabbitMQ refuses the argument for them,
	// and so does a broker without this option.
	ClassicDeliveryLimit bool
}

// RabbitMQ's defaults and limits (contract 02 §3, 03 §11).
const (
	defaultChannelMax       = 2047
	defaultFrameMax         = 131072
	minFrameMax             = 4096
	defaultHeartbeat        = 60 * time.Second
	defaultHandshakeTimeout = 10 * time.Second
	defaultConsumerTimeout  = 30 * time.Minute
	defaultMaxMessageSize   = 128 << 20
	maxMaxMessageSize       = 512 << 20
	defaultMaxUnsent        = 128 << 10
	defaultFreeDisk         = 50_000_000
)

// withDefaults fills in what was left zero, and refuses what cannot be.
func (o Options) withDefaults() (Options, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.ChannelMax, defaultChannelMax)
	setDefault(&o.FrameMax, defaultFrameMax)
	setDefault(&o.Heartbeat, defaultHeartbeat)
	setDefault(&o.HandshakeTimeout, defaultHandshakeTimeout)
	setDefault(&o.MaxMessageSize, defaultMaxMessageSize)
	setDefault(&o.MaxUnsent, defaultMaxUnsent)
	setDefault(&o.ConsumerTimeout, defaultConsumerTimeout)
	setDefault(&o.FreeDiskLimit, defaultFreeDisk)
	switch {
	case o.FrameMax < minFrameMax:
		return o, fmt.Errorf("warren: Options.FrameMax is %d, below AMQP's minimum of %d", o.FrameMax, minFrameMax)
	case o.Heartbeat > 65535*time.Second:
		return o, fmt.Errorf("warren: Options.Heartbeat is %v, above AMQP's maximum of 65535s", o.Heartbeat)
	case o.Heartbeat > 0 && o.Heartbeat%time.Second != 0:
		return o, fmt.Errorf("warren: Options.Heartbeat is %v, not in whole seconds", o.Heartbeat)
	case o.HandshakeTimeout < 0:
		return o, fmt.Errorf("warren: Options.HandshakeTimeout is %v, below 0", o.HandshakeTimeout)
	case o.MaxMessageSize < 0 || o.MaxMessageSize > maxMaxMessageSize:
		return o, fmt.Errorf("warren: Options.MaxMessageSize is %d, not within 0 and %d", o.MaxMessageSize, maxMaxMessageSize)
	case o.MaxUnsent < 0:
		return o, fmt.Errorf("warren: Options.MaxUnsent is %d, below 0", o.MaxUnsent)
	case o.MemoryLimit < 0:
		return o, fmt.Errorf("warren: Options.MemoryLimit is %d, below 0", o.MemoryLimit)
	case o.FreeDiskLimit < 0:
		return o, fmt.Errorf("warren: Options.FreeDiskLimit is %d, below 0", o.FreeDiskLimit)
	case o.DefaultDeliveryLimit < 0:
		return o, fmt.Errorf("warren: Options.DefaultDeliveryLimit is %d, below 0", o.DefaultDeliveryLimit)
	case o.QueueMemory.Messages < 0 || o.QueueMemory.Octets < 0:
		return o, fmt.Errorf("warren: Options.QueueMemory is %+v, below 0", o.QueueMemory)
	}
	o.Heartbeat = max(o.Heartbeat, 0)
	return o, nil
}

// builtInQueues are the queue types of every broker.
func (o Options) builtInQueues() []queue.Type {
	limit := queue.DeliveryLimit(o.DefaultDeliveryLimit)
	if o.ClassicDeliveryLimit {
		return []queue.Type{queue.Classic(limit), queue.Quorum(limit)}
	}
	return []queue.Type{queue.Classic(), queue.Quorum(limit)}
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// emulated is the RabbitMQ whose behaviour clients can rely on.
const emulated = "3.10.8"

// serverProperties go into connection.start. Clients decide by product and
// version what they may ask for, and some leave out what is not RabbitMQ's, so
// these name the RabbitMQ that Warren stands in for; platform and information
// name Warren itself. The capabilities are those that work.
func serverProperties() message.Table {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	capabilities := message.Table{}
	for _, c := range []string{
		"authentication_failure_close", "basic.nack", "connection.blocked", "consumer_cancel_notify",
		"consumer_priorities", "direct_reply_to", "exchange_exchange_bindings", "per_consumer_qos",
		"publisher_confirms",
	} {
		capabilities = append(capabilities, message.Field{Name: c, Value: true})
	}
	return message.Table{
		{Name: "capabilities", Value: capabilities},
		{Name: "cluster_name", Value: "warren@" + host},
		{Name: "copyright", Value: "The Warren Authors"},
		{Name: "information", Value: "Warren, a broker that behaves like RabbitMQ " + emulated + ". Apache License 2.0."},
		{Name: "platform", Value: "Warren " + Version() + ", " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH},
		{Name: "product", Value: "RabbitMQ"},
		{Name: "version", Value: emulated},
	}
}

// modulePath is how the program's build knows this module.
const modulePath = "github.com/warrenmq/warren"

// Version is the version of this module in the running program, or "devel" where
// the build does not know it.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == modulePath && m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	return "devel"
}
