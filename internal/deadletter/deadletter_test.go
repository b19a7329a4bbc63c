package deadletter

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/warrenmq/warren/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func dead(t testing.TB, p message.Properties) *message.Message {
	t.Helper()
	raw, err := p.Append(nil)
	require.NoError(t, err)
	m := message.New("x", "k", raw, 4)
	m.AppendBody([]byte("body"))
	m.SetAttributes(p.DeliveryMode == message.Persistent, p.Priority)
	return m
}

func headersOf(t testing.TB, l *Letter) message.Table {
	t.Helper()
	p, err := l.Msg.Properties()
	require.NoError(t, err)
	return p.Headers
}

var when = time.Unix(1_700_000_000, 0).UTC()

func TestAFirstDeath(t *testing.T) {
	t.Parallel()
	m := dead(t, message.Properties{Expiration: "70", DeliveryMode: 2, Priority: 4, MessageID: "id",
		Headers: message.Table{{Name: "z", Value: true}, {Name: "CC", Value: []any{"c", int8(1)}}, {Name: firstQueue, Value: "mine"}}})
	m.SetHiddenKeys([]string{"b"})
	l, err := Write(m, Death{Queue: "q", Reason: "expired", Time: when, Exchange: "dlx"})
	require.NoError(t, err)
	require.Equal(t, []string{"k", "c", "b"}, l.Keys)
	require.Equal(t, []string{"b"}, l.Msg.HiddenKeys())
	require.Equal(t, "dlx k", l.Msg.Exchange()+" "+l.Msg.RoutingKey())
	require.Equal(t, "body", string(l.Msg.Body()))
	require.True(t, l.Msg.Persistent())
	require.EqualValues(t, 4, l.Msg.Priority())
	p, err := l.Msg.Properties()
	require.NoError(t, err)
	require.False(t, p.Has(message.PropExpiration))
	require.Equal(t, "id", p.MessageID)
	require.Equal(t, message.Table{
		{Name: "CC", Value: []any{"c", int8(1)}},
		{Name: "x-death", Value: []any{message.Table{
			{Name: "count", Value: int64(1)}, {Name: "reason", Value: "expired"}, {Name: "queue", Value: "q"},
			{Name: "time", Value: when}, {Name: "exchange", Value: "x"}, {Name: "routing-keys", Value: []any{"k", "c"}},
			{Name: "original-expiration", Value: "70"},
		}}},
		{Name: firstExchange, Value: "x"}, {Name: firstQueue, Value: "q"}, {Name: firstReason, Value: "expired"},
		{Name: "z", Value: true},
	}, p.Headers)
	require.EqualValues(t, 1, m.Refs(), "the dead one was only read")
}

func TestANewKeyTakesTheOthersAway(t *testing.T) {
	t.Parallel()
	m := dead(t, message.Properties{Headers: message.Table{{Name: "CC", Value: []any{"c"}}}})
	m.SetHiddenKeys([]string{"b"})
	l, err := Write(m, Death{Queue: "q", Reason: "rejected", Time: when, Rekeyed: true})
	require.NoError(t, err)
	require.Equal(t, []string{""}, l.Keys)
	require.Empty(t, l.Msg.HiddenKeys())
	_, cc := headersOf(t, l).Get("CC")
	require.False(t, cc)
}

// die writes the letter of a death.
func die(t testing.TB, m *message.Message, queue, reason string) *Letter {
	t.Helper()
	l, err := Write(m, Death{Queue: queue, Reason: reason, Time: when, Exchange: "x"})
	require.NoError(t, err)
	return l
}

// names prints x-death: the queues, each with a plus for every further count.
func names(t testing.TB, l *Letter) string {
	t.Helper()
	var b strings.Builder
	v, _ := headersOf(t, l).Get(xDeath)
	for _, e := range v.([]any) {
		n, _ := e.(message.Table).Get("count")
		b.WriteString(text(e.(message.Table), "queue").(string))
		b.WriteString(strings.Repeat("+", int(n.(int64)-1)) + " ")
	}
	return strings.TrimSpace(b.String())
}

func TestTheOrderOfDeaths(t *testing.T) {
	t.Parallel()
	m := dead(t, message.Properties{})
	for _, c := range []struct{ in, want string }{
		{"a", "a"}, {"b", "b a"}, {"c", "c a b"}, {"d", "d b a c"}, {"a", "a+ c b d"}, {"a", "a++ d b c"},
	} {
		l := die(t, m, c.in, "expired")
		require.Equal(t, c.want, names(t, l), "after dying in %s", c.in)
		m = l.Msg
	}
}

