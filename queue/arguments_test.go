package queue

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

// The rows of this file were asked of RabbitMQ 3.10.8.

// big is the longest time to live.
const big = int64(315_360_000_000)

// values has one value of every tag that is no integer, with its type's name.
var values = map[string]any{
	"bool":      true,
	"float":     float32(1.5),
	"double":    float64(1),
	"decimal":   message.Decimal{Scale: 2, Value: 314},
	"timestamp": time.Unix(0, 0),
	"binary":    []byte("ab"),
	"longstr":   "abc",
	"void":      nil,
	"table":     message.Table{{Name: "k", Value: "v"}},
	"array":     []any{int32(1)},
}

// integers has one value of every integer tag.
var integers = map[string]any{
	"byte": int8(1), "unsignedbyte": uint8(1), "short": int16(1), "unsignedshort": uint16(1),
	"signedint": int32(1), "unsignedint": uint32(1), "long": int64(1),
}

func TestDeclareJudgesEachArgument(t *testing.T) {
	t.Parallel()
	type row struct {
		value  any
		detail string // empty: accepted
	}
	for _, c := range []struct {
		queueType string
		argument  string
		rows      []row
	}{
		{"classic", "x-message-ttl", []row{
			{int32(0), ""}, {int32(5), ""}, {big, ""},
			{int32(-1), "{value_negative,-1}"}, {int16(-3), "{value_negative,-3}"},
			{big + 1, "{value_too_large,315360000001}"},
		}},
		{"classic", "x-expires", []row{
			{int32(1), ""}, {big, ""},
			{int32(0), "{value_zero,0}"}, {int8(0), "{value_zero,0}"}, {int32(-1), "{value_negative,-1}"},
			{10 * big, "{value_too_large,3153600000000}"},
		}},
		{"classic", "x-max-length", []row{
			{int32(0), ""}, {10 * big, ""}, {int32(-5), "{value_negative,-5}"},
		}},
		{"classic", "x-max-length-bytes", []row{
			{int32(0), ""}, {10 * big, ""}, {int32(-1), "{value_negative,-1}"},
		}},
		{"classic", "x-overflow", []row{
			{"drop-head", ""}, {"reject-publish", ""}, {"reject-publish-dlx", ""},
			{"drop-tail", "invalid_overflow"}, {"", "invalid_overflow"},
		}},
		{"classic", "x-max-priority", []row{
			{int32(0), ""}, {int32(255), ""}, {uint8(200), ""},
			{int32(256), "{max_value_exceeded,256}"}, {uint32(4_000_000_000), "{max_value_exceeded,4000000000}"},
			{int32(-1), "{value_negative,-1}"},
		}},
		{"classic", "x-queue-mode", []row{
			{"default", ""}, {"lazy", ""},
			{"nope", `"unsupported queue mode 'nope'"`}, {"", `"unsupported queue mode ''"`}, {"LAZY", `"unsupported queue mode 'LAZY'"`},
		}},
		{"classic", "x-queue-version", []row{
			{int32(1), ""}, {int64(2), ""},
			{int32(3), `"unsupported queue version '3'"`}, {int32(0), `"unsupported queue version '0'"`},
			{int32(-1), "{value_negative,-1}"},
		}},
		{"classic", "x-single-active-consumer", []row{{true, ""}, {false, ""}}},
		{"classic", "x-dead-letter-routing-key", []row{
			{"abc", "routing_key_but_no_dlx_defined"}, {"", "routing_key_but_no_dlx_defined"},
		}},
		{"quorum", "x-dead-letter-strategy", []row{
			{"at-most-once", ""}, {"at-least-once", ""}, {"abc", "invalid_dlx_strategy"},
		}},
		{"quorum", "x-max-in-memory-length", []row{{int32(0), ""}, {int32(-1), "{value_negative,-1}"}}},
		{"quorum", "x-max-in-memory-bytes", []row{{int32(0), ""}, {int32(-1), "{value_negative,-1}"}}},
		{"quorum", "x-quorum-initial-group-size", []row{
			{int32(1), ""}, {10 * big, ""}, {int32(0), "{value_zero,0}"}, {int32(-1), "{value_negative,-1}"},
		}},
		{"quorum", "x-queue-leader-locator", []row{
			{"client-local", ""}, {"balanced", ""}, {"random", ""}, {"least-leaders", ""},
			{"abc", "invalid_queue_locator_arg"},
		}},
		{"quorum", "x-delivery-limit", []row{{int32(-5), ""}, {"abc", ""}, {nil, ""}}},
		{"stream", "x-max-age", []row{
			{"1Y", ""}, {"1M", ""}, {"7D", ""}, {"1h", ""}, {"1m", ""}, {"01s", ""}, {"99999999999999999999Y", ""},
			{"1", "invalid_max_age"}, {"1x", "invalid_max_age"}, {"0h", "invalid_max_age"}, {"1.5h", "invalid_max_age"},
			{"1 h", "invalid_max_age"}, {"1hh", "invalid_max_age"}, {"1d", "invalid_max_age"},
			// RabbitMQ crashes on these.
			{"", "invalid_max_age"}, {"h", "invalid_max_age"}, {"-1h", "invalid_max_age"}, {"+1h", "invalid_max_age"}, {"abc", "invalid_max_age"},
		}},
		{"stream", argSegmentSize, []row{{int32(0), ""}, {int64(3_000_000_000), ""}, {int32(-1), "{value_negative,-1}"}}},
		{"stream", "x-initial-cluster-size", []row{
			{int32(1), ""}, {int32(0), "{value_zero,0}"}, {int32(-1), "{value_negative,-1}"},
		}},
		{"stream", "x-max-length-bytes", []row{{int32(0), ""}, {int32(-1), "{value_negative,-1}"}}},
		{"stream", "x-queue-leader-locator", []row{{"balanced", ""}, {"", "invalid_queue_locator_arg"}}},
	} {
		t.Run(c.queueType+" "+c.argument, func(t *testing.T) {
			t.Parallel()
			ts := typesOf(t, complete())
			for _, r := range c.rows {
				_, err := CheckDeclare(ts, Spec{Name: "q", VHost: "v", Durable: true,
					Arguments: args(argQueueType, c.queueType, c.argument, r.value)})
				want := ""
				switch {
				case r.detail != "":
					want = "PRECONDITION_FAILED - invalid arg '" + c.argument + "' for queue 'q' in vhost 'v': " + r.detail
				case c.queueType != "classic":
					want = "NOT_IMPLEMENTED - x-queue-type=" + c.queueType + " for queue 'q' in vhost 'v'"
				}
				requireText(t, want, err)
			}
		})
	}
}

