package queue

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// locator is an argument that RabbitMQ compares and does not check, so that it
// can have any value. All texts of this file are RabbitMQ 3.10.8's.
const locator = argMasterLocator

const lockedText = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. " +
	"It could be originally declared on another connection or the exclusive property value does not match that of the original declaration."

func TestRedeclareComparesProperties(t *testing.T) {
	t.Parallel()
	spec := func(change func(*Spec)) Spec {
		s := Spec{Name: "q", VHost: "/"}
		if change != nil {
			change(&s)
		}
		return s
	}
	exclusive := func(owner uint64) func(*Spec) {
		return func(s *Spec) { s.Exclusive, s.Owner = true, owner }
	}
	for _, c := range []struct {
		name              string
		existing, declare func(*Spec)
		want              string
	}{
		{"the same", nil, nil, ""},
		{"durable added", nil, func(s *Spec) { s.Durable = true },
			"inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'"},
		{"durable missing", func(s *Spec) { s.Durable = true }, nil,
			"inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'"},
		{"auto-delete added", nil, func(s *Spec) { s.AutoDelete = true },
			"inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'"},
		{"durable comes first", nil, func(s *Spec) { s.Durable, s.AutoDelete, s.Arguments = true, true, args("x-max-length", int32(1)) },
			"inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'"},
		{"auto-delete comes before arguments", nil, func(s *Spec) { s.AutoDelete, s.Arguments = true, args("x-max-length", int32(1)) },
			"inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'"},
		{"exclusive of the same connection", exclusive(1), exclusive(1), ""},
		{"exclusive of another", exclusive(1), exclusive(2), lockedText},
		{"exclusive missing", exclusive(1), nil, lockedText},
		{"exclusive added", nil, exclusive(1), lockedText},
		{"exclusive comes before durable", nil, func(s *Spec) { s.Exclusive, s.Owner, s.Durable = true, 1, true }, lockedText},
		{"durable means nothing for exclusive queues", exclusive(1), func(s *Spec) { s.Exclusive, s.Owner, s.Durable = true, 1, true }, ""},
		{"in either", func(s *Spec) { s.Exclusive, s.Owner, s.Durable = true, 1, true }, exclusive(1), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want := c.want
			if want != "" && want != lockedText {
				want = "PRECONDITION_FAILED - " + want
			}
			requireText(t, want, CheckEquivalent(spec(c.existing), classicCapabilities(), spec(c.declare)))
		})
	}
}

