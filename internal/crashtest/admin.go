package crashtest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// accounts is the users, virtual hosts and permissions of a broker, as Main tells
// them: one line for each.
type accounts []string

func (s accounts) String() string { return strings.Join(s, "\n") }

func (s accounts) with(line string) accounts {
	out := append(slices.Clone(s), line)
	slices.Sort(out)
	return slices.Compact(out)
}

func (s accounts) without(which func(line string) bool) accounts {
	return slices.DeleteFunc(slices.Clone(s), which)
}

// administrator adds and deletes users, virtual hosts and permissions, one after
// another.
type administrator struct{ books books[accounts] }

func newAdministrator() *administrator { return &administrator{} }

// manyPasswords is how many passwords there are: Main finds out which one a user
// has by trying all of them.
const manyPasswords = 10

// inspect compares what there is after a crash with the books.
func (w *administrator) inspect(l *Ledger, p broker) error {
	answer, err := p.ask("state")
	if err != nil {
		return err
	}
	var found accounts
	if err := json.Unmarshal([]byte(answer), &found); err != nil {
		return fmt.Errorf("the broker's state: %w", err)
	}
	w.books.crashed(found, func(s accounts) accounts { return s }, l, "the administrator")
	return nil
}

// work changes things until the broker is killed.
func (w *administrator) work(p broker, r *rand.Rand) error {
	users, vhosts := []string{"ann", "bob", "eve"}, []string{"one", "two", "two/three"}
	for {
		now := w.books.now
		u, v := pick(r, users), pick(r, vhosts)
		isUser := func(line string) bool { return strings.HasPrefix(line, "user "+u+" ") }
		hasUser, hasVHost := slices.ContainsFunc(now, isUser), slices.Contains(now, "vhost "+v)
		rights := fmt.Sprintf("permission %s %s ", u, v)
		var line string
		var after accounts
		switch k := r.IntN(10); {
		case !hasVHost:
			line, after = "add-vhost "+v, now.with("vhost "+v)
		case !hasUser || k < 2:
			// A new password, too, if there is that user.
			password := fmt.Sprintf("p%d", r.IntN(manyPasswords))
			line, after = "set-user "+u+" "+password, now.without(isUser).with("user "+u+" "+password)
		case k == 2:
			line, after = "delete-user "+u, now.without(func(line string) bool {
				return isUser(line) || strings.HasPrefix(line, "permission "+u+" ")
			})
		case k == 3:
			line, after = "delete-vhost "+v, now.without(func(line string) bool {
				f := strings.Fields(line)
				return line == "vhost "+v || f[0] == "permission" && f[2] == v
			})
		default:
			pattern := fmt.Sprintf("^%d", r.IntN(100))
			isOne := func(line string) bool { return strings.HasPrefix(line, rights) }
			line, after = fmt.Sprintf("set-permission %s %s %s", u, v, pattern), now.without(isOne).with(rights+pattern)
			if k == 4 {
				line, after = fmt.Sprintf("clear-permission %s %s", u, v), now.without(isOne)
			}
		}
		w.books.begin(line, after)
		if _, err := p.ask(line); err != nil {
			return err
		}
		w.books.done()
	}
}
