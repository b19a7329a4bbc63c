// Command warren is a message broker that speaks AMQP 0-9-1 and behaves like
// RabbitMQ.
//
//	warren [flags]
//	warren store check DIR
//	warren store backup DIR FILE
//	warren store restore FILE DIR
//
// It serves until it gets SIGINT or SIGTERM, then closes its connections in
// order. Its exit status is 0 after an orderly stop, 1 if it could not serve, and
// 2 for flags that make no sense. With store it looks after the data directory of a
// broker that does not run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/store/badgerstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// config is what the flags say.
type config struct {
	listen []string
	data   string
	unsafe bool
	// What the broker may take; 0 is its default.
	freeDisk, memory size
	queueMemory      queueMemory
	users            []user
	vhosts           []string
	level            slog.Level
	format           string
}

// queueMemory is the flag for warren.Options.QueueMemory: MESSAGES,SIZE.
type queueMemory struct {
	messages int
	octets   int64
}

func (q *queueMemory) String() string { return "" }

func (q *queueMemory) Set(text string) error {
	messages, octets, _ := strings.Cut(text, ",")
	n, err := strconv.Atoi(messages)
	if err == nil && n > 0 {
		q.messages = n
		q.octets, err = parseSize(octets)
	}
	if err != nil || n <= 0 {
		return errors.New("not MESSAGES,SIZE such as 8192,8MiB")
	}
	return nil
}

type user struct{ name, password string }

const (
	exitOK    = 0
	exitFail  = 1
	exitUsage = 2
)

// stopWait is how long clients may take to answer when the broker stops.
const stopWait = 5 * time.Second

// run is main with everything that is the process's own given to it, save for the
// standard input, which only warren store restore reads.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "store" {
		return runStore(args[1:], os.Stdin, stdout, stderr)
	}
	cfg, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "warren: %v (see warren -h)\n", err)
		return exitUsage
	}
	if err := serve(ctx, cfg, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "warren: %v\n", err)
		return exitFail
	}
	return exitOK
}

// parse reads the flags. The error is one line that says which flag is wrong.
func parse(args []string, stderr io.Writer) (config, error) {
	cfg := config{format: "text"}
	fs := flag.NewFlagSet("warren", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // one clear line, printed by run
	fs.Func("listen", "serve AMQP on `HOST:PORT`; may be repeated (default 127.0.0.1:5672)", func(s string) error {
		if _, _, err := net.SplitHostPort(s); err != nil {
			return errors.New("not HOST:PORT")
		}
		cfg.listen = append(cfg.listen, s)
		return nil
	})
	fs.StringVar(&cfg.data, "data", defaultData(), "keep what is durable in `DIR`; \"\" keeps everything in memory only")
	fs.BoolVar(&cfg.unsafe, "unsafe-no-fsync", false, "UNSAFE: do not sync what is written to -data; a crash of the machine or a loss of power loses confirmed messages and may damage the rest, a crash of warren alone does not; faster where syncing is slow")
	fs.Var(&cfg.freeDisk, "free-disk-limit", "block publishers while less than `SIZE` is free for -data, beside about 140 MiB in reserve (default 50MB)")
	fs.Var(&cfg.queueMemory, "queue-memory", "keep up to `MESSAGES,SIZE` of each durable queue in memory, up to three times that while it is busy, and the rest in -data only (default 8192,8MiB)")
	fs.Var(&cfg.memory, "memory-limit", "block publishers while more than `SIZE` of memory is in use, garbage not counted (default no limit)")
	fs.Func("user", "add a user `NAME:PASSWORD` with all rights in all virtual hosts; may be repeated, replaces guest (default guest:guest, from this machine only)", func(s string) error {
		name, password, ok := strings.Cut(s, ":")
		if !ok || name == "" || password == "" {
			return errors.New("not NAME:PASSWORD")
		}
		if slices.ContainsFunc(cfg.users, func(u user) bool { return u.name == name }) {
			return fmt.Errorf("%s is named twice", name)
		}
		cfg.users = append(cfg.users, user{name, password})
		return nil
	})
	fs.Func("vhost", "add the virtual host `NAME`; may be repeated (\"/\" is always there)", func(s string) error {
		if s == "" {
			return errors.New("an empty name")
		}
		cfg.vhosts = append(cfg.vhosts, s)
		return nil
	})
	fs.TextVar(&cfg.level, "log-level", slog.LevelInfo, "log from `LEVEL` up: debug, info, warn or error")
	fs.Func("log-format", "log as `FORMAT`: text or json (default text)", func(s string) error {
		if s != "text" && s != "json" {
			return errors.New("neither text nor json")
		}
		cfg.format = s
		return nil
	})
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stderr, "Usage: warren [flags]\n       warren store COMMAND ...\n\nServes AMQP 0-9-1 until SIGINT or SIGTERM. \"warren store -h\" tells about checks and\nbackups of the data. Sizes are in octets, or with a unit: 512MiB, 2GB.\n\nFlags:")
			fs.SetOutput(stderr)
			fs.PrintDefaults()
		}
		return config{}, err
	}
	if fs.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if cfg.data == noHome {
		return config{}, errors.New("-data: no home directory is known; name a directory, or \"\" for memory only")
	}
	if len(cfg.listen) == 0 {
		cfg.listen = []string{"127.0.0.1:5672"}
	}
	return cfg, nil
}

