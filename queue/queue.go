// Package queue holds the contract of a queue type, the classic and the quorum type,
// and the host that runs any of them.
//
// A Queue is a state machine: inputs go in, actions come out. It holds no lock,
// starts no goroutine, reads no clock but Env.Now and touches no disk. Its Host is the only
// concurrency around it: a mailbox whose owner for the moment is whichever
// goroutine found it idle.
package queue

import (
	"time"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// Type makes queues of one kind. It is what x-queue-type names. A Type is used
// by many goroutines at once.
type Type interface {
	// Name is the value of x-queue-type.
	Name() string
	// Capabilities tells what a declare of this type may ask for.
	Capabilities() Capabilities
	// Open makes a queue without any I/O: what an earlier run left comes as
	// Recovered events. Spec has been validated against Capabilities. An error
	// refuses the declare; a *reply.Error goes to the client as it is.
	Open(Spec, Env) (Queue, error)
}

// Capabilities is what a queue type supports. A declare, a consume or a policy
// that asks for more is refused before Open.
type Capabilities struct {
	// RabbitName is how RabbitMQ's error texts call the type, for example
	// rabbit_classic_queue. Empty means Name.
	RabbitName string
	// Arguments are the x-arguments of queue.declare that the type knows, in the
	// order in which a second declare compares them. One that another type knows
	// and this one does not is refused; one that no type knows is kept and
	// ignored, as RabbitMQ does. Those that RabbitMQ has are checked before
	// Open; the values of others are for Open to judge.
	Arguments []string
	// ConsumerArguments are the same for basic.consume.
	ConsumerArguments []string
	// Policies are the keys of policy definitions that the type obeys, or takes
	// without an effect, as RabbitMQ does for some. A policy with another key of
	// queues does not match a queue of this type at all (contract 08 §5).
	Policies []string
	// Unimplemented are those of Arguments and ConsumerArguments that the type
	// knows but does not obey. They are checked and compared like the others,
	// and then refused with NOT_IMPLEMENTED, so that nobody relies on them.
	Unimplemented []string
	// Which kinds of queue the type can be.
	Transient, Exclusive, AutoDelete, ServerNamed bool
	// GlobalQos says that consumers may come from a channel with a limit set by
	// basic.qos with the global bit.
	GlobalQos bool
}

// Spec is how a queue was declared. It is immutable.
type Spec struct {
	Name, VHost string
	// Durable queues survive a restart. A durable exclusive queue is stored as
	// not durable, as RabbitMQ does.
	Durable, Exclusive, AutoDelete bool
	// Owner is the connection that an exclusive queue belongs to, 0 for others.
	Owner     uint64
	Arguments message.Table
	// Type is the name of the queue's type.
	Type string
}

// Env is what a queue may rely on around it.
type Env struct {
	// Stored says that there is a Log: Actions.Store and Actions.Load are
	// carried out and answered by events. Without it a queue must not use them.
	Stored bool
	// Memory is how much of its messages the queue should keep in memory if it
	// has a Log.
	Memory Bounds
	// Now tells the time: the only clock that a queue may read. nil is time.Now.
	Now func() time.Time
	// Policy is the effective policy definition to begin with, in RabbitMQ's keys
	// ("max-length", "message-ttl"); empty without a policy. What operators and
	// users set is merged in it already; its merging with Spec.Arguments is up to
	// the type (contract 08 §5).
	Policy message.Table
}

// Queue is one queue. Its host calls it from one goroutine at a time; a call
// must not block and has no effect outside the queue but what it appends to out.
//
// References: a Publish brings one reference to its message, which the queue
// owns from then on. A Delivery and a GetReply take one with them: the queue's
// own if the delivery needs no acknowledgement, one more (Retain) if it does. A
// queue releases its own when the message leaves it for good.
type Queue interface {
	// Enqueue takes messages in their order. A queue without a store answers each
	// of them in this out; one with a store may do it later.
	Enqueue(in []Publish, out *Actions)
	// Settle carries out acknowledgements. An id that is not held by a consumer
	// is ignored: it may have been settled by a purge of an earlier life.
	Settle(in []Settle, out *Actions)
	// Consume adds a consumer. Deliveries may follow in the same out.
	Consume(c Consumer, out *Actions) error
	// Cancel takes a consumer away; nothing is delivered to it afterwards. What
	// it holds stays held until it is settled. It sets out.Gone if the queue is
	// to be deleted with its last consumer.
	Cancel(id message.ConsumerID, why CancelReason, out *Actions)
	// Get takes one ready message. The answer is a GetReply in this or a later
	// out: the message may have to be loaded first.
	Get(req GetRef, noAck bool, out *Actions)
	// Event tells the queue of something it waits for.
	Event(ev Event, out *Actions)
	// Purge drops all ready messages and gives their number.
	Purge(out *Actions) int
	// Delete ends the queue, unless it is in use or not empty and that was asked
	// for: then it gives ErrInUse or ErrNotEmpty and the queue goes on
	// unchanged. It releases every message, cancels no consumer (the host does)
	// and gives the number of ready messages.
	Delete(ifUnused, ifEmpty bool, out *Actions) (int, error)
	// Stat counts.
	Stat() Stat
}

// Publish is one message for one queue.
type Publish struct {
	Msg *message.Message
	Ref message.PublishRef
	// Atom is set for a publish that must become durable together with others.
	Atom *store.Atom
}

// deadLetterRef is the Ref of a dead letter.
var deadLetterRef = message.PublishRef{Seq: 1}

// DeadLetter reports that the message is a dead letter of another queue, of which
// nobody hears what becomes of it, and not a client's publish.
func (p *Publish) DeadLetter() bool { return p.Ref == deadLetterRef }

// Outcome is what a consumer did with a delivery.
type Outcome uint8

const (
	// Ack removes the message.
	Ack Outcome = iota + 1
	// Requeue puts it back to its original position.
	Requeue
	// Discard removes it as rejected: dead-lettered where the queue has a
	// dead-letter exchange.
	Discard
	// Return is Requeue of what nobody asked to be requeued: the consumer's channel
	// has ended. A type that makes no difference treats the two alike.
	Return
)

// Settle is one acknowledgement.
type Settle struct {
	// ID is the Delivery's.
	ID uint64
	// Consumer had it; 0 for a basic.get.
	Consumer message.ConsumerID
	Outcome  Outcome
	// First says that it is the first of those that RabbitMQ settles at once: what one
	// method, or one commit, settles of what one consumer had, or a basic.get. They die
	// and come back in an order of their own, so that those of two methods in one batch
	// have to be told apart. What comes back with Return does so at once.
	First bool
	Atom  *store.Atom
}

// Consumer is one basic.consume.
type Consumer struct {
	ID        message.ConsumerID
	Tag       string
	NoAck     bool
	Exclusive bool
	// Prefetch is how many unacknowledged deliveries it may hold, 0 without
	// limit. It does not apply to a NoAck consumer.
	Prefetch  int
	Arguments message.Table
	// Gate limits it together with others; nil does not.
	Gate Gate
	// Place is the same for the consumers of one channel; see OrderedSink.
	Place any
}

// Gate is a limit that several consumers share: the room in their connection's
// outbox and the channel's global prefetch. It may be used by several queues at
// once.
type Gate interface {
	// TryTake asks for room for one delivery of a body of size octets. If it
	// says no, the queue must not deliver to this consumer before it got a
	// Resume event for it.
	TryTake(size int) bool
}

// CancelReason is why a consumer goes.
type CancelReason uint8

const (
	// ByClient is basic.cancel.
	ByClient CancelReason = iota + 1
	// ByQueue is the deletion or failure of the queue.
	ByQueue
	// ByEnd is the end of the channel or connection: what the consumer holds is about
	// to be returned.
	ByEnd
)

// GetRef is the host's name for one pending basic.get.
type GetRef uint64

// Delivery is one message for one consumer.
type Delivery struct {
	Consumer message.ConsumerID
	// ID is the queue's own name for the message: what Settle gives back.
	ID          uint64
	Msg         *message.Message
	Redelivered bool
	// Count is how often the message was delivered before, in a queue that counts.
	Count uint32
}

// GetReply answers a Get. Msg is nil if the queue was empty, or if Err says why
// the message could not be had.
type GetReply struct {
	Ref         GetRef
	Err         error
	ID          uint64
	Msg         *message.Message
	Redelivered bool
	// Count is as in Delivery.
	Count uint32
	// Remaining is the number of ready messages left.
	Remaining int
}

// Dead is a message for the dead-letter exchange. It brings its reference.
type Dead struct {
	Msg    *message.Message
	Reason Reason
	// Exchange is where it goes, with the keys it has, or with RoutingKey instead
	// if Rekeyed is set.
	Exchange, RoutingKey string
	Rekeyed              bool
	// Letter, if not 0, asks for a Forwarded event of that name once all queues that
	// the letter goes to have taken or refused it. Those in Except are left out.
	Letter uint64
	Except []string
	// Atom, if set, is that of the operation that takes the message off the store:
	// what its new queues store belongs to the same. The queue is a participant of
	// it, either because it was given the atom in this call or because it is in
	// Actions.Atoms.
	Atom *store.Atom
}

// Reason is why a message was dead-lettered, as x-death has it.
type Reason string

// The reasons of RabbitMQ (contract 05 §7).
const (
	Rejected Reason = "rejected"
	Expired  Reason = "expired"
	MaxLen   Reason = "maxlen"
	// LimitReached is that of a message that came back more often than its queue's
	// delivery limit allows.
	LimitReached Reason = "delivery_limit"
)

// EventKind says what an Event is.
type EventKind uint8

const (
	// Stored says that the oldest Ops operations of Actions.Store not yet
	// answered are durable, or, with Err, that none of them is.
	Stored EventKind = iota + 1
	// LoadDone brings the messages of the oldest range of Actions.Load not yet
	// answered, or Err.
	LoadDone
	// Recovered brings a batch of what an earlier run left, in order, before
	// anything else is asked of the queue.
	Recovered
	// RecoverDone ends the recovery. A queue without a Log gets it as well, as the
	// first thing that it is told.
	RecoverDone
	// Resume says that the Gate of a consumer may have room again.
	Resume
	// TimeReached says that the instant asked for by Actions.Wake has come.
	TimeReached
	// Declared says that somebody asked for the queue's counts by declaring it,
	// which counts as a use of it.
	Declared
	// Buried answers Actions.Bury: the queues that they went to have taken all the
	// dead letters of that call.
	Buried
	// PolicyChanged brings another effective policy definition, in place of that
	// of Env or of the event before. It does not come before RecoverDone.
	PolicyChanged
	// Credited says that a consumer wants so many more deliveries and no others,
	// whatever it said before (basic.credit). The queue answers in Actions.Credit.
	Credited
	// Forwarded says which queues have taken a Dead with a Letter, and how many have
	// not: they refused it, or are gone.
	Forwarded
)

// Event is something a queue waited for.
type Event struct {
	Kind     EventKind
	Err      error
	Ops      int                // Stored
	Consumer message.ConsumerID // Resume, Credited
	More     bool               // Resume; another one follows, for a consumer that was gated as well
	Credit   uint32             // Credited
	Drain    bool               // Credited; what is left of it ends when the queue is empty
	Loaded   []store.Loaded     // LoadDone; each brings a reference
	Entries  []store.Entry      // Recovered
	Now      time.Time          // TimeReached
	Letter   uint64             // Forwarded
	Taken    []string           // Forwarded: names of queues
	Refused  int                // Forwarded
	Policy   message.Table      // PolicyChanged
}

// Stat is a queue in numbers.
type Stat struct {
	Ready, Unacked int
	ReadyBytes     int64 // bodies only
	Consumers      int
	// Waiting are those of Consumers that a declare does not count.
	Waiting int
}

// CreditNote tells a consumer of its credit: how many messages are ready, in answer to
// Credited and before what it has delivered, or, with Drained, how much of a credit
// was left over when the queue was empty.
type CreditNote struct {
	Consumer message.ConsumerID
	Drained  bool
	N        uint32
}

// Actions is what a queue wants done. The host carries them out in the order of
// the fields, empties it and gives it back: a queue appends and keeps nothing.
type Actions struct {
	Got     []GetReply
	Deliver []Delivery
	// Credit is told after Deliver if it is Drained, and before otherwise.
	Credit []CreditNote
	// Confirm and Reject answer publishes. A publish is answered exactly once.
	Confirm, Reject []message.PublishRef
	DeadLetter      []Dead
	// Bury asks for a Buried event once those have been taken. A queue that has
	// very many waits for it before it hands out more.
	Bury bool
	// Atoms are those that the queue made, or joined, for what is in these actions:
	// the host leaves them when it has handed everything over.
	Atoms []*store.Atom
	// Store is answered in order by Stored events, each for a number of
	// operations; Load by one LoadDone event for each range.
	Store []store.Op
	Load  []store.Range
	// Active, if not 0, is the consumer that is the queue's single active one from
	// now on.
	Active message.ConsumerID
	// Wake asks for a TimeReached event; a later Wake replaces it.
	Wake time.Time
	// Gone says that the queue wants to be deleted.
	Gone bool
}

// deliver adds an empty delivery, to be filled in where it stands: one that is made
// elsewhere and copied waits for its fields to be written.
func (a *Actions) deliver() *Delivery {
	a.Deliver = append(a.Deliver, Delivery{})
	return &a.Deliver[len(a.Deliver)-1]
}
