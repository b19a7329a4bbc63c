package queue

import (
	"fmt"
	"sync"
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

// HostEnv is what a Host needs of the broker.
type HostEnv struct {
	// Go starts a goroutine that the broker waits for at its end. It reports
	// false, and starts nothing, once the broker is closing.
	Go func(func()) bool
	// Log keeps the messages of a durable queue; nil keeps nothing.
	Log store.Log
	// Gone is called once when the queue has ended, before anybody is told: by a
	// delete (err is nil), by itself, or because it failed. It is called by the
	// goroutine that runs the queue and must not wait for any host.
	Gone func(h *Host, err error)
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
	caps Capabilities
	env  HostEnv

	mu      sync.Mutex
	in      *Batch
	events  []Event
	running bool
	closed  bool
	room    chan struct{} // closed when the mailbox is taken; nil if nobody waits
	// recovering says that only events may reach the queue yet.
	recovering bool

	// What follows belongs to the goroutine that runs the queue.
	q          Queue
	out        Actions
	consumers  map[message.ConsumerID]*attached
	recent     *attached
	touched    []*attached
	gets       map[GetRef]func(GetReply)
	asked      GetRef // basic.gets so far
	ids        uint64 // consumers so far
	unanswered map[message.PublishRef]struct{}
	wake       *time.Timer
	ended      bool
}

// attached is a consumer and where its deliveries go.
type attached struct {
	id      message.ConsumerID
	sink    Sink
	pending []Delivery
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
func NewHost(t Type, s Spec, env HostEnv) (*Host, error) {
	q, err := t.Open(s, Env{Stored: env.Log != nil})
	if err != nil {
		return nil, err
	}
	h := &Host{
		spec: s, caps: t.Capabilities(), env: env, q: q,
		consumers: map[message.ConsumerID]*attached{},
		gets:      map[GetRef]func(GetReply){},
	}
	if env.Log != nil {
		h.unanswered = map[message.PublishRef]struct{}{}
		h.recovering = true
		env.Log.Recover(
			func(es []store.Entry) { h.post(Event{Kind: Recovered, Entries: es}) },
			func(err error) { h.post(Event{Kind: RecoverDone, Err: err}) })
	}
	return h, nil
}

// Spec is how the queue was declared.
func (h *Host) Spec() Spec { return h.spec }

// Capabilities are those of the queue's type.
func (h *Host) Capabilities() Capabilities { return h.caps }

// Post hands a batch over; it must not be touched afterwards. The caller may run
// the queue before Post returns. If the mailbox is fuller than it should be, the
// result is a channel that is closed when it was emptied: who reads for a
// publisher waits for it before it reads on.
func (h *Host) Post(b *Batch) (full <-chan struct{}) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		refuse(b)
		return nil
	}
	h.put(b)
	if (h.running || h.recovering) && h.in.Len() > maxMailbox {
		if h.room == nil {
			h.room = make(chan struct{})
		}
		full = h.room
	}
	if h.running {
		h.mu.Unlock()
		return full
	}
	h.running = true
	h.mu.Unlock()
	h.run(maxTurns)
	return full
}

// PostLater is Post for a goroutine that runs another queue: if this one is
// idle, a goroutine is started for it.
func (h *Host) PostLater(b *Batch) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		refuse(b)
		return
	}
	h.put(b)
	h.startLocked()
}

// post tells the queue of an event.
func (h *Host) post(e Event) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		for _, l := range e.Loaded {
			l.Msg.Release()
		}
		return
	}
	h.events = append(h.events, e)
	h.startLocked()
}

