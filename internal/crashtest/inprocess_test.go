package crashtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/memstore"
)

// machine is a broker in this process, on a disk in memory of which it can be cut
// off at any moment.
type machine struct {
	b    *warren.Broker
	disk **memstore.Disk // of the test, that outlives the machine
	s    *cuttable
	end  chan struct{} // never closed: it does not end by itself
}

// cuttable is a store that can be cut off.
type cuttable struct {
	store.Store
	mu   sync.Mutex
	cut  bool
	over chan struct{} // closed when there is no use in waiting any more
}

// Apply implements store.Store. Once the disk is cut off it does not return.
func (c *cuttable) Apply(changes []store.Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.cut {
		return c.Store.Apply(changes)
	}
	<-c.over
	return errCut
}

func (c *cuttable) isCut() bool {
	select {
	case <-c.over:
		return true
	default:
		return false
	}
}

// off cuts the disk off, and gives what is on it.
func (c *cuttable) off(disk *memstore.Disk) *memstore.Disk {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	return disk.Crash()
}

// newMachine starts a broker on a disk.
func newMachine(disk **memstore.Disk) (*machine, error) {
	s, err := (*disk).Open()
	if err != nil {
		return nil, err
	}
	m := &machine{disk: disk, s: &cuttable{Store: s, over: make(chan struct{})}, end: make(chan struct{})}
	m.b, err = warren.New(warren.Options{Store: m.s, QueueMemory: smallMemory})
	return m, err
}

func (m *machine) ready(context.Context) error { return nil }

func (m *machine) dial() (*amqp.Connection, error) {
	return amqp.DialConfig("amqp://guest:guest@inside/", amqp.Config{Dial: m.b.Dial, Heartbeat: time.Minute})
}

func (m *machine) ask(line string) (string, error) {
	if m.s.isCut() {
		return "", errCut
	}
	answer, err := administrate(m.b, strings.Fields(line))
	switch {
	case errors.Is(err, errCut), errors.Is(err, warren.ErrClosed): // it ends
		return "", err
	case err != nil:
		return "", &refusal{line + ": " + err.Error()}
	}
	return answer, nil
}

// kill stops the machine: what is on its disk now is all there will be.
func (m *machine) kill() {
	if m.s.isCut() {
		return
	}
	*m.disk = m.s.off(*m.disk)
	close(m.s.over)
	_ = m.b.Close() // which cannot do what it should
}

func (m *machine) quit() error {
	err := m.b.Shutdown(context.Background())
	*m.disk = m.s.off(*m.disk)
	close(m.s.over)
	return err
}

func (m *machine) ended() <-chan struct{} { return m.end }
func (m *machine) said() string           { return "" }

func TestWhatIsOnTheDiskIsEnough(t *testing.T) {
	t.Parallel()
	disk := memstore.NewDisk()
	last := ""
	c := Config{
		Dir: t.TempDir(), Seed: rand.Uint64N(1_000_000), Cycles: 20, Longest: 200 * time.Millisecond,
		start: func(dir string) (broker, error) {
			if dir != last {
				last, disk = dir, memstore.NewDisk()
			}
			return newMachine(&disk)
		},
	}
	c.lengthen(t)
	res, err := Run(t.Context(), c)
	require.NoError(t, err)
	if len(res.Violations) > 0 {
		t.Fatal(res)
	}
}
