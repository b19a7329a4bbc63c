package channel

import (
	"slices"

	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/intercept"
	"github.com/warrenmq/warren/message"
)

// ExchangeDeclare is exchange.declare.
type ExchangeDeclare struct {
	Name, Type string
	// Passive only asks whether the exchange exists.
	Passive, Durable, AutoDelete, Internal bool
	Arguments                              message.Table
}

// DeclareExchange makes an exchange, or finds it equivalent to the one there is
// (contract 03 §5).
func (ch *Channel) DeclareExchange(d ExchangeDeclare) error {
	ch.flush()
	if err := ch.interceptExchangeDeclare(&d); err != nil {
		return err
	}
	name := stripped(d.Name)
	xs := ch.VHost.Exchanges()
	if d.Passive {
		if err := xs.CheckNotDefault(name); err != nil {
			return err
		}
		_, err := xs.Find(name)
		return err
	}
	if err := xs.CheckType(d.Type); err != nil {
		return err
	}
	if err := xs.CheckNotDefault(name); err != nil {
		return err
	}
	if err := ch.mayConfigureExchange(name); err != nil {
		return err
	}
	s := exchange.Spec{
		Name: name, VHost: ch.VHost.Name(), Type: d.Type,
		Durable: d.Durable, AutoDelete: d.AutoDelete, Internal: d.Internal, Arguments: d.Arguments,
	}
	if x, ok := xs.Lookup(name); ok {
		if err := xs.CheckEquivalent(x, s); err != nil || !s.Durable {
			return err
		}
		return ch.lasting(nil, ch.exchangeResource(name)) // it may have been made just now
	}
	if err := xs.CheckReserved(name); err != nil {
		return err
	}
	if err := xs.CheckArguments(s); err != nil {
		return err
	}
	if ae, ok := s.Arguments.Get("alternate-exchange"); ok {
		if err := ch.mayReadExchange(name); err != nil {
			return err
		}
		if err := ch.mayWriteExchange(ae.(string)); err != nil { // CheckArguments saw that it is one
			return err
		}
	}
	_, _, err := xs.Declare(s)
	if !s.Durable {
		return err
	}
	return ch.lasting(err, ch.exchangeResource(name))
}

// DeleteExchange deletes an exchange; one that does not exist is fine.
func (ch *Channel) DeleteExchange(name string, ifUnused bool) error {
	ch.flush()
	m, err := intercepted(ch, intercept.ExchangeDelete{Exchange: name, IfUnused: ifUnused})
	if err != nil {
		return err
	}
	name = stripped(m.Exchange)
	xs := ch.VHost.Exchanges()
	if err := xs.CheckDelete(name); err != nil {
		return err
	}
	if err := ch.mayConfigureExchange(name); err != nil {
		return err
	}
	r, err := xs.Delete(name, m.IfUnused)
	if len(r.Exchanges) > 0 && !slices.ContainsFunc(r.Exchanges, func(x *exchange.Exchange) bool { return x.Spec().Durable }) {
		return nil
	}
	return ch.lasting(err, ch.exchangeResource(name))
}

// BindExchange is exchange.bind: what source routes with key goes to destination.
func (ch *Channel) BindExchange(destination, source, key string, args message.Table) error {
	ch.flush()
	m, err := intercepted(ch, intercept.ExchangeBind{Destination: destination, Source: source, RoutingKey: key, Arguments: args})
	if err != nil {
		return err
	}
	destination, source = stripped(m.Destination), stripped(m.Source)
	if err := ch.checkBindExchange(destination, source, m.RoutingKey); err != nil {
		return err
	}
	_, err = ch.VHost.Exchanges().BindExchange(source, destination, m.RoutingKey, m.Arguments)
	return ch.lastingBindings(err, source, ch.exchangeLasts(destination), ch.exchangeResource(destination))
}

// UnbindExchange is exchange.unbind. A binding or exchange that does not exist
// is fine.
func (ch *Channel) UnbindExchange(destination, source, key string, args message.Table) error {
	ch.flush()
	m, err := intercepted(ch, intercept.ExchangeUnbind{Destination: destination, Source: source, RoutingKey: key, Arguments: args})
	if err != nil {
		return err
	}
	destination, source = stripped(m.Destination), stripped(m.Source)
	if err := ch.checkBindExchange(destination, source, m.RoutingKey); err != nil {
		return err
	}
	_, err = ch.VHost.Exchanges().UnbindExchange(source, destination, m.RoutingKey, m.Arguments)
	return ch.lastingBindings(err, source, ch.exchangeLasts(destination), ch.exchangeResource(destination))
}

func (ch *Channel) checkBindExchange(destination, source, key string) error {
	if err := ch.mayWriteExchange(destination); err != nil {
		return err
	}
	for _, name := range []string{destination, source} {
		if err := ch.VHost.Exchanges().CheckNotDefault(name); err != nil {
			return err
		}
	}
	if err := ch.mayReadExchange(source); err != nil {
		return err
	}
	return ch.mayReadTopic(source, key)
}
