package auth

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Permission is what a user may do in a virtual host: the names of the queues
// and exchanges he may configure, write to and read from, as patterns (see the
// package comment). An empty pattern matches the empty name only, hence nothing.
type Permission struct {
	User, VHost            string
	Configure, Write, Read string
}

// TopicPermission limits the routing keys that a user may publish with (Write)
// and bind with (Read) at one topic exchange. {username} and {vhost} in a
// pattern stand for these names, which are put in as they are. An empty pattern
// matches the empty routing key only.
type TopicPermission struct {
	User, VHost, Exchange string
	Write, Read           string
}

// ErrBadPattern is matched by a *PatternError.
var ErrBadPattern = errors.New("invalid regular expression")

// PatternError says that a permission could not be set because a pattern is no
// regular expression.
type PatternError struct {
	// Field is the pattern's: configure, write or read.
	Field   string
	Pattern string
	// Err is what package regexp has to say.
	Err error
}

// Error says which pattern is wrong and why.
func (e *PatternError) Error() string {
	return fmt.Sprintf("%s permission: %v '%s': %v", e.Field, ErrBadPattern, e.Pattern, e.Err)
}

// Unwrap gives ErrBadPattern and Err.
func (e *PatternError) Unwrap() []error { return []error{ErrBadPattern, e.Err} }

// right is one of the three rights.
type right uint8

const (
	configure right = iota
	write
	read
)

func (r right) String() string { return [...]string{"configure", "write", "read"}[r] }

// matcher is a compiled pattern. The pattern everybody uses needs no search.
type matcher struct {
	all bool
	re  *regexp.Regexp
}

func compile(field right, pattern string) (matcher, error) {
	switch pattern {
	case ".*", "^.*":
		return matcher{all: true}, nil
	case "":
		pattern = "^$"
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return matcher{}, &PatternError{Field: field.String(), Pattern: pattern, Err: err}
	}
	return matcher{re: re}, nil
}

func (m *matcher) matches(s string) bool { return m.all || m.re.MatchString(s) }

// row is a Permission ready for use. It is immutable.
type row struct {
	Permission
	patterns [3]matcher // by right
}

// topicRow is a TopicPermission ready for use. It is immutable.
type topicRow struct {
	TopicPermission
	patterns [3]matcher // by right; there is none to configure
}

// SetPermissions sets what a user may do in a virtual host, in place of what he
// might before. From its return on every check goes by it. An error wraps a
// *PatternError or ErrNoUser, and then nothing has changed.
func (r *Registry) SetPermissions(p Permission) (err error) {
	n := &row{Permission: p}
	for field, pattern := range [...]string{configure: p.Configure, write: p.Write, read: p.Read} {
		m, err := compile(right(field), pattern)
		if err != nil {
			return fmt.Errorf("user '%s' in vhost '%s': %w", p.User, p.VHost, err)
		}
		n.patterns[field] = m
	}
	r.mu.Lock()
	defer r.commit(&err)
	if _, ok := r.users[p.User]; !ok {
		return noUser(p.User)
	}
	r.rows[place{p.User, p.VHost}] = n
	r.generation.Add(1)
	r.changed(Change{Kind: PermissionCreated, User: p.User, Permission: p})
	return nil
}

// ClearPermissions takes a user's access to a virtual host away, and reports
// whether he had any. His topic permissions stay and count again with the next
// SetPermissions. The error is that of a change that is in force but not durable.
func (r *Registry) ClearPermissions(user, vhost string) (had bool, err error) {
	r.mu.Lock()
	defer r.commit(&err)
	at := place{user, vhost}
	_, had = r.rows[at]
	delete(r.rows, at)
	r.generation.Add(1)
	if had {
		r.changed(Change{Kind: PermissionDeleted, User: user, VHost: vhost})
	}
	return had, nil
}

// Permissions gives what a user may do in a virtual host; false if he has no
// access to it.
func (r *Registry) Permissions(user, vhost string) (Permission, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n, ok := r.rows[place{user, vhost}]
	if !ok {
		return Permission{}, false
	}
	return n.Permission, true
}

