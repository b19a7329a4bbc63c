package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/warrenmq/warren/message"
)

// Set is the policies of one virtual host. It is immutable; the zero Set is empty.
type Set struct {
	// lists have the policies by Kind, those that go before others first.
	lists [2][]*Compiled
}

// With gives a set that has c, in place of the one of its kind and name.
func (s *Set) With(c *Compiled) *Set {
	next := s.Without(c.kind, c.policy.Name)
	list := append(next.lists[c.kind], c)
	slices.SortFunc(list, func(x, y *Compiled) int {
		return cmp.Or(cmp.Compare(y.policy.Priority, x.policy.Priority), strings.Compare(x.policy.Name, y.policy.Name))
	})
	next.lists[c.kind] = list
	return next
}

// Without gives a set that does not have the policy of that kind and name.
func (s *Set) Without(k Kind, name string) *Set {
	next := &Set{lists: s.lists}
	next.lists[k] = nil
	for _, c := range s.lists[k] {
		if c.policy.Name != name {
			next.lists[k] = append(next.lists[k], c)
		}
	}
	return next
}

// Get gives the policy of that kind and name, nil if there is none.
func (s *Set) Get(k Kind, name string) *Compiled {
	for _, c := range s.lists[k] {
		if c.policy.Name == name {
			return c
		}
	}
	return nil
}

// Policies gives the policies of a kind, sorted by name. Their definitions must not be
// changed.
func (s *Set) Policies(k Kind) []Policy {
	var all []Policy
	for _, c := range s.lists[k] {
		all = append(all, c.policy)
	}
	slices.SortFunc(all, func(x, y Policy) int { return strings.Compare(x.Name, y.Name) })
	return all
}

// ForQueue gives the policies that are in force for a queue of that name, whose type
// knows the given keys. One whose definition has another key of queues is not for it.
func (s *Set) ForQueue(name string, known []string) Match {
	return s.match(func(c *Compiled) bool {
		return c.policy.ApplyTo != Exchanges && c.suits(known) && c.names.match(name)
	})
}

// ForExchange gives the policies that are in force for an exchange of that name.
func (s *Set) ForExchange(name string) Match {
	return s.match(func(c *Compiled) bool {
		return c.policy.ApplyTo != Queues && c.names.match(name)
	})
}

func (s *Set) match(suits func(*Compiled) bool) Match {
	first := func(list []*Compiled) *Compiled {
		if i := slices.IndexFunc(list, suits); i >= 0 {
			return list[i]
		}
		return nil
	}
	return Match{first(s.lists[User]), first(s.lists[Operator])}
}

// Match is the policies in force for one queue or exchange, at most one of each kind.
// Two that are equal (==) have the same policies.
type Match struct{ User, Operator *Compiled }

// Names gives the names of the two policies, empty for one that is not there.
func (m Match) Names() (user, operator string) {
	if m.User != nil {
		user = m.User.policy.Name
	}
	if m.Operator != nil {
		operator = m.Operator.policy.Name
	}
	return user, operator
}

// Definition gives what the two come to, sorted by key, nil without a policy: it must
// not be changed. A key that both have has the lower of two numbers, and otherwise the
// operator's value.
func (m Match) Definition() message.Table {
	switch {
	case m.User == nil && m.Operator == nil:
		return nil
	case m.Operator == nil:
		return m.User.policy.Definition
	case m.User == nil:
		return m.Operator.policy.Definition
	}
	user, operator := m.User.policy.Definition, m.Operator.policy.Definition
	merged := make(message.Table, 0, len(user)+len(operator))
	for len(user) > 0 && len(operator) > 0 {
		switch strings.Compare(user[0].Name, operator[0].Name) {
		case -1:
			merged, user = append(merged, user[0]), user[1:]
		case 1:
			merged, operator = append(merged, operator[0]), operator[1:]
		default:
			merged = append(merged, message.Field{
				Name: user[0].Name, Value: stricter(user[0].Value, operator[0].Value),
			})
			user, operator = user[1:], operator[1:]
		}
	}
	return append(append(merged, user...), operator...)
}

func stricter(user, operator any) any {
	u, ok := user.(int64)
	o, isNumber := operator.(int64)
	if ok && isNumber {
		return min(u, o)
	}
	return operator
}
