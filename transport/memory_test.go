package transport

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// vhost is the least that channels need: queues in a map.
type vhost struct {
	exchanges  *exchange.Topology
	types      *queue.Types
	background sync.WaitGroup
	replies    channel.Replies

	mu     sync.Mutex
	queues map[string]*exchange.Destination
}

func newVHost(t *testing.T) *vhost {
	t.Helper()
	v := &vhost{queues: map[string]*exchange.Destination{}}
	xs, err := exchange.NewTypes()
	require.NoError(t, err)
	v.types, err = queue.NewTypes(queue.Classic())
	require.NoError(t, err)
	v.exchanges = exchange.NewTopology("/", xs, v.destination)
	t.Cleanup(v.background.Wait)
	return v
}

func (v *vhost) destination(name string) *exchange.Destination {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.queues[name]
}

func (v *vhost) Name() string                  { return "/" }
func (v *vhost) Exchanges() *exchange.Topology { return v.exchanges }
func (v *vhost) QueueTypes() *queue.Types      { return v.types }
func (v *vhost) CheckQueueLimit(string) error  { return nil }
func (v *vhost) Watcher() channel.Watcher      { return nil }
func (v *vhost) Settle(then func(error))       { then(nil) }
func (v *vhost) DeleteLost(string)             {}
func (v *vhost) Replies() *channel.Replies     { return &v.replies }

func (v *vhost) Queue(name string) (*queue.Host, bool) {
	if d := v.destination(name); d != nil {
		return d.Target.(*queue.Host), true
	}
	return nil, false
}

func (v *vhost) DeclareQueue(s queue.Spec) (*queue.Host, bool, error) {
	h, err := queue.NewHost(queue.Classic(), s, queue.HostEnv{
		Go: func(f func()) bool { v.background.Go(f); return true },
		Gone: func(h *queue.Host, _ error) {
			v.mu.Lock()
			delete(v.queues, h.Spec().Name)
			v.mu.Unlock()
		},
	})
	if err != nil {
		return nil, false, err
	}
	v.mu.Lock()
	v.queues[s.Name] = &exchange.Destination{Kind: exchange.KindQueue, Name: s.Name, Target: h}
	v.mu.Unlock()
	v.exchanges.Touch()
	return h, true, nil
}

// newLocal makes a connection that may do everything; released counts how often
// it was released.
func newLocal(t *testing.T, change ...func(*LocalConfig)) (l *Local, released *atomic.Int32) {
	t.Helper()
	released = new(atomic.Int32)
	cfg := LocalConfig{
		ID: 7, VHost: newVHost(t), MaxMessageSize: 1 << 20, MaxUnsent: 1 << 10,
		Access:  func() *auth.Access { return auth.New(auth.Options{}).Unrestricted("", "/") },
		Release: func(*Local) { released.Add(1) },
	}
	for _, f := range change {
		f(&cfg)
	}
	l = NewLocal(cfg)
	t.Cleanup(l.Abort)
	return l, released
}

func open(t *testing.T, l *Local) *Memory {
	t.Helper()
	m, err := l.Channel()
	require.NoError(t, err)
	return m
}

func declare(t *testing.T, m *Memory, name string) {
	t.Helper()
	require.NoError(t, m.Do(t.Context(), func(ch *channel.Channel) error {
		_, err := ch.DeclareQueue(channel.QueueDeclare{Name: name})
		return err
	}))
}

func newMessage(body string) *message.Message {
	m := message.New("", "", []byte{0, 0}, len(body))
	m.AppendBody([]byte(body))
	return m
}

func post(t *testing.T, m *Memory, key, body string, mandatory bool) {
	t.Helper()
	require.NoError(t, m.Publish(t.Context(), "", key, mandatory, newMessage(body), nil))
}

func refusal(m *Memory, code reply.Code) error {
	return m.Do(context.Background(), func(*channel.Channel) error { return reply.Errorf(code, "no") })
}

// A queue that counts deliveries would take what goes from channel to channel for a message
// that nobody can deal with.
func TestTheChannelsOfAConnectionEndTogether(t *testing.T) {
	t.Parallel()
	for range 10 {
		l, _ := newLocal(t)
		first := open(t, l)
		declare(t, first, "q")
		post(t, first, "q", "a", false)
		for range 8 {
			_, err := open(t, l).Consume(t.Context(), channel.Consume{Queue: "q"})
			require.NoError(t, err)
		}
		l.Leave()
		h, ok := l.cfg.VHost.Queue("q")
		require.True(t, ok)
		info, err := h.Info()
		require.NoError(t, err)
		require.EqualValues(t, 1, info.Delivered)
		require.Equal(t, 1, info.Ready)
	}
}

