package auth_test

import (
	"regexp/syntax"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/auth"
)

// allow gives u a pattern for all three rights in the virtual host "/".
func allow(t testing.TB, r *auth.Registry, pattern string) {
	t.Helper()
	require.NoError(t, r.SetPermissions(auth.Permission{User: "u", VHost: "/", Configure: pattern, Write: pattern, Read: pattern}))
}

// access is the Access of u in "/".
func access(t testing.TB, r *auth.Registry) *auth.Access {
	t.Helper()
	a, ok := r.Access("u", "/")
	require.True(t, ok)
	return a
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pattern string
		yes, no []string
	}{
		{".*", []string{"", "q", "a\nb", "\xff"}, nil},
		{"^.*", []string{"", "q", "a\nb"}, nil},
		{"", nil, []string{"", "q", " "}},
		{"^$", nil, []string{"", "q"}},
		{"q", []string{"q", "aqb", "qq"}, []string{"Q", "x"}},
		{"^q", []string{"q1"}, []string{"aq"}},
		{"q$", []string{"aq"}, []string{"qa"}},
		{"^(a|b)-[0-9]+$", []string{"a-1", "b-22"}, []string{"a-", "c-1", "a-1x"}},
		{"^amq\\.", []string{"amq.topic", ""}, []string{"amqx"}},
		{"^amq\\.default$", []string{"", "amq.default"}, []string{"amq.direct"}},
		{"^é", []string{"éa"}, []string{"e"}},
	}
	for _, tt := range tests {
		t.Run(tt.pattern, func(t *testing.T) {
			t.Parallel()
			r := registry(t)
			allow(t, r, tt.pattern)
			a := access(t, r)
			for range 2 { // The second time from memory.
				for _, name := range tt.yes {
					require.True(t, a.Configure(name) && a.Write(name) && a.Read(name), "%q", name)
				}
				for _, name := range tt.no {
					require.False(t, a.Configure(name) || a.Write(name) || a.Read(name), "%q", name)
				}
			}
		})
	}
}

func TestTheThreeRightsAreSeparate(t *testing.T) {
	t.Parallel()
	r := registry(t)
	require.NoError(t, r.SetPermissions(auth.Permission{User: "u", VHost: "/", Configure: "^c", Write: "^w", Read: "^r"}))
	a := access(t, r)
	for range 2 {
		require.True(t, a.Configure("c") && a.Write("w") && a.Read("r"))
		require.False(t, a.Configure("w") || a.Configure("r"))
		require.False(t, a.Write("c") || a.Write("r"))
		require.False(t, a.Read("c") || a.Read("w"))
	}
}

func TestAnInvalidPatternNamesItsField(t *testing.T) {
	t.Parallel()
	r := registry(t)
	allow(t, r, "^old$")
	bad := func(field string) error {
		p := auth.Permission{User: "u", VHost: "/"}
		*map[string]*string{"configure": &p.Configure, "write": &p.Write, "read": &p.Read}[field] = "a("
		return r.SetPermissions(p)
	}
	badTopic := func(field string) error {
		p := auth.TopicPermission{User: "u", VHost: "/", Exchange: "x"}
		*map[string]*string{"write": &p.Write, "read": &p.Read}[field] = "a("
		return r.SetTopicPermissions(p)
	}
	tests := []struct {
		err         error
		field, text string
	}{
		{bad("configure"), "configure", "user 'u' in vhost '/': configure permission: invalid regular expression 'a(': error parsing regexp: missing closing ): `a(`"},
		{bad("write"), "write", "user 'u' in vhost '/': write permission: invalid regular expression 'a(': error parsing regexp: missing closing ): `a(`"},
		{bad("read"), "read", "user 'u' in vhost '/': read permission: invalid regular expression 'a(': error parsing regexp: missing closing ): `a(`"},
		{badTopic("write"), "write", "user 'u' in vhost '/', exchange 'x': write permission: invalid regular expression 'a(': error parsing regexp: missing closing ): `a(`"},
		{badTopic("read"), "read", "user 'u' in vhost '/', exchange 'x': read permission: invalid regular expression 'a(': error parsing regexp: missing closing ): `a(`"},
	}
	for _, tt := range tests {
		require.EqualError(t, tt.err, tt.text)
		require.ErrorIs(t, tt.err, auth.ErrBadPattern)
		var pattern *auth.PatternError
		require.ErrorAs(t, tt.err, &pattern)
		require.Equal(t, tt.field, pattern.Field)
		var syntaxErr *syntax.Error
		require.ErrorAs(t, tt.err, &syntaxErr)
	}
	p, _ := r.Permissions("u", "/")
	require.Equal(t, "^old$", p.Write, "a refused change changes nothing")
	require.Empty(t, r.ListTopicPermissions())
}

func TestWhatOnlyPerlKnowsIsRefused(t *testing.T) {
	t.Parallel()
	r := registry(t)
	for _, pattern := range []string{`^(?!amq\.).*`, `(a)\1`} {
		require.ErrorIs(t, r.SetPermissions(auth.Permission{User: "u", VHost: "/", Write: pattern}), auth.ErrBadPattern)
	}
}

