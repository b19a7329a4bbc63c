package metamorphic

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// clientConn and clientChannel are the official client's types, or those of
// package amqp091.
type (
	clientConn interface {
		Close() error
		IsClosed() bool
		NotifyClose(c chan *amqp.Error) chan *amqp.Error
	}
	clientChannel interface {
		declarer
		settler
		Confirm(noWait bool) error
		PublishWithDeferredConfirm(exchange, key string, mandatory, immediate bool, msg amqp.Publishing) (*amqp.DeferredConfirmation, error)
		Consume(queue, consumer string, autoAck, exclusive, noLocal, noWait bool, args amqp.Table) (<-chan amqp.Delivery, error)
		Cancel(consumer string, noWait bool) error
		NotifyClose(c chan *amqp.Error) chan *amqp.Error
		NotifyReturn(c chan amqp.Return) chan amqp.Return
		NotifyCancel(c chan string) chan string
		IsClosed() bool
	}
)

// orNil keeps a nil pointer from becoming an interface that is not nil.
func orNil[C interface {
	comparable
	clientChannel
}](c C, err error) (clientChannel, error) {
	var none C
	if c == none {
		return nil, err
	}
	return c, err
}

// patience is how long to wait for what must come.
const patience = 20 * time.Second

// errSilent is an end of which nobody told the reason.
var errSilent = errors.New("it ended, and nobody told why")

// clientPeer is a connection with the methods of the client's.
type clientPeer struct {
	conn        clientConn
	openChannel func() (clientChannel, error)
	// control is a channel for round trips, and counted what has been sent; nil if
	// there is no network in between.
	control clientChannel
	counted *countedConn

	closes chan *amqp.Error
	why    error
	log    *eventLog
}

func newClientPeer(conn clientConn, open func() (clientChannel, error)) *clientPeer {
	return &clientPeer{
		conn: conn, openChannel: open, log: newEventLog(),
		closes: conn.NotifyClose(make(chan *amqp.Error, 1)),
	}
}

// dialClient connects the official client.
func dialClient(user string, dial func(network, address string) (net.Conn, error)) (peer, error) {
	counted := &countedConn{}
	conn, err := amqp.DialConfig("amqp://", amqp.Config{
		SASL: []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: user}},
		Dial: func(network, address string) (net.Conn, error) {
			nc, err := dial(network, address)
			counted.Conn = nc
			return counted, err
		},
	})
	if err != nil {
		return nil, err
	}
	p := newClientPeer(conn, func() (clientChannel, error) { return orNil(conn.Channel()) })
	p.counted = counted
	p.control, err = p.openChannel()
	return p, err
}

func (p *clientPeer) open(slot int) (session, error) {
	ch, err := p.openChannel()
	if err != nil {
		return nil, err
	}
	s := &clientSession{clientChannel: ch, slot: slot, log: p.log, closes: ch.NotifyClose(make(chan *amqp.Error, 1))}
	// There is room for all that a step may bring: the client loses what waits for
	// five seconds.
	returns := ch.NotifyReturn(make(chan amqp.Return, 256))
	cancels := ch.NotifyCancel(make(chan string, 256))
	go func() {
		for r := range returns {
			s.log.add(event{slot: slot, stream: returned, text: showReturn(r)})
		}
	}()
	go func() {
		for tag := range cancels {
			s.log.add(event{slot: slot, stream: cancelled, text: tagName(tag)})
		}
	}()
	return s, nil
}

func (p *clientPeer) close() error { return p.conn.Close() }

// roundTrip asks on a channel of its own: the client may use a channel for a
// moment after it has agreed to its end, which ends the connection. The answer
// can overtake what other channels have only collected; they hand it over when
// the broker's reader has nothing more to read, which is before it reads the
// second request.
func (p *clientPeer) roundTrip() {
	if p.control == nil {
		return
	}
	for range 2 {
		if err := p.control.Qos(0, 0, false); err != nil {
			return // end tells
		}
	}
}

func (p *clientPeer) sent() (n int, ok bool) {
	if p.counted == nil {
		return 0, false
	}
	return int(p.counted.events.Load()), true
}

