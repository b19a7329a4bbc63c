package warren

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/policy"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/store/msgstore"
)

// The kinds of definitions. A definition's value is an AMQP field table, so that
// names may be any octets. Arguments are in it in their encoded form: they come back
// with their types, and may be nested as deeply as a table may be. Its key is a hash
// of what names it, as keys must not grow with names.
const (
	kindCounter         byte = 'c'
	kindVHost           byte = 'v'
	kindUser            byte = 'u'
	kindPermission      byte = 'p'
	kindTopicPermission byte = 't'
	kindExchange        byte = 'x'
	kindQueue           byte = 'q'
	kindBinding         byte = 'b'
	kindPolicy          byte = 'P'
)

// record is the value of one definition.
type record interface {
	kind() byte
	// identity is what names the definition among those of its kind.
	identity() (vhost uint64, names []string)
	fields() message.Table
}

// define gives the change that keeps a record.
func define(r record) msgstore.Definition {
	value, err := message.AppendTableBody(nil, r.fields())
	if err != nil {
		// The fields are of the types and names in this file.
		panic(fmt.Sprintf("warren: a definition that no table can hold: %v", err))
	}
	d := undefine(r)
	d.Value, d.Delete = value, false
	return d
}

// undefine gives the change that forgets a record; only its identity matters.
func undefine(r record) msgstore.Definition {
	vhost, names := r.identity()
	h := sha256.New()
	var n [8]byte
	put := func(v uint64) {
		binary.BigEndian.PutUint64(n[:], v)
		h.Write(n[:])
	}
	put(vhost)
	for _, name := range names {
		put(uint64(len(name)))
		h.Write([]byte(name))
	}
	return msgstore.Definition{Kind: r.kind(), Key: h.Sum(nil)[:16], Delete: true}
}

// encoded gives arguments as they came, or would have come, over a wire.
func encoded(args message.Table) string {
	body, err := message.AppendTableBody(nil, args)
	if err != nil {
		// They were decoded from a table, or checked to fit one.
		panic(fmt.Sprintf("warren: arguments that no table can hold: %v", err))
	}
	return string(body)
}

// counterRecord says that numbers from Next on were never given out.
type counterRecord struct{ Next uint64 }

func (r counterRecord) kind() byte                       { return kindCounter }
func (r counterRecord) identity() (_ uint64, _ []string) { return 0, nil }
func (r counterRecord) fields() message.Table {
	return message.Table{{Name: "next", Value: int64(r.Next)}}
}

// vhostRecord is a virtual host. ID is another one each time a virtual host of that
// name is made, so that what belonged to an earlier one never comes back in it.
type vhostRecord struct {
	ID                        uint64
	Name                      string
	MaxConnections, MaxQueues int // negative is none
	// Leaving says that it was deleted, and is kept until everything in it is: by
	// number what is declared in it, by name the permissions.
	Leaving bool
}

func (r vhostRecord) kind() byte                       { return kindVHost }
func (r vhostRecord) identity() (_ uint64, _ []string) { return 0, []string{r.Name} }
func (r vhostRecord) fields() message.Table {
	return message.Table{
		{Name: "id", Value: int64(r.ID)}, {Name: "name", Value: r.Name},
		{Name: "max-connections", Value: int64(r.MaxConnections)}, {Name: "max-queues", Value: int64(r.MaxQueues)},
		{Name: "leaving", Value: r.Leaving},
	}
}

func readVHost(f *fieldReader) vhostRecord {
	return vhostRecord{
		ID: uint64(f.number("id")), Name: f.text("name"),
		MaxConnections: int(f.number("max-connections")), MaxQueues: int(f.number("max-queues")),
		Leaving: f.flag("leaving"),
	}
}

// userRecord is a user without permissions.
type userRecord struct{ u *auth.User }

func (r userRecord) kind() byte                       { return kindUser }
func (r userRecord) identity() (_ uint64, _ []string) { return 0, []string{r.u.Name()} }
func (r userRecord) fields() message.Table {
	var tags, limits []any
	for _, t := range r.u.Tags() {
		tags = append(tags, t)
	}
	for l, n := range r.u.Limits() {
		limits = append(limits, string(l), int64(n))
	}
	hash := r.u.PasswordHash()
	return message.Table{
		{Name: "name", Value: r.u.Name()}, {Name: "tags", Value: tags}, {Name: "limits", Value: limits},
		{Name: "algorithm", Value: string(hash.Algorithm())}, {Name: "hash", Value: hash.Base64()},
	}
}

