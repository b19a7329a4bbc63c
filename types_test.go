package warren_test

import (
	"slices"
	"sync/atomic"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// bySize is an exchange type of a user's own. It routes to the bindings with the
// key small or large, by the length of the body.
type bySize struct {
	blind *atomic.Bool // a router was asked without a message to look at
}

func (bySize) Name() string                   { return "x-size" }
func (bySize) Description() string            { return "routes by the length of the body" }
func (bySize) RoutesByKey(exchange.Spec) bool { return false }

func (bySize) Validate(x exchange.Spec) error {
	if v, _ := x.Arguments.Get("limit"); v == nil {
		return reply.Errorf(reply.PreconditionFailed, "x-size needs a limit")
	}
	return nil
}

func (bySize) ValidateBinding(exchange.Spec, exchange.Binding) error { return nil }

func (b bySize) New(x exchange.Spec) exchange.Router {
	v, _ := x.Arguments.Get("limit")
	limit, _ := message.Int(v)
	return sizeRouter{b, int(limit), nil}
}

type sizeRouter struct {
	bySize
	limit    int
	bindings []exchange.Binding
}

func (r sizeRouter) Bind(b exchange.Binding) exchange.Router {
	return sizeRouter{r.bySize, r.limit, append(slices.Clone(r.bindings), b)}
}

func (r sizeRouter) Unbind(b exchange.Binding) exchange.Router {
	return sizeRouter{r.bySize, r.limit, slices.DeleteFunc(slices.Clone(r.bindings), func(o exchange.Binding) bool {
		return o.Key == b.Key && o.Destination == b.Destination
	})}
}

func (r sizeRouter) Route(m *exchange.Subject, to []*exchange.Destination) []*exchange.Destination {
	if m.Message() == nil {
		r.blind.Store(true)
		return to
	}
	want := "small"
	if m.Message().Size() > r.limit {
		want = "large"
	}
	for _, b := range r.bindings {
		if b.Key == want {
			to = append(to, b.Destination)
		}
	}
	return to
}

func TestAnExchangeTypeOfAUsersOwn(t *testing.T) {
	t.Parallel()
	var blind atomic.Bool
	_, addr := start(t, warren.Options{ExchangeTypes: []exchange.Type{bySize{&blind}}})
	conn := dial(t, addr)
	err := channel(t, conn).ExchangeDeclare("sizes", "x-size", false, false, false, false, nil)
	requireCode(t, err, amqp.PreconditionFailed, "PRECONDITION_FAILED - x-size needs a limit")

	ch := channel(t, conn)
	require.NoError(t, ch.Confirm(false))
	require.NoError(t, ch.ExchangeDeclare("sizes", "x-size", false, false, false, false, amqp.Table{"limit": int32(3)}))
	for _, key := range []string{"small", "large"} {
		declare(t, ch, key)
		require.NoError(t, ch.QueueBind(key, key, "sizes", false, nil))
	}
	// It is as good a source and destination as any other.
	require.NoError(t, ch.ExchangeBind("sizes", "", "amq.fanout", false, nil))

	publish(t, ch, "sizes", "key", "123")
	publish(t, ch, "sizes", "key", "1234")
	publish(t, ch, "amq.fanout", "key", "")
	requireQueue(t, ch, "small", "123", "")
	requireQueue(t, ch, "large", "1234")

	require.NoError(t, ch.QueueUnbind("large", "large", "sizes", nil))
	publish(t, ch, "sizes", "key", "12345")
	requireQueue(t, ch, "large")
	require.False(t, blind.Load(), "a type that says it looks at messages is given each of them")
}

// requireQueue takes everything out of a queue.
func requireQueue(t *testing.T, ch *amqp.Channel, name string, want ...string) {
	t.Helper()
	var got []string
	for {
		m, ok, err := ch.Get(name, true)
		require.NoError(t, err)
		if !ok {
			break
		}
		got = append(got, string(m.Body))
	}
	require.Equal(t, want, got)
}

// stacks is a queue type of a user's own: last in, first out. It is a queue
// between those who publish and those who get, and has no consumers.
type stacks struct{}

func (stacks) Name() string { return "x-stack" }

func (stacks) Capabilities() queue.Capabilities {
	return queue.Capabilities{Arguments: []string{"x-height"}, Transient: true, ServerNamed: true}
}

func (stacks) Open(s queue.Spec, _ queue.Env) (queue.Queue, error) {
	st := &stack{height: 10, held: map[uint64]*message.Message{}}
	if v, ok := s.Arguments.Get("x-height"); ok {
		n, isInt := message.Int(v)
		if !isInt || n < 1 {
			return nil, reply.Errorf(reply.PreconditionFailed, "x-height of queue '%s' is no height", s.Name)
		}
		st.height = int(n)
	}
	return st, nil
}

type stack struct {
	height int
	ready  []*message.Message
	held   map[uint64]*message.Message
	lastID uint64
}

func (s *stack) Enqueue(in []queue.Publish, out *queue.Actions) {
	for _, p := range in {
		to := &out.Confirm
		if len(s.ready) < s.height {
			s.ready = append(s.ready, p.Msg)
		} else {
			p.Msg.Release()
			to = &out.Reject
		}
		if p.Ref.Wanted() {
			*to = append(*to, p.Ref)
		}
	}
}

func (s *stack) Get(ref queue.GetRef, noAck bool, out *queue.Actions) {
	r := queue.GetReply{Ref: ref}
	if n := len(s.ready); n > 0 {
		s.lastID++
		r.ID, r.Msg, r.Remaining = s.lastID, s.ready[n-1], n-1
		s.ready = s.ready[:n-1]
		if !noAck {
			r.Msg.Retain(1)
			s.held[r.ID] = r.Msg
		}
	}
	out.Got = append(out.Got, r)
}

func (s *stack) Settle(in []queue.Settle, _ *queue.Actions) {
	for _, e := range in {
		m := s.held[e.ID]
		delete(s.held, e.ID)
		switch {
		case m == nil:
		case e.Outcome == queue.Requeue:
			s.ready = append(s.ready, m)
		default:
			m.Release()
		}
	}
}

func (s *stack) Consume(queue.Consumer, *queue.Actions) error {
	return reply.Errorf(reply.NotImplemented, "a stack has no consumers")
}

func (s *stack) Cancel(message.ConsumerID, queue.CancelReason, *queue.Actions) {}
func (s *stack) Event(queue.Event, *queue.Actions)                             {}

func (s *stack) Purge(*queue.Actions) int {
	n := len(s.ready)
	for _, m := range s.ready {
		m.Release()
	}
	s.ready = nil
	return n
}

func (s *stack) Delete(_, ifEmpty bool, out *queue.Actions) (int, error) {
	if ifEmpty && len(s.ready) > 0 {
		return 0, queue.ErrNotEmpty
	}
	for _, m := range s.held {
		m.Release()
	}
	s.held = nil
	return s.Purge(out), nil
}

func (s *stack) Stat() queue.Stat { return queue.Stat{Ready: len(s.ready), Unacked: len(s.held)} }

func TestAQueueTypeOfAUsersOwn(t *testing.T) {
	t.Parallel()
	_, addr := start(t, warren.Options{QueueTypes: []queue.Type{stacks{}}})
	conn := dial(t, addr)
	stackOf := func(height any) error {
		_, err := channel(t, conn).QueueDeclare("plates", false, false, false, false, amqp.Table{"x-queue-type": "x-stack", "x-height": height})
		return err
	}
	requireCode(t, stackOf("tall"), amqp.PreconditionFailed, "PRECONDITION_FAILED - x-height of queue 'plates' is no height")
	require.NoError(t, stackOf(int32(3)))
	require.NoError(t, stackOf(int64(3)), "the same again")
	requireCode(t, stackOf(int32(4)), amqp.PreconditionFailed,
		"PRECONDITION_FAILED - inequivalent arg 'x-height' for queue 'plates' in vhost '/': received '4' but current is '3'")

	_, err := channel(t, conn).QueueDeclare("", false, false, true, false, amqp.Table{"x-queue-type": "x-stack"})
	require.Error(t, err, "it cannot be exclusive")
	_, err = channel(t, conn).QueueDeclare("q", false, false, false, false, amqp.Table{"x-height": int32(3)})
	requireCode(t, err, amqp.PreconditionFailed,
		"PRECONDITION_FAILED - invalid arg 'x-height' for queue 'q' in vhost '/' of queue type rabbit_classic_queue")

	ch := channel(t, conn)
	require.NoError(t, ch.Confirm(false))
	require.NoError(t, ch.QueueBind("plates", "", "amq.fanout", false, nil))
	for _, body := range []string{"a", "b", "c"} {
		publish(t, ch, "amq.fanout", "", body)
	}
	c, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), "", "plates", false, false, amqp.Publishing{})
	require.NoError(t, err)
	require.False(t, c.Wait(), "it is full")

	got, ok, err := ch.Get("plates", false)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "c", string(got.Body))
	require.EqualValues(t, 2, got.MessageCount)
	require.NoError(t, got.Nack(false, true))
	requireQueue(t, ch, "plates", "c", "b", "a")

	publish(t, ch, "", "plates", "left")
	_, err = channel(t, conn).QueueDelete("plates", false, true, false)
	requireCode(t, err, amqp.PreconditionFailed, "PRECONDITION_FAILED - queue 'plates' in vhost '/' not empty")
	n, err := channel(t, conn).QueueDelete("plates", false, false, false)
	require.NoError(t, err)
	require.Equal(t, 1, n)

	require.NoError(t, stackOf(int32(1)))
	_, err = channel(t, conn).Consume("plates", "", true, false, false, false, nil)
	requireCode(t, err, amqp.NotImplemented, "NOT_IMPLEMENTED - a stack has no consumers")
}

