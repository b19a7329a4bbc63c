package queue

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// Sink is where the deliveries of one consumer go: its channel. The host calls
// it from whichever goroutine runs the queue, so that it must not block, and
// must not wait for the host.
type Sink interface {
	// Deliver takes deliveries in order, each with its reference. The slice is
	// the caller's again when Deliver returns.
	Deliver(ds []Delivery)
	// Cancelled says that the queue is gone and with it the consumer. Nothing
	// comes after it.
	Cancelled()
}

// OrderedSink is a Sink that brings its deliveries to a place where others do
// so too, in the order of the queue: several consumers of one channel see its
// messages in their order, whichever of them gets which.
type OrderedSink interface {
	Sink
	// Place is the same for all sinks of one place. It must be comparable.
	Place() any
}

// LeavingSink is a Sink that wants to know when its consumer is gone, whatever the
// reason.
type LeavingSink interface {
	Sink
	// Left says that the consumer is gone. It is called in the queue's turn, once
	// for each consumer that was accepted, and comes before HostEnv.Gone when the
	// queue goes, too.
	Left()
}

// ActiveSink is a Sink that wants to know when its consumer becomes the single
// active one of its queue.
type ActiveSink interface {
	Sink
	// Activated is called in the queue's turn, at most once for each consumer and
	// before its first delivery.
	Activated()
}

// CreditSink is a Sink whose consumer gives credit. Both are called in the queue's turn.
type CreditSink interface {
	Sink
	// Credited answers Host.Credit with the number of ready messages.
	Credited(available uint32)
	// Drained tells how much of a credit is gone because the queue was empty.
	Drained(unused uint32)
}

// HostEnv is what a Host needs of the broker.
type HostEnv struct {
	// Go starts a goroutine that the broker waits for at its end. It reports
	// false, and starts nothing, once the broker is closing.
	Go func(func()) bool
	// Log keeps the messages of a durable queue; nil keeps nothing. One that is
	// given to a queue that is not durable only takes what leaves memory.
	Log store.Log
	// Memory is how much of its messages a queue with a Log keeps in memory.
	Memory Bounds
	// Now tells the time to the queue; nil is time.Now.
	Now func() time.Time
	// Policy is the effective policy definition to begin with; see SetPolicy.
	Policy message.Table
	// DeadLetter gives the message that a dead one becomes, with one reference, and
	// the queues that it goes to; without any, the message is of no matter. It is
	// called by the goroutine that runs the queue, must not wait for any host, and
	// leaves d.Msg's reference alone. nil drops what is dead.
	DeadLetter func(h *Host, d *Dead) (m *message.Message, to []*Host)
	// Gone is called once when the queue has ended, before anybody is told: by a
	// delete (err is nil), by itself, or because it failed. It is called by the
	// goroutine that runs the queue and must not wait for any host.
	Gone func(h *Host, err error)
	// Settle, if set, calls then once what Gone changed is durable, or with the
	// error for which it is not: at once or from another goroutine. Until then
	// nobody is told that the queue was deleted.
	Settle func(then func(error))
}

// around is what a Host needs of its HostEnv once the queue is open: there may be very
// many of them.
type around struct {
	Go         func(func()) bool
	Log        store.Log
	Now        func() time.Time
	DeadLetter func(*Host, *Dead) (*message.Message, []*Host)
	Gone       func(*Host, error)
	Settle     func(func(error))
}

