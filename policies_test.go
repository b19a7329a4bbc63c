package warren_test

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	warrenpolicy "github.com/warrenmq/warren/policy"
	"github.com/warrenmq/warren/store/memstore"
)

// define gives a policy of names and values.
func define(name, pattern string, definition ...any) warren.Policy {
	p := warren.Policy{Name: name, Pattern: pattern}
	for i := 0; i < len(definition); i += 2 {
		p.Definition = append(p.Definition, warren.Field{Name: definition[i].(string), Value: definition[i+1]})
	}
	return p
}

// as gives the policy as the broker keeps it.
func as(t testing.TB, p warren.Policy) warren.Policy {
	t.Helper()
	c, err := warrenpolicy.Compile(warrenpolicy.User, p)
	require.NoError(t, err)
	return c.Policy()
}

func shown(t testing.TB, b *warren.Broker, queue string) warren.QueueInfo {
	t.Helper()
	q, err := b.Queue("/", queue)
	require.NoError(t, err)
	return q
}

// fill publishes n messages to a queue that is declared for it.
func fill(t testing.TB, ch *warren.Channel, queue string, n int, o ...warren.QueueOption) {
	t.Helper()
	_, err := ch.DeclareQueue(t.Context(), queue, o...)
	require.NoError(t, err)
	for i := range n {
		require.NoError(t, ch.PublishConfirmed(t.Context(), "", queue, persistent(strconv.Itoa(i+1))))
	}
}

func TestPoliciesAreAppliedAtOnce(t *testing.T) {
	t.Parallel()
	b, ch := nativePair(t)
	fill(t, ch, "q", 9)
	fill(t, ch, "q.short", 9, warren.Arg("x-max-length", 6))
	fill(t, ch, "other", 9)
	ready := func() [3]int {
		return [3]int{shown(t, b, "q").Ready, shown(t, b, "q.short").Ready, shown(t, b, "other").Ready}
	}

	require.NoError(t, b.SetPolicy("/", define("p", "^q", "max-length", 8)))
	require.Equal(t, [3]int{8, 6, 9}, ready(), "with an argument the lower number counts")
	require.NoError(t, b.SetPolicy("/", define("p", "^q$", "max-length", 7)))
	require.Equal(t, [3]int{7, 6, 9}, ready(), "set anew it has another pattern")
	require.NoError(t, b.SetOperatorPolicy("/", define("p", "", "max-length", 5)))
	require.Equal(t, [3]int{5, 5, 5}, ready(), "an operator's limits all")
	higher := define("higher", "q", "message-ttl", 3600000)
	higher.Priority = 1
	require.NoError(t, b.SetPolicy("/", higher))
	require.Equal(t, warren.PolicyInfo{Policy: "higher", OperatorPolicy: "p", PolicyDefinition: warren.Table{
		{Name: "max-length", Value: int64(5)}, {Name: "message-ttl", Value: int64(3600000)},
	}}, shown(t, b, "q").PolicyInfo)
	require.NoError(t, b.ClearOperatorPolicy("/", "p"))
	fill(t, ch, "q", 9)
	require.Equal(t, 14, shown(t, b, "q").Ready, "of two policies only one counts")
	require.NoError(t, b.ClearPolicy("/", "higher"))
	require.Equal(t, [3]int{7, 5, 5}, ready())
	fill(t, ch, "q.new", 9)
	require.Equal(t, 9, shown(t, b, "q.new").Ready)
	require.NoError(t, b.SetPolicy("/", define("new", "\\.new", "max-length", 1)))
	fill(t, ch, "q.newer", 9)
	require.Equal(t, 1, shown(t, b, "q.newer").Ready, "and to what is declared later")
	require.NoError(t, b.ClearPolicy("/", "new"))
	require.NoError(t, b.ClearPolicy("/", "p"))
	require.Zero(t, shown(t, b, "q").PolicyInfo)
	require.Zero(t, shown(t, b, "q.newer").PolicyInfo)
}

