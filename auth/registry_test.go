package auth_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/warrenmq/warren/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registry has one user, "u" with the password "pw".
func registry(t testing.TB) *auth.Registry {
	t.Helper()
	r := auth.New(auth.Options{})
	require.NoError(t, r.AddUser("u", "pw"))
	return r
}

func names(r *auth.Registry) (list []string) {
	for _, u := range r.Users() {
		list = append(list, u.Name())
	}
	return list
}

func TestUsersAreAddedAndDeleted(t *testing.T) {
	t.Parallel()
	r := auth.New(auth.Options{})
	require.Empty(t, r.Users())
	require.NoError(t, r.AddUser("b", "pw", "one", "two"))
	require.NoError(t, r.AddUserHash("a", auth.PasswordHash{}))
	require.Equal(t, []string{"a", "b"}, names(r))

	u, ok := r.User("b")
	require.True(t, ok)
	require.Equal(t, []string{"one", "two"}, u.Tags())
	require.Equal(t, "b", u.String())
	require.True(t, u.PasswordHash().Matches("pw"))
	_, ok = r.User("c")
	require.False(t, ok)

	require.NoError(t, r.DeleteUser("b"))
	require.Equal(t, []string{"a"}, names(r))
}

func TestUserErrors(t *testing.T) {
	t.Parallel()
	r := registry(t)
	err := r.AddUser("u", "other")
	require.ErrorIs(t, err, auth.ErrUserExists)
	require.EqualError(t, err, "user 'u': the user exists already")
	require.ErrorIs(t, r.AddUserHash("u", auth.PasswordHash{}), auth.ErrUserExists)
	require.ErrorIs(t, r.AddUser("", "pw"), auth.ErrBadName)

	for what, err := range map[string]error{
		"delete":      r.DeleteUser("x"),
		"password":    r.ChangePassword("x", "pw"),
		"tags":        r.SetTags("x"),
		"limit":       r.SetLimit("x", auth.MaxChannels, 1),
		"clear":       r.ClearLimit("x", auth.MaxChannels),
		"permissions": r.SetPermissions(auth.Permission{User: "x", VHost: "/"}),
		"topic":       r.SetTopicPermissions(auth.TopicPermission{User: "x", VHost: "/"}),
	} {
		require.ErrorIs(t, err, auth.ErrNoUser, what)
		require.EqualError(t, err, "user 'x': no such user", what)
	}
	u, _ := r.User("u")
	require.True(t, u.PasswordHash().Matches("pw"), "a refused change changes nothing")
}

func TestAUserThatWasAskedForDoesNotChange(t *testing.T) {
	t.Parallel()
	r := registry(t)
	before, _ := r.User("u")
	require.NoError(t, r.SetTags("u", auth.Administrator))
	require.NoError(t, r.SetLimit("u", auth.MaxChannels, 1))
	require.NoError(t, r.ChangePassword("u", "new"))
	require.Empty(t, before.Tags())
	require.Equal(t, auth.Unlimited, before.Limit(auth.MaxChannels))
	require.True(t, before.PasswordHash().Matches("pw"))

	after, _ := r.User("u")
	after.Tags()[0] = "changed"
	after.Limits()[auth.MaxChannels] = 99
	require.Equal(t, []string{auth.Administrator}, after.Tags())
	require.Equal(t, 1, after.Limit(auth.MaxChannels))
	require.True(t, after.PasswordHash().Matches("new"))
}

func TestLimits(t *testing.T) {
	t.Parallel()
	r := registry(t)
	limit := func(l auth.Limit) int {
		u, _ := r.User("u")
		return u.Limit(l)
	}
	require.Negative(t, limit(auth.MaxConnections))
	require.NoError(t, r.SetLimit("u", auth.MaxConnections, 0))
	require.NoError(t, r.SetLimit("u", auth.MaxChannels, 7))
	require.NoError(t, r.SetLimit("u", auth.MaxChannels, 5))
	require.Zero(t, limit(auth.MaxConnections))
	require.Equal(t, 5, limit(auth.MaxChannels))
	require.NoError(t, r.ClearLimit("u", auth.MaxConnections))
	require.Negative(t, limit(auth.MaxConnections))
	require.Equal(t, 5, limit(auth.MaxChannels))
	u, _ := r.User("u")
	require.Equal(t, map[auth.Limit]int{auth.MaxChannels: 5}, u.Limits())
}

func TestTags(t *testing.T) {
	t.Parallel()
	tests := []struct {
		tags                                           []string
		administer, monitor, policies, manage, imposte bool
	}{
		{tags: nil},
		{tags: []string{"anything"}},
		{tags: []string{auth.Management}, manage: true},
		{tags: []string{auth.PolicyMaker}, policies: true, manage: true},
		{tags: []string{auth.Monitoring}, monitor: true, manage: true},
		{tags: []string{auth.Administrator}, administer: true, monitor: true, policies: true, manage: true},
		{tags: []string{auth.Impersonator}, imposte: true},
		{tags: []string{"Administrator"}},
	}
	for _, tt := range tests {
		r := auth.New(auth.Options{})
		require.NoError(t, r.AddUser("u", "pw", tt.tags...))
		u, _ := r.User("u")
		require.Equal(t, tt.administer, u.MayAdminister(), tt.tags)
		require.Equal(t, tt.monitor, u.MayMonitor(), tt.tags)
		require.Equal(t, tt.policies, u.MayMakePolicies(), tt.tags)
		require.Equal(t, tt.manage, u.MayManage(), tt.tags)
		require.Equal(t, tt.imposte, u.MayImpersonate(), tt.tags)
	}
}

func TestTheDefaultUser(t *testing.T) {
	t.Parallel()
	r := auth.New(auth.Options{})
	require.NoError(t, r.AddDefaultUser())
	u, ok := r.User("guest")
	require.True(t, ok)
	require.True(t, u.MayAdminister())
	require.Equal(t, []auth.Permission{{User: "guest", VHost: "/", Configure: ".*", Write: ".*", Read: ".*"}}, r.ListPermissions())
	a, ok := r.Access("guest", "/")
	require.True(t, ok)
	require.True(t, a.Configure("q") && a.Write("q") && a.Read("q"))
	require.ErrorIs(t, r.AddDefaultUser(), auth.ErrUserExists)
}

func TestTheBrokerIsToldWhoWasDeleted(t *testing.T) {
	t.Parallel()
	var deleted []string
	var r *auth.Registry
	r = auth.New(auth.Options{UserDeleted: func(name string) {
		_, ok := r.User(name) // It is called without a lock.
		require.False(t, ok)
		deleted = append(deleted, name)
	}})
	require.NoError(t, r.AddUser("u", "pw"))
	require.Error(t, r.DeleteUser("x"))
	require.NoError(t, r.DeleteUser("u"))
	require.Error(t, r.DeleteUser("u"))
	require.Equal(t, []string{"u"}, deleted)
}

func TestTwoRegistriesShareNothing(t *testing.T) {
	t.Parallel()
	a, b := registry(t), auth.New(auth.Options{})
	require.NoError(t, a.SetPermissions(auth.Permission{User: "u", VHost: "/"}))
	require.Empty(t, b.Users())
	require.Empty(t, b.ListPermissions())
	require.Zero(t, b.Generation())
}
