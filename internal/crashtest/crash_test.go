package crashtest

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestABrokerThatForgetsIsFound(t *testing.T) {
	t.Parallel()
	res, err := Run(t.Context(), Config{
		Dir: t.TempDir(), Seed: 1, Cycles: 3,
		Broker: func(string) *exec.Cmd { return Self("") }, // in memory
	})
	require.NoError(t, err)
	require.NotEmpty(t, res.Violations)
	for _, v := range res.Violations {
		lost := strings.Contains(v.What, "is gone") || strings.Contains(v.What, "not those that were confirmed") || strings.Contains(v.What, "after a restart")
		require.True(t, lost, v.What)
	}
}