func TestDeclareJudgesTheTypeOfEachArgument(t *testing.T) {
	t.Parallel()
	wantInt := func(name string) string { return `"expected integer, got ` + name + `"` }
	wantOther := func(name string) string { return "{unacceptable_type," + name + "}" }
	for _, c := range []struct {
		queueType, argument, accepts string // accepts a type besides, if it is not integer
		detail                       func(string) string
	}{
		{"classic", "x-message-ttl", "", wantInt},
		{"classic", "x-expires", "", wantInt},
		{"classic", "x-max-length", "", wantInt},
		{"classic", "x-max-length-bytes", "", wantInt},
		{"classic", "x-max-priority", "", wantInt},
		{"classic", "x-queue-version", "", wantInt},
		{"classic", "x-dead-letter-exchange", "longstr", wantOther},
		{"classic", "x-dead-letter-routing-key", "longstr", wantOther},
		{"classic", "x-overflow", "longstr", wantOther},
		{"classic", "x-queue-mode", "longstr", wantOther},
		{"classic", "x-single-active-consumer", "bool", wantOther},
		{"quorum", "x-max-in-memory-length", "", wantInt},
		{"quorum", "x-max-in-memory-bytes", "", wantInt},
		{"quorum", "x-quorum-initial-group-size", "", wantInt},
		{"quorum", "x-dead-letter-strategy", "longstr", wantOther},
		{"quorum", "x-queue-leader-locator", "longstr", wantOther},
		{"stream", "x-initial-cluster-size", "", wantInt},
		{"stream", argSegmentSize, "", wantInt},
		{"stream", "x-max-age", "longstr", wantOther},
	} {
		t.Run(c.queueType+" "+c.argument, func(t *testing.T) {
			t.Parallel()
			ts := typesOf(t, complete())
			detail := func(v any) string {
				_, err := CheckDeclare(ts, Spec{Name: "q", VHost: "/", Durable: true,
					Arguments: args(argQueueType, c.queueType, c.argument, v)})
				e := reply.From(err)
				if err == nil || e.Code == reply.NotImplemented {
					return ""
				}
				return strings.TrimPrefix(e.Text, "invalid arg '"+c.argument+"' for queue 'q' in vhost '/': ")
			}
			for name, v := range values {
				if name != c.accepts {
					require.Equal(t, c.detail(name), detail(v))
				}
			}
			for name, v := range integers {
				want := ""
				if c.accepts != "" {
					want = c.detail(name)
				}
				require.Equal(t, want, detail(v), name)
			}
		})
	}
}

