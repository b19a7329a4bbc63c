package channel

import (
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// routes is a channel's memory of where publishes go. It holds for one
// generation of the virtual host's topology and of the user's rights: when
// either changes, it is forgotten whole.
type routes struct {
	topology, rights uint64
	exchanges        map[string]*knownExchange
	last             *knownExchange
	subject          exchange.Subject
	found            []*exchange.Destination
	once             route // of a message whose way is not remembered
}

// knownExchange is an exchange that this channel may publish to.
type knownExchange struct {
	name string
	x    *exchange.Exchange
	// routes are the known ways by routing key.
	routes map[string]*route
	last   *route
	// byContent says that messages to this exchange have to be looked at: the key
	// alone does not tell their way.
	byContent bool
}

// route is where one routing key leads.
type route struct {
	key   string
	hosts []*queue.Host
}

const (
	maxExchanges = 64
	maxRoutes    = 1024
)

// lookupRoute finds the exchange, checks that the user may write to it, and
// gives the remembered route, or nil if the message has to be looked at.
func (ch *Channel) lookupRoute(name, key []byte) (*route, *knownExchange, error) {
	r := &ch.routes
	topology, rights := ch.VHost.Exchanges().Generation(), ch.Access.Generation()
	if topology != r.topology || rights != r.rights {
		r.topology, r.rights = topology, rights
		r.exchanges, r.last = nil, nil
	}
	k := r.last
	if k == nil || k.name != string(name) {
		k = r.exchanges[string(name)]
	}
	if k == nil {
		var err error
		if k, err = ch.knowExchange(string(name)); err != nil {
			return nil, nil, err
		}
	}
	r.last = k
	if rt := k.last; rt != nil && rt.key == string(key) {
		return rt, k, nil
	}
	rt := k.routes[string(key)]
	if rt == nil {
		s := string(key)
		if err := ch.mayWriteTopic(k, s); err != nil {
			return nil, nil, err
		}
		rt = ch.routeByKey(k, s)
	}
	k.last = rt
	return rt, k, nil
}

func (ch *Channel) knowExchange(name string) (*knownExchange, error) {
	if err := ch.mayWriteExchange(name); err != nil {
		return nil, err
	}
	x, ok := ch.VHost.Exchanges().Lookup(name)
	if !ok {
		return nil, ch.noExchange(name)
	}
	if x.Internal() {
		return nil, reply.Errorf(reply.AccessRefused,
			"cannot publish to internal exchange '%s' in vhost '%s'", name, ch.VHost.Name())
	}
	r := &ch.routes
	if r.exchanges == nil || len(r.exchanges) >= maxExchanges {
		r.exchanges = map[string]*knownExchange{}
	}
	k := &knownExchange{name: x.Name(), x: x}
	r.exchanges[k.name] = k
	return k, nil
}

// routeByKey routes a message by its key alone, and remembers the way. It gives
// nil if the key alone does not tell.
func (ch *Channel) routeByKey(k *knownExchange, key string) *route {
	if k.byContent {
		return nil
	}
	r := &ch.routes
	r.subject.Reset(nil, key)
	hosts, byKey := r.resolve(ch, k.x, nil)
	if !byKey {
		k.byContent = true
		return nil
	}
	rt := &route{key: key, hosts: hosts}
	if k.routes == nil || len(k.routes) >= maxRoutes {
		k.routes = map[string]*route{}
	}
	k.routes[key] = rt
	return rt
}

// compute routes a message that has to be looked at. The first key is the
// primary one. The result is good until the next call.
func (r *routes) compute(ch *Channel, k *knownExchange, m *message.Message, keys ...string) *route {
	r.subject.Reset(m, keys...)
	hosts, _ := r.resolve(ch, k.x, r.once.hosts[:0])
	r.subject.Reset(nil)
	r.once = route{key: keys[0], hosts: hosts}
	return &r.once
}

// resolve routes the subject and appends the queues to hosts.
func (r *routes) resolve(ch *Channel, x *exchange.Exchange, hosts []*queue.Host) (_ []*queue.Host, byKey bool) {
	r.found, byKey = ch.VHost.Exchanges().Route(x, &r.subject, r.found[:0])
	for _, d := range r.found {
		hosts = append(hosts, d.Target.(*queue.Host))
	}
	clear(r.found)
	return hosts, byKey
}
