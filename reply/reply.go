// Package reply is the vocabulary of AMQP 0-9-1's reply codes: the errors by
// which a broker refuses a request and closes a channel or a connection.
//
// The codes, their names and whether they are soft (the channel ends) or hard
// (the connection ends) are those of RabbitMQ 3.10; see contract 01 §6 and §7.
package reply

import (
	"errors"
	"fmt"
)

// Code is an AMQP reply code. It is an error itself, so that
// errors.Is(err, reply.NotFound) tells what kind of refusal err is.
type Code uint16

// The reply codes of AMQP 0-9-1 as RabbitMQ uses them.
const (
	ContentTooLarge    Code = 311 // soft; RabbitMQ 3.10 never raises it
	NoRoute            Code = 312 // only in basic.return
	NoConsumers        Code = 313 // only in basic.return; unused since immediate is gone
	ConnectionForced   Code = 320 // hard: the operator or a shutdown closed the connection
	InvalidPath        Code = 402 // hard; unused
	AccessRefused      Code = 403 // soft
	NotFound           Code = 404 // soft
	ResourceLocked     Code = 405 // soft
	PreconditionFailed Code = 406 // soft
	FrameError         Code = 501 // hard
	SyntaxError        Code = 502 // hard
	CommandInvalid     Code = 503 // hard
	ChannelError       Code = 504 // hard
	UnexpectedFrame    Code = 505 // hard
	ResourceError      Code = 506 // hard
	NotAllowed         Code = 530 // hard
	NotImplemented     Code = 540 // hard
	InternalError      Code = 541 // hard
)

// Name gives the code's name as it stands before the explanation in a reply
// text, for example NOT_FOUND.
func (c Code) Name() string {
	switch c {
	case ContentTooLarge:
		return "CONTENT_TOO_LARGE"
	case NoRoute:
		return "NO_ROUTE"
	case NoConsumers:
		return "NO_CONSUMERS"
	case ConnectionForced:
		return "CONNECTION_FORCED"
	case InvalidPath:
		return "INVALID_PATH"
	case AccessRefused:
		return "ACCESS_REFUSED"
	case NotFound:
		return "NOT_FOUND"
	case ResourceLocked:
		return "RESOURCE_LOCKED"
	case PreconditionFailed:
		return "PRECONDITION_FAILED"
	case FrameError:
		return "FRAME_ERROR"
	case SyntaxError:
		return "SYNTAX_ERROR"
	case CommandInvalid:
		return "COMMAND_INVALID"
	case ChannelError:
		return "CHANNEL_ERROR"
	case UnexpectedFrame:
		return "UNEXPECTED_FRAME"
	case ResourceError:
		return "RESOURCE_ERROR"
	case NotAllowed:
		return "NOT_ALLOWED"
	case NotImplemented:
		return "NOT_IMPLEMENTED"
	case InternalError:
		return "INTERNAL_ERROR"
	}
	return fmt.Sprintf("REPLY_%d", uint16(c))
}

// Error is the code's name, so that a Code can be the target of errors.Is.
func (c Code) Error() string { return c.Name() }

// Hard reports whether an error of this code ends the connection; a soft one
// ends the channel only.
func (c Code) Hard() bool {
	switch c {
	case ContentTooLarge, NoRoute, NoConsumers, AccessRefused, NotFound, ResourceLocked, PreconditionFailed:
		return false
	}
	return true
}

// Error is a refusal: a reply code and what was refused, on which resource and
// why, in RabbitMQ's words. An Error is immutable once it has been returned.
type Error struct {
	Code Code
	// Text is the explanation without the code's name.
	Text string
	// Class and Method are the AMQP ids of the offending method. They are 0
	// until the connection that carried the method fills them in.
	Class, Method uint16
	// NoMethod says that the fault is not tied to a method: the ids stay 0.
	NoMethod bool
}

// Errorf makes an Error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Error is the full reply text, for example
// "NOT_FOUND - no queue 'q' in vhost '/'".
func (e *Error) Error() string {
	if e.Text == "" {
		return e.Code.Name()
	}
	return e.Code.Name() + " - " + e.Text
}

// Unwrap gives the code, so that errors.Is(err, reply.NotFound) works.
func (e *Error) Unwrap() error { return e.Code }

// maxText is the longest reply text a shortstr can carry.
const maxText = 255

// ReplyText is Error cut to what a shortstr holds, as RabbitMQ cuts it: the
// first 252 bytes and three dots (contract 01 §7).
func (e *Error) ReplyText() string {
	s := e.Error()
	if len(s) > maxText {
		return s[:maxText-3] + "..."
	}
	return s
}

// With gives a copy of e that names the offending method, unless e already
// names one or says that there is none.
func (e *Error) With(class, method uint16) *Error {
	if e.NoMethod || e.Class != 0 {
		return e
	}
	c := *e
	c.Class, c.Method = class, method
	return &c
}

// From gives err as an *Error; an error of another kind becomes an
// INTERNAL_ERROR without a text, as RabbitMQ reports its own faults.
func From(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: InternalError, NoMethod: true}
}
