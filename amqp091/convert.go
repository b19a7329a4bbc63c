package amqp091

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/transport"
)

// fromReply gives a refusal as the client gives it.
func fromReply(e *reply.Error) *amqp.Error {
	return &amqp.Error{Code: int(e.Code), Reason: e.ReplyText(), Server: true, Recover: !e.Code.Hard()}
}

// refusal gives an error as the client gives a refusal; nil if it is none.
func refusal(err error) *amqp.Error {
	var e *reply.Error
	if errors.As(err, &e) {
		return fromReply(e)
	}
	return nil
}

// maxShort is the length of AMQP's short strings in octets.
const maxShort = 255

func checkShort(s string) error {
	if len(s) > maxShort {
		return fmt.Errorf("amqp091: a string of %d octets (%.20q…) where %d is the most", len(s), s, maxShort)
	}
	return nil
}

// tableFrom gives a table as the broker would decode it if the client had written
// it, but in the order of names. The client has validated it. The result shares
// no memory with t.
func tableFrom(t amqp.Table) (message.Table, error) {
	if len(t) == 0 {
		return nil, nil
	}
	fields := make(message.Table, 0, len(t))
	for name, v := range t {
		if err := checkShort(name); err != nil {
			return nil, err
		}
		value, err := valueFrom(v)
		if err != nil {
			return nil, err
		}
		fields = append(fields, message.Field{Name: name, Value: value})
	}
	slices.SortFunc(fields, func(a, b message.Field) int { return strings.Compare(a.Name, b.Name) })
	return fields, nil
}

func valueFrom(v any) (any, error) {
	switch v := v.(type) {
	case int:
		return int32(v), nil // the client writes the lower 32 bits of an int
	case time.Time:
		return time.Unix(v.Unix(), 0).UTC(), nil
	case amqp.Decimal:
		return message.Decimal{Scale: v.Scale, Value: uint32(v.Value)}, nil
	case []byte:
		return append([]byte{}, v...), nil
	case amqp.Table:
		t, err := tableFrom(v)
		if t == nil {
			t = message.Table{} // a value that is there
		}
		return t, err
	case []any:
		list := make([]any, 0, len(v))
		for _, v := range v {
			value, err := valueFrom(v)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	}
	return v, nil
}

// decodable refuses arguments that a broker refuses to decode: with a float that
// is not finite, or nested too deeply.
func decodable(t message.Table) error {
	if _, err := message.AppendTableBody(nil, t); err != nil {
		return reply.Errorf(reply.SyntaxError, "%v", err)
	}
	return nil
}

// tableTo gives a table as the client decodes it.
func tableTo(t message.Table) amqp.Table {
	if t == nil {
		return nil
	}
	fields := make(amqp.Table, len(t))
	for _, f := range t {
		fields[f.Name] = valueTo(f.Value)
	}
	return fields
}

func valueTo(v any) any {
	switch v := v.(type) {
	case time.Time:
		return v.Local()
	case message.Decimal:
		return amqp.Decimal{Scale: v.Scale, Value: int32(v.Value)}
	case message.Table:
		return tableTo(v)
	case []any:
		var list []any
		for _, v := range v {
			list = append(list, valueTo(v))
		}
		return list
	}
	return v
}

// propertiesOf gives the properties that the client would send. The error is one
// that the client would have.
func propertiesOf(p *amqp.Publishing) (message.Properties, error) {
	for _, s := range [...]string{
		p.ContentType, p.ContentEncoding, p.CorrelationId, p.ReplyTo, p.Expiration,
		p.MessageId, p.Type, p.UserId, p.AppId,
	} {
		if err := checkShort(s); err != nil {
			return message.Properties{}, err
		}
	}
	headers, err := tableFrom(p.Headers)
	return message.Properties{
		ContentType:     p.ContentType,
		ContentEncoding: p.ContentEncoding,
		Headers:         headers,
		DeliveryMode:    p.DeliveryMode,
		Priority:        p.Priority,
		CorrelationID:   p.CorrelationId,
		ReplyTo:         p.ReplyTo,
		Expiration:      p.Expiration,
		MessageID:       p.MessageId,
		Timestamp:       p.Timestamp,
		Type:            p.Type,
		UserID:          p.UserId,
		AppID:           p.AppId,
	}, err
}

// propertyBuffers are lent for encoding properties.
var propertyBuffers = sync.Pool{New: func() any { return new([]byte) }}

// encode makes the broker's form of a message, with one reference. The error is
// of properties that a broker would refuse to decode; there is no message then.
func encode(p *message.Properties, body []byte) (*message.Message, error) {
	buf := propertyBuffers.Get().(*[]byte)
	defer propertyBuffers.Put(buf)
	props, err := p.Append((*buf)[:0])
	if err != nil {
		return nil, err
	}
	*buf = props
	m := message.New("", "", props, len(body))
	m.AppendBody(body)
	return m, nil
}

// fill gives a delivery what the message has to say. It copies it all.
func fill(d *amqp.Delivery, m *message.Message) {
	// The channel refused a publish whose properties cannot be decoded, so that
	// there is no error here.
	p, _ := m.Properties()
	d.Headers = tableTo(p.Headers)
	d.ContentType = p.ContentType
	d.ContentEncoding = p.ContentEncoding
	d.DeliveryMode = p.DeliveryMode
	d.Priority = p.Priority
	d.CorrelationId = p.CorrelationID
	d.ReplyTo = p.ReplyTo
	d.Expiration = p.Expiration
	d.MessageId = p.MessageID
	d.Timestamp = localTime(p.Timestamp)
	d.Type = p.Type
	d.UserId = p.UserID
	d.AppId = p.AppID
	d.Exchange = m.Exchange()
	d.RoutingKey = m.RoutingKey()
	d.Body = append(make([]byte, 0, m.Size()), m.Body()...)
}

// localTime gives a time as the client does; an absent one stays zero.
func localTime(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Local()
}

// returnOf gives a returned message as the client gives it.
func returnOf(r transport.Returned) amqp.Return {
	var d amqp.Delivery
	fill(&d, r.Msg)
	return amqp.Return{
		ReplyCode:       uint16(r.Code),
		ReplyText:       r.Code.Name(),
		Exchange:        d.Exchange,
		RoutingKey:      d.RoutingKey,
		ContentType:     d.ContentType,
		ContentEncoding: d.ContentEncoding,
		Headers:         d.Headers,
		DeliveryMode:    d.DeliveryMode,
		Priority:        d.Priority,
		CorrelationId:   d.CorrelationId,
		ReplyTo:         d.ReplyTo,
		Expiration:      d.Expiration,
		MessageId:       d.MessageId,
		Timestamp:       d.Timestamp,
		Type:            d.Type,
		UserId:          d.UserId,
		AppId:           d.AppId,
		Body:            d.Body,
	}
}
