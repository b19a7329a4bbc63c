package auth

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

var (
	// ErrNoUser is wrapped by the error of everything that is asked of a user
	// who does not exist.
	ErrNoUser = errors.New("no such user")
	// ErrUserExists is wrapped by the error of AddUser and AddUserHash if there
	// is a user of that name.
	ErrUserExists = errors.New("the user exists already")
	// ErrBadName is wrapped by the error of AddUser and AddUserHash if the name
	// is empty.
	ErrBadName = errors.New("a user needs a name")
)

// The user that a new broker has, as RabbitMQ does (contract 08 §2).
const (
	DefaultUser     = "guest"
	DefaultPassword = "guest"
	DefaultVHost    = "/"
)

// Options is how a Registry is made.
type Options struct {
	// LoopbackUsers may log in from this machine only. Nil means DefaultUser;
	// an empty list that is not nil means nobody.
	LoopbackUsers []string
	// UserDeleted, if set, is called after a user was deleted, without a lock,
	// by the goroutine that deleted him: his connections have to be closed.
	//
	// To miss none, register a connection before it asks for its Access: a
	// connection whose user is deleted earlier gets none, one whose user is
	// deleted later is registered.
	UserDeleted func(name string)
	// Changed, if set, is called for every change in its turn, with the registry
	// locked: it must neither block nor call the registry. What it is given it may
	// keep but not change.
	Changed func(Change)
	// Done, if set, is called after Changed was told all that belongs to one
	// change, with the registry still locked, under the same rules.
	Done func()
	// Settled, if set, is called before a method that changes something returns,
	// and may block. Its error is the method's, where it has one.
	Settled func() error
}

// Registry is the users and permissions of one broker. It may be used by any
// number of goroutines at once.
type Registry struct {
	loopback    map[string]bool
	userDeleted func(name string)
	onChange    func(Change)
	onDone      func()
	settled     func() error
	// nobody is the password of users who do not exist.
	nobody PasswordHash

	// generation counts the changes of permissions. It changes under mu and is
	// read without it.
	generation atomic.Uint64

	mu    sync.RWMutex
	users map[string]*User
	rows  map[place]*row
	// The inner maps are replaced and never changed, so that an Access can keep
	// one.
	topics map[place]map[string]*topicRow
}

// place is one user in one virtual host.
type place struct{ user, vhost string }

// New makes a registry without users.
func New(o Options) *Registry {
	r := &Registry{
		loopback:    map[string]bool{},
		userDeleted: o.UserDeleted,
		onChange:    o.Changed,
		onDone:      o.Done,
		settled:     o.Settled,
		nobody:      HashPassword(""),
		users:       map[string]*User{},
		rows:        map[place]*row{},
		topics:      map[place]map[string]*topicRow{},
	}
	users := o.LoopbackUsers
	if users == nil {
		users = []string{DefaultUser}
	}
	for _, name := range users {
		r.loopback[name] = true
	}
	return r
}

// AddDefaultUser adds what a new RabbitMQ has: guest with the password guest, an
// administrator with all rights in the virtual host "/".
func (r *Registry) AddDefaultUser() error {
	if err := r.AddUser(DefaultUser, DefaultPassword, Administrator); err != nil {
		return err
	}
	return r.SetPermissions(Permission{User: DefaultUser, VHost: DefaultVHost, Configure: ".*", Write: ".*", Read: ".*"})
}

// AddUser adds a user. He has no permissions yet, so he cannot open a
// connection. A blank password is allowed but nobody can log in with it. An error
// wraps ErrUserExists or ErrBadName.
func (r *Registry) AddUser(name, password string, tags ...string) error {
	return r.AddUserHash(name, HashPassword(password), tags...)
}

// AddUserHash is AddUser with a password that has been hashed before. With the
// zero PasswordHash he cannot log in with a password.
func (r *Registry) AddUserHash(name string, hash PasswordHash, tags ...string) (err error) {
	if name == "" {
		return ErrBadName
	}
	r.mu.Lock()
	defer r.commit(&err)
	if _, ok := r.users[name]; ok {
		return fmt.Errorf("user '%s': %w", name, ErrUserExists)
	}
	u := &User{name: name, tags: slices.Clone(tags), hash: hash}
	r.users[name] = u
	r.changed(Change{Kind: UserCreated, User: name, Now: u, Tags: u.tags})
	return nil
}

// ChangePassword sets a new password. Open connections stay. An error wraps
// ErrNoUser.
func (r *Registry) ChangePassword(name, password string) error {
	return r.ChangePasswordHash(name, HashPassword(password))
}

// ChangePasswordHash is ChangePassword with a password that has been hashed
// before.
func (r *Registry) ChangePasswordHash(name string, hash PasswordHash) error {
	kind := PasswordChanged
	if len(hash.salted) == 0 {
		kind = PasswordCleared
	}
	return r.change(name, func(u *User) Change {
		u.hash = hash
		return Change{Kind: kind}
	})
}

// SetTags replaces the tags of a user. An error wraps ErrNoUser.
func (r *Registry) SetTags(name string, tags ...string) error {
	return r.change(name, func(u *User) Change {
		u.tags = slices.Clone(tags)
		return Change{Kind: TagsSet, Tags: u.tags}
	})
}

// SetLimit limits a user to n connections or channels; 0 allows none, a negative
// number any. Whoever counts these has to look the limit up with User each time.
// An error wraps ErrNoUser.
func (r *Registry) SetLimit(name string, l Limit, n int) error {
	return r.change(name, func(u *User) Change {
		limits := map[Limit]int{l: n}
		for k, v := range u.limits {
			if k != l {
				limits[k] = v
			}
		}
		u.limits = limits
		return Change{Kind: LimitSet, Limit: l, N: n}
	})
}

// ClearLimit takes a limit away. An error wraps ErrNoUser.
func (r *Registry) ClearLimit(name string, l Limit) error {
	return r.change(name, func(u *User) Change {
		u.limits = maps.Clone(u.limits)
		delete(u.limits, l)
		return Change{Kind: LimitCleared, Limit: l}
	})
}

// change replaces a user by a changed copy; f says what it changed.
func (r *Registry) change(name string, f func(*User) Change) (err error) {
	r.mu.Lock()
	defer r.commit(&err)
	u, ok := r.users[name]
	if !ok {
		return noUser(name)
	}
	changed := *u
	c := f(&changed)
	r.users[name] = &changed
	c.User, c.Now = name, &changed
	r.changed(c)
	return nil
}

// DeleteUser deletes a user and his permissions, then calls
// Options.UserDeleted. An error wraps ErrNoUser.
func (r *Registry) DeleteUser(name string) error {
	err := r.deleteUser(name)
	if errors.Is(err, ErrNoUser) {
		return err
	}
	if r.userDeleted != nil {
		r.userDeleted(name)
	}
	return err
}

func (r *Registry) deleteUser(name string) (err error) {
	r.mu.Lock()
	defer r.commit(&err)
	if _, ok := r.users[name]; !ok {
		return noUser(name)
	}
	delete(r.users, name)
	r.clear(func(p place) bool { return p.user == name })
	r.changed(Change{Kind: UserDeleted, User: name})
	return nil
}

// User gives a user.
func (r *Registry) User(name string) (*User, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	u, ok := r.users[name]
	return u, ok
}

// Users gives all users by name.
func (r *Registry) Users() []*User {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.SortedFunc(maps.Values(r.users), func(a, b *User) int { return strings.Compare(a.name, b.name) })
}

func noUser(name string) error { return fmt.Errorf("user '%s': %w", name, ErrNoUser) }
