package crashtest

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// ID names a message. All else about it follows from the id.
type ID struct {
	// Publisher is unique for each channel that ever published.
	Publisher string
	// Seq counts the publisher's messages from 1.
	Seq        uint64
	Persistent bool
}

// String gives the id as it stands in the message-id property.
func (id ID) String() string {
	kind := 't'
	if id.Persistent {
		kind = 'p'
	}
	return fmt.Sprintf("%s/%d/%c", id.Publisher, id.Seq, kind)
}

// parseID reads what String gave.
func parseID(s string) (ID, error) {
	part := strings.Split(s, "/")
	if len(part) != 3 || part[0] == "" || part[2] != "p" && part[2] != "t" {
		return ID{}, fmt.Errorf("message-id %.80q is none of this test's", s)
	}
	seq, err := strconv.ParseUint(part[1], 10, 64)
	if err != nil || seq == 0 {
		return ID{}, fmt.Errorf("message-id %.80q is none of this test's", s)
	}
	return ID{part[0], seq, part[2] == "p"}, nil
}

// The lengths of bodies in octets.
const (
	minBody = 16
	maxBody = 8 << 10
)

// Content gives the message of an id.
func (id ID) Content() amqp.Publishing {
	name := id.String()
	h := fnv.New64a()
	h.Write([]byte(name)) // never fails
	r := rand.New(rand.NewPCG(h.Sum64(), id.Seq))
	p := amqp.Publishing{MessageId: name, DeliveryMode: amqp.Transient, Body: make([]byte, minBody<<r.IntN(10))}
	if id.Persistent {
		p.DeliveryMode = amqp.Persistent
	}
	p.Body = p.Body[:min(len(p.Body)-r.IntN(len(p.Body)/2), maxBody)]
	if len(p.Body) < minBody {
		p.Body = p.Body[:minBody]
	}
	for i := range p.Body {
		if i%8 == 0 {
			p.Body[i] = byte(r.Uint32())
		} else {
			p.Body[i] = p.Body[i-1] + byte(i)
		}
	}
	p.Priority = uint8(r.IntN(4))
	if r.IntN(2) == 0 {
		p.ContentType = "application/octet-stream"
		p.CorrelationId = strconv.FormatUint(r.Uint64(), 36)
		p.Timestamp = time.Unix(int64(r.Uint32()), 0)
	}
	if r.IntN(3) == 0 {
		p.ContentEncoding, p.Type, p.AppId, p.ReplyTo = "none", "crash", "crashtest", "nobody"
	}
	switch r.IntN(4) {
	case 0:
		p.Headers = amqp.Table{"seq": int64(id.Seq), "by": id.Publisher}
	case 1:
		p.Headers = amqp.Table{
			"table": amqp.Table{"yes": true, "n": int32(r.Int32())}, "list": []any{"a", int64(r.Int64()), false},
			"raw": p.Body[:minBody/2], "void": nil, "f": r.Float64(),
		}
	}
	return p
}

// Check gives the id of a message that came out of a queue, and an error if it is
// not, in all its properties and its body, what the id stands for.
func Check(d *amqp.Delivery) (ID, error) {
	id, err := parseID(d.MessageId)
	if err != nil {
		return ID{}, fmt.Errorf("%w (body of %d octets: %.32x)", err, len(d.Body), d.Body)
	}
	want := id.Content()
	var wrong []string
	differs := func(what string, got, want any) {
		if !reflect.DeepEqual(got, want) {
			wrong = append(wrong, fmt.Sprintf("%s is %.80s, not %.80s", what, fmt.Sprint(got), fmt.Sprint(want)))
		}
	}
	if !bytes.Equal(d.Body, want.Body) {
		wrong = append(wrong, fmt.Sprintf("a body of %d octets, %.32x…, not of %d octets, %.32x…", len(d.Body), d.Body, len(want.Body), want.Body))
	}
	differs("delivery-mode", d.DeliveryMode, want.DeliveryMode)
	differs("priority", d.Priority, want.Priority)
	differs("content-type", d.ContentType, want.ContentType)
	differs("content-encoding", d.ContentEncoding, want.ContentEncoding)
	differs("correlation-id", d.CorrelationId, want.CorrelationId)
	differs("reply-to", d.ReplyTo, want.ReplyTo)
	differs("expiration", d.Expiration, want.Expiration)
	differs("timestamp", d.Timestamp.Unix(), want.Timestamp.Unix())
	differs("type", d.Type, want.Type)
	differs("app-id", d.AppId, want.AppId)
	differs("headers", ownHeaders(d.Headers), ownHeaders(want.Headers))
	if len(wrong) > 0 {
		return id, fmt.Errorf("message %s came out changed: %s", id, strings.Join(wrong, "; "))
	}
	return id, nil
}

// ownHeaders leaves out what dead-lettering and quorum queues add to the headers.
func ownHeaders(t amqp.Table) amqp.Table {
	out := amqp.Table{}
	for k, v := range t {
		if !strings.HasPrefix(k, "x-death") && !strings.HasPrefix(k, "x-first-death") && k != "x-delivery-count" {
			out[k] = v
		}
	}
	return out
}