// ListPermissions gives all permissions by user and virtual host.
func (r *Registry) ListPermissions() []Permission {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]Permission, 0, len(r.rows))
	for _, n := range r.rows {
		list = append(list, n.Permission)
	}
	slices.SortFunc(list, func(a, b Permission) int {
		return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.VHost, b.VHost))
	})
	return list
}

// SetTopicPermissions limits a user's routing keys at one topic exchange, in
// place of what limited him before. From its return on every check goes by it.
// An error wraps a *PatternError or ErrNoUser, and then nothing has changed.
func (r *Registry) SetTopicPermissions(p TopicPermission) (err error) {
	n := &topicRow{TopicPermission: p}
	patterns := [...]string{write: p.Write, read: p.Read}
	for field := write; field <= read; field++ {
		m, err := compile(field, p.expand(patterns[field]))
		if err != nil {
			return fmt.Errorf("user '%s' in vhost '%s', exchange '%s': %w", p.User, p.VHost, p.Exchange, err)
		}
		n.patterns[field] = m
	}
	r.mu.Lock()
	defer r.commit(&err)
	if _, ok := r.users[p.User]; !ok {
		return noUser(p.User)
	}
	at := place{p.User, p.VHost}
	topics := maps.Clone(r.topics[at])
	if topics == nil {
		topics = map[string]*topicRow{}
	}
	topics[p.Exchange] = n
	r.topics[at] = topics
	r.generation.Add(1)
	r.changed(Change{Kind: TopicPermissionCreated, User: p.User, TopicPermission: p})
	return nil
}

func (p *TopicPermission) expand(pattern string) string {
	return strings.ReplaceAll(strings.ReplaceAll(pattern, "{username}", p.User), "{vhost}", p.VHost)
}

// ClearTopicPermissions takes the limits of a user at the named exchanges of a
// virtual host away, at all of them if none is named. It reports whether there
// were any. The error is that of a change that is in force but not durable.
func (r *Registry) ClearTopicPermissions(user, vhost string, exchanges ...string) (had bool, err error) {
	r.mu.Lock()
	defer r.commit(&err)
	at := place{user, vhost}
	before := r.topics[at]
	left := maps.Clone(before)
	maps.DeleteFunc(left, func(exchange string, _ *topicRow) bool {
		gone := len(exchanges) == 0 || slices.Contains(exchanges, exchange)
		if gone {
			r.changed(Change{Kind: TopicPermissionDeleted, User: user, VHost: vhost, Exchange: exchange})
		}
		return gone
	})
	if len(left) == 0 {
		delete(r.topics, at)
	} else {
		r.topics[at] = left
	}
	r.generation.Add(1)
	return len(left) < len(before), nil
}

// ListTopicPermissions gives all topic permissions by user, virtual host and
// exchange.
func (r *Registry) ListTopicPermissions() []TopicPermission {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := []TopicPermission{}
	for _, topics := range r.topics {
		for _, t := range topics {
			list = append(list, t.TopicPermission)
		}
	}
	slices.SortFunc(list, func(a, b TopicPermission) int {
		return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.VHost, b.VHost), cmp.Compare(a.Exchange, b.Exchange))
	})
	return list
}

// DeleteVHost forgets the permissions of everybody in a virtual host. The error is that
// of a change that is in force but not durable.
func (r *Registry) DeleteVHost(vhost string) (err error) {
	r.mu.Lock()
	defer r.commit(&err)
	r.clear(func(p place) bool { return p.vhost == vhost })
	return nil
}

// clear forgets the permissions in some places. The caller holds mu.
func (r *Registry) clear(in func(place) bool) {
	maps.DeleteFunc(r.topics, func(p place, topics map[string]*topicRow) bool {
		if !in(p) {
			return false
		}
		for exchange := range topics {
			r.changed(Change{Kind: TopicPermissionDeleted, User: p.user, VHost: p.vhost, Exchange: exchange})
		}
		return true
	})
	maps.DeleteFunc(r.rows, func(p place, _ *row) bool {
		if !in(p) {
			return false
		}
		r.changed(Change{Kind: PermissionDeleted, User: p.user, VHost: p.vhost})
		return true
	})
	r.generation.Add(1)
}

// Generation counts the changes of permissions. As long as it stays the same,
// every check gives the same answer as before.
func (r *Registry) Generation() uint64 { return r.generation.Load() }
