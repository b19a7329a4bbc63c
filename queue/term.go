package queue

import (
	"strconv"
	"time"

	"github.com/warrenmq/warren/internal/erlang"
	"github.com/warrenmq/warren/message"
)

// RabbitMQ prints values into its error texts as Erlang terms. What follows
// prints the same, but on one line where Erlang would break a long table.

// plain prints a value on its own: strings as they are, others as terms.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return term(v)
}

// term prints a table value as an Erlang term.
func term(v any) string { return string(appendTerm(nil, v)) }

func appendTerm(b []byte, v any) []byte {
	if n, ok := message.Int(v); ok {
		return strconv.AppendInt(b, n, 10)
	}
	if f, ok := floatOf(v); ok {
		return erlang.AppendFloat(b, f)
	}
	switch v := v.(type) {
	case nil:
		return append(b, "undefined"...)
	case bool:
		return strconv.AppendBool(b, v)
	case string:
		return erlang.AppendBinary(b, v)
	case []byte:
		return erlang.AppendBinary(b, string(v))
	case time.Time:
		return strconv.AppendUint(b, uint64(v.Unix()), 10)
	case message.Decimal:
		b = append(b, '{')
		b = strconv.AppendUint(b, uint64(v.Scale), 10)
		b = append(b, ',')
		b = strconv.AppendUint(b, uint64(v.Value), 10)
		return append(b, '}')
	case []any:
		return appendList(b, len(v), func(b []byte, i int) []byte {
			return appendTyped(b, v[i])
		})
	case message.Table:
		return appendList(b, len(v), func(b []byte, i int) []byte {
			return appendTyped(append(erlang.AppendBinary(b, v[i].Name), ','), v[i].Value)
		})
	}
	// Values of other types do not get into a table: the codec makes none and
	// the Go API refuses them.
	return append(b, message.TypeName(v)...)
}

func appendList(b []byte, n int, element func([]byte, int) []byte) []byte {
	b = append(b, '[')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(element(append(b, '{'), i), '}')
	}
	return append(b, ']')
}

func appendTyped(b []byte, v any) []byte {
	b = append(b, message.TypeName(v)...)
	return appendTerm(append(b, ','), v)
}

// quoted prints a message as an Erlang string, which is a list of octets if one
// of them is not printable.
func quoted(s string) string { return string(erlang.AppendString(nil, s)) }

func floatOf(v any) (float64, bool) {
	switch v := v.(type) {
	case float32:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}