func TestDeclareRefusesInRabbitMQsOrder(t *testing.T) {
	t.Parallel()
	bad := int32(-1)
	for _, c := range []struct {
		name string
		args message.Table
		want string // after "invalid arg '" or in whole
	}{
		{"the queue type first", args("x-expires", int32(0), argQueueType, "nope"),
			`x-queue-type' for queue 'q' in vhost '/': "unsupported queue type 'nope'"`},
		{"expires before max-length", args("x-max-length", bad, "x-expires", int32(0)),
			"x-expires' for queue 'q' in vhost '/': {value_zero,0}"},
		{"ttl before all others", args("x-single-active-consumer", int32(1), "x-queue-version", int32(9), "x-queue-mode", "z",
			"x-overflow", "bad", "x-max-priority", int32(999), "x-max-length-bytes", bad, "x-max-length", bad, "x-message-ttl", bad),
			"x-message-ttl' for queue 'q' in vhost '/': {value_negative,-1}"},
		{"dead-letter key before max-length", args("x-max-length", bad, "x-dead-letter-routing-key", "a"),
			"x-dead-letter-routing-key' for queue 'q' in vhost '/': routing_key_but_no_dlx_defined"},
		{"max-length before its bytes", args("x-max-length-bytes", int32(-2), "x-max-length", bad),
			"x-max-length' for queue 'q' in vhost '/': {value_negative,-1}"},
		{"bytes before priority", args("x-max-priority", int32(999), "x-max-length-bytes", bad),
			"x-max-length-bytes' for queue 'q' in vhost '/': {value_negative,-1}"},
		{"priority before overflow", args("x-overflow", "bad", "x-max-priority", int32(999)),
			"x-max-priority' for queue 'q' in vhost '/': {max_value_exceeded,999}"},
		{"overflow before mode", args("x-queue-mode", "z", "x-overflow", "bad"),
			"x-overflow' for queue 'q' in vhost '/': invalid_overflow"},
		{"mode before version", args("x-queue-version", int32(9), "x-queue-mode", "z"),
			`x-queue-mode' for queue 'q' in vhost '/': "unsupported queue mode 'z'"`},
		{"version before single active", args("x-single-active-consumer", int32(1), "x-queue-version", int32(9)),
			`x-queue-version' for queue 'q' in vhost '/': "unsupported queue version '9'"`},
		{"values before arguments of other types", args("x-delivery-limit", int32(1), "x-max-length", bad),
			"x-max-length' for queue 'q' in vhost '/': {value_negative,-1}"},
		{"arguments of other types as they come", args("x-max-age", "1h", "x-delivery-limit", int32(1)),
			"x-max-age' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"},
		{"and the other way round", args("x-delivery-limit", int32(1), "x-max-age", "1h"),
			"x-delivery-limit' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"},
		{"the value of another type's argument does not count", args("x-queue-leader-locator", "nope"),
			"x-queue-leader-locator' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"},
		{"the first of two equal names counts", args("x-max-length", bad, "x-max-length", int32(2)),
			"x-max-length' for queue 'q' in vhost '/': {value_negative,-1}"},
		{"a quorum queue has no priorities", args(argQueueType, "quorum", "x-max-priority", int32(5)),
			"x-max-priority' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue"},
		{"a stream has no length", args(argQueueType, "stream", "x-max-length", int32(5)),
			"x-max-length' for queue 'q' in vhost '/' of queue type rabbit_stream_queue"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := CheckDeclare(typesOf(t, complete()), Spec{Name: "q", VHost: "/", Arguments: c.args})
			requireText(t, "PRECONDITION_FAILED - invalid arg '"+c.want, err)
		})
	}
}