// clumsy is a type with a fault in its code.
type clumsy struct{ stacks }

func (clumsy) Name() string { return "x-clumsy" }

func (c clumsy) Open(s queue.Spec, e queue.Env) (queue.Queue, error) {
	q, err := c.stacks.Open(s, e)
	return clumsyQueue{q}, err
}

type clumsyQueue struct{ queue.Queue }

func (clumsyQueue) Enqueue([]queue.Publish, *queue.Actions) { panic("oops") }

func TestAFaultOfAQueueTypeIsOneQueuesOnly(t *testing.T) {
	t.Parallel()
	_, addr := start(t, warren.Options{QueueTypes: []queue.Type{clumsy{}}})
	conn := dial(t, addr)
	ch := channel(t, conn)
	require.NoError(t, ch.Confirm(false))
	_, err := ch.QueueDeclare("bad", false, false, false, false, amqp.Table{"x-queue-type": "x-clumsy"})
	require.NoError(t, err)
	for _, q := range []string{"bad", declare(t, ch, "good")} {
		require.NoError(t, ch.QueueBind(q, "", "amq.fanout", false, nil))
	}
	c, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), "amq.fanout", "", false, false, amqp.Publishing{Body: []byte("x")})
	require.NoError(t, err)
	require.False(t, c.Wait(), "one of the queues did not take it")
	requireQueue(t, ch, "good", "x")
	_, err = channel(t, conn).QueueDeclarePassive("bad", false, false, false, false, nil)
	requireCode(t, err, amqp.NotFound, "NOT_FOUND - no queue 'bad' in vhost '/'")
}

