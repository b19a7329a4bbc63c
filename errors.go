package warren

import (
	"errors"

	"github.com/warrenmq/warren/reply"
)

// Error is a refusal with an AMQP reply code and RabbitMQ's text. It is immutable.
// To find one use errors.As with a *Error, or errors.Is with a code.
type Error = reply.Error

// The reply codes a Go program meets most, as targets of errors.Is; package reply
// has all of them.
const (
	NotFound           = reply.NotFound
	AccessRefused      = reply.AccessRefused
	PreconditionFailed = reply.PreconditionFailed
	ResourceLocked     = reply.ResourceLocked
	NotAllowed         = reply.NotAllowed
	NotImplemented     = reply.NotImplemented
	ConnectionForced   = reply.ConnectionForced
)

var (
	// ErrClosed is returned by Serve and ListenAndServe after Shutdown or Close,
	// and by everything that is asked of a broker that is closing.
	ErrClosed = errors.New("warren: broker closed")
	// ErrVHostExists is wrapped by the error of AddVHost for a name that is taken.
	ErrVHostExists = errors.New("virtual host exists")
	// ErrNoVHost is wrapped by the errors of Broker's methods where a virtual host
	// does not exist.
	ErrNoVHost = errors.New("no such virtual host")
	// ErrNoPolicy is wrapped by the errors of ClearPolicy and ClearOperatorPolicy where
	// there is no policy of that name.
	ErrNoPolicy = errors.New("no such policy")
)
