package policy

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// known are the keys of a type of queues in these tests.
var known = []string{"max-length", "message-ttl", "expires", "dead-letter-exchange"}

// named gives a policy with a limit, to tell it by.
func named(t testing.TB, name, pattern string, priority int) *Compiled {
	return compiled(t, User, Policy{
		Name: name, Pattern: pattern, Priority: priority, Definition: message.Table{{Name: "max-length", Value: 10 + priority}},
	})
}

func TestTheHighestPriorityThatMatchesIsInForce(t *testing.T) {
	t.Parallel()
	s := &Set{}
	for _, c := range []*Compiled{
		named(t, "all", "", -1),
		named(t, "somewhere", "b", 2),
		named(t, "b of the same", "^a", 5),
		named(t, "a of the same", "^a", 5),
		named(t, "whole", "^ab$", 9),
	} {
		s = s.With(c)
	}
	for name, want := range map[string]string{
		"":    "all",
		"x":   "all",
		"xbx": "somewhere",
		"axx": "a of the same",
		"ab":  "whole",
		"abc": "a of the same",
	} {
		user, operator := s.ForQueue(name, known).Names()
		require.Equal(t, want, user, name)
		require.Empty(t, operator)
		user, _ = s.ForExchange(name).Names()
		require.Equal(t, want, user, name)
	}
}

func TestWhatAPolicyIsFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		to               ApplyTo
		definition       string
		queue, exchanges bool
	}{
		{All, `{"max-length":1}`, true, true},
		{"", `{"max-length":1}`, true, true},
		{Queues, `{"max-length":1}`, true, false},
		{Exchanges, `{"max-length":1}`, false, true},
		{All, `{"max-length":1,"delivery-limit":1}`, false, true}, // the type of the queue does not know it
		{All, `{"max-length":1,"alternate-exchange":"x"}`, true, true},
		{All, `{"consumer-timeout":1}`, true, true},
		{Queues, `{"ha-mode":"all"}`, false, false},
	} {
		p := defined(t, c.definition)
		p.ApplyTo = c.to
		s := (&Set{}).With(compiled(t, User, p))
		require.Equal(t, c.queue, s.ForQueue("q", known).User != nil, c)
		require.Equal(t, c.exchanges, s.ForExchange("x").User != nil, c)
	}
	// One of a lower priority counts where a higher one is not for the type.
	higher := defined(t, `{"delivery-limit":1}`)
	higher.Priority, higher.Name = 9, "higher"
	s := (&Set{}).With(named(t, "lower", "", 1)).With(compiled(t, User, higher))
	user, _ := s.ForQueue("q", known).Names()
	require.Equal(t, "lower", user)
}

func TestMergedDefinitions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ user, operator, want string }{
		{"", "", "null"},
		{`{"max-length":1,"expires":2}`, "", `{"max-length":1,"expires":2}`},
		{"", `{"max-length":1,"expires":2}`, `{"max-length":1,"expires":2}`},
		{`{"max-length":1,"message-ttl":9}`, `{"max-length":2,"message-ttl":8}`, `{"max-length":1,"message-ttl":8}`},
		{`{"max-length":1,"dead-letter-exchange":"x"}`, `{"expires":3}`, `{"max-length":1,"dead-letter-exchange":"x","expires":3}`},
		{`{"expires":3}`, `{"max-length":1,"message-ttl":9}`, `{"max-length":1,"message-ttl":9,"expires":3}`},
	} {
		s := &Set{}
		if c.user != "" {
			s = s.With(compiled(t, User, defined(t, c.user)))
		}
		if c.operator != "" {
			s = s.With(compiled(t, Operator, defined(t, c.operator)))
		}
		want := defined(t, c.want).Definition
		if len(want) == 0 {
			want = nil
		}
		m := s.ForQueue("q", known)
		require.Equal(t, want, m.Definition(), c)
		user, operator := m.Names()
		require.Equal(t, c.user != "", user == "p")
		require.Equal(t, c.operator != "", operator == "p")
	}
	require.Equal(t, true, stricter(false, true), "of two booleans the operator's")
}

func TestASetIsImmutable(t *testing.T) {
	t.Parallel()
	empty := &Set{}
	one := empty.With(named(t, "a", "", 1))
	two := one.With(named(t, "b", "", 2))
	changed := two.With(named(t, "a", "x", 3))
	gone := changed.Without(User, "b")
	same := gone.Without(Operator, "a").Without(User, "nobody")
	names := func(s *Set) (names []string) {
		for _, p := range s.Policies(User) {
			names = append(names, p.Name+p.Pattern)
		}
		return names
	}
	require.Empty(t, names(empty))
	require.Equal(t, []string{"a"}, names(one))
	require.Equal(t, []string{"a", "b"}, names(two))
	require.Equal(t, []string{"ax", "b"}, names(changed))
	require.Equal(t, []string{"ax"}, names(gone))
	require.Equal(t, []string{"ax"}, names(same))
	require.Nil(t, gone.Get(User, "b"))
	require.Equal(t, "x", gone.Get(User, "a").Policy().Pattern)
	require.Equal(t, two.ForQueue("q", known), two.ForQueue("q", known), "matches compare")
	require.NotEqual(t, one.ForQueue("q", known), two.ForQueue("q", known))
}

// A set gives what a search through a plain list of the same policies does.
func TestSetsAgreeWithALinearSearch(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(5, 8))
	s := &Set{}
	var plain []*Compiled
	for range 2000 {
		name := string(rune('a' + rnd.IntN(8)))
		plain = slices.DeleteFunc(plain, func(c *Compiled) bool { return c.policy.Name == name })
		if rnd.IntN(3) == 0 {
			s = s.Without(User, name)
		} else {
			c := named(t, name, []string{"", "^x", "y$", "z"}[rnd.IntN(4)], rnd.IntN(4))
			s, plain = s.With(c), append(plain, c)
		}
		queue := []string{"x", "xy", "zy", "z", ""}[rnd.IntN(5)]
		var want *Compiled
		for _, c := range plain {
			better := want == nil || c.policy.Priority > want.policy.Priority ||
				c.policy.Priority == want.policy.Priority && c.policy.Name < want.policy.Name
			if c.names.match(queue) && better {
				want = c
			}
		}
		require.Equal(t, Match{User: want}, s.ForQueue(queue, known))
	}
}

func BenchmarkForQueue(b *testing.B) {
	s := &Set{}
	for i, pattern := range []string{"^amq\\.", "^orders\\.", "", "retry$"} {
		s = s.With(named(b, pattern, pattern, i))
	}
	b.ReportAllocs()
	for b.Loop() {
		s.ForQueue("orders.created", known)
	}
}
