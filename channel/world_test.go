package channel_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// world is one virtual host with everything real but connections.
type world struct {
	t     testing.TB
	users *auth.Registry
	*vhost
	atoms *atomsType

	mu       sync.Mutex
	clients  []*client
	messages []*message.Message
}

// bubble runs a test in virtual time and with a world of its own. Inside, the
// events of a client are complete whenever they are looked at.
func bubble(t *testing.T, f func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { f(newWorld(t, time.Second)) })
}

// newWorld makes a world that is taken down, and checked for messages that
// somebody still holds, at the end of the test. late is how long a queue of the
// late type takes to confirm.
func newWorld(t testing.TB, late time.Duration) *world {
	w := &world{t: t, users: auth.New(auth.Options{}), atoms: &atomsType{}}
	exchangeTypes, err := exchange.NewTypes(turnsType{})
	require.NoError(t, err)
	queueTypes, err := queue.NewTypes(queue.Classic(), lateType{late}, w.atoms)
	require.NoError(t, err)
	w.vhost = &vhost{types: queueTypes, limit: -1, queues: map[string]*exchange.Destination{}}
	w.exchanges = exchange.NewTopology(w.Name(), exchangeTypes, w.destination)
	require.NoError(t, w.users.AddUser("guest", "guest"))
	w.permit("guest", ".*", ".*", ".*")
	t.Cleanup(w.end)
	return w
}

func (w *world) end() {
	for _, c := range w.clients {
		c.Close()
	}
	w.vhost.deleteAll()
	w.running.Wait()
	for i, m := range w.messages {
		if n := m.Refs(); n != 0 {
			w.t.Errorf("message %d of %d, %q: %d references are left", i+1, len(w.messages), m.Body(), n)
		}
	}
}

// track keeps a message from being recycled, so that end can count its
// references.
func (w *world) track(m *message.Message) {
	m.Pin()
	w.mu.Lock()
	w.messages = append(w.messages, m)
	w.mu.Unlock()
}

func (w *world) permit(user, configure, write, read string) {
	require.NoError(w.t, w.users.SetPermissions(auth.Permission{
		User: user, VHost: w.Name(), Configure: configure, Write: write, Read: read,
	}))
}

// permitTopic limits the keys of a user at amq.topic.
func (w *world) permitTopic(user, write, read string) {
	require.NoError(w.t, w.users.SetTopicPermissions(auth.TopicPermission{
		User: user, VHost: w.Name(), Exchange: "amq.topic", Write: write, Read: read,
	}))
}

// open opens a channel of guest on connection 1, but for what change says.
func (w *world) open(change ...func(*channel.Config)) *client {
	access, ok := w.users.Access("guest", w.Name())
	require.True(w.t, ok)
	c := &client{w: w}
	cfg := channel.Config{
		VHost: w.vhost, Access: access, User: "guest", Connection: 1,
		Out: c, MaxMessageSize: 1 << 20, MaxUnsent: 1 << 20,
	}
	for _, f := range change {
		f(&cfg)
	}
	c.Channel = channel.New(cfg)
	w.clients = append(w.clients, c)
	return c
}

// openAs opens a channel of user u with the given rights on connection 2.
func (w *world) openAs(configure, write, read string) *client {
	if _, ok := w.users.User("u"); !ok {
		require.NoError(w.t, w.users.AddUser("u", "u"))
	}
	w.permit("u", configure, write, read)
	return w.open(func(c *channel.Config) {
		c.Access, _ = w.users.Access("u", w.Name())
		c.User, c.Connection = "u", 2
	})
}

// stat looks at a queue.
func (w *world) stat(name string) queue.Stat {
	h, ok := w.Queue(name)
	require.True(w.t, ok, "queue %s", name)
	s, err := h.Stat()
	require.NoError(w.t, err)
	return s
}

// vhost implements channel.VHost.
type vhost struct {
	exchanges *exchange.Topology
	types     *queue.Types
	watcher   channel.Watcher // may be nil
	running   sync.WaitGroup
	replies   channel.Replies

	mu     sync.RWMutex
	limit  int // of queues; negative is none
	queues map[string]*exchange.Destination
}

func (v *vhost) Name() string                  { return "v" }
func (v *vhost) Exchanges() *exchange.Topology { return v.exchanges }
func (v *vhost) QueueTypes() *queue.Types      { return v.types }

func (v *vhost) Watcher() channel.Watcher { return v.watcher }
func (v *vhost) Settle(then func(error))  { then(nil) }
func (v *vhost) DeleteLost(string)        {}

func (v *vhost) Replies() *channel.Replies { return &v.replies }

func (v *vhost) destination(name string) *exchange.Destination {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.queues[name]
}

func (v *vhost) Queue(name string) (*queue.Host, bool) {
	d := v.destination(name)
	if d == nil {
		return nil, false
	}
	return d.Target.(*queue.Host), true
}

func (v *vhost) CheckQueueLimit(name string) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.limit < 0 || len(v.queues) < v.limit {
		return nil
	}
	return reply.Errorf(reply.PreconditionFailed,
		"cannot declare queue '%s': queue limit in vhost 'v' (%d) is reached", name, v.limit)
}

