package crashtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Config says what to run.
type Config struct {
	// Dir is where the brokers' data goes; each broker that begins from nothing
	// gets a directory in it.
	Dir string
	// Seed makes the choices, but for those of time.
	Seed uint64
	// Cycles is after how many crashes to end, 0 for no limit; For is how long
	// to begin new cycles, 0 for no limit.
	Cycles int
	For    time.Duration
	// Longest is for how long a broker is loaded before it is killed, at most;
	// 1.5 s if 0.
	Longest time.Duration
	// Broker gives the command of a broker on a data directory. It listens on a
	// port of its own choice, says "listening on ADDRESS" on its standard output,
	// stops in order when it reads the line "quit", and at once at the end of its
	// standard input. See Main.
	Broker func(dir string) *exec.Cmd
	// NoAdmin leaves out users and virtual hosts, which a Broker other than Main
	// cannot be asked for.
	NoAdmin bool
	// start starts a broker otherwise than by Broker.
	start func(dir string) (broker, error)
	// Log takes what is worth saying now and then; nil is silence.
	Log func(format string, args ...any)
}

// Result is what a run has found.
type Result struct {
	Seed       uint64
	Cycles     int
	Stats      Stats
	Violations []Violation
	// Changes are the last changes to definitions.
	Changes []string
	// Dir is the data directory of the last broker.
	Dir string
}

const (
	defaultLongest = 1500 * time.Millisecond
	shortest       = 10 * time.Millisecond
	// longestMoment is how long what takes several steps may take, as a power of two
	// in milliseconds.
	longestMoment = 8
	// lifetime is after how many cycles on one directory a new one is begun.
	lifetime = 40
)

// runner is a run under way.
type runner struct {
	Config
	r      *rand.Rand
	l      *Ledger
	dir    string
	fresh  bool // nothing was ever done on dir
	worlds []*churner
	admin  *administrator
	names  []string // of the queues that the broker can have
	total  Stats
	cycle  int
}

// Run runs cycles until one has a violation, or there were enough. An error is one
// of the test itself, or a broker that does not start.
func Run(ctx context.Context, c Config) (Result, error) {
	if c.Longest == 0 {
		c.Longest = defaultLongest
	}
	if c.start == nil {
		c.start = func(dir string) (broker, error) { return startProcess(c.Broker(dir)) }
	}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	r := &runner{Config: c, r: rand.New(rand.NewPCG(c.Seed, 0))}
	began := time.Now()
	var err error
	for r.cycle = 1; ctx.Err() == nil; r.cycle++ {
		if (r.cycle-1)%lifetime == 0 {
			if err = r.begin(); err != nil {
				break
			}
		}
		if err = r.once(ctx); err != nil || len(r.l.Violations()) > 0 {
			break
		}
		if r.cycle%20 == 0 {
			s := r.stats()
			c.Log("cycle %d, seed %d: %d published, %d confirmed, %d delivered, %d found after crashes (%d might have been gone, and were), %d transactions, %d definitions",
				r.cycle, c.Seed, s.Published, s.Confirmed, s.Delivered, s.Checked, s.Uncertain, s.Commits, s.Definitions)
		}
		if r.cycle == c.Cycles || c.For > 0 && time.Since(began) >= c.For {
			break
		}
	}
	res := Result{Seed: c.Seed, Cycles: r.cycle, Stats: r.stats(), Dir: r.dir}
	if r.l != nil {
		res.Violations = r.l.Violations()
		for _, w := range r.worlds {
			res.Changes = append(res.Changes, slices.Clone(w.books.history)...)
		}
	}
	if err != nil {
		err = fmt.Errorf("cycle %d, seed %d, directory %s: %w", r.cycle, c.Seed, r.dir, err)
	}
	return res, err
}

func (r *runner) stats() Stats {
	s := r.total
	if r.l != nil {
		s.add(r.l.Stats())
	}
	return s
}

