package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/conformance"
	"github.com/warrenmq/warren/policy"
	"github.com/warrenmq/warren/store/badgerstore"
)

// TestConformance plays every scenario over TCP against a broker in this process
// and compares strictly: reply texts count. A scenario in pending.txt is played
// all the same, and fails the test if it passes. To play a few:
//
//	go test ./conformance -run TestConformance/queue/arg-
func TestConformance(t *testing.T) {
	t.Parallel()
	broker, addr := startBroker(t, warren.Options{})
	playAll(t, broker, conformance.Target{Addr: addr, User: "guest", Password: "guest", VHost: "/"})
}

// TestConformanceThroughMemory plays them through Broker.Dial.
func TestConformanceThroughMemory(t *testing.T) {
	t.Parallel()
	broker, err := warren.New(warren.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, broker.Close()) })
	playAll(t, broker, conformance.Target{User: "guest", Password: "guest", VHost: "/", Dial: broker.Dial})
}

// TestConformanceOnDisk plays them over TCP against a broker that keeps what is
// durable in a directory, with an fsync before each confirm: a store changes
// when a client is answered, and must not change what.
func TestConformanceOnDisk(t *testing.T) {
	t.Parallel()
	disk, err := badgerstore.Open(t.TempDir(), badgerstore.Options{})
	require.NoError(t, err)
	broker, addr := startBroker(t, warren.Options{Store: disk})
	t.Cleanup(func() { require.NoError(t, broker.Health()) }) // after the last scenario
	playAll(t, broker, conformance.Target{Addr: addr, User: "guest", Password: "guest", VHost: "/"})
}

func playAll(t *testing.T, broker *warren.Broker, target conformance.Target) {
	corpus := conformance.Corpus("testdata")
	list, err := corpus.Scenarios(nil)
	require.NoError(t, err)
	src, err := os.ReadFile("pending.txt")
	require.NoError(t, err)
	pending, err := conformance.ParsePending(src)
	require.NoError(t, err)

	runner := &conformance.Runner{Target: target, Admin: admin{broker}}
	for _, s := range list {
		t.Run(s.Name, func(t *testing.T) {
			// What is serial runs before the others, which wait here until all
			// subtests have been started.
			if !s.Serial {
				t.Parallel()
			}
			want, err := corpus.Golden(s)
			require.NoError(t, err)
			verdict, detail := judge(t, s, func() (conformance.Transcript, conformance.Transcript, error) {
				got, err := runner.Play(s)
				return want, got, err
			})
			reason, isPending := pending[s.Name]
			switch {
			case isPending && verdict == conformance.Pass:
				t.Errorf("passes, but is pending (%s): take its line out of pending.txt", reason)
			case isPending:
				t.Logf("pending: %s", reason)
			case verdict != conformance.Pass:
				t.Errorf("%s: %s\n%s- RabbitMQ, + this broker; notes: %q", verdict, s.Title, detail, s.Notes)
			}
		})
	}
}

// judge plays a scenario and compares what came with what is wanted. One that sleeps was
// written for a machine that does not stall: if this one did, what came is void, and it
// is played again, twice at most.
func judge(t *testing.T, s *conformance.Scenario, play func() (want, got conformance.Transcript, err error)) (conformance.Verdict, string) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		var want, got conformance.Transcript
		var err error
		stall := longestStall(func() { want, got, err = play() })
		if err != nil {
			return conformance.Fail, err.Error()
		}
		verdict, detail := conformance.Compare(want, got)
		if verdict == conformance.Pass || !s.Sleeps() || stall < 50*time.Millisecond || attempt == 3 {
			return verdict, detail
		}
		t.Logf("%s, but the machine stalled for %v:\n%s", verdict, stall, detail)
	}
}

// longestStall calls f, and gives how late a goroutine that wants to run all the time
// did so at the most meanwhile.
func longestStall(f func()) (longest time.Duration) {
	const every = 5 * time.Millisecond
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-done:
				return
			case <-tick.C:
				longest = max(longest, time.Since(last)-every)
				last = time.Now()
			}
		}
	})
	f()
	close(done)
	watch.Wait()
	return longest
}

// startBroker gives a broker that serves on a free port of this machine until
// the test and its subtests have ended, and its address.
func startBroker(t *testing.T, o warren.Options) (*warren.Broker, string) {
	t.Helper()
	b, err := warren.New(o)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- b.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, b.Shutdown(ctx))
		require.ErrorIs(t, <-served, warren.ErrClosed)
	})
	return b, l.Addr().String()
}

// admin does the set-up steps through Warren's Go API.
type admin struct{ b *warren.Broker }

func (a admin) AddVHost(name string) error    { return a.b.AddVHost(name) }
func (a admin) DeleteVHost(name string) error { return a.b.DeleteVHost(name) }

func (a admin) AddUser(name, password string, tags ...string) error {
	return a.b.Auth().AddUser(name, password, tags...)
}

// DeleteUser also takes back a user that the scenario itself has deleted.
func (a admin) DeleteUser(name string) error {
	if _, ok := a.b.Auth().User(name); !ok {
		return nil
	}
	return a.b.Auth().DeleteUser(name)
}

func (a admin) SetPermissions(user, vhost string, p conformance.Permissions) error {
	return a.b.Auth().SetPermissions(warren.Permission{
		User: user, VHost: vhost, Configure: p.Configure, Write: p.Write, Read: p.Read,
	})
}

func (a admin) SetTopicPermissions(user, vhost, exchange string, p conformance.Permissions) error {
	return a.b.Auth().SetTopicPermissions(warren.TopicPermission{
		User: user, VHost: vhost, Exchange: exchange, Write: p.Write, Read: p.Read,
	})
}

func (a admin) SetVHostLimit(vhost, limit string, n int) error {
	return a.b.SetVHostLimit(vhost, warren.VHostLimit(limit), n)
}

// CloseConnections gives the reason that RabbitMQ's management API gives.
func (a admin) CloseConnections(user string) error {
	a.b.CloseConnections(user, "Closed via management plugin")
	return nil
}

func (a admin) SetPolicy(vhost string, p conformance.Policy) error {
	return setPolicy(vhost, p, a.b.SetPolicy)
}

func (a admin) SetOperatorPolicy(vhost string, p conformance.Policy) error {
	return setPolicy(vhost, p, a.b.SetOperatorPolicy)
}

func setPolicy(vhost string, p conformance.Policy, set func(string, warren.Policy) error) error {
	object, err := json.Marshal(p.Definition)
	if err != nil {
		return err
	}
	definition, err := policy.ParseDefinition(object)
	if err != nil {
		return err
	}
	return set(vhost, warren.Policy{
		Name: p.Name, Pattern: p.Pattern, ApplyTo: policy.ApplyTo(p.ApplyTo), Priority: p.Priority, Definition: definition,
	})
}

func (a admin) DeletePolicy(vhost, name string) error {
	return cleared(a.b.ClearPolicy(vhost, name))
}

func (a admin) DeleteOperatorPolicy(vhost, name string) error {
	return cleared(a.b.ClearOperatorPolicy(vhost, name))
}

// cleared takes it for no error that there was no policy: a scenario that deleted it,
// or its virtual host, is cleared up after all the same.
func cleared(err error) error {
	if errors.Is(err, warren.ErrNoPolicy) || errors.Is(err, warren.ErrNoVHost) {
		return nil
	}
	return err
}
