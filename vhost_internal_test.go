package warren

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/store"
)

// brokenLog is a log that cannot be recovered.
type brokenLog struct{ store.Log }

var errBroken = errors.New("broken")

func (brokenLog) Recover(_ func([]store.Entry), done func(error)) { done(errBroken) }

// A queue that ends before its name is taken, as x-expires is over or its log cannot
// be read, must not keep the name: nobody would ever take it away.
func TestAQueueThatEndsWhileItIsDeclared(t *testing.T) {
	t.Parallel()
	b, err := New(Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	v, err := b.vhostNamed("/")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		log store.Log
		end func(h *queue.Host)
		err error
	}{
		"it expires": {nil, func(h *queue.Host) { require.NoError(t, h.Delete(false, false, func(int) {})) }, nil},
		"it fails":   {brokenLog{}, func(*queue.Host) {}, errBroken},
	} {
		s := queue.Spec{Name: "q", VHost: "/", Type: "classic"}
		env, log := v.hostEnv(s, 0)
		env.Log = c.log
		gone, forget := make(chan struct{}), env.Gone
		env.Gone = func(h *queue.Host, err error) {
			forget(h, err)
			close(gone)
		}
		h, err := queue.NewHost(queue.Classic(), s, env)
		require.NoError(t, err, name)
		c.end(h)
		<-gone
		_, err = v.add(h, log, v.policies.Load())
		require.ErrorIs(t, err, c.err, name)
		_, there := v.Queue("q")
		require.False(t, there, name)
		_, created, err := v.DeclareQueue(s)
		require.NoError(t, err, name)
		require.True(t, created, name)
		require.NoError(t, v.destination("q").Target.(*queue.Host).Delete(false, false, func(int) {}))
	}
}
