package conformance_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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
				if ofSeveralQueues(durable) {
					want, got = byConsumer(want), byConsumer(got)
				}
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

// byConsumer puts the deliveries of each step into the order of their consumers, without
// their tags: between two queues there is no order on a disk, as one that the store tells
// of a commit at that moment comes later. That of each consumer stays.
func byConsumer(tr conformance.Transcript) (sorted conformance.Transcript) {
	for i := 0; i < len(tr); {
		var deliveries []conformance.Transcript // with their contents
		for ; i < len(tr) && strings.Contains(tr[i], " basic.deliver "); i++ {
			d := conformance.Transcript{deliveryTag.ReplaceAllString(tr[i], "")}
			for ; i+1 < len(tr) && strings.HasPrefix(tr[i+1], "    "); i++ {
				d = append(d, tr[i+1])
			}
			deliveries = append(deliveries, d)
		}
		if len(deliveries) == 0 {
			sorted = append(sorted, tr[i])
			i++
			continue
		}
		slices.SortStableFunc(deliveries, func(a, b conformance.Transcript) int {
			of, _, _ := strings.Cut(a[0], " redelivered=")
			other, _, _ := strings.Cut(b[0], " redelivered=")
			return strings.Compare(of, other)
		})
		sorted = append(sorted, slices.Concat(deliveries...)...)
	}
	return sorted
}

var deliveryTag = regexp.MustCompile(` delivery-tag=\d+`)

func TestByConsumerKeepsTheOrderOfEach(t *testing.T) {
	t.Parallel()
	step := func(tags ...string) (tr conformance.Transcript) {
		tr = conformance.Transcript{"> c.1 expect n=3"}
		for i, tag := range tags {
			consumer, body, _ := strings.Cut(tag, "/")
			tr = append(tr, fmt.Sprintf("< c.1 basic.deliver consumer-tag=%s delivery-tag=%d redelivered=%v", consumer, i+1, body == "1"),
				"    content: {} "+body)
		}
		return append(tr, "> c.1 quiet")
	}
	want := byConsumer(step("a/1", "b/1", "a/2"))
	require.Equal(t, want, byConsumer(step("b/1", "a/1", "a/2")))
	require.NotEqual(t, want, byConsumer(step("a/2", "b/1", "a/1")))
}

// ofSeveralQueues reports whether a channel of the scenario consumes from several queues.
func ofSeveralQueues(s *conformance.Scenario) bool {
	queues := map[string]string{}
	for _, step := range s.Steps() {
		words := strings.Fields(step)
		if len(words) < 3 || words[1] != "basic.consume" {
			continue
		}
		if q, ok := queues[words[0]]; ok && q != words[2] {
			return true
		}
		queues[words[0]] = words[2]
	}
	return false
}

// madeDurable gives the scenario with durable queues and persistent messages, or
// nil if it publishes nothing to a queue of its own, or cannot be played beside
// others.
func madeDurable(t *testing.T, s *conformance.Scenario) *conformance.Scenario {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", "scenarios", filepath.FromSlash(s.Name)+".scn"))
	require.NoError(t, err)
	lines := strings.Split(string(src), "\n")
	declares, publishes := false, false
	for i, line := range lines {
		words := strings.Fields(line)
		switch {
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
