package auth

// DefaultExchange is the name by which the right to the default exchange is
// checked (contract 08 §3).
const DefaultExchange = "amq.default"

// Access is what one user may do in one virtual host, for use by one channel.
//
// It remembers the latest successes, so that publishing to the same exchange
// again costs neither a search nor an allocation, and forgets them with any
// change of permissions: a check always goes by what is set. A user who has been
// deleted, or whose access to the virtual host was taken away, may do nothing.
//
// An Access is used by one goroutine at a time; the Registry it came from may be
// changed by others meanwhile.
//
// The empty name is that of the default exchange.
type Access struct {
	registry *Registry
	at       place
	// all says that everything is allowed, whatever the registry says.
	all bool

	// What was read at that generation. row is nil if there is no access.
	generation uint64
	row        *row
	topics     map[string]*topicRow

	names, keys successes
}

// Access gives the rights of a user in a virtual host; false if he has no access
// to it.
func (r *Registry) Access(user, vhost string) (*Access, bool) {
	a := &Access{registry: r, at: place{user, vhost}}
	a.load()
	if a.row == nil {
		return nil, false
	}
	return a, true
}

// Unrestricted gives all rights in a virtual host: those of the program that the
// broker is part of. user is the name under which it acts.
func (r *Registry) Unrestricted(user, vhost string) *Access {
	return &Access{registry: r, at: place{user, vhost}, all: true}
}

func (a *Access) load() {
	r := a.registry
	r.mu.RLock()
	defer r.mu.RUnlock()
	a.generation = r.generation.Load()
	a.row = r.rows[a.at] // Gone with the user.
	a.topics = r.topics[a.at]
	a.names.forget()
	a.keys.forget()
}

// current is the row that counts now, nil if there is no access.
func (a *Access) current() *row {
	if a.registry.generation.Load() != a.generation {
		a.load()
	}
	return a.row
}

// User is the name of the user.
func (a *Access) User() string { return a.at.user }

// VHost is the name of the virtual host.
func (a *Access) VHost() string { return a.at.vhost }

// Generation is the Registry's: a channel that keeps the outcome of a check must
// drop it when this has changed.
func (a *Access) Generation() uint64 { return a.registry.Generation() }

// Configure reports whether the user may declare and delete what has that name.
func (a *Access) Configure(name string) bool { return a.may(configure, name) }

// Write reports whether the user may write to what has that name.
func (a *Access) Write(name string) bool { return a.may(write, name) }

// Read reports whether the user may read from what has that name.
func (a *Access) Read(name string) bool { return a.may(read, name) }

func (a *Access) may(do right, name string) bool {
	if a.all {
		return true
	}
	row := a.current()
	if row == nil {
		return false
	}
	m := &row.patterns[do]
	if m.all {
		return true
	}
	if name == "" {
		name = DefaultExchange
	}
	if a.names.has(do, name, "") {
		return true
	}
	if !m.matches(name) {
		return false
	}
	a.names.add(do, name, "")
	return true
}

// WriteTopic reports whether the user may publish with that routing key to a
// topic exchange. It does not ask for the right to write to the exchange.
func (a *Access) WriteTopic(exchange, key string) bool { return a.mayTopic(write, exchange, key) }

// ReadTopic reports whether the user may bind to a topic exchange with that
// routing key. It does not ask for the right to read from the exchange.
func (a *Access) ReadTopic(exchange, key string) bool { return a.mayTopic(read, exchange, key) }

func (a *Access) mayTopic(do right, exchange, key string) bool {
	if a.all {
		return true
	}
	if a.current() == nil {
		return false
	}
	t, limited := a.topics[exchange]
	if !limited {
		return true
	}
	m := &t.patterns[do]
	if m.all || a.keys.has(do, exchange, key) {
		return true
	}
	if !m.matches(key) {
		return false
	}
	a.keys.add(do, exchange, key)
	return true
}

// maxSuccesses is how many successes are remembered, as in RabbitMQ (contract
// 03 §4).
const maxSuccesses = 12

// successes remembers the latest checks that succeeded. The memory of forgotten
// ones is used again, so that in the long run remembering allocates nothing.
type successes struct {
	entries []success
	// used is how many entries count, next the oldest once all do.
	used, next int
}

type success struct {
	do        right
	name, key []byte
}

func (s *successes) has(do right, name, key string) bool {
	for i := range s.entries[:s.used] {
		e := &s.entries[i]
		if e.do == do && string(e.key) == key && string(e.name) == name {
			return true
		}
	}
	return false
}

func (s *successes) add(do right, name, key string) {
	i := s.used
	if i < maxSuccesses {
		s.used++
	} else {
		i = s.next
		s.next = (s.next + 1) % maxSuccesses
	}
	if i == len(s.entries) {
		s.entries = append(s.entries, success{})
	}
	e := &s.entries[i]
	e.do = do
	e.name = append(e.name[:0], name...)
	e.key = append(e.key[:0], key...)
}

func (s *successes) forget() { s.used, s.next = 0, 0 }
