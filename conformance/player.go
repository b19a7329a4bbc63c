package conformance

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// errWaited ends a scenario early: what was waited for did not come.
var errWaited = errors.New("waited in vain")

// settleTime is how long a scenario waits at its end for what nobody asked for.
const settleTime = 80 * time.Millisecond

// player plays one scenario. It is used by one goroutine.
type player struct {
	target  Target
	admin   Admin
	timeout time.Duration
	vars    *vars
	n       *normaliser
	out     Transcript

	conns  map[string]*conn
	order  []*conn
	pubs   map[string]*publishes // by connection and channel
	queues int                   // queue names the broker made up so far
	ctags  int                   // consumer tags the broker made up so far

	made map[resource]bool // to delete at the end
	undo []setup           // set-up steps to take back at the end
}

// resource is a queue or exchange that the scenario declared.
type resource struct{ vhost, kind, name string }

func newPlayer(t Target, a Admin, timeout time.Duration, prefix string) *player {
	return &player{
		target: t, admin: a, timeout: timeout,
		vars:  &vars{prefix: prefix, m: map[string]string{}},
		n:     &normaliser{prefix: prefix, madeUp: map[string]string{}, start: time.Now()},
		conns: map[string]*conn{},
		pubs:  map[string]*publishes{},
		made:  map[resource]bool{},
	}
}

// play plays the scenario. The transcript is complete up to the first step
// that waited in vain; an error means that a step could not be carried out.
func (p *player) play(s *Scenario) (t Transcript, err error) {
	defer func() { err = errors.Join(err, p.cleanup()) }()
	for _, st := range s.steps {
		p.out = append(p.out, stepMark+st.src)
		err := p.step(st.words)
		if errors.Is(err, errWaited) {
			return append(p.out, aborted), nil
		}
		if err != nil {
			return p.out, fmt.Errorf("line %d: %s: %w", st.line, st.src, err)
		}
	}
	p.leftovers()
	return p.out, nil
}

// say adds a line about a channel to the transcript.
func (p *player) say(c *conn, ch uint16, format string, a ...any) {
	p.out = append(p.out, eventMark+c.label(ch)+" "+fmt.Sprintf(format, a...))
}

// record writes an event down. A confirm of something that is open is shown as
// the publishes it settles: the multiple flag says nothing beyond them.
func (p *player) record(c *conn, e *event, how style) {
	p.learn(e)
	if tags := p.settle(c, e); tags != nil {
		p.say(c, e.ch, "%s settles=%s", e.method.name, ranges(tags))
		return
	}
	p.out = append(p.out, p.n.event(c.label(e.ch), e, how)...)
}

// learn notes the names the broker made up, and gives them to the script.
func (p *player) learn(e *event) {
	if e.is("queue.declare-ok") {
		p.madeUp(e.f.str("queue"), "amq.gen", "gen", &p.queues)
	}
	if e.is("basic.consume-ok") {
		p.madeUp(e.f.str("consumer-tag"), "amq.ctag", "ctag", &p.ctags)
	}
	if to, ok := e.props["reply-to"].(string); ok {
		p.vars.m["replyto"] = to
	}
}

func (p *player) madeUp(name, head, short string, count *int) {
	if !strings.HasPrefix(name, head) || p.n.madeUp[name] != "" {
		return
	}
	*count++
	v := short + strconv.Itoa(*count)
	p.vars.m[v] = name
	p.n.learn(name, "<"+v+":"+head+">")
}

// wait records the next event on the channel that passes the filter.
func (p *player) wait(c *conn, ch uint16, filter func(*event) bool, timeout time.Duration, how style) (*event, error) {
	e := c.next(ch, filter, timeout)
	if e == nil {
		p.say(c, ch, "TIMEOUT")
		return nil, errWaited
	}
	p.record(c, e, how)
	return e, nil
}

// step carries out one step.
func (p *player) step(list []string) error {
	switch list[0] {
	case "sleep":
		if len(list) != 2 {
			return errors.New("sleep wants a duration")
		}
		d, err := time.ParseDuration(list[1])
		if err != nil {
			return err
		}
		time.Sleep(d)
		return nil
	case "repeat":
		return p.repeat(list[1:])
	case "setup":
		return p.setup(list[1:])
	}
	if len(list) < 2 {
		return errors.New("no verb")
	}
	switch list[0] {
	case "tcp":
		_, err := p.dial(list[1])
		return err
	case "connect":
		return p.connect(list[1], newWords(list[2:], p.vars))
	}
	name, number, onChannel := strings.Cut(list[0], ".")
	c := p.conns[name]
	if c == nil {
		return fmt.Errorf("no connection %q", name)
	}
	ch := uint64(0)
	if onChannel {
		var err error
		if ch, err = strconv.ParseUint(number, 10, 16); err != nil {
			return fmt.Errorf("channel %q", number)
		}
	}
	return p.verb(c, uint16(ch), list[1], list[2:])
}

