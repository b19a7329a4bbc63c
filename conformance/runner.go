package conformance

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Target is the broker to play against.
type Target struct {
	Addr     string // host:port
	User     string
	Password string
	VHost    string
	// Dial opens a connection; nil is net.Dial.
	Dial func(network, addr string) (net.Conn, error)
}

// ParseTarget reads amqp://user:password@host:port/vhost. User, password,
// port and virtual host default to guest, guest, 5672 and "/".
func ParseTarget(uri string) (Target, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return Target{}, err
	}
	if u.Scheme != "amqp" {
		return Target{}, fmt.Errorf("scheme %q: only amqp:// is understood", u.Scheme)
	}
	t := Target{Addr: u.Host, User: "guest", Password: "guest", VHost: "/"}
	if u.Port() == "" {
		t.Addr = u.Host + ":5672"
	}
	if u.User != nil {
		t.User = u.User.Username()
		if password, ok := u.User.Password(); ok {
			t.Password = password
		}
	}
	if len(u.Path) > 1 {
		t.VHost = u.Path[1:]
	}
	return t, nil
}

const (
	// DefaultTimeout is the time for one step. It must not be below 4 s:
	// RabbitMQ waits 3 s before it hangs up on a failed login.
	DefaultTimeout = 6 * time.Second
	// DefaultJobs is how many scenarios are played at a time. They mostly wait.
	DefaultJobs = 12
)

// Runner plays scenarios against one broker. Play may be called by several
// goroutines at the same time; the fields must not change any more then.
type Runner struct {
	Target  Target
	Admin   Admin         // for set-up steps; without it they fail with errors.ErrUnsupported
	Timeout time.Duration // per step; DefaultTimeout if zero

	once  sync.Once
	run   string // makes names of this run unique
	plays atomic.Int64
}

// Play plays one scenario and gives its transcript. An error means that the
// scenario could not be played as it is written; then the transcript ends with
// the step that could not be carried out.
func (r *Runner) Play(s *Scenario) (Transcript, error) {
	r.once.Do(func() { r.run = rand.Text()[:6] })
	timeout := r.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	// All prefixes are equally long, so that a name can be filled up to the
	// longest one allowed.
	prefix := fmt.Sprintf("cf%s-%04d.", r.run, r.plays.Add(1)%10000)
	return newPlayer(r.Target, r.Admin, max(timeout, s.Timeout), prefix).play(s)
}

// PlayAll calls play for each scenario, jobs at a time and those marked serial
// alone at the end, and returns when all are done.
func PlayAll(list []*Scenario, jobs int, play func(*Scenario)) {
	var wg sync.WaitGroup
	work := make(chan *Scenario)
	for range max(1, jobs) {
		wg.Go(func() {
			for s := range work {
				play(s)
			}
		})
	}
	for _, s := range list {
		if !s.Serial {
			work <- s
		}
	}
	close(work)
	wg.Wait()
	for _, s := range list {
		if s.Serial {
			play(s)
		}
	}
}
