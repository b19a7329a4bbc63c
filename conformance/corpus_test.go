package conformance

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain lets four times as many scenarios be played at a time as the command
// does, unless the command line says otherwise: they mostly wait, and there are
// several brokers.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", strconv.Itoa(4*DefaultJobs)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

const corpus = Corpus("testdata")

func TestEveryScenarioHasItsTranscript(t *testing.T) {
	t.Parallel()
	all, stale, err := corpus.Check(nil)
	require.NoError(t, err)
	require.Positive(t, all)
	require.Empty(t, stale, "record them again with conformance/cmd/conform")
}

func TestNoScenarioStandsThereTwice(t *testing.T) {
	t.Parallel()
	list, err := corpus.Scenarios(nil)
	require.NoError(t, err)
	seen := map[string]string{}
	for _, s := range list {
		script := strings.Join(s.Steps(), "\n")
		require.Empty(t, seen[script], "%s is another one again", s.Name)
		seen[script] = s.Name
	}
}

func TestPendingScenariosExist(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("pending.txt")
	require.NoError(t, err)
	pending, err := ParsePending(src)
	require.NoError(t, err)
	list, err := corpus.Scenarios(nil)
	require.NoError(t, err)
	for _, s := range list {
		delete(pending, s.Name)
	}
	require.Empty(t, pending, "names in pending.txt that are no scenarios")
}
