package channel

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/confirm"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/intercept"
	"github.com/warrenmq/warren/limiter"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// VHost is what a channel needs of its virtual host. Its methods may be called
// from any goroutine; those that look something up take no lock.
type VHost interface {
	// Name is the virtual host's name.
	Name() string
	// Exchanges are the exchanges and bindings.
	Exchanges() *exchange.Topology
	// QueueTypes are the types a declare may name.
	QueueTypes() *queue.Types
	// Queue gives a queue by name.
	Queue(name string) (*queue.Host, bool)
	// CheckQueueLimit refuses a new queue above the virtual host's limit.
	CheckQueueLimit(name string) error
	// DeclareQueue gives the queue of that name, or makes it as specified.
	DeclareQueue(s queue.Spec) (h *queue.Host, created bool, err error)
	// Settle calls then once everything that was declared, bound, unbound or deleted
	// before is durable, as far as it is to be, or with the error for which it is not:
	// at once, or from another goroutine. No lock may be held.
	Settle(then func(error))
	// DeleteLost deletes what is stored of a queue that failed and is not there any
	// more; without it a restart would bring the queue back.
	DeleteLost(queue string)
	// Replies are its channels that take direct replies; always the same.
	Replies() *Replies
	// Watcher hears of the channels in it; nil if nobody does.
	Watcher() Watcher
}

// Watcher hears of channels and consumers that come and go, each of them first
// opened or added and then closed or removed, a channel's consumers while it is
// open. Its methods are called by any goroutine, those for consumers in a queue's
// turn: they must not block or call the channel. Of the channel they may look at
// Config's Connection, Number, User and VHost.
type Watcher interface {
	// ChannelOpened is called by New.
	ChannelOpened(ch *Channel)
	// ChannelClosed is called once, after ConsumerRemoved for the last consumer.
	ChannelClosed(ch *Channel, why reply.Reason)
	// ConsumerAdded says that a queue has accepted the consumer.
	ConsumerAdded(ch *Channel, c ConsumerInfo)
	// ConsumerRemoved says that a consumer is gone, whatever the reason.
	ConsumerRemoved(ch *Channel, c ConsumerInfo)
}

// Out takes what a channel has to say to its client besides the answers that
// its methods return. Its methods may be called from any goroutine, never block
// and keep the order of the calls.
type Out interface {
	// Deliver sends deliveries to a consumer under consecutive delivery tags. It
	// takes over the reference of each. The slice is the caller's again when it
	// returns. Once a delivery is on its way its cost is given back with
	// Channel.Written, later and from elsewhere; if it is not passed on at all,
	// with Channel.Dropped.
	Deliver(consumerTag string, first uint64, ds []queue.Delivery)
	// Return sends basic.return and takes over a reference to the message.
	Return(code reply.Code, m *message.Message)
	// Cancelled tells that the broker cancelled a consumer.
	Cancelled(consumerTag string)
	// ConfirmsReady says that Confirms has something to drain.
	ConfirmsReady()
	// TimedOut says that a delivery was not settled in time, see Config.ConsumerTimeout: the
	// channel's owner closes it with that refusal. The consumer is the one that has
	// the delivery, empty if it is gone or if it was a basic.get. TimedOut is called
	// once, by a timer's goroutine that holds no lock; it may call Close.
	TimedOut(consumerTag string, why *reply.Error)
}

// CreditOut is an Out whose client can give its consumers credit; see Channel.Credit.
type CreditOut interface {
	Out
	// CreditOK sends basic.credit-ok with the number of ready messages.
	CreditOK(available uint32)
	// CreditDrained sends basic.credit-drained.
	CreditDrained(consumerTag string, unused uint32)
}

