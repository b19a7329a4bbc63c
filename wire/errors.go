package wire

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/warrenmq/warren/reply"
)

// Errors of decoding and encoding. Each is wrapped with the method and
// argument it is about.
var (
	// ErrShortMethod: the payload of a method frame is too short to name a
	// method. RabbitMQ calls that an unknown frame.
	ErrShortMethod = errors.New("method frame of less than 4 octets")
	// ErrUnknownMethod: there is no such class or method.
	ErrUnknownMethod = errors.New("unknown method")
	// ErrUTF8: a shortstr of a method without content is not valid UTF-8.
	ErrUTF8 = errors.New("malformed UTF-8 in shortstr")
	// ErrTooLong: a shortstr to be written has more than 255 octets, or a
	// longstr more than 4 GiB.
	ErrTooLong = errors.New("string too long")
	// ErrShortHeader: the payload of a content header frame ends before the
	// property flags.
	ErrShortHeader = errors.New("content header of less than 12 octets")
)

// DecodeError says that the arguments of a method do not fill its frame
// exactly: they end too early, a length among them exceeds the rest, or octets
// are left over.
type DecodeError struct {
	ID   ID
	Args []byte // the arguments' octets; they alias the payload
}

// Error names the method and its arguments' octets, which are of the client's making.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("wire: %s: cannot decode %s", e.ID, ErlangOctets(e.Args))
}

// FrameTooLargeError says that a frame's header announces a larger payload than
// is allowed.
type FrameTooLargeError struct {
	Type  uint8
	Size  uint32 // the announced size of the payload
	Limit uint32 // the largest size by the negotiated frame_max, without the envelope
}

// Error is Explanation with what it is about.
func (e *FrameTooLargeError) Error() string { return "wire: frame too large: " + Explanation(e) }

// FrameEndError says that a frame does not end with FrameEnd.
type FrameEndError struct {
	Type    uint8
	Payload []byte // aliases the input
	End     uint8  // the octet found instead
}

// Error is Explanation with what it is about.
func (e *FrameEndError) Error() string { return "wire: bad frame end: " + Explanation(e) }

// Explanation is the explanation that RabbitMQ's reply text gives for an error
// of this package for which it closes a connection with a FRAME_ERROR
// (contract 01 §8), without the name of the reply code: the text for a
// FrameTooLargeError, FrameEndError, DecodeError and ErrUTF8. It is "" for
// every other error. The text may hold octets that are not UTF-8, as
// RabbitMQ's does.
func Explanation(err error) string {
	var large *FrameTooLargeError
	var end *FrameEndError
	var decode *DecodeError
	switch {
	case errors.As(err, &large):
		return FrameExplanation(large.Type, nil, fmt.Sprintf("{frame_too_large,%d,%d}", large.Size, large.Limit))
	case errors.As(err, &end):
		return reply.ErlangPair(FrameExplanation(end.Type, end.Payload, "")+": ", "invalid_frame_end_marker", strconv.Itoa(int(end.End)))
	case errors.As(err, &decode):
		return "cannot decode " + ErlangOctets(decode.Args)
	case errors.Is(err, ErrUTF8):
		return "Malformed UTF-8 in shortstr"
	}
	return ""
}

// FrameExplanation is RabbitMQ's explanation for a frame that must not come:
// its type, its payload or the first 16 octets of it, and the reason, such as
// "unknown_frame", if there is one (contract 01 §8).
func FrameExplanation(frameType uint8, payload []byte, reason string) string {
	const most = 16
	which := "all"
	if len(payload) > most {
		which, payload = "first 16", payload[:most]
	}
	text := fmt.Sprintf("type %d, %s octets = %s", frameType, which, ErlangBinary(payload))
	if reason != "" {
		text += ": " + reason
	}
	return text
}
