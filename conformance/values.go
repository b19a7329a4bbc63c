package conformance

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// value is one typed field-table value. The tag is the one RabbitMQ uses on the
// wire; v holds bool, int64, float64, string, table, []value, decimal or nil.
type value struct {
	tag byte
	v   any
}

// table keeps the order in which its entries were written.
type table []entry

type entry struct {
	key   string
	value value
}

type decimal struct {
	scale byte
	n     uint32
}

// fields are the arguments of a method or the properties of a content, by
// name: uint64, string, bool or table.
type fields map[string]any

// str gives a string field, and "" if there is none.
func (f fields) str(name string) string {
	s, _ := f[name].(string)
	return s
}

// num gives an integer field, and 0 if there is none.
func (f fields) num(name string) uint64 {
	n, _ := f[name].(uint64)
	return n
}

// errShort means that a frame ended inside a value.
var errShort = errors.New("short data")

// encoder appends AMQP values to a buffer. It refuses only what cannot be put
// on the wire at all, since scenarios send wrong things on purpose.
type encoder struct{ bytes.Buffer }

func (w *encoder) u8(v byte)    { w.WriteByte(v) }
func (w *encoder) u16(v uint16) { w.Write(binary.BigEndian.AppendUint16(nil, v)) }
func (w *encoder) u32(v uint32) { w.Write(binary.BigEndian.AppendUint32(nil, v)) }
func (w *encoder) u64(v uint64) { w.Write(binary.BigEndian.AppendUint64(nil, v)) }

func (w *encoder) shortstr(s string) error {
	if len(s) > math.MaxUint8 {
		return fmt.Errorf("short string of %d bytes", len(s))
	}
	w.u8(byte(len(s)))
	w.WriteString(s)
	return nil
}

func (w *encoder) longstr(s string) {
	w.u32(uint32(len(s)))
	w.WriteString(s)
}

func (w *encoder) table(t table) error {
	var b encoder
	for _, e := range t {
		if err := b.shortstr(e.key); err != nil {
			return err
		}
		if err := b.value(e.value); err != nil {
			return err
		}
	}
	w.longstr(b.String())
	return nil
}

// array writes the elements of an 'A' value.
func (w *encoder) array(list []value) error {
	var b encoder
	for _, e := range list {
		if err := b.value(e); err != nil {
			return err
		}
	}
	w.longstr(b.String())
	return nil
}

// value writes the tag and what follows it. A value whose content does not fit
// its tag is a mistake in the program, not in a scenario, and gives an error.
func (w *encoder) value(v value) error {
	w.u8(v.tag)
	switch x := v.v.(type) {
	case bool:
		if x {
			w.u8(1)
		} else {
			w.u8(0)
		}
	case int64:
		return w.integer(v.tag, x)
	case float64:
		if v.tag == 'f' {
			w.u32(math.Float32bits(float32(x)))
		} else {
			w.u64(math.Float64bits(x))
		}
	case decimal:
		w.u8(x.scale)
		w.u32(x.n)
	case string:
		if v.tag == 'S' || v.tag == 'x' {
			w.longstr(x)
		} else { // an unknown tag, sent on purpose: raw bytes follow it
			w.WriteString(x)
		}
	case []value:
		return w.array(x)
	case table:
		return w.table(x)
	case nil:
	default:
		return fmt.Errorf("cannot encode %T with tag %q", v.v, v.tag)
	}
	return nil
}

func (w *encoder) integer(tag byte, n int64) error {
	switch tag {
	case 'b', 'B':
		w.u8(byte(n))
	case 's', 'u':
		w.u16(uint16(n))
	case 'I', 'i':
		w.u32(uint32(n))
	case 'l', 'L', 'T':
		w.u64(uint64(n))
	default:
		return fmt.Errorf("tag %q takes no integer", tag)
	}
	return nil
}

// field writes a method argument or property of the given domain; a missing
// one is the zero of its domain.
func (w *encoder) field(domain string, v any) error {
	num, _ := v.(uint64)
	str, _ := v.(string)
	switch domain {
	case "octet":
		w.u8(byte(num))
	case "short":
		w.u16(uint16(num))
	case "long":
		w.u32(uint32(num))
	case "longlong", "timestamp":
		w.u64(num)
	case "shortstr":
		return w.shortstr(str)
	case "longstr":
		w.longstr(str)
	case "table":
		t, _ := v.(table)
		return w.table(t)
	default:
		return fmt.Errorf("unknown domain %q", domain)
	}
	return nil
}

// decoder takes AMQP values off a buffer. After the first error it gives zeros
// and err keeps the reason, so that callers check once at the end.
type decoder struct {
	b   []byte
	err error
}

// take gives the next n bytes, and zeros once there are not so many left.
func (r *decoder) take(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.b)) {
		r.err = errShort
	}
	if r.err != nil {
		return make([]byte, min(max(n, 0), 8))
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *decoder) u8() byte    { return r.take(1)[0] }
func (r *decoder) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *decoder) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *decoder) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *decoder) str(n int) string {
	p := r.take(n)
	if r.err != nil {
		return ""
	}
	return string(p)
}

func (r *decoder) shortstr() string { return r.str(int(r.u8())) }
func (r *decoder) longstr() string  { return r.str(int(r.u32())) }

// sub gives a decoder for the next length-prefixed block.
func (r *decoder) sub() *decoder {
	return &decoder{b: []byte(r.longstr()), err: r.err}
}

func (r *decoder) table() table {
	sub := r.sub()
	t := table{}
	for sub.err == nil && len(sub.b) > 0 {
		key := sub.shortstr()
		t = append(t, entry{key, sub.value()})
	}
	r.err = sub.err
	return t
}

func (r *decoder) array() []value {
	sub := r.sub()
	list := []value{}
	for sub.err == nil && len(sub.b) > 0 {
		list = append(list, sub.value())
	}
	r.err = sub.err
	return list
}

func (r *decoder) value() value {
	v := value{tag: r.u8()}
	switch v.tag {
	case 't':
		v.v = r.u8() != 0
	case 'b':
		v.v = int64(int8(r.u8()))
	case 'B':
		v.v = int64(r.u8())
	case 's':
		v.v = int64(int16(r.u16()))
	case 'u':
		v.v = int64(r.u16())
	case 'I':
		v.v = int64(int32(r.u32()))
	case 'i':
		v.v = int64(r.u32())
	case 'l', 'L', 'T':
		v.v = int64(r.u64())
	case 'f':
		v.v = float64(math.Float32frombits(r.u32()))
	case 'd':
		v.v = math.Float64frombits(r.u64())
	case 'D':
		v.v = decimal{r.u8(), r.u32()}
	case 'S', 'x':
		v.v = r.longstr()
	case 'A':
		v.v = r.array()
	case 'F':
		v.v = r.table()
	case 'V':
	default:
		if r.err == nil {
			r.err = fmt.Errorf("unknown field type %q", v.tag)
		}
	}
	return v
}

func (r *decoder) field(domain string) any {
	switch domain {
	case "octet":
		return uint64(r.u8())
	case "short":
		return uint64(r.u16())
	case "long":
		return uint64(r.u32())
	case "longlong", "timestamp":
		return r.u64()
	case "shortstr":
		return r.shortstr()
	case "longstr":
		return r.longstr()
	default:
		return r.table()
	}
}