func (s *Stats) add(o Stats) {
	s.Published += o.Published
	s.Confirmed += o.Confirmed
	s.Nacked += o.Nacked
	s.Delivered += o.Delivered
	s.Settled += o.Settled
	s.Commits += o.Commits
	s.Checked += o.Checked
	s.Uncertain += o.Uncertain
	s.Definitions += o.Definitions
}

// begin begins with an empty directory.
func (r *runner) begin() error {
	r.total = r.stats()
	if r.dir != "" {
		if err := os.RemoveAll(r.dir); err != nil {
			return err
		}
	}
	r.dir = filepath.Join(r.Dir, fmt.Sprintf("data-%d", r.cycle))
	r.l, r.fresh = NewLedger(), true
	r.worlds = []*churner{newChurner("c0"), newChurner("c1")}
	r.admin = newAdministrator()
	return os.MkdirAll(r.dir, 0o755)
}

// once starts a broker, looks at what is there, loads it and kills it.
func (r *runner) once(ctx context.Context) error {
	if r.r.IntN(8) == 0 && !r.fresh {
		if err := r.killStarting(); err != nil {
			return err
		}
	}
	p, err := r.Config.start(r.dir)
	if err != nil {
		return err
	}
	defer p.kill()
	if err := p.ready(ctx); err != nil {
		return err
	}
	conn, err := p.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	loadCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	o := &load{p: p, l: r.l, name: fmt.Sprintf("life%d", r.cycle), ctx: loadCtx, moments: make(chan struct{})}
	if err := r.prepare(ctx, o, conn); err != nil {
		return fmt.Errorf("%w\n%s", err, p.said())
	}
	if len(r.l.Violations()) > 0 {
		return nil
	}
	r.load(o)
	wait := time.NewTimer(shortest + time.Duration(r.r.Int64N(int64(r.Longest))))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-p.ended():
		return fmt.Errorf("the broker ended by itself: %s", p.said())
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.r.IntN(2) == 0 {
		r.awaitMoment(ctx, o)
	}
	how := "killed"
	if r.r.IntN(10) == 0 {
		how = stoppedInOrder
		r.l.Stop()
		o.cut.Store(r.Broker == nil)
		if err := p.quit(); err != nil {
			return fmt.Errorf("stop in order: %w\n%s", err, p.said())
		}
	} else {
		if r.Broker == nil {
			r.l.Stop() // a broker in this process closes connections even so
			o.cut.Store(true)
		}
		p.kill()
	}
	cancel()
	o.wg.Wait()
	r.l.Crash(how)
	return nil
}

// awaitMoment waits until somebody has sent what takes more than one step, and a little
// longer: few moments are such that a crash could part what belongs together, and one
// by chance is seldom among them.
func (r *runner) awaitMoment(ctx context.Context, o *load) {
	late := time.NewTimer(r.Longest)
	defer late.Stop()
	select {
	case <-o.moments:
	case <-late.C:
		return
	case <-o.p.ended():
		return
	case <-ctx.Done():
		return
	}
	// It may come to pass at once, or have to wait for what was sent before.
	late.Reset(time.Duration(r.r.Int64N(int64(time.Millisecond << r.r.IntN(longestMoment)))))
	<-late.C
}

// killStarting kills a broker that has hardly begun to look at its directory.
func (r *runner) killStarting() error {
	p, err := r.Config.start(r.dir)
	if err != nil {
		return err
	}
	wait := time.NewTimer(time.Duration(r.r.Int64N(int64(150 * time.Millisecond))))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-p.ended():
	}
	p.kill()
	return nil
}

