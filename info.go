package warren

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/warrenmq/warren/connection"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/policy"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/transport"
)

// What can be seen of a broker: plain values of one moment each, in the terms of
// RabbitMQ's info calls. Asking for a queue waits for its turn, after what was
// published to it before.

// Stats counts what there is in a broker: see Broker.Stats.
type Stats struct {
	VHosts, Connections, Channels, Consumers int
	// Exchanges counts the pre-declared ones too.
	Exchanges, Queues int
	// Ready and Unacked are messages of all queues, ReadyBytes the bodies of the
	// ready ones.
	Ready, Unacked int
	ReadyBytes     int64
}

// ConnectionInfo is what can be seen of a connection, with its channels and
// their consumers.
type ConnectionInfo struct {
	// ID tells it from all others of the broker.
	ID uint64
	// Memory says that it is a Channel of the program, or one of package amqp091:
	// then it has no addresses and negotiated nothing. A connection through Dial
	// is like one over TCP.
	Memory bool
	connection.Info
}

// QueueInfo is what can be seen of a queue: how it was declared, and what is in it
// and happened to it, at one moment.
type QueueInfo struct {
	queue.Spec
	queue.Info
	PolicyInfo
}

// ExchangeInfo is what can be seen of an exchange: how it was declared, and its policy.
type ExchangeInfo struct {
	exchange.Spec
	PolicyInfo
}

// PolicyInfo is what policies do to a queue or an exchange.
type PolicyInfo struct {
	// Policy and OperatorPolicy are the names of those in force, empty for one that
	// is not there.
	Policy, OperatorPolicy string
	// PolicyDefinition is what the two come to, before it is merged with the arguments
	// of the declare. It must not be changed.
	PolicyDefinition Table
}

// BindingInfo is what can be seen of a binding. Those that every queue has from
// the default exchange are not shown.
type BindingInfo struct {
	VHost, Source, Destination string
	// ToExchange says that the destination is an exchange and not a queue.
	ToExchange bool
	RoutingKey string
	Arguments  Table
}

// Connections gives the open connections, the oldest first.
func (b *Broker) Connections() []ConnectionInfo {
	b.mu.Lock()
	links := make(map[client]link, len(b.conns))
	for c, l := range b.conns {
		links[c] = *l
	}
	b.mu.Unlock()
	all := make([]ConnectionInfo, 0, len(links))
	for c, l := range links {
		all = append(all, connectionInfo(c, l))
	}
	slices.SortFunc(all, func(x, y ConnectionInfo) int { return cmp.Compare(x.ID, y.ID) })
	return all
}

func connectionInfo(c client, l link) ConnectionInfo {
	i := ConnectionInfo{ID: c.ID()}
	switch c := c.(type) {
	case *connection.Conn:
		i.Info = c.Info()
	case *transport.Local:
		i = localInfo(c, l)
		for _, ch := range c.Info() {
			i.Channels = append(i.Channels, connection.ChannelInfo(ch))
		}
	}
	return i
}

// localInfo is what can be seen of a connection of the program but its channels.
func localInfo(c *transport.Local, l link) ConnectionInfo {
	return ConnectionInfo{ID: c.ID(), Memory: true, Info: connection.Info{
		Name: c.Name(), State: c.State(), User: l.user, VHost: l.vhost,
	}}
}

// vhostsNow gives the virtual hosts in the order of their names.
func (b *Broker) vhostsNow() []*vhost {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*vhost, 0, len(b.vhosts))
	for _, v := range b.vhosts {
		all = append(all, v)
	}
	slices.SortFunc(all, func(x, y *vhost) int { return strings.Compare(x.name, y.name) })
	return all
}

// vhostNamed gives one virtual host; the error wraps ErrNoVHost.
func (b *Broker) vhostNamed(name string) (*vhost, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := b.vhosts[name]; v != nil {
		return v, nil
	}
	return nil, fmt.Errorf("vhost '%s': %w", name, ErrNoVHost)
}