func TestDeclareRefusesABadQueueType(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value any
		want  string
	}{
		{"nope", `"unsupported queue type 'nope'"`},
		{"", `"unsupported queue type ''"`},
		{"Classic", `"unsupported queue type 'Classic'"`},
		{"rabbit_quorum_queue", `"unsupported queue type 'rabbit_quorum_queue'"`},
		{int32(5), "{unacceptable_type,signedint}"},
		{[]byte("classic"), "{unacceptable_type,binary}"},
		{nil, "{unacceptable_type,void}"},
		{`a"b\c`, `"unsupported queue type 'a\"b\\c'"`},
		{"a\nb\tc\rd\x1b\b\f\v", `"unsupported queue type 'a\nb\tc\rd\e\b\f\v'"`},
		{"é", `"unsupported queue type 'é'"`},
		{"\xa0\xff", "\"unsupported queue type '\xa0\xff'\""},
		{"日本", "[117,110,115,117,112,112,111,114,116,101,100,32,113,117,101,117,101,32,116,121,112,101,32,39,230,151,165,230,156,172,39]"},
		{"\x7f", "[117,110,115,117,112,112,111,114,116,101,100,32,113,117,101,117,101,32,116,121,112,101,32,39,127,39]"},
		{"\x00", "[117,110,115,117,112,112,111,114,116,101,100,32,113,117,101,117,101,32,116,121,112,101,32,39,0,39]"},
	} {
		_, err := CheckDeclare(typesOf(t, complete()), Spec{Name: "q", VHost: "/", Arguments: args(argQueueType, c.value)})
		requireText(t, "PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 'q' in vhost '/': "+c.want, err)
	}
}

func TestDeclareCutsAVeryLongValue(t *testing.T) {
	t.Parallel()
	_, err := CheckDeclare(typesOf(t, complete()), Spec{Name: "q", VHost: "/", Arguments: args(argQueueType, strings.Repeat("x", 300))})
	text := reply.From(err).ReplyText()
	require.Len(t, text, 255)
	require.True(t, strings.HasSuffix(text, "xxx..."))
}

func TestDeclareRefusesWhatTheTypeCannotBe(t *testing.T) {
	t.Parallel()
	own := stubType{"own", Capabilities{Exclusive: true}}
	for _, c := range []struct {
		name, queueType                string
		durable, exclusive, autoDelete bool
		want                           string
	}{
		{"a transient quorum queue", "quorum", false, false, false, "PRECONDITION_FAILED - invalid property 'non-durable' for queue 'q' in vhost '/'"},
		{"an exclusive one", "quorum", true, true, false, "PRECONDITION_FAILED - invalid property 'exclusive-owner' for queue 'q' in vhost '/'"},
		{"an exclusive transient one", "quorum", false, true, false, "PRECONDITION_FAILED - invalid property 'exclusive-owner' for queue 'q' in vhost '/'"},
		{"auto-delete comes first", "quorum", false, true, true, "PRECONDITION_FAILED - invalid property 'auto-delete' for queue 'q' in vhost '/'"},
		{"a stream is no different", "stream", false, true, true, "PRECONDITION_FAILED - invalid property 'auto-delete' for queue 'q' in vhost '/'"},
		{"a classic queue can be all", "classic", false, true, true, ""},
		{"exclusive means transient, durable or not", "own", true, true, false, "PRECONDITION_FAILED - invalid property 'non-durable' for queue 'q' in vhost '/'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := CheckDeclare(typesOf(t, complete(), own), Spec{Name: "q", VHost: "/", Durable: c.durable,
				Exclusive: c.exclusive, AutoDelete: c.autoDelete, Arguments: args(argQueueType, c.queueType)})
			requireText(t, c.want, err)
		})
	}
}

func TestDeclareLooksAtTheSegmentSizeLast(t *testing.T) {
	t.Parallel()
	ts := typesOf(t, complete())
	s := Spec{Name: "q", VHost: "/", Arguments: args(argQueueType, "stream", argSegmentSize, int64(3_000_000_001))}
	_, err := CheckDeclare(ts, s)
	requireText(t, "PRECONDITION_FAILED - invalid property 'non-durable' for queue 'q' in vhost '/'", err)
	s.Durable = true
	_, err = CheckDeclare(ts, s)
	requireText(t, "PRECONDITION_FAILED - Exceeded max value for x-stream-max-segment-size-bytes", err)
}

