package metamorphic

import (
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// showDelivery shows all of a delivery but its tag, which is the event's.
func showDelivery(d amqp.Delivery) string {
	consumer := ""
	if d.ConsumerTag != "" {
		consumer = tagName(d.ConsumerTag)
	}
	return fmt.Sprintf("consumer=%s redelivered=%t left=%d from=%q key=%q %s", consumer, d.Redelivered, d.MessageCount,
		d.Exchange, d.RoutingKey, showMessage(amqp.Publishing{
			Headers: d.Headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding,
			DeliveryMode: d.DeliveryMode, Priority: d.Priority, CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo,
			Expiration: d.Expiration, MessageId: d.MessageId, Timestamp: d.Timestamp, Type: d.Type, UserId: d.UserId,
			AppId: d.AppId, Body: d.Body,
		}))
}

func showReturn(r amqp.Return) string {
	return fmt.Sprintf("%d %s exchange=%q key=%q %s", r.ReplyCode, r.ReplyText, r.Exchange, r.RoutingKey,
		showMessage(amqp.Publishing{
			Headers: r.Headers, ContentType: r.ContentType, ContentEncoding: r.ContentEncoding,
			DeliveryMode: r.DeliveryMode, Priority: r.Priority, CorrelationId: r.CorrelationId, ReplyTo: r.ReplyTo,
			Expiration: r.Expiration, MessageId: r.MessageId, Timestamp: r.Timestamp, Type: r.Type, UserId: r.UserId,
			AppId: r.AppId, Body: r.Body,
		}))
}

// showMessage shows the properties that are there, and the body.
func showMessage(m amqp.Publishing) string {
	var b strings.Builder
	for _, p := range []struct {
		name, value string
	}{
		{"type", m.ContentType}, {"encoding", m.ContentEncoding}, {"correlation", m.CorrelationId},
		{"reply-to", m.ReplyTo}, {"expiration", m.Expiration}, {"id", m.MessageId}, {"kind", m.Type},
		{"user", m.UserId}, {"app", m.AppId},
	} {
		if p.value != "" {
			fmt.Fprintf(&b, "%s=%q ", p.name, p.value)
		}
	}
	if m.DeliveryMode != 0 {
		fmt.Fprintf(&b, "mode=%d ", m.DeliveryMode)
	}
	if m.Priority != 0 {
		fmt.Fprintf(&b, "priority=%d ", m.Priority)
	}
	if !m.Timestamp.IsZero() {
		fmt.Fprintf(&b, "at=%d ", m.Timestamp.Unix())
	}
	if m.Headers != nil {
		fmt.Fprintf(&b, "headers=%s ", showValue(m.Headers))
	}
	if len(m.Body) > 32 {
		fmt.Fprintf(&b, "body=%d octets, crc %08x", len(m.Body), crc32.ChecksumIEEE(m.Body))
	} else {
		fmt.Fprintf(&b, "body=%q", m.Body)
	}
	return b.String()
}

// showValue shows a field value with its type, and a table in the order of names.
func showValue(v any) string {
	switch v := v.(type) {
	case amqp.Table:
		var b strings.Builder
		for _, name := range slices.Sorted(maps.Keys(v)) {
			fmt.Fprintf(&b, " %s:%s", name, showValue(v[name]))
		}
		return "{" + strings.TrimPrefix(b.String(), " ") + "}"
	case []any:
		all := make([]string, 0, len(v))
		for _, e := range v {
			all = append(all, showValue(e))
		}
		return "[" + strings.Join(all, " ") + "]"
	case time.Time:
		return fmt.Sprintf("time %d", v.Unix())
	case string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprintf("%T %v", v, v)
}