func TestRedeclareComparesArguments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name              string
		existing, declare message.Table
		want              string // after "inequivalent arg '"
	}{
		{"same value", args("x-max-length", int32(5)), args("x-max-length", int32(5)), ""},
		{"other integer tag", args("x-max-length", int32(5)), args("x-max-length", int64(5)), ""},
		{"other value", args("x-max-priority", int32(5)), args("x-max-priority", int32(6)),
			"x-max-priority' for queue 'q' in vhost '/': received '6' but current is '5'"},
		{"a string", args("x-dead-letter-routing-key", "a"), args("x-dead-letter-routing-key", "b"),
			"x-dead-letter-routing-key' for queue 'q' in vhost '/': received 'b' but current is 'a'"},
		{"missing", args("x-message-ttl", int32(60000)), nil,
			"x-message-ttl' for queue 'q' in vhost '/': received none but current is the value '60000' of type 'signedint'"},
		{"added", nil, args("x-message-ttl", int32(60000)),
			"x-message-ttl' for queue 'q' in vhost '/': received the value '60000' of type 'signedint' but current is none"},
		{"a bad value is just another", nil, args("x-max-length", int32(-5)),
			"x-max-length' for queue 'q' in vhost '/': received the value '-5' of type 'signedint' but current is none"},
		{"of a bad type too", nil, args(argDeadLetterExchange, int32(5)),
			"x-dead-letter-exchange' for queue 'q' in vhost '/': received the value '5' of type 'signedint' but current is none"},
		{"unknown ones are ignored", args("x-hello", int32(1)), args("x-hello", "two", "y", int32(3)), ""},
		{"and those of other types", nil, args("x-delivery-limit", int32(5)), ""},
		{"the first of two equal names counts", args("x-max-length", int32(1), "x-max-length", int32(2)), args("x-max-length", int32(2)),
			"x-max-length' for queue 'q' in vhost '/': received '2' but current is '1'"},
		{"and the second does not", args("x-max-length", int32(1), "x-max-length", int32(2)), args("x-max-length", int32(1)), ""},
		{"in the type's order", args("x-expires", int32(100000), "x-max-length", int32(5)), args("x-max-length", int32(6), "x-expires", int32(100001)),
			"x-expires' for queue 'q' in vhost '/': received '100001' but current is '100000'"},
		{"priority before overflow", nil, args("x-overflow", "drop-head", "x-max-priority", int32(3)),
			"x-max-priority' for queue 'q' in vhost '/': received the value '3' of type 'signedint' but current is none"},
		{"classic is the type of old", nil, args(argQueueType, "classic"), ""},
		{"and needs no name", args(argQueueType, "classic"), nil, ""},
		{"another type", nil, args(argQueueType, "quorum"),
			"x-queue-type' for queue 'q' in vhost '/': received the value 'quorum' of type 'longstr' but current is none"},
		{"another type than the one named", args(argQueueType, "classic"), args(argQueueType, "nope"),
			"x-queue-type' for queue 'q' in vhost '/': received 'nope' but current is 'classic'"},
		{"a type as a binary", args(argQueueType, "classic"), args(argQueueType, []byte("classic")), ""},
		{"a type as a binary against none", nil, args(argQueueType, []byte("classic")),
			"x-queue-type' for queue 'q' in vhost '/': received the value 'classic' of type 'binary' but current is none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want := c.want
			if want != "" {
				want = "PRECONDITION_FAILED - inequivalent arg '" + want
			}
			requireText(t, want, CheckEquivalent(Spec{Name: "q", VHost: "/", Arguments: c.existing}, classicCapabilities(),
				Spec{Name: "q", VHost: "/", Arguments: c.declare}))
		})
	}
}

func TestRedeclareAsAnotherTypeIsRefusedEvenIfTheTypeDoesNotListIt(t *testing.T) {
	t.Parallel()
	existing := Spec{Name: "q", VHost: "/", Arguments: args(argQueueType, "own")}
	requireText(t, "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'classic' but current is 'own'",
		CheckEquivalent(existing, Capabilities{}, Spec{Name: "q", VHost: "/", Arguments: args(argQueueType, "classic")}))
	requireText(t, "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received none but current is the value 'own' of type 'longstr'",
		CheckEquivalent(existing, Capabilities{}, Spec{Name: "q", VHost: "/"}))
	require.NoError(t, CheckEquivalent(existing, Capabilities{}, existing))
}

func TestRedeclareComparesByValue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b any
		want string // empty: equal
	}{
		{int32(5), int64(5), ""},
		{int32(5), uint8(5), ""},
		{int64(-1), int8(-1), ""},
		{int32(5), time.Unix(5, 0), ""},
		{float32(1.5), 1.5, ""},
		{0.0, math.Copysign(0, -1), ""},
		{"ab", []byte("ab"), ""},
		{[]any{}, message.Table{}, ""},
		{nil, nil, ""},
		{args("a", int32(1)), args("a", int32(1)), ""},
		{int32(5), 5.0, "received '5.0' but current is '5'"},
		{5.0, int32(5), "received '5' but current is '5.0'"},
		{float32(0.1), 0.1, "received '0.1' but current is '0.10000000149011612'"},
		{nil, int32(7), "received '7' but current is none"},
		{int32(7), nil, "received none but current is '7'"},
		{"none", nil, "received none but current is 'none'"},
		{nil, "undefined", "received 'undefined' but current is none"},
		{true, "true", "received 'true' but current is 'true'"},
		{int32(5), "5", "received '5' but current is '5'"},
		{int32(1), true, "received 'true' but current is '1'"},
		{args("a", int32(1), "b", int32(2)), args("b", int32(2), "a", int32(1)),
			`received '[{<<"b">>,signedint,2},{<<"a">>,signedint,1}]' but current is '[{<<"a">>,signedint,1},{<<"b">>,signedint,2}]'`},
		{args("a", int32(1)), args("a", int64(1)), `received '[{<<"a">>,long,1}]' but current is '[{<<"a">>,signedint,1}]'`},
		{[]any{int32(5)}, []any{int64(5)}, "received '[{long,5}]' but current is '[{signedint,5}]'"},
		{[]any{int32(5)}, []any{"5"}, `received '[{longstr,<<"5">>}]' but current is '[{signedint,5}]'`},
		{[]any{float32(1)}, []any{1.0}, "received '[{double,1.0}]' but current is '[{float,1.0}]'"},
		// RabbitMQ crashes on these.
		{message.Decimal{Scale: 1, Value: 50}, message.Decimal{Value: 5}, "received '{0,5}' but current is '{1,50}'"},
		{message.Decimal{Value: 5}, message.Decimal{Value: 5}, ""},
	} {
		want := c.want
		if want != "" {
			want = "PRECONDITION_FAILED - inequivalent arg '" + locator + "' for queue 'q' in vhost '/': " + want
		}
		requireText(t, want, CheckEquivalent(Spec{Name: "q", VHost: "/", Arguments: args(locator, c.a)}, classicCapabilities(),
			Spec{Name: "q", VHost: "/", Arguments: args(locator, c.b)}))
	}
}