// Host runs one queue: it is all the concurrency there is around it.
//
// Whatever is asked of the queue goes into a mailbox. The goroutine that finds
// the queue idle takes the mailbox and runs the queue itself; when others keep
// it busy for long, it hands the rest to a goroutine of its own. An idle queue
// has no goroutine. Nothing waits while it runs a queue, and nothing is locked
// while the queue's code runs, so that hosts cannot wait for each other.
//
// All methods may be called from any goroutine but one that runs a queue, save
// for PostLater and Resume, which any goroutine may call.
type Host struct {
	spec Spec
	typ  Type
	env  around
	// patience is how long its deliveries may stay unsettled, in milliseconds;
	// negative if the queue does not say.
	patience atomic.Int64

	mu      sync.Mutex
	in      *Batch
	events  []Event
	running bool
	closed  bool
	// recovering says that only events may reach the queue yet.
	recovering bool
	lost       error         // why it is closed if it failed
	room       chan struct{} // closed when the mailbox is taken; nil if nobody waits
	lag        lag

	// What follows belongs to the goroutine that runs the queue. The maps are made
	// when they are needed: most of many queues are idle.
	q         Queue
	work      *workspace // nil while nobody runs it
	consumers map[message.ConsumerID]*attached
	lanes     map[any]*lane // by place, of consumers with an OrderedSink
	recent    *attached
	gets      map[GetRef]func(GetReply)
	asked     GetRef // basic.gets so far
	ids       uint64 // consumers so far
	answers   pendingAnswers
	inAtoms   *fifo[*atomSubmit] // those that may not be answered
	storedOne func(error)        // see whenStored
	counters  Counters
	wake      *time.Timer
	// waiting is how many octets of bodies wait for consumers at the most: those that
	// did when noteLag asked, and what was published since. What comes back does not
	// count before noteLag asks again.
	waiting int64
	ended   bool
}

const (
	// maxTurns is how often a goroutine that came with work of its own takes the
	// mailbox before it leaves the rest to another.
	maxTurns = 32
	// maxMailbox is how many entries may wait before posters are asked to.
	maxMailbox = 8192
)

// NewHost opens a queue of the given type and hosts it. With a Log, the queue
// first recovers what an earlier run left; what is asked of it meanwhile waits.
// One that fails as soon as it is told to begin is an error, after Gone.
func NewHost(t Type, s Spec, env HostEnv) (*Host, error) {
	if env.Now == nil {
		env.Now = time.Now
	}
	q, err := open(t, s, Env{Stored: env.Log != nil, Memory: env.Memory, Now: env.Now, Policy: env.Policy})
	if err != nil {
		return nil, err
	}
	h := &Host{
		spec: s, typ: t, q: q,
		env: around{env.Go, env.Log, env.Now, env.DeadLetter, env.Gone, env.Settle},
	}
	h.patience.Store(patienceOf(s, env.Policy))
	if env.Log != nil {
		h.answers.stored = true
		h.recovering = true
		env.Log.Recover(
			func(es []store.Entry) { h.post(Event{Kind: Recovered, Entries: es}) },
			func(err error) { h.post(Event{Kind: RecoverDone, Err: err}) })
		return h, nil
	}
	h.work = newWorkspace()
	h.turn([]Event{{Kind: RecoverDone}}, nil)
	h.work.free()
	h.work = nil
	if h.ended {
		return nil, h.lost
	}
	return h, nil
}

// open is Type.Open, which must not take the broker down either.
func open(t Type, s Spec, env Env) (q Queue, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(s, v)
		}
	}()
	return t.Open(s, env)
}

// Spec is how the queue was declared.
func (h *Host) Spec() Spec { return h.spec }

// Lost is why the queue failed; nil while it works, and if it was deleted.
func (h *Host) Lost() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost
}

// Ended reports whether the queue was deleted or failed. HostEnv.Gone is called after
// that, or just now.
func (h *Host) Ended() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

// Capabilities are those of the queue's type.
func (h *Host) Capabilities() Capabilities { return h.typ.Capabilities() }

// Post hands a batch over; it must not be touched afterwards. The caller may run
// the queue before Post returns. If the mailbox is fuller than it should be, or
// the batch had publishes and the queue's consumers lag behind them, the result
// says what to wait for: who reads for a publisher does so before it reads on.
func (h *Host) Post(b *Batch) Wait {
	p := Posting{Host: h, Batch: b}
	p.place()
	return p.run()
}

// Posting is a batch for a host.
type Posting struct {
	Host  *Host
	Batch *Batch

	runs      bool // the host is the poster's to run
	publishes bool
	wait      Wait
}

// PostAll posts to several hosts in turn and tells of each what Post would. All have
// their batch before the first one runs, so that what dies in one queue of a publish does
// not get into another before the publish itself does.
func PostAll(ps []Posting, told func(Wait)) {
	for i := range ps {
		ps[i].place()
	}
	for i := range ps {
		told(ps[i].run())
		ps[i] = Posting{}
	}
}

