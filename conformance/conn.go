package conformance

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// eventKind says what kind of thing arrived from the broker.
type eventKind int

const (
	eventMethod         eventKind = iota // a method, with its content if it has one
	eventProtocolHeader                  // the eight bytes "AMQP" and a version
	eventViolation                       // something no broker may send
	eventEOF                             // the end of the connection
)

// event is one thing that arrived from the broker.
type event struct {
	ch     uint16
	kind   eventKind
	method *method
	f      fields
	props  fields // nil if there is no content
	body   []byte
	frames int    // body frames the content came in
	note   string // the version, the violation, or a remark on a method
}

// is says whether the event is the named method.
func (e *event) is(name string) bool { return e.kind == eventMethod && e.method.name == name }

// async says whether the event may arrive at any time, that is, cannot be the
// answer to a request.
func (e *event) async() bool {
	if e.kind != eventMethod {
		return false
	}
	switch e.method.name {
	case "basic.deliver", "basic.return", "basic.ack", "basic.nack", "basic.cancel",
		"channel.flow", "connection.blocked", "connection.unblocked":
		return true
	}
	return false
}

// answer is the filter that lets everything through that can be an answer.
func answer(e *event) bool { return !e.async() }

// writeTimeout bounds one write to a broker that has stopped reading.
const writeTimeout = 5 * time.Second

// conn is one client connection. Nothing is automatic in it but the answers to
// channel.close and connection.close. One goroutine reads; the methods may be
// called by one other.
type conn struct {
	name  string
	vhost string
	nc    net.Conn
	done  chan struct{} // closed when the reading goroutine has ended

	mu         sync.Mutex
	frameMax   uint32
	changed    chan struct{} // closed and replaced when something arrives
	queues     map[uint16][]*event
	final      []*event // violations and connection.close, then EOF
	heartbeats int
	answer     bool // answer close methods
	// tags are the consumer tags the client knows of, by channel. A delivery
	// for another one came before its consume-ok.
	tags map[uint16]map[string]bool
}

// dial opens a connection and starts reading.
func dial(name string, to Target, timeout time.Duration) (*conn, error) {
	open := to.Dial
	if open == nil {
		d := net.Dialer{Timeout: timeout}
		open = d.Dial
	}
	nc, err := open("tcp", to.Addr)
	if err != nil {
		return nil, err
	}
	c := &conn{
		name: name, nc: nc, frameMax: frameMinSize, answer: true,
		done:    make(chan struct{}),
		changed: make(chan struct{}),
		queues:  map[uint16][]*event{},
		tags:    map[uint16]map[string]bool{},
	}
	go c.read()
	return c, nil
}

// drop cuts the TCP connection without a word.
func (c *conn) drop() {
	// The connection is given up: what Close says about it is of no use.
	_ = c.nc.Close()
}

// wait drops the connection and waits for its goroutine.
func (c *conn) wait() {
	c.drop()
	<-c.done
}

// label names the connection, or one of its channels, in transcripts.
func (c *conn) label(ch uint16) string {
	if ch == 0 {
		return c.name
	}
	return fmt.Sprintf("%s.%d", c.name, ch)
}

// write sends bytes as they are. Its failures are not reported: a broker that
// has hung up is part of many scenarios, and shows as EOF on the reading side.
func (c *conn) write(p []byte) {
	if c.nc.SetWriteDeadline(time.Now().Add(writeTimeout)) == nil {
		_, _ = c.nc.Write(p)
	}
}

// send sends one method.
func (c *conn) send(ch uint16, m *method, f fields) error {
	p, err := encodeMethod(m, f)
	if err != nil {
		return err
	}
	c.write(encodeFrame(frameMethod, ch, p, frameEnd))
	return nil
}

func (c *conn) setFrameMax(n uint32) {
	c.mu.Lock()
	c.frameMax = n
	c.mu.Unlock()
}

// bodyPart gives how much of a body fits in one frame.
func (c *conn) bodyPart() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frameMax <= frameOverhead {
		return largestFrame - frameOverhead
	}
	return int(c.frameMax) - frameOverhead
}

// leaveCloses stops the automatic answers to close methods.
func (c *conn) leaveCloses() {
	c.mu.Lock()
	c.answer = false
	c.mu.Unlock()
}

// takeHeartbeats gives how many heartbeats came since the last call.
func (c *conn) takeHeartbeats() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.heartbeats
	c.heartbeats = 0
	return n
}

// expectTag registers a consumer tag whose consume-ok will not come.
func (c *conn) expectTag(ch uint16, tag string) {
	c.mu.Lock()
	c.know(ch, tag)
	c.mu.Unlock()
}

// know registers a consumer tag; the caller holds the mutex.
func (c *conn) know(ch uint16, tag string) {
	if c.tags[ch] == nil {
		c.tags[ch] = map[string]bool{}
	}
	c.tags[ch][tag] = true
}

// signal wakes who waits in next; the caller holds the mutex.
func (c *conn) signal() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// push hands an event to the waiting side.
func (c *conn) push(e *event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case e.is("basic.consume-ok"):
		c.know(e.ch, e.f.str("consumer-tag"))
	case e.is("basic.deliver") && !c.tags[e.ch][e.f.str("consumer-tag")]:
		e.note = "before-consume-ok"
	}
	if e.kind == eventEOF || e.kind == eventViolation || e.is("connection.close") {
		c.final = append(c.final, e)
	} else {
		c.queues[e.ch] = append(c.queues[e.ch], e)
	}
	c.signal()
}

// next waits for the first queued event on the channel that passes the filter.
// Once the connection has ended it gives connection.close (once), then EOF
// (always). It gives nil if nothing came in time.
func (c *conn) next(ch uint16, filter func(*event) bool, timeout time.Duration) *event {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		e, changed := c.poll(ch, filter)
		if e != nil {
			return e
		}
		select {
		case <-changed:
		case <-timer.C:
			// What arrived together with the timer still counts.
			e, _ = c.poll(ch, filter)
			return e
		}
	}
}

// poll takes the event that next looks for, or gives the channel that is
// closed when something more has arrived.
func (c *conn) poll(ch uint16, filter func(*event) bool) (*event, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.queues[ch]
	for i, e := range q {
		if filter == nil || filter(e) {
			c.queues[ch] = append(append([]*event{}, q[:i]...), q[i+1:]...)
			return e, nil
		}
	}
	if len(c.final) > 0 {
		e := c.final[0]
		if e.kind != eventEOF {
			c.final = c.final[1:]
		}
		return e, nil
	}
	return nil, c.changed
}

// takeAll removes and gives what is queued now, by channel; final events but
// EOF are among those of channel 0.
func (c *conn) takeAll() map[uint16][]*event {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.queues
	c.queues = map[uint16][]*event{}
	for _, e := range c.final {
		if e.kind != eventEOF {
			out[0] = append(out[0], e)
		}
	}
	c.final = nil
	return out
}