func TestPoliciesOfAVirtualHost(t *testing.T) {
	t.Parallel()
	b, ch := nativePair(t)
	require.NoError(t, b.AddVHost("other"))
	p, q := define("p", "", "max-length", uint16(8), "expires", 5000), define("a", "x", "overflow", "reject-publish")
	o := define("p", "", "max-length", 3)
	require.NoError(t, b.SetPolicy("/", p))
	require.NoError(t, b.SetPolicy("/", q))
	require.NoError(t, b.SetOperatorPolicy("/", o))
	all, err := b.Policies("/")
	require.NoError(t, err)
	require.Equal(t, []warren.Policy{as(t, q), as(t, p)}, all)
	all, err = b.OperatorPolicies("/")
	require.NoError(t, err)
	require.Equal(t, []warren.Policy{as(t, o)}, all)
	all, err = b.Policies("other")
	require.NoError(t, err)
	require.Empty(t, all)
	fill(t, ch, "q", 0)
	require.Equal(t, "p", shown(t, b, "q").Policy)
	require.ErrorIs(t, b.ClearPolicy("other", "p"), warren.ErrNoPolicy)

	// With the virtual host they go, for good.
	require.NoError(t, b.SetPolicy("other", p))
	require.NoError(t, b.SetOperatorPolicy("other", o))
	require.NoError(t, b.DeleteVHost("other"))
	require.ErrorIs(t, b.SetPolicy("other", p), warren.ErrNoVHost)
	require.NoError(t, b.AddVHost("other"))
	all, err = b.Policies("other")
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestRefusedPolicies(t *testing.T) {
	t.Parallel()
	b, _ := nativePair(t)
	ok := define("p", "", "max-length", 1)
	err := b.SetPolicy("/", define("p", "(", "max-length", -1))
	var refused *warrenpolicy.Error
	require.ErrorAs(t, err, &refused)
	require.Len(t, refused.Reasons, 2)
	require.EqualError(t, err, "set policy 'p': Validation failed\n\n-1 is not a valid maximum length\n"+
		"pattern should be regular expression but is invalid: {\"missing )\",1}\n")
	require.ErrorIs(t, b.SetOperatorPolicy("/", define("p", "", "overflow", "drop-head")), warrenpolicy.ErrInvalid)
	require.ErrorIs(t, b.SetPolicy("nowhere", ok), warren.ErrNoVHost)
	require.ErrorIs(t, b.ClearPolicy("nowhere", "p"), warren.ErrNoVHost)
	require.ErrorIs(t, b.ClearPolicy("/", "p"), warren.ErrNoPolicy)
	require.ErrorIs(t, b.ClearOperatorPolicy("/", "p"), warren.ErrNoPolicy)
	_, err = b.Policies("nowhere")
	require.ErrorIs(t, err, warren.ErrNoVHost)
	_, err = b.OperatorPolicies("nowhere")
	require.ErrorIs(t, err, warren.ErrNoVHost)
	require.NoError(t, b.SetPolicy("/", ok))
	require.ErrorIs(t, b.ClearOperatorPolicy("/", "p"), warren.ErrNoPolicy, "they are apart")
}

// A routing key that the channel remembers as leading nowhere goes another way once a
// policy says so, and back again.
func TestAnAlternateExchangeByPolicy(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	ch := channel(t, mustDial(t, addr, guest))
	for name, args := range map[string]amqp.Table{"x": nil, "x.own": {"alternate-exchange": "second"}, "x.none": {"alternate-exchange": ""}} {
		require.NoError(t, ch.ExchangeDeclare(name, "direct", false, false, false, false, args))
	}
	for _, name := range []string{"first", "second"} {
		require.NoError(t, ch.ExchangeDeclare(name, "fanout", false, false, false, false, nil))
		require.NoError(t, ch.QueueBind(declare(t, ch, name), "", name, false, nil))
	}
	require.NoError(t, ch.Confirm(false))
	counts := func() [2]int { return [2]int{shown(t, b, "first").Ready, shown(t, b, "second").Ready} }
	send := func(exchanges ...string) {
		for _, x := range exchanges {
			publish(t, ch, x, "lost", "?")
		}
	}
	send("x", "x.own", "x.none")
	require.Equal(t, [2]int{0, 1}, counts())
	p := define("p", "^x", "alternate-exchange", "first")
	require.NoError(t, b.SetPolicy("/", p))
	send("x", "x.own", "x.none")
	require.Equal(t, [2]int{1, 2}, counts(), "an argument counts more, be it the name of no exchange")
	require.NoError(t, ch.ExchangeDeclare("x.new", "topic", false, false, false, false, nil))
	send("x.new")
	require.Equal(t, [2]int{2, 2}, counts())
	require.NoError(t, b.SetPolicy("/", define("p", "^x", "alternate-exchange", "second")))
	send("x", "x.new")
	require.Equal(t, [2]int{2, 4}, counts())
	p.ApplyTo = warren.ApplyToQueues
	require.NoError(t, b.SetPolicy("/", p))
	send("x", "x.new")
	require.Equal(t, [2]int{2, 4}, counts(), "it is for queues")
	p.ApplyTo = warren.ApplyToExchanges
	require.NoError(t, b.SetPolicy("/", p))
	xs, err := b.Exchanges("/")
	require.NoError(t, err)
	for _, x := range xs {
		want := warren.PolicyInfo{}
		if x.Name != "" && x.Name[0] == 'x' {
			want = warren.PolicyInfo{Policy: "p", PolicyDefinition: p.Definition}
		}
		require.Equal(t, want, x.PolicyInfo, x.Name)
	}
	require.NoError(t, b.ClearPolicy("/", "p"))
	send("x", "x.new")
	require.Equal(t, [2]int{2, 4}, counts())
}

// A queue obeys its policy from the first message on that it finds in its log, and not
// before there are the bindings for what it drops.
func TestPoliciesSurviveARestart(t *testing.T) {
	t.Parallel()
	b, d := durableBroker(t)
	ch := native(t, b)
	p, o := define("p", "^q", "dead-letter-exchange", "amq.fanout", "max-length", 9), define("o", "^q", "max-length", 5)
	require.NoError(t, b.SetPolicy("/", p))
	require.NoError(t, b.SetOperatorPolicy("/", o))
	fill(t, ch, "q", 5, warren.Durable())
	fill(t, ch, "dead", 0, warren.Durable())
	require.NoError(t, ch.BindQueue(t.Context(), "dead", "amq.fanout", ""))
	_, _, err := ch.Get(t.Context(), "q") // comes back with the restart
	require.NoError(t, err)
	require.NoError(t, ch.PublishConfirmed(t.Context(), "", "q", persistent("6")))
	require.Zero(t, shown(t, b, "dead").Ready)

	crashed := afterCrash(t, d)
	for range 2 {
		b = restarted(t, b, d)
	}
	for _, b := range []*warren.Broker{crashed, b} {
		require.Equal(t, 5, shown(t, b, "q").Ready)
		require.Eventually(t, func() bool { return shown(t, b, "dead").Ready == 1 }, patience, time.Millisecond, "its body is loaded first")
		require.Equal(t, warren.PolicyInfo{Policy: "p", OperatorPolicy: "o", PolicyDefinition: warren.Table{
			{Name: "dead-letter-exchange", Value: "amq.fanout"}, {Name: "max-length", Value: int64(5)},
		}}, shown(t, b, "q").PolicyInfo)
		require.NoError(t, b.ClearOperatorPolicy("/", "o"))
		fill(t, native(t, b), "q", 5, warren.Durable())
		require.Equal(t, 9, shown(t, b, "q").Ready)
	}
	require.NoError(t, b.ClearPolicy("/", "p"))
	b = restarted(t, b, d)
	require.Zero(t, shown(t, b, "q").PolicyInfo)
}

func TestAChangeOfPoliciesThatTheStoreDoesNotTakeIsAnError(t *testing.T) {
	t.Parallel()
	b, f := brokerOn(t, memstore.NewDisk(), warren.Options{})
	require.NoError(t, b.SetPolicy("/", define("p", "", "max-length", 1)))
	broken := errors.New("broken")
	f.FailApply(1, broken, false)
	require.ErrorIs(t, b.SetPolicy("/", define("p", "", "max-length", 2)), broken)
}

func TestEventsOfPolicies(t *testing.T) {
	t.Parallel()
	b, err := warren.New(warren.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	h := listenTo(t, b)
	ch, _ := h.channel(b)
	for _, q := range []string{"a", "b"} {
		_, err := ch.DeclareQueue(t.Context(), q)
		require.NoError(t, err)
		require.IsType(t, warren.QueueCreated{}, h.next())
	}
	p, o := define("p", "", "max-length", 2), define("o", "a", "max-length", 1)
	info := func(user, operator string, n int) warren.PolicyInfo {
		return warren.PolicyInfo{Policy: user, OperatorPolicy: operator, PolicyDefinition: warren.Table{{Name: "max-length", Value: int64(n)}}}
	}
	updated := func(q string, i warren.PolicyInfo) warren.Event {
		return warren.QueuePolicyUpdated{VHost: "/", Name: q, Type: "classic", PolicyInfo: i}
	}
	cleared := func(q string, i warren.PolicyInfo) warren.Event {
		return warren.QueuePolicyCleared{VHost: "/", Name: q, Type: "classic", PolicyInfo: i}
	}
	require.NoError(t, b.SetPolicy("/", p))
	h.any(updated("a", info("p", "", 2)), updated("b", info("p", "", 2)))
	h.all(warren.PolicySet{VHost: "/", Policy: as(t, p)})
	require.NoError(t, b.SetPolicy("/", p)) // is no change
	require.NoError(t, b.SetOperatorPolicy("/", o))
	h.all(updated("a", info("p", "o", 1)), warren.PolicySet{VHost: "/", Operator: true, Policy: as(t, o)})
	require.NoError(t, b.ClearPolicy("/", "p"))
	h.any(cleared("a", info("", "o", 1)), cleared("b", warren.PolicyInfo{}))
	h.all(warren.PolicyCleared{VHost: "/", Name: "p"})
	require.NoError(t, b.ClearOperatorPolicy("/", "o"))
	gone := warren.PolicyCleared{VHost: "/", Name: "o", Operator: true}
	h.all(cleared("a", warren.PolicyInfo{}), gone)
	require.Equal(t, "operator.policy.cleared", warren.EventName(gone))
	require.NoError(t, b.AddVHost("v"))
	for e := h.next(); ; e = h.next() {
		if x, ok := e.(warren.ExchangeCreated); ok && x.Name == "amq.topic" {
			break
		}
	}
	require.NoError(t, b.SetPolicy("v", p))
	h.all(warren.PolicySet{VHost: "v", Policy: as(t, p)})
	require.NoError(t, b.DeleteVHost("v"))
	for e := h.next(); ; e = h.next() {
		if _, ok := e.(warren.ExchangeDeleted); !ok {
			require.Equal(t, warren.PolicyCleared{VHost: "v", Name: "p"}, e)
			break
		}
	}
	h.all(warren.VHostDeleted{VHost: "v"})
}

// Whatever is declared and deleted while policies change, and whoever changes them,
// in the end each queue and each exchange obeys those that there are.
func TestPoliciesThatChangeWhileQueuesAreDeclared(t *testing.T) {
	t.Parallel()
	b, _ := nativePair(t)
	require.NoError(t, b.SetPolicy("/", define("p0", "", "max-length", 1)))
	var all sync.WaitGroup
	for i := range 3 {
		ch := native(t, b)
		all.Go(func() {
			for n := range 100 {
				name := fmt.Sprintf("q%d.%d", i, n)
				if _, err := ch.DeclareQueue(t.Context(), name); err != nil {
					t.Error(err)
				}
				if err := ch.DeclareExchange(t.Context(), name, "fanout"); err != nil {
					t.Error(err)
				}
				if n%3 == 0 {
					if _, err := ch.DeleteQueue(t.Context(), name); err != nil {
						t.Error(err)
					}
				}
			}
		})
		all.Go(func() {
			for n := range 60 {
				p := define(fmt.Sprint("p", i), "", "max-length", 1+n%5, "alternate-exchange", "amq.fanout")
				p.Priority = n % 4
				if err := b.SetPolicy("/", p); err != nil {
					t.Error(err)
				}
				if n%7 == 6 {
					if err := b.ClearPolicy("/", p.Name); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	ch := native(t, b)
	fill(t, ch, "rest", 0)
	require.NoError(t, ch.BindQueue(t.Context(), "rest", "amq.fanout", ""))
	qs, err := b.Queues("/")
	require.NoError(t, err)
	sent := 0
	for _, q := range qs {
		if q.Name == "rest" {
			continue
		}
		fill(t, ch, q.Name, 9)
		limit, _ := q.PolicyDefinition.Get("max-length")
		require.EqualValues(t, limit, shown(t, b, q.Name).Ready, q.Name)
		require.NoError(t, ch.PublishConfirmed(t.Context(), q.Name, "", warren.Message{}))
		sent++
	}
	require.Greater(t, sent, 100)
	rest := shown(t, b, "rest")
	require.EqualValues(t, sent, rest.Published)
}

// BenchmarkSetPolicy changes the policy of 10 000 queues; one operation is one change.
func BenchmarkSetPolicy(b *testing.B) {
	br, ch := nativePair(b)
	for i := range 10_000 {
		fill(b, ch, fmt.Sprint("orders.", i), 0)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		require.NoError(b, br.SetPolicy("/", define("p", `^orders\.`, "max-length", 10+n%2)))
	}
}
