package exchange

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

func TestExchangesThatAreThereFromTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var got []string
	for x := range w.All() {
		s := x.Spec()
		require.True(t, s.Durable)
		require.False(t, s.AutoDelete)
		require.Equal(t, "/", s.VHost)
		require.Equal(t, s.Type, x.Type().Name())
		require.NotEmpty(t, x.Type().Description())
		require.Equal(t, s.Internal, x.Internal())
		require.Empty(t, x.AlternateExchange())
		got = append(got, fmt.Sprintf("%s %s %v", s.Name, s.Type, s.Internal))
	}
	slices.Sort(got)
	require.Equal(t, []string{
		" direct false",
		"amq.direct direct false",
		"amq.fanout fanout false",
		"amq.headers headers false",
		"amq.match headers false",
		"amq.rabbitmq.trace topic true",
		"amq.topic topic false",
	}, got)
	require.Empty(t, w.Bindings())
	for range w.All() {
		break // a walk may stop early
	}
}

func TestCheckType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, typ := range []string{"direct", "fanout", "topic", "headers"} {
		require.NoError(t, w.CheckType(typ))
	}
	for _, typ := range []string{"", "Direct", "queue", "header", "match", "test", "default", "classic"} {
		requireRefusal(t, w.CheckType(typ), reply.CommandInvalid, "invalid exchange type '"+typ+"'")
	}
	for _, typ := range []string{"Fanout", "Topic", "DIRECT", "x-no-such-type", "x-delayed-message", "nonsense"} {
		requireRefusal(t, w.CheckType(typ), reply.CommandInvalid, "unknown exchange type '"+typ+"'")
	}
}

func TestDeclareRefuses(t *testing.T) {
	t.Parallel()
	ae := func(v any) message.Table { return message.Table{f("alternate-exchange", v)} }
	there := Spec{Name: "x", Type: "direct"}
	for _, c := range []struct {
		name  string
		there Spec
		again Spec
		code  reply.Code
		text  string
	}{
		{"the default exchange", there, Spec{Type: "direct", Durable: true}, reply.AccessRefused, "operation not permitted on the default exchange"},
		{"the type before all else", there, Spec{Type: "nope"}, reply.CommandInvalid, "unknown exchange type 'nope'"},
		{"a reserved name", there, Spec{Name: "amq.mine", Type: "direct"}, reply.AccessRefused, "exchange name 'amq.mine' contains reserved prefix 'amq.*'"},
		{"the prefix alone", there, Spec{Name: "amq.", Type: "fanout"}, reply.AccessRefused, "exchange name 'amq.' contains reserved prefix 'amq.*'"},
		{"a reserved name before its arguments", there, Spec{Name: "amq.mine", Type: "direct", Arguments: ae(5)}, reply.AccessRefused, "exchange name 'amq.mine' contains reserved prefix 'amq.*'"},
		{"an alternate exchange that is no string", there, Spec{Name: "y", Type: "direct", Arguments: ae(5)}, reply.PreconditionFailed, "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'y' in vhost '/'"},
		{"or is a binary", there, Spec{Name: "y", Type: "direct", Arguments: ae([]byte("z"))}, reply.PreconditionFailed, "invalid type 'binary' for arg 'alternate-exchange' in exchange 'y' in vhost '/'"},

		{"another type", there, Spec{Name: "x", Type: "fanout", Durable: true}, reply.PreconditionFailed, "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'"},
		{"another type with a hyphen", there, Spec{Name: "x", Type: "x-random"}, reply.PreconditionFailed, "inequivalent arg 'type' for exchange 'x' in vhost '/': received ''x-random'' but current is 'direct'"},
		{"another durable", there, Spec{Name: "x", Type: "direct", Durable: true, AutoDelete: true}, reply.PreconditionFailed, "inequivalent arg 'durable' for exchange 'x' in vhost '/': received 'true' but current is 'false'"},
		{"another auto-delete", Spec{Name: "x", Type: "direct", AutoDelete: true}, Spec{Name: "x", Type: "direct", Internal: true}, reply.PreconditionFailed, "inequivalent arg 'auto_delete' for exchange 'x' in vhost '/': received 'false' but current is 'true'"},
		{"another internal", there, Spec{Name: "x", Type: "direct", Internal: true, Arguments: ae("a")}, reply.PreconditionFailed, "inequivalent arg 'internal' for exchange 'x' in vhost '/': received 'true' but current is 'false'"},
		{"another predeclared one", there, Spec{Name: "amq.topic", Type: "topic"}, reply.PreconditionFailed, "inequivalent arg 'durable' for exchange 'amq.topic' in vhost '/': received 'false' but current is 'true'"},
		{"another alternate", Spec{Name: "x", Type: "direct", Arguments: ae("foo")}, Spec{Name: "x", Type: "direct", Arguments: ae("bar")}, reply.PreconditionFailed, "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received 'bar' but current is 'foo'"},
		{"another alternate of another type", Spec{Name: "x", Type: "direct", Arguments: ae("5")}, Spec{Name: "x", Type: "direct", Arguments: ae(5)}, reply.PreconditionFailed, "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received '5' but current is '5'"},
		{"no alternate any more", Spec{Name: "x", Type: "direct", Arguments: ae("foo")}, there, reply.PreconditionFailed, "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received none but current is the value 'foo' of type 'longstr'"},
		{"an alternate all of a sudden", there, Spec{Name: "x", Type: "direct", Arguments: ae("foo")}, reply.PreconditionFailed, "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received the value 'foo' of type 'longstr' but current is none"},
		{"a void for an alternate", Spec{Name: "x", Type: "direct", Arguments: ae("a")}, Spec{Name: "x", Type: "direct", Arguments: ae(nil)}, reply.PreconditionFailed, "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received none but current is 'a'"},
		{"a number all of a sudden", there, Spec{Name: "x", Type: "direct", Arguments: ae(int64(7))}, reply.PreconditionFailed, "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received the value '7' of type 'long' but current is none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.declare(c.there)
			before := w.Generation()
			_, created, err := w.Declare(c.again)
			requireRefusal(t, err, c.code, c.text)
			require.False(t, created)
			require.Equal(t, before, w.Generation())
			require.False(t, w.exists("y"))
		})
	}
}

