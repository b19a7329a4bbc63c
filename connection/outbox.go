package connection

import (
	"sync"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// outbox is what waits to be written, in order. Putting something in never
// blocks. Deliveries are limited before they come here (channel.Config.MaxUnsent);
// everything else is an answer to what the reader read, and the reader waits
// while there is too much of it.
type outbox struct {
	mu       sync.Mutex
	load     *load // nil while nothing waits
	owed     int   // octets of answers that wait
	closed   bool  // nothing more is taken; what is there is written
	asleep   bool  // the writer waits on wake
	room     chan struct{}
	frameMax uint32

	wake chan struct{} // has one place; for the writer
}

// load is what the writer takes out of the outbox at a time.
type load struct {
	items    []item
	frames   []byte // of the items of kind itemFrames, end to end
	confirms []*session
}

// loads are lent to outboxes that have something in them, so that an idle
// connection has none. One that is in it is empty and holds no pointer.
var loads = sync.Pool{New: func() any { return new(load) }}

// Up to this size a load is used again.
const (
	keptItems  = 4096
	keptFrames = 64 << 10
)

func (l *load) free() {
	if cap(l.items) > keptItems || cap(l.confirms) > keptItems || cap(l.frames) > keptFrames {
		return
	}
	clear(l.items)
	clear(l.confirms)
	l.items, l.frames, l.confirms = l.items[:0], l.frames[:0], l.confirms[:0]
	loads.Put(l)
}

type itemKind uint8

const (
	itemFrames itemKind = iota
	itemDeliver
	itemGetOK
	itemReturn
	itemConfirms
)

// item is one thing to write.
type item struct {
	kind        itemKind
	redelivered bool
	size        int // itemFrames: octets in frames; itemGetOK: messages left; itemReturn: the reply code
	tag         uint64
	s           *session
	consumer    string
	msg         *message.Message
}

// maxOwed is how many octets of answers may wait before the reader does, too.
const maxOwed = 1 << 20

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), frameMax: wire.FrameMinSize}
}

// setFrameMax tells how long frames may be from here on; 0 is without limit.
func (o *outbox) setFrameMax(n uint32) {
	o.mu.Lock()
	o.frameMax = n
	o.mu.Unlock()
}

// open gives the load to put something into.
func (o *outbox) open() *load {
	if o.load == nil {
		o.load = loads.Get().(*load)
	}
	return o.load
}

// nudge unlocks the outbox and sees that the writer looks at it.
func (o *outbox) nudge() {
	wake := o.asleep
	o.asleep = false
	o.mu.Unlock()
	if wake {
		o.wake <- struct{}{} // has room: the writer took what was there before it slept
	}
}

// method puts a method frame in. It fails if the method cannot be encoded.
func (o *outbox) method(ch uint16, m wire.Method) error {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return nil
	}
	l := o.open()
	before := len(l.frames)
	frames, err := wire.AppendMethodFrame(l.frames, ch, m)
	if err != nil {
		o.mu.Unlock()
		return err
	}
	l.frames = frames
	o.addFrames(len(frames) - before)
	o.nudge()
	return nil
}

// heartbeat puts a heartbeat frame in, unless something waits to be written that
// is as good, and reports whether it did.
func (o *outbox) heartbeat() bool {
	o.mu.Lock()
	if o.closed || o.load != nil && len(o.load.items) > 0 {
		o.mu.Unlock()
		return false
	}
	l := o.open()
	l.frames = wire.AppendHeartbeat(l.frames)
	o.addFrames(len(l.frames))
	o.nudge()
	return true
}

// octets puts in what is not a frame.
func (o *outbox) octets(s string) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return
	}
	l := o.open()
	l.frames = append(l.frames, s...)
	o.addFrames(len(s))
	o.nudge()
}

func (o *outbox) addFrames(n int) {
	o.owed += n
	l := o.load
	if last := len(l.items) - 1; last >= 0 && l.items[last].kind == itemFrames {
		l.items[last].size += n
		return
	}
	l.items = append(l.items, item{kind: itemFrames, size: n})
}

func (o *outbox) deliver(s *session, consumer string, first uint64, ds []queue.Delivery) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		cost := 0
		for i := range ds {
			cost += channel.Cost(ds[i].Msg.Size())
			ds[i].Msg.Release()
		}
		s.ch.Dropped(cost)
		return
	}
	l := o.open()
	for i := range ds {
		d := &ds[i]
		l.items = append(l.items, item{
			kind: itemDeliver, redelivered: d.Redelivered, tag: first + uint64(i),
			s: s, consumer: consumer, msg: d.Msg,
		})
	}
	o.nudge()
}

func (o *outbox) getOK(s *session, tag uint64, r queue.GetReply) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		r.Msg.Release()
		return
	}
	o.owed += channel.Cost(r.Msg.Size())
	l := o.open()
	l.items = append(l.items, item{
		kind: itemGetOK, redelivered: r.Redelivered, size: r.Remaining, tag: tag, s: s, msg: r.Msg,
	})
	o.nudge()
}

func (o *outbox) returned(s *session, code reply.Code, m *message.Message) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		m.Release()
		return
	}
	o.owed += channel.Cost(m.Size())
	l := o.open()
	l.items = append(l.items, item{kind: itemReturn, size: int(code), s: s, msg: m})
	o.nudge()
}

// confirmsReady says that a channel has confirms to drain.
func (o *outbox) confirmsReady(s *session) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return
	}
	l := o.open()
	l.confirms = append(l.confirms, s)
	o.nudge()
}

// lastConfirms puts in the confirms that are due on a channel that has ended. They
// go before what is put in next, which tells the client so.
func (o *outbox) lastConfirms(s *session) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return
	}
	l := o.open()
	l.items = append(l.items, item{kind: itemConfirms, s: s})
	o.nudge()
}

// full gives a channel to wait on while too many answers wait to be written, or
// nil.
func (o *outbox) full() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.owed <= maxOwed || o.closed {
		return nil
	}
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

// close lets the writer write what is there and end.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.nudge()
}

// take gives the writer everything that waits, to write and to free, with the
// frame_max that holds for it, and waits while there is nothing. It gives nil when
// the outbox is closed and empty.
func (o *outbox) take() (l *load, frameMax uint32) {
	o.mu.Lock()
	for o.load == nil {
		if o.closed {
			o.mu.Unlock()
			return nil, 0
		}
		o.asleep = true
		o.mu.Unlock()
		<-o.wake
		o.mu.Lock()
	}
	l, o.load = o.load, nil
	o.owed = 0
	frameMax = o.frameMax
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
	o.mu.Unlock()
	return l, frameMax
}
