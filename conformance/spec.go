package conformance

import "strings"

// field is one argument of a method or one content property: its name and its
// AMQP domain (octet, short, long, longlong, timestamp, shortstr, longstr, bit
// or table).
type field struct {
	name   string
	domain string
}

// method describes one AMQP 0-9-1 method.
type method struct {
	name     string // "queue.declare"
	class    uint16
	id       uint16
	fields   []field
	answered bool // the client waits for an answer after sending it
	content  bool // a content header and body follow
}

// classSpec lists the methods of one class, one per line: method id, name and
// the arguments in wire order. A '!' after the name marks a method that is
// answered, a '+' one that carries content.
type classSpec struct {
	name    string
	id      uint16
	methods []methodSpec
}

type methodSpec struct {
	id   uint16
	line string
}

// amqpClasses is AMQP 0-9-1 with RabbitMQ's extensions, written down a second
// time on purpose: see the package comment.
var amqpClasses = []classSpec{
	{"connection", 10, []methodSpec{
		{10, "start version-major:octet version-minor:octet server-properties:table mechanisms:longstr locales:longstr"},
		{11, "start-ok! client-properties:table mechanism:shortstr response:longstr locale:shortstr"},
		{20, "secure challenge:longstr"},
		{21, "secure-ok! response:longstr"},
		{30, "tune channel-max:short frame-max:long heartbeat:short"},
		{31, "tune-ok channel-max:short frame-max:long heartbeat:short"},
		{40, "open! virtual-host:shortstr reserved-1:shortstr reserved-2:bit"},
		{41, "open-ok reserved-1:shortstr"},
		{50, "close! reply-code:short reply-text:shortstr class-id:short method-id:short"},
		{51, "close-ok"},
		{60, "blocked reason:shortstr"},
		{61, "unblocked"},
		{70, "update-secret! new-secret:longstr reason:shortstr"},
		{71, "update-secret-ok"},
	}},
	{"channel", 20, []methodSpec{
		{10, "open! reserved-1:shortstr"},
		{11, "open-ok reserved-1:longstr"},
		{20, "flow! active:bit"},
		{21, "flow-ok active:bit"},
		{40, "close! reply-code:short reply-text:shortstr class-id:short method-id:short"},
		{41, "close-ok"},
	}},
	{"access", 30, []methodSpec{
		{10, "request! realm:shortstr exclusive:bit passive:bit active:bit write:bit read:bit"},
		{11, "request-ok reserved-1:short"},
	}},
	{"exchange", 40, []methodSpec{
		{10, "declare! reserved-1:short exchange:shortstr type:shortstr passive:bit durable:bit auto-delete:bit internal:bit no-wait:bit arguments:table"},
		{11, "declare-ok"},
		{20, "delete! reserved-1:short exchange:shortstr if-unused:bit no-wait:bit"},
		{21, "delete-ok"},
		{30, "bind! reserved-1:short destination:shortstr source:shortstr routing-key:shortstr no-wait:bit arguments:table"},
		{31, "bind-ok"},
		{40, "unbind! reserved-1:short destination:shortstr source:shortstr routing-key:shortstr no-wait:bit arguments:table"},
		{51, "unbind-ok"},
	}},
	{"queue", 50, []methodSpec{
		{10, "declare! reserved-1:short queue:shortstr passive:bit durable:bit exclusive:bit auto-delete:bit no-wait:bit arguments:table"},
		{11, "declare-ok queue:shortstr message-count:long consumer-count:long"},
		{20, "bind! reserved-1:short queue:shortstr exchange:shortstr routing-key:shortstr no-wait:bit arguments:table"},
		{21, "bind-ok"},
		{30, "purge! reserved-1:short queue:shortstr no-wait:bit"},
		{31, "purge-ok message-count:long"},
		{40, "delete! reserved-1:short queue:shortstr if-unused:bit if-empty:bit no-wait:bit"},
		{41, "delete-ok message-count:long"},
		{50, "unbind! reserved-1:short queue:shortstr exchange:shortstr routing-key:shortstr arguments:table"},
		{51, "unbind-ok"},
	}},
	{"basic", 60, []methodSpec{
		{10, "qos! prefetch-size:long prefetch-count:short global:bit"},
		{11, "qos-ok"},
		{20, "consume! reserved-1:short queue:shortstr consumer-tag:shortstr no-local:bit no-ack:bit exclusive:bit no-wait:bit arguments:table"},
		{21, "consume-ok consumer-tag:shortstr"},
		{30, "cancel! consumer-tag:shortstr no-wait:bit"},
		{31, "cancel-ok consumer-tag:shortstr"},
		{40, "publish+ reserved-1:short exchange:shortstr routing-key:shortstr mandatory:bit immediate:bit"},
		{50, "return+ reply-code:short reply-text:shortstr exchange:shortstr routing-key:shortstr"},
		{60, "deliver+ consumer-tag:shortstr delivery-tag:longlong redelivered:bit exchange:shortstr routing-key:shortstr"},
		{70, "get! reserved-1:short queue:shortstr no-ack:bit"},
		{71, "get-ok+ delivery-tag:longlong redelivered:bit exchange:shortstr routing-key:shortstr message-count:long"},
		{72, "get-empty reserved-1:shortstr"},
		{80, "ack delivery-tag:longlong multiple:bit"},
		{90, "reject delivery-tag:longlong requeue:bit"},
		{100, "recover-async requeue:bit"},
		{110, "recover! requeue:bit"},
		{111, "recover-ok"},
		{120, "nack delivery-tag:longlong multiple:bit requeue:bit"},
		{200, "credit consumer-tag:shortstr credit:long drain:bit"},
		{201, "credit-ok available:long"},
		{202, "credit-drained consumer-tag:shortstr credit-drained:long"},
	}},
	{"confirm", 85, []methodSpec{
		{10, "select! no-wait:bit"},
		{11, "select-ok"},
	}},
	{"tx", 90, []methodSpec{
		{10, "select!"},
		{11, "select-ok"},
		{20, "commit!"},
		{21, "commit-ok"},
		{30, "rollback!"},
		{31, "rollback-ok"},
	}},
}