// place hands the batch over, and takes the host if it is idle.
func (p *Posting) place() {
	h := p.Host
	p.publishes = len(p.Batch.publishes) > 0
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		h.refuse(p.Batch)
		p.publishes = false
		return
	}
	h.put(p.Batch)
	if (h.running || h.recovering) && h.in.Len() > maxMailbox {
		if h.room == nil {
			h.room = make(chan struct{})
		}
		p.wait.C = h.room
	}
	p.runs = !h.running
	h.running = true
	h.mu.Unlock()
}

// run runs the host if it was taken, and says what to wait for.
func (p *Posting) run() Wait {
	h := p.Host
	if p.runs {
		h.run(maxTurns)
	}
	if p.wait.C == nil && p.publishes {
		if c := h.lag.pause(); c != nil {
			return Wait{c, &h.lag}
		}
	}
	return p.wait
}

// PostLater is Post for a goroutine that runs another queue: if this one is
// idle, a goroutine is started for it.
func (h *Host) PostLater(b *Batch) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		h.refuse(b)
		return
	}
	h.put(b)
	h.startLocked()
}

// post tells the queue of an event.
func (h *Host) post(e Event) {
	h.mu.Lock()
	h.postLocked(e)
}

// postLocked is post for one who holds mu; it unlocks it.
func (h *Host) postLocked(e Event) {
	if h.closed {
		h.mu.Unlock()
		drop(e)
		return
	}
	h.events = append(h.events, e)
	h.startLocked()
}

// stored tells the queue what became of the oldest operations that it asked for. A
// Log answers submit by submit, and mostly many in a row before the queue looks:
// those that are durable make one event, so that the publishers of a commit group
// cost one turn and are told in one go.
func (h *Host) stored(ops int, err error) {
	h.mu.Lock()
	if n := len(h.events); n > 0 && err == nil && h.events[n-1].Kind == Stored && h.events[n-1].Err == nil {
		h.events[n-1].Ops += ops // for whoever runs the queue, or is about to
		h.mu.Unlock()
		return
	}
	h.postLocked(Event{Kind: Stored, Ops: ops, Err: err})
}

// Resume tells the queue that the gate of a consumer may have room again. With more
// another call for the same queue follows, and what there is goes to all of them in turn.
// It comes after what was posted before: the settle that made the room.
func (h *Host) Resume(id message.ConsumerID, more bool) {
	e := Event{Kind: Resume, Consumer: id, More: more}
	h.mu.Lock()
	if h.closed || h.in == nil {
		h.postLocked(e)
		return
	}
	h.in.control(func(gone bool) {
		if !gone {
			h.event(e)
		}
	})
	h.startLocked()
}

func (h *Host) put(b *Batch) {
	if h.in == nil {
		h.in = b
	} else {
		h.in.take(b)
	}
}

// startLocked unlocks mu and sees that the queue runs.
func (h *Host) startLocked() {
	start := !h.running
	h.running = true
	h.mu.Unlock()
	if start && !h.env.Go(func() { h.run(0) }) {
		h.run(0) // the broker is closing: nobody else would
	}
}

// run runs the queue until its mailbox is empty; with a limit, for as many turns
// at the most, and then in a goroutine of its own.
func (h *Host) run(limit int) {
	h.work = newWorkspace()
	for turn := 1; ; turn++ {
		h.mu.Lock()
		events, b := h.events, h.in
		if h.recovering {
			b = nil
		}
		if len(events) == 0 && b == nil {
			work := h.work
			h.work, h.running = nil, false
			h.mu.Unlock()
			work.free()
			return
		}
		if turn == limit {
			h.mu.Unlock()
			work := h.work
			if h.env.Go(func() { h.run(0) }) {
				work.free()
				return
			}
			continue
		}
		h.events = nil
		if b != nil {
			h.in = nil
			if h.room != nil {
				close(h.room)
				h.room = nil
			}
		}
		h.mu.Unlock()
		h.turn(events, b)
	}
}
