package queue

import (
	"math"
	"strconv"
	"strings"
	"time"

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
		return appendFloat(b, f)
	}
	switch v := v.(type) {
	case nil:
		return append(b, "undefined"...)
	case bool:
		return strconv.AppendBool(b, v)
	case string:
		return appendBinary(b, v)
	case []byte:
		return appendBinary(b, string(v))
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
			return appendTyped(append(appendBinary(b, v[i].Name), ','), v[i].Value)
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

func appendBinary(b []byte, s string) []byte {
	if s == "" {
		return append(b, "<<>>"...)
	}
	b = append(b, "<<"...)
	if printable(s) {
		b = appendQuoted(b, s)
	} else {
		b = appendOctets(b, s)
	}
	return append(b, ">>"...)
}

// quoted prints a message as an Erlang string, which is a list of octets if one
// of them is not printable.
func quoted(s string) string {
	if printable(s) {
		return string(appendQuoted(nil, s))
	}
	return string(append(appendOctets([]byte{'['}, s), ']'))
}

// printable reports whether Erlang prints s as characters. It looks at octets
// as Latin-1, whatever they mean.
func printable(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c <= '~' || c >= 0xA0 || escape(c) != 0 {
			continue
		}
		return false
	}
	return true
}

// escape gives the letter after the backslash for an octet that needs one, 0
// for others.
func escape(c byte) byte {
	switch c {
	case '\n':
		return 'n'
	case '\r':
		return 'r'
	case '\t':
		return 't'
	case '\v':
		return 'v'
	case '\b':
		return 'b'
	case '\f':
		return 'f'
	case 0x1B:
		return 'e'
	case '"', '\\':
		return c
	}
	return 0
}

func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if e := escape(s[i]); e != 0 {
			b = append(b, '\\', e)
		} else {
			b = append(b, s[i])
		}
	}
	return append(b, '"')
}

func appendOctets(b []byte, s string) []byte {
	for i := range len(s) {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(s[i]), 10)
	}
	return b
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

// appendFloat prints the shortest digits that read back as f, with an exponent
// where that is shorter or where f is beyond the exact integers.
func appendFloat(b []byte, f float64) []byte {
	const exactIntegers = 1 << 53
	mantissa, exp, ok := strings.Cut(strconv.FormatFloat(math.Abs(f), 'e', -1, 64), "e")
	if !ok {
		return strconv.AppendFloat(b, f, 'g', -1, 64) // not a number, or infinite
	}
	if math.Signbit(f) {
		b = append(b, '-')
	}
	digits := strings.Replace(mantissa, ".", "", 1)
	exponent, err := strconv.Atoi(exp)
	if err != nil || f == 0 {
		return append(b, "0.0"...)
	}
	place := exponent + 1 // of the decimal point, from the first digit
	cost := len(strconv.Itoa(exponent)) + 2
	if len(digits) == 1 {
		cost++
	}
	switch {
	case place > 0 && place < len(digits):
		b = append(b, digits[:place]...)
		return append(append(b, '.'), digits[place:]...)
	case place <= 0 && (place == 0 || 2-place <= cost):
		b = append(append(b, "0."...), strings.Repeat("0", -place)...)
		return append(b, digits...)
	case place > 0 && place-len(digits)+2 <= cost && math.Abs(f) < exactIntegers:
		b = append(append(b, digits...), strings.Repeat("0", place-len(digits))...)
		return append(b, ".0"...)
	}
	b = append(append(b, digits[0]), '.')
	if len(digits) == 1 {
		b = append(b, '0')
	}
	b = append(append(b, digits[1:]...), 'e')
	return strconv.AppendInt(b, int64(exponent), 10)
}
