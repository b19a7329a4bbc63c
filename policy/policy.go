// Package policy has RabbitMQ's policies (contract 08 §5): what they may say, which
// one is for which queue or exchange, and what a user's and an operator's come to
// together. It decides only; the broker keeps them and applies them.
//
// # Patterns
//
// Patterns are regular expressions in the syntax of package regexp (RE2), searched for
// anywhere in a name unless they are anchored. RabbitMQ's are Perl's. Of what RE2 does not
// know of these look-ahead at the beginning of a name is known, as in ^(?!amq\.), which
// many policies have; other look-around and back references are refused when the policy
// is set.
package policy

import (
	"cmp"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/warrenmq/warren/message"
)

// Policy gives the queues and exchanges whose names match a pattern settings beyond
// those that they were declared with.
type Policy struct {
	// Name tells it from others of its Kind in its virtual host.
	Name string
	// Pattern is a regular expression; see the package comment. The empty one matches
	// every name.
	Pattern string
	// ApplyTo says what the policy is for; empty is All.
	ApplyTo ApplyTo
	// Priority decides which one of several that match is in force: the highest. Of
	// equal ones RabbitMQ takes any, and Warren the one that comes first by name.
	Priority int
	// Definition has at least one of RabbitMQ's keys ("max-length", "message-ttl",
	// "alternate-exchange"), times in milliseconds. Integers may be of any Go type.
	Definition message.Table
}

// ApplyTo says what a policy is for.
type ApplyTo string

// What a policy may be for.
const (
	All       ApplyTo = "all"
	Queues    ApplyTo = "queues"
	Exchanges ApplyTo = "exchanges"
)

// Kind tells the policies of users from those of operators, which limit what users
// set and may have few keys only.
type Kind uint8

// The kinds of policies.
const (
	User Kind = iota
	Operator
)

// ErrInvalid is matched by an *Error.
var ErrInvalid = errors.New("invalid policy")

// Error says why a policy is refused. Its text is RabbitMQ's.
type Error struct {
	// Reasons are what is wrong, one for each field at the most.
	Reasons []string
}

// Error gives all reasons, as RabbitMQ does.
func (e *Error) Error() string {
	return "Validation failed\n\n" + strings.Join(e.Reasons, "\n") + "\n"
}

// Unwrap gives ErrInvalid.
func (e *Error) Unwrap() error { return ErrInvalid }

// Compiled is a policy that was checked and is ready for use. It is immutable.
type Compiled struct {
	policy Policy
	kind   Kind
	names  pattern
	// needs are the keys that a type of queues must know.
	needs []string
}

// Compile checks a policy. What it makes of it has ApplyTo set and a definition of its
// own, sorted by key, in which all integers are an int64. The error is an *Error.
func Compile(k Kind, p Policy) (*Compiled, error) {
	c := &Compiled{policy: p, kind: k}
	c.policy.ApplyTo = cmp.Or(p.ApplyTo, All)
	c.policy.Definition = normal(p.Definition)
	var wrong []string
	note := func(reason string) {
		if reason != "" {
			wrong = append(wrong, reason)
		}
	}
	note(checkDefinition(k, c.policy.Definition)) // in RabbitMQ's order
	switch c.policy.ApplyTo {
	case All, Queues, Exchanges:
	default:
		note("apply-to '" + string(p.ApplyTo) + "' unrecognised; should be 'queues', 'exchanges' or 'all'")
	}
	var fault string
	c.names, fault = compilePattern(p.Pattern)
	note(fault)
	if len(wrong) > 0 {
		return nil, &Error{wrong}
	}
	for _, f := range c.policy.Definition {
		if needsSupport(f.Name) {
			c.needs = append(c.needs, f.Name)
		}
	}
	return c, nil
}

// Policy gives what was compiled. Its definition must not be changed.
func (c *Compiled) Policy() Policy { return c.policy }

// Kind gives the policy's kind.
func (c *Compiled) Kind() Kind { return c.kind }

// Equal reports whether two policies of one kind are the same in every field.
func (c *Compiled) Equal(o *Compiled) bool {
	return c.kind == o.kind && reflect.DeepEqual(c.policy, o.policy)
}

// suits reports whether a type of queues that knows the given keys knows all that the
// definition needs.
func (c *Compiled) suits(known []string) bool {
	for _, key := range c.needs {
		if !slices.Contains(known, key) {
			return false
		}
	}
	return true
}
