package message

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrBadProperties is wrapped by every error about properties that cannot be
// read or written. If the headers are at fault the error wraps ErrBadTable too.
var ErrBadProperties = errors.New("bad message properties")

// DecodeProperties reads properties as a content header has them: p begins with
// the two octets of the property flags. All of p must be properties. Strings
// need not be UTF-8. The two lowest flags are ignored (contract 01 §4). The
// result shares no memory with p.
func DecodeProperties(p []byte) (Properties, error) {
	set, p, err := propertyFlags(p)
	if err != nil {
		return Properties{}, err
	}
	props := Properties{marked: set}
	for set != 0 {
		var prop PropertySet
		var value []byte
		prop, set = set.first()
		if value, p, err = nextProperty(prop, p); err != nil {
			return Properties{}, err
		}
		switch prop {
		case PropHeaders:
			if props.Headers, err = DecodeTable(value); err != nil {
				return Properties{}, badHeaders(err)
			}
		case PropDeliveryMode:
			props.DeliveryMode = value[0]
		case PropPriority:
			props.Priority = value[0]
		case PropTimestamp:
			props.Timestamp = timeOf(binary.BigEndian.Uint64(value))
		default:
			*props.text(prop) = string(value)
		}
	}
	if len(p) > 0 {
		return Properties{}, badTrailer(p)
	}
	return props, nil
}

// PropertyScan is what a broker asks of the properties of each message it
// takes. The slices alias what was scanned; those of an absent property are
// nil.
type PropertyScan struct {
	DeliveryMode    uint8
	Priority        uint8
	HasDeliveryMode bool
	HasPriority     bool
	HasExpiration   bool
	HasUserID       bool
	HasReplyTo      bool
	Expiration      []byte
	UserID          []byte
	ReplyTo         []byte
	Headers         []byte // the body of the headers table, for FindField; not nil if present
}

// ScanProperties fills s from properties that begin with their flags. It finds
// the errors that DecodeProperties would find, and allocates only for an error,
// after which s is of no use.
func ScanProperties(p []byte, s *PropertyScan) error {
	*s = PropertyScan{}
	set, p, err := propertyFlags(p)
	if err != nil {
		return err
	}
	for set != 0 {
		var prop PropertySet
		var value []byte
		prop, set = set.first()
		if value, p, err = nextProperty(prop, p); err != nil {
			return err
		}
		switch prop {
		case PropHeaders:
			if err := checkTable(value, 1); err != nil {
				return badHeaders(err)
			}
			s.Headers = value
		case PropDeliveryMode:
			s.DeliveryMode, s.HasDeliveryMode = value[0], true
		case PropPriority:
			s.Priority, s.HasPriority = value[0], true
		case PropReplyTo:
			s.ReplyTo, s.HasReplyTo = value, true
		case PropExpiration:
			s.Expiration, s.HasExpiration = value, true
		case PropUserID:
			s.UserID, s.HasUserID = value, true
		}
	}
	if len(p) > 0 {
		return badTrailer(p)
	}
	return nil
}

func propertyFlags(p []byte) (set PropertySet, rest []byte, err error) {
	if len(p) < 2 {
		return 0, nil, fmt.Errorf("%w: no property flags", ErrBadProperties)
	}
	return PropertySet(binary.BigEndian.Uint16(p)) & allProperties, p[2:], nil
}

// nextProperty splits the value of a property off p: without its length, where
// it has one. It is never nil.
func nextProperty(prop PropertySet, p []byte) (value, rest []byte, err error) {
	size, prefix := uint64(0), 0
	switch prop {
	case PropDeliveryMode, PropPriority:
		size = 1
	case PropTimestamp:
		size = 8
	case PropHeaders:
		if prefix = 4; len(p) >= prefix {
			size = uint64(binary.BigEndian.Uint32(p))
		}
	default:
		if prefix = 1; len(p) >= prefix {
			size = uint64(p[0])
		}
	}
	if uint64(len(p)) < uint64(prefix)+size {
		return nil, nil, fmt.Errorf("%w: %s runs past the end", ErrBadProperties, prop)
	}
	p = p[prefix:]
	return p[:size:size], p[size:], nil
}

func badHeaders(err error) error { return fmt.Errorf("%w: headers: %w", ErrBadProperties, err) }

func badTrailer(p []byte) error {
	return fmt.Errorf("%w: %d octets behind the last property", ErrBadProperties, len(p))
}

// Append appends the properties as a content header has them, from the two
// octets of the flags on. An error wraps ErrBadProperties and says which
// property cannot be written: a string over 255 octets, or headers that
// AppendTable refuses; dst is then returned as it was.
func (p Properties) Append(dst []byte) ([]byte, error) {
	set := p.Present()
	out := binary.BigEndian.AppendUint16(dst, uint16(set))
	for set != 0 {
		var prop PropertySet
		var err error
		prop, set = set.first()
		switch prop {
		case PropHeaders:
			if out, err = AppendTable(out, p.Headers); err != nil {
				return dst, badHeaders(err)
			}
		case PropDeliveryMode:
			out = append(out, p.DeliveryMode)
		case PropPriority:
			out = append(out, p.Priority)
		case PropTimestamp:
			out = binary.BigEndian.AppendUint64(out, secondsOf(p.Timestamp))
		default:
			text := *p.text(prop)
			if len(text) > maxName {
				return dst, fmt.Errorf("%w: %s of %d octets, the longest is %d",
					ErrBadProperties, prop, len(text), maxName)
			}
			out = append(append(out, byte(len(text))), text...)
		}
	}
	return out, nil
}
