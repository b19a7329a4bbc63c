package channel

import (
	"slices"

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
	size             int               // exchanges, routes and their queues
	subject          *exchange.Subject // nil before the first publish: many channels only consume
	found            []*exchange.Destination
	once             route // of a message whose way is not remembered
}

// maxRemembered is how large routes.size may be. A single route may be larger.
const maxRemembered = 4096

// knownExchange is an exchange that this channel may publish to.
type knownExchange struct {
	name string
	x    *exchange.Exchange
	// routes are the known ways by routing key.
	routes map[string]*route
	last   *route
}

// route is where one routing key leads.
type route struct {
	key   string
	more  []string // further keys of the message, by CC and BCC
	reply bool     // a key may be the address of a direct reply
	hosts []*queue.Host
}

// lookup finds the exchange, checks that the user may publish to it with that
// key, and gives the remembered route, or nil if there is none.
func (ch *Channel) lookup(name, key []byte) (*knownExchange, *route, error) {
	r := &ch.routes
	topology, rights := ch.VHost.Exchanges().Generation(), ch.Access.Generation()
	if topology != r.topology || rights != r.rights {
		r.topology, r.rights = topology, rights
		r.forget()
	}
	k := r.last
	if k == nil || k.name != string(name) {
		if k = r.exchanges[string(name)]; k == nil {
			var err error
			if k, err = ch.knowExchange(string(name)); err != nil {
				return nil, nil, err
			}
		}
		r.last = k
	}
	if rt := k.last; rt != nil && rt.key == string(key) {
		return k, rt, nil
	}
	if rt := k.routes[string(key)]; rt != nil {
		k.last = rt
		return k, rt, nil
	}
	return k, nil, ch.mayWriteTopic(k, key)
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
	k := &knownExchange{name: x.Name(), x: x}
	ch.routes.makeRoom(1)
	ch.routes.keep(k)
	return k, nil
}

// route finds the way of a message, and remembers it if it depends on the key
// alone. The first key is the primary one. The result is good until the next
// call.
func (ch *Channel) route(k *knownExchange, m *message.Message, keys ...string) *route {
	r := &ch.routes
	m.SetRoute(k.name, keys[0]) // for types from outside, which see the message
	if r.subject == nil {
		r.subject = new(exchange.Subject)
	}
	r.subject.Reset(m, keys...)
	found, byKey := ch.VHost.Exchanges().Route(k.x, r.subject, r.found[:0])
	r.subject.Reset(nil)
	rt := &r.once
	if byKey && len(keys) == 1 {
		rt = &route{hosts: make([]*queue.Host, 0, len(found))}
	}
	rt.key, rt.more, rt.hosts = keys[0], keys[1:], rt.hosts[:0]
	rt.reply = k.name == "" && slices.ContainsFunc(keys, isReplyAddress)
	for _, d := range found {
		rt.hosts = append(rt.hosts, d.Target.(*queue.Host))
	}
	clear(found)
	r.found = found
	if rt != &r.once {
		r.remember(k, rt)
	}
	return rt
}

func (r *routes) remember(k *knownExchange, rt *route) {
	if r.makeRoom(1 + len(rt.hosts)) {
		k.routes = nil
		r.keep(k)
	}
	if k.routes == nil {
		k.routes = map[string]*route{}
	}
	k.routes[rt.key] = rt
	k.last = rt
}

// makeRoom counts what is to be remembered, and reports whether everything else
// had to be forgotten for it.
func (r *routes) makeRoom(n int) (forgot bool) {
	forgot = r.size+n > maxRemembered
	if forgot {
		r.forget()
	}
	r.size += n
	return forgot
}

func (r *routes) keep(k *knownExchange) {
	if r.exchanges == nil {
		r.exchanges = map[string]*knownExchange{}
	}
	r.exchanges[k.name] = k
}

func (r *routes) forget() {
	r.exchanges, r.last, r.size = nil, nil, 0
	clear(r.once.hosts[:cap(r.once.hosts)])
}
