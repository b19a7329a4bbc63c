package message

import (
	"math/bits"
	"time"
)

// PropertySet is a set of properties, as bits of the property flags of a
// content header (contract 01 §4).
type PropertySet uint16

// The properties, in the order in which a content header has them.
const (
	PropContentType PropertySet = 1 << (15 - iota)
	PropContentEncoding
	PropHeaders
	PropDeliveryMode
	PropPriority
	PropCorrelationID
	PropReplyTo
	PropExpiration
	PropMessageID
	PropTimestamp
	PropType
	PropUserID
	PropAppID
	PropClusterID

	// allProperties leaves out the two lowest bits of the flags. They name no
	// property; RabbitMQ ignores them, and never reads a second word of flags.
	allProperties PropertySet = 0xfffc
)

// Persistent is the delivery mode of a message that survives a restart of the
// broker in a durable queue. Every other delivery mode is transient.
const Persistent = 2

// Properties are a message's properties.
//
// A property is present, and written, if its field is not zero, or if it was
// present in the octets the properties were decoded from, or if it was marked
// with Mark. So a zero priority that a publisher sent is sent on.
//
// Properties are a value: a copy may be changed without changing the original,
// but for what Headers refer to.
type Properties struct {
	ContentType     string
	ContentEncoding string
	Headers         Table
	DeliveryMode    uint8 // Persistent, or any other for transient
	Priority        uint8
	CorrelationID   string
	ReplyTo         string
	Expiration      string // milliseconds in decimal
	MessageID       string
	Timestamp       time.Time // whole seconds
	Type            string
	UserID          string
	AppID           string
	ClusterID       string

	marked PropertySet
}

// Present gives the set of the properties that would be written.
func (p Properties) Present() PropertySet {
	set := p.marked
	for _, f := range [...]struct {
		in   bool
		prop PropertySet
	}{
		{p.ContentType != "", PropContentType},
		{p.ContentEncoding != "", PropContentEncoding},
		{p.Headers != nil, PropHeaders},
		{p.DeliveryMode != 0, PropDeliveryMode},
		{p.Priority != 0, PropPriority},
		{p.CorrelationID != "", PropCorrelationID},
		{p.ReplyTo != "", PropReplyTo},
		{p.Expiration != "", PropExpiration},
		{p.MessageID != "", PropMessageID},
		{!p.Timestamp.IsZero(), PropTimestamp},
		{p.Type != "", PropType},
		{p.UserID != "", PropUserID},
		{p.AppID != "", PropAppID},
		{p.ClusterID != "", PropClusterID},
	} {
		if f.in {
			set |= f.prop
		}
	}
	return set
}

// Has reports whether all properties of the set are present.
func (p Properties) Has(set PropertySet) bool { return p.Present()&set == set }

// Mark makes the properties of the set present even where they are zero.
func (p *Properties) Mark(set PropertySet) { p.marked |= set & allProperties }

// Clear makes the properties of the set zero and absent.
func (p *Properties) Clear(set PropertySet) {
	p.marked &^= set
	for set &= allProperties; set != 0; {
		var prop PropertySet
		prop, set = set.first()
		p.clear(prop)
	}
}

func (p *Properties) clear(prop PropertySet) {
	switch prop {
	case PropHeaders:
		p.Headers = nil
	case PropDeliveryMode:
		p.DeliveryMode = 0
	case PropPriority:
		p.Priority = 0
	case PropTimestamp:
		p.Timestamp = time.Time{}
	default:
		*p.text(prop) = ""
	}
}

// text gives the field of a property that is a short string.
func (p *Properties) text(prop PropertySet) *string {
	switch prop {
	case PropContentType:
		return &p.ContentType
	case PropContentEncoding:
		return &p.ContentEncoding
	case PropCorrelationID:
		return &p.CorrelationID
	case PropReplyTo:
		return &p.ReplyTo
	case PropExpiration:
		return &p.Expiration
	case PropMessageID:
		return &p.MessageID
	case PropType:
		return &p.Type
	case PropUserID:
		return &p.UserID
	case PropAppID:
		return &p.AppID
	}
	return &p.ClusterID
}

// first splits the property that is written first off a set that is not empty.
func (s PropertySet) first() (prop, rest PropertySet) {
	prop = 1 << (bits.Len16(uint16(s)) - 1)
	return prop, s &^ prop
}

// String is the property's name in AMQP, for a set of one property; that of
// the first one for a larger set.
func (s PropertySet) String() string {
	if s &= allProperties; s == 0 {
		return "none"
	}
	prop, _ := s.first()
	return [...]string{
		"content-type", "content-encoding", "headers", "delivery-mode", "priority",
		"correlation-id", "reply-to", "expiration", "message-id", "timestamp", "type",
		"user-id", "app-id", "cluster-id",
	}[bits.LeadingZeros16(uint16(prop))]
}
