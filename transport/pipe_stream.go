package transport

import (
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// chunkSize is the unit in which streams take memory.
const chunkSize = 16 << 10

// chunk is a piece of a stream's buffer.
type chunk struct {
	next *chunk
	data [chunkSize - 8]byte // with next, a size that the allocator has
}

// chunks are lent to streams that have something unread. Between bubbles of
// synctest they may travel, as they hold nothing but octets.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

const (
	// maxTurn is how many octets a Write copies before it lets others have the
	// mutex.
	maxTurn = 4 * chunkSize
	// wakeRoom is how much room makes it worthwhile to wake a Write that waits
	// for some, unless half the limit is less.
	wakeRoom = 2 * chunkSize
	// yieldAt is how much may be unread before each Write lets other goroutines
	// run first. A reader that can keep up then does, from a buffer that stays in
	// the processor's cache: half the time per octet of one that grows to its
	// limit.
	yieldAt = 16 * chunkSize
)

// stream is one direction of a pipe: a queue of octets with a limit, in chunks.
//
// The mutex is held for copying only. Who waits does so on the condition
// variable of its side, which a synctest bubble counts as durably blocked.
type stream struct {
	mu             sync.Mutex
	reader, writer side
	writing        bool // a Write is under way that could not be done in one turn

	head, tail *chunk // nil when nothing is unread; all but the tail are full
	from, to   int    // where the unread octets begin in head, and end in tail
	size       int    // how many there are
	limit      int
}

func (s *stream) init(limit int) {
	s.limit = limit
	s.reader.wake.L = &s.mu
	s.writer.wake.L = &s.mu
}

// read takes what there is into p, waiting for at least one octet.
func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.reader.closed:
			return 0, net.ErrClosed
		case len(p) == 0:
			return 0, nil
		case s.reader.expired:
			return 0, os.ErrDeadlineExceeded
		case s.size > 0:
			return s.take(p), nil
		case s.writer.closed:
			return 0, io.EOF
		}
		s.reader.wake.Wait()
	}
}

// write puts all of p into the buffer, waiting for room. It gives the number of
// octets that got in when it fails.
func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	n, err := s.putAll(p)
	behind := s.size > yieldAt
	s.mu.Unlock()
	if behind {
		runtime.Gosched()
	}
	return n, err
}

// putAll is write under the mutex.
func (s *stream) putAll(p []byte) (n int, err error) {
	mine := false // this Write has begun, so that others wait for its end
	for {
		if err = s.refusal(); err != nil {
			break
		}
		if mine || !s.writing {
			n += s.put(p[n:min(len(p), n+maxTurn)])
			if n == len(p) {
				break
			}
			mine, s.writing = true, true
			if s.size < s.limit {
				s.mu.Unlock()
				s.mu.Lock()
				continue
			}
		}
		s.writer.wake.Wait()
	}
	if mine {
		s.writing = false
		s.writer.wake.Broadcast()
	}
	return n, err
}

// refusal says why nothing can be written.
func (s *stream) refusal() error {
	switch {
	case s.writer.closed:
		return net.ErrClosed
	case s.writer.expired:
		return os.ErrDeadlineExceeded
	case s.reader.closed:
		return io.ErrClosedPipe
	}
	return nil
}

// put copies as much of p as there is room for, and wakes readers.
func (s *stream) put(p []byte) int {
	p = p[:min(len(p), s.limit-s.size)]
	if len(p) == 0 {
		return 0
	}
	if s.size == 0 {
		s.reader.wake.Broadcast()
	}
	s.size += len(p)
	for rest := p; len(rest) > 0; {
		switch {
		case s.tail == nil:
			s.tail = chunks.Get().(*chunk)
			s.head, s.from, s.to = s.tail, 0, 0
		case s.to == len(s.tail.data):
			s.tail.next = chunks.Get().(*chunk)
			s.tail, s.to = s.tail.next, 0
		}
		n := copy(s.tail.data[s.to:], rest)
		s.to += n
		rest = rest[n:]
	}
	return len(p)
}

// take copies as much into p as there is, gives back chunks that are empty, and
// wakes writers.
func (s *stream) take(p []byte) int {
	p = p[:min(len(p), s.size)]
	for rest := p; len(rest) > 0; {
		n := copy(rest, s.head.data[s.from:])
		rest = rest[n:]
		if s.from += n; s.from == len(s.head.data) {
			s.drop()
		}
	}
	if s.size -= len(p); s.size == 0 && s.head != nil {
		s.drop()
	}
	if s.limit-s.size >= min(wakeRoom, (s.limit+1)/2) {
		s.writer.wake.Broadcast()
	}
	return len(p)
}

// drop gives the first chunk back.
func (s *stream) drop() {
	c := s.head
	if s.head, s.from = c.next, 0; s.head == nil {
		s.tail = nil
	}
	c.next = nil
	chunks.Put(c)
}

// closeWriter lets nothing more be written.
func (s *stream) closeWriter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writer.close()
	s.reader.wake.Broadcast()
}

// closeReader lets nothing more be read, and forgets what was not.
func (s *stream) closeReader() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reader.close()
	s.writer.wake.Broadcast()
	for s.size = 0; s.head != nil; {
		s.drop()
	}
}

func (s *stream) readerClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reader.closed
}

func (s *stream) setReadDeadline(t time.Time) { s.reader.setDeadline(t) }

func (s *stream) setWriteDeadline(t time.Time) { s.writer.setDeadline(t) }