// repeat plays a step several times with $i counting from 1.
func (p *player) repeat(list []string) error {
	if len(list) < 2 {
		return errors.New("repeat wants a count and a step")
	}
	n, err := strconv.Atoi(list[0])
	if err != nil {
		return err
	}
	defer delete(p.vars.m, "i")
	for i := range n {
		p.vars.m["i"] = strconv.Itoa(i + 1)
		if err := p.step(list[1:]); err != nil {
			return err
		}
	}
	return nil
}

func (p *player) setup(list []string) error {
	if p.admin == nil {
		return fmt.Errorf("set-up: %w", errors.ErrUnsupported)
	}
	s, err := parseSetup(list, p.target.VHost, p.vars)
	if err != nil {
		return err
	}
	if err := s.do(p.admin); err != nil {
		return err
	}
	if back, ok := s.undo(); ok {
		p.undo = append(p.undo, back)
	}
	return nil
}

// dial opens a TCP connection under a new name.
func (p *player) dial(name string) (*conn, error) {
	if p.conns[name] != nil {
		return nil, fmt.Errorf("connection %q exists", name)
	}
	c, err := dial(name, p.target, p.timeout)
	if err != nil {
		return nil, err
	}
	c.vhost = p.target.VHost
	p.conns[name] = c
	p.order = append(p.order, c)
	return c, nil
}

// leftovers records what arrived and was never asked for.
func (p *player) leftovers() {
	time.Sleep(settleTime)
	for _, c := range p.order {
		left := c.takeAll()
		channels := make([]int, 0, len(left))
		for ch := range left {
			channels = append(channels, int(ch))
		}
		sort.Ints(channels)
		for _, ch := range channels {
			for _, e := range left[uint16(ch)] {
				// Behind the events of the last step they need no line of
				// their own.
				if strings.HasPrefix(p.out[len(p.out)-1], stepMark) && p.out[len(p.out)-1] != leftOver {
					p.out = append(p.out, leftOver)
				}
				lines := p.n.event(c.label(e.ch), e, style{})
				lines[0] += " LEFT-OVER"
				p.out = append(p.out, lines...)
			}
		}
	}
}

// cleanup closes all connections, deletes what the scenario declared and takes
// its set-up steps back. What AMQP cannot delete any more is already gone or
// goes with its connection; a set-up step that cannot be taken back is an error.
func (p *player) cleanup() error {
	for _, c := range p.order {
		c.wait()
	}
	vhosts := map[string][]resource{}
	for r := range p.made {
		if !strings.HasPrefix(r.vhost, p.vars.prefix) { // else it goes with its virtual host
			vhosts[r.vhost] = append(vhosts[r.vhost], r)
		}
	}
	for vhost, list := range vhosts {
		p.deleteAll(vhost, list)
	}
	var errs []error
	for i := len(p.undo) - 1; i >= 0; i-- {
		errs = append(errs, p.undo[i].do(p.admin))
	}
	return errors.Join(errs...)
}

// deleteAll deletes queues and exchanges over a connection of its own. It is
// best effort: names are unique to the run, so that what stays harms nobody.
func (p *player) deleteAll(vhost string, list []resource) {
	t := p.target
	t.VHost = vhost
	q := newPlayer(t, nil, time.Second, p.vars.prefix)
	defer func() {
		for _, c := range q.order {
			c.wait()
		}
	}()
	if q.connect("cleanup", newWords([]string{"ch=1"}, q.vars)) != nil {
		return
	}
	c := q.conns["cleanup"]
	ch := uint16(1)
	for _, r := range list {
		f := fields{r.kind: r.name}
		if c.send(ch, methodsByName[r.kind+".delete"], f) != nil {
			return
		}
		switch e := c.next(ch, answer, q.timeout); {
		case e == nil || e.kind != eventMethod:
			return
		case e.is("channel.close"): // such as a queue another connection holds
			ch++
			if q.verb(c, ch, "open", nil) != nil {
				return
			}
		}
	}
	if c.send(0, methodsByName["connection.close"], fields{"reply-code": uint64(200)}) == nil {
		c.next(0, nil, q.timeout)
	}
}
