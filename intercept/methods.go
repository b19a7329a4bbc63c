package intercept

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/warrenmq/warren/message"
)

// Method is what a client asks for: a pointer to one of the structs of this
// package. Whether the client wants an answer (nowait) is not part of it.
type Method interface {
	// Name is the method's name in AMQP, such as "queue.declare". It needs no value:
	// it may be called on a nil pointer.
	Name() string
}

// Publish is basic.publish with its content.
type Publish struct {
	Exchange, RoutingKey string
	Mandatory, Immediate bool
	// Content is never nil, and must not be made so.
	Content *Content
	// Drop lets the message go nowhere. The publish is checked as always, then it
	// counts as taken: it is confirmed, and does not come back if it is mandatory.
	Drop bool
}

// Consume is basic.consume. Tag is empty where the broker shall make one up.
type Consume struct {
	Queue, Tag       string
	NoAck, Exclusive bool
	Arguments        message.Table
}

// Get is basic.get.
type Get struct {
	Queue string
	NoAck bool
}

// Ack is basic.ack.
type Ack struct {
	DeliveryTag uint64
	Multiple    bool
}

// Nack is basic.nack.
type Nack struct {
	DeliveryTag       uint64
	Multiple, Requeue bool
}

// Reject is basic.reject.
type Reject struct {
	DeliveryTag uint64
	Requeue     bool
}

// Recover is basic.recover, and basic.recover-async.
type Recover struct{ Requeue bool }

// Qos is basic.qos. A PrefetchCount below 1 is no limit.
type Qos struct {
	PrefetchSize  uint32
	PrefetchCount int
	Global        bool
}

// QueueDeclare is queue.declare. Queue is empty where the broker shall make a name
// up.
type QueueDeclare struct {
	Queue                                   string
	Passive, Durable, Exclusive, AutoDelete bool
	Arguments                               message.Table
}

// QueueBind is queue.bind.
type QueueBind struct {
	Queue, Exchange, RoutingKey string
	Arguments                   message.Table
}

// QueueUnbind is queue.unbind.
type QueueUnbind struct {
	Queue, Exchange, RoutingKey string
	Arguments                   message.Table
}

// QueuePurge is queue.purge.
type QueuePurge struct{ Queue string }

// QueueDelete is queue.delete.
type QueueDelete struct {
	Queue             string
	IfUnused, IfEmpty bool
}

// ExchangeDeclare is exchange.declare.
type ExchangeDeclare struct {
	Exchange, Type                         string
	Passive, Durable, AutoDelete, Internal bool
	Arguments                              message.Table
}

// ExchangeDelete is exchange.delete.
type ExchangeDelete struct {
	Exchange string
	IfUnused bool
}

// ExchangeBind is exchange.bind.
type ExchangeBind struct {
	Destination, Source, RoutingKey string
	Arguments                       message.Table
}

// ExchangeUnbind is exchange.unbind.
type ExchangeUnbind struct {
	Destination, Source, RoutingKey string
	Arguments                       message.Table
}

// The methods without anything to rewrite; they can be refused.
type (
	// ConfirmSelect is confirm.select.
	ConfirmSelect struct{}
	// TxSelect is tx.select.
	TxSelect struct{}
	// TxCommit is tx.commit.
	TxCommit struct{}
	// TxRollback is tx.rollback.
	TxRollback struct{}
)

// Name implements Method.
func (*Publish) Name() string { return "basic.publish" }

// Name implements Method.
func (*Consume) Name() string { return "basic.consume" }

// Name implements Method.
func (*Get) Name() string { return "basic.get" }

// Name implements Method.
func (*Ack) Name() string { return "basic.ack" }

// Name implements Method.
func (*Nack) Name() string { return "basic.nack" }

// Name implements Method.
func (*Reject) Name() string { return "basic.reject" }

// Name implements Method.
func (*Recover) Name() string { return "basic.recover" }

// Name implements Method.
func (*Qos) Name() string { return "basic.qos" }

// Name implements Method.
func (*QueueDeclare) Name() string { return "queue.declare" }

// Name implements Method.
func (*QueueBind) Name() string { return "queue.bind" }

