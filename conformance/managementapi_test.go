package conformance

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestManagementAPI(t *testing.T) {
	t.Parallel()
	var got string
	status := http.StatusNoContent
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = fmt.Sprintf("%s:%s %s %s %s", user, password, r.Method, r.URL.EscapedPath(), body)
		w.WriteHeader(status)
	}))
	defer server.Close()
	m, err := NewManagementAPI("http://u:p@" + server.Listener.Addr().String() + "/")
	require.NoError(t, err)

	for want, do := range map[string]func() error{
		`u:p PUT /api/vhosts/a%2Fb {}`:  func() error { return m.AddVHost("a/b") },
		`u:p DELETE /api/vhosts/a null`: func() error { return m.DeleteVHost("a") },
		`u:p PUT /api/users/x {"password":"pw","tags":"a,b"}`: func() error {
			return m.AddUser("x", "pw", "a", "b")
		},
		`u:p DELETE /api/users/x null`: func() error { return m.DeleteUser("x") },
		`u:p PUT /api/permissions/%2F/x {"configure":"c","read":"r","write":"w"}`: func() error {
			return m.SetPermissions("x", "/", Permissions{"c", "w", "r"})
		},
		`u:p PUT /api/topic-permissions/%2F/x {"exchange":"e","read":"r","write":"w"}`: func() error {
			return m.SetTopicPermissions("x", "/", "e", Permissions{Write: "w", Read: "r"})
		},
		`u:p PUT /api/policies/%2F/n {"apply-to":"all","definition":{"a":1},"pattern":"p","priority":2}`: func() error {
			return m.SetPolicy("/", Policy{"n", "p", "all", 2, map[string]any{"a": 1}})
		},
		`u:p DELETE /api/policies/%2F/n null`: func() error { return m.DeletePolicy("/", "n") },
		`u:p PUT /api/operator-policies/%2F/n {"apply-to":"queues","definition":{"a":1},"pattern":"p","priority":0}`: func() error {
			return m.SetOperatorPolicy("/", Policy{"n", "p", "queues", 0, map[string]any{"a": 1}})
		},
		`u:p DELETE /api/operator-policies/%2F/n null`:       func() error { return m.DeleteOperatorPolicy("/", "n") },
		`u:p PUT /api/vhost-limits/v/max-queues {"value":1}`: func() error { return m.SetVHostLimit("v", "max-queues", 1) },
		`u:p DELETE /api/connections/username/x null`:        func() error { return m.CloseConnections("x") },
	} {
		require.NoError(t, do())
		require.Equal(t, want, got)
	}

	status = http.StatusNotFound
	require.NoError(t, m.DeleteVHost("gone"))
	require.ErrorContains(t, m.AddVHost("v"), "404")
}