func (v *vhost) DeclareQueue(s queue.Spec) (*queue.Host, bool, error) {
	t, _ := v.types.Lookup(s.Type)
	v.mu.Lock()
	defer v.mu.Unlock()
	if d := v.queues[s.Name]; d != nil {
		return d.Target.(*queue.Host), false, nil
	}
	h, err := queue.NewHost(t, s, queue.HostEnv{Go: v.start, Gone: v.gone})
	if err != nil {
		return nil, false, err
	}
	v.queues[s.Name] = &exchange.Destination{Kind: exchange.KindQueue, Name: s.Name, Target: h}
	v.exchanges.Touch()
	return h, true, nil
}

func (v *vhost) start(f func()) bool {
	v.running.Go(f)
	return true
}

func (v *vhost) gone(h *queue.Host, _ error) {
	v.mu.Lock()
	d := v.queues[h.Spec().Name]
	delete(v.queues, h.Spec().Name)
	v.mu.Unlock()
	v.exchanges.Forget(d)
}

func (v *vhost) deleteAll() {
	v.mu.RLock()
	var hosts []*queue.Host
	for _, d := range v.queues {
		hosts = append(hosts, d.Target.(*queue.Host))
	}
	v.mu.RUnlock()
	for _, h := range hosts {
		_ = h.Delete(false, false, func(int) {}) // can only say that it is gone
	}
}

// lateType is a queue type from outside: a classic queue that refuses the body
// "bad" and confirms all else some time after it came. It can neither be
// server-named nor take consumers under a global qos.
type lateType struct{ delay time.Duration }

func (lateType) Name() string { return "late" }

func (lateType) Capabilities() queue.Capabilities {
	return queue.Capabilities{RabbitName: "rabbit_late_queue", Transient: true}
}

func (t lateType) Open(s queue.Spec, env queue.Env) (queue.Queue, error) {
	q, err := queue.Classic().Open(s, env)
	return &lateQueue{Queue: q, delay: t.delay}, err
}

type lateQueue struct {
	queue.Queue
	delay time.Duration
	owed  []message.PublishRef
}

func (q *lateQueue) Enqueue(in []queue.Publish, out *queue.Actions) {
	for _, p := range in {
		if string(p.Msg.Body()) == "bad" {
			p.Msg.Release()
			out.Reject = append(out.Reject, p.Ref)
			continue
		}
		if p.Ref.Wanted() {
			q.owed = append(q.owed, p.Ref)
			out.Wake = time.Now().Add(q.delay)
		}
		q.Queue.Enqueue([]queue.Publish{{Msg: p.Msg}}, out)
	}
}

func (q *lateQueue) Event(ev queue.Event, out *queue.Actions) {
	if ev.Kind == queue.TimeReached {
		q.confirm(out)
	}
	q.Queue.Event(ev, out)
}

func (q *lateQueue) Delete(ifUnused, ifEmpty bool, out *queue.Actions) (int, error) {
	n, err := q.Queue.Delete(ifUnused, ifEmpty, out)
	if err == nil {
		q.confirm(out)
	}
	return n, err
}

func (q *lateQueue) confirm(out *queue.Actions) {
	out.Confirm = append(out.Confirm, q.owed...)
	q.owed = nil
}

// turnsType is an exchange type from outside that gives its messages to its
// bindings in turn, and needs to see each message.
type turnsType struct{}

func (turnsType) Name() string                                          { return "turns" }
func (turnsType) Description() string                                   { return "in turn" }
func (turnsType) Validate(exchange.Spec) error                          { return nil }
func (turnsType) ValidateBinding(exchange.Spec, exchange.Binding) error { return nil }
func (turnsType) RoutesByKey(exchange.Spec) bool                        { return false }
func (turnsType) New(exchange.Spec) exchange.Router                     { return &turns{} }

type turns struct {
	to   []*exchange.Destination
	next int
}

func (r *turns) Bind(b exchange.Binding) exchange.Router {
	return &turns{to: append(r.to[:len(r.to):len(r.to)], b.Destination)}
}

func (r *turns) Unbind(exchange.Binding) exchange.Router { return &turns{} }

func (r *turns) Route(m *exchange.Subject, to []*exchange.Destination) []*exchange.Destination {
	if m.Message() == nil {
		panic("a message whose way depends on it, and no message")
	}
	d := r.to[r.next%len(r.to)]
	r.next++
	return append(to, d)
}

// check is one row of a table of refusals.
type check struct {
	name string
	// given prepares the virtual host on a channel of guest on connection 1.
	given func(o *client)
	// rights are configure, write and read of user u on connection 2, who does
	// what is to be judged. Without them he may do everything.
	rights []string
	do     func(c *client) error
	want   string // the error; empty if there is none
}

func runChecks(t *testing.T, checks []check) {
	t.Helper()
	t.Parallel()
	for _, k := range checks {
		t.Run(k.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				if k.given != nil {
					k.given(w.open())
				}
				rights := k.rights
				if rights == nil {
					rights = []string{".*", ".*", ".*"}
				}
				c := w.openAs(rights[0], rights[1], rights[2])
				c.refused(k.do(c), k.want)
			})
		})
	}
}

// locked is the text of contract 03 §8 for queue q.
const locked = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost 'v'. " +
	"It could be originally declared on another connection or the exclusive property value " +
	"does not match that of the original declaration."

func noAccess(kind, name string) string {
	return fmt.Sprintf("ACCESS_REFUSED - access to %s '%s' in vhost 'v' refused for user 'u'", kind, name)
}

func args(kv ...any) message.Table {
	var t message.Table
	for i := 0; i < len(kv); i += 2 {
		t = append(t, message.Field{Name: kv[i].(string), Value: kv[i+1]})
	}
	return t
}
