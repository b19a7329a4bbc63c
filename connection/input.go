package connection

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/warrenmq/warren/wire"
)

// input reads frames in place. Its buffer starts small, grows with the traffic
// up to maxBuffer, or as far as a frame needs it, and shrinks when it is mostly
// empty again.
type input struct {
	r        io.Reader
	received *atomic.Uint64
	buf      []byte
	from, to int // what is read and not yet parsed
	need     int // octets the next frame needs at least
	slack    int // reads in a row that used little of the buffer
	ended    bool
}

const (
	minBuffer = 1 << 10
	maxBuffer = 64 << 10
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
	switch {
	case in.to == len(in.buf):
		in.slack = 0
	case in.to < len(in.buf)/8:
		in.slack++
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

// fit gives the buffer a fitting size.
func (in *input) fit() {
	size := len(in.buf)
	switch {
	case in.need > size:
		// Grow by what has come, not by what was announced, so that an announced
		// size alone costs little.
		size = min(in.need, max(2*size, 2*in.to))
		if in.to < size && in.to < len(in.buf) {
			return
		}
	case in.to == size || in.slack == 0 && size < maxBuffer && in.to > size/2:
		size = min(4*size, max(maxBuffer, size))
	case in.slack >= maxSlack && size > minBuffer:
		in.slack = 0
		size = max(minBuffer, size/4, in.to)
	}
	if size == len(in.buf) || size < in.to {
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
	return f, nil
}

// bytes gives the next n octets, or errIncomplete.
func (in *input) bytes(n int) ([]byte, error) {
	if in.to-in.from < n {
		in.need = n
		return nil, errIncomplete
	}
	in.need = 0
	p := in.buf[in.from : in.from+n]
	in.from += n
	return p, nil
}
