// Package erlang prints values as Erlang does, for the texts in which RabbitMQ has
// them.
package erlang

import (
	"math"
	"strconv"
	"strings"
)

// AppendBinary prints a string as an Erlang binary: <<"abc">>, or <<1,2>> if an octet
// of it is not printable.
func AppendBinary(b []byte, s string) []byte {
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

// AppendString prints a string as an Erlang string: "abc", or [1,2] if an octet of it
// is not printable.
func AppendString(b []byte, s string) []byte {
	if printable(s) {
		return appendQuoted(b, s)
	}
	return append(appendOctets(append(b, '['), s), ']')
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

// AppendFloat prints the shortest digits that read back as f, with an exponent
// where that is shorter or where f is beyond the exact integers.
func AppendFloat(b []byte, f float64) []byte {
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