// Resume tells the queue that the gate of a consumer may have room again.
func (h *Host) Resume(id message.ConsumerID) { h.post(Event{Kind: Resume, Consumer: id}) }

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
	for turn := 1; ; turn++ {
		h.mu.Lock()
		events, b := h.events, h.in
		if h.recovering {
			b = nil
		}
		if len(events) == 0 && b == nil {
			h.running = false
			h.mu.Unlock()
			return
		}
		if turn == limit {
			h.mu.Unlock()
			if h.env.Go(func() { h.run(0) }) {
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

// turn carries out what was in the mailbox. If the queue's code panics, this
// queue fails and no other.
func (h *Host) turn(events []Event, b *Batch) {
	var p, s, c int // how far it got in the batch
	defer func() {
		if r := recover(); r != nil {
			h.fail(h.errorf("its type %s panicked: %v", h.spec.Type, r))
			if b != nil {
				reject(b.publishes)
				refuse(b.rest(len(b.publishes), s, c))
			}
		}
	}()
	for _, e := range events {
		h.event(e)
	}
	if b == nil {
		return
	}
	for _, r := range b.runs {
		if h.ended {
			break
		}
		switch r.kind {
		case runPublish:
			in := b.publishes[p : p+r.n]
			p += r.n
			h.remember(in)
			h.q.Enqueue(in, &h.out)
		case runSettle:
			in := b.settles[s : s+r.n]
			s += r.n
			h.q.Settle(in, &h.out)
		case runControl:
			for range r.n {
				do := b.controls[c]
				c++
				do(h.ended)
			}
		}
		h.apply()
	}
	if h.ended {
		refuse(b.rest(p, s, c))
		return
	}
	b.free()
}

// rest gives what is left of a batch after p publishes, s settles and c controls.
func (b *Batch) rest(p, s, c int) *Batch {
	return &Batch{publishes: b.publishes[p:], settles: b.settles[s:], controls: b.controls[c:]}
}

// refuse answers a batch for a queue that is gone: RabbitMQ confirms a publish
// to a queue that vanished, and ignores a settle (contract 06 §2, §6).
func refuse(b *Batch) {
	for i := range b.publishes {
		p := &b.publishes[i]
		p.Msg.Release()
		if p.Ref.Wanted() {
			p.Ref.By.Confirm(p.Ref.Seq, p.Ref.Seq)
		}
	}
	for _, do := range b.controls {
		do(true)
	}
}

func reject(in []Publish) {
	for i := range in {
		if r := in[i].Ref; r.Wanted() {
			r.By.Reject(r.Seq)
		}
	}
}

func (h *Host) event(e Event) {
	if h.ended {
		for _, l := range e.Loaded {
			l.Msg.Release()
		}
		return
	}
	if e.Kind == RecoverDone {
		h.mu.Lock()
		h.recovering = false
		h.mu.Unlock()
		if e.Err != nil {
			h.fail(h.errorf("recovery failed: %w", e.Err))
			return
		}
	}
	h.q.Event(e, &h.out)
	h.apply()
}

func (h *Host) errorf(format string, args ...any) error {
	return fmt.Errorf("queue '%s' in vhost '%s': %w", h.spec.Name, h.spec.VHost, fmt.Errorf(format, args...))
}

// remember notes who waits for an answer, so that a queue that fails can give
// it. A queue without a store answers within the turn.
func (h *Host) remember(in []Publish) {
	if h.unanswered == nil {
		return
	}
	for i := range in {
		if in[i].Ref.Wanted() {
			h.unanswered[in[i].Ref] = struct{}{}
		}
	}
}

// fail ends a queue whose code panicked or whose recovery failed: publishes
// that were not answered are rejected, consumers are cancelled.
func (h *Host) fail(err error) {
	h.out = Actions{}
	for r := range h.unanswered {
		r.By.Reject(r.Seq)
	}
	h.unanswered = nil
	h.end(err, nil)
}

// end closes the host. tell, if set, is called after the rest of the broker
// forgot the queue and before its consumers hear of it.
func (h *Host) end(err error, tell func()) {
	if h.ended {
		return
	}
	h.mu.Lock()
	h.closed, h.ended = true, true
	in, room := h.in, h.room
	h.in, h.events, h.room = nil, nil, nil
	h.mu.Unlock()
	if h.wake != nil {
		h.wake.Stop()
	}
	h.env.Gone(h, err)
	if tell != nil {
		tell()
	}
	for _, a := range h.consumers {
		a.sink.Cancelled()
	}
	for _, got := range h.gets {
		got(GetReply{Err: ErrGone})
	}
	clear(h.consumers)
	clear(h.gets)
	h.recent = nil
	if room != nil {
		close(room)
	}
	if in != nil {
		refuse(in)
	}
	if h.env.Log != nil && err == nil {
		h.env.Log.Drop()
	}
}