// userNamed is the record of a user of whom nothing but the name is known.
type userNamed string

func (r userNamed) kind() byte                       { return kindUser }
func (r userNamed) identity() (_ uint64, _ []string) { return 0, []string{string(r)} }
func (r userNamed) fields() message.Table            { return nil }

// permissionRecord is a user's permission in a virtual host.
type permissionRecord struct{ Permission }

func (r permissionRecord) kind() byte                       { return kindPermission }
func (r permissionRecord) identity() (_ uint64, _ []string) { return 0, []string{r.User, r.VHost} }
func (r permissionRecord) fields() message.Table {
	return message.Table{
		{Name: "user", Value: r.User}, {Name: "vhost", Value: r.VHost},
		{Name: "configure", Value: r.Configure}, {Name: "write", Value: r.Write}, {Name: "read", Value: r.Read},
	}
}

func readPermission(f *fieldReader) Permission {
	return Permission{
		User: f.text("user"), VHost: f.text("vhost"),
		Configure: f.text("configure"), Write: f.text("write"), Read: f.text("read"),
	}
}

// topicPermissionRecord is a user's permission at a topic exchange.
type topicPermissionRecord struct{ TopicPermission }

func (r topicPermissionRecord) kind() byte { return kindTopicPermission }
func (r topicPermissionRecord) identity() (_ uint64, _ []string) {
	return 0, []string{r.User, r.VHost, r.Exchange}
}

func (r topicPermissionRecord) fields() message.Table {
	return message.Table{
		{Name: "user", Value: r.User}, {Name: "vhost", Value: r.VHost}, {Name: "exchange", Value: r.Exchange},
		{Name: "write", Value: r.Write}, {Name: "read", Value: r.Read},
	}
}

func readTopicPermission(f *fieldReader) TopicPermission {
	return TopicPermission{
		User: f.text("user"), VHost: f.text("vhost"), Exchange: f.text("exchange"),
		Write: f.text("write"), Read: f.text("read"),
	}
}

// exchangeRecord is a durable exchange. The pre-declared ones are not kept.
type exchangeRecord struct {
	vhost uint64
	exchange.Spec
}

func (r exchangeRecord) kind() byte                       { return kindExchange }
func (r exchangeRecord) identity() (_ uint64, _ []string) { return r.vhost, []string{r.Name} }
func (r exchangeRecord) fields() message.Table {
	return message.Table{
		{Name: "vhost", Value: int64(r.vhost)}, {Name: "name", Value: r.Name}, {Name: "type", Value: r.Type},
		{Name: "auto-delete", Value: r.AutoDelete}, {Name: "internal", Value: r.Internal},
		{Name: "arguments", Value: encoded(r.Arguments)},
	}
}

func readExchange(f *fieldReader) exchangeRecord {
	return exchangeRecord{uint64(f.number("vhost")), exchange.Spec{
		Name: f.text("name"), Type: f.text("type"), Durable: true,
		AutoDelete: f.flag("auto-delete"), Internal: f.flag("internal"), Arguments: f.table("arguments"),
	}}
}

// queueRecord is a durable queue. Its messages are in the log of number log.
type queueRecord struct {
	vhost, log uint64
	queue.Spec
}

func (r queueRecord) kind() byte                       { return kindQueue }
func (r queueRecord) identity() (_ uint64, _ []string) { return r.vhost, []string{r.Name} }
func (r queueRecord) fields() message.Table {
	return message.Table{
		{Name: "vhost", Value: int64(r.vhost)}, {Name: "log", Value: int64(r.log)},
		{Name: "name", Value: r.Name}, {Name: "type", Value: r.Type},
		{Name: "auto-delete", Value: r.AutoDelete}, {Name: "arguments", Value: encoded(r.Arguments)},
	}
}

