package crashtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

const (
	// smallDisk is a size, as mount knows it, that leaves some ten MiB to
	// messages besides the reserve of a store and the ballast.
	smallDisk = "size=400m"
	ballast   = 50 << 20
	// patience is how long something may take that must happen.
	patience = 60 * time.Second
)

// diskTest is a broker on a small disk.
type diskTest struct {
	*testing.T
	dir string
	l   *Ledger
	q   *Queue
	p   broker
}

func newDiskTest(t *testing.T) *diskTest {
	dir := t.TempDir()
	if err := syscall.Mount("crashtest", dir, "tmpfs", 0, smallDisk); err != nil {
		t.Skipf("cannot mount a small file system (%v): this test needs root on Linux", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, ballast), 0o600))
	return &diskTest{T: t, dir: dir, l: NewLedger()}
}

// start starts the broker.
func (d *diskTest) start() {
	p, err := startProcess(Self(filepath.Join(d.dir, "data")))
	require.NoError(d, err)
	d.Cleanup(p.kill)
	require.NoError(d, p.ready(d.Context()))
	d.p = p
}

// actor gives somebody with a connection.
func (d *diskTest) actor(ctx context.Context, name string) *actor {
	conn, err := d.p.dial()
	require.NoError(d, err)
	d.Cleanup(func() { _ = conn.Close() }) // the broker may be gone
	return &actor{
		load: &load{p: d.p, l: d.l, name: name, ctx: ctx}, conn: conn, name: name,
		r: rand.New(rand.NewPCG(1, 1)), closed: conn.NotifyClose(make(chan *amqp.Error, 1)),
	}
}

// flood publishes until stop is called. Blocked is told each time when the
// connection is, and when it is not any more.
func (d *diskTest) flood(name string) (blocked <-chan amqp.Blocking, stop func()) {
	ctx, cancel := context.WithCancel(d.Context())
	a := d.actor(ctx, name)
	blocked = a.conn.NotifyBlocked(make(chan amqp.Blocking, 100))
	c, err := a.open()
	require.NoError(d, err)
	require.NoError(d, c.confirms(100))
	done := make(chan error, 1)
	go func() {
		for {
			if err := a.send(c, c.nextID(true), route{"", d.q.name, []*Queue{d.q}}); err != nil {
				done <- err
				return
			}
		}
	}()
	return blocked, func() {
		d.Helper()
		cancel()
		_ = a.conn.Close() // the broker may be gone
		<-c.drained
		var e *amqp.Error
		if err := <-done; errors.As(err, &e) && e.Server {
			require.NoError(d, err)
		}
	}
}

// awaitBlocked waits until the connection is blocked, or is not any more.
func (d *diskTest) awaitBlocked(blocked <-chan amqp.Blocking, active bool) {
	d.Helper()
	late := time.After(patience)
	for {
		select {
		case b := <-blocked:
			if b.Active == active {
				return
			}
		case <-d.p.ended():
			require.FailNow(d, "the broker ended", d.p.said())
		case <-late:
			require.FailNow(d, "the connection should be blocked, or not any more", "blocked %v; %+v; %s", active, d.l.Stats(), d.p.said())
		}
	}
}

// take consumes and acknowledges so many messages.
func (d *diskTest) take(name string, n int) {
	d.Helper()
	a := d.actor(d.Context(), name)
	c, err := a.open()
	require.NoError(d, err)
	require.NoError(d, c.Qos(100, 0, false))
	defer d.l.Consuming(d.q)()
	in, err := c.Consume(d.q.name, "", false, false, false, false, nil)
	require.NoError(d, err)
	var held []*Copy
	late := time.After(patience)
	for range n {
		select {
		case m, ok := <-in:
			require.True(d, ok, "the consumer ended: %s", d.p.said())
			copied := d.l.Delivered(d.q, name, &m)
			require.NotNil(d, copied, "%v", d.l.Violations())
			if held = append(held, copied); len(held) == 50 {
				c.log.Ack(held...)
				require.NoError(d, c.Ack(m.DeliveryTag, true))
				held = nil
			}
		case <-late:
			require.FailNow(d, "nothing comes", d.p.said())
		}
	}
	c.log.Requeue(held...)
	require.NoError(d, a.conn.Close())
}

func TestAFullDiskStopsPublishersAndNothingElse(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("writes some hundred MiB")
	}
	d := newDiskTest(t)
	d.start()
	a := d.actor(t.Context(), "maker")
	c, err := a.open()
	require.NoError(t, err)
	_, err = c.QueueDeclare("q", true, false, false, false, nil)
	require.NoError(t, err)
	d.q = d.l.AddQueue("q", QueueOptions{})

	// The disk is full: publishers wait, consumers go on.
	blocked, stop := d.flood("first")
	d.awaitBlocked(blocked, true)
	before := d.l.Stats()
	require.Greater(t, before.Confirmed, 1000)
	d.take("taker", 1000)

	// There is room again: so do publishers.
	require.NoError(t, os.Remove(filepath.Join(d.dir, "ballast")))
	d.awaitBlocked(blocked, false)
	require.Eventually(t, func() bool { return d.l.Stats().Confirmed > before.Confirmed+1000 }, patience, 10*time.Millisecond)

	// Nothing that was confirmed is lost when it is killed on a full disk.
	d.awaitBlocked(blocked, true)
	d.p.kill()
	stop()
	d.l.Crash("killed")
	d.start()
	k := &inspector{actor: *d.actor(t.Context(), "inspector"), c: d.l.NewChecker()}
	c, err = k.open()
	require.NoError(t, err)
	found, err := takeAll(t.Context(), d.l, c.Channel, d.q)
	require.NoError(t, err)
	copies := k.c.Queue(d.q, found)
	require.Empty(t, d.l.Violations())
	require.NotEmpty(t, found)

	// When all is taken there is room, after a while: the store waits until it has
	// been quiet for some seconds.
	if os.Getenv(lengthVariable) == "" {
		return
	}
	c.log.Ack(copies...)
	require.NoError(t, c.Ack(found[len(found)-1].DeliveryTag, true))
	before = d.l.Stats()
	_, stop = d.flood("second")
	require.Eventually(t, func() bool { return d.l.Stats().Confirmed > before.Confirmed+1000 }, patience, 10*time.Millisecond)
	d.p.kill()
	stop()
	require.Empty(t, d.l.Violations())
	t.Logf("%+v", d.l.Stats())
}
