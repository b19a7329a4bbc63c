package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/warrenmq/warren/message"
)

// normal gives a copy of a definition that is sorted by key and has one Go type for
// integers, as two definitions are the same for RabbitMQ whatever either of these is.
func normal(d message.Table) message.Table {
	d = d.Clone()
	for i := range d {
		d[i].Value = normalValue(d[i].Value)
	}
	slices.SortStableFunc(d, func(x, y message.Field) int { return strings.Compare(x.Name, y.Name) })
	return d
}

func normalValue(v any) any {
	if n, ok := message.Int(v); ok {
		return n
	}
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return v
}

// rule says which values a key takes.
type rule struct {
	// fits reports whether a value is valid.
	fits func(v any) bool
	// what is the key in the text for those that are not.
	what string
}

// ruleOf gives the rule for a key, of those that RabbitMQ 3.10 checks one by one, and
// consumer-timeout, which is there from 3.12 on.
func ruleOf(key string) (r rule, ok bool) {
	switch key {
	case "alternate-exchange":
		r = rule{text, "alternate exchange name"}
	case "consumer-timeout":
		r = rule{from(0), "consumer timeout"}
	case "dead-letter-exchange":
		r = rule{text, "dead letter exchange name"}
	case "dead-letter-routing-key":
		r = rule{text, "dead letter routing key"}
	case "dead-letter-strategy":
		r = rule{oneOf("at-most-once", "at-least-once"), "dead letter strategy"}
	case "delivery-limit":
		r = rule{from(0), "delivery limit"}
	case "expires":
		r = rule{from(1), "queue expiry"}
	case "initial-cluster-size":
		r = rule{from(0), "cluster size"}
	case "max-age":
		r = rule{age, "max age"}
	case "max-in-memory-bytes", "max-in-memory-length":
		r = rule{from(0), "maximum memory in bytes"}
	case "max-length":
		r = rule{from(0), "maximum length"}
	case "max-length-bytes":
		r = rule{from(0), "maximum length in bytes"}
	case "message-ttl":
		r = rule{from(0), "message TTL"}
	case "overflow":
		r = rule{oneOf("drop-head", "reject-publish", "reject-publish-dlx"), "overflow value"}
	case "queue-leader-locator":
		r = rule{oneOf("client-local", "balanced", "random", "least-leaders"), "queue leader locator value"}
	case "queue-mode":
		r = rule{oneOf("default", "lazy"), "queue-mode value"}
	case "queue-version":
		r = rule{oneOf(int64(1), int64(2)), "queue-version value"}
	case "stream-max-segment-size-bytes":
		r = rule{between(0, maxSegmentSize), "segment size"}
	}
	return r, r.fits != nil
}

// maxSegmentSize is the largest segment of a stream, in octets.
const maxSegmentSize = 3_000_000_000

// forOperators are the keys that an operator's policy may have.
func forOperators(key string) bool {
	switch key {
	case "delivery-limit", "expires", "max-in-memory-bytes", "max-in-memory-length",
		"max-length", "max-length-bytes", "message-ttl":
		return true
	}
	return false
}

// needsSupport reports whether only queues whose type knows a key may have a policy
// with it. Of the others one is for exchanges, and one for the channels of consumers.
func needsSupport(key string) bool { return key != "alternate-exchange" && key != "consumer-timeout" }

func text(v any) bool {
	_, ok := v.(string)
	return ok
}

func from(lowest int64) func(any) bool {
	return func(v any) bool {
		n, ok := v.(int64)
		return ok && n >= lowest
	}
}

func between(lowest, highest int64) func(any) bool {
	return func(v any) bool {
		n, ok := v.(int64)
		return ok && n >= lowest && n <= highest
	}
}

func oneOf[T comparable](these ...T) func(any) bool {
	return func(v any) bool {
		t, ok := v.(T)
		return ok && slices.Contains(these, t)
	}
}

// age reports whether v is a number above 0 and a unit, as for x-max-age.
func age(v any) bool {
	s, _ := v.(string)
	digits := strings.TrimRight(s, "YMDhms")
	number := strings.TrimLeft(digits, "0")
	return len(s) == len(digits)+1 && number != "" && strings.Trim(number, "0123456789") == ""
}

// checkDefinition gives what RabbitMQ says of a definition, sorted by key, that it
// refuses: the first value that is wrong, or else all keys that it does not know.
func checkDefinition(k Kind, d message.Table) string {
	if len(d) == 0 {
		return "no policy provided"
	}
	if twice := duplicates(d); len(twice) > 0 {
		return term(twice) + " duplicate keys not allowed"
	}
	if fault := checkLocator(k, d); fault != "" {
		return fault
	}
	var unknown, mirroring message.Table
	for _, f := range d {
		switch r, ok := ruleOf(f.Name); {
		case k == Operator && !forOperators(f.Name):
			unknown = append(unknown, f)
		case ok:
			if !r.fits(f.Value) {
				return term(f.Value) + " is not a valid " + r.what
			}
		case f.Name == masterLocator: // checked
		case ofMirroring(f.Name):
			mirroring = append(mirroring, f)
		default:
			unknown = append(unknown, f)
		}
	}
	return cmp.Or(checkMirroring(mirroring), checkUnknown(unknown))
}

// masterLocator is the key for where a queue is placed in a cluster.
const masterLocator = "queue-master-locator"

// checkLocator gives what RabbitMQ says of a placement that it refuses, before it looks
// at anything else.
func checkLocator(k Kind, d message.Table) string {
	v, ok := d.Get(masterLocator)
	if !ok || k == Operator || oneOf("min-masters", "client-local", "random")(v) {
		return ""
	}
	return term(v) + " invalid queue-master-locator value"
}

func checkUnknown(d message.Table) string {
	if len(d) == 0 {
		return ""
	}
	return string(appendPairs(nil, d)) + " are not recognised policy settings"
}

func duplicates(d message.Table) []any {
	var twice []any
	for i := range d {
		if i > 0 && d[i].Name == d[i-1].Name {
			twice = append(twice, d[i].Name)
		}
	}
	return twice
}