// Queues gives the queues of a virtual host, sorted by name, each at its own moment
// and as Queue does. The error wraps ErrNoVHost.
func (b *Broker) Queues(vhost string) ([]QueueInfo, error) {
	v, err := b.vhostNamed(vhost)
	if err != nil {
		return nil, err
	}
	return v.queuesInfo(), nil
}

// Queue gives one queue, after all that was published to it before the call. It waits
// for the queue's turn. The error wraps ErrNoVHost, or is a NotFound *Error.
func (b *Broker) Queue(vhost, name string) (QueueInfo, error) {
	v, err := b.vhostNamed(vhost)
	if err != nil {
		return QueueInfo{}, err
	}
	if h, ok := v.Queue(name); ok {
		info, err := h.Info()
		if err == nil {
			return v.queueInfo(h, info), nil
		}
		if !errors.Is(err, queue.ErrGone) {
			return QueueInfo{}, err
		}
	}
	return QueueInfo{}, v.noQueue(name)
}

func (v *vhost) queueInfo(h *queue.Host, info queue.Info) QueueInfo {
	m := v.policies.Load().ForQueue(h.Spec().Name, h.Capabilities().Policies)
	return QueueInfo{h.Spec(), info, policyInfo(m)}
}

func policyInfo(m policy.Match) PolicyInfo {
	i := PolicyInfo{PolicyDefinition: m.Definition()}
	i.Policy, i.OperatorPolicy = m.Names()
	return i
}

// queuesInfo leaves out queues that go while it asks.
func (v *vhost) queuesInfo() []QueueInfo {
	var all []QueueInfo
	for _, d := range v.queues.Load().All() {
		h := d.Target.(*queue.Host)
		if info, err := h.Info(); err == nil {
			all = append(all, v.queueInfo(h, info))
		}
	}
	slices.SortFunc(all, func(x, y QueueInfo) int { return strings.Compare(x.Name, y.Name) })
	return all
}

// Exchanges gives the exchanges of a virtual host, sorted by name, the default
// exchange with its empty name first. The error wraps ErrNoVHost.
func (b *Broker) Exchanges(vhost string) ([]ExchangeInfo, error) {
	v, err := b.vhostNamed(vhost)
	if err != nil {
		return nil, err
	}
	return v.exchangesInfo(), nil
}

func (v *vhost) exchangesInfo() []ExchangeInfo {
	var all []ExchangeInfo
	for x := range v.exchanges.All() {
		all = append(all, ExchangeInfo{x.Spec(), policyInfo(v.policies.Load().ForExchange(x.Name()))})
	}
	slices.SortFunc(all, func(x, y ExchangeInfo) int { return strings.Compare(x.Name, y.Name) })
	return all
}

// Bindings gives the bindings of a virtual host, sorted by source and
// destination. The error wraps ErrNoVHost.
func (b *Broker) Bindings(vhost string) ([]BindingInfo, error) {
	v, err := b.vhostNamed(vhost)
	if err != nil {
		return nil, err
	}
	var all []BindingInfo
	for _, x := range v.exchanges.Bindings() {
		all = append(all, bindingInfo(vhost, x))
	}
	return all, nil
}

func bindingInfo(vhost string, x exchange.Binding) BindingInfo {
	return BindingInfo{
		VHost: vhost, Source: x.Source, Destination: x.Destination.Name,
		ToExchange: x.Destination.Kind == exchange.KindExchange,
		RoutingKey: x.Key, Arguments: x.Arguments,
	}
}

// Stats counts what there is in all virtual hosts.
func (b *Broker) Stats() Stats {
	var s Stats
	for _, c := range b.Connections() {
		s.Connections++
		s.Channels += len(c.Channels)
	}
	for _, v := range b.vhostsNow() {
		s.VHosts++
		for range v.exchanges.All() {
			s.Exchanges++
		}
		for _, q := range v.queuesInfo() {
			s.Queues++
			s.Consumers += q.Consumers
			s.Ready += q.Ready
			s.Unacked += q.Unacked
			s.ReadyBytes += q.ReadyBytes
		}
	}
	return s
}