func TestDeclareAgainGivesTheSameExchange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := Spec{Name: " a b/c:é", Type: "topic", AutoDelete: true, Arguments: message.Table{
		f("alternate-exchange", "ae"), f("x-other", 1)}}
	x, created, err := w.Declare(s)
	require.NoError(t, err)
	require.True(t, created)
	require.Equal(t, "ae", x.AlternateExchange())
	require.True(t, s.Arguments.Equal(x.Spec().Arguments))
	s.Arguments = message.Table{f("alternate-exchange", []byte("ae")), f("x-other", 2)}
	again, created, err := w.Declare(s)
	require.NoError(t, err)
	require.False(t, created)
	require.Same(t, x, again)
	_, created, err = w.Declare(Spec{Name: "amq.fanout", Type: "fanout", Durable: true})
	require.NoError(t, err)
	require.False(t, created)
}

func TestDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q")
	x := w.declare(Spec{Name: "x", Type: "direct"})
	for name, text := range map[string]string{
		"":              "operation not permitted on the default exchange",
		"amq.direct":    "deletion of system exchange 'amq.direct' in vhost '/' not allowed",
		"amq.not-there": "deletion of system exchange 'amq.not-there' in vhost '/' not allowed",
	} {
		_, err := w.Delete(name, false)
		requireRefusal(t, err, reply.AccessRefused, text)
	}
	for _, ifUnused := range []bool{true, false} {
		r, err := w.Delete("missing", ifUnused)
		require.NoError(t, err)
		require.Empty(t, r)
	}

	w.bind("x", "q", "k")
	_, err := w.Delete("x", true)
	requireRefusal(t, err, reply.PreconditionFailed, "exchange 'x' in vhost '/' in use")

	r, err := w.Delete("x", false)
	require.NoError(t, err)
	require.Equal(t, []*Exchange{x}, r.Exchanges)
	require.Len(t, r.Bindings, 1)
	require.False(t, w.exists("x"))
	require.Empty(t, w.Bindings())
	_, err = w.Find("x")
	requireRefusal(t, err, reply.NotFound, "no exchange 'x' in vhost '/'")

	w.declare(Spec{Name: "x", Type: "direct"})
	require.Empty(t, w.route("x", "k"), "the new exchange has none of the old bindings")
	w.bindx("amq.fanout", "x", "")
	_, err = w.Delete("x", true)
	require.NoError(t, err, "only bindings from the exchange count as its use")
	require.Empty(t, w.Bindings())
	require.True(t, w.exists("amq.fanout"))
}

func TestBindRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q")
	const refused = "operation not permitted on the default exchange"
	locked := reply.Errorf(reply.ResourceLocked, "locked")
	bad := message.Table{f("x-match", 1)}
	never := func(*Destination) error { panic("asked about a binding refused before") }
	bindq := func(source, queue string, args message.Table, allow Allow) func() error {
		return func() error { _, err := w.BindQueue(source, queue, "k", args, allow); return err }
	}
	bindx := func(source, destination string) func() error {
		return func() error { _, err := w.BindExchange(source, destination, "k", nil); return err }
	}
	for _, c := range []struct {
		name string
		bind func() error
		code reply.Code
		text string
	}{
		{"from the default exchange", bindq("", "q", nil, never), reply.AccessRefused, refused},
		{"before asking for the queue", bindq("", "none", nil, never), reply.AccessRefused, refused},
		{"an exchange from the default exchange", bindx("", "amq.fanout"), reply.AccessRefused, refused},
		{"to the default exchange", bindx("amq.fanout", ""), reply.AccessRefused, refused},
		{"to the default exchange from a missing one", bindx("none", ""), reply.AccessRefused, refused},
		{"a missing exchange", bindq("none", "q", nil, never), reply.NotFound, "no exchange 'none' in vhost '/'"},
		{"a missing queue", bindq("amq.direct", "none", nil, never), reply.NotFound, "no queue 'none' in vhost '/'"},
		{"both missing: the exchange first", bindq("none2", "none", nil, never), reply.NotFound, "no exchange 'none2' in vhost '/'"},
		{"a missing source", bindx("none", "amq.fanout"), reply.NotFound, "no exchange 'none' in vhost '/'"},
		{"a missing destination", bindx("amq.fanout", "none"), reply.NotFound, "no exchange 'none' in vhost '/'"},
		{"both missing: the source first", bindx("none2", "none"), reply.NotFound, "no exchange 'none2' in vhost '/'"},
		{"the type before the owner", bindq("amq.headers", "q", bad, never), reply.PreconditionFailed, "Invalid x-match field type signedint (value 1); expected longstr"},
		{"a missing queue before the type", bindq("amq.headers", "none", bad, never), reply.NotFound, "no queue 'none' in vhost '/'"},
		{"another's queue", bindq("amq.direct", "q", nil, func(*Destination) error { return locked }), reply.ResourceLocked, "locked"},
		{"arguments that no table can hold", bindq("amq.direct", "q", message.Table{f("a", struct{}{})}, never), reply.PreconditionFailed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := w.Generation()
			err := c.bind()
			if c.text == "" {
				require.ErrorIs(t, err, c.code)
			} else {
				requireRefusal(t, err, c.code, c.text)
			}
			require.Equal(t, before, w.Generation())
			require.Empty(t, w.Bindings())
		})
	}
}