func TestDeclareAccepts(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]message.Table{
		"nothing":                            nil,
		"classic by name":                    args(argQueueType, "classic"),
		"what no type knows":                 args("x-whatever", int32(1), "y", nil, "x-ha-policy", "all"),
		"consumer arguments":                 args("x-priority", "a", "x-stream-offset", "first", "x-credit", int32(1)),
		"arguments without a visible effect": args("x-queue-mode", "lazy", "x-queue-version", int8(2), "x-queue-master-locator", "min-masters"),
		"a master locator of bytes":          args(argMasterLocator, []byte("client-local")),
		"a master locator before a bad one":  args(argMasterLocator, "random", argMasterLocator, "dice"),
		"a good value before a bad one":      args("x-queue-version", int32(1), "x-queue-version", int32(-2)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			typ, err := CheckDeclare(typesOf(t, Classic()), Spec{Name: "q", VHost: "/", Arguments: a})
			require.NoError(t, err)
			require.Equal(t, "classic", typ.Name())
		})
	}
}

func TestDeclareWithoutAStrategyOfThatNameIsAnInternalError(t *testing.T) {
	t.Parallel()
	for _, v := range []any{"dice", "", []byte("dice"), int32(1), nil, true, []any{}, message.Table{{Name: "k", Value: nil}}} {
		_, err := CheckDeclare(typesOf(t, Classic()), Spec{Name: "q", VHost: "/", Arguments: args(argMasterLocator, v)})
		require.Equal(t, &reply.Error{Code: reply.InternalError, NoMethod: true}, err, "%v", v)
	}
	_, err := CheckDeclare(typesOf(t, Classic()), Spec{Name: "q", VHost: "/", Exclusive: true, Arguments: args(argMasterLocator, "dice")})
	require.NoError(t, err, "exclusive")
	_, err = CheckDeclare(typesOf(t, Classic()), Spec{Name: "q", VHost: "/", Arguments: args(argMasterLocator, "dice", "x-max-length", int32(-1))})
	requireText(t, "PRECONDITION_FAILED - invalid arg 'x-max-length' for queue 'q' in vhost '/': {value_negative,-1}", err)
}

func TestDeclareNamesAFeatureThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args message.Table
		want string // empty: another error comes before it
	}{
		{args("x-max-length", int32(5), "x-overflow", "no"), ""},
		{args("x-max-length", int32(5), "x-delivery-limit", int32(5)), ""},
		{args(argQueueType, "quorum"), "x-queue-type=quorum"},
		{args("x-max-length", int32(5), argQueueType, "quorum"), "x-queue-type=quorum"},
		{args(argQueueType, "stream"), "x-queue-type=stream"},
	} {
		_, err := CheckDeclare(typesOf(t, Classic()), Spec{Name: "q", VHost: "/", Durable: true, Arguments: c.args})
		if c.want == "" {
			require.ErrorIs(t, err, reply.PreconditionFailed)
			continue
		}
		requireText(t, "NOT_IMPLEMENTED - "+c.want+" for queue 'q' in vhost '/'", err)
	}
}

func TestATypeFromOutsideBringsItsOwnArguments(t *testing.T) {
	t.Parallel()
	own := stubType{"own", Capabilities{Transient: true, Arguments: []string{"x-own", "x-max-length"}}}
	ts := typesOf(t, Classic(), own)
	for _, c := range []struct {
		name string
		args message.Table
		want string
	}{
		{"any value is for the type to judge", args(argQueueType, "own", "x-own", []any{}), ""},
		{"RabbitMQ's are checked", args(argQueueType, "own", "x-max-length", "5"),
			`PRECONDITION_FAILED - invalid arg 'x-max-length' for queue 'q' in vhost '/': "expected integer, got longstr"`},
		{"RabbitMQ's others are refused", args(argQueueType, "own", "x-overflow", "drop-head"),
			"PRECONDITION_FAILED - invalid arg 'x-overflow' for queue 'q' in vhost '/' of queue type own"},
		{"its own are refused elsewhere", args("x-own", int32(1)),
			"PRECONDITION_FAILED - invalid arg 'x-own' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := CheckDeclare(ts, Spec{Name: "q", VHost: "/", Arguments: c.args})
			requireText(t, c.want, err)
		})
	}
}

