// Command crash kills a broker again and again, and checks that it kept its word.
//
//	go run ./internal/crashtest/cmd/crash -for 1h
//	go run ./internal/crashtest/cmd/crash -cycles 500 -dir /var/tmp/crash -seed 7
//
// Its exit status is 0 if all was well, 1 for a violation, which is printed with
// its history, and 2 if the test could not be run. The data directory of a
// violation stays.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"time"

	"github.com/warrenmq/warren/internal/crashtest"
)

func main() {
	crashtest.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx))
}

func run(ctx context.Context) int {
	cycles := flag.Int("cycles", 0, "end after `N` crashes (default no limit)")
	length := flag.Duration("for", 0, "end after this `TIME` (default no limit)")
	longest := flag.Duration("longest", 1500*time.Millisecond, "kill after this `TIME` at the latest")
	dir := flag.String("dir", "", "keep the brokers' data in `DIR` (default a temporary one)")
	seed := flag.Uint64("seed", 0, "make choices from `SEED` (default a random one)")
	flag.Parse()
	if *seed == 0 {
		*seed = rand.Uint64N(1_000_000)
	}
	own := *dir == ""
	if own {
		var err error
		if *dir, err = os.MkdirTemp("", "warren-crash-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
	}
	fmt.Printf("seed %d, data in %s\n", *seed, *dir)
	began := time.Now()
	res, err := crashtest.Run(ctx, crashtest.Config{
		Dir: *dir, Seed: *seed, Cycles: *cycles, For: *length, Longest: *longest, Broker: crashtest.Self,
		Log: func(format string, args ...any) {
			fmt.Printf("%7.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
		},
	})
	fmt.Print(res)
	switch {
	case err != nil && ctx.Err() == nil:
		fmt.Fprintln(os.Stderr, err)
		return 2
	case len(res.Violations) > 0:
		return 1
	}
	if own {
		if err := os.RemoveAll(*dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return 0
}
