package exchange

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// diary is a Watcher that writes down what it hears.
type diary struct{ lines []string }

func (d *diary) ExchangeDeclared(x Spec) { d.lines = append(d.lines, "+"+x.Name) }
func (d *diary) ExchangeDeleted(x Spec)  { d.lines = append(d.lines, "-"+x.Name) }
func (d *diary) Bound(b Binding)         { d.lines = append(d.lines, "+"+b.Source+">"+b.Destination.Name) }
func (d *diary) Unbound(b Binding)       { d.lines = append(d.lines, "-"+b.Source+">"+b.Destination.Name) }

func (d *diary) QueueForgotten(queue *Destination) { d.lines = append(d.lines, "-queue "+queue.Name) }
func (d *diary) Changed()                          { d.lines = append(d.lines, ".") }

// read gives what was heard since the last time.
func (d *diary) read() []string {
	lines := d.lines
	d.lines = nil
	return lines
}

func TestAWatcherHearsOfEveryChangeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q", "r")
	w.declare(Spec{Name: "before", Type: "fanout"})
	d := &diary{}
	w.Watch(d)
	x := Spec{Name: "x", Type: "direct", AutoDelete: true}
	w.declare(x)
	w.declare(x)
	w.bind("x", "q", "k")
	w.bind("x", "q", "k")
	w.bindx("before", "x", "k")
	require.Equal(t, []string{"+x", ".", "+x>q", ".", "+before>x", "."}, d.read())

	_, err := w.UnbindQueue("x", "r", "k", nil, nil)
	require.NoError(t, err)
	_, err = w.UnbindQueue("before", "q", "k", nil, nil)
	require.NoError(t, err)
	require.Empty(t, d.read())
	_, err = w.UnbindQueue("x", "q", "k", nil, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"-x>q", "-before>x", "-x", "."}, d.read(), "what goes with something goes before it")

	w.bind("before", "q", "k")
	w.bind("before", "r", "k")
	gone := w.queues["q"]
	delete(w.queues, "q")
	w.Forget(gone)
	require.Equal(t, []string{"+before>q", ".", "+before>r", ".", "-before>q", "-queue q", "."}, d.read())
	_, err = w.Delete("before", true)
	require.Error(t, err)
	_, err = w.Delete("none", false)
	require.NoError(t, err)
	require.Empty(t, d.read())
	_, err = w.Delete("before", false)
	require.NoError(t, err)
	require.Equal(t, []string{"-before>r", "-before", "."}, d.read())
}

func TestAWatcherHearsTheLastOfARetiredTopology(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "q")
	d := &diary{}
	w.Watch(d)
	w.bind("amq.direct", "q", "k")
	d.read()
	w.Retire()
	lines := d.read()
	require.Equal(t, "-amq.direct>q", lines[0])
	require.ElementsMatch(t, []string{
		"-", "-amq.direct", "-amq.fanout", "-amq.headers", "-amq.match", "-amq.rabbitmq.trace", "-amq.topic",
	}, lines[1:len(lines)-1])
	require.Equal(t, ".", lines[len(lines)-1])
	w.declare(Spec{Name: "late", Type: "fanout"})
	w.Retire()
	require.Empty(t, d.read())
	require.True(t, w.exists("late"), "its last clients may still use it")
}
