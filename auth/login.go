package auth

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

// The mechanisms that are offered (contract 02 §2.3).
const (
	plain    = "PLAIN"
	amqplain = "AMQPLAIN"
)

// Mechanisms is the list of mechanisms in connection.start, separated by blanks.
func (r *Registry) Mechanisms() string { return amqplain + " " + plain }

// MechanismError says that a client chose a mechanism it cannot use. The client
// is told nothing; the text is for the log, as a COMMAND_INVALID.
type MechanismError struct {
	Mechanism string
	// Known says that RabbitMQ has such a mechanism, but it is not offered here.
	Known bool
}

// Error is RabbitMQ's text for the log.
func (e *MechanismError) Error() string {
	if e.Known {
		return fmt.Sprintf("invalid authentication mechanism '%s'", e.Mechanism)
	}
	return fmt.Sprintf("unknown authentication mechanism '%s'", e.Mechanism)
}

// Unwrap gives reply.CommandInvalid.
func (e *MechanismError) Unwrap() error { return reply.CommandInvalid }

// ResponseError says that the response of a client is not what its mechanism
// asks for. The client is told nothing; the text is for the log, as a
// SYNTAX_ERROR.
type ResponseError struct {
	Mechanism string
	// Err says what is wrong with the response.
	Err error
}

// Error is RabbitMQ's text for the log, but without the octets of the response:
// there may be a password among them.
func (e *ResponseError) Error() string { return "response <<..>> invalid" }

// Unwrap gives reply.SyntaxError and Err.
func (e *ResponseError) Unwrap() []error { return []error{reply.SyntaxError, e.Err} }

// Reason is why a login was refused.
type Reason uint8

const (
	// BadCredentials is an unknown user or a wrong password.
	BadCredentials Reason = iota + 1
	// BlankPassword is a password without a character, whoever sent it.
	BlankPassword
	// LoopbackOnly is the right password from a place where the user may not
	// come from.
	LoopbackOnly
)

// RefusedError says that a client may not log in. The reason is for the log
// only; the client gets Reply if it understands it, and nothing otherwise.
type RefusedError struct {
	Mechanism, User string
	Reason          Reason
}

// Error is RabbitMQ's text for the log.
func (e *RefusedError) Error() string {
	why := " - invalid credentials"
	switch e.Reason {
	case BlankPassword:
		why = " attempted to log in with a blank password, which is never accepted"
	case LoopbackOnly:
		why = " can only connect via localhost"
	}
	return fmt.Sprintf("%s login refused: user '%s'%s", e.Mechanism, e.User, why)
}

// Unwrap gives reply.AccessRefused.
func (e *RefusedError) Unwrap() error { return reply.AccessRefused }

// Reply is what a client is told that has the capability
// authentication_failure_close. It is the same for every reason.
func (e *RefusedError) Reply() *reply.Error {
	return &reply.Error{
		Code:     reply.AccessRefused,
		Text:     fmt.Sprintf("Login was refused using authentication mechanism %s. For details see the broker logfile.", e.Mechanism),
		NoMethod: true,
	}
}

var (
	errNotPlain = errors.New("it is not NUL user NUL password")
	errNoLogin  = errors.New("LOGIN or PASSWORD is missing or no string")
)

// Authenticate finds out who a client is from the mechanism and the response of
// its connection.start-ok, and the address it comes from. An error is a
// *MechanismError, a *ResponseError or a *RefusedError.
//
// The response is not kept.
func (r *Registry) Authenticate(mechanism string, response []byte, peer net.Addr) (*User, error) {
	var parse func([]byte) (name, password string, err error)
	switch mechanism {
	case plain:
		parse = parsePlain
	case amqplain:
		parse = parseAMQPlain
	case "EXTERNAL", "RABBIT-CR-DEMO":
		return nil, &MechanismError{Mechanism: mechanism, Known: true}
	default:
		return nil, &MechanismError{Mechanism: mechanism}
	}
	name, password, err := parse(response)
	if err != nil {
		return nil, &ResponseError{Mechanism: mechanism, Err: err}
	}
	u, reason := r.login(name, password, peer)
	if reason != 0 {
		return nil, &RefusedError{Mechanism: mechanism, User: name, Reason: reason}
	}
	return u, nil
}

// login gives the user, or the reason why not.
func (r *Registry) login(name, password string, peer net.Addr) (*User, Reason) {
	if password == "" {
		return nil, BlankPassword
	}
	u, ok := r.User(name)
	if !ok {
		// As much work as for a user that exists: the time must not tell names.
		r.nobody.Matches(password)
		return nil, BadCredentials
	}
	if !u.hash.Matches(password) {
		return nil, BadCredentials
	}
	if r.loopback[name] && !isLocal(peer) {
		return nil, LoopbackOnly
	}
	return u, 0
}

// parsePlain reads NUL user NUL password. There is nothing before the first NUL,
// and the password has none.
func parsePlain(response []byte) (name, password string, err error) {
	parts := bytes.SplitN(response, []byte{0}, 4)
	if len(parts) != 3 || len(parts[0]) != 0 {
		return "", "", errNotPlain
	}
	return string(parts[1]), string(parts[2]), nil
}

// parseAMQPlain reads the body of a table with LOGIN and PASSWORD. As in
// RabbitMQ it is enough that one of them is a string: the other may be a byte
// array, and a PASSWORD of any other type is a wrong one, like a blank one.
func parseAMQPlain(response []byte) (name, password string, err error) {
	table, err := message.DecodeTable(response)
	if err != nil {
		return "", "", err
	}
	login, _ := table.Get("LOGIN")
	pass, hasPassword := table.Get("PASSWORD")
	name, isName := login.(string)
	password, isPassword := pass.(string)
	if !hasPassword || !isName && !isPassword {
		return "", "", errNoLogin
	}
	if octets, ok := login.([]byte); ok {
		name, isName = string(octets), true
	}
	if octets, ok := pass.([]byte); ok {
		password = string(octets)
	}
	if !isName {
		return "", "", errNoLogin
	}
	return name, password, nil
}