func (p *clientPeer) end() error {
	if p.why == nil && p.conn.IsClosed() {
		p.why = reason(p.closes)
	}
	return p.why
}

// reason waits for why something ended.
func reason(closes <-chan *amqp.Error) error {
	select {
	case e := <-closes:
		if e != nil {
			return refusal(e.Code, e.Reason)
		}
		return errSilent
	case <-time.After(patience):
		return errSilent
	}
}

func (p *clientPeer) connections() int {
	if p.end() != nil {
		return 0
	}
	return 1
}

func (p *clientPeer) events() *eventLog { return p.log }

// clientSession is a channel with the methods of the client's.
type clientSession struct {
	clientChannel
	slot   int
	log    *eventLog
	closes chan *amqp.Error
	why    error
}

func (s *clientSession) end() error {
	if s.why == nil && s.IsClosed() {
		s.why = reason(s.closes)
	}
	return s.why
}

func (s *clientSession) confirm() error { return s.Confirm(false) }

func (s *clientSession) publish(p publish) (string, error) {
	d, err := s.PublishWithDeferredConfirm(p.exchange, p.key, p.mandatory, p.immediate, p.msg)
	if err != nil || d == nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	acked, err := d.WaitContext(ctx)
	switch {
	case err != nil:
		return "", err
	case acked:
		return "acked", nil
	}
	return "nacked", nil
}

func (s *clientSession) consume(c consume) error {
	ds, err := s.Consume(c.queue, c.tag, c.autoAck, c.exclusive, false, false, c.args)
	if err != nil {
		return err
	}
	go func() {
		for d := range ds {
			s.log.add(event{slot: s.slot, stream: "to " + tagName(c.tag), tag: d.DeliveryTag, text: showDelivery(d)})
		}
	}()
	return nil
}

func (s *clientSession) cancel(tag string, requeue func() error) error {
	if err := s.Cancel(tag, false); err != nil || requeue == nil {
		return err
	}
	return requeue()
}

// tagName gives a consumer tag as transcripts show it: those that somebody made
// up are all alike.
func tagName(tag string) string {
	if strings.HasPrefix(tag, "c-") {
		return tag
	}
	return nameless
}

// countedConn counts what the broker sends by itself. The official client hands
// it on in goroutines of its own, and does not say when it has.
type countedConn struct {
	net.Conn
	events atomic.Int64

	frame []byte // the beginning of the one that is being read
	skip  int    // octets of it that do not matter
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.count(p[:n])
	return n, err
}

// The parts of a method frame: its type, channel and size, then the method's class
// and number (contract 01 §2).
const (
	frameMethod = 1
	frameHead   = 7
	methodHead  = 4
)

// count reads frames, in whatever pieces they come. All have at least an octet
// more than their head.
func (c *countedConn) count(p []byte) {
	for len(p) > 0 {
		if c.skip > 0 {
			n := min(c.skip, len(p))
			c.skip, p = c.skip-n, p[n:]
			continue
		}
		want := frameHead
		if len(c.frame) >= frameHead && c.frame[0] == frameMethod {
			want += methodHead
		}
		n := min(want-len(c.frame), len(p))
		c.frame, p = append(c.frame, p[:n]...), p[n:]
		if len(c.frame) < frameHead || c.frame[0] == frameMethod && len(c.frame) < frameHead+methodHead {
			continue
		}
		size := int(binary.BigEndian.Uint32(c.frame[3:]))
		if c.frame[0] == frameMethod {
			c.method(binary.BigEndian.Uint16(c.frame[frameHead:]), binary.BigEndian.Uint16(c.frame[frameHead+2:]))
			size -= methodHead
		}
		c.skip, c.frame = size+1, c.frame[:0]
	}
}

func (c *countedConn) method(class, method uint16) {
	const basic, cancel, comeBack, deliver = 60, 30, 50, 60
	if class == basic && (method == cancel || method == comeBack || method == deliver) {
		c.events.Add(1)
	}
}
