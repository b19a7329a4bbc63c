package connection

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/limiter"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// fakeBroker is the least broker that connections can work with: one virtual
// host, real users and real queues.
type fakeBroker struct {
	auth  *auth.Registry
	vhost *fakeVHost
	log   *recorder
	wg    sync.WaitGroup

	alarms limiter.Alarms

	mu          sync.Mutex
	refuse      error       // the answer to Open
	onRelease   func(*Conn) // called by Release, if not nil
	maxChannels int
	opened      map[uint64]int // by connection
	released    map[uint64]int
}

func newFakeBroker(t testing.TB) *fakeBroker {
	types, err := exchange.NewTypes()
	require.NoError(t, err)
	queueTypes, err := queue.NewTypes(queue.Classic())
	require.NoError(t, err)
	b := &fakeBroker{
		auth: auth.New(auth.Options{}), log: &recorder{}, maxChannels: auth.Unlimited,
		opened: map[uint64]int{}, released: map[uint64]int{},
	}
	require.NoError(t, b.auth.AddDefaultUser())
	b.vhost = &fakeVHost{b: b, types: queueTypes, queues: map[string]*exchange.Destination{}}
	b.vhost.exchanges = exchange.NewTopology("/", types, b.vhost.destination)
	return b
}

func (b *fakeBroker) Mechanisms() string { return b.auth.Mechanisms() }

func (b *fakeBroker) Authenticate(mechanism string, response []byte, peer net.Addr) (*auth.User, error) {
	return b.auth.Authenticate(mechanism, response, peer)
}

func (b *fakeBroker) Open(c *Conn, vhost string, user *auth.User) (channel.VHost, *auth.Access, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return nil, nil, b.refuse
	}
	access, ok := b.auth.Access(user.Name(), vhost)
	if !ok {
		return nil, nil, reply.Errorf(reply.NotAllowed, "vhost %s not found", vhost)
	}
	b.opened[c.ID()]++
	return b.vhost, access, nil
}

func (b *fakeBroker) Opened(*Conn) {}

func (b *fakeBroker) Release(c *Conn, _ reply.Reason) {
	b.mu.Lock()
	b.released[c.ID()]++
	then := b.onRelease
	b.mu.Unlock()
	if then != nil {
		then(c)
	}
	for _, h := range b.vhost.ownedBy(c.ID()) {
		if err := h.Delete(false, false, func(int) {}); err != nil && !errors.Is(err, queue.ErrGone) {
			panic(err)
		}
	}
}

func (b *fakeBroker) MaxChannels(*Conn, string) (limit, elsewhere int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.maxChannels, 0
}

func (b *fakeBroker) start(f func()) bool { b.wg.Go(f); return true }

// balanced checks that every Open was followed by exactly one Release.
func (b *fakeBroker) balanced(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Equal(t, b.opened, b.released, "Open and Release by connection")
}

type fakeVHost struct {
	b         *fakeBroker
	exchanges *exchange.Topology
	types     *queue.Types
	replies   channel.Replies

	mu     sync.Mutex
	queues map[string]*exchange.Destination
}

func (v *fakeVHost) Name() string                  { return "/" }
func (v *fakeVHost) Exchanges() *exchange.Topology { return v.exchanges }
func (v *fakeVHost) QueueTypes() *queue.Types      { return v.types }
func (v *fakeVHost) CheckQueueLimit(string) error  { return nil }
func (v *fakeVHost) Watcher() channel.Watcher      { return nil }
func (v *fakeVHost) Settle(then func(error))       { then(nil) }
func (v *fakeVHost) DeleteLost(string)             {}
func (v *fakeVHost) Replies() *channel.Replies     { return &v.replies }

func (v *fakeVHost) destination(name string) *exchange.Destination {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.queues[name]
}

func (v *fakeVHost) Queue(name string) (*queue.Host, bool) {
	if d := v.destination(name); d != nil {
		return d.Target.(*queue.Host), true
	}
	return nil, false
}

func (v *fakeVHost) DeclareQueue(s queue.Spec) (*queue.Host, bool, error) {
	typ, _ := v.types.Lookup(s.Type)
	h, err := queue.NewHost(typ, s, queue.HostEnv{Go: v.b.start, Gone: v.gone})
	if err != nil {
		return nil, false, err
	}
	v.mu.Lock()
	v.queues[s.Name] = &exchange.Destination{Kind: exchange.KindQueue, Name: s.Name, Target: h}
	v.mu.Unlock()
	v.exchanges.Touch()
	return h, true, nil
}

func (v *fakeVHost) gone(h *queue.Host, _ error) {
	v.mu.Lock()
	d := v.queues[h.Spec().Name]
	delete(v.queues, h.Spec().Name)
	v.mu.Unlock()
	v.exchanges.Forget(d)
}

func (v *fakeVHost) ownedBy(connection uint64) (owned []*queue.Host) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, d := range v.queues {
		if h := d.Target.(*queue.Host); h.Spec().Exclusive && h.Spec().Owner == connection {
			owned = append(owned, h)
		}
	}
	return owned
}

// ready is how many messages wait in a queue; -1 if there is none of that name.
func (b *fakeBroker) ready(t testing.TB, name string) int {
	t.Helper()
	h, ok := b.vhost.Queue(name)
	if !ok {
		return -1
	}
	st, err := h.Stat()
	require.NoError(t, err)
	return st.Ready
}

// recorder keeps what is logged, as "LEVEL text".
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recorder) WithGroup(string) slog.Handler            { return r }

func (r *recorder) Handle(_ context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, rec.Level.String()+" "+rec.Message)
	return nil
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.lines...)
}

// above gives the lines of a higher level than info.
func (r *recorder) above() (lines []string) {
	for _, l := range r.all() {
		if !strings.HasPrefix(l, "INFO") && !strings.HasPrefix(l, "DEBUG") {
			lines = append(lines, l)
		}
	}
	return lines
}

func testProperties() message.Table {
	return message.Table{
		{Name: "capabilities", Value: message.Table{{Name: "basic.nack", Value: true}}},
		{Name: "product", Value: "Warren"},
	}
}

func (b *fakeBroker) config() Config {
	return Config{
		Broker: b, Logger: slog.New(b.log), ServerProperties: testProperties(),
		ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60,
		HandshakeTimeout: 10 * time.Second, MaxMessageSize: 128 << 20, MaxUnsent: 128 << 10,
		Alarms: &b.alarms, Go: b.start,
	}
}