func TestBindingIdentity(t *testing.T) {
	t.Parallel()
	type tab = message.Table
	w := newWorld(t, "q", "r")
	create := func(want bool, source, queue, key string, args tab) {
		t.Helper()
		created, err := w.BindQueue(source, queue, key, args, nil)
		require.NoError(t, err)
		require.Equal(t, want, created)
	}
	create(true, "amq.direct", "q", "k", nil)
	create(false, "amq.direct", "q", "k", tab{})
	create(true, "amq.direct", "q", "K", nil)
	create(true, "amq.direct", "r", "k", nil)
	create(true, "amq.fanout", "q", "k", nil)
	create(true, "amq.direct", "q", "k", tab{f("a", 1), f("b", 2)})
	create(false, "amq.direct", "q", "k", tab{f("b", 2), f("a", 1)})
	create(true, "amq.direct", "q", "k", tab{f("a", int64(1)), f("b", 2)})
	require.Len(t, w.Bindings(), 6)
	require.Len(t, w.BindingsTo(w.queues["q"]), 5)
	direct, err := w.Find("amq.direct")
	require.NoError(t, err)
	from := w.BindingsFrom(direct)
	require.Len(t, from, 5)
	require.Equal(t, "K", from[0].Key)
	require.Equal(t, tab{f("a", 1), f("b", 2)}, from[2].Arguments)
	require.Equal(t, "r", from[4].Destination.Name)
	require.True(t, w.HasBinding("amq.direct", w.queues["q"], "k", tab{f("b", 2), f("a", 1)}))
	require.False(t, w.HasBinding("amq.direct", w.queues["q"], "k", tab{f("b", 2)}))
	require.False(t, w.HasBinding("none", w.queues["q"], "k", nil))
	require.False(t, w.HasBinding("amq.direct", w.queues["q"], "k", tab{f("b", struct{}{})}))

	require.Equal(t, []string{"q", "r"}, w.route("amq.direct", "k"), "one copy for each queue")
	for i, args := range []tab{nil, {f("a", 1), f("b", 2)}, {f("b", 2), f("a", int64(1))}} {
		require.Contains(t, w.route("amq.direct", "k"), "q", "still bound: %d", i)
		r, err := w.UnbindQueue("amq.direct", "q", "k", args, nil)
		require.NoError(t, err)
		require.Len(t, r.Bindings, 1)
	}
	require.Equal(t, []string{"r"}, w.route("amq.direct", "k"))
}

func TestBindingArgumentsAreTheTopologysOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q")
	args := message.Table{f("b", []byte("x")), f("a", 1)}
	w.bind("amq.headers", "q", "", args...)
	args[0].Value.([]byte)[0] = 'y'
	args[1].Value = 2
	require.Equal(t, []string{"q"}, w.routeHeaders("amq.headers", message.Table{f("a", 1), f("b", "x")}))
}

func TestUnbindOfWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q")
	w.bind("amq.direct", "q", "k")
	never := func(*Destination) error { panic("asked about a binding that does not exist") }
	before := w.Generation()
	for _, c := range []struct{ source, queue, key string }{
		{"amq.direct", "q", "nothing"}, {"amq.direct", "none", "k"}, {"none", "q", "k"}, {"none", "none", "k"},
	} {
		r, err := w.UnbindQueue(c.source, c.queue, c.key, nil, never)
		require.NoError(t, err)
		require.Empty(t, r)
		r, err = w.UnbindExchange(c.source, c.queue, c.key, nil)
		require.NoError(t, err)
		require.Empty(t, r)
	}
	_, err := w.UnbindQueue("amq.direct", "q", "k", nil, func(d *Destination) error {
		require.Same(t, w.queues["q"], d)
		return errors.New("locked")
	})
	require.EqualError(t, err, "locked")
	require.Equal(t, before, w.Generation())
	require.Len(t, w.Bindings(), 1)

	for _, err := range []error{
		func() error { _, err := w.UnbindQueue("", "q", "q", nil, never); return err }(),
		func() error { _, err := w.UnbindExchange("", "amq.fanout", "", nil); return err }(),
		func() error { _, err := w.UnbindExchange("amq.fanout", "", "", nil); return err }(),
	} {
		requireRefusal(t, err, reply.AccessRefused, "operation not permitted on the default exchange")
	}
	_, err = w.UnbindQueue("amq.direct", "q", "k", message.Table{f("a", struct{}{})}, never)
	require.ErrorIs(t, err, reply.PreconditionFailed)
}

