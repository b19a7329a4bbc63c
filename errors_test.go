package warren_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/reply"
)

func TestErrorsSayWhatAndCanBeMatched(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	require.NoError(t, b.Auth().AddUser("ann", "secret"))
	for _, c := range []struct {
		err  error
		is   error
		text string
	}{
		{b.AddVHost("/"), warren.ErrVHostExists, "add vhost '/': virtual host exists"},
		{b.DeleteVHost("v"), warren.ErrNoVHost, "delete vhost 'v': no such virtual host"},
		{b.SetVHostLimit("v", warren.VHostMaxQueues, 1), warren.ErrNoVHost, "set limit max-queues of vhost 'v': no such virtual host"},
		{b.Auth().AddUser("ann", "secret"), auth.ErrUserExists, "user 'ann': the user exists already"},
		{b.Auth().AddUser("", "secret"), auth.ErrBadName, "a user needs a name"},
		{b.Auth().DeleteUser("bob"), auth.ErrNoUser, "user 'bob': no such user"},
		{
			b.Auth().SetPermissions(warren.Permission{User: "ann", VHost: "/", Write: "("}), auth.ErrBadPattern,
			"user 'ann' in vhost '/': write permission: invalid regular expression '(': error parsing regexp: missing closing ): `(`",
		},
	} {
		require.ErrorIs(t, c.err, c.is)
		require.EqualError(t, c.err, c.text)
	}
}

func ExampleError() {
	// What the broker refuses, it refuses with an error like this one.
	err := fmt.Errorf("set up: %w", reply.Errorf(reply.NotFound, "no queue '%s' in vhost '%s'", "jobs", "/"))

	fmt.Println(errors.Is(err, warren.NotFound), errors.Is(err, warren.AccessRefused))
	var refused *warren.Error
	if errors.As(err, &refused) {
		fmt.Println(uint16(refused.Code), refused)
	}
	// Output:
	// true false
	// 404 NOT_FOUND - no queue 'jobs' in vhost '/'
}