// prepare looks at what survived, and makes what is needed for more.
func (r *runner) prepare(ctx context.Context, o *load, conn *amqp.Connection) error {
	for _, w := range r.worlds {
		if err := w.inspect(r.l, conn); err != nil {
			return fmt.Errorf("inspect definitions: %w", err)
		}
	}
	if !r.NoAdmin {
		if err := r.admin.inspect(r.l, o.p); err != nil {
			return fmt.Errorf("inspect users and virtual hosts: %w", err)
		}
	}
	// Now and then what was left stays unseen, for the next crash to keep.
	if !r.fresh && r.r.IntN(7) > 0 {
		i := &inspector{actor: actor{load: o, conn: conn, name: o.name + ".inspector", r: r.r}, c: r.l.NewChecker()}
		i.closed = conn.NotifyClose(make(chan *amqp.Error, 1))
		if err := i.inspect(ctx); err != nil {
			return err
		}
	}
	if len(r.l.Violations()) > 0 {
		return nil
	}
	if r.names == nil {
		var err error
		if r.names, err = supported(o.p.dial); err != nil {
			return err
		}
	}
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if o.t, err = setUp(ch, r.l, r.names, r.fresh); err != nil {
		var e *amqp.Error
		if errors.As(err, &e) && !r.fresh {
			r.l.Violate(nil, "after a restart: %v", err)
			return nil
		}
		return err
	}
	r.fresh = false
	return ch.Close()
}

// load starts all who load the broker.
func (r *runner) load(o *load) {
	for i := range 1 + r.r.IntN(3) {
		o.run(fmt.Sprintf("publisher%d", i), r.r.Uint64(), publisher)
	}
	for i := range r.r.IntN(3) {
		o.run(fmt.Sprintf("consumer%d", i), r.r.Uint64(), consumer("q0", "q1", "q2", "q3", "q4", "q5", "prio", "source", "dead", "passing", "quorum", "limited"))
	}
	o.run("reader", r.r.Uint64(), consumer("q0", "q1", "q3"))
	o.run("rejecter", r.r.Uint64(), consumer("source", "dead", "q4"))
	for i := range r.r.IntN(3) {
		o.run(fmt.Sprintf("transactions%d", i), r.r.Uint64(), transactions)
	}
	if r.r.IntN(2) == 0 {
		o.run("getter", r.r.Uint64(), getter)
	}
	if r.r.IntN(2) == 0 {
		o.run("taker", r.r.Uint64(), taker)
	}
	for _, w := range r.worlds {
		if r.r.IntN(3) > 0 {
			o.run(w.name, r.r.Uint64(), w.churn)
		}
	}
	if !r.NoAdmin && r.r.IntN(2) == 0 {
		seed := r.r.Uint64()
		o.wg.Go(func() { o.report("administrator", r.admin.work(o.p, rand.New(rand.NewPCG(seed, 2)))) })
	}
}

// String tells what was found, over several lines.
func (r Result) String() string {
	var b strings.Builder
	s := r.Stats
	fmt.Fprintf(&b, "%d cycles, seed %d: %d violations\n", r.Cycles, r.Seed, len(r.Violations))
	fmt.Fprintf(&b, "%d messages published, %d confirmed, %d delivered, %d settled, %d transactions, %d definitions\n",
		s.Published, s.Confirmed, s.Delivered, s.Settled, s.Commits, s.Definitions)
	fmt.Fprintf(&b, "%d found after a crash; %d were gone that might have been there\n", s.Checked, s.Uncertain)
	for i, v := range r.Violations {
		fmt.Fprintf(&b, "\nviolation %d: %s\n", i+1, v.What)
		for _, line := range v.History {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	if len(r.Violations) > 0 {
		fmt.Fprintf(&b, "\nthe last changes to definitions:\n    %s\n", strings.Join(r.Changes, "\n    "))
		fmt.Fprintf(&b, "\nseed %d, cycle %d; the data is in %s\n", r.Seed, r.Cycles, r.Dir)
		// Again, as it is the end of a long text that is read.
		fmt.Fprintf(&b, "violation 1 of %d: %s\n", len(r.Violations), r.Violations[0].What)
	}
	return b.String()
}