func readQueue(f *fieldReader) queueRecord {
	return queueRecord{uint64(f.number("vhost")), uint64(f.number("log")), queue.Spec{
		Name: f.text("name"), Type: f.text("type"), Durable: true,
		AutoDelete: f.flag("auto-delete"), Arguments: f.table("arguments"),
	}}
}

// bindingRecord is a binding between two that are durable.
type bindingRecord struct {
	vhost uint64
	BindingInfo
}

func (r bindingRecord) kind() byte { return kindBinding }
func (r bindingRecord) identity() (_ uint64, _ []string) {
	to := "queue"
	if r.ToExchange {
		to = "exchange"
	}
	return r.vhost, []string{r.Source, to, r.Destination, r.RoutingKey, encoded(r.Arguments)}
}

func (r bindingRecord) fields() message.Table {
	return message.Table{
		{Name: "vhost", Value: int64(r.vhost)}, {Name: "source", Value: r.Source},
		{Name: "destination", Value: r.Destination}, {Name: "to-exchange", Value: r.ToExchange},
		{Name: "key", Value: r.RoutingKey}, {Name: "arguments", Value: encoded(r.Arguments)},
	}
}

func readBinding(f *fieldReader) bindingRecord {
	return bindingRecord{uint64(f.number("vhost")), BindingInfo{
		Source: f.text("source"), Destination: f.text("destination"), ToExchange: f.flag("to-exchange"),
		RoutingKey: f.text("key"), Arguments: f.table("arguments"),
	}}
}

// policyRecord is a policy of a user, or of an operator.
type policyRecord struct {
	vhost uint64
	of    policy.Kind
	Policy
}

func (r policyRecord) kind() byte { return kindPolicy }
func (r policyRecord) identity() (_ uint64, _ []string) {
	owner := "user"
	if r.of == policy.Operator {
		owner = "operator"
	}
	return r.vhost, []string{owner, r.Name}
}

func (r policyRecord) fields() message.Table {
	return message.Table{
		{Name: "vhost", Value: int64(r.vhost)}, {Name: "operator", Value: r.of == policy.Operator},
		{Name: "name", Value: r.Name}, {Name: "pattern", Value: r.Pattern},
		{Name: "apply-to", Value: string(r.ApplyTo)}, {Name: "priority", Value: int64(r.Priority)},
		{Name: "definition", Value: encoded(r.Definition)},
	}
}

func readPolicy(f *fieldReader) policyRecord {
	r := policyRecord{uint64(f.number("vhost")), policy.User, Policy{
		Name: f.text("name"), Pattern: f.text("pattern"), ApplyTo: policy.ApplyTo(f.text("apply-to")),
		Priority: int(f.number("priority")), Definition: f.table("definition"),
	}}
	if f.flag("operator") {
		r.of = policy.Operator
	}
	return r
}

// fieldReader takes the fields of a record; err is the first that is not as it
// should be.
type fieldReader struct {
	t   message.Table
	err error
}

func readRecord(value []byte) *fieldReader {
	t, err := message.DecodeTable(value)
	return &fieldReader{t, err}
}

// field gives a field of the Go type of the zero value.
func field[T any](f *fieldReader, name string) (zero T) {
	v, ok := f.t.Get(name)
	typed, fits := v.(T)
	if (!ok || !fits) && f.err == nil {
		f.err = fmt.Errorf("its field %q is missing or a %T", name, v)
	}
	return typed
}

func (f *fieldReader) text(name string) string  { return field[string](f, name) }
func (f *fieldReader) flag(name string) bool    { return field[bool](f, name) }
func (f *fieldReader) number(name string) int64 { return field[int64](f, name) }
func (f *fieldReader) list(name string) []any   { return field[[]any](f, name) }

// check notes that a field is not as it should be.
func (f *fieldReader) check(name string, ok bool) {
	if !ok && f.err == nil {
		f.err = fmt.Errorf("its field %q has something in it that does not belong there", name)
	}
}

// table gives encoded arguments.
func (f *fieldReader) table(name string) message.Table {
	body := f.text(name)
	if body == "" {
		return nil
	}
	t, err := message.DecodeTable([]byte(body))
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("its field %q: %w", name, err)
	}
	return t
}