// Name implements Method.
func (*QueueUnbind) Name() string { return "queue.unbind" }

// Name implements Method.
func (*QueuePurge) Name() string { return "queue.purge" }

// Name implements Method.
func (*QueueDelete) Name() string { return "queue.delete" }

// Name implements Method.
func (*ExchangeDeclare) Name() string { return "exchange.declare" }

// Name implements Method.
func (*ExchangeDelete) Name() string { return "exchange.delete" }

// Name implements Method.
func (*ExchangeBind) Name() string { return "exchange.bind" }

// Name implements Method.
func (*ExchangeUnbind) Name() string { return "exchange.unbind" }

// Name implements Method.
func (*ConfirmSelect) Name() string { return "confirm.select" }

// Name implements Method.
func (*TxSelect) Name() string { return "tx.select" }

// Name implements Method.
func (*TxCommit) Name() string { return "tx.commit" }

// Name implements Method.
func (*TxRollback) Name() string { return "tx.rollback" }

// all has one of each.
var all = []Method{
	(*Publish)(nil), (*Consume)(nil), (*Get)(nil), (*Ack)(nil), (*Nack)(nil),
	(*Reject)(nil), (*Recover)(nil), (*Qos)(nil), (*QueueDeclare)(nil), (*QueueBind)(nil),
	(*QueueUnbind)(nil), (*QueuePurge)(nil), (*QueueDelete)(nil), (*ExchangeDeclare)(nil),
	(*ExchangeDelete)(nil), (*ExchangeBind)(nil), (*ExchangeUnbind)(nil),
	(*ConfirmSelect)(nil), (*TxSelect)(nil), (*TxCommit)(nil), (*TxRollback)(nil),
}

// Names gives the names of all methods that an interceptor may claim, sorted.
// Others, such as channel.close and basic.cancel, by which clients leave, are not
// for interceptors.
func Names() []string {
	list := make([]string, len(all))
	for i, m := range all {
		list[i] = m.Name()
	}
	slices.Sort(list)
	return list
}

// check refuses what no client could have sent, and brings argument tables into
// the form in which they would have arrived, so that a Go int is what a client's
// int is.
func check(m Method) error {
	switch m := m.(type) {
	case *Publish:
		return lengths(m.Exchange, m.RoutingKey)
	case *Consume:
		return sendable(&m.Arguments, m.Queue, m.Tag)
	case *Get:
		return names(m.Queue)
	case *QueueDeclare:
		return sendable(&m.Arguments, m.Queue)
	case *QueueBind:
		return sendable(&m.Arguments, m.Queue, m.Exchange, m.RoutingKey)
	case *QueueUnbind:
		return sendable(&m.Arguments, m.Queue, m.Exchange, m.RoutingKey)
	case *QueuePurge:
		return names(m.Queue)
	case *QueueDelete:
		return names(m.Queue)
	case *ExchangeDeclare:
		return sendable(&m.Arguments, m.Exchange, m.Type)
	case *ExchangeDelete:
		return names(m.Exchange)
	case *ExchangeBind:
		return sendable(&m.Arguments, m.Destination, m.Source, m.RoutingKey)
	case *ExchangeUnbind:
		return sendable(&m.Arguments, m.Destination, m.Source, m.RoutingKey)
	}
	return nil
}

func sendable(args *message.Table, short ...string) error {
	if err := names(short...); err != nil || len(*args) == 0 {
		return err
	}
	raw, err := message.AppendTableBody(nil, *args)
	if err != nil {
		return fmt.Errorf("arguments: %w", err)
	}
	*args, err = message.DecodeTable(raw)
	return err
}

// maxShort is the length of AMQP's short strings in octets.
const maxShort = 255

func lengths(short ...string) error {
	for _, s := range short {
		if len(s) > maxShort {
			return fmt.Errorf("a name of %d octets (%.20q…) where %d is the most", len(s), s, maxShort)
		}
	}
	return nil
}

// names also looks at the UTF-8, as is done for methods without content.
func names(short ...string) error {
	for _, s := range short {
		if !utf8.ValidString(s) {
			return fmt.Errorf("a name that is not UTF-8: %.20q", s)
		}
	}
	return lengths(short...)
}
