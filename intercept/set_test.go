package intercept_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/intercept"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

// set gives a set, and what it logs.
func set(t testing.TB, is ...intercept.Interceptor) (*intercept.Set, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	s, err := intercept.NewSet(slog.New(slog.NewTextHandler(&log, nil)), is...)
	require.NoError(t, err)
	return s, &log
}

func TestASetWithoutInterceptorsIsNil(t *testing.T) {
	t.Parallel()
	s, _ := set(t)
	require.Nil(t, s)
	require.False(t, s.Claims("basic.publish"))
	m := &intercept.Get{Queue: "q"}
	got, err := intercept.Apply(s, intercept.Client{}, m)
	require.NoError(t, err)
	require.Same(t, m, got)
}

func TestASetClaimsWhatItsInterceptorsDo(t *testing.T) {
	t.Parallel()
	s, _ := set(t, intercept.On(func(intercept.Client, *intercept.Get) error { return errors.New("seen") }))
	require.True(t, s.Claims("basic.get"))
	require.False(t, s.Claims("basic.publish"))
	m := &intercept.Ack{DeliveryTag: 1}
	got, err := intercept.Apply(s, intercept.Client{}, m)
	require.NoError(t, err)
	require.Same(t, m, got)
}

// An interceptor must not make what no client could say: a broker's other clients
// would be told it.
func TestWhatNoClientCouldSendIsRefused(t *testing.T) {
	t.Parallel()
	long, wrong := strings.Repeat("x", 256), "\xff"
	bad := message.Table{{Name: "a", Value: struct{}{}}}
	// Each is what an interceptor made of a method.
	for name, test := range map[string]func(string, message.Table) error{
		"basic.consume queue":    try(func(m *intercept.Consume, s string, _ message.Table) { m.Queue = s }),
		"basic.consume tag":      try(func(m *intercept.Consume, s string, _ message.Table) { m.Tag = s }),
		"basic.get":              try(func(m *intercept.Get, s string, _ message.Table) { m.Queue = s }),
		"queue.declare":          try(func(m *intercept.QueueDeclare, s string, a message.Table) { m.Queue, m.Arguments = s, a }),
		"queue.bind queue":       try(func(m *intercept.QueueBind, s string, a message.Table) { m.Queue, m.Arguments = s, a }),
		"queue.bind exchange":    try(func(m *intercept.QueueBind, s string, a message.Table) { m.Exchange, m.Arguments = s, a }),
		"queue.bind key":         try(func(m *intercept.QueueBind, s string, a message.Table) { m.RoutingKey, m.Arguments = s, a }),
		"queue.unbind":           try(func(m *intercept.QueueUnbind, s string, a message.Table) { m.RoutingKey, m.Arguments = s, a }),
		"queue.purge":            try(func(m *intercept.QueuePurge, s string, _ message.Table) { m.Queue = s }),
		"queue.delete":           try(func(m *intercept.QueueDelete, s string, _ message.Table) { m.Queue = s }),
		"exchange.declare":       try(func(m *intercept.ExchangeDeclare, s string, a message.Table) { m.Exchange, m.Arguments = s, a }),
		"exchange.declare type":  try(func(m *intercept.ExchangeDeclare, s string, a message.Table) { m.Type, m.Arguments = s, a }),
		"exchange.delete":        try(func(m *intercept.ExchangeDelete, s string, _ message.Table) { m.Exchange = s }),
		"exchange.bind":          try(func(m *intercept.ExchangeBind, s string, a message.Table) { m.Source, m.Arguments = s, a }),
		"exchange.unbind":        try(func(m *intercept.ExchangeUnbind, s string, a message.Table) { m.Destination, m.Arguments = s, a }),
		"basic.publish, a label": try(func(m *intercept.Publish, s string, _ message.Table) { m.Exchange = strings.ReplaceAll(s, wrong, long) }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, test("fine", message.Table{{Name: "a", Value: 1}}))
			for _, s := range []string{long, wrong} {
				err := test(s, nil)
				require.Equal(t, &reply.Error{Code: reply.InternalError, NoMethod: true}, err)
			}
		})
	}
	err := try(func(m *intercept.QueueBind, s string, a message.Table) { m.Arguments = a })("", bad)
	require.ErrorIs(t, err, reply.InternalError)
}