func TestRefusalsEndWhatTheyEndOverASocket(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code     reply.Code
		single   bool
		connEnds bool
	}{
		"soft":                           {reply.NotFound, false, false},
		"hard":                           {reply.NotAllowed, false, true},
		"soft, on the only one there is": {reply.NotFound, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, released := newLocal(t, func(cfg *LocalConfig) { cfg.Single = c.single })
			m, other := open(t, l), open(t, l)
			err := refusal(m, c.code)
			require.ErrorIs(t, err, c.code)
			<-m.Done()
			require.Same(t, err, m.Err())
			require.Same(t, err, m.Do(t.Context(), nil))
			if !c.connEnds {
				require.NoError(t, other.Err())
				require.NoError(t, l.Err())
				return
			}
			<-other.Done()
			<-l.Done()
			require.Same(t, err, other.Err())
			require.Same(t, err, l.Err())
			_, again := l.Channel()
			require.Same(t, err, again)
			require.EqualValues(t, 1, released.Load())
		})
	}
}

func TestErrorsThatAreNoRefusalsAreInternal(t *testing.T) {
	t.Parallel()
	l, _ := newLocal(t)
	err := open(t, l).Do(t.Context(), func(*channel.Channel) error { return errors.New("oops") })
	require.ErrorIs(t, err, reply.InternalError)
	<-l.Done()
}

func TestLocalEndsOnce(t *testing.T) {
	t.Parallel()
	l, released := newLocal(t)
	m := open(t, l)
	m.Close()
	m.Close()
	require.ErrorIs(t, m.Err(), ErrClosed)
	m = open(t, l)
	var all sync.WaitGroup
	for range 4 {
		all.Go(l.Abort)
		all.Go(m.Close)
		all.Go(func() { l.Close(reply.Errorf(reply.ConnectionForced, "end")) })
	}
	all.Wait()
	require.Error(t, m.Err())
	require.EqualValues(t, 1, released.Load())
	require.EqualValues(t, 7, l.ID())
}

func TestOneChannelMoreThanTheUserMayHaveEndsTheConnection(t *testing.T) {
	t.Parallel()
	l, _ := newLocal(t, func(cfg *LocalConfig) {
		cfg.MaxChannels, cfg.User = func(*Local) (limit, elsewhere int) { return 3, 2 }, "u"
	})
	m := open(t, l)
	_, err := l.Channel()
	require.EqualError(t, err,
		"NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum allowed user limit of (3)")
	<-m.Done()
	require.Same(t, err, m.Err())
}

// As over a socket, where a broker that closes a channel looks at nothing that comes
// after what it refused: also in the moment before it is closed.
func TestNothingIsCarriedOutAfterARefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := newLocal(t)
		defer l.Close(nil)
		m := open(t, l)
		require.NoError(t, m.enter(t.Context()))
		_, err := m.run(func() error { return reply.Errorf(reply.NotFound, "nothing there") })
		next := make(chan error, 1)
		go func() { next <- m.enter(context.Background()) }()
		synctest.Wait()
		require.Empty(t, next, "it waits for the end of the channel")
		err = m.refuse(err)
		require.Same(t, err, <-next)
	})
}

// A panic, or a test that ends itself, in what runs under the lock gives it back.
func TestPanicsDoNotLeaveTheChannelLocked(t *testing.T) {
	t.Parallel()
	l, _ := newLocal(t)
	m := open(t, l)
	err := m.Do(t.Context(), func(*channel.Channel) error { panic("oops") })
	require.ErrorIs(t, err, reply.InternalError)
	require.EqualError(t, err, "INTERNAL_ERROR")
	<-l.Done()
	require.Same(t, err, m.Publish(t.Context(), "", "q", false, newMessage(""), nil))
}

func TestWaitingForTheLockEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := newLocal(t)
		m := open(t, l)
		goOn := make(chan struct{})
		first := make(chan error, 1)
		go func() {
			first <- m.Do(context.Background(), func(*channel.Channel) error { <-goOn; return nil })
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		given := make(chan error, 2)
		go func() { given <- m.Do(ctx, func(*channel.Channel) error { return errors.New("not called") }) }()
		msg := newMessage("m")
		msg.Retain(1)
		go func() { given <- m.Publish(ctx, "", "q", false, msg, nil) }()
		turn := make(chan error, 3)
		for range cap(turn) {
			go func() { turn <- m.Do(context.Background(), func(*channel.Channel) error { return nil }) }()
		}
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-given, context.Canceled)
		require.ErrorIs(t, <-given, context.Canceled)
		require.EqualValues(t, 1, msg.Refs(), "it was given back")
		close(goOn)
		require.NoError(t, <-first)
		for range cap(turn) {
			require.NoError(t, <-turn, "those who went are not waited for")
		}
	})
}

func TestInboxRoomIsLimitedAndGivenBack(t *testing.T) {
	t.Parallel()
	l, _ := newLocal(t) // with room for 7 empty messages
	m := open(t, l)
	declare(t, m, "q")
	for i := range 30 {
		post(t, m, "q", strconv.Itoa(i), false)
	}
	in, err := m.Consume(t.Context(), channel.Consume{Queue: "q", Tag: "me"})
	require.NoError(t, err)
	require.Equal(t, "me", in.Tag())
	for next := 0; next < 30; {
		items, err := in.Next(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, len(items), 8)
		for _, it := range items {
			require.Equal(t, strconv.Itoa(next), string(it.Msg.Body()))
			next++
			require.EqualValues(t, next, it.Tag)
		}
		in.Release(items)
	}
	in.Stop()
	_, err = in.Next(t.Context())
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, in.Settle(func(ch *channel.Channel) error { return ch.Ack(1, false) }), ErrStopped)
	require.NoError(t, m.Err())
	in, err = m.Consume(t.Context(), channel.Consume{Queue: "q", Tag: "me"})
	require.NoError(t, err)
	items, err := in.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, "0", string(items[0].Msg.Body()))
	require.True(t, items[0].Redelivered)
	in.Release(items)
	in.Stop()
}

