package queue

import (
	"fmt"
	"slices"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

const (
	argConsumerPriority   = "x-priority"
	argCredit             = "x-credit"
	argMaxPriority        = "x-max-priority"
	argQueueType          = "x-queue-type"
	argDeadLetterExchange = "x-dead-letter-exchange"
	argSingleActive       = "x-single-active-consumer"
	argSegmentSize        = "x-stream-max-segment-size-bytes"
	argMasterLocator      = "x-queue-master-locator"
)

// maxSegmentSize is the largest segment of a stream, in octets.
const maxSegmentSize = 3_000_000_000

// CheckDeclare decides whether a queue that does not exist yet may be declared
// as s says, and gives its type: that of x-queue-type, or classic without one.
// s.Type is not looked at.
//
// The checks come in RabbitMQ's order and in its words (contract 05 §2); what
// only Warren refuses, because the feature is not there yet, comes last.
// Errors are *reply.Error.
func CheckDeclare(types *Types, s Spec) (Type, error) {
	name, err := declaredType(types, s)
	if err != nil {
		return nil, err
	}
	caps := types.capabilities[name]
	if err := checkValues(types.declareChecks, caps.Arguments, s, s.Arguments); err != nil {
		return nil, err
	}
	if err := checkKnown(types.arguments, caps.Arguments, caps.RabbitName, s, s.Arguments); err != nil {
		return nil, err
	}
	if err := checkProperties(caps, s); err != nil {
		return nil, err
	}
	if err := checkSegmentSize(caps, s); err != nil {
		return nil, err
	}
	if err := checkMasterLocator(caps, s); err != nil {
		return nil, err
	}
	t, ok := types.registered[name]
	if !ok {
		return nil, reply.Errorf(reply.NotImplemented, "%s=%s for %s", argQueueType, name, resource(s))
	}
	if err := checkImplemented(caps.Unimplemented, caps.Arguments, s, s.Arguments); err != nil {
		return nil, err
	}
	return t, nil
}

// CheckConsumer decides whether a consumer with these arguments may be added to
// queue s, whose type has the capabilities caps (contract 05 §10). Errors are
// *reply.Error.
func CheckConsumer(types *Types, caps Capabilities, s Spec, args message.Table) error {
	if len(args) == 0 {
		return nil
	}
	rabbitName := caps.RabbitName
	if rabbitName == "" {
		rabbitName = s.Type
	}
	if err := checkValues(types.consumeChecks, caps.ConsumerArguments, s, args); err != nil {
		return err
	}
	if err := checkKnown(types.consumerArguments, caps.ConsumerArguments, rabbitName, s, args); err != nil {
		return err
	}
	if err := checkCredit(args); err != nil {
		return err
	}
	return checkImplemented(caps.Unimplemented, caps.ConsumerArguments, s, args)
}

// CheckDeadLetterType refuses an x-dead-letter-exchange that is not a string.
// The channel asks before it checks permissions for that exchange, which is
// before CheckDeclare (contract 03 §8).
func CheckDeadLetterType(s Spec) error {
	v, ok := s.Arguments.Get(argDeadLetterExchange)
	if !ok {
		return nil
	}
	if _, ok := v.(string); ok {
		return nil
	}
	return reply.Errorf(reply.PreconditionFailed, "invalid type '%s' for arg '%s' in %s",
		message.TypeName(v), argDeadLetterExchange, resource(s))
}

// DeadLetterExchange gives the name in x-dead-letter-exchange, which may be the
// empty name of the default exchange. ok is false if there is none, or one that
// CheckDeadLetterType refuses.
func DeadLetterExchange(s Spec) (name string, ok bool) {
	v, _ := s.Arguments.Get(argDeadLetterExchange)
	name, ok = v.(string)
	return name, ok
}

// SingleActive reports whether s asks for a single active consumer: of its
// consumers only one at a time gets deliveries (contract 05 §8).
func SingleActive(s Spec) bool {
	v, _ := s.Arguments.Get(argSingleActive)
	on, _ := v.(bool)
	return on
}

// declaredType gives the name of the type that s asks for. It has capabilities,
// but need not be registered.
func declaredType(types *Types, s Spec) (string, error) {
	name := defaultType
	if v, ok := s.Arguments.Get(argQueueType); ok {
		str, isString := v.(string)
		if !isString {
			return "", invalidArgument(argQueueType, s, unacceptableType(v))
		}
		name = str
	}
	if _, ok := types.capabilities[name]; !ok {
		return "", invalidArgument(argQueueType, s, quoted("unsupported queue type '"+name+"'"))
	}
	return name, nil
}

// checkValues runs those checks that are for one of the supported arguments, in
// the order of the checks.
func checkValues(checks []check, supported []string, s Spec, args message.Table) error {
	if len(args) == 0 {
		return nil
	}
	for _, c := range checks {
		v, ok := args.Get(c.argument)
		if !ok || !slices.Contains(supported, c.argument) {
			continue
		}
		if detail := c.fault(v, args); detail != "" {
			return invalidArgument(c.argument, s, detail)
		}
	}
	return nil
}

// checkKnown refuses the first argument that some type knows and this one does
// not.
func checkKnown(known map[string]bool, supported []string, rabbitName string, s Spec, args message.Table) error {
	for _, f := range args {
		if f.Name == argQueueType || !known[f.Name] || slices.Contains(supported, f.Name) {
			continue
		}
		return reply.Errorf(reply.PreconditionFailed, "invalid arg '%s' for %s of queue type %s",
			f.Name, resource(s), rabbitName)
	}
	return nil
}

// checkProperties refuses a kind of queue that the type cannot be (contract 05
// §2, below the table).
func checkProperties(caps Capabilities, s Spec) error {
	switch {
	case s.AutoDelete && !caps.AutoDelete:
		return invalidProperty("auto-delete", s)
	case s.Exclusive && !caps.Exclusive:
		return invalidProperty("exclusive-owner", s)
	case transient(s) && !caps.Transient:
		return invalidProperty("non-durable", s)
	}
	return nil
}

// checkSegmentSize refuses too large a segment size. RabbitMQ leaves this to
// the type, after everything else.
func checkSegmentSize(caps Capabilities, s Spec) error {
	if !slices.Contains(caps.Arguments, argSegmentSize) {
		return nil
	}
	v, _ := s.Arguments.Get(argSegmentSize)
	if n, ok := message.Int(v); ok && n > maxSegmentSize {
		return reply.Errorf(reply.PreconditionFailed, "Exceeded max value for %s", argSegmentSize)
	}
	return nil
}

// checkCredit refuses an x-credit that is no table. RabbitMQ does not check it, and its
// channel crashes when it reads the credit: hence the INTERNAL_ERROR without a text or
// a method.
func checkCredit(args message.Table) error {
	v, ok := args.Get(argCredit)
	if _, isTable := v.(message.Table); !ok || isTable {
		return nil
	}
	return &reply.Error{Code: reply.InternalError, NoMethod: true}
}

// checkMasterLocator refuses a strategy that there is none of. RabbitMQ takes any
// value for good and looks for the strategy only when it places the queue, where its
// channel crashes: hence the INTERNAL_ERROR without a text or a method. An exclusive
// queue has its place, beside its connection.
func checkMasterLocator(caps Capabilities, s Spec) error {
	if s.Exclusive || !slices.Contains(caps.Arguments, argMasterLocator) {
		return nil
	}
	v, ok := s.Arguments.Get(argMasterLocator)
	if !ok {
		return nil
	}
	strategy, ok := v.(string)
	if b, isBytes := v.([]byte); isBytes {
		strategy, ok = string(b), true
	}
	if ok && slices.Contains([]string{"min-masters", "client-local", "random"}, strategy) {
		return nil
	}
	return &reply.Error{Code: reply.InternalError, NoMethod: true}
}

// checkImplemented refuses the first supported argument whose feature is not
// there.
func checkImplemented(unimplemented, supported []string, s Spec, args message.Table) error {
	for _, f := range args {
		if slices.Contains(unimplemented, f.Name) && slices.Contains(supported, f.Name) {
			return reply.Errorf(reply.NotImplemented, "%s for %s", f.Name, resource(s))
		}
	}
	return nil
}

// transient reports whether a queue ends with the broker. An exclusive queue
// always does, durable or not.
func transient(s Spec) bool { return !s.Durable || s.Exclusive }

func invalidArgument(name string, s Spec, detail string) error {
	return reply.Errorf(reply.PreconditionFailed, "invalid arg '%s' for %s: %s", name, resource(s), detail)
}

func invalidProperty(name string, s Spec) error {
	return reply.Errorf(reply.PreconditionFailed, "invalid property '%s' for %s", name, resource(s))
}

func unacceptableType(v any) string {
	return fmt.Sprintf("{unacceptable_type,%s}", message.TypeName(v))
}