func TestNoRowIsNoAccess(t *testing.T) {
	t.Parallel()
	r := registry(t)
	require.NoError(t, r.SetTags("u", auth.Administrator), "a tag gives no rights")
	_, ok := r.Access("u", "/")
	require.False(t, ok)
	_, ok = r.Permissions("u", "/")
	require.False(t, ok)
	require.NoError(t, r.SetPermissions(auth.Permission{User: "u", VHost: "/"}))
	_, ok = r.Access("u", "/")
	require.True(t, ok, "a row without any right is access")
	_, ok = r.Access("u", "other")
	require.False(t, ok)
	_, ok = r.Access("other", "/")
	require.False(t, ok)
}

func TestPermissionsAreListed(t *testing.T) {
	t.Parallel()
	r := registry(t)
	require.NoError(t, r.AddUser("a", "pw"))
	require.Empty(t, r.ListPermissions())
	require.Empty(t, r.ListTopicPermissions())
	all := []auth.Permission{
		{User: "a", VHost: "/", Configure: "c", Write: "w", Read: "r"},
		{User: "u", VHost: "/"},
		{User: "u", VHost: "v", Configure: ".*"},
	}
	topics := []auth.TopicPermission{
		{User: "a", VHost: "/", Exchange: "x", Write: "{username}"},
		{User: "u", VHost: "/", Exchange: "x"},
		{User: "u", VHost: "/", Exchange: "y"},
		{User: "u", VHost: "v", Exchange: "x"},
	}
	for i := range all {
		require.NoError(t, r.SetPermissions(all[len(all)-1-i]))
	}
	for i := range topics {
		require.NoError(t, r.SetTopicPermissions(topics[len(topics)-1-i]))
	}
	require.Equal(t, all, r.ListPermissions())
	require.Equal(t, topics, r.ListTopicPermissions(), "as they were given, not expanded")
	p, ok := r.Permissions("u", "v")
	require.True(t, ok)
	require.Equal(t, all[2], p)

	r.DeleteVHost("v")
	require.Equal(t, all[:2], r.ListPermissions())
	require.Equal(t, topics[:3], r.ListTopicPermissions())
	require.NoError(t, r.DeleteUser("u"))
	require.Equal(t, all[:1], r.ListPermissions())
	require.Equal(t, topics[:1], r.ListTopicPermissions())
	cleared(t, true)(r.ClearPermissions("a", "/"))
	cleared(t, false)(r.ClearPermissions("a", "/"))
	require.Empty(t, r.ListPermissions())
}

func TestTopicPermissions(t *testing.T) {
	t.Parallel()
	r := registry(t)
	allow(t, r, ".*")
	require.NoError(t, r.SetTopicPermissions(auth.TopicPermission{
		User: "u", VHost: "/", Exchange: "x", Write: `^{username}\.`, Read: "^{vhost}in$",
	}))
	require.NoError(t, r.SetTopicPermissions(auth.TopicPermission{User: "u", VHost: "/", Exchange: "nothing"}))
	require.NoError(t, r.SetTopicPermissions(auth.TopicPermission{User: "u", VHost: "/", Exchange: "all", Write: ".*", Read: ".*"}))
	a := access(t, r)
	for range 2 {
		require.True(t, a.WriteTopic("x", "u.a"))
		require.False(t, a.WriteTopic("x", "v.a"))
		require.True(t, a.ReadTopic("x", "/in"))
		require.False(t, a.ReadTopic("x", "u.a"))

		require.True(t, a.WriteTopic("other", "v.a"), "no row is no limit")
		require.True(t, a.ReadTopic("", ""))

		require.False(t, a.WriteTopic("nothing", "k"))
		require.True(t, a.WriteTopic("nothing", ""), "the empty pattern matches the empty key")
		require.True(t, a.WriteTopic("all", "k"))
		require.True(t, a.ReadTopic("all", "k"))
	}
}

func TestNamesAreNotEscapedInTopicPatterns(t *testing.T) {
	t.Parallel()
	r := auth.New(auth.Options{})
	require.NoError(t, r.AddUser("a.*", "pw"))
	require.NoError(t, r.SetPermissions(auth.Permission{User: "a.*", VHost: "/"}))
	require.NoError(t, r.SetTopicPermissions(auth.TopicPermission{User: "a.*", VHost: "/", Exchange: "x", Write: "^{username}$"}))
	a, ok := r.Access("a.*", "/")
	require.True(t, ok)
	require.True(t, a.WriteTopic("x", "abc"))
}

func TestClearTopicPermissions(t *testing.T) {
	t.Parallel()
	r := registry(t)
	allow(t, r, ".*")
	for _, x := range []string{"x", "y", "z"} {
		require.NoError(t, r.SetTopicPermissions(auth.TopicPermission{User: "u", VHost: "/", Exchange: x}))
	}
	a := access(t, r)
	require.False(t, a.WriteTopic("x", "k"))
	cleared(t, true)(r.ClearTopicPermissions("u", "/", "x"))
	cleared(t, false)(r.ClearTopicPermissions("u", "/", "x"))
	require.True(t, a.WriteTopic("x", "k"))
	require.False(t, a.WriteTopic("y", "k"))
	cleared(t, true)(r.ClearTopicPermissions("u", "/"))
	cleared(t, false)(r.ClearTopicPermissions("u", "/"))
	require.True(t, a.WriteTopic("y", "k"))
}

// cleared checks what a Clear gave.
func cleared(t testing.TB, want bool) func(had bool, err error) {
	return func(had bool, err error) {
		t.Helper()
		require.NoError(t, err)
		require.Equal(t, want, had)
	}
}