func TestDeadLetterExchange(t *testing.T) {
	t.Parallel()
	for name, v := range values {
		s := Spec{Name: "q", VHost: "/", Arguments: args(argDeadLetterExchange, v)}
		dlx, ok := DeadLetterExchange(s)
		if name == "longstr" {
			require.NoError(t, CheckDeadLetterType(s))
			require.True(t, ok)
			require.Equal(t, "abc", dlx)
			continue
		}
		requireText(t, "PRECONDITION_FAILED - invalid type '"+name+"' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'",
			CheckDeadLetterType(s))
		require.False(t, ok)
	}

	none := Spec{Name: "q", VHost: "/", Arguments: args("x-other", int32(1))}
	require.NoError(t, CheckDeadLetterType(none))
	_, ok := DeadLetterExchange(none)
	require.False(t, ok)

	_, ok = DeadLetterExchange(Spec{Arguments: args(argDeadLetterExchange, "")})
	require.True(t, ok, "the default exchange has an empty name")
}

func TestConsumerArguments(t *testing.T) {
	t.Parallel()
	const bad = "PRECONDITION_FAILED - invalid arg "
	credit := message.Table{{Name: "credit", Value: int64(1)}, {Name: "drain", Value: false}}
	all := classicCapabilities()
	quorum := quorumCapabilities()
	own := Capabilities{ConsumerArguments: []string{"x-own"}}
	for _, c := range []struct {
		name string
		caps Capabilities
		args message.Table
		want string
	}{
		{"nothing", all, nil, ""},
		{"priority", all, args("x-priority", int32(5)), ""},
		{"priority below zero", all, args("x-priority", int8(-5)), ""},
		{"priority as string", all, args("x-priority", "5"), bad + `'x-priority' for queue 'q' in vhost '/': "expected integer, got longstr"`},
		{"priority as double", all, args("x-priority", 1.0), bad + `'x-priority' for queue 'q' in vhost '/': "expected integer, got double"`},
		{"priority as void", all, args("x-priority", nil), bad + `'x-priority' for queue 'q' in vhost '/': "expected integer, got void"`},
		{"failover", all, args("x-cancel-on-ha-failover", true), ""},
		{"failover as int", all, args("x-cancel-on-ha-failover", int32(1)), bad + "'x-cancel-on-ha-failover' for queue 'q' in vhost '/': {unacceptable_type,signedint}"},
		{"priority before failover", all, args("x-cancel-on-ha-failover", int32(1), "x-priority", "5"),
			bad + `'x-priority' for queue 'q' in vhost '/': "expected integer, got longstr"`},
		{"a stream's offset", all, args("x-stream-offset", "first"), bad + "'x-stream-offset' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"},
		{"values before arguments of other types", all, args("x-stream-offset", "first", "x-priority", "5"),
			bad + `'x-priority' for queue 'q' in vhost '/': "expected integer, got longstr"`},
		{"failover of a quorum queue", quorum, args("x-cancel-on-ha-failover", int32(1)),
			bad + "'x-cancel-on-ha-failover' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue"},
		{"credit", all, args("x-credit", credit), ""},
		{"credit that crashes RabbitMQ", all, args("x-credit", int32(5)), "INTERNAL_ERROR"},
		{"credit that is void", quorum, args("x-credit", nil), "INTERNAL_ERROR"},
		{"credit that crashes RabbitMQ, and another fault", all, args("x-credit", int32(5), "x-priority", "5"),
			bad + `'x-priority' for queue 'q' in vhost '/': "expected integer, got longstr"`},
		{"unknown ones", all, args("x-foo", int32(5), "x-max-length", int32(-1), "x-queue-type", "nope"), ""},
		{"a user's type", own, args("x-own", "anything"), ""},
		{"of another type with a user's type", own, args("x-priority", int32(1)), bad + "'x-priority' for queue 'q' in vhost '/' of queue type own"},
		{"priority of a classic queue", classicCapabilities(), args("x-priority", int64(-5)), ""},
		{"failover has no effect to miss", classicCapabilities(), args("x-cancel-on-ha-failover", false), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ts := typesOf(t, complete(), stubType{"own", own})
			requireText(t, c.want, CheckConsumer(ts, c.caps, Spec{Name: "q", VHost: "/", Type: "own"}, c.args))
		})
	}
}

func TestTheClassicTypeDoesAllThatItKnows(t *testing.T) {
	t.Parallel()
	require.Empty(t, Classic().Capabilities().Unimplemented)
}
