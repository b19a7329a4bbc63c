package crashtest

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

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

// lengthVariable is the environment variable that says for how long brokers are
// killed, for instance 1m.
const lengthVariable = "WARREN_CRASH_FOR"

// lengthen has the run take as long as the environment says.
func (c *Config) lengthen(t *testing.T) {
	if s := os.Getenv(lengthVariable); s != "" {
		length, err := time.ParseDuration(s)
		require.NoError(t, err, lengthVariable)
		c.Cycles, c.For = 0, length
	}
}

func TestNothingConfirmedIsLost(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts and kills some processes")
	}
	c := Config{Dir: t.TempDir(), Seed: rand.Uint64N(1_000_000), Cycles: 4, Broker: Self, Log: t.Logf}
	c.lengthen(t)
	res, err := Run(t.Context(), c)
	require.NoError(t, err, "%v", res)
	if len(res.Violations) > 0 {
		t.Fatal(res)
	}
	t.Log(res)
}
