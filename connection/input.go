package connection

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/warrenmq/warren/wire"
)

// input reads frames in place. Its buffer starts small, grows with the traffic
// up to maxBuffer, or as far as a frame needs it, and shrinks when it is mostly
// empty again, or at once behind a heartbeat: clients send one when they have sent
// nothing for a while. Nobody can shrink it while the reader waits with it, so a
// client that falls silent without heartbeats keeps what its last burst needed.
type input struct {
	r        io.Reader
	received *atomic.Uint64
	buf      []byte
	from, to int  // what is read and not yet parsed
	need     int  // octets the next frame needs at least
	filled   bool // the last read used all the room there was
	slack    int  // reads in a row that used little of the buffer
	quiet    bool // the last frame was a heartbeat
	ended    bool
}

const (
	minBuffer = 1 << 10
	maxBuffer = 128 << 10
	// maxSlack is after how many small reads the buffer shrinks.
	maxSlack = 64
)

// errIncomplete says that more octets are needed for a frame.
var errIncomplete = errors.New("connection: incomplete frame")

func newInput(r io.Reader, received *atomic.Uint64) input {
	return input{r: r, received: received, buf: make([]byte, minBuffer)}
}

// fill reads once. It must be called only when what is there was parsed as far
// as it goes: frames given out before are no longer valid.
func (in *input) fill() error {
	if in.from > 0 {
		in.to = copy(in.buf, in.buf[in.from:in.to])
		in.from = 0
	}
	in.fit()
	n, err := in.r.Read(in.buf[in.to:])
	in.to += n
	in.received.Add(uint64(n))
	if in.filled = in.to == len(in.buf); in.to < len(in.buf)/8 {
		in.slack++
	} else {
		in.slack = 0
	}
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	if errors.Is(err, io.EOF) {
		in.ended = true
	}
	return err
}

// fit gives the buffer a fitting size, which leaves room for at least an octet.
func (in *input) fit() {
	size := len(in.buf)
	switch {
	case in.to == size:
		// The frame is longer than the buffer. It grows by what has come, not by
		// what was announced, so that an announced size alone costs nothing.
		size = min(in.need, 2*size)
	case in.filled && size < maxBuffer:
		size = min(4*size, maxBuffer)
	case in.quiet && in.to < minBuffer && size > minBuffer:
		in.slack = 0
		size = minBuffer
	case in.slack >= maxSlack && size > minBuffer:
		in.slack = 0
		size = max(size/4, minBuffer)
	default:
		return
	}
	buf := make([]byte, size)
	copy(buf, in.buf[:in.to])
	in.buf = buf
}

// frame gives the next frame, whose payload is valid until the next fill, or
// errIncomplete.
func (in *input) frame(maxPayload uint32) (wire.Frame, error) {
	f, n, err := wire.ParseFrame(in.buf[in.from:in.to], maxPayload)
	if err != nil {
		return f, err
	}
	if n == 0 {
		in.need = wire.FrameHeaderSize
		if length, ok := wire.FrameLength(in.buf[in.from:in.to]); ok {
			in.need = int(length)
		}
		return f, errIncomplete
	}
	in.need = 0
	in.from += n
	in.quiet = f.Type == wire.FrameHeartbeat
	return f, nil
}

// buffered is the number of octets that were read and not yet taken.
func (in *input) buffered() int { return in.to - in.from }

// bytes takes the next n octets, which must have been read.
func (in *input) bytes(n int) []byte {
	p := in.buf[in.from : in.from+n]
	in.from += n
	return p
}
