package gate_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/warrenmq/warren/internal/gate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAnEmptyGateShutsAtOnce(t *testing.T) {
	t.Parallel()
	var g gate.Gate
	require.True(t, g.Enter())
	g.Leave()
	require.True(t, g.Shut())
	require.False(t, g.Enter())
	require.False(t, g.Shut())
}

func TestShutWaitsForThoseInside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g gate.Gate
		require.True(t, g.Enter())
		require.True(t, g.Enter())
		done := false
		go func() { done = g.Shut() }()
		synctest.Wait()
		require.False(t, g.Enter(), "the gate is being shut")
		g.Leave()
		synctest.Wait()
		require.False(t, done, "somebody is inside")
		g.Leave()
		synctest.Wait()
		require.True(t, done)
	})
}
