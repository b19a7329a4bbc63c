package warren_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/memstore"
	"github.com/warrenmq/warren/store/storetest"
)

// brokerOn gives a broker on a disk that is not open, with a store that can be told
// to fail. Who lets it fail closes it himself.
func brokerOn(t testing.TB, d *memstore.Disk, o warren.Options) (*warren.Broker, *storetest.Faulty) {
	t.Helper()
	s, err := d.Open()
	require.NoError(t, err)
	f := storetest.NewFaulty(s)
	o.Store = f
	b, err := warren.New(o)
	if err != nil {
		_ = s.Close()
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b, f
}

// durableBroker gives a broker on a new disk.
func durableBroker(t testing.TB) (*warren.Broker, *memstore.Disk) {
	t.Helper()
	d := memstore.NewDisk()
	b, _ := brokerOn(t, d, warren.Options{})
	return b, d
}

// restarted closes a broker and gives the next one on its disk.
func restarted(t testing.TB, b *warren.Broker, d *memstore.Disk) *warren.Broker {
	t.Helper()
	require.NoError(t, b.Close())
	b, _ = brokerOn(t, d, warren.Options{})
	return b
}

// afterCrash gives the broker that would come up if the machine stopped now.
func afterCrash(t testing.TB, d *memstore.Disk) *warren.Broker {
	t.Helper()
	b, _ := brokerOn(t, d.Crash(), warren.Options{})
	return b
}

// imaging keeps what a crash after each Apply leaves.
type imaging struct {
	store.Store
	disk   *memstore.Disk
	images []*memstore.Disk
}

func (s *imaging) Apply(changes []store.Change) error {
	defer func() { s.images = append(s.images, s.disk.Crash()) }()
	return s.Store.Apply(changes)
}

// images gives a disk as a crash leaves it, at first and after each Apply of what f
// does with a broker.
func images(t testing.TB, d *memstore.Disk, f func(*warren.Broker)) []*memstore.Disk {
	t.Helper()
	s, err := d.Open()
	require.NoError(t, err)
	im := &imaging{Store: s, disk: d, images: []*memstore.Disk{d.Crash()}}
	b, err := warren.New(warren.Options{Store: im})
	require.NoError(t, err)
	f(b)
	require.NoError(t, b.Close())
	return im.images
}

// world is what can be seen of the definitions of a broker.
type world struct {
	VHosts      []string
	Queues      map[string][]warren.QueueInfo
	Exchanges   map[string][]warren.ExchangeInfo
	Bindings    map[string][]warren.BindingInfo
	Users       []userSeen
	Permissions []warren.Permission
	Topics      []warren.TopicPermission
	Policies    map[string][2][]warren.Policy // of users and of operators
}

type userSeen struct {
	Name   string
	Tags   []string
	Hash   auth.PasswordHash
	Limits map[auth.Limit]int
}

// definitionsOf gives the definitions of a broker. Arguments that are not there and empty
// ones are the same.
func definitionsOf(t testing.TB, b *warren.Broker) world {
	t.Helper()
	w := world{
		VHosts: b.VHosts(), Queues: map[string][]warren.QueueInfo{}, Exchanges: map[string][]warren.ExchangeInfo{},
		Bindings: map[string][]warren.BindingInfo{}, Permissions: b.Auth().ListPermissions(), Topics: b.Auth().ListTopicPermissions(),
		Policies: map[string][2][]warren.Policy{},
	}
	for _, v := range w.VHosts {
		qs, err := b.Queues(v)
		require.NoError(t, err)
		for _, q := range qs {
			w.Queues[v] = append(w.Queues[v], warren.QueueInfo{Spec: q.Spec, PolicyInfo: q.PolicyInfo})
		}
		for i := range w.Queues[v] {
			tidy(&w.Queues[v][i].Arguments)
		}
		if w.Exchanges[v], err = b.Exchanges(v); err != nil {
			require.NoError(t, err)
		}
		for i := range w.Exchanges[v] {
			tidy(&w.Exchanges[v][i].Arguments)
		}
		w.Bindings[v], err = b.Bindings(v)
		require.NoError(t, err)
		for i := range w.Bindings[v] {
			tidy(&w.Bindings[v][i].Arguments)
		}
		users, err := b.Policies(v)
		require.NoError(t, err)
		operators, err := b.OperatorPolicies(v)
		require.NoError(t, err)
		if len(users)+len(operators) > 0 {
			w.Policies[v] = [2][]warren.Policy{users, operators}
		}
	}
	for _, u := range b.Auth().Users() {
		limits := u.Limits()
		if len(limits) == 0 {
			limits = nil
		}
		w.Users = append(w.Users, userSeen{u.Name(), u.Tags(), u.PasswordHash(), limits})
	}
	return w
}

func tidy(args *message.Table) {
	if len(*args) == 0 {
		*args = nil
	}
}

// persistent is a persistent message.
func persistent(body string) warren.Message {
	return warren.Message{Properties: warren.Properties{DeliveryMode: 2}, Body: []byte(body)}
}

// durableQueue declares a durable queue and puts persistent messages into it.
func durableQueue(t testing.TB, ch *warren.Channel, name string, bodies ...string) {
	t.Helper()
	_, err := ch.DeclareQueue(t.Context(), name, warren.Durable())
	require.NoError(t, err)
	for _, body := range bodies {
		require.NoError(t, ch.PublishConfirmed(t.Context(), "", name, persistent(body)))
	}
}

// queueNames gives the names of the queues in a virtual host.
func queueNames(t testing.TB, b *warren.Broker, vhost string) (names []string) {
	t.Helper()
	qs, err := b.Queues(vhost)
	require.NoError(t, err)
	for _, q := range qs {
		names = append(names, q.Name)
	}
	return names
}
