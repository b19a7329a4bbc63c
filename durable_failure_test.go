package warren_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/memstore"
	"github.com/warrenmq/warren/store/storetest"
)

// promised is what a broker confirmed to a history. Its lock is held by the history but
// while it waits for the broker.
type promised struct {
	mu       sync.Mutex
	queues   map[string]bool // true: declared; false: deleted
	bindings map[string]bool
	users    map[string]bool
	messages map[string][]string // by queue: confirmed, and not settled since
	maybe    map[string][]string // by queue: settled, but nobody said that this is durable
}

// history does a bit of everything and notes what was confirmed. What fails does so
// because of cause. A channel that is refused something is closed, so each step has one
// of its own.
func history(t *testing.T, b *warren.Broker, cause error) *promised {
	p := newPromised()
	p.happens(t, b, cause)
	return p
}

func newPromised() *promised {
	return &promised{
		queues: map[string]bool{}, bindings: map[string]bool{}, users: map[string]bool{},
		messages: map[string][]string{}, maybe: map[string][]string{},
	}
}

// clone gives what is promised at this moment.
func (p *promised) clone() *promised {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := newPromised()
	out.queues, out.bindings, out.users = maps.Clone(p.queues), maps.Clone(p.bindings), maps.Clone(p.users)
	for q, all := range p.messages {
		out.messages[q] = slices.Clone(all)
	}
	return out
}

// without lets go of the lock.
func (p *promised) without(f func()) {
	p.mu.Unlock()
	defer p.mu.Lock()
	f()
}

