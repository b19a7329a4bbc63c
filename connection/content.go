package connection

import (
	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// content puts a method with content together from its frames (contract 01 §4).
type content struct {
	stage stage
	id    wire.ID
	// keys holds the exchange's name and the routing key, names the length of
	// the first.
	keys      []byte
	nameLen   int
	mandatory bool
	immediate bool
	size      uint64 // of the body, as announced
	got       uint64
	props     []byte
	msg       *message.Message // nil until the first octets of the body
}

type stage uint8

const (
	wantMethod stage = iota
	wantHeader
	wantBody
	// overshot: more came than was announced. RabbitMQ swallows body frames from
	// there on and never carries the method out.
	overshot
)

// keptProps is how large the buffer of the properties may be and still be kept for
// the next content.
const keptProps = 4 << 10

// drop gives back what came.
func (ct *content) drop() {
	if ct.msg != nil {
		ct.msg.Release()
	}
	*ct = content{}
}

// begin takes a method with content.
func (ct *content) begin(id wire.ID, args []byte) error {
	if id == wire.BasicPublishID {
		var m wire.BasicPublish
		if err := m.Decode(args); err != nil {
			return err
		}
		ct.keys = append(append(ct.keys[:0], m.Exchange...), m.RoutingKey...)
		ct.nameLen, ct.mandatory, ct.immediate = len(m.Exchange), m.Mandatory, m.Immediate
	} else if m, ok := wire.New(id); ok {
		if err := m.Decode(args); err != nil {
			return err
		}
	}
	ct.stage, ct.id = wantHeader, id
	return nil
}

// frame takes a frame that is due while a content is being put together, and
// reports whether the content is complete.
func (ct *content) frame(f wire.Frame, maxSize int) (complete bool, err error) {
	if ct.stage == wantHeader {
		return ct.header(f)
	}
	if f.Type != wire.FrameBody {
		return false, ct.unexpected("expected content body, got non content body frame instead")
	}
	ct.got += uint64(len(f.Payload))
	if ct.got > ct.size {
		ct.stage = overshot
	}
	if ct.stage == overshot || len(f.Payload) == 0 {
		return false, nil
	}
	if ct.size <= uint64(maxSize) {
		ct.append(f.Payload)
	}
	return ct.got == ct.size, nil
}

// append adds to the body. Room is made for what has come, not for what was
// announced.
func (ct *content) append(p []byte) {
	if ct.msg == nil {
		room := uint64(len(p))
		if ct.size > room {
			room = min(ct.size, 4*room)
		}
		ct.msg = message.New("", "", ct.props, int(room))
	}
	ct.msg.AppendBody(p)
}

func (ct *content) header(f wire.Frame) (complete bool, err error) {
	if f.Type != wire.FrameHeader {
		return false, ct.unexpected("expected content header for class 60, got non content header frame instead")
	}
	h, err := wire.ParseContentHeader(f.Payload)
	switch {
	case err != nil || h.Weight != 0:
		return false, ct.unexpected("expected content header for class 60, got non content header frame instead")
	case h.Class != ct.id.Class():
		return false, ct.unexpected("expected content header for class %d, got one for class %d instead", ct.id.Class(), h.Class)
	}
	ct.stage, ct.size, ct.got = wantBody, h.BodySize, 0
	ct.props = append(ct.props[:0], h.Props...)
	return h.BodySize == 0, nil
}

func (ct *content) unexpected(format string, args ...any) error {
	return reply.Errorf(reply.UnexpectedFrame, format, args...).With(ct.id.Class(), ct.id.Method())
}

// publish gives the complete content as a publish and begins anew. It is valid
// until the next frame.
func (ct *content) publish() channel.Publish {
	m := ct.msg
	if m == nil {
		m = message.New("", "", ct.props, 0)
	}
	ct.msg = nil
	ct.stage = wantMethod
	if cap(ct.props) > keptProps {
		ct.props = nil
	}
	return channel.Publish{
		Exchange: ct.keys[:ct.nameLen], RoutingKey: ct.keys[ct.nameLen:],
		Mandatory: ct.mandatory, Immediate: ct.immediate, Msg: m, Size: ct.size,
	}
}
