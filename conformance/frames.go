package conformance

import (
	"fmt"
)

const (
	frameMethod    = 1
	frameHeader    = 2
	frameBody      = 3
	frameHeartbeat = 8
	frameEnd       = 0xCE

	// frameOverhead is what a frame adds to its payload: type, channel, size
	// and end octet.
	frameOverhead = 8
	// largestFrame is the frame size the runner asks for, and the one RabbitMQ
	// offers by default.
	largestFrame = 131072
	// frameMinSize is the largest frame allowed before tuning.
	frameMinSize = 4096
)

// encodeFrame puts a frame together with any type and any end octet.
func encodeFrame(typ byte, channel uint16, payload []byte, end byte) []byte {
	var w encoder
	w.u8(typ)
	w.u16(channel)
	w.u32(uint32(len(payload)))
	w.Write(payload)
	w.u8(end)
	return w.Bytes()
}

// encodeMethod gives the payload of a method frame. Consecutive bits share
// octets, lowest first.
func encodeMethod(m *method, f fields) ([]byte, error) {
	var w encoder
	w.u16(m.class)
	w.u16(m.id)
	bits, n := byte(0), 0
	flush := func() {
		if n > 0 {
			w.u8(bits)
			bits, n = 0, 0
		}
	}
	for _, fd := range m.fields {
		if fd.domain == "bit" {
			if n == 8 {
				flush()
			}
			if f[fd.name] == true {
				bits |= 1 << n
			}
			n++
			continue
		}
		flush()
		if err := w.field(fd.domain, f[fd.name]); err != nil {
			return nil, fmt.Errorf("%s %s: %w", m.name, fd.name, err)
		}
	}
	flush()
	return w.Bytes(), nil
}

// decodeMethod reads the payload of a method frame to its last byte.
func decodeMethod(p []byte) (*method, fields, error) {
	r := &decoder{b: p}
	key := methodKey{r.u16(), r.u16()}
	if r.err != nil {
		return nil, nil, r.err
	}
	m := methodsByKey[key]
	if m == nil {
		return nil, nil, fmt.Errorf("unknown method %d.%d", key.class, key.id)
	}
	f := fields{}
	bits, n := byte(0), 8
	for _, fd := range m.fields {
		if fd.domain == "bit" {
			if n == 8 {
				bits, n = r.u8(), 0
			}
			f[fd.name] = bits&(1<<n) != 0
			n++
			continue
		}
		n = 8
		f[fd.name] = r.field(fd.domain)
	}
	if r.err != nil {
		return m, f, fmt.Errorf("%s: %w", m.name, r.err)
	}
	if len(r.b) > 0 {
		return m, f, fmt.Errorf("%s: %d bytes left over", m.name, len(r.b))
	}
	return m, f, nil
}

// encodeHeader gives the payload of a content header frame.
func encodeHeader(class, weight uint16, size uint64, props fields) ([]byte, error) {
	var w, list encoder
	flags := uint16(0)
	for i, fd := range basicProperties {
		v, ok := props[fd.name]
		if !ok {
			continue
		}
		flags |= 1 << (15 - i)
		if err := list.field(fd.domain, v); err != nil {
			return nil, fmt.Errorf("%s: %w", fd.name, err)
		}
	}
	w.u16(class)
	w.u16(weight)
	w.u64(size)
	w.u16(flags)
	w.Write(list.Bytes())
	return w.Bytes(), nil
}

// contentHeader is what a content header frame says.
type contentHeader struct {
	class uint16
	size  uint64
	props fields
}

// decodeHeader reads the payload of a content header frame to its last byte.
func decodeHeader(p []byte) (contentHeader, error) {
	r := &decoder{b: p}
	h := contentHeader{class: r.u16(), props: fields{}}
	r.u16() // weight: always zero, and nothing depends on it
	h.size = r.u64()
	flags := r.u16()
	for i, fd := range basicProperties {
		if flags&(1<<(15-i)) != 0 {
			h.props[fd.name] = r.field(fd.domain)
		}
	}
	if r.err != nil {
		return h, r.err
	}
	// The two lowest flags belong to no property of the basic class.
	if flags&3 != 0 || len(r.b) > 0 {
		return h, fmt.Errorf("flags %04x, %d bytes left over", flags, len(r.b))
	}
	return h, nil
}
