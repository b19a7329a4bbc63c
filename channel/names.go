package channel

import (
	"crypto/rand"
	"encoding/base64"
	"strings"

	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// generated makes a name that nobody else has: the prefix and 22 characters of
// URL-safe base64, as RabbitMQ's rabbit_guid does.
func generated(prefix string) string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// stripped removes CR and LF from a name, as RabbitMQ does where names are
// declared, deleted and bound (contract 03 §2).
func stripped(name string) string {
	if !strings.ContainsAny(name, "\r\n") {
		return name
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(name)
}

// queueName expands the empty name to the queue declared last on this channel.
func (ch *Channel) queueName(name string) (string, error) {
	if name != "" {
		return name, nil
	}
	if ch.lastQueue == "" {
		return "", reply.Errorf(reply.NotFound, "no previously declared queue")
	}
	return ch.lastQueue, nil
}

// queue finds a queue that this connection may use.
func (ch *Channel) queue(name string) (*queue.Host, error) {
	h, ok := ch.VHost.Queue(name)
	if !ok {
		return nil, ch.noQueue(name)
	}
	return h, ch.checkOwner(h)
}

func (ch *Channel) checkOwner(h *queue.Host) error {
	return queue.CheckOwner(h.Spec(), ch.Connection)
}

func (ch *Channel) exchangeResource(name string) string {
	return "exchange '" + name + "' in vhost '" + ch.VHost.Name() + "'"
}

func (ch *Channel) queueResource(name string) string {
	return "queue '" + name + "' in vhost '" + ch.VHost.Name() + "'"
}

func (ch *Channel) noQueue(name string) error {
	return reply.Errorf(reply.NotFound, "no queue '%s' in vhost '%s'", name, ch.VHost.Name())
}

func (ch *Channel) noExchange(name string) error {
	return reply.Errorf(reply.NotFound, "no exchange '%s' in vhost '%s'", name, ch.VHost.Name())
}

// The rights (contract 03 §4). They are checked before it is known whether the
// resource exists.

func (ch *Channel) mayConfigureQueue(name string) error {
	return ch.allowed(ch.Access.Configure(name), "queue", name)
}

func (ch *Channel) mayWriteQueue(name string) error {
	return ch.allowed(ch.Access.Write(name), "queue", name)
}

func (ch *Channel) mayReadQueue(name string) error {
	return ch.allowed(ch.Access.Read(name), "queue", name)
}

func (ch *Channel) mayConfigureExchange(name string) error {
	name = shownExchange(name)
	return ch.allowed(ch.Access.Configure(name), "exchange", name)
}

func (ch *Channel) mayWriteExchange(name string) error {
	name = shownExchange(name)
	return ch.allowed(ch.Access.Write(name), "exchange", name)
}

func (ch *Channel) mayReadExchange(name string) error {
	name = shownExchange(name)
	return ch.allowed(ch.Access.Read(name), "exchange", name)
}

// mayReadTopic checks the binding key against the user's topic permissions.
func (ch *Channel) mayReadTopic(source, key string) error {
	x, ok := ch.VHost.Exchanges().Lookup(source)
	if !ok || x.Type().Name() != "topic" || ch.Access.ReadTopic(source, key) {
		return nil
	}
	return ch.topicRefused(source, key)
}

func (ch *Channel) mayWriteTopic(k *knownExchange, key []byte) error {
	if k.x.Type().Name() != "topic" || ch.Access.WriteTopic(k.name, string(key)) {
		return nil
	}
	return ch.topicRefused(k.name, string(key))
}

func (ch *Channel) topicRefused(exchange, key string) error {
	return reply.Errorf(reply.AccessRefused, "access to topic '%s' in exchange '%s' in vhost '%s' refused for user '%s'",
		key, exchange, ch.VHost.Name(), ch.User)
}

// shownExchange is the name by which rights know an exchange.
func shownExchange(name string) string {
	if name == "" {
		return "amq.default"
	}
	return name
}

func (ch *Channel) allowed(ok bool, kind, name string) error {
	if ok {
		return nil
	}
	return reply.Errorf(reply.AccessRefused, "access to %s '%s' in vhost '%s' refused for user '%s'",
		kind, name, ch.VHost.Name(), ch.User)
}