func (p *promised) happens(t *testing.T, b *warren.Broker, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx := t.Context()
	step := func(f func(ch *warren.Channel) error) bool {
		var ch *warren.Channel
		var err error
		p.without(func() { ch, err = b.Channel(ctx) })
		require.NoError(t, err)
		defer p.without(func() { ch.Close() })
		p.without(func() { err = f(ch) })
		var e *warren.Error
		if errors.As(err, &e) && errors.Is(err, reply.InternalError) {
			require.Contains(t, e.Text, "is not durable: "+cause.Error())
		}
		return err == nil
	}
	for _, q := range []string{"a", "b", "c"} {
		p.queues[q] = step(func(ch *warren.Channel) error {
			_, err := ch.DeclareQueue(ctx, q, warren.Durable())
			return err
		})
		p.bindings[q] = step(func(ch *warren.Channel) error { return ch.BindQueue(ctx, q, "amq.fanout", "k") })
	}
	for i := range 6 {
		body := fmt.Sprint(i, strings.Repeat(".", 600*(i%2)))
		if step(func(ch *warren.Channel) error { return ch.PublishConfirmed(ctx, "amq.fanout", "", persistent(body)) }) {
			for q := range p.queues {
				p.messages[q] = append(p.messages[q], body)
			}
		}
	}
	// What was settled is gone for good when a transaction says so.
	step(func(ch *warren.Channel) error {
		d, ok, err := ch.Get(ctx, "a")
		if err != nil || !ok {
			return err
		}
		body := string(d.Body)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.messages["a"] = slices.DeleteFunc(p.messages["a"], func(s string) bool { return s == body })
		p.maybe["a"] = append(p.maybe["a"], body)
		return d.Ack()
	})
	step(func(ch *warren.Channel) error {
		if err := ch.TxSelect(ctx); err != nil {
			return err
		}
		d, ok, err := ch.Get(ctx, "b")
		if err != nil {
			return err
		}
		body := string(d.Body)
		if ok {
			if err := d.Ack(); err != nil {
				return err
			}
			p.mu.Lock()
			p.messages["b"] = slices.DeleteFunc(p.messages["b"], func(s string) bool { return s == body })
			p.maybe["b"] = append(p.maybe["b"], body)
			p.mu.Unlock()
		}
		for _, q := range []string{"b", "c"} {
			if err := ch.Publish(ctx, "", q, persistent("tx")); err != nil {
				return err
			}
		}
		if err := ch.TxCommit(ctx); err != nil {
			return err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.messages["b"] = append(p.messages["b"], "tx")
		p.messages["c"] = append(p.messages["c"], "tx")
		p.maybe["b"] = nil
		return nil
	})
	for _, name := range []string{"alice", "bob"} {
		var err error
		p.without(func() { err = b.Auth().AddUser(name, "p") })
		p.users[name] = err == nil
	}
	// From when it is asked for until it is answered nobody knows.
	delete(p.bindings, "a")
	if step(func(ch *warren.Channel) error { return ch.UnbindQueue(ctx, "a", "amq.fanout", "k") }) {
		p.bindings["a"] = false
	}
	delete(p.queues, "c")
	delete(p.bindings, "c")
	delete(p.messages, "c")
	if step(func(ch *warren.Channel) error {
		_, err := ch.DeleteQueue(ctx, "c")
		return err
	}) {
		p.queues["c"], p.bindings["c"] = false, false
	}
}

// kept checks that everything that was promised is there.
func (p *promised) kept(t *testing.T, b *warren.Broker) {
	t.Helper()
	ch := native(t, b)
	names := queueNames(t, b, "/")
	bound := map[string]bool{}
	for _, x := range definitionsOf(t, b).Bindings["/"] {
		bound[x.Destination] = true
	}
	for q, there := range p.queues {
		if there {
			require.Contains(t, names, q)
		} else if q == "c" && len(p.messages) > 0 {
			require.NotContains(t, names, q, "it was deleted")
		}
	}
	for q, there := range p.bindings {
		if there {
			require.True(t, bound[q], "queue %s is bound", q)
		}
	}
	for name, there := range p.users {
		if _, found := b.Auth().User(name); there {
			require.True(t, found, name)
		}
	}
	for q, want := range p.messages {
		if !slices.Contains(names, q) {
			require.Empty(t, want)
			continue
		}
		all := []string{}
		for _, body := range drained(t, ch, q) {
			body = strings.TrimSuffix(body, "*")
			if slices.Contains(want, body) {
				all = append(all, body)
			}
		}
		require.Equal(t, append([]string{}, want...), all, "queue %s", q)
	}
}

// appliesOfAHistory gives how many Applies a history takes to which nothing happens.
func appliesOfAHistory(t *testing.T) int {
	t.Helper()
	d := memstore.NewDisk()
	b, s := brokerOn(t, d, warren.Options{})
	began := s.Applied()
	history(t, b, nil).kept(t, afterCrash(t, d))
	applies := s.Applied() - began
	require.NoError(t, b.Close())
	return applies
}

// atEveryApply runs a test for each Apply that a history takes; the first is 1.
func atEveryApply(t *testing.T, test func(t *testing.T, n int)) {
	for n := range appliesOfAHistory(t) {
		t.Run(fmt.Sprint("Apply ", n+1), func(t *testing.T) {
			t.Parallel()
			test(t, n+1)
		})
	}
}

func TestAnErrorOfTheStoreLosesNothingThatWasConfirmed(t *testing.T) {
	t.Parallel()
	applies := appliesOfAHistory(t)
	for n := 1; n <= applies; n++ {
		for _, written := range []bool{false, true} {
			d := memstore.NewDisk()
			told := make(chan error, 8)
			b, s := brokerOn(t, d, warren.Options{OnStoreError: func(err error) { told <- err }})
			require.NoError(t, b.Health())
			start := s.Applied()
			s.FailApply(n, storetest.ErrInjected, written)
			p := history(t, b, storetest.ErrInjected)
			// A consumer of what is in memory goes on.
			ch := native(t, b)
			filled(t, ch, "memory", "1", "2")
			require.Equal(t, []string{"1", "2"}, drained(t, ch, "memory"))
			require.NoError(t, ch.DeclareExchange(t.Context(), "memory", "fanout"))
			require.NoError(t, ch.BindQueue(t.Context(), "memory", "memory", ""))
			if s.Applied() >= start+n {
				require.ErrorIs(t, await(t, told), storetest.ErrInjected)
				require.ErrorIs(t, b.Health(), storetest.ErrInjected)
				require.Error(t, ch.PublishConfirmed(t.Context(), "", "a", persistent("late")))
				require.ErrorIs(t, b.AddVHost("late"), storetest.ErrInjected)
				require.ErrorIs(t, b.Close(), storetest.ErrInjected)
			}
			_ = b.Close() // the last Applies are of the close, or did not come about
			require.Empty(t, told, "it is told once")
			p.kept(t, afterCrash(t, d))
		}
	}
}

// A disk that is full at any one moment: what was confirmed is there at once, the rest
// is when there is room again, and the broker goes on.
func TestADiskThatIsFullAtAnyMomentLosesNothingThatWasConfirmed(t *testing.T) {
	t.Parallel()
	atEveryApply(t, func(t *testing.T, n int) {
		d := memstore.NewDisk()
		b, s := brokerOn(t, d, warren.Options{})
		start := s.Applied()
		s.FailApply(n, store.ErrNoSpace, false)
		p := history(t, b, store.ErrNoSpace)
		for i := 0; s.Applied() < start+n; i++ { // it all took fewer steps this time
			_ = b.Auth().AddUser(fmt.Sprint("somebody ", i), "p")
		}
		at := afterCrash(t, d)
		p.kept(t, at)
		require.NoError(t, at.Close())

		require.Eventually(t, func() bool { return b.Health() == nil && len(b.Alarms()) == 0 }, patience, time.Millisecond)
		durableQueue(t, native(t, b), "later", "1", "2")
		flushed(t, b)
		later := afterCrash(t, d)
		require.Equal(t, definitionsOf(t, b), definitionsOf(t, later), "what could not be written at once is now")
		require.Equal(t, []string{"1", "2"}, drained(t, native(t, later), "later"))
		p.kept(t, later)
		require.NoError(t, later.Close())
		require.NoError(t, b.Close())
	})
}

// A disk that is slow at any one moment: nothing is confirmed before it is there.
func TestADiskThatIsSlowAtAnyMomentConfirmsNothingAhead(t *testing.T) {
	t.Parallel()
	atEveryApply(t, func(t *testing.T, n int) {
		d := memstore.NewDisk()
		b, s := brokerOn(t, d, warren.Options{})
		start := s.Applied()
		s.HoldApply(n)
		p := newPromised()
		var promised *promised
		var image *memstore.Disk
		looked := make(chan struct{})
		go func() {
			defer close(looked)
			s.AwaitHeld()
			promised, image = p.clone(), d.Crash()
			s.Release()
		}()
		p.happens(t, b, nil)
		for i := 0; s.Applied() < start+n; i++ { // it all took fewer steps this time
			require.NoError(t, b.Auth().AddUser(fmt.Sprint("somebody ", i), "p"))
		}
		await(t, looked)
		next, _ := brokerOn(t, image, warren.Options{})
		promised.kept(t, next)
		require.NoError(t, next.Close())
		p.kept(t, afterCrash(t, d))
		require.NoError(t, b.Close())
	})
}

// OnStoreError may close the broker, also one that is being closed.
func TestOnStoreErrorMayCloseTheBroker(t *testing.T) {
	t.Parallel()
	for _, closing := range []bool{false, true} {
		var b atomic.Pointer[warren.Broker]
		done := make(chan error, 1)
		broker, s := brokerOn(t, memstore.NewDisk(), warren.Options{OnStoreError: func(error) { done <- b.Load().Close() }})
		b.Store(broker)
		ch := native(t, broker)
		durableQueue(t, ch, "q")
		s.FailApply(1, storetest.ErrInjected, false)
		s.Hold()
		_, err := ch.PublishAsync(t.Context(), "", "q", persistent("m"))
		require.NoError(t, err)
		s.AwaitHeld()
		closed := make(chan error, 1)
		if closing {
			go func() { closed <- broker.Close() }()
			await(t, ch.Done())
		}
		s.Release()
		require.ErrorIs(t, await(t, done), storetest.ErrInjected)
		if closing {
			require.ErrorIs(t, await(t, closed), storetest.ErrInjected)
		}
	}
}

func TestAFullDiskBlocksPublishersUntilThereIsSpace(t *testing.T) {
	t.Parallel()
	d := memstore.NewDisk()
	b, s := brokerOn(t, d, warren.Options{})
	ctx := t.Context()
	dialed := func() *amqp.Connection {
		conn, err := amqp.DialConfig("amqp://", amqp.Config{Dial: b.Dial})
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	publisher := dialed()
	blocked := publisher.NotifyBlocked(make(chan amqp.Blocking, 2))
	client, other := channel(t, publisher), channel(t, dialed())
	require.NoError(t, client.Confirm(false))
	ch, tx := native(t, b), native(t, b)
	durableQueue(t, ch, "q", "1", "2", "3", "4")
	held := taken(t, ch, "q", 2)
	require.NoError(t, tx.TxSelect(ctx))
	inTx := taken(t, tx, "q", 1)
	require.NoError(t, inTx[0].Ack())
	require.NoError(t, tx.Publish(ctx, "", "q", persistent("tx")))
	flushed(t, b)

	// Some are on their way when the disk is found to be full.
	s.Hold()
	_, err := ch.PublishAsync(ctx, "", "q", persistent("before"))
	require.NoError(t, err)
	s.AwaitHeld()
	late, err := ch.PublishAsync(ctx, "", "q", persistent("late"))
	require.NoError(t, err)
	s.SetSpace(&store.Space{Free: 1, Reserve: 2})
	s.Release()
	var nack *warren.NackError
	require.ErrorAs(t, late.Wait(ctx), &nack)
	require.Eventually(t, func() bool { return len(b.Alarms()) == 1 }, patience, time.Millisecond)
	require.Equal(t, []warren.Alarm{warren.DiskAlarm}, b.Alarms())
	require.ErrorIs(t, b.Health(), store.ErrNoSpace)
	published, err := client.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{DeliveryMode: 2, Body: []byte("blocked")})
	require.NoError(t, err)
	require.True(t, await(t, blocked).Active)

	// What happens meanwhile is in force, and durable later.
	for _, d := range held {
		require.NoError(t, d.Ack())
	}
	require.ErrorIs(t, b.AddVHost("new"), store.ErrNoSpace)
	require.Equal(t, []string{"/", "new"}, b.VHosts())
	_, err = other.QueueDeclare("later", true, false, false, false, nil)
	requireCode(t, err, amqp.InternalError,
		"INTERNAL_ERROR - the change of queue 'later' in vhost '/' is not durable: store: not enough space left: 1 octets are free, 2 are kept in reserve")
	require.ErrorIs(t, tx.TxCommit(ctx), warren.PreconditionFailed)
	waiting, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	require.ErrorIs(t, ch.Publish(waiting, "", "q", persistent("no")), context.DeadlineExceeded)

	s.SetSpace(nil)
	require.False(t, await(t, blocked).Active)
	require.True(t, published.Wait())
	require.Eventually(t, func() bool { return b.Health() == nil && len(b.Alarms()) == 0 }, patience, time.Millisecond)
	require.NoError(t, ch.PublishConfirmed(ctx, "", "q", persistent("after")))
	flushed(t, b)
	next := afterCrash(t, d)
	require.Equal(t, definitionsOf(t, b), definitionsOf(t, next))
	require.Equal(t, []string{"later", "q"}, queueNames(t, next, "/"))
	all := readyAfterCrash(t, d, "q")
	require.Equal(t, "4", all[0], "what was acknowledged stays so")
	require.Equal(t, "after", all[len(all)-1])
	require.NotContains(t, all, "late")
	require.Contains(t, all, "tx", "the transaction is kept as a whole")
	require.NoError(t, b.Close())
}

// An ErrNoSpace that the store's Space does not show, and that nobody comes upon
// again, as publishers are blocked by its alarm.
func TestADiskThatWasFullForAMomentDoesNotBlockForEver(t *testing.T) {
	t.Parallel()
	b, s := brokerOn(t, memstore.NewDisk(), warren.Options{})
	ch := native(t, b)
	durableQueue(t, ch, "q")
	s.FailApply(1, store.ErrNoSpace, false)
	require.Error(t, ch.PublishConfirmed(t.Context(), "", "q", persistent("1")))
	require.Eventually(t, func() bool { return b.Health() == nil && len(b.Alarms()) == 0 }, patience, time.Millisecond)
	require.NoError(t, ch.PublishConfirmed(t.Context(), "", "q", persistent("2")))
	require.Equal(t, []string{"2"}, drained(t, ch, "q"))
}

// A store that hangs holds up nobody for longer than he wants, nor a broker that ends
// its connections.
func TestNobodyWaitsForEverForAStoreThatHangs(t *testing.T) {
	t.Parallel()
	b, s := brokerOn(t, memstore.NewDisk(), warren.Options{})
	conn, err := amqp.DialConfig("amqp://", amqp.Config{Dial: b.Dial})
	require.NoError(t, err)
	client := channel(t, conn)
	patient, impatient := native(t, b), native(t, b)
	durableQueue(t, impatient, "q")
	s.Hold()
	defer s.Release()
	for _, op := range []func(ctx context.Context) error{
		func(ctx context.Context) error {
			_, err := impatient.DeclareQueue(ctx, "new", warren.Durable())
			return err
		},
		func(ctx context.Context) error {
			return impatient.DeclareExchange(ctx, "x", "fanout", warren.Durable())
		},
		func(ctx context.Context) error { return impatient.BindQueue(ctx, "q", "x", "k") },
		func(ctx context.Context) error { return impatient.UnbindQueue(ctx, "q", "x", "k") },
		func(ctx context.Context) error { return impatient.DeleteExchange(ctx, "x") },
		func(ctx context.Context) error {
			_, err := impatient.DeleteQueue(ctx, "new")
			return err
		},
	} {
		before := definitionsOf(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() { failed <- op(ctx) }()
		require.Eventually(t, func() bool { return !equalWorlds(before, definitionsOf(t, b)) }, patience, time.Millisecond)
		require.Empty(t, failed)
		cancel()
		require.ErrorIs(t, await(t, failed), context.Canceled)
	}
	require.NoError(t, impatient.Qos(t.Context(), 1, false), "the channel is open")

	failed := make(chan error, 3)
	go func() {
		_, err := client.QueueDeclare("late", true, false, false, false, nil)
		failed <- err
	}()
	go func() {
		_, err := patient.DeclareQueue(context.Background(), "later", warren.Durable())
		failed <- err
	}()
	require.Eventually(t, func() bool { return len(queueNames(t, b, "/")) == 3 }, patience, time.Millisecond)
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	for range 2 {
		require.Error(t, await(t, failed))
	}
	require.ErrorIs(t, patient.Err(), warren.ErrChannelClosed)
	s.Release()
	require.NoError(t, await(t, closed))
}

// A message must not be confirmed while its queue is not on the disk.
func TestAQueueThatFoundNoSpaceIsDurableBeforeItsMessages(t *testing.T) {
	t.Parallel()
	d := memstore.NewDisk()
	b, s := brokerOn(t, d, warren.Options{})
	s.SetSpace(&store.Space{Free: 1, Reserve: 2})
	_, err := native(t, b).DeclareQueue(t.Context(), "q", warren.Durable())
	require.ErrorIs(t, err, reply.InternalError)
	require.Empty(t, queueNames(t, afterCrash(t, d), "/"))
	s.SetSpace(nil)
	require.NoError(t, native(t, b).PublishConfirmed(t.Context(), "", "q", persistent("1")))
	require.Equal(t, []string{"1"}, readyAfterCrash(t, d, "q"))
}
