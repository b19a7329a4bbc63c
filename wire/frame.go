package wire

import (
	"encoding/binary"
	"math"
)

// The types of a frame.
const (
	FrameMethod    = 1
	FrameHeader    = 2
	FrameBody      = 3
	FrameHeartbeat = 8
)

// Sizes and marks of frames, in octets.
const (
	FrameEnd        = 0xCE // the last octet of each frame
	FrameHeaderSize = 7    // type, channel, size of the payload
	FrameOverhead   = 8    // what a frame is longer than its payload: header and end
	FrameMinSize    = 4096 // the lowest frame_max, and the one in force until tune-ok
)

// ProtocolHeader is what a client sends first, and what a server answers to
// any other header before it hangs up.
const ProtocolHeader = "AMQP\x00\x00\x09\x01"

// Frame is one frame without its envelope.
type Frame struct {
	Type    uint8
	Channel uint16
	Payload []byte
}

// ParseFrame reads the frame at the start of buf in place: its payload aliases
// buf. n is the number of octets it takes; 0 without an error means that the
// frame is not complete yet, see FrameLength. Any type of frame is let pass.
//
// frameMax is the negotiated frame_max, 0 for no limit. Though frame_max is
// said to count the whole frame, a payload of up to frameMax octets is taken,
// as RabbitMQ does (contract 01 §2). For a larger one the frame's header is
// enough to give a *FrameTooLargeError. A frame that does not end as it should
// gives a *FrameEndError. Behind either the input is of no use.
func ParseFrame(buf []byte, frameMax uint32) (f Frame, n int, err error) {
	if len(buf) < FrameHeaderSize {
		return Frame{}, 0, nil
	}
	size := binary.BigEndian.Uint32(buf[3:])
	if frameMax != 0 && size > frameMax {
		return Frame{}, 0, &FrameTooLargeError{Type: buf[0], Size: size, Limit: frameMax - min(frameMax, FrameOverhead)}
	}
	if uint64(len(buf)) < uint64(size)+FrameOverhead {
		return Frame{}, 0, nil
	}
	end := FrameHeaderSize + int(size)
	payload := buf[FrameHeaderSize:end:end]
	if buf[end] != FrameEnd {
		return Frame{}, 0, &FrameEndError{Type: buf[0], Payload: payload, End: buf[end]}
	}
	return Frame{Type: buf[0], Channel: binary.BigEndian.Uint16(buf[1:]), Payload: payload}, end + 1, nil
}

// FrameLength is the whole length of the frame at the start of buf, of which
// ParseFrame needs so many octets. ok is false while buf is shorter than a
// frame's header.
func FrameLength(buf []byte) (n uint64, ok bool) {
	if len(buf) < FrameHeaderSize {
		return 0, false
	}
	return uint64(binary.BigEndian.Uint32(buf[3:])) + FrameOverhead, true
}

// AppendFrameHeader appends the octets of a frame before its payload of size
// octets. FrameEnd has to follow the payload.
func AppendFrameHeader(dst []byte, frameType uint8, channel uint16, size uint32) []byte {
	return append(dst, frameType, byte(channel>>8), byte(channel),
		byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
}

// AppendMethodFrame appends a method frame. It fails as m.Append does, and then
// returns dst as it was.
func AppendMethodFrame(dst []byte, channel uint16, m Method) ([]byte, error) {
	out, err := m.Append(AppendFrameHeader(dst, FrameMethod, channel, 0))
	if err != nil {
		return dst, err
	}
	return endFrame(out, len(dst)), nil
}

// endFrame finishes the frame that begins at start and has no size yet.
func endFrame(dst []byte, start int) []byte {
	size := len(dst) - start - FrameHeaderSize
	binary.BigEndian.PutUint32(dst[start+3:], uint32(size))
	return append(dst, FrameEnd)
}

// AppendHeaderFrame appends a content header frame. props are the octets from
// the property flags on. The frame is one even if it is longer than frame_max
// (contract 01 §2).
func AppendHeaderFrame(dst []byte, channel, class uint16, bodySize uint64, props []byte) []byte {
	dst = AppendFrameHeader(dst, FrameHeader, channel, uint32(minHeader+len(props)))
	dst = append(dst, byte(class>>8), byte(class), 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, bodySize)
	dst = append(dst, props...)
	return append(dst, FrameEnd)
}

// AppendBodyFrames appends the body, cut into frames of exactly frameMax octets
// and a last one with the rest. An empty body has no frame. A frameMax of 0 is
// no limit, and so is one that is too small for any payload.
func AppendBodyFrames(dst []byte, channel uint16, body []byte, frameMax uint32) []byte {
	chunk := uint64(math.MaxUint32)
	if frameMax > FrameOverhead {
		chunk = uint64(frameMax - FrameOverhead)
	}
	for len(body) > 0 {
		n := min(chunk, uint64(len(body)))
		dst = AppendFrameHeader(dst, FrameBody, channel, uint32(n))
		dst = append(dst, body[:n]...)
		dst = append(dst, FrameEnd)
		body = body[n:]
	}
	return dst
}

// AppendHeartbeat appends a heartbeat frame.
func AppendHeartbeat(dst []byte) []byte {
	return append(AppendFrameHeader(dst, FrameHeartbeat, 0, 0), FrameEnd)
}

// minHeader is the length of a content header before the property flags.
const minHeader = 12

// ContentHeader is the payload of a content header frame.
type ContentHeader struct {
	Class    uint16
	Weight   uint16 // must be 0, which is for the caller to check
	BodySize uint64
	Props    []byte // the octets from the property flags on, for package message to decode
}

// ParseContentHeader reads the payload of a content header frame. Props aliases
// it and is not looked into, as in RabbitMQ, where bad properties are found
// later, and with another error (contract 01 §4). A payload that ends before
// the property flags gives ErrShortHeader.
func ParseContentHeader(payload []byte) (ContentHeader, error) {
	if len(payload) < minHeader {
		return ContentHeader{}, ErrShortHeader
	}
	return ContentHeader{
		Class:    binary.BigEndian.Uint16(payload),
		Weight:   binary.BigEndian.Uint16(payload[2:]),
		BodySize: binary.BigEndian.Uint64(payload[4:]),
		Props:    payload[minHeader:],
	}, nil
}
