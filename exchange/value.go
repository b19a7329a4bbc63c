package exchange

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/warrenmq/warren/message"
)

// looselyEqual compares two values as Erlang's == compares what RabbitMQ makes
// of them, forgetting their types: all integers and timestamps are integers,
// which equal floats of the same number; both kinds of strings are binaries;
// tables and arrays are lists (contract 04 §6.4).
func looselyEqual(a, b any) bool {
	if na, ok := integerOf(a); ok {
		if nb, ok := integerOf(b); ok {
			return na == nb
		}
		fb, ok := floatOf(b)
		return ok && equalsInteger(fb, na)
	}
	if fa, ok := floatOf(a); ok {
		if nb, ok := integerOf(b); ok {
			return equalsInteger(fa, nb)
		}
		fb, ok := floatOf(b)
		return ok && fa == fb
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case bool:
		return b == any(a)
	case message.Decimal:
		return b == any(a)
	case time.Time:
		b, ok := b.(time.Time)
		return ok && a.Unix() == b.Unix()
	case string:
		switch b := b.(type) {
		case string:
			return a == b
		case []byte:
			return a == string(b)
		}
	case []byte:
		switch b := b.(type) {
		case string:
			return string(a) == b
		case []byte:
			return bytes.Equal(a, b)
		}
	case message.Table:
		switch b := b.(type) {
		case message.Table:
			return equalTables(a, b)
		case []any:
			return len(a) == 0 && len(b) == 0
		}
	case []any:
		switch b := b.(type) {
		case []any:
			return slices.EqualFunc(a, b, equalElements)
		case message.Table:
			return len(a) == 0 && len(b) == 0
		}
	}
	return false
}

// Inside of tables and arrays the types are part of what is compared, and so
// is the order.

func equalTables(a, b message.Table) bool {
	return slices.EqualFunc(a, b, func(x, y message.Field) bool {
		return x.Name == y.Name && equalElements(x.Value, y.Value)
	})
}

func equalElements(a, b any) bool {
	return message.TypeName(a) == message.TypeName(b) && looselyEqual(a, b)
}

// integerOf gives integers and timestamps. A timestamp has no sign on the wire:
// one from 2^63 on, which Go has before 1970, equals no integer of another type.
func integerOf(v any) (int64, bool) {
	if t, ok := v.(time.Time); ok {
		n := t.Unix()
		return n, n >= 0
	}
	return message.Int(v)
}

func floatOf(v any) (float64, bool) {
	switch v := v.(type) {
	case float32:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// equalsInteger compares exactly: 2^53+1 is no float.
func equalsInteger(f float64, n int64) bool {
	m, ok := wholeOf(f)
	return ok && m == n
}

// wholeOf gives f as an integer if it is one.
func wholeOf(f float64) (int64, bool) {
	if f != math.Trunc(f) || f < math.MinInt64 || f >= -math.MinInt64 {
		return 0, false
	}
	return int64(f), true
}

// appendLoose appends something that is the same for all values that are
// loosely equal.
func appendLoose(dst []byte, v any) []byte {
	if n, ok := integerOf(v); ok {
		return binary.BigEndian.AppendUint64(append(dst, 'n'), uint64(n))
	}
	if f, ok := floatOf(v); ok {
		if n, ok := wholeOf(f); ok {
			return binary.BigEndian.AppendUint64(append(dst, 'n'), uint64(n))
		}
		return binary.BigEndian.AppendUint64(append(dst, 'f'), math.Float64bits(f))
	}
	switch v := v.(type) {
	case string:
		return append(append(dst, 's'), v...)
	case []byte:
		return append(append(dst, 's'), v...)
	case bool:
		return strconv.AppendBool(dst, v)
	case message.Decimal:
		return binary.BigEndian.AppendUint32(append(dst, 'd', v.Scale), v.Value)
	case time.Time:
		return binary.BigEndian.AppendUint64(append(dst, 'u'), uint64(v.Unix()))
	}
	return append(dst, 'l')
}

// erlangTerm prints a value as Erlang's ~p prints what RabbitMQ makes of it,
// but never breaks lines: it is for error texts, where RabbitMQ has it.
func erlangTerm(v any) string {
	if n, ok := integerOf(v); ok {
		return strconv.FormatInt(n, 10)
	}
	if f, ok := floatOf(v); ok {
		return erlangFloat(f)
	}
	switch v := v.(type) {
	case nil:
		return "undefined"
	case bool:
		return strconv.FormatBool(v)
	case string:
		return erlangBinary([]byte(v))
	case []byte:
		return erlangBinary(v)
	case time.Time:
		return strconv.FormatUint(uint64(v.Unix()), 10)
	case message.Decimal:
		return "{" + strconv.Itoa(int(v.Scale)) + "," + strconv.FormatUint(uint64(v.Value), 10) + "}"
	case message.Table:
		items := make([]string, len(v))
		for i, f := range v {
			items[i] = "{" + erlangBinary([]byte(f.Name)) + "," + message.TypeName(f.Value) + "," + erlangTerm(f.Value) + "}"
		}
		return "[" + strings.Join(items, ",") + "]"
	case []any:
		items := make([]string, len(v))
		for i, e := range v {
			items[i] = "{" + message.TypeName(e) + "," + erlangTerm(e) + "}"
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	return message.TypeName(v)
}

// erlangFloat prints the shortest digits that give f back, always with a point.
func erlangFloat(f float64) string {
	mantissa, exponent, scientific := strings.Cut(strconv.FormatFloat(f, 'g', -1, 64), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	if !scientific {
		return mantissa
	}
	// Go writes e+22 and e-09, Erlang e22 and e-9.
	sign := strings.TrimRight(exponent[:1], "+")
	return mantissa + "e" + sign + strings.TrimLeft(exponent[1:], "0")
}

// erlangBinary prints bytes as text if all of them are printable as Latin-1,
// else as numbers.
func erlangBinary(p []byte) string {
	const controls, letters = "\b\t\n\v\f\r\x1b", "btnvfre"
	if len(p) == 0 {
		return "<<>>"
	}
	text := make([]byte, 0, len(p)+len(`<<"">>`))
	text = append(text, `<<"`...)
	for _, c := range p {
		switch at := strings.IndexByte(controls, c); {
		case at >= 0:
			text = append(text, '\\', letters[at])
		case c == '"' || c == '\\':
			text = append(text, '\\', c)
		case c < ' ' || 0x7f <= c && c < 0xa0:
			return erlangBytes(p)
		default:
			text = append(text, c)
		}
	}
	return string(append(text, `">>`...))
}

func erlangBytes(p []byte) string {
	numbers := make([]string, len(p))
	for i, c := range p {
		numbers[i] = strconv.Itoa(int(c))
	}
	return "<<" + strings.Join(numbers, ",") + ">>"
}
