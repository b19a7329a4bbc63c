package queue

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

// stubType is a type that can only be declared.
type stubType struct {
	name string
	caps Capabilities
}

func (s stubType) Name() string                  { return s.name }
func (s stubType) Capabilities() Capabilities    { return s.caps }
func (s stubType) Open(Spec, Env) (Queue, error) { return nil, ErrGone }

// complete is a stub of the classic type.
func complete() Type { return stubType{"classic", classicCapabilities()} }

func typesOf(t testing.TB, types ...Type) *Types {
	t.Helper()
	ts, err := NewTypes(types...)
	require.NoError(t, err)
	return ts
}

// args makes a table of names and values in turn.
func args(kv ...any) message.Table {
	var t message.Table
	for i := 0; i+1 < len(kv); i += 2 {
		t = append(t, message.Field{Name: kv[i].(string), Value: kv[i+1]})
	}
	return t
}

// requireText checks an error's code and text, as a client sees it; an empty
// want means no error.
func requireText(t testing.TB, want string, err error) {
	t.Helper()
	if want == "" {
		require.NoError(t, err)
		return
	}
	var e *reply.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, want, e.ReplyText())
}

func TestTypesGiveWhatWasRegistered(t *testing.T) {
	t.Parallel()
	own := stubType{name: "own"}
	ts := typesOf(t, own, Classic())
	require.Equal(t, []string{"classic", "own"}, ts.Names())

	got, ok := ts.Lookup("own")
	require.True(t, ok)
	require.Equal(t, own, got)

	_, ok = ts.Lookup("quorum")
	require.False(t, ok, "known for its arguments only")
}

func TestTypesRefuseABadRegistration(t *testing.T) {
	t.Parallel()
	for name, types := range map[string][]Type{
		"nil":      {nil},
		"no name":  {stubType{}},
		"repeated": {Classic(), stubType{name: "classic"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewTypes(types...)
			require.Error(t, err)
		})
	}
}

func TestTypesCanReplaceWhatIsKnownOfRabbitMQ(t *testing.T) {
	t.Parallel()
	own := stubType{"quorum", Capabilities{Arguments: []string{"x-own"}, Transient: true}}
	ts := typesOf(t, Classic(), own)

	got, err := CheckDeclare(ts, Spec{Name: "q", VHost: "/", Arguments: args(argQueueType, "quorum", "x-own", true)})
	require.NoError(t, err)
	require.Equal(t, own, got)

	_, err = CheckDeclare(ts, Spec{Name: "q", VHost: "/", Arguments: args("x-delivery-limit", int32(3))})
	requireText(t, "PRECONDITION_FAILED - invalid arg 'x-delivery-limit' for queue 'q' in vhost '/' of queue type rabbit_classic_queue", err)
}

func TestServerNamedOnlyWhereTheTypeAllows(t *testing.T) {
	t.Parallel()
	ts := typesOf(t, Classic(), stubType{name: "own"}, stubType{"free", Capabilities{ServerNamed: true}})
	for _, c := range []struct {
		name string
		args message.Table
		want string
	}{
		{"without a type", nil, ""},
		{"classic", args(argQueueType, "classic"), ""},
		{"quorum", args(argQueueType, "quorum"), "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue"},
		{"stream", args(argQueueType, "stream"), "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_stream_queue"},
		{"quorum as binary", args(argQueueType, []byte("quorum")), "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue"},
		{"a user's type", args(argQueueType, "own"), "PRECONDITION_FAILED - Cannot declare a server-named queue for type own"},
		{"a user's type that can", args(argQueueType, "free"), ""},
		{"an unknown type is left to CheckDeclare", args(argQueueType, "nope"), ""},
		{"and so is a bad one", args(argQueueType, int32(5)), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			requireText(t, c.want, CheckServerNamed(ts, Spec{VHost: "/", Arguments: c.args}))
		})
	}
}

func TestGlobalQosOnlyWhereTheTypeAllows(t *testing.T) {
	t.Parallel()
	s := Spec{Name: "q", VHost: "v"}
	require.NoError(t, CheckGlobalQos(classicCapabilities(), s))
	requireText(t, "NOT_IMPLEMENTED - queue 'q' in vhost 'v' does not support global qos", CheckGlobalQos(quorumCapabilities(), s))
}
