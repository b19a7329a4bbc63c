package metamorphic

import (
	"context"
	"errors"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren"
)

// errNoWords is the error of what the native API has no words for. A history in
// the narrow dialect does not ask for it.
var errNoWords = errors.New("the native API has no words for it")

// nativePeer plays a connection with native channels, each of which is one of its
// own to the broker.
type nativePeer struct {
	broker   *testBroker
	user     string
	log      *eventLog
	sessions []*nativeSession
	why      error
}

func (p *nativePeer) open(slot int) (session, error) {
	ch, err := p.broker.Channel(context.Background(), warren.User(p.user))
	if err != nil {
		return nil, nativeRefusal(err)
	}
	s := &nativeSession{ch: ch, slot: slot, peer: p, stops: map[string]func(){}}
	p.sessions = append(p.sessions, s)
	s.running.Go(func() {
		for r, err := range ch.Returns(context.Background()) {
			if err != nil {
				return // the channel has ended
			}
			s.cameBack(r)
		}
	})
	return s, nil
}

func (p *nativePeer) close() error {
	var all error
	for _, s := range p.sessions {
		all = errors.Join(all, s.Close())
	}
	p.why = errSilent
	return all
}

func (p *nativePeer) roundTrip() {}

func (p *nativePeer) sent() (n int, ok bool) { return 0, false }

// end ends all channels after an error of one that ends a connection.
func (p *nativePeer) end() error {
	if p.why != nil {
		return p.why
	}
	for _, s := range p.sessions {
		var e *warren.Error
		if errors.As(s.ch.Err(), &e) && e.Code.Hard() {
			_ = p.close() // it never fails
			p.why = s.end()
			return p.why
		}
	}
	return nil
}

func (p *nativePeer) connections() int {
	if p.end() != nil {
		return 0
	}
	n := 0
	for _, s := range p.sessions {
		if s.end() == nil {
			n++
		}
	}
	return n
}

func (p *nativePeer) events() *eventLog { return p.log }

// nativeSession gives the native API the client's methods.
type nativeSession struct {
	ch         *warren.Channel
	slot       int
	peer       *nativePeer
	confirming bool
	stops      map[string]func() // by consumer tag
	running    sync.WaitGroup
}

// nativeRefusal gives an error as transcripts show it.
func nativeRefusal(err error) error {
	var e *warren.Error
	if errors.As(err, &e) {
		return refusal(int(e.Code), e.ReplyText())
	}
	return err
}

func (s *nativeSession) end() error {
	if errors.Is(s.ch.Err(), warren.ErrChannelClosed) {
		return errSilent
	}
	return nativeRefusal(s.ch.Err())
}

func (s *nativeSession) Close() error {
	err := s.ch.Close()
	s.running.Wait()
	return err
}

// asClient gives an error as the client's methods do.
func asClient(err error) error {
	var e *warren.Error
	if errors.As(err, &e) {
		return &amqp.Error{Code: int(e.Code), Reason: e.ReplyText(), Server: true, Recover: !e.Code.Hard()}
	}
	return err
}

func (s *nativeSession) cameBack(r warren.Return) {
	m := publishingOf(r.Message)
	s.peer.log.add(event{slot: s.slot, stream: returned, text: showReturn(amqp.Return{
		ReplyCode: uint16(r.Code), ReplyText: r.Code.Name(), Exchange: r.Exchange, RoutingKey: r.RoutingKey,
		Headers: m.Headers, ContentType: m.ContentType, ContentEncoding: m.ContentEncoding,
		DeliveryMode: m.DeliveryMode, Priority: m.Priority, CorrelationId: m.CorrelationId, ReplyTo: m.ReplyTo,
		Expiration: m.Expiration, MessageId: m.MessageId, Timestamp: m.Timestamp, Type: m.Type, UserId: m.UserId,
		AppId: m.AppId, Body: m.Body,
	})})
}

func (s *nativeSession) confirm() error {
	s.confirming = true
	return nil
}