func TestAutoDelete(t *testing.T) {
	t.Parallel()
	auto := func(name string) Spec { return Spec{Name: name, Type: "fanout", AutoDelete: true} }

	t.Run("with the last of its bindings", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "q")
		x := w.declare(auto("x"))
		w.bind("x", "q", "a")
		w.bind("x", "q", "b")
		r, err := w.UnbindQueue("x", "q", "a", nil, nil)
		require.NoError(t, err)
		require.Empty(t, r.Exchanges)
		require.Equal(t, []string{"q"}, w.route("x"))
		r, err = w.UnbindQueue("x", "q", "b", nil, nil)
		require.NoError(t, err)
		require.Equal(t, []*Exchange{x}, r.Exchanges)
		require.False(t, w.exists("x"))
	})
	t.Run("never if it had none", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "q")
		w.declare(auto("x"))
		w.Forget(w.queues["q"])
		_, err := w.UnbindQueue("x", "q", "a", nil, nil)
		require.NoError(t, err)
		require.True(t, w.exists("x"))
	})
	t.Run("not as a destination", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.declare(auto("x"))
		w.declare(Spec{Name: "source", Type: "fanout"})
		w.bindx("source", "x", "")
		_, err := w.Delete("source", false)
		require.NoError(t, err)
		require.True(t, w.exists("x"))
	})
	t.Run("with its queue, and so on up the chain", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "q", "other")
		for _, name := range []string{"a", "b", "c", "kept"} {
			w.declare(auto(name))
		}
		w.bindx("a", "b", "")
		w.bindx("b", "c", "")
		w.bind("c", "q", "")
		w.bindx("kept", "c", "")
		w.bind("kept", "other", "")
		r := w.Forget(w.queues["q"])
		var names []string
		for _, x := range r.Exchanges {
			names = append(names, x.Name())
		}
		require.Equal(t, []string{"c", "b", "a"}, names)
		require.Len(t, r.Bindings, 4)
		require.Len(t, w.Bindings(), 1)
		require.Equal(t, []string{"other"}, w.route("kept"))
	})
	t.Run("of an exchange bound to itself", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "q")
		w.declare(auto("x"))
		w.bindx("x", "x", "")
		w.bind("x", "q", "")
		w.Forget(w.queues["q"])
		require.True(t, w.exists("x"), "it still has a binding, if only to itself")
		r, err := w.UnbindExchange("x", "x", "", nil)
		require.NoError(t, err)
		require.Len(t, r.Exchanges, 1)
		require.Empty(t, w.Bindings())
	})
	t.Run("of a long chain", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "q")
		const n = 3000
		for i := range n {
			w.declare(auto(fmt.Sprint(i)))
			if i > 0 {
				w.bindx(fmt.Sprint(i), fmt.Sprint(i-1), "")
			}
		}
		w.bind("0", "q", "")
		require.Equal(t, []string{"q"}, w.route(fmt.Sprint(n-1)))
		require.Len(t, w.Forget(w.queues["q"]).Exchanges, n)
		require.Empty(t, w.Bindings())
	})
}

func TestAQueueDeclaredAgainHasNoneOfTheOldBindings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q")
	old := w.queues["q"]
	w.bind("amq.direct", "q", "k")
	// The virtual host forgets the queue first and its bindings next; between
	// the two another client may declare and bind it again.
	w.queues["q"] = queueNamed("q")
	w.bind("amq.direct", "q", "k")
	require.Len(t, w.Forget(old).Bindings, 1)
	require.Equal(t, []string{"q"}, w.route("amq.direct", "k"))
	require.Empty(t, w.BindingsTo(old))
	require.Len(t, w.BindingsTo(w.queues["q"]), 1)
}

func TestGenerationChangesWithEveryRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q")
	for name, change := range map[string]func(){
		"touch":           w.Touch,
		"forget":          func() { w.Forget(w.queues["q"]) },
		"declare":         func() { w.declare(Spec{Name: "d", Type: "direct"}) },
		"bind and unbind": func() { w.bind("amq.direct", "q", "1"); _, _ = w.UnbindQueue("amq.direct", "q", "1", nil, nil) },
		"delete":          func() { w.declare(Spec{Name: "e", Type: "direct"}); _, _ = w.Delete("e", false) },
	} {
		before := w.Generation()
		change()
		require.NotEqual(t, before, w.Generation(), name)
	}
	w.bind("amq.direct", "q", "k")
	before := w.Generation()
	w.bind("amq.direct", "q", "k")
	w.declare(Spec{Name: "d", Type: "direct"})
	_, err := w.Delete("none", false)
	require.NoError(t, err)
	require.Equal(t, before, w.Generation(), "nothing changed")
}
