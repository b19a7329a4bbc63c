package conformance_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/conformance"
	"github.com/warrenmq/warren/store/badgerstore"
)

// TestADiskChangesNoAnswer plays the scenarios with all queues made durable, none
// of them exclusive, and all messages persistent, against a broker in memory and
// one on a disk. There is no RabbitMQ's transcript of that; both must answer alike.
// As they are written, few of the scenarios reach the disk.
func TestADiskChangesNoAnswer(t *testing.T) {
	t.Parallel()
	disk, err := badgerstore.Open(t.TempDir(), badgerstore.Options{})
	require.NoError(t, err)
	onDisk := startDurable(t, warren.Options{Store: disk})
	inMemory := startDurable(t, warren.Options{})

	list, err := conformance.Corpus("testdata").Scenarios(nil)
	require.NoError(t, err)
	played := 0
	for _, s := range list {
		durable := madeDurable(t, s)
		if durable == nil {
			continue
		}
		played++
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			unsupported := false // pending.txt says what it needs
			verdict, detail := judge(t, durable, func() (want, got conformance.Transcript, err error) {
				var wantErr error
				var memory sync.WaitGroup
				memory.Go(func() { want, wantErr = inMemory.Play(durable) })
				got, err = onDisk.Play(durable)
				memory.Wait()
				unsupported = errors.Is(wantErr, errors.ErrUnsupported)
				return want, got, errors.Join(wantErr, err)
			})
			if unsupported {
				return
			}
			require.Equal(t, conformance.Pass, verdict, "- in memory, + on a disk\n%s", detail)
		})
	}
	require.Greater(t, played, 200)
}

// startDurable gives a runner against a broker of its own.
func startDurable(t *testing.T, o warren.Options) *conformance.Runner {
	t.Helper()
	broker, addr := startBroker(t, o)
	t.Cleanup(func() { require.NoError(t, broker.Health()) })
	return &conformance.Runner{
		Target: conformance.Target{Addr: addr, User: "guest", Password: "guest", VHost: "/"},
		Admin:  admin{broker},
	}
}

// severalQueues knows the queues that each channel of a scenario consumes from.
type severalQueues map[string][]string

// expected takes a step, and reports whether it expects what may come from several
// queues in their order.
func (s severalQueues) expected(step []string) bool {
	if i := slices.Index(step, "basic.consume"); i > 0 {
		q := slices.IndexFunc(step, func(w string) bool { return strings.HasPrefix(w, "q=") })
		if q > 0 && !slices.Contains(s[step[i-1]], step[q]) {
			s[step[i-1]] = append(s[step[i-1]], step[q])
		}
		return false
	}
	return len(step) > 2 && step[1] == "expect" && len(s[step[0]]) > 1 && !slices.Contains(step, "sort")
}

// madeDurable gives the scenario with durable queues and persistent messages, or
// nil if it publishes nothing to a queue of its own, or cannot be played beside
// others. It compares what a channel gets from several queues in one step without its
// order: a queue that the store tells of a commit at that moment comes later.
func madeDurable(t *testing.T, s *conformance.Scenario) *conformance.Scenario {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", "scenarios", filepath.FromSlash(s.Name)+".scn"))
	require.NoError(t, err)
	lines := strings.Split(string(src), "\n")
	declares, publishes := false, false
	several := severalQueues{}
	for i, line := range lines {
		words := strings.Fields(line)
		switch {
		case several.expected(words):
			lines[i] += " sort anytag"
		case slices.Contains(words, "passive"):
		case slices.Contains(words, "queue.declare") || slices.Contains(words, "!queue.declare"):
			declares = true
			lines[i] = strings.ReplaceAll(line, " exclusive", "")
			if !slices.Contains(words, "durable") {
				lines[i] += " durable"
			}
		case slices.Contains(words, "publish"):
			publishes = true
			if !strings.Contains(line, "delivery-mode=") && !slices.Contains(words, "persistent") {
				lines[i] += " persistent"
			}
		}
	}
	if !declares || !publishes || s.Serial {
		return nil
	}
	durable, err := conformance.ParseScenario(s.Name, []byte(strings.Join(lines, "\n")))
	require.NoError(t, err)
	return durable
}
