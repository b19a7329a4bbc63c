package message

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// MaxTableDepth is how deeply tables and arrays may nest in a field table: a
// flat table has depth 1. RabbitMQ knows no such limit; Warren has one, so that
// a few octets of input never cost a deep stack.
const MaxTableDepth = 64

// ErrBadTable is wrapped by every error about a field table that cannot be read
// or written: an unknown tag or Go type, an entry that runs past the end of the
// table, a float that is not finite, a name over 255 octets, too deep a nesting.
var ErrBadTable = errors.New("bad field table")

func badTable(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBadTable}, args...)...)
}

// DecodeTable reads the body of an encoded table, without the four octets of
// its length, in RabbitMQ's dialect (contract 01 §5). All of p must be entries
// of the table. Names and strings need not be UTF-8. The result shares no
// memory with p, and takes memory in proportion to it.
func DecodeTable(p []byte) (Table, error) { return decodeTable(p, 1) }

// FindField looks for the first field of that name in the body of an encoded
// table, and decodes its value only. Fields behind it are not looked at. It
// allocates nothing but the value it returns.
func FindField(body []byte, name string) (value any, ok bool, err error) {
	for len(body) > 0 {
		f, rest, err := nextField(body)
		if err != nil {
			return nil, false, err
		}
		if string(f.name) == name {
			value, err = decodeValue(f.tag, f.value, 1)
			return value, err == nil, err
		}
		body = rest
	}
	return nil, false, nil
}

// rawField is one entry of an encoded table, in place. The value is without its
// length, where the tag has one.
type rawField struct {
	name  []byte
	tag   byte
	value []byte
}

// nextField splits the first entry off a table body that is not empty. Its
// errors name the field, and nobody adds the fields around it: a long path would
// make the error's text many times as large as the input.
func nextField(p []byte) (f rawField, rest []byte, err error) {
	n := int(p[0])
	if n >= len(p) {
		return f, nil, badTable("a field's name runs past the end")
	}
	f.name = p[1 : 1+n]
	f.tag, f.value, rest, err = nextValue(p[1+n:])
	if err != nil {
		return f, nil, fmt.Errorf("field %q: %w", f.name, err)
	}
	return f, rest, nil
}

// nextValue splits the first tag and value off p. It checks all but what is
// inside of a nested table or array.
func nextValue(p []byte) (tag byte, value, rest []byte, err error) {
	if len(p) == 0 {
		return 0, nil, nil, badTable("value missing")
	}
	tag, p = p[0], p[1:]
	var size uint64
	switch tag {
	case 'V':
	case 't', 'b', 'B':
		size = 1
	case 's', 'u':
		size = 2
	case 'I', 'i', 'f':
		size = 4
	case 'D':
		size = 5
	case 'l', 'L', 'd', 'T':
		size = 8
	case 'S', 'x', 'A', 'F':
		if len(p) < 4 {
			return tag, nil, nil, badTable("length of tag %q runs past the end", tag)
		}
		size, p = uint64(binary.BigEndian.Uint32(p)), p[4:]
	default:
		return tag, nil, nil, badTable("unknown tag %q", tag)
	}
	if size > uint64(len(p)) {
		return tag, nil, nil, badTable("%d octets of tag %q run past the end", size, tag)
	}
	value, rest = p[:size], p[size:]
	if !finite(tag, value) {
		return tag, nil, nil, badTable("float is not finite")
	}
	return tag, value, rest, nil
}

// finite reports that the value is no float, or one that has a value: to
// RabbitMQ a NaN or an infinity cannot be parsed.
func finite(tag byte, value []byte) bool {
	switch tag {
	case 'f':
		const exponent = 0xff << 23
		return binary.BigEndian.Uint32(value)&exponent != exponent
	case 'd':
		const exponent = 0x7ff << 52
		return binary.BigEndian.Uint64(value)&exponent != exponent
	}
	return true
}