func TestRedeclarePrintsAValueThatIsMissing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value any
		want  string
	}{
		{int32(5), "'5' of type 'signedint'"},
		{uint16(6), "'6' of type 'unsignedshort'"},
		{true, "'true' of type 'bool'"},
		{float32(1.5), "'1.5' of type 'float'"},
		{1.0, "'1.0' of type 'double'"},
		{time.Unix(1600000000, 0), "'1600000000' of type 'timestamp'"},
		{[]byte("\x00\x01"), "'\x00\x01' of type 'binary'"},
		{"it's \"q\" \\ \n é", "'it's \"q\" \\ \n é' of type 'longstr'"},
		{nil, "'undefined' of type 'void'"},
		{message.Table{}, "'[]' of type 'table'"},
		{args("k", int32(1), "j", true), `'[{<<"k">>,signedint,1},{<<"j">>,bool,true}]' of type 'table'`},
		{args("k", args("a", "b")), `'[{<<"k">>,table,[{<<"a">>,longstr,<<"b">>}]}]' of type 'table'`},
		{args("k", nil), `'[{<<"k">>,void,undefined}]' of type 'table'`},
		{args("k", []any{int32(1), []byte("\x01z")}), `'[{<<"k">>,array,[{signedint,1},{binary,<<1,122>>}]}]' of type 'table'`},
		{args("k", "é\n\"z\\"), `'[{<<"k">>,longstr,<<"é\n\"z\\">>}]' of type 'table'`},
		{args("k", "\x80"), `'[{<<"k">>,longstr,<<128>>}]' of type 'table'`},
		{[]any{"", true, message.Decimal{Scale: 2, Value: 314}}, "'[{longstr,<<>>},{bool,true},{decimal,{2,314}}]' of type 'array'"},
	} {
		requireText(t, "PRECONDITION_FAILED - inequivalent arg '"+locator+"' for queue 'q' in vhost '/': received none but current is the value "+c.want,
			CheckEquivalent(Spec{Name: "q", VHost: "/", Arguments: args(locator, c.value)}, classicCapabilities(), Spec{Name: "q", VHost: "/"}))
	}
}

func TestRedeclareCutsAVeryLongValue(t *testing.T) {
	t.Parallel()
	start := "PRECONDITION_FAILED - inequivalent arg '" + locator + "' for queue 'q' in vhost '/': received 'b' but current is '"
	requireText(t, start+strings.Repeat("x", 252-len(start))+"...",
		CheckEquivalent(Spec{Name: "q", VHost: "/", Arguments: args(locator, strings.Repeat("x", 300))}, classicCapabilities(),
			Spec{Name: "q", VHost: "/", Arguments: args(locator, "b")}))
}

func TestOnlyTheOwnerMayUseAnExclusiveQueue(t *testing.T) {
	t.Parallel()
	s := Spec{Name: "q", VHost: "/", Exclusive: true, Owner: 7}
	require.NoError(t, CheckOwner(s, 7))
	requireText(t, lockedText, CheckOwner(s, 8))
	require.NoError(t, CheckOwner(Spec{Name: "q", VHost: "/"}, 8))
}
