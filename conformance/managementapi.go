package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ManagementAPI is an Admin over the HTTP API of RabbitMQ's management plugin.
type ManagementAPI struct {
	base   *url.URL
	user   *url.Userinfo
	client *http.Client
}

// NewManagementAPI gives an Admin for an address such as
// http://guest:guest@127.0.0.1:15672. It does not connect yet.
func NewManagementAPI(address string) (*ManagementAPI, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	user := u.User
	u.User = nil
	u.Path = strings.TrimSuffix(u.Path, "/")
	return &ManagementAPI{base: u, user: user, client: &http.Client{Timeout: 15 * time.Second}}, nil
}

// AddVHost implements Admin.
func (m *ManagementAPI) AddVHost(name string) error {
	return m.put(map[string]any{}, "vhosts", name)
}

// DeleteVHost implements Admin.
func (m *ManagementAPI) DeleteVHost(name string) error { return m.delete("vhosts", name) }

// AddUser implements Admin.
func (m *ManagementAPI) AddUser(name, password string, tags ...string) error {
	return m.put(map[string]any{"password": password, "tags": strings.Join(tags, ",")}, "users", name)
}

// DeleteUser implements Admin.
func (m *ManagementAPI) DeleteUser(name string) error { return m.delete("users", name) }

// SetPermissions implements Admin.
func (m *ManagementAPI) SetPermissions(user, vhost string, p Permissions) error {
	return m.put(map[string]any{"configure": p.Configure, "write": p.Write, "read": p.Read}, "permissions", vhost, user)
}

// SetTopicPermissions implements Admin.
func (m *ManagementAPI) SetTopicPermissions(user, vhost, exchange string, p Permissions) error {
	return m.put(map[string]any{"exchange": exchange, "write": p.Write, "read": p.Read}, "topic-permissions", vhost, user)
}

// SetPolicy implements Admin.
func (m *ManagementAPI) SetPolicy(vhost string, p Policy) error {
	return m.putPolicy("policies", vhost, p)
}

func (m *ManagementAPI) putPolicy(kind, vhost string, p Policy) error {
	return m.put(map[string]any{
		"pattern": p.Pattern, "definition": p.Definition, "priority": p.Priority, "apply-to": p.ApplyTo,
	}, kind, vhost, p.Name)
}

// DeletePolicy implements Admin.
func (m *ManagementAPI) DeletePolicy(vhost, name string) error {
	return m.delete("policies", vhost, name)
}

// SetOperatorPolicy implements Admin.
func (m *ManagementAPI) SetOperatorPolicy(vhost string, p Policy) error {
	return m.putPolicy("operator-policies", vhost, p)
}

// DeleteOperatorPolicy implements Admin.
func (m *ManagementAPI) DeleteOperatorPolicy(vhost, name string) error {
	return m.delete("operator-policies", vhost, name)
}

// SetVHostLimit implements Admin.
func (m *ManagementAPI) SetVHostLimit(vhost, limit string, n int) error {
	return m.put(map[string]any{"value": n}, "vhost-limits", vhost, limit)
}

// CloseConnections implements Admin.
func (m *ManagementAPI) CloseConnections(user string) error {
	return m.delete("connections", "username", user)
}

func (m *ManagementAPI) put(body any, path ...string) error {
	return m.call(http.MethodPut, body, path)
}

func (m *ManagementAPI) delete(path ...string) error {
	return m.call(http.MethodDelete, nil, path)
}

// call sends one request. Deleting what is not there is no error.
func (m *ManagementAPI) call(verb string, body any, path []string) (err error) {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	target := m.base.String() + "/api"
	for _, part := range path {
		target += "/" + url.PathEscape(part)
	}
	req, err := http.NewRequest(verb, target, bytes.NewReader(b))
	if err != nil {
		return err
	}
	if m.user != nil {
		password, _ := m.user.Password()
		req.SetBasicAuth(m.user.Username(), password)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := m.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	gone := verb == http.MethodDelete && resp.StatusCode == http.StatusNotFound
	if resp.StatusCode >= http.StatusMultipleChoices && !gone {
		return fmt.Errorf("%s %s: %s %s", verb, target, resp.Status, answer)
	}
	return nil
}
