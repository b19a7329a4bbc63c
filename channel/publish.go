package channel

import (
	"bytes"
	"fmt"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/store"
)

// Publish is basic.publish with its content.
type Publish struct {
	// Exchange and RoutingKey are only read during the call.
	Exchange, RoutingKey []byte
	Mandatory, Immediate bool
	// Msg holds the properties and the body; Publish takes over the reference,
	// whatever its result.
	Msg *message.Message
	// Size is the size of the body as announced. It differs from the message's
	// only for a body too large to be kept.
	Size uint64
	// Confirm, if set, is told what becomes of this message, whether or not the
	// channel is in confirm mode. A transactional channel refuses it.
	Confirm Confirmation
	// Seq is the message's number for Confirm, which one that waits for several
	// messages tells them apart by. Queues answer consecutive ones in one call.
	Seq uint64
}

// Confirmation waits for the queues that one message goes to.
type Confirmation interface {
	message.Confirmer
	// Routed is called first, with the number of queues that will answer. For a
	// message without a route it is 0, and comes after its return.
	Routed(queues int)
}

// Publish routes a message. Whatever refuses it ends the channel (contract 03
// §6); a message without a route does not.
func (ch *Channel) Publish(p *Publish) error {
	dropped := false
	if ch.interceptPublishes {
		var err error
		if dropped, err = ch.interceptPublish(p); err != nil {
			p.Msg.Release()
			return err
		}
	}
	rt, err := ch.checkPublish(p)
	if err != nil {
		p.Msg.Release()
		return err
	}
	if ch.tx != nil && p.Confirm != nil {
		p.Msg.Release()
		return reply.Errorf(reply.PreconditionFailed, "cannot switch from tx to confirm mode")
	}
	switch {
	case dropped:
		ch.drop(p)
		return nil
	case ch.tx != nil:
		if rt.reply { // no transaction holds it back (contract 06 §8)
			ch.sendReplies(p.Msg, rt)
		}
		ch.tx.publish(ch, p, rt)
		return nil
	}
	var ref message.PublishRef
	switch {
	case p.Confirm != nil:
		ref = message.PublishRef{By: p.Confirm, Seq: p.Seq}
	case ch.mode.Confirm:
		ch.seq++
		ref = message.PublishRef{By: ch.confirms, Seq: ch.seq}
	}
	ch.returnUnroutable(p.Msg, rt.hosts, p.Mandatory)
	if rt.reply { // returned all the same: it has no queue
		ch.sendReplies(p.Msg, rt)
	}
	switch {
	case p.Confirm != nil:
		p.Confirm.Routed(len(rt.hosts))
	case ch.mode.Confirm:
		ch.confirms.Add(ch.seq, len(rt.hosts))
	}
	ch.post(p.Msg, rt.hosts, ref, nil)
	ch.flushIfMany()
	return nil
}

// returnUnroutable sends basic.return where that was asked for. It goes before
// the confirm (contract 06 §5).
func (ch *Channel) returnUnroutable(m *message.Message, hosts []*queue.Host, mandatory bool) {
	if len(hosts) == 0 && mandatory {
		m.Retain(1)
		ch.Out.Return(reply.NoRoute, m)
	}
}

// post hands a message to its queues, as part of an atom if there is one.
func (ch *Channel) post(m *message.Message, hosts []*queue.Host, ref message.PublishRef, atom *store.Atom) {
	if len(hosts) == 0 {
		m.Release()
		return
	}
	if n := len(hosts); n > 1 {
		m.Retain(int32(n - 1))
	}
	if atom != nil {
		atom.Join(len(hosts))
	}
	if len(hosts) > 1 && !ch.hasRoom(hosts) {
		ch.flush() // now, so that none of the queues runs before all have it
	}
	p := queue.Publish{Msg: m, Ref: ref, Atom: atom}
	if len(hosts) <= maxPostings {
		for _, h := range hosts {
			ch.batch(h).Publish(p)
		}
		return
	}
	for _, h := range hosts {
		ch.collect(h).Publish(p)
	}
	ch.flush()
}

// maxMaxMessageSize is the most that RabbitMQ lets Config.MaxMessageSize be.
const maxMaxMessageSize = 512 << 20

// checkPublish makes the checks of contract 03 §6 in their order and finds the
// queues.
func (ch *Channel) checkPublish(p *Publish) (*route, error) {
	if p.Immediate {
		return nil, reply.Errorf(reply.NotImplemented, "immediate=true")
	}
	if p.Size > uint64(ch.MaxMessageSize) {
		configured := "configured "
		if ch.MaxMessageSize == maxMaxMessageSize {
			configured = ""
		}
		return nil, reply.Errorf(reply.PreconditionFailed,
			"message size %d is larger than %smax size %d", p.Size, configured, ch.MaxMessageSize)
	}
	k, rt, err := ch.lookup(p.Exchange, p.RoutingKey)
	if err != nil {
		return nil, err
	}
	info, err := ch.props.inspect(ch, p.Msg.Props())
	if err != nil {
		return nil, err
	}
	p.Msg.SetAttributes(info.persistent, info.priority)
	if info.request {
		if err := ch.setReplyAddress(p); err != nil {
			return nil, err
		}
	}
	if info.expires {
		p.Msg.SetTTL(info.ttl)
	}
	switch {
	case info.extraKeys:
		more, err := senderSelected(p)
		if err != nil {
			return nil, err
		}
		rt = ch.route(k, p.Msg, append([]string{string(p.RoutingKey)}, more...)...)
	case rt == nil:
		rt = ch.route(k, p.Msg, string(p.RoutingKey))
	}
	p.Msg.SetRoute(k.name, rt.key)
	return rt, nil
}

