package queue

import (
	"fmt"
	"slices"
	"strings"

	"github.com/warrenmq/warren/message"
)

// maxExpiry is the longest time to live, in milliseconds: ten years, as
// RabbitMQ allows.
const maxExpiry = 315_360_000_000

// check judges one argument.
type check struct {
	argument string
	// fault says what is wrong with the value, as RabbitMQ prints it, or nothing.
	// args are all arguments.
	fault func(v any, args message.Table) string
}

// declareChecks are the checks of queue.declare's arguments in RabbitMQ's order
// (contract 05 §2). x-delivery-limit is not there: RabbitMQ takes any value of it;
// x-queue-master-locator has checkMasterLocator.
func declareChecks() []check {
	return []check{
		{"x-expires", wantExpires},
		{"x-message-ttl", wantTTL},
		{argDeadLetterExchange, wantString},
		{"x-dead-letter-routing-key", wantDeadLetterRoutingKey},
		{"x-dead-letter-strategy", wantOneOf("invalid_dlx_strategy", "at-most-once", "at-least-once")},
		{"x-max-length", wantNotNegative},
		{"x-max-length-bytes", wantNotNegative},
		{"x-max-in-memory-length", wantNotNegative},
		{"x-max-in-memory-bytes", wantNotNegative},
		{argMaxPriority, wantMaxPriority},
		{"x-overflow", wantOneOf("invalid_overflow", "drop-head", "reject-publish", "reject-publish-dlx")},
		{"x-queue-mode", wantQueueMode},
		{"x-queue-version", wantQueueVersion},
		{argSingleActive, wantBool},
		{"x-quorum-initial-group-size", wantPositive},
		{"x-max-age", wantMaxAge},
		{argSegmentSize, wantNotNegative},
		{"x-initial-cluster-size", wantPositive},
		{"x-queue-leader-locator", wantOneOf("invalid_queue_locator_arg",
			"client-local", "balanced", "random", "least-leaders")},
	}
}

// consumeChecks are those of basic.consume's (contract 05 §10). There is none of
// x-credit; see checkCredit.
func consumeChecks() []check {
	return []check{
		{argConsumerPriority, wantInteger},
		{"x-cancel-on-ha-failover", wantBool},
	}
}

func wantInteger(v any, _ message.Table) string {
	if _, ok := message.Int(v); !ok {
		return notInteger(v)
	}
	return ""
}

func wantNotNegative(v any, _ message.Table) string {
	n, ok := message.Int(v)
	switch {
	case !ok:
		return notInteger(v)
	case n < 0:
		return fmt.Sprintf("{value_negative,%d}", n)
	}
	return ""
}

func wantPositive(v any, args message.Table) string {
	if n, ok := message.Int(v); ok && n == 0 {
		return "{value_zero,0}"
	}
	return wantNotNegative(v, args)
}

func wantTTL(v any, args message.Table) string {
	if n, ok := message.Int(v); ok && n > maxExpiry {
		return fmt.Sprintf("{value_too_large,%d}", n)
	}
	return wantNotNegative(v, args)
}

func wantExpires(v any, args message.Table) string {
	if n, ok := message.Int(v); ok && n == 0 {
		return "{value_zero,0}"
	}
	return wantTTL(v, args)
}

func wantMaxPriority(v any, args message.Table) string {
	if n, ok := message.Int(v); ok && n > 255 {
		return fmt.Sprintf("{max_value_exceeded,%d}", n)
	}
	return wantNotNegative(v, args)
}

func wantQueueVersion(v any, args message.Table) string {
	if n, ok := message.Int(v); ok && n >= 0 && n != 1 && n != 2 {
		return fmt.Sprintf(`"unsupported queue version '%d'"`, n)
	}
	return wantNotNegative(v, args)
}

func wantQueueMode(v any, _ message.Table) string {
	mode, ok := v.(string)
	switch {
	case !ok:
		return unacceptableType(v)
	case mode != "default" && mode != "lazy":
		return quoted("unsupported queue mode '" + mode + "'")
	}
	return ""
}

func wantString(v any, _ message.Table) string {
	if _, ok := v.(string); !ok {
		return unacceptableType(v)
	}
	return ""
}

func wantBool(v any, _ message.Table) string {
	if _, ok := v.(bool); !ok {
		return unacceptableType(v)
	}
	return ""
}

func wantDeadLetterRoutingKey(v any, args message.Table) string {
	if _, ok := v.(string); !ok {
		return unacceptableType(v)
	}
	if _, ok := args.Get(argDeadLetterExchange); !ok {
		return "routing_key_but_no_dlx_defined"
	}
	return ""
}

// wantOneOf accepts some strings only.
func wantOneOf(fault string, accepted ...string) func(any, message.Table) string {
	return func(v any, _ message.Table) string {
		s, ok := v.(string)
		switch {
		case !ok:
			return unacceptableType(v)
		case !slices.Contains(accepted, s):
			return fault
		}
		return ""
	}
}

// wantMaxAge accepts a positive number with a unit, such as 7D. RabbitMQ crashes
// with an INTERNAL_ERROR on values that do not begin with a digit; here they are
// refused like other bad ones.
func wantMaxAge(v any, _ message.Table) string {
	s, ok := v.(string)
	if !ok {
		return unacceptableType(v)
	}
	unit := strings.TrimLeft(s, "0123456789")
	digits := s[:len(s)-len(unit)]
	if len(unit) != 1 || !strings.Contains("YMDhms", unit) || strings.Trim(digits, "0") == "" {
		return "invalid_max_age"
	}
	return ""
}

func notInteger(v any) string {
	return fmt.Sprintf(`"expected integer, got %s"`, message.TypeName(v))
}
