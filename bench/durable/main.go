//go:build linux

// Command durable measures durable publishes with confirms, at the store's own level
// and through the broker, beside what they are made of: an append with fdatasync,
// badger alone, a round trip over TCP, and beside a RabbitMQ. All ways take turns, so
// that the ratios it prints come from one run; absolute figures move with the
// machine and its disk.
//
//	cd bench && go run ./durable                 what needs nothing but this machine
//	.ci/durable-peers                            with cmd/warren and RabbitMQ over TCP
//
// It writes where os.MkdirTemp does; with TMPDIR it can be another disk.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"
)

// shape is one kind of load: publishers who each keep window messages of size octets
// unconfirmed.
type shape struct{ size, window, publishers int }

// group is how many messages wait to be confirmed together.
func (s shape) group() int { return s.window * s.publishers }

func (s shape) String() string {
	return fmt.Sprintf("%d B, window %d × %d", s.size, s.window, s.publishers)
}

var shapes = []shape{
	{256, 1, 1}, {256, 1, 16}, {256, 100, 1}, {256, 1000, 1}, {256, 100, 4},
	{1024, 1, 1}, {1024, 1, 16}, {1024, 100, 1}, {1024, 1000, 1}, {1024, 100, 4},
}

// sample is what one turn gave: messages a second, and processor time for each.
type sample struct {
	rate float64
	cpu  time.Duration
}

// way is one way to make messages durable. It works in a directory of its own for
// about as long as it is told.
type way struct {
	name string
	run  func(dir string, s shape, d time.Duration) (sample, error)
}

func main() {
	rounds := flag.Int("rounds", 3, "turns of each way; the median counts")
	turn := flag.Duration("time", time.Second, "length of a turn")
	only := flag.String("only", "", "measure only the ways named, by commas")
	size := flag.Int("size", 0, "measure only this size of messages")
	window := flag.Int("window", 0, "measure only this window")
	var t tools
	flag.StringVar(&t.amqpload, "amqpload", "", "the `PROGRAM` for load over TCP; without it there is none")
	flag.StringVar(&t.warren, "warren", "", "the `PROGRAM` cmd/warren")
	flag.StringVar(&t.rabbit, "rabbit", "", "the `URI` of a RabbitMQ")
	flag.IntVar(&t.rabbitPID, "rabbit-pid", 0, "RabbitMQ's process")
	profile := flag.String("cpuprofile", "", "write a profile of this process to a `FILE`")
	answering := flag.Int("answer", 0, "answer messages of so many octets; what round-trip starts")
	from := flag.String("answer-from", "", "commit them to a badger in this `DIRECTORY` first; what badger-served starts")
	flag.Parse()

	if *answering > 0 {
		if err := answer(*answering, *from); err != nil {
			fail(err)
		}
		return
	}
	if *profile != "" {
		end, err := profileTo(*profile)
		if err != nil {
			fail(err)
		}
		defer end()
	}
	ways := slices.Concat(rawWays, brokerWays, t.ways())
	ways = slices.DeleteFunc(ways, func(w way) bool {
		return *only != "" && !slices.Contains(strings.Split(*only, ","), w.name)
	})
	for _, s := range shapes {
		if *size != 0 && s.size != *size || *window != 0 && s.window != *window {
			continue
		}
		if err := measure(s, ways, *rounds, *turn); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "durable:", err)
	os.Exit(1)
}

// profileTo profiles the processor time until the function it gives is called.
func profileTo(file string) (end func(), err error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		if err := f.Close(); err != nil {
			fail(err)
		}
	}, nil
}

// measure lets all ways take turns, and prints what came of it.
func measure(s shape, ways []way, rounds int, turn time.Duration) error {
	samples := map[string][]sample{}
	for range rounds {
		for _, w := range ways {
			if w.name == wayServed && s.group() > 1 {
				continue
			}
			got, err := inDir(func(dir string) (sample, error) { return w.run(dir, s, turn) })
			if err != nil {
				return fmt.Errorf("%s: %s: %w", s, w.name, err)
			}
			samples[w.name] = append(samples[w.name], got)
		}
	}
	report(os.Stdout, s, ways, samples)
	return nil
}

func inDir(f func(dir string) (sample, error)) (_ sample, err error) {
	dir, err := os.MkdirTemp("", "warren-durable-")
	if err != nil {
		return sample{}, err
	}
	defer func() { err = cmp.Or(err, os.RemoveAll(dir)) }()
	return f(filepath.Join(dir, "data"))
}

// timed calls f, which handles some messages and tells how many, until d is over.
func timed(d time.Duration, f func() (int, error)) (sample, error) {
	n, begin, used := 0, time.Now(), processorTime()
	for time.Since(begin) < d {
		some, err := f()
		if err != nil {
			return sample{}, err
		}
		n += some
	}
	return sampleOf(n, begin, used), nil
}

// sampleOf is the sample of n messages since begin, when the process had used so
// much processor time.
func sampleOf(n int, begin time.Time, used time.Duration) sample {
	return sample{
		rate: float64(n) / time.Since(begin).Seconds(),
		cpu:  (processorTime() - used) / time.Duration(max(n, 1)),
	}
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
