package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// output is what a program writes, for others to wait for.
type output struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{} // closed with the next write
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.more)
	o.more = make(chan struct{})
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// wait waits until the output matches, and gives the groups of the expression.
func (o *output) wait(t *testing.T, expression string) []string {
	t.Helper()
	re := regexp.MustCompile(expression)
	late := time.After(patience)
	for {
		o.mu.Lock()
		found, more := re.FindStringSubmatch(o.buf.String()), o.more
		o.mu.Unlock()
		if found != nil {
			return found
		}
		select {
		case <-more:
		case <-late:
			require.FailNow(t, "did not come", "%s in\n%s", expression, o)
		}
	}
}

// daemon is a running warren.
type daemon struct {
	stdout, stderr *output
	addr           string
	stop           func() (code int) // as a signal does
}

// start runs warren on a free port until the end of the test, in memory unless the
// arguments say otherwise.
func start(t *testing.T, args ...string) *daemon {
	t.Helper()
	d := &daemon{stdout: newOutput(), stderr: newOutput()}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"-listen", "127.0.0.1:0", "-data", ""}, args...), d.stdout, d.stderr)
	}()
	d.stop = sync.OnceValue(func() int {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { d.stop() })
	d.addr = d.stdout.wait(t, `listening on +(\S+)\n(?s:.*)user `)[1]
	return d
}

func (d *daemon) dial(user, password, vhost string) (*amqp.Connection, error) {
	return amqp.DialConfig("amqp://"+d.addr, amqp.Config{
		SASL:  []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}},
		Vhost: vhost,
	})
}

// use declares a queue, to see that the user may.
func (d *daemon) use(t *testing.T, user, password, vhost string) {
	t.Helper()
	conn, err := d.dial(user, password, vhost)
	require.NoError(t, err)
	defer conn.Close()
	ch, err := conn.Channel()
	require.NoError(t, err)
	_, err = ch.QueueDeclare("", false, false, true, false, nil)
	require.NoError(t, err)
}

func TestBadFlagsGetOneClearLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		want string
	}{
		{"-nope", "flag provided but not defined: -nope"},
		{"-listen 5672", `invalid value "5672" for flag -listen: not HOST:PORT`},
		{"-listen", "flag needs an argument: -listen"},
		{"-user ann", `invalid value "ann" for flag -user: not NAME:PASSWORD`},
		{"-user :secret", `invalid value ":secret" for flag -user: not NAME:PASSWORD`},
		{"-user ann:", `invalid value "ann:" for flag -user: not NAME:PASSWORD`},
		{"-vhost=", `invalid value "" for flag -vhost: an empty name`},
		{"-memory-limit 5Mb", `invalid value "5Mb" for flag -memory-limit: not a size such as 512MiB or 2GB`},
		{"-free-disk-limit 0", `invalid value "0" for flag -free-disk-limit: not a size such as 512MiB or 2GB`},
		{"-queue-memory 100", `invalid value "100" for flag -queue-memory: not MESSAGES,SIZE such as 8192,8MiB`},
		{"-queue-memory 0,1MiB", `invalid value "0,1MiB" for flag -queue-memory: not MESSAGES,SIZE such as 8192,8MiB`},
		{"-log-level loud", `invalid value "loud" for flag -log-level: slog: level string "loud": unknown name`},
		{"-log-format xml", `invalid value "xml" for flag -log-format: neither text nor json`},
		{"-user ann:a -user ann:b", `invalid value "ann:b" for flag -user: ann is named twice`},
		{"serve", `unexpected argument "serve"`},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			require.Equal(t, 2, run(t.Context(), strings.Fields(c.args), &stdout, &stderr))
			require.Equal(t, "warren: "+c.want+" (see warren -h)\n", stderr.String())
			require.Empty(t, stdout.String())
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"-h", "-help", "--help"} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, 0, run(t.Context(), []string{flag}, &stdout, &stderr))
		help := stdout.String() + stderr.String()
		require.Contains(t, help, "Usage: warren [flags]")
		for _, name := range []string{"-listen HOST:PORT", "-data DIR", "-user NAME:PASSWORD", "-vhost NAME", "-log-level LEVEL", "-log-format FORMAT", "-unsafe-no-fsync", "-free-disk-limit SIZE", "-queue-memory MESSAGES,SIZE", "-memory-limit SIZE"} {
			require.Contains(t, help, "\n  "+name)
		}
	}
}

func TestWhatItSaysAndHowItStops(t *testing.T) {
	t.Parallel()
	d := start(t, "-data", "")
	require.Regexp(t, `^Warren \S+: AMQP 0-9-1, in memory only
  listening on   127\.0\.0\.1:\d+
  virtual host   /
  user           guest \(password guest, from this machine only\)
$`, d.stdout.String())
	d.use(t, "guest", "guest", "/")

	conn, err := d.dial("guest", "guest", "/")
	require.NoError(t, err)
	why := conn.NotifyClose(make(chan *amqp.Error, 1))
	require.Equal(t, 0, d.stop())
	require.Equal(t, amqp.ConnectionForced, (<-why).Code)
	require.True(t, strings.HasSuffix(d.stdout.String(), "\nstopping\nstopped\n"), d.stdout)
	_, err = d.dial("guest", "guest", "/")
	require.Error(t, err)
}