// trap is an exchange type that panics wherever its name says.
type trap struct {
	bySize
	name string
}

func (x trap) Name() string                      { return x.name }
func (trap) RoutesByKey(exchange.Spec) bool      { return true }
func (x trap) New(exchange.Spec) exchange.Router { return trapRouter{x} }

func (x trap) Validate(exchange.Spec) error {
	if x.name == "x-validate" {
		panic("validate")
	}
	return nil
}

func (x trap) ValidateBinding(exchange.Spec, exchange.Binding) error {
	if x.name == "x-validate-binding" {
		panic("validate binding")
	}
	return nil
}

type trapRouter struct{ trap }

func (r trapRouter) Bind(exchange.Binding) exchange.Router {
	if r.name == "x-bind" {
		panic("bind")
	}
	return r
}

func (r trapRouter) Unbind(exchange.Binding) exchange.Router { return r }

func (r trapRouter) Route(*exchange.Subject, []*exchange.Destination) []*exchange.Destination {
	panic("route")
}

func TestAFaultOfAnExchangeTypeIsOneConnectionsOnly(t *testing.T) {
	t.Parallel()
	names := []string{"x-validate", "x-validate-binding", "x-bind", "x-route"}
	var types []exchange.Type
	for _, name := range names {
		types = append(types, trap{name: name})
	}
	_, addr := start(t, warren.Options{ExchangeTypes: types})
	other := channel(t, dial(t, addr))
	for _, name := range names {
		conn := dial(t, addr)
		ch := channel(t, conn)
		closed := conn.NotifyClose(make(chan *amqp.Error, 1))
		q, err := ch.QueueDeclare("", false, false, true, false, nil)
		require.NoError(t, err)
		err = ch.ExchangeDeclare(name, name, false, false, false, false, nil)
		if err == nil {
			err = ch.QueueBind(q.Name, "k", name, false, nil)
		}
		if err == nil {
			require.NoError(t, ch.PublishWithContext(t.Context(), name, "k", false, false, amqp.Publishing{}), name)
		}
		why := <-closed
		require.NotNil(t, why, name)
		require.Equal(t, 541, why.Code, name)

		_, err = other.QueueDeclare("", false, false, true, false, nil)
		require.NoError(t, err, "after %s", name)
		require.NoError(t, other.ExchangeDeclare("after-"+name, "topic", false, true, false, false, nil))
	}
}