func TestInboxCancelLeavesWhatCameToBeSettled(t *testing.T) {
	t.Parallel()
	l, _ := newLocal(t)
	m := open(t, l)
	declare(t, m, "q")
	in, err := m.Consume(t.Context(), channel.Consume{Queue: "q"})
	require.NoError(t, err)
	post(t, m, "q", "a", false)
	require.NoError(t, in.Cancel(t.Context()))
	post(t, m, "q", "b", false)
	items, err := in.Next(t.Context())
	require.NoError(t, err)
	require.Len(t, items, 1)
	in.Release(items)
	require.NoError(t, in.Settle(func(ch *channel.Channel) error { return ch.Ack(items[0].Tag, false) }))
	_, err = in.Next(t.Context())
	require.ErrorIs(t, err, ErrClosed)
}

func TestEventsTellOfReturnsCancelsConfirmsAndTheEnd(t *testing.T) {
	t.Parallel()
	l, _ := newLocal(t)
	m := open(t, l)
	var mu sync.Mutex
	var events []Event
	m.Notify(func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e)
	})
	heard := func() []Event {
		mu.Lock()
		defer mu.Unlock()
		es := events
		events = nil
		return es
	}
	declare(t, m, "q")
	_, ok := m.TakeReturn()
	require.False(t, ok)
	for _, body := range []string{"a", "b", "c"} {
		post(t, m, "nowhere", body, true)
	}
	require.Equal(t, []Event{{Kind: MessageReturned}, {Kind: MessageReturned}, {Kind: MessageReturned}}, heard())
	r, ok := m.TakeReturn()
	require.True(t, ok)
	require.Equal(t, "a", string(r.Msg.Body()))
	r.Msg.Release()
	rest := m.TakeReturns()
	require.Len(t, rest, 2)
	for _, r := range rest {
		require.Equal(t, reply.NoRoute, r.Code)
		r.Msg.Release()
	}
	require.Empty(t, m.TakeReturns())

	require.NoError(t, m.Do(t.Context(), (*channel.Channel).ConfirmSelect))
	post(t, m, "q", "m", false)
	require.Equal(t, []Event{{Kind: ConfirmsReady}}, heard())
	require.Len(t, m.Confirms(nil), 1)

	in, err := m.Consume(t.Context(), channel.Consume{Queue: "q", Tag: "me"})
	require.NoError(t, err)
	require.NoError(t, m.Do(t.Context(), func(ch *channel.Channel) error {
		return ch.DeleteQueue("q", false, false, func(int) {})
	}))
	require.Equal(t, []Event{{Kind: ConsumerCancelled, ConsumerTag: "me"}}, heard())
	items, err := in.Next(t.Context())
	require.NoError(t, err)
	in.Release(items)
	_, err = in.Next(t.Context())
	require.ErrorIs(t, err, ErrCancelled)
	in.Stop()

	post(t, m, "nowhere", "released with the channel", true)
	heard()
	err = refusal(m, reply.NotFound)
	require.Equal(t, []Event{{Kind: Closed, Err: err}}, heard())
	m.Notify(func(e Event) { require.Equal(t, Event{Kind: Closed, Err: err}, e) })
}

func TestReturnsAreBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ size, published, kept int }{
		"number": {0, maxReturns + 10, maxReturns},
		"octets": {maxHeld / 4, 9, 4},
		"single": {maxHeld, 3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _ := newLocal(t)
			m := open(t, l)
			for range c.published {
				post(t, m, "nowhere", string(make([]byte, c.size)), true)
			}
			m.mu.Lock()
			held := m.held
			m.mu.Unlock()
			require.Equal(t, c.kept*c.size, held)
			rs := m.TakeReturns()
			require.Len(t, rs, c.kept)
			for _, r := range rs {
				r.Msg.Release()
			}
			require.Zero(t, m.held)
		})
	}
}

func TestLockIsExclusive(t *testing.T) {
	t.Parallel()
	l := lock{free: make(chan struct{}, 1)}
	var all sync.WaitGroup
	n := 0
	for i := range 8 {
		all.Go(func() {
			for range 500 {
				ctx, cancel := context.WithCancel(context.Background())
				if i%2 == 0 {
					go cancel()
				}
				if l.lock(ctx) == nil {
					n++
					l.unlock()
				}
				cancel()
			}
		})
	}
	all.Wait()
	require.GreaterOrEqual(t, n, 4*500)
	require.NoError(t, l.lock(context.Background()), "it is free")
}
