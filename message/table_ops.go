package message

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"time"
)

// Int gives the value of any integer type of a field as an int64: all that
// RabbitMQ takes where an argument asks for an integer (contract 01 §5). A
// decimal and a float are none, and neither is a uint or uint64 over the
// largest int64, which no table can hold.
func Int(v any) (n int64, ok bool) {
	switch v := v.(type) {
	case int8:
		return int64(v), true
	case uint8:
		return int64(v), true
	case int16:
		return int64(v), true
	case uint16:
		return int64(v), true
	case int32:
		return int64(v), true
	case uint32:
		return int64(v), true
	case int64:
		return v, true
	case int:
		return int64(v), true
	case uint:
		return int64(v), uint64(v) <= math.MaxInt64
	case uint64:
		return int64(v), v <= math.MaxInt64
	}
	return 0, false
}

// TypeName is RabbitMQ's internal name of the type of a field's value, as its
// error texts have it: longstr, signedint, bool and so on (contract 01 §5). A
// value that no table can hold has the name "unsupported".
func TypeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "void"
	case bool:
		return "bool"
	case int8:
		return "byte"
	case uint8:
		return "unsignedbyte"
	case int16:
		return "short"
	case uint16:
		return "unsignedshort"
	case int32:
		return "signedint"
	case uint32:
		return "unsignedint"
	case int64:
		return "long"
	case int, uint, uint64:
		if n, ok := Int(v); ok {
			return TypeName(shortest(n))
		}
	case float32:
		return "float"
	case float64:
		return "double"
	case Decimal:
		return "decimal"
	case string:
		return "longstr"
	case []byte:
		return "binary"
	case time.Time:
		return "timestamp"
	case Table:
		return "table"
	case []any:
		return "array"
	}
	return "unsupported"
}

// Equal reports whether both tables hold the same fields in the same order,
// each with the same type and value: whether their encodings are the same. A
// nil table equals an empty one. A value that no table can hold equals none.
func (t Table) Equal(u Table) bool {
	return slices.EqualFunc(t, u, func(a, b Field) bool {
		return a.Name == b.Name && equalValue(a.Value, b.Value)
	})
}

func equalValue(a, b any) bool {
	a, b = canonical(a), canonical(b)
	switch a := a.(type) {
	case nil, bool, int8, uint8, int16, uint16, int32, uint32, int64, Decimal, string:
		return a == b
	case float32:
		b, ok := b.(float32)
		return ok && math.Float32bits(a) == math.Float32bits(b)
	case float64:
		b, ok := b.(float64)
		return ok && math.Float64bits(a) == math.Float64bits(b)
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case time.Time:
		b, ok := b.(time.Time)
		return ok && secondsOf(a) == secondsOf(b)
	case Table:
		b, ok := b.(Table)
		return ok && a.Equal(b)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equalValue)
	}
	return false
}

// canonical gives the integer types that are only a convenience in the type
// they are written with.
func canonical(v any) any {
	switch v.(type) {
	case int, uint, uint64:
		if n, ok := Int(v); ok {
			return shortest(n)
		}
	}
	return v
}

// Sorted gives the table's fields sorted by name, as RabbitMQ sorts the tables
// it edits (contract 01 §5). Fields of the same name keep their order, nested
// tables theirs. The result is a new table with the same values.
func (t Table) Sorted() Table {
	s := slices.Clone(t)
	slices.SortStableFunc(s, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// With gives the table with a field set: the first one of that name, or a new one.
// The fields are sorted by name, as RabbitMQ does it to a table that it sets a field
// of. t is not changed.
func (t Table) With(name string, value any) Table {
	s := slices.Clone(t)
	f := Field{Name: name, Value: value}
	if i := slices.IndexFunc(s, func(f Field) bool { return f.Name == name }); i >= 0 {
		s[i] = f
	} else {
		s = append(s, f)
	}
	return s.Sorted()
}

// Clone gives a copy that shares nothing that can change with t. Values must
// not contain themselves.
func (t Table) Clone() Table {
	if t == nil {
		return nil
	}
	c := make(Table, len(t))
	for i, f := range t {
		c[i] = Field{Name: f.Name, Value: cloneValue(f.Value)}
	}
	return c
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case []byte:
		return bytes.Clone(v)
	case Table:
		return v.Clone()
	case []any:
		if v == nil {
			return v
		}
		c := make([]any, len(v))
		for i := range v {
			c[i] = cloneValue(v[i])
		}
		return c
	}
	return v
}