func TestUsersAndVirtualHostsOfFlags(t *testing.T) {
	t.Parallel()
	d := start(t, "-user", "ann:secret", "-user", "bob:with:colon", "-vhost", "orders", "-vhost", "/", "-vhost", "orders")
	d.stdout.wait(t, `  virtual host   /\n  virtual host   orders\n  user           ann\n  user           bob\n`)
	for _, vhost := range []string{"/", "orders"} {
		d.use(t, "ann", "secret", vhost)
		d.use(t, "bob", "with:colon", vhost)
	}
	_, err := d.dial("guest", "guest", "/")
	require.ErrorIs(t, err, amqp.ErrCredentials, "users of flags replace guest")
	_, err = d.dial("ann", "wrong", "/")
	require.ErrorIs(t, err, amqp.ErrCredentials)
}

func TestTheDefaultUserMayUseTheVirtualHostsOfFlags(t *testing.T) {
	t.Parallel()
	start(t, "-vhost", "orders").use(t, "guest", "guest", "orders")
}

func TestWhatIsDurableIsThereAfterARestart(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "made", "here")
	d := start(t, "-data", data, "-user", "ann:old", "-vhost", "orders")
	require.Contains(t, d.stdout.String(), "  data           "+data+"\n")
	conn, err := d.dial("ann", "old", "orders")
	require.NoError(t, err)
	ch, err := conn.Channel()
	require.NoError(t, err)
	_, err = ch.QueueDeclare("q", true, false, false, false, nil)
	require.NoError(t, err)
	require.NoError(t, ch.Confirm(false))
	confirmed, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("kept")})
	require.NoError(t, err)
	require.True(t, confirmed.Wait())

	var stdout, stderr bytes.Buffer
	require.Equal(t, 1, run(t.Context(), []string{"-listen", "127.0.0.1:0", "-data", data}, &stdout, &stderr))
	require.Contains(t, stderr.String(), data, "it is in use")
	require.Equal(t, 0, d.stop())

	d = start(t, "-data", data, "-user", "ann:new")
	_, err = d.dial("ann", "old", "orders")
	require.ErrorIs(t, err, amqp.ErrCredentials)
	conn, err = d.dial("ann", "new", "orders")
	require.NoError(t, err)
	ch, err = conn.Channel()
	require.NoError(t, err)
	m, ok, err := ch.Get("q", true)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "kept", string(m.Body))
	require.Equal(t, 0, d.stop())
}

func TestSeveralListeners(t *testing.T) {
	t.Parallel()
	d := start(t, "-listen", "127.0.0.1:0")
	addrs := regexp.MustCompile(`listening on +(\S+)`).FindAllStringSubmatch(d.stdout.String(), -1)
	require.Len(t, addrs, 2)
	for _, a := range addrs {
		d.addr = a[1]
		d.use(t, "guest", "guest", "/")
	}
}

func TestAPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	addr := l.Addr().String()
	var stdout, stderr bytes.Buffer
	require.Equal(t, 1, run(t.Context(), []string{"-data", "", "-listen", "127.0.0.1:0", "-listen", addr}, &stdout, &stderr))
	require.Equal(t, "warren: -listen "+addr+": listen tcp "+addr+": bind: address already in use\n", stderr.String())
	require.Empty(t, stdout.String(), "it says nothing of listeners that it gave up")
}

func TestTheLog(t *testing.T) {
	t.Parallel()
	const accepting = "accepting AMQP connection"
	for _, c := range []struct {
		args   []string
		logged bool
	}{
		{nil, true},
		{[]string{"-log-level", "debug"}, true},
		{[]string{"-log-level", "warn"}, false},
		{[]string{"-log-format", "json"}, true},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			t.Parallel()
			d := start(t, c.args...)
			d.use(t, "guest", "guest", "/")
			require.Equal(t, 0, d.stop())
			log := d.stderr.String()
			require.Equal(t, c.logged, strings.Contains(log, accepting), log)
			if len(c.args) == 0 || c.args[0] != "-log-format" {
				return
			}
			for line := range strings.Lines(log) {
				var entry struct {
					Level slog.Level
					Msg   string
				}
				require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
				require.NotEmpty(t, entry.Msg)
			}
		})
	}
}

// mute is a connection whose client falls silent at some time, and then does not
// even close it.
type mute struct {
	net.Conn
	silent atomic.Bool
}

func (m *mute) Write(p []byte) (int, error) {
	if m.silent.Load() {
		return len(p), nil
	}
	return m.Conn.Write(p)
}

func (m *mute) Close() error {
	if m.silent.Load() {
		return nil
	}
	return m.Conn.Close()
}

func TestAClientThatDoesNotAnswerCannotHoldAStopUpForLong(t *testing.T) {
	t.Parallel()
	d := start(t)
	nc, err := net.Dial("tcp", d.addr)
	require.NoError(t, err)
	defer nc.Close()
	m := &mute{Conn: nc}
	conn, err := amqp.Open(m, amqp.Config{
		SASL: []amqp.Authentication{&amqp.PlainAuth{Username: "guest", Password: "guest"}}, Vhost: "/",
	})
	require.NoError(t, err)
	defer conn.Close()
	m.silent.Store(true)
	require.Equal(t, 0, d.stop())
	require.True(t, strings.HasSuffix(d.stdout.String(),
		"\nstopping\nstopped; some clients did not answer in time and were cut off\n"), d.stdout)
}

func TestAPasswordOfAFlagForGuest(t *testing.T) {
	t.Parallel()
	d := start(t, "-user", "guest:changed")
	require.Contains(t, d.stdout.String(), "  user           guest (from this machine only)\n")
	d.use(t, "guest", "changed", "/")
	_, err := d.dial("guest", "guest", "/")
	require.ErrorIs(t, err, amqp.ErrCredentials)
}