// Config is what a channel is made of.
type Config struct {
	VHost VHost
	// Access are the user's rights in the virtual host.
	Access *auth.Access
	// User is the name publishes may carry as user-id.
	User string
	// Impersonator users may put any name into user-id.
	Impersonator bool
	// Connection identifies the connection, for exclusive queues.
	Connection uint64
	// Number tells it from the other open channels of its connection.
	Number uint64
	Out    Out
	// MaxMessageSize is the largest body in octets.
	MaxMessageSize int
	// MaxUnsent is how many octets of deliveries may wait for the client to read
	// them before queues serve others; at least one delivery may.
	MaxUnsent int
	// ConsumerTimeout is how long a delivery may stay unsettled before Out.TimedOut is
	// called, which happens up to a thirtieth of it later; not above 0 is without end.
	ConsumerTimeout time.Duration
	// Interceptors see methods first; nil are none. Client is what they are told of
	// who sent them.
	Interceptors *intercept.Set
	Client       intercept.Client
	// Ended is closed when nobody cares for answers any more: methods then do not
	// wait for the store. nil is never.
	Ended <-chan struct{}
}

// ErrUnsettled is what a method returns that was given up before what it changed was
// known to be durable; see Config.Ended and Channel.WaitUntil. The change is in force.
var ErrUnsettled = errors.New("channel: nobody waited for the store")

// Channel is one open channel.
type Channel struct {
	Config
	// publishes are shown to an interceptor.
	interceptPublishes bool
	// pace stands apart from what changes with each delivery: it is looked at with
	// each, by another goroutine.
	pace pace

	watcher  Watcher // may be nil
	confirms *confirm.Tracker
	window   *limiter.Window
	global   limiter.Prefetch
	// replies is the consumer of direct replies, nil without one. The goroutine that
	// calls the methods changes it.
	replies atomic.Pointer[replyConsumer]

	// What follows belongs to the goroutine that calls the methods.
	until     <-chan struct{} // see WaitUntil
	lastQueue string          // the queue declared last, for the empty queue name
	seq       uint64          // publishes counted for confirms
	tx        *transaction
	routes    routes
	props     inspector
	pending   []queue.Posting
	pendingN  int
	wait      queue.Wait     // see Flush
	settled   []unackedEntry // scratch

	mu        sync.Mutex
	mode      Mode        // changed by the methods only
	closed    atomic.Bool // changed with mu held
	tag       uint64      // the last delivery tag
	unacked   unacked
	watch     *watch // of unacked; nil until there is something in it
	consumers map[string]*consumer
	dropped   int         // see Dropped
	waiting   []*consumer // those the window or the global prefetch refused
}

// New opens a channel, and tells the virtual host's watcher. Its owner ends it with
// CloseBecause or Close.
func New(c Config) *Channel {
	ch := &Channel{Config: c, window: limiter.NewWindow(c.MaxUnsent), consumers: map[string]*consumer{}}
	ch.confirms = confirm.New(c.Out.ConfirmsReady)
	ch.interceptPublishes = c.Interceptors.Claims((*intercept.Publish)(nil).Name())
	if ch.watcher = c.VHost.Watcher(); ch.watcher != nil {
		ch.watcher.ChannelOpened(ch)
	}
	return ch
}

// WaitUntil bounds how long the methods that are called from now on wait for the
// store: until done is closed. nil is without end.
func (ch *Channel) WaitUntil(done <-chan struct{}) { ch.until = done }

const (
	// maxPostings is for how many queues a channel collects at a time, or for those of
	// one publish.
	maxPostings = 16
	// keptPostings is for how many queues a channel keeps the memory.
	keptPostings = 1024
	// maxPending is how many publishes and settles it collects in all.
	maxPending = 512
)

// batch gives the batch in which publishes and settles for a queue are collected.
func (ch *Channel) batch(h *queue.Host) *queue.Batch {
	b := ch.collected(h)
	if b == nil {
		if len(ch.pending) >= maxPostings {
			ch.flush()
		}
		b = ch.collect(h)
	}
	ch.pendingN++
	return b
}

// collected is the batch that a queue has already, or nil.
func (ch *Channel) collected(h *queue.Host) *queue.Batch {
	for i := len(ch.pending) - 1; i >= 0; i-- {
		if ch.pending[i].Host == h {
			return ch.pending[i].Batch
		}
	}
	return nil
}

// collect begins a batch for a queue.
func (ch *Channel) collect(h *queue.Host) *queue.Batch {
	b := queue.NewBatch()
	ch.pending = append(ch.pending, queue.Posting{})
	p := &ch.pending[len(ch.pending)-1]
	p.Host, p.Batch = h, b
	return b
}

