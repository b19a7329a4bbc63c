package warren

import (
	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
)

// Table is an AMQP field table: the arguments of a declare, or a message's
// headers. Its order is kept. The Go type of a value decides its AMQP type.
type Table = message.Table

// Field is one entry of a Table.
type Field = message.Field

// The options of a method say which methods take them: what cannot be asked of a
// method does not compile.
type (
	// ChannelOption is for Broker.Channel.
	ChannelOption interface{ channel(*channelSettings) }
	// QueueOption is for Channel.DeclareQueue.
	QueueOption interface{ queue(*channel.QueueDeclare) }
	// ExchangeOption is for Channel.DeclareExchange.
	ExchangeOption interface {
		exchange(*channel.ExchangeDeclare)
	}
	// BindOption is for the bind and unbind methods.
	BindOption interface{ bind(*Table) }
	// ConsumeOption is for Channel.Consume and Channel.Handle.
	ConsumeOption interface{ consume(*channel.Consume) }
	// GetOption is for Channel.Get.
	GetOption interface{ get(noAck *bool) }
	// PublishOption is for the publishing methods.
	PublishOption interface{ publish(mandatory *bool) }
	// DeleteQueueOption is for Channel.DeleteQueue.
	DeleteQueueOption interface{ deleteQueue(ifUnused, ifEmpty *bool) }
	// DeleteExchangeOption is for Channel.DeleteExchange.
	DeleteExchangeOption interface{ deleteExchange(ifUnused *bool) }
)

type channelSettings struct {
	user, vhost string
	hasUser     bool
	single      bool // the connection is for one channel only
}

type (
	userOption       string
	vhostOption      string
	durableOption    struct{}
	autoDeleteOption struct{}
	passiveOption    struct{}
	exclusiveOption  struct{}
	internalOption   struct{}
	argOption        message.Field
	tagOption        string
	noAckOption      struct{}
	prefetchOption   int
	mandatoryOption  struct{}
	ifUnusedOption   struct{}
	ifEmptyOption    struct{}
)

// User makes a channel act as that user, with that user's permissions. Without
// it a channel has all rights.
func User(name string) ChannelOption { return userOption(name) }

func (o userOption) channel(s *channelSettings) { s.user, s.hasUser = string(o), true }

// VHost opens the channel in that virtual host instead of "/".
func VHost(name string) ChannelOption { return vhostOption(name) }

func (o vhostOption) channel(s *channelSettings) { s.vhost = string(o) }

// Durable makes a queue or exchange that survives a restart of the broker, if the
// broker has a store to keep it in.
func Durable() interface {
	QueueOption
	ExchangeOption
} {
	return durableOption{}
}

func (durableOption) queue(d *channel.QueueDeclare)       { d.Durable = true }
func (durableOption) exchange(d *channel.ExchangeDeclare) { d.Durable = true }

// AutoDelete makes a queue that goes with its last consumer, or an exchange that
// goes with the last binding that leads from it. One that never had any stays.
func AutoDelete() interface {
	QueueOption
	ExchangeOption
} {
	return autoDeleteOption{}
}

func (autoDeleteOption) queue(d *channel.QueueDeclare)       { d.AutoDelete = true }
func (autoDeleteOption) exchange(d *channel.ExchangeDeclare) { d.AutoDelete = true }

// Passive only asks whether the queue or exchange exists: nothing is made, other
// options do not matter, and one that does not exist is refused with NotFound.
func Passive() interface {
	QueueOption
	ExchangeOption
} {
	return passiveOption{}
}

func (passiveOption) queue(d *channel.QueueDeclare)       { d.Passive = true }
func (passiveOption) exchange(d *channel.ExchangeDeclare) { d.Passive = true }

// Exclusive makes a queue that only this channel may use and that goes with it,
// or a consumer that keeps all others away from its queue. Who is kept away is
// refused with ResourceLocked by the queue, AccessRefused by the consumer.
func Exclusive() interface {
	QueueOption
	ConsumeOption
} {
	return exclusiveOption{}
}

func (exclusiveOption) queue(d *channel.QueueDeclare) { d.Exclusive = true }
func (exclusiveOption) consume(c *channel.Consume)    { c.Exclusive = true }

// Internal makes an exchange that takes messages from exchanges only. A publish to
// it is refused with AccessRefused.
func Internal() ExchangeOption { return internalOption{} }

func (internalOption) exchange(d *channel.ExchangeDeclare) { d.Internal = true }

// Arg adds an argument, such as "x-queue-type" of a queue, "alternate-exchange"
// of an exchange or "x-match" of a binding. The value is of one of the Go types that
// message.Table lists.
func Arg(name string, value any) interface {
	QueueOption
	ExchangeOption
	BindOption
	ConsumeOption
} {
	return argOption{Name: name, Value: value}
}

func (o argOption) queue(d *channel.QueueDeclare)       { o.bind(&d.Arguments) }
func (o argOption) exchange(d *channel.ExchangeDeclare) { o.bind(&d.Arguments) }
func (o argOption) consume(c *channel.Consume)          { o.bind(&c.Arguments) }
func (o argOption) bind(t *Table)                       { *t = append(*t, message.Field(o)) }

// Tag names a consumer; without it the broker makes up a name. A name that another
// consumer of the channel has is refused with NotAllowed (530).
func Tag(name string) ConsumeOption { return tagOption(name) }

func (o tagOption) consume(c *channel.Consume) { c.Tag = string(o) }

// NoAck takes messages without acknowledgement: they are settled when the broker
// hands them over, and those that were handed over but not yet seen by the loop
// are lost when it is left.
func NoAck() interface {
	ConsumeOption
	GetOption
} {
	return noAckOption{}
}

func (noAckOption) consume(c *channel.Consume) { c.NoAck = true }
func (noAckOption) get(noAck *bool)            { *noAck = true }

// Prefetch is how many unsettled deliveries a consumer may hold, below 1 without
// limit; without this option it is what Qos set.
func Prefetch(n int) ConsumeOption { return prefetchOption(n) }

func (o prefetchOption) consume(c *channel.Consume) {
	if c.Prefetch = int(o); o < 1 {
		c.Prefetch = channel.NoPrefetch
	}
}

// Mandatory returns a message that has no route: to Channel.Returns from Publish,
// as the outcome from PublishAsync.
func Mandatory() PublishOption { return mandatoryOption{} }

func (mandatoryOption) publish(mandatory *bool) { *mandatory = true }

// IfUnused refuses to delete a queue with consumers, or an exchange with bindings
// that lead from it.
func IfUnused() interface {
	DeleteQueueOption
	DeleteExchangeOption
} {
	return ifUnusedOption{}
}

func (ifUnusedOption) deleteQueue(ifUnused, _ *bool) { *ifUnused = true }
func (ifUnusedOption) deleteExchange(ifUnused *bool) { *ifUnused = true }

// IfEmpty refuses to delete a queue with ready messages.
func IfEmpty() DeleteQueueOption { return ifEmptyOption{} }

func (ifEmptyOption) deleteQueue(_, ifEmpty *bool) { *ifEmpty = true }
