package conformance

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Admin does what AMQP cannot: it makes the users, virtual hosts, permissions,
// policies and limits that some scenarios need. Several scenarios call it at
// the same time. An operation the broker does not have gives an error that
// wraps errors.ErrUnsupported.
type Admin interface {
	// AddVHost makes a virtual host.
	AddVHost(name string) error
	// DeleteVHost deletes a virtual host with everything in it.
	DeleteVHost(name string) error
	// AddUser adds a user without permissions.
	AddUser(name, password string, tags ...string) error
	// DeleteUser deletes a user.
	DeleteUser(name string) error
	// SetPermissions sets what a user may do in a virtual host.
	SetPermissions(user, vhost string, p Permissions) error
	// SetTopicPermissions limits a user's routing keys at a topic exchange.
	SetTopicPermissions(user, vhost, exchange string, p Permissions) error
	// SetPolicy sets a policy, in place of the one of that name.
	SetPolicy(vhost string, p Policy) error
	// DeletePolicy deletes a policy.
	DeletePolicy(vhost, name string) error
	// SetOperatorPolicy is SetPolicy for the policies of operators.
	SetOperatorPolicy(vhost string, p Policy) error
	// DeleteOperatorPolicy is DeletePolicy for those.
	DeleteOperatorPolicy(vhost, name string) error
	// SetVHostLimit sets "max-queues" or "max-connections".
	SetVHostLimit(vhost, limit string, n int) error
	// CloseConnections closes all connections of a user.
	CloseConnections(user string) error
}

// Permissions are regular expressions over resource names. Topic permissions
// have no Configure.
type Permissions struct{ Configure, Write, Read string }

// Policy is a RabbitMQ policy.
type Policy struct {
	Name       string
	Pattern    string // regular expression over queue or exchange names
	ApplyTo    string // "queues", "exchanges" or "all"
	Priority   int
	Definition map[string]any
}

// setup is a parsed set-up step.
type setup struct {
	verb  string
	name  string // the first word without a key
	vhost string
	kv    map[string]string
}

// parseSetup reads the words after "setup"; vhost is used where none is given.
func parseSetup(list []string, vhost string, v *vars) (setup, error) {
	s := setup{vhost: vhost, kv: map[string]string{}}
	if len(list) == 0 {
		return s, fmt.Errorf("setup wants a verb")
	}
	s.verb = list[0]
	for _, word := range list[1:] {
		key, raw, keyed := strings.Cut(word, "=")
		if !keyed {
			raw = word
		}
		str, err := v.str(raw)
		if err != nil {
			return s, err
		}
		switch {
		case !keyed && s.name == "":
			s.name = str
		case !keyed:
			return s, fmt.Errorf("unknown word %q", word)
		case key == "vhost":
			s.vhost = str
		default:
			s.kv[key] = str
		}
	}
	return s, nil
}

// do carries the step out.
func (s setup) do(a Admin) error {
	switch s.verb {
	case "vhost":
		return a.AddVHost(s.name)
	case "delete-vhost":
		return a.DeleteVHost(s.name)
	case "user":
		var tags []string
		if s.kv["tags"] != "" {
			tags = strings.Split(s.kv["tags"], ",")
		}
		return a.AddUser(s.name, s.kv["password"], tags...)
	case "delete-user":
		return a.DeleteUser(s.name)
	case "permission":
		return a.SetPermissions(s.kv["user"], s.vhost, s.permissions())
	case "topic-permission":
		return a.SetTopicPermissions(s.kv["user"], s.vhost, s.kv["exchange"], s.permissions())
	case "policy", "operator-policy":
		p, err := s.policy()
		if err != nil {
			return err
		}
		if s.verb == "operator-policy" {
			return a.SetOperatorPolicy(s.vhost, p)
		}
		return a.SetPolicy(s.vhost, p)
	case "delete-policy":
		return a.DeletePolicy(s.vhost, s.name)
	case "delete-operator-policy":
		return a.DeleteOperatorPolicy(s.vhost, s.name)
	case "vhost-limit":
		n, err := strconv.Atoi(s.kv["value"])
		if err != nil {
			return fmt.Errorf("limit: %w", err)
		}
		return a.SetVHostLimit(s.name, s.kv["limit"], n)
	case "close-connections":
		return a.CloseConnections(s.kv["user"])
	}
	return fmt.Errorf("unknown set-up step %q", s.verb)
}

// undo gives the step that takes this one back, if it made something that
// would outlive the scenario.
func (s setup) undo() (setup, bool) {
	switch s.verb {
	case "vhost", "user", "policy", "operator-policy":
		return setup{verb: "delete-" + s.verb, name: s.name, vhost: s.vhost}, true
	}
	return setup{}, false
}

func (s setup) permissions() Permissions {
	return Permissions{Configure: s.kv["configure"], Write: s.kv["write"], Read: s.kv["read"]}
}

func (s setup) policy() (Policy, error) {
	p := Policy{Name: s.name, Pattern: s.kv["pattern"], ApplyTo: s.kv["apply-to"]}
	if p.ApplyTo == "" {
		p.ApplyTo = "all"
	}
	if err := json.Unmarshal([]byte(s.kv["definition"]), &p.Definition); err != nil {
		return p, fmt.Errorf("policy definition: %w", err)
	}
	if prio := s.kv["priority"]; prio != "" {
		n, err := strconv.Atoi(prio)
		if err != nil {
			return p, fmt.Errorf("policy priority: %w", err)
		}
		p.Priority = n
	}
	return p, nil
}