// open makes the broker, on its data if it has any.
func open(cfg config, log *slog.Logger) (*warren.Broker, error) {
	o := warren.Options{
		Logger: log, NoDefaultUser: len(cfg.users) > 0,
		MemoryLimit: int64(cfg.memory), FreeDiskLimit: int64(cfg.freeDisk),
	}
	o.QueueMemory.Messages, o.QueueMemory.Octets = cfg.queueMemory.messages, cfg.queueMemory.octets
	if cfg.data == "" {
		return warren.New(o)
	}
	s, err := badgerstore.Open(cfg.data, badgerstore.Options{Logger: log, Unsafe: cfg.unsafe})
	if err != nil {
		return nil, err
	}
	o.Store = s
	b, err := warren.New(o)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return b, nil
}

// serve runs the broker until ctx ends.
func serve(ctx context.Context, cfg config, stdout, stderr io.Writer) error {
	b, err := open(cfg, logger(cfg, stderr))
	if err != nil {
		return err
	}
	defer b.Close()
	if err := setUp(b, cfg); err != nil {
		return err
	}
	var listeners []net.Listener
	for _, addr := range cfg.listen {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return fmt.Errorf("-listen %s: %w", addr, err)
		}
		listeners = append(listeners, l)
	}
	announce(stdout, cfg, b, listeners)
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- b.Serve(l) }()
	}
	select {
	case <-ctx.Done():
	case err := <-failed:
		return err
	}
	fmt.Fprintln(stdout, "stopping")
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer cancel()
	err = b.Shutdown(wait)
	switch {
	case err == nil:
		fmt.Fprintln(stdout, "stopped")
	case errors.Is(err, context.DeadlineExceeded):
		fmt.Fprintln(stdout, "stopped; some clients did not answer in time and were cut off")
		err = b.Close() // what the store had to say
	}
	return err
}

func logger(cfg config, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.level}
	if cfg.format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// setUp adds what the flags name. What an earlier run left stays: a user who is
// named gets the password of the flag.
func setUp(b *warren.Broker, cfg config) error {
	var added []string
	for _, v := range cfg.vhosts {
		switch err := b.AddVHost(v); {
		case err == nil:
			added = append(added, v)
		case !errors.Is(err, warren.ErrVHostExists):
			return err
		}
	}
	if _, ok := b.Auth().User(auth.DefaultUser); ok && len(cfg.users) == 0 {
		return grant(b, auth.DefaultUser, added)
	}
	for _, u := range cfg.users {
		err := b.Auth().AddUser(u.name, u.password, auth.Administrator)
		if errors.Is(err, auth.ErrUserExists) {
			err = b.Auth().ChangePassword(u.name, u.password)
		}
		if err != nil {
			return fmt.Errorf("-user: %w", err)
		}
		if err := grant(b, u.name, b.VHosts()); err != nil {
			return err
		}
	}
	return nil
}

// grant gives a user all rights in virtual hosts.
func grant(b *warren.Broker, user string, vhosts []string) error {
	for _, v := range vhosts {
		p := warren.Permission{User: user, VHost: v, Configure: ".*", Write: ".*", Read: ".*"}
		if err := b.Auth().SetPermissions(p); err != nil {
			return err
		}
	}
	return nil
}

// announce says what is served where.
func announce(w io.Writer, cfg config, b *warren.Broker, listeners []net.Listener) {
	if cfg.data == "" {
		fmt.Fprintf(w, "Warren %s: AMQP 0-9-1, in memory only\n", warren.Version())
	} else {
		fmt.Fprintf(w, "Warren %s: AMQP 0-9-1\n", warren.Version())
		fmt.Fprintf(w, "  data           %s\n", cfg.data)
		if cfg.unsafe {
			fmt.Fprintln(w, "  UNSAFE         nothing is synced: a crash of the machine loses confirmed messages")
		}
	}
	for _, l := range listeners {
		fmt.Fprintf(w, "  listening on   %s\n", l.Addr())
	}
	for _, v := range b.VHosts() {
		fmt.Fprintf(w, "  virtual host   %s\n", v)
	}
	for _, u := range b.Auth().Users() {
		note := ""
		switch {
		case u.Name() != auth.DefaultUser:
		case len(cfg.users) == 0:
			note = " (password " + auth.DefaultPassword + ", from this machine only)"
		default: // of a flag, with a password of its own
			note = " (from this machine only)"
		}
		fmt.Fprintf(w, "  user           %s%s\n", u.Name(), note)
	}
}
