package channel

import (
	"github.com/warrenmq/warren/exchange"
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
		return xs.CheckEquivalent(x, s)
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
	return err
}

// DeleteExchange deletes an exchange; one that does not exist is fine.
func (ch *Channel) DeleteExchange(name string, ifUnused bool) error {
	ch.flush()
	name = stripped(name)
	xs := ch.VHost.Exchanges()
	if err := xs.CheckDelete(name); err != nil {
		return err
	}
	if err := ch.mayConfigureExchange(name); err != nil {
		return err
	}
	_, err := xs.Delete(name, ifUnused)
	return err
}

// BindExchange is exchange.bind: what source routes with key goes to destination.
func (ch *Channel) BindExchange(destination, source, key string, args message.Table) error {
	destination, source = stripped(destination), stripped(source)
	if err := ch.checkBindExchange(destination, source, key); err != nil {
		return err
	}
	_, err := ch.VHost.Exchanges().BindExchange(source, destination, key, args)
	return err
}

// UnbindExchange is exchange.unbind. A binding or exchange that does not exist
// is fine.
func (ch *Channel) UnbindExchange(destination, source, key string, args message.Table) error {
	destination, source = stripped(destination), stripped(source)
	if err := ch.checkBindExchange(destination, source, key); err != nil {
		return err
	}
	_, err := ch.VHost.Exchanges().UnbindExchange(source, destination, key, args)
	return err
}

func (ch *Channel) checkBindExchange(destination, source, key string) error {
	ch.flush()
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
