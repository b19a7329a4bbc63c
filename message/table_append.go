package message

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// maxName is the longest name of a field and the longest shortstr, in octets.
const maxName = 255

// AppendTable appends the encoded table with the four octets of its length
// before it. Values are of the Go types that Table lists; an int, uint or
// uint64 is written as I when it fits and as l otherwise. Times are written in
// whole seconds.
//
// An error wraps ErrBadTable and says which field cannot be written and why;
// dst is then returned as it was.
func AppendTable(dst []byte, t Table) ([]byte, error) {
	out, err := appendTable(dst, t, 1)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// AppendTableBody is AppendTable without the length, as in the response of the
// AMQPLAIN mechanism.
func AppendTableBody(dst []byte, t Table) ([]byte, error) {
	out, err := appendFields(dst, t, 1)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// The functions below give nil with an error.

func appendTable(dst []byte, t Table, depth int) ([]byte, error) {
	start := len(dst)
	dst, err := appendFields(append(dst, 0, 0, 0, 0), t, depth)
	if err != nil {
		return nil, err
	}
	return putLength(dst, start)
}

func appendFields(dst []byte, t Table, depth int) ([]byte, error) {
	if depth > MaxTableDepth {
		return nil, badTable("nested deeper than %d", MaxTableDepth)
	}
	for _, f := range t {
		if len(f.Name) > maxName {
			return nil, fmt.Errorf("field %.32q…: %w", f.Name,
				badTable("name of %d octets, the longest is %d", len(f.Name), maxName))
		}
		dst = append(dst, byte(len(f.Name)))
		dst = append(dst, f.Name...)
		var err error
		if dst, err = appendValue(dst, f.Value, depth); err != nil {
			return nil, fmt.Errorf("field %q: %w", f.Name, err)
		}
	}
	return dst, nil
}

func appendArray(dst []byte, a []any, depth int) ([]byte, error) {
	if depth > MaxTableDepth {
		return nil, badTable("nested deeper than %d", MaxTableDepth)
	}
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	for i, v := range a {
		var err error
		if dst, err = appendValue(dst, v, depth); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return putLength(dst, start)
}

// appendValue appends tag and value at the given depth of nesting.
func appendValue(dst []byte, v any, depth int) ([]byte, error) {
	be := binary.BigEndian
	switch v := v.(type) {
	case nil:
		return append(dst, 'V'), nil
	case bool:
		if v {
			return append(dst, 't', 1), nil
		}
		return append(dst, 't', 0), nil
	case int8:
		return append(dst, 'b', byte(v)), nil
	case uint8:
		return append(dst, 'B', v), nil
	case int16:
		return be.AppendUint16(append(dst, 's'), uint16(v)), nil
	case uint16:
		return be.AppendUint16(append(dst, 'u'), v), nil
	case int32:
		return be.AppendUint32(append(dst, 'I'), uint32(v)), nil
	case uint32:
		return be.AppendUint32(append(dst, 'i'), v), nil
	case int64:
		return be.AppendUint64(append(dst, 'l'), uint64(v)), nil
	case int, uint, uint64:
		n, ok := Int(v)
		if !ok {
			return nil, badTable("%d is more than the largest long", v)
		}
		return appendValue(dst, shortest(n), depth)
	case float32:
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, badTable("float is not finite")
		}
		return be.AppendUint32(append(dst, 'f'), math.Float32bits(v)), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, badTable("float is not finite")
		}
		return be.AppendUint64(append(dst, 'd'), math.Float64bits(v)), nil
	case Decimal:
		return be.AppendUint32(append(dst, 'D', v.Scale), v.Value), nil
	case string:
		return appendBytes(append(dst, 'S'), v)
	case []byte:
		return appendBytes(append(dst, 'x'), v)
	case time.Time:
		return be.AppendUint64(append(dst, 'T'), secondsOf(v)), nil
	case Table:
		return appendTable(append(dst, 'F'), v, depth+1)
	case []any:
		return appendArray(append(dst, 'A'), v, depth+1)
	}
	return nil, badTable("no field type for Go type %T", v)
}

func appendBytes[B string | []byte](dst []byte, v B) ([]byte, error) {
	start := len(dst)
	return putLength(append(append(dst, 0, 0, 0, 0), v...), start)
}

// putLength writes the length of what begins four octets behind start into
// those four octets.
func putLength(dst []byte, start int) ([]byte, error) {
	n := uint64(len(dst) - start - 4)
	if n > math.MaxUint32 {
		return nil, badTable("value of %d octets, the longest is %d", n, uint32(math.MaxUint32))
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(n))
	return dst, nil
}

// shortest gives n in the Go type by which an int is written.
func shortest(n int64) any {
	if n == int64(int32(n)) {
		return int32(n)
	}
	return n
}