// hasRoom reports whether all queues of a publish fit in with what is collected.
func (ch *Channel) hasRoom(hosts []*queue.Host) bool {
	n := len(ch.pending) + len(hosts)
	if n <= maxPostings || len(hosts) > maxPostings {
		return n <= maxPostings
	}
	for _, h := range hosts {
		if ch.collected(h) != nil {
			n--
		}
	}
	return n <= maxPostings
}

// Flush hands over what was collected, and may run queues while it does. The
// result says whether a queue has more before it than it should: whoever calls
// for a publisher waits for it before taking more.
func (ch *Channel) Flush() queue.Wait {
	ch.flush()
	w := ch.wait
	ch.wait = queue.Wait{}
	return w
}

func (ch *Channel) flush() {
	ch.pendingN = 0
	queue.PostAll(ch.pending, func(w queue.Wait) {
		if w.C != nil && (ch.wait.C == nil || !w.Optional()) {
			ch.wait = w
		}
	})
	if cap(ch.pending) > keptPostings {
		ch.pending = nil
	}
	ch.pending = ch.pending[:0]
}

// flushIfMany hands over once enough came together.
func (ch *Channel) flushIfMany() {
	if ch.pendingN >= maxPending {
		ch.flush()
	}
}

// Answer is a basic.ack or basic.nack for a publisher.
type Answer = confirm.Answer

// Confirms appends the answers to publishes that are due; see
// confirm.Tracker.Drain. Any goroutine may call it, one at a time.
func (ch *Channel) Confirms(to []Answer) []Answer { return ch.confirms.Drain(to) }

// Flow answers channel.flow: a client may only ask for what is so anyway.
func (ch *Channel) Flow(active bool) error {
	if !active {
		return reply.Errorf(reply.NotImplemented, "active=false")
	}
	ch.flush()
	return nil
}

// Close ends a channel that its client has no use for any more; see CloseBecause.
func (ch *Channel) Close() { ch.CloseBecause(reply.Reason{By: reply.ByClient}) }

// CloseBecause ends the channel: consumers go, what was not acknowledged returns
// to its queues in order, and an open transaction is dropped. Confirms gives the
// answers that were due by then; there are no more. The reason is for the watcher.
// It is idempotent. Afterwards only Close, CloseBecause, Flush, Confirms and Written
// may be called.
func (ch *Channel) CloseBecause(why reply.Reason) { CloseAll([]*Channel{ch}, why) }

// CloseAll is CloseBecause for the channels of a connection that ends: all consumers
// have gone before anything returns, so that none of the channels is given what
// another had.
func CloseAll(list []*Channel, why reply.Reason) {
	var ending []*Channel
	var consumers []*consumer
	for _, ch := range list {
		if cs, ok := ch.quit(); ok {
			ending = append(ending, ch)
			consumers = append(consumers, cs...)
		}
	}
	// Those that wait for their turn as the single active consumer go first, or they
	// would get it.
	for _, active := range []bool{false, true} {
		for _, c := range consumers {
			if c.active.Load() == active {
				c.host.CancelEnded(c.id)
			}
		}
	}
	for _, ch := range ending {
		ch.giveUp(why)
	}
}

// quit closes the channel for deliveries, answers and confirms, and gives the
// consumers it had; false if it is closed already.
func (ch *Channel) quit() ([]*consumer, bool) {
	ch.confirms.Close() // before the queues have the rest: RabbitMQ's do not answer so fast
	ch.flush()
	ch.mu.Lock()
	if ch.closed.Swap(true) {
		ch.mu.Unlock()
		return nil, false
	}
	ch.stopWatch()
	consumers := slices.Collect(maps.Values(ch.consumers))
	ch.consumers = nil
	ch.takeWaiting()
	ch.mu.Unlock()
	ch.endReplies()
	return consumers, true
}

// giveUp returns what a channel without consumers still has, and tells the watcher.
func (ch *Channel) giveUp(why reply.Reason) {
	if ch.tx != nil {
		ch.tx.drop(ch)
	}
	ch.mu.Lock()
	entries := ch.unacked.takeAll(nil)
	ch.mu.Unlock()
	byWord(entries)
	ch.settle(entries, queue.Return, nil)
	ch.flush()
	if ch.watcher != nil {
		ch.watcher.ChannelClosed(ch, why)
	}
}
