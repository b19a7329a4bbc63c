package connection

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

const (
	// flushAt is how many octets the writer collects before it writes.
	flushAt = 128 << 10
	// byReference is from which size on a body goes to the socket from where it
	// lies; smaller ones are cheaper to copy than to describe to the kernel.
	byReference = 8 << 10
)

// keptAnswers is how many answers to publishers a writer keeps room for.
const keptAnswers = 64

// classBasic is the class of all methods with content.
const classBasic = 60

// writeBuffers are lent to writers that have something to write, so that an idle
// connection has none.
var writeBuffers = sync.Pool{New: func() any { return new([flushAt + byReference + 1024]byte) }}

// writer is the one goroutine that writes to a connection's socket.
type writer struct {
	nc       net.Conn
	out      *outbox
	vectored bool // the socket takes several buffers in one system call
	frameMax uint32
	sent     *atomic.Uint64 // octets; what the heartbeat looks at
	failed   func(error)    // is told the first error

	answers []channel.Answer // scratch, for the confirms

	buf    []byte
	vec    net.Buffers
	cut    int // up to where buf is in vec
	queued int // octets collected
	refs   []*message.Message
	costs  []costOf
	err    error
}

// costOf is what a channel gets back after the next write.
type costOf struct {
	s    *session
	cost int
}

// run writes until the outbox is closed and empty. After an error it goes on to
// take and drop what comes, so that nobody waits for it.
func (w *writer) run() {
	for {
		var l *load
		if l, w.frameMax = w.out.take(); l == nil {
			return
		}
		lent := writeBuffers.Get().(*[flushAt + byReference + 1024]byte)
		w.buf = lent[:0]
		w.write(l)
		w.flush()
		w.buf = nil
		writeBuffers.Put(lent)
		l.free()
		if cap(w.answers) > keptAnswers {
			w.answers = nil
		}
	}
}

func (w *writer) write(l *load) {
	frames := l.frames
	for i := range l.items {
		it := &l.items[i]
		switch it.kind {
		case itemFrames:
			w.raw(frames[:it.size])
			frames = frames[it.size:]
		case itemDeliver:
			m := it.msg
			w.buf = wire.AppendDeliver(w.buf, it.s.number, it.consumer, it.tag, it.redelivered, m.Exchange(), m.RoutingKey())
			w.charge(it.s, channel.Cost(m.Size())) // content gives the message away
			w.content(it.s.number, m)
		case itemGetOK:
			m := it.msg
			w.buf = wire.AppendGetOK(w.buf, it.s.number, it.tag, it.redelivered, m.Exchange(), m.RoutingKey(), uint32(it.size))
			w.content(it.s.number, m)
		case itemReturn:
			m := it.msg
			code := reply.Code(it.size)
			w.buf = wire.AppendReturn(w.buf, it.s.number, uint16(code), code.Name(), m.Exchange(), m.RoutingKey())
			w.content(it.s.number, m)
		case itemConfirms:
			w.confirms(it.s)
		}
		if w.size() >= flushAt {
			w.flush()
		}
	}
	for _, s := range l.confirms {
		w.confirms(s)
	}
}

// confirms adds the answers to a channel's publishes that are due.
func (w *writer) confirms(s *session) {
	w.answers = s.ch.Confirms(w.answers[:0])
	for _, a := range w.answers {
		if a.Nack {
			w.buf = wire.AppendNack(w.buf, s.number, a.Tag, a.Multiple)
		} else {
			w.buf = wire.AppendAck(w.buf, s.number, a.Tag, a.Multiple)
		}
		if w.size() >= flushAt {
			w.flush()
		}
	}
}

// raw adds frames that are encoded already.
func (w *writer) raw(p []byte) {
	for len(p) > 0 {
		n := min(len(p), flushAt)
		w.buf = append(w.buf, p[:n]...)
		if p = p[n:]; w.size() >= flushAt {
			w.flush()
		}
	}
}

// content adds a message's header and body, and takes over the reference.
func (w *writer) content(ch uint16, m *message.Message) {
	body := m.Body()
	w.buf = wire.AppendHeaderFrame(w.buf, ch, classBasic, uint64(len(body)), m.Props())
	if len(body) < byReference || !w.vectored {
		w.copied(ch, body)
		m.Release()
		return
	}
	for len(body) > 0 {
		n := w.chunk(body)
		w.buf = wire.AppendFrameHeader(w.buf, wire.FrameBody, ch, uint32(n))
		w.vec = append(w.vec, w.buf[w.cut:], body[:n])
		w.cut = len(w.buf)
		w.queued += n
		w.buf = append(w.buf, wire.FrameEnd)
		if body = body[n:]; w.size() >= flushAt {
			w.flush()
		}
	}
	w.refs = append(w.refs, m)
}

// copied adds a body by copying it, writing in between so that the buffer keeps
// its size.
func (w *writer) copied(ch uint16, body []byte) {
	for len(body) > 0 {
		n := w.chunk(body)
		w.buf = wire.AppendFrameHeader(w.buf, wire.FrameBody, ch, uint32(n))
		w.raw(body[:n])
		w.buf = append(w.buf, wire.FrameEnd)
		body = body[n:]
	}
}

// chunk is how much of a body fits into one frame.
func (w *writer) chunk(body []byte) int {
	if w.frameMax == 0 {
		return len(body)
	}
	return min(len(body), int(w.frameMax)-wire.FrameOverhead)
}

// charge notes what a channel gets back once the delivery is written.
func (w *writer) charge(s *session, cost int) {
	for i := range w.costs {
		if w.costs[i].s == s {
			w.costs[i].cost += cost
			return
		}
	}
	w.costs = append(w.costs, costOf{s, cost})
}

func (w *writer) size() int { return len(w.buf) + w.queued }

// flush writes what was collected and gives back what was held for it.
func (w *writer) flush() {
	if w.size() > 0 && w.err == nil {
		w.sent.Add(uint64(w.size()))
		if len(w.vec) == 0 {
			_, w.err = w.nc.Write(w.buf)
		} else {
			vec := append(w.vec, w.buf[w.cut:])
			w.vec = vec // WriteTo moves along vec; w.vec keeps its memory
			_, w.err = vec.WriteTo(w.nc)
		}
		if w.err != nil {
			w.failed(w.err)
		}
	}
	for i, m := range w.refs {
		m.Release()
		w.refs[i] = nil
	}
	clear(w.vec)
	w.buf, w.vec, w.refs, w.cut, w.queued = w.buf[:0], w.vec[:0], w.refs[:0], 0, 0
	for i, c := range w.costs {
		c.s.ch.Written(c.cost)
		w.costs[i] = costOf{}
	}
	w.costs = w.costs[:0]
}
