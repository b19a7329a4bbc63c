package warren

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/policy"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/store/memstore"
)

// records are one definition of most kinds.
func records() []record {
	return []record{
		counterRecord{Next: 7},
		vhostRecord{ID: 1, Name: "/", MaxConnections: -1, MaxQueues: 5},
		permissionRecord{Permission{User: "ann", VHost: "/", Read: ".*"}},
		topicPermissionRecord{TopicPermission{User: "ann", VHost: "/", Exchange: "x"}},
		exchangeRecord{1, exchange.Spec{Name: "x", Type: "topic", Durable: true, Arguments: message.Table{{Name: "a", Value: int32(1)}}}},
		queueRecord{1, 2, queue.Spec{Name: "q", Type: "classic", Durable: true}},
		bindingRecord{1, BindingInfo{Source: "x", Destination: "q", RoutingKey: "#"}},
		policyRecord{1, policy.Operator, Policy{Name: "p", ApplyTo: policy.Queues, Definition: message.Table{{Name: "expires", Value: int64(5)}}}},
	}
}

func TestADefinitionThatWasWrittenIsRead(t *testing.T) {
	t.Parallel()
	k := &kept{vhosts: map[uint64]vhostRecord{}}
	for _, r := range records() {
		d := define(r)
		require.NoError(t, k.read(d.Kind, d.Key, d.Value))
	}
	require.Equal(t, uint64(7), k.counter)
	require.Equal(t, "/", k.vhosts[1].Name)
	require.Equal(t, []int{1, 1, 1, 1, 1}, []int{len(k.permissions), len(k.topics), len(k.exchanges), len(k.queues), len(k.bindings)})
	require.Equal(t, []policyRecord{records()[7].(policyRecord)}, k.policies)
}

// Nothing that is checked at the borders comes to this. If it ever does, whoever asks
// for the change hears of it, and nobody else.
func TestADefinitionThatNoTableCanHoldIsAnError(t *testing.T) {
	t.Parallel()
	s, err := memstore.NewDisk().Open()
	require.NoError(t, err)
	b, err := New(Options{Store: s})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	bad := message.Table{{Name: "a", Value: make(chan int)}}
	for _, r := range []record{
		exchangeRecord{1, exchange.Spec{Name: "x", Arguments: bad}},
		queueRecord{1, 2, queue.Spec{Name: "q", Arguments: bad}},
		bindingRecord{1, BindingInfo{Source: "x", Destination: "q", Arguments: bad}},
	} {
		b.defs.commit(define(r))
		require.ErrorContains(t, b.settled(), "arguments")
		require.NoError(t, b.settled(), "what follows is kept")
		b.defs.commit(undefine(r))
		require.NoError(t, b.settled())
	}
	require.NoError(t, b.AddVHost("v"))
	require.NoError(t, b.Health())
}

// heldWatch hands nothing over until it is let go.
type heldWatch struct {
	watch
	seen, letGo chan struct{}
	handed      atomic.Bool
}

func (w *heldWatch) Changed() {
	close(w.seen)
	<-w.letGo
	w.watch.Changed()
	w.handed.Store(true)
}

// Who finds an exchange that somebody else has just made is told so when it is
// durable, even if it was not handed over when it was found.
func TestWhatSomebodyElseMakesIsWaitedForToo(t *testing.T) {
	t.Parallel()
	s, err := memstore.NewDisk().Open()
	require.NoError(t, err)
	b, err := New(Options{Store: s})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	v := b.vhosts["/"]
	w := &heldWatch{watch: watch{b, v}, seen: make(chan struct{}), letGo: make(chan struct{})}
	v.exchanges.Watch(w)
	declared := make(chan error, 1)
	go func() {
		_, _, err := v.exchanges.Declare(exchange.Spec{Name: "x", Type: "direct", Durable: true})
		declared <- err
	}()
	<-w.seen
	_, found := v.exchanges.Lookup("x")
	require.True(t, found)
	settled := make(chan bool, 1)
	go func() {
		v.Settle(func(err error) { settled <- err == nil && w.handed.Load() })
	}()
	select {
	case early := <-settled:
		require.True(t, early, "it was not even handed over")
	case <-time.After(20 * time.Millisecond): // it waits
	}
	close(w.letGo)
	require.NoError(t, <-declared)
	require.True(t, <-settled)
}

func FuzzReadDefinition(f *testing.F) {
	for _, r := range records() {
		d := define(r)
		f.Add(d.Kind, d.Value)
	}
	f.Add(kindUser, []byte{})
	f.Fuzz(func(t *testing.T, kind byte, value []byte) {
		k := newKept()
		_ = k.read(kind, []byte("key"), value) // an error, or a definition; no panic
	})
}
