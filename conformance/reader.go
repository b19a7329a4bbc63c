package conformance

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// largestRead bounds what the runner takes for a frame at all.
const largestRead = 64 << 20

// reader turns the bytes of one connection into events. It reports everything
// a broker must not send as a violation and goes on as long as it can.
type reader struct {
	c        *conn
	br       *bufio.Reader
	contents map[uint16]*partial // contents being put together, by channel
}

// partial is a method that waits for the rest of its content.
type partial struct {
	e         *event
	hasHeader bool
	want      uint64
}

// read is the connection's goroutine; it ends with the TCP connection.
func (c *conn) read() {
	defer close(c.done)
	r := &reader{c: c, br: bufio.NewReaderSize(c.nc, 64<<10), contents: map[uint16]*partial{}}
	for r.frame() {
	}
	c.drop()
	c.push(&event{kind: eventEOF})
}

func (r *reader) violation(ch uint16, format string, a ...any) {
	r.c.push(&event{ch: ch, kind: eventViolation, note: fmt.Sprintf(format, a...)})
}

// frame reads one frame, or a protocol header; false ends the connection.
func (r *reader) frame() bool {
	var h [8]byte
	if _, err := io.ReadFull(r.br, h[:7]); err != nil {
		return false
	}
	if string(h[:4]) == "AMQP" {
		if _, err := io.ReadFull(r.br, h[7:]); err != nil {
			return false
		}
		version := fmt.Sprintf("%d-%d-%d-%d", h[4], h[5], h[6], h[7])
		r.c.push(&event{kind: eventProtocolHeader, note: version})
		return true
	}
	ch := binary.BigEndian.Uint16(h[1:3])
	size := binary.BigEndian.Uint32(h[3:7])
	if size > largestRead {
		r.violation(ch, "frame of %d bytes", size)
		return false
	}
	p := make([]byte, int(size)+1)
	if _, err := io.ReadFull(r.br, p); err != nil {
		return false
	}
	if p[size] != frameEnd {
		r.violation(ch, "frame end %#x", p[size])
		return false
	}
	r.c.mu.Lock()
	frameMax := r.c.frameMax
	r.c.mu.Unlock()
	if frameMax != 0 && size+frameOverhead > frameMax {
		r.violation(ch, "frame larger than frame-max")
	}
	r.payload(h[0], ch, p[:size])
	return true
}

func (r *reader) payload(typ byte, ch uint16, p []byte) {
	switch typ {
	case frameHeartbeat:
		r.c.mu.Lock()
		r.c.heartbeats++
		r.c.signal()
		r.c.mu.Unlock()
	case frameMethod:
		r.method(ch, p)
	case frameHeader:
		r.header(ch, p)
	case frameBody:
		r.body(ch, p)
	default:
		r.violation(ch, "frame type %d", typ)
	}
}

func (r *reader) method(ch uint16, p []byte) {
	m, f, err := decodeMethod(p)
	if err != nil {
		r.violation(ch, "%v", err)
		return
	}
	if r.contents[ch] != nil {
		r.violation(ch, "method inside content")
		delete(r.contents, ch)
	}
	e := &event{ch: ch, kind: eventMethod, method: m, f: f}
	if m.content {
		r.contents[ch] = &partial{e: e}
		return
	}
	r.answerClose(e)
	r.c.push(e)
}

// answerClose answers channel.close and connection.close as a client must,
// unless the scenario wants to do it by hand.
func (r *reader) answerClose(e *event) {
	r.c.mu.Lock()
	on := r.c.answer
	if on && e.is("channel.close") {
		delete(r.c.tags, e.ch)
	}
	r.c.mu.Unlock()
	if !on {
		return
	}
	ok := ""
	switch {
	case e.is("channel.close"):
		ok = "channel.close-ok"
	case e.is("connection.close"):
		ok = "connection.close-ok"
	default:
		return
	}
	if err := r.c.send(e.ch, methodsByName[ok], nil); err != nil {
		r.violation(e.ch, "%v", err)
	}
}

func (r *reader) header(ch uint16, p []byte) {
	part := r.contents[ch]
	if part == nil || part.hasHeader {
		r.violation(ch, "unexpected content header")
		return
	}
	h, err := decodeHeader(p)
	if err != nil || h.class != part.e.method.class {
		r.violation(ch, "content header: class %d, %v", h.class, err)
		delete(r.contents, ch)
		return
	}
	part.e.props, part.want, part.hasHeader = h.props, h.size, true
	r.finish(ch, part)
}

func (r *reader) body(ch uint16, p []byte) {
	part := r.contents[ch]
	if part == nil || !part.hasHeader {
		r.violation(ch, "unexpected body")
		return
	}
	part.e.body = append(part.e.body, p...)
	part.e.frames++
	r.finish(ch, part)
}

// finish hands a content over once it is complete.
func (r *reader) finish(ch uint16, part *partial) {
	got := uint64(len(part.e.body))
	if got < part.want {
		return
	}
	if got > part.want {
		r.violation(ch, "body longer than announced")
	}
	delete(r.contents, ch)
	r.c.push(part.e)
}