// basicClass is the only class that carries content.
const basicClass = 60

// basicProperties are the content properties in the order of their flags.
var basicProperties = []field{
	{"content-type", "shortstr"},
	{"content-encoding", "shortstr"},
	{"headers", "table"},
	{"delivery-mode", "octet"},
	{"priority", "octet"},
	{"correlation-id", "shortstr"},
	{"reply-to", "shortstr"},
	{"expiration", "shortstr"},
	{"message-id", "shortstr"},
	{"timestamp", "timestamp"},
	{"type", "shortstr"},
	{"user-id", "shortstr"},
	{"app-id", "shortstr"},
	{"cluster-id", "shortstr"},
}

// methodKey is a method's class and id as they stand in a frame.
type methodKey struct{ class, id uint16 }

// The two indexes over amqpClasses. They are built once and never written to.
var methodsByName, methodsByKey = indexMethods(amqpClasses)

func indexMethods(classes []classSpec) (map[string]*method, map[methodKey]*method) {
	byName, byKey := map[string]*method{}, map[methodKey]*method{}
	for _, class := range classes {
		for _, spec := range class.methods {
			words := strings.Fields(spec.line)
			name, answered := strings.CutSuffix(words[0], "!")
			name, content := strings.CutSuffix(name, "+")
			m := &method{
				name: class.name + "." + name, class: class.id, id: spec.id,
				answered: answered, content: content,
			}
			for _, w := range words[1:] {
				fieldName, domain, _ := strings.Cut(w, ":")
				m.fields = append(m.fields, field{fieldName, domain})
			}
			byName[m.name] = m
			byKey[methodKey{m.class, m.id}] = m
		}
	}
	return byName, byKey
}
