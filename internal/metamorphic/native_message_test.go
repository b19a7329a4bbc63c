package metamorphic

import (
	"fmt"
	"maps"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

const noRoute = reply.NoRoute

// nativeMessage gives the message that the client would send.
func nativeMessage(m amqp.Publishing) warren.Message {
	return warren.Message{Body: m.Body, Properties: warren.Properties{
		ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, Headers: nativeTable(m.Headers),
		DeliveryMode: m.DeliveryMode, Priority: m.Priority, CorrelationID: m.CorrelationId, ReplyTo: m.ReplyTo,
		Expiration: m.Expiration, MessageID: m.MessageId, Timestamp: m.Timestamp, Type: m.Type, UserID: m.UserId,
		AppID: m.AppId,
	}}
}

func publishingOf(m warren.Message) amqp.Publishing {
	p := m.Properties
	return amqp.Publishing{
		Headers: clientTable(p.Headers), ContentType: p.ContentType, ContentEncoding: p.ContentEncoding,
		DeliveryMode: p.DeliveryMode, Priority: p.Priority, CorrelationId: p.CorrelationID, ReplyTo: p.ReplyTo,
		Expiration: p.Expiration, MessageId: p.MessageID, Timestamp: p.Timestamp, Type: p.Type, UserId: p.UserID,
		AppId: p.AppID, Body: m.Body,
	}
}

func deliveryOf(d warren.Delivery) amqp.Delivery {
	m := publishingOf(warren.Message{Properties: d.Properties(), Body: d.Body})
	return amqp.Delivery{
		Headers: m.Headers, ContentType: m.ContentType, ContentEncoding: m.ContentEncoding,
		DeliveryMode: m.DeliveryMode, Priority: m.Priority, CorrelationId: m.CorrelationId, ReplyTo: m.ReplyTo,
		Expiration: m.Expiration, MessageId: m.MessageId, Timestamp: m.Timestamp, Type: m.Type, UserId: m.UserId,
		AppId: m.AppId, Body: m.Body,
		ConsumerTag: d.ConsumerTag, MessageCount: uint32(d.MessageCount), DeliveryTag: d.DeliveryTag,
		Redelivered: d.Redelivered, Exchange: d.Exchange, RoutingKey: d.RoutingKey,
	}
}

// nativeTable gives a client's table. An empty one is none, as with the client.
func nativeTable(t amqp.Table) warren.Table {
	var fields warren.Table
	for _, name := range slices.Sorted(maps.Keys(t)) {
		fields = append(fields, warren.Field{Name: name, Value: nativeValue(t[name])})
	}
	return fields
}

func nativeValue(v any) any {
	switch v := v.(type) {
	case amqp.Table:
		return append(warren.Table{}, nativeTable(v)...)
	case amqp.Decimal:
		return message.Decimal{Scale: v.Scale, Value: uint32(v.Value)}
	case []any:
		return mapped(v, nativeValue)
	case int:
		panic(fmt.Sprint("an int has as many bits as each way thinks: ", v))
	}
	return v
}

func clientTable(t warren.Table) amqp.Table {
	if t == nil {
		return nil
	}
	fields := amqp.Table{}
	for _, f := range t {
		fields[f.Name] = clientValue(f.Value)
	}
	return fields
}

func clientValue(v any) any {
	switch v := v.(type) {
	case warren.Table:
		return clientTable(v)
	case message.Decimal:
		return amqp.Decimal{Scale: v.Scale, Value: int32(v.Value)}
	case []any:
		return mapped(v, clientValue)
	}
	return v
}

func mapped(list []any, f func(any) any) []any {
	all := make([]any, 0, len(list))
	for _, v := range list {
		all = append(all, f(v))
	}
	return all
}