func TestAClientsEntryIsCountedUp(t *testing.T) {
	t.Parallel()
	entry := func(queue, reason, count any) message.Table {
		return message.Table{{Name: "count", Value: count}, {Name: "queue", Value: queue}, {Name: "reason", Value: reason}}
	}
	for name, c := range map[string]struct{ before, want []any }{
		"an integer of another size": {[]any{entry("q", "expired", int8(4))}, []any{entry("q", "expired", int64(5))}},
		"byte arrays":                {[]any{entry([]byte("q"), []byte("expired"), int64(1))}, []any{entry([]byte("q"), []byte("expired"), int64(2))}},
		"a void count stays": {[]any{entry("q", "expired", nil)}, []any{append(
			message.Table{{Name: "count", Value: int64(1)}}, entry("q", "expired", nil)...)}},
		"integers are no queue's name": {[]any{entry(int32(1), "expired", int64(1)), entry(int64(1), "expired", int64(7)), entry(int64(2), "expired", int64(3)), entry("q", "expired", int64(1))},
			[]any{entry("q", "expired", int64(2)), entry(int64(2), "expired", int64(3)), entry(int32(1), "expired", int64(1))}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := dead(t, message.Properties{Headers: message.Table{{Name: xDeath, Value: c.before}}})
			got, _ := headersOf(t, die(t, m, "q", "expired")).Get(xDeath)
			require.Equal(t, c.want, got)
		})
	}
}

func TestCircles(t *testing.T) {
	t.Parallel()
	type death struct{ queue, reason string }
	for _, c := range []struct {
		name   string
		deaths []death
		to     string
		want   bool
	}{
		{"never there", []death{{"a", "expired"}}, "b", false},
		{"back into itself", []death{{"a", "expired"}}, "a", true},
		{"rejected", []death{{"a", "rejected"}}, "a", false},
		{"by way of another", []death{{"a", "expired"}, {"b", "maxlen"}}, "a", true},
		{"by way of a reject", []death{{"a", "rejected"}, {"b", "expired"}}, "a", false},
		{"expired where it was rejected before", []death{{"a", "rejected"}, {"a", "expired"}}, "a", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := dead(t, message.Properties{})
			var l *Letter
			for _, d := range c.deaths {
				l = die(t, m, d.queue, d.reason)
				m = l.Msg
			}
			require.Equal(t, c.want, l.Circles(c.to))
		})
	}
}

func TestPropertiesThatOutgrowThemselvesAreAnError(t *testing.T) {
	t.Parallel()
	m := dead(t, message.Properties{})
	_, err := Write(m, Death{Queue: "q", Reason: "rejected", Time: time.Time{}, Exchange: "x"})
	require.NoError(t, err, "any time can be written")
	bad := message.New("x", "k", []byte{0xff}, 0)
	_, err = Write(bad, Death{Queue: "q"})
	require.ErrorContains(t, err, "dead-letter a message of queue 'q'")
}

// Whatever a publisher says of deaths, the letter can be written and read, and
// dying a second time for the same reason counts up.
func FuzzWrite(f *testing.F) {
	for _, h := range []message.Table{
		nil,
		{{Name: xDeath, Value: []any{message.Table{{Name: "queue", Value: "q"}, {Name: "reason", Value: "expired"}}, "odd", nil}}},
		{{Name: xDeath, Value: "text"}},
		{{Name: xDeath, Value: []any{message.Table{{Name: "count", Value: "x"}, {Name: "reason", Value: "expired"}, {Name: "queue", Value: "q"}}}}},
		{{Name: "CC", Value: []any{"c"}}, {Name: xDeath, Value: []any{}}, {Name: xDeath, Value: int32(5)}},
		{{Name: xDeath, Value: []any{message.Table{{Name: "queue", Value: []byte("q")}, {Name: "reason", Value: []byte("expired")}}}}},
	} {
		raw, err := message.Properties{Headers: h, Expiration: "5"}.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, rekeyed bool) {
		if _, err := message.DecodeProperties(raw); err != nil {
			return
		}
		d := Death{Queue: "q", Reason: "expired", Time: when, Exchange: "x", RoutingKey: "r", Rekeyed: rekeyed}
		m := message.New("", "k", raw, 0)
		var count int64
		for range 3 {
			l, err := Write(m, d)
			if err != nil {
				return // it is as large as can be
			}
			v, _ := headersOf(t, l).Get(xDeath)
			first := v.([]any)[0].(message.Table)
			require.Equal(t, any("q"), plain(first, "queue"))
			// An entry that a client wrote with a byte array counts the death, and is none
			// of this queue's to who looks for a circle.
			if text(first, "queue") != nil {
				require.True(t, l.Circles("q"))
			}
			n, ok := first.Get("count")
			require.True(t, ok)
			if c, ok := n.(int64); ok {
				if count > 0 {
					require.Equal(t, count+1, c)
				}
				count = c
			}
			m = l.Msg
		}
	})
}
