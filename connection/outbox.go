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
	items    []item
	frames   []byte // of the items of kind itemFrames, end to end
	owed     int    // octets of answers that wait
	confirms []*session
	closed   bool // nothing more is taken; what is there is written
	asleep   bool // the writer waits on wake
	room     chan struct{}
	frameMax uint32

	wake chan struct{} // has one place; for the writer
}

type itemKind uint8

const (
	itemFrames itemKind = iota
	itemDeliver
	itemGetOK
	itemReturn
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
	before := len(o.frames)
	frames, err := wire.AppendMethodFrame(o.frames, ch, m)
	if err != nil {
		o.mu.Unlock()
		return err
	}
	o.frames = frames
	o.addFrames(len(frames) - before)
	o.nudge()
	return nil
}

// heartbeat puts a heartbeat frame in, unless something waits to be written that
// is as good, and reports whether it did.
func (o *outbox) heartbeat() bool {
	o.mu.Lock()
	if o.closed || len(o.items) > 0 {
		o.mu.Unlock()
		return false
	}
	before := len(o.frames)
	o.frames = wire.AppendHeartbeat(o.frames)
	o.addFrames(len(o.frames) - before)
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
	o.frames = append(o.frames, s...)
	o.addFrames(len(s))
	o.nudge()
}

func (o *outbox) addFrames(n int) {
	o.owed += n
	if last := len(o.items) - 1; last >= 0 && o.items[last].kind == itemFrames {
		o.items[last].size += n
		return
	}
	o.items = append(o.items, item{kind: itemFrames, size: n})
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
	for i := range ds {
		d := &ds[i]
		o.items = append(o.items, item{
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
	o.items = append(o.items, item{
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
	o.items = append(o.items, item{kind: itemReturn, size: int(code), s: s, msg: m})
	o.nudge()
}

// confirmsReady says that a channel has confirms to drain.
func (o *outbox) confirmsReady(s *session) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return
	}
	o.confirms = append(o.confirms, s)
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

// work is what the writer took out of the outbox.
type work struct {
	items    []item
	frames   []byte
	confirms []*session
	answers  []channel.Answer // scratch, for the confirms
	frameMax uint32
}

// take moves everything into w, which is empty, and waits while there is
// nothing. It reports false when the outbox is closed and empty.
func (o *outbox) take(w *work) bool {
	o.mu.Lock()
	for len(o.items) == 0 && len(o.confirms) == 0 {
		if o.closed {
			o.mu.Unlock()
			return false
		}
		o.asleep = true
		w.shrink()
		o.shrink()
		o.mu.Unlock()
		<-o.wake
		o.mu.Lock()
	}
	w.items, o.items = o.items, w.items[:0]
	w.frames, o.frames = o.frames, w.frames[:0]
	w.confirms, o.confirms = o.confirms, w.confirms[:0]
	o.owed = 0
	w.frameMax = o.frameMax
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
	o.mu.Unlock()
	return true
}

// keptItems and keptFrames are what an idle connection keeps of its outbox.
const (
	keptItems  = 8
	keptFrames = 256
)

func (o *outbox) shrink() {
	o.items = kept(o.items, keptItems)
	o.frames = kept(o.frames, keptFrames)
	o.confirms = kept(o.confirms, keptItems)
}

func (w *work) shrink() {
	w.items = kept(w.items, keptItems)
	w.frames = kept(w.frames, keptFrames)
	w.confirms = kept(w.confirms, keptItems)
	w.answers = kept(w.answers, keptItems)
}

// kept gives s, or nothing if it has room for more than n.
func kept[T any](s []T, n int) []T {
	if cap(s) > n {
		return nil
	}
	return s
}