func decodeTable(p []byte, depth int) (Table, error) {
	if depth > MaxTableDepth {
		return nil, badTable("nested deeper than %d", MaxTableDepth)
	}
	t := make(Table, 0, countFields(p))
	for len(p) > 0 {
		f, rest, err := nextField(p)
		if err != nil {
			return nil, err
		}
		v, err := decodeValue(f.tag, f.value, depth)
		if err != nil {
			return nil, err
		}
		t = append(t, Field{Name: string(f.name), Value: v})
		p = rest
	}
	return t, nil
}

func decodeArray(p []byte, depth int) ([]any, error) {
	if depth > MaxTableDepth {
		return nil, badTable("nested deeper than %d", MaxTableDepth)
	}
	a := make([]any, 0, countValues(p))
	for len(p) > 0 {
		tag, value, rest, err := nextValue(p)
		if err != nil {
			return nil, err
		}
		v, err := decodeValue(tag, value, depth)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
		p = rest
	}
	return a, nil
}

// decodeValue reads a value that nextValue found well formed, at the given
// depth of nesting.
func decodeValue(tag byte, p []byte, depth int) (any, error) {
	switch tag {
	case 't':
		return p[0] != 0, nil
	case 'b':
		return int8(p[0]), nil
	case 'B':
		return p[0], nil
	case 's':
		return int16(binary.BigEndian.Uint16(p)), nil
	case 'u':
		return binary.BigEndian.Uint16(p), nil
	case 'I':
		return int32(binary.BigEndian.Uint32(p)), nil
	case 'i':
		return binary.BigEndian.Uint32(p), nil
	case 'l', 'L':
		return int64(binary.BigEndian.Uint64(p)), nil
	case 'f':
		return math.Float32frombits(binary.BigEndian.Uint32(p)), nil
	case 'd':
		return math.Float64frombits(binary.BigEndian.Uint64(p)), nil
	case 'D':
		return Decimal{Scale: p[0], Value: binary.BigEndian.Uint32(p[1:])}, nil
	case 'S':
		return string(p), nil
	case 'x':
		return append([]byte{}, p...), nil
	case 'T':
		return timeOf(binary.BigEndian.Uint64(p)), nil
	case 'F':
		return decodeTable(p, depth+1)
	case 'A':
		return decodeArray(p, depth+1)
	}
	return nil, nil // V, the last tag that nextValue lets pass
}

// checkTable finds the errors that DecodeTable would find, without allocating.
func checkTable(p []byte, depth int) error {
	if depth > MaxTableDepth {
		return badTable("nested deeper than %d", MaxTableDepth)
	}
	for len(p) > 0 {
		f, rest, err := nextField(p)
		if err != nil {
			return err
		}
		if err := checkValue(f.tag, f.value, depth); err != nil {
			return err
		}
		p = rest
	}
	return nil
}

func checkArray(p []byte, depth int) error {
	if depth > MaxTableDepth {
		return badTable("nested deeper than %d", MaxTableDepth)
	}
	for len(p) > 0 {
		tag, value, rest, err := nextValue(p)
		if err == nil {
			err = checkValue(tag, value, depth)
		}
		if err != nil {
			return err
		}
		p = rest
	}
	return nil
}

func checkValue(tag byte, p []byte, depth int) error {
	switch tag {
	case 'F':
		return checkTable(p, depth+1)
	case 'A':
		return checkArray(p, depth+1)
	}
	return nil
}

// countFields counts the entries of a table body up to the first bad one, so
// that the table can be made in its final size. It does not enter nested
// tables: together the counts of all levels look at each entry once.
func countFields(p []byte) (n int) {
	for len(p) > 0 {
		_, rest, err := nextField(p)
		if err != nil {
			break
		}
		n++
		p = rest
	}
	return n
}

func countValues(p []byte) (n int) {
	for len(p) > 0 {
		_, _, rest, err := nextValue(p)
		if err != nil {
			break
		}
		n++
		p = rest
	}
	return n
}

// timeOf and secondsOf are each other's inverse for every 64-bit number of
// seconds: package time lets seconds wrap around, and so do they.
func timeOf(seconds uint64) time.Time { return time.Unix(int64(seconds), 0).UTC() }

func secondsOf(t time.Time) uint64 { return uint64(t.Unix()) }