// inspected is what the broker needs to know of a message's properties.
type inspected struct {
	persistent bool
	priority   uint8
	extraKeys  bool // the headers name CC or BCC
	request    bool // reply-to is to be replaced by the channel's address
	expires    bool
	ttl        int64 // milliseconds, if it expires
}

// inspector looks into the properties of publishes. Publishers mostly send the
// same properties again and again, so that the last ones found in order are
// remembered.
type inspector struct {
	scan message.PropertyScan
	last []byte
	info inspected
}

// inspect looks into properties. What it gives is good until the next call.
func (in *inspector) inspect(ch *Channel, props []byte) (*inspected, error) {
	if len(in.last) > 0 && bytes.Equal(props, in.last) {
		return &in.info, nil
	}
	s := &in.scan
	if err := message.ScanProperties(props, s); err != nil {
		return nil, &reply.Error{Code: reply.InternalError, NoMethod: true}
	}
	request := s.HasReplyTo && string(s.ReplyTo) == directReply
	if request && ch.replies.Load() == nil {
		return nil, reply.Errorf(reply.PreconditionFailed, "fast reply consumer does not exist")
	}
	if s.HasUserID && !ch.Impersonator && string(s.UserID) != ch.User {
		return nil, reply.Errorf(reply.PreconditionFailed,
			"user_id property set to '%s' but authenticated user was '%s'", s.UserID, ch.User)
	}
	in.last = in.last[:0]
	info := &in.info
	*info = inspected{priority: s.Priority, persistent: s.DeliveryMode == 2, request: request}
	if s.HasExpiration {
		var err error
		if info.ttl, err = parseExpiration(string(s.Expiration)); err != nil {
			return nil, err
		}
		info.expires = true
	}
	for _, name := range [...]string{"CC", "BCC"} {
		v, ok, err := message.FindField(s.Headers, name)
		if err != nil {
			return nil, &reply.Error{Code: reply.InternalError, NoMethod: true}
		}
		if !ok {
			continue
		}
		if _, isArray := v.([]any); !isArray {
			return nil, reply.Errorf(reply.PreconditionFailed,
				`invalid message: {unacceptable_type_in_header,"%s",%s}`, name, message.TypeName(v))
		}
		info.extraKeys = true
	}
	if s.HasDeliveryMode && s.DeliveryMode != 1 && s.DeliveryMode != 2 {
		return nil, reply.Errorf(reply.PreconditionFailed,
			"invalid message: {delivery_mode_unknown,%d}", s.DeliveryMode)
	}
	if len(props) <= maxInspected && !request { // which is looked at each time
		in.last = append(in.last, props...)
	}
	return info, nil
}

// maxInspected is how many octets of properties are remembered. To look into
// longer ones anew costs little beside the rest of them.
const maxInspected = 1 << 10

// senderSelected gives the keys of the CC and BCC headers, and takes BCC out of
// the message: receivers must not see it (contract 04 §8).
func senderSelected(p *Publish) (more []string, err error) {
	props, err := p.Msg.Properties()
	if err != nil {
		return nil, &reply.Error{Code: reply.InternalError, NoMethod: true}
	}
	var secret []string
	headers := make(message.Table, 0, len(props.Headers))
	hidden := false
	for _, f := range props.Headers {
		if f.Name == "BCC" && !hidden { // RabbitMQ hides the first only
			hidden = true
			continue
		}
		headers = append(headers, f)
	}
	for _, name := range [...]string{"CC", "BCC"} {
		v, _ := props.Headers.Get(name)
		keys, _ := v.([]any)
		for _, k := range keys {
			if k, ok := k.(string); ok {
				more = append(more, k)
				if name == "BCC" {
					secret = append(secret, k)
				}
			}
		}
	}
	if !hidden {
		return more, nil
	}
	props.Headers = headers
	if err := p.setProperties(props); err != nil {
		return nil, err
	}
	p.Msg.SetHiddenKeys(secret) // if it is dead-lettered they count again
	return more, nil
}

// setProperties replaces the message by one with other properties.
func (p *Publish) setProperties(props message.Properties) error {
	raw, err := props.Append(nil)
	if err != nil {
		return fmt.Errorf("encode the properties anew: %w", err)
	}
	old := p.Msg
	p.Msg = message.New("", "", raw, old.Size())
	p.Msg.AppendBody(old.Body())
	p.Msg.SetAttributes(old.Persistent(), old.Priority())
	if ms, ok := old.TTL(); ok {
		p.Msg.SetTTL(ms)
	}
	old.Release()
	return nil
}
