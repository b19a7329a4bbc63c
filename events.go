package warren

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"
)

// EventStream is one listener to what happens in a broker; see Broker.Events. It
// may be used from any goroutine, by one loop at a time.
type EventStream struct {
	events *events
	wake   chan struct{} // has one place
	done   <-chan struct{}
	unhook func() bool // takes the stream off its context

	// What follows is guarded by events.mu.
	ring        []stamped
	first, held int
	missed      uint64
	ended       bool
}

// EventStamp is what all events have.
type EventStamp struct {
	// Seq numbers a broker's events in the order in which they happened. It counts
	// while somebody listens only.
	Seq  uint64
	Time time.Time
	// Missed is how many events were dropped between the one before and this one,
	// because the listener was behind.
	Missed uint64
}

type stamped struct {
	EventStamp
	event Event
}

// defaultEventBuffer is how many events wait for a listener that does not say.
const defaultEventBuffer = 1024

// Events listens, from its return on, to what happens in the broker: connections,
// channels, queues, exchanges, bindings, consumers, users, permissions and virtual
// hosts that come and go, and why.
//
// A listener never holds the broker up. Up to buffer events wait for it, 1024 if
// that is below 1, in memory that is taken at once; one that falls further behind
// loses the oldest, and EventStamp.Missed of the next one says how many.
//
// The stream ends with ctx, and after the broker's last event when Close or
// Shutdown has closed everything; that of a closed broker is at its end. A broker
// without listeners makes no events.
func (b *Broker) Events(ctx context.Context, buffer int) *EventStream {
	if buffer < 1 {
		buffer = defaultEventBuffer
	}
	s := &EventStream{
		events: &b.events, wake: make(chan struct{}, 1), done: ctx.Done(),
		ring: make([]stamped, buffer),
	}
	s.unhook = context.AfterFunc(ctx, func() { b.events.leave(s) })
	if !b.events.join(s) {
		s.unhook()
	}
	return s
}

// All gives the events in their order: those that wait and those to come, until
// the stream ends. Leaving the loop does not end it, and another loop goes on
// where it was; end its context if no other will follow. When the context has
// ended, events that wait are not given any more.
//
// The loop's body runs on the caller's goroutine and may use the broker. Tables
// and slices in an event are shared and must not be changed.
func (s *EventStream) All() iter.Seq2[EventStamp, Event] {
	return func(yield func(EventStamp, Event) bool) {
		for {
			select {
			case <-s.done:
				return
			default:
			}
			e, ok, ended := s.take()
			switch {
			case ok:
				if !yield(e.EventStamp, e.event) {
					return
				}
				continue
			case ended:
				return
			}
			select {
			case <-s.wake:
			case <-s.done:
			}
		}
	}
}

// take gives the oldest event, or says that no other will come.
func (s *EventStream) take() (e stamped, ok, ended bool) {
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	if s.held == 0 {
		return e, false, s.ended
	}
	e = s.ring[s.first]
	e.Missed, s.missed = s.missed, 0
	s.ring[s.first] = stamped{}
	s.first = (s.first + 1) % len(s.ring)
	s.held--
	return e, true, false
}

// put adds an event, in the place of the oldest if there is no other. The caller
// holds events.mu.
func (s *EventStream) put(e stamped) {
	if s.held == len(s.ring) {
		s.first = (s.first + 1) % len(s.ring)
		s.held--
		s.missed++
	}
	s.ring[(s.first+s.held)%len(s.ring)] = e
	s.held++
	s.wakeUp()
}

func (s *EventStream) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// events are a broker's streams of events. Its mutex is held for appends only and
// may be taken under any other lock: what an event says is in the order in which
// it happened because it is told under the lock of what it happened to.
type events struct {
	listeners atomic.Int32

	mu      sync.Mutex
	seq     uint64
	streams map[*EventStream]struct{}
	closed  bool
}

// tell gives an event to all streams. Without one it costs an atomic load: event
// is not called.
func (es *events) tell(event func() Event) {
	if es.listeners.Load() == 0 {
		return
	}
	e := stamped{event: event()}
	es.mu.Lock()
	defer es.mu.Unlock()
	es.seq++
	e.Seq, e.Time = es.seq, time.Now()
	for s := range es.streams {
		s.put(e)
	}
}

// join adds a stream, unless there is nothing more to hear for it.
func (es *events) join(s *EventStream) bool {
	es.mu.Lock()
	defer es.mu.Unlock()
	if es.closed || s.ended {
		s.ended = true
		return false
	}
	if es.streams == nil {
		es.streams = map[*EventStream]struct{}{}
	}
	es.streams[s] = struct{}{}
	es.listeners.Add(1)
	return true
}

// leave takes away a stream whose context has ended.
func (es *events) leave(s *EventStream) {
	es.mu.Lock()
	defer es.mu.Unlock()
	s.ended = true
	s.ring, s.first, s.held = nil, 0, 0
	if _, ok := es.streams[s]; ok {
		delete(es.streams, s)
		es.listeners.Add(-1)
	}
}

// close ends all streams after what waits in them.
func (es *events) close() {
	es.mu.Lock()
	streams := es.streams
	es.closed, es.streams = true, nil
	es.listeners.Store(0)
	for s := range streams {
		s.ended = true
		s.wakeUp()
	}
	es.mu.Unlock()
	for s := range streams {
		s.unhook()
	}
}