func (s *nativeSession) publish(p publish) (string, error) {
	if p.immediate {
		return "", errNoWords
	}
	var options []warren.PublishOption
	if p.mandatory {
		options = append(options, warren.Mandatory())
	}
	ctx, m := context.Background(), nativeMessage(p.msg)
	if !s.confirming {
		return "", asClient(s.ch.Publish(ctx, p.exchange, p.key, m, options...))
	}
	c, err := s.ch.PublishAsync(ctx, p.exchange, p.key, m, options...)
	if err != nil {
		return "", asClient(err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = c.Wait(ctx)
	switch {
	case err == nil:
		return "acked", nil
	case errors.As(err, new(*warren.NackError)):
		return "nacked", nil
	case errors.As(err, new(*warren.ReturnError)):
		// The return and the confirm are one answer here.
		s.cameBack(warren.Return{Exchange: p.exchange, RoutingKey: p.key, Code: noRoute, Message: m})
		return "acked", nil
	}
	return "", err
}

func (s *nativeSession) consume(c consume) error {
	var options []warren.ConsumeOption
	for _, f := range nativeTable(c.args) {
		options = append(options, warren.Arg(f.Name, f.Value))
	}
	if c.tag != "" {
		options = append(options, warren.Tag(c.tag))
	}
	if c.autoAck {
		options = append(options, warren.NoAck())
	}
	if c.exclusive {
		options = append(options, warren.Exclusive())
	}
	ctx, stop := context.WithCancel(context.Background())
	before := s.peer.broker.consumes.Load()
	ended := make(chan error, 1)
	done := make(chan struct{})
	s.running.Go(func() {
		defer close(done)
		for d, err := range s.ch.Consume(ctx, c.queue, options...) {
			if err != nil {
				if errors.Is(err, warren.ErrConsumerCancelled) {
					s.peer.log.add(event{slot: s.slot, stream: cancelled, text: tagName(c.tag)})
				}
				ended <- err
				return
			}
			s.peer.log.add(event{slot: s.slot, stream: "to " + tagName(c.tag), tag: d.DeliveryTag, text: showDelivery(deliveryOf(d))})
		}
	})
	// The loop does not say when it has begun. The broker says when it was asked for
	// the consumer, and the next call waits for the outcome.
	tick := time.NewTicker(50 * time.Microsecond)
	defer tick.Stop()
	for s.peer.broker.consumes.Load() == before {
		select {
		case err := <-ended:
			stop()
			return asClient(err)
		case <-tick.C:
		}
	}
	if s.ch.DeclareExchange(ctx, "amq.direct", "direct", warren.Passive()) != nil {
		stop()
		return asClient(<-ended) // the consumer was refused, which ends the channel
	}
	s.stops[c.tag] = func() {
		stop()
		<-done
	}
	return nil
}

// cancel leaves a consumer's loop.
func (s *nativeSession) cancel(tag string, requeue func() error) error {
	stop := s.stops[tag]
	if requeue == nil || stop == nil {
		return errNoWords
	}
	delete(s.stops, tag)
	stop()
	return nil
}

func (s *nativeSession) QueueDeclare(name string, durable, autoDelete, exclusive, _ bool, args amqp.Table) (amqp.Queue, error) {
	var options []warren.QueueOption
	if durable {
		options = append(options, warren.Durable())
	}
	if autoDelete {
		options = append(options, warren.AutoDelete())
	}
	if exclusive {
		options = append(options, warren.Exclusive())
	}
	return s.declareQueue(name, args, options)
}

func (s *nativeSession) QueueDeclarePassive(name string, _, _, _, _ bool, args amqp.Table) (amqp.Queue, error) {
	return s.declareQueue(name, args, []warren.QueueOption{warren.Passive()})
}

func (s *nativeSession) declareQueue(name string, args amqp.Table, options []warren.QueueOption) (amqp.Queue, error) {
	for _, f := range nativeTable(args) {
		options = append(options, warren.Arg(f.Name, f.Value))
	}
	q, err := s.ch.DeclareQueue(context.Background(), name, options...)
	return amqp.Queue{Name: q.Name, Messages: q.Messages, Consumers: q.Consumers}, asClient(err)
}

func (s *nativeSession) QueueBind(name, key, exchange string, _ bool, args amqp.Table) error {
	return asClient(s.ch.BindQueue(context.Background(), name, exchange, key, bindOptions(args)...))
}

func (s *nativeSession) QueueUnbind(name, key, exchange string, args amqp.Table) error {
	return asClient(s.ch.UnbindQueue(context.Background(), name, exchange, key, bindOptions(args)...))
}

func bindOptions(args amqp.Table) (options []warren.BindOption) {
	for _, f := range nativeTable(args) {
		options = append(options, warren.Arg(f.Name, f.Value))
	}
	return options
}

func (s *nativeSession) QueuePurge(name string, _ bool) (int, error) {
	n, err := s.ch.PurgeQueue(context.Background(), name)
	return n, asClient(err)
}

func (s *nativeSession) QueueDelete(name string, ifUnused, ifEmpty, _ bool) (int, error) {
	var options []warren.DeleteQueueOption
	if ifUnused {
		options = append(options, warren.IfUnused())
	}
	if ifEmpty {
		options = append(options, warren.IfEmpty())
	}
	n, err := s.ch.DeleteQueue(context.Background(), name, options...)
	return n, asClient(err)
}

func (s *nativeSession) ExchangeDeclare(name, kind string, durable, autoDelete, internal, _ bool, args amqp.Table) error {
	var options []warren.ExchangeOption
	if durable {
		options = append(options, warren.Durable())
	}
	if autoDelete {
		options = append(options, warren.AutoDelete())
	}
	if internal {
		options = append(options, warren.Internal())
	}
	for _, f := range nativeTable(args) {
		options = append(options, warren.Arg(f.Name, f.Value))
	}
	return asClient(s.ch.DeclareExchange(context.Background(), name, kind, options...))
}

func (s *nativeSession) ExchangeDeclarePassive(name, kind string, _, _, _, _ bool, _ amqp.Table) error {
	return asClient(s.ch.DeclareExchange(context.Background(), name, kind, warren.Passive()))
}

func (s *nativeSession) ExchangeDelete(name string, ifUnused, _ bool) error {
	var options []warren.DeleteExchangeOption
	if ifUnused {
		options = append(options, warren.IfUnused())
	}
	return asClient(s.ch.DeleteExchange(context.Background(), name, options...))
}

func (s *nativeSession) ExchangeBind(destination, key, source string, _ bool, args amqp.Table) error {
	return asClient(s.ch.BindExchange(context.Background(), destination, source, key, bindOptions(args)...))
}

func (s *nativeSession) ExchangeUnbind(destination, key, source string, _ bool, args amqp.Table) error {
	return asClient(s.ch.UnbindExchange(context.Background(), destination, source, key, bindOptions(args)...))
}

func (s *nativeSession) Get(queue string, autoAck bool) (amqp.Delivery, bool, error) {
	var options []warren.GetOption
	if autoAck {
		options = append(options, warren.NoAck())
	}
	d, ok, err := s.ch.Get(context.Background(), queue, options...)
	if err != nil || !ok {
		return amqp.Delivery{}, false, asClient(err)
	}
	return deliveryOf(d), true, nil
}

func (s *nativeSession) Ack(tag uint64, multiple bool) error {
	return asClient(s.ch.Ack(context.Background(), tag, multiple))
}

func (s *nativeSession) Nack(tag uint64, multiple, requeue bool) error {
	return asClient(s.ch.Nack(context.Background(), tag, multiple, requeue))
}

func (s *nativeSession) Reject(tag uint64, requeue bool) error { return s.Nack(tag, false, requeue) }

func (s *nativeSession) Recover(requeue bool) error {
	if !requeue {
		return errNoWords
	}
	return asClient(s.ch.Recover(context.Background()))
}

func (s *nativeSession) Qos(count, size int, global bool) error {
	if size != 0 {
		return errNoWords
	}
	return asClient(s.ch.Qos(context.Background(), count, global))
}

func (s *nativeSession) Tx() error         { return asClient(s.ch.TxSelect(context.Background())) }
func (s *nativeSession) TxCommit() error   { return asClient(s.ch.TxCommit(context.Background())) }
func (s *nativeSession) TxRollback() error { return asClient(s.ch.TxRollback(context.Background())) }
