package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/warrenmq/warren/message"
)

// Method is a method with its arguments. All types of this package that are
// named after a method implement it with their pointer.
type Method interface {
	// ID names the method.
	ID() ID
	// Decode reads the arguments, which are a method frame's payload after the
	// four octets of the ID. All of args must be arguments. Fields of type
	// []byte alias args; everything else is a copy.
	//
	// Like RabbitMQ it first looks at the shape and gives a *DecodeError, then
	// at the UTF-8 of strings (ErrUTF8), then into tables
	// (message.ErrBadTable). After an error the fields are of no use.
	Decode(args []byte) error
	// Append appends a method frame's payload: the four octets of the ID and
	// the arguments. It fails if a string is longer than its type allows
	// (ErrTooLong) or a table cannot be written (message.ErrBadTable), and
	// then returns dst as it was.
	Append(dst []byte) ([]byte, error)
}

// MethodID reads the ID at the beginning of a method frame's payload. ok is
// false if the payload is too short for one.
func MethodID(payload []byte) (id ID, ok bool) {
	if len(payload) < 4 {
		return 0, false
	}
	return ID(binary.BigEndian.Uint32(payload)), true
}

// Decode reads the payload of a method frame. Besides the errors of
// Method.Decode it gives ErrShortMethod and ErrUnknownMethod.
func Decode(payload []byte) (Method, error) {
	id, ok := MethodID(payload)
	if !ok {
		return nil, ErrShortMethod
	}
	m, ok := New(id)
	if !ok {
		return nil, fmt.Errorf("%w %s", ErrUnknownMethod, id)
	}
	if err := m.Decode(payload[4:]); err != nil {
		return nil, err
	}
	return m, nil
}

// reader takes arguments off the front of rest. Once they end too early it
// gives zeros, and end gives the error.
type reader struct {
	id    ID
	args  []byte
	rest  []byte
	short bool
}

// take gives the next n octets, or nil if there are fewer.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.short, r.rest = true, nil
		return nil
	}
	p := r.rest[:n:n]
	r.rest = r.rest[n:]
	return p
}

func (r *reader) u8() uint8 {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if p := r.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if p := r.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if p := r.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (r *reader) shortstr() []byte { return r.take(uint64(r.u8())) }

func (r *reader) longstr() []byte { return r.take(uint64(r.u32())) }

// end checks that the arguments filled the payload.
func (r *reader) end() error {
	if r.short || len(r.rest) > 0 {
		return &DecodeError{ID: r.id, Args: r.args}
	}
	return nil
}

func (r *reader) utf8(argument string, p []byte) (string, error) {
	if !utf8.Valid(p) && !erlangUTF8(p) {
		return "", argumentError(r.id, argument, ErrUTF8)
	}
	return string(p), nil
}

// erlangUTF8 says whether RabbitMQ takes p for UTF-8 (contract 01 §3): it lets
// surrogates pass, and code points beyond the last that four octets can hold.
func erlangUTF8(p []byte) bool {
	for len(p) > 0 {
		size, least := 1, rune(0)
		code := rune(p[0])
		switch {
		case p[0] < 0x80:
		case p[0]&0xe0 == 0xc0:
			size, least, code = 2, 1<<7, code&0x1f
		case p[0]&0xf0 == 0xe0:
			size, least, code = 3, 1<<11, code&0x0f
		case p[0]&0xf8 == 0xf0:
			size, least, code = 4, 1<<16, code&0x07
		default:
			return false
		}
		if len(p) < size {
			return false
		}
		for _, b := range p[1:size] {
			if b&0xc0 != 0x80 {
				return false
			}
			code = code<<6 | rune(b&0x3f)
		}
		if code < least {
			return false
		}
		p = p[size:]
	}
	return true
}

func (r *reader) table(argument string, p []byte) (message.Table, error) {
	if len(p) == 0 {
		return nil, nil
	}
	t, err := message.DecodeTable(p)
	if err != nil {
		return nil, argumentError(r.id, argument, err)
	}
	return t, nil
}

func argumentError(id ID, argument string, err error) error {
	return fmt.Errorf("wire: %s: %s: %w", id, argument, err)
}

// writer appends arguments to out until the first error, which result gives.
type writer struct {
	id  ID
	dst []byte
	out []byte
	err error
}

func newWriter(id ID, dst []byte) writer {
	return writer{id: id, dst: dst, out: binary.BigEndian.AppendUint32(dst, uint32(id))}
}

func (w *writer) u8(v uint8)   { w.out = append(w.out, v) }
func (w *writer) u16(v uint16) { w.out = binary.BigEndian.AppendUint16(w.out, v) }
func (w *writer) u32(v uint32) { w.out = binary.BigEndian.AppendUint32(w.out, v) }
func (w *writer) u64(v uint64) { w.out = binary.BigEndian.AppendUint64(w.out, v) }

// bits writes a run of bit arguments, the first as the lowest bit.
func (w *writer) bits(bits ...bool) {
	var v uint8
	for i, bit := range bits {
		if bit {
			v |= 1 << i
		}
	}
	w.u8(v)
}

func (w *writer) fail(argument string, err error) {
	if w.err == nil {
		w.err = argumentError(w.id, argument, err)
	}
}

func (w *writer) shortstr(argument, s string) {
	if len(s) > math.MaxUint8 {
		w.fail(argument, fmt.Errorf("%w: %d octets, the longest is %d", ErrTooLong, len(s), math.MaxUint8))
		return
	}
	w.u8(uint8(len(s)))
	w.out = append(w.out, s...)
}

func (w *writer) shortbytes(argument string, p []byte) {
	if len(p) > math.MaxUint8 {
		w.fail(argument, fmt.Errorf("%w: %d octets, the longest is %d", ErrTooLong, len(p), math.MaxUint8))
		return
	}
	w.u8(uint8(len(p)))
	w.out = append(w.out, p...)
}

func (w *writer) longstr(argument, s string) {
	if w.longlen(argument, len(s)) {
		w.out = append(w.out, s...)
	}
}

func (w *writer) longbytes(argument string, p []byte) {
	if w.longlen(argument, len(p)) {
		w.out = append(w.out, p...)
	}
}

func (w *writer) longlen(argument string, n int) bool {
	if uint64(n) > math.MaxUint32 {
		w.fail(argument, fmt.Errorf("%w: %d octets", ErrTooLong, n))
		return false
	}
	w.u32(uint32(n))
	return true
}

func (w *writer) table(argument string, t message.Table) {
	out, err := message.AppendTable(w.out, t)
	if err != nil {
		w.fail(argument, err)
		return
	}
	w.out = out
}

func (w *writer) result() ([]byte, error) {
	if w.err != nil {
		return w.dst, w.err
	}
	return w.out, nil
}
