package policy

import (
	"strconv"

	"github.com/warrenmq/warren/internal/erlang"
	"github.com/warrenmq/warren/message"
)

// term prints a value of a definition as RabbitMQ does, to which it comes from JSON:
// objects are maps, and null is a word.
func term(v any) string { return string(appendTerm(nil, v)) }

func appendTerm(b []byte, v any) []byte {
	if n, ok := message.Int(v); ok {
		return strconv.AppendInt(b, n, 10)
	}
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case float32:
		return erlang.AppendFloat(b, float64(v))
	case float64:
		return erlang.AppendFloat(b, v)
	case string:
		return erlang.AppendBinary(b, v)
	case []byte:
		return erlang.AppendBinary(b, string(v))
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendTerm(b, e)
		}
		return append(b, ']')
	case message.Table:
		b = append(b, "#{"...)
		for i, f := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(erlang.AppendBinary(b, f.Name), " => "...)
			b = appendTerm(b, f.Value)
		}
		return append(b, '}')
	}
	return append(b, message.TypeName(v)...)
}

// appendPairs prints the entries of a definition as RabbitMQ does: a list of pairs.
func appendPairs(b []byte, d message.Table) []byte {
	b = append(b, '[')
	for i, f := range d {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(erlang.AppendBinary(append(b, '{'), f.Name), ',')
		b = append(appendTerm(b, f.Value), '}')
	}
	return append(b, ']')
}