// try gives what becomes of a method that an interceptor changes with a name and a
// table.
func try[T any, M interface {
	*T
	intercept.Method
}](change func(M, string, message.Table)) func(string, message.Table) error {
	return func(s string, args message.Table) error {
		set, err := intercept.NewSet(slog.New(slog.DiscardHandler), intercept.On(func(_ intercept.Client, m M) error {
			change(m, s, args)
			return nil
		}))
		if err != nil {
			return err
		}
		_, err = intercept.Apply(set, intercept.Client{}, M(new(T)))
		return err
	}
}

// stranger goes by the name of a method of this package.
type stranger struct{}

func (*stranger) Name() string { return "basic.get" }

func TestAMethodOfAnotherPackageIsAFault(t *testing.T) {
	t.Parallel()
	s, log := set(t, intercept.On(func(intercept.Client, *stranger) error { return nil }))
	_, err := intercept.Apply(s, intercept.Client{}, &intercept.Get{})
	require.ErrorIs(t, err, reply.InternalError)
	require.Contains(t, log.String(), "basic.get is a *intercept.Get")
}

// nilError is an error that is a nil *reply.Error: a mistake that is easily made.
type nilError struct{}

func (nilError) Methods() []string { return []string{"basic.get"} }
func (nilError) Intercept(intercept.Client, intercept.Method) (intercept.Method, error) {
	var e *reply.Error
	return nil, e
}

// nilMethod gives a nil pointer of the right type.
type nilMethod struct{}

func (nilMethod) Methods() []string { return []string{"basic.get"} }
func (nilMethod) Intercept(intercept.Client, intercept.Method) (intercept.Method, error) {
	return (*intercept.Get)(nil), nil
}

func TestNilInAnInterfaceIsAFault(t *testing.T) {
	t.Parallel()
	s, log := set(t, nilError{})
	_, err := intercept.Apply(s, intercept.Client{}, &intercept.Get{})
	require.Equal(t, &reply.Error{Code: reply.InternalError, NoMethod: true}, err)
	require.Contains(t, log.String(), "interceptor failed")

	s, _ = set(t, nilMethod{})
	_, err = intercept.Apply(s, intercept.Client{}, &intercept.Get{})
	require.EqualError(t, err, "INTERNAL_ERROR - Interceptor: intercept_test.nilMethod expected to return method: 'basic.get' but returned: undefined")
}

func TestAFaultIsLoggedWithItsPlace(t *testing.T) {
	t.Parallel()
	s, log := set(t, intercept.On(func(intercept.Client, *intercept.Get) error { panic("oops") }))
	_, err := intercept.Apply(s, intercept.Client{Name: "conn", VHost: "v", User: "u"}, &intercept.Get{})
	require.ErrorIs(t, err, reply.InternalError)
	require.Contains(t, log.String(), "interceptor=intercept.On[basic.get] method=basic.get connection=conn vhost=v user=u panic=oops stack=")
}

// Bodies are kept, while the messages they came with are used again.
func TestABodyMayBeKept(t *testing.T) {
	t.Parallel()
	var kept [][]byte
	s, _ := set(t, intercept.On(func(_ intercept.Client, p *intercept.Publish) error {
		kept = append(kept, p.Content.Body())
		return nil
	}))
	const n = 100
	for i := range n {
		m := message.New("", "", []byte{0, 0}, 1)
		m.AppendBody([]byte{byte(i)})
		_, got, err := s.Publish(intercept.Client{}, &intercept.Publish{}, m)
		require.NoError(t, err)
		require.Same(t, m, got)
		m.Release()
	}
	for i := range n {
		require.Equal(t, []byte{byte(i)}, kept[i])
	}
}

func TestAContentIsOverWithItsPublish(t *testing.T) {
	t.Parallel()
	var kept *intercept.Content
	s, _ := set(t, intercept.On(func(_ intercept.Client, p *intercept.Publish) error {
		kept = p.Content
		return nil
	}))
	m := message.New("", "", []byte{0, 0}, 1)
	m.AppendBody([]byte("x"))
	_, _, err := s.Publish(intercept.Client{}, &intercept.Publish{}, m)
	require.NoError(t, err)
	m.Release()
	require.Empty(t, kept.Body())
	_, err = kept.Properties()
	require.Error(t, err)
}
