package auth

import (
	"maps"
	"slices"
)

// Tags that mean something (contract 08 §2). Any other tag is allowed and
// inert. No tag gives a right to a queue or an exchange.
const (
	Administrator = "administrator"
	Monitoring    = "monitoring"
	PolicyMaker   = "policymaker"
	Management    = "management"
	// Impersonator may publish with a user-id property that is not his own.
	Impersonator = "impersonator"
)

// Limit names a limit of one user.
type Limit string

// The limits of users.
const (
	MaxConnections Limit = "max-connections"
	MaxChannels    Limit = "max-channels"
)

// Unlimited is what User.Limit gives when there is none. Any other negative
// number means the same.
const Unlimited = -1

// User is a user as he was when he was asked for or authenticated: later changes
// do not show. It is immutable.
type User struct {
	name   string
	tags   []string
	hash   PasswordHash
	limits map[Limit]int
}

// Name is the user's name.
func (u *User) Name() string { return u.name }

// String is the user's name.
func (u *User) String() string { return u.name }

// Tags are the user's tags in the order they were given.
func (u *User) Tags() []string { return slices.Clone(u.tags) }

// PasswordHash is the user's password.
func (u *User) PasswordHash() PasswordHash { return u.hash }

// Limits are the limits that were set.
func (u *User) Limits() map[Limit]int { return maps.Clone(u.limits) }

// Limit is how many connections or channels the user may have open: 0 is none
// at all, a negative number any.
func (u *User) Limit(l Limit) int {
	if n, ok := u.limits[l]; ok {
		return n
	}
	return Unlimited
}

// HasTag reports whether the user has exactly that tag.
func (u *User) HasTag(tag string) bool { return slices.Contains(u.tags, tag) }

// MayAdminister reports whether the user may do everything in the management.
func (u *User) MayAdminister() bool { return u.HasTag(Administrator) }

// MayMonitor reports whether the user may see everything in the management.
func (u *User) MayMonitor() bool { return u.MayAdminister() || u.HasTag(Monitoring) }

// MayMakePolicies reports whether the user may set policies and parameters in
// his virtual hosts.
func (u *User) MayMakePolicies() bool { return u.MayAdminister() || u.HasTag(PolicyMaker) }

// MayManage reports whether the user may use the management at all.
func (u *User) MayManage() bool {
	return u.MayMonitor() || u.MayMakePolicies() || u.HasTag(Management)
}

// MayImpersonate reports whether the user may publish in another's name. An
// administrator may not, unless he has the tag for it.
func (u *User) MayImpersonate() bool { return u.HasTag(Impersonator) }
