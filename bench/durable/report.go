//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// The names of the ways; the ratios are made of them.
const (
	wayAppend = "append"
	wayPacked = "badger-packed"
	wayKeys   = "badger-keys"
	wayTrip   = "round-trip"
	wayServed = "badger-served"
	wayStore  = "store"
	wayNative = "native"
	wayBatch  = "native-batch"
	wayTCP    = "warren-tcp"
	wayRabbit = "rabbitmq"
)

// target is a ratio of rates that is to be reached at a window.
type target struct {
	of, to string
	window int // 0 for any
	least  float64
}

var targets = []target{
	{wayStore, wayPacked, 1000, 0.8},
	{wayNative, wayPacked, 1000, 0.5},
	{wayBatch, wayPacked, 1000, 0.5},
	{wayTCP, wayPacked, 1000, 0.5},
	{wayStore, wayKeys, 1000, 2},
	{wayTCP, wayKeys, 1000, 2},
	{wayTCP, wayRabbit, 1000, 10},
}

// mostAtOne is how many times as long as a commit of badger's and a round trip a
// publish may take at window 1.
const mostAtOne = 1.3

// report prints the medians of a shape and the ratios between them. A ratio is the
// median of the rounds' ratios.
func report(w io.Writer, s shape, ways []way, samples map[string][]sample) {
	fmt.Fprintf(w, "\n%s\n", s)
	for _, way := range ways {
		got := samples[way.name]
		if len(got) == 0 {
			continue
		}
		rates := medianOf(got, func(x sample) float64 { return x.rate })
		cpu := medianOf(got, func(x sample) float64 { return float64(x.cpu) / float64(time.Microsecond) })
		fmt.Fprintf(w, "  %-14s %9.0f msg/s  %8.2f µs CPU  %9s each", way.name, rates, cpu,
			time.Duration(float64(s.publishers)*1e9/rates).Round(10*time.Nanosecond))
		for _, base := range []string{wayAppend, wayPacked, wayKeys, wayRabbit} {
			if x, ok := ratio(samples[way.name], samples[base]); ok && base != way.name {
				fmt.Fprintf(w, "  %6.2f × %s", x, base)
			}
		}
		fmt.Fprintln(w)
	}
	for _, t := range targets {
		if x, ok := ratio(samples[t.of], samples[t.to]); ok && s.window == t.window && s.publishers == 1 {
			fmt.Fprintf(w, "  %s: %s is %.2f × %s, target %.1f\n", verdict(x >= t.least), t.of, x, t.to, t.least)
		}
	}
	for _, way := range []string{wayNative, wayTCP} {
		if x, ok := atOne(samples[way], samples[wayPacked], samples[wayTrip]); ok && s.group() == 1 {
			fmt.Fprintf(w, "  %s: %s takes %.2f × a commit and a round trip, target %.1f\n",
				verdict(x <= mostAtOne), way, x, mostAtOne)
		}
		if x, ok := ratio(samples[wayServed], samples[way]); ok && s.group() == 1 {
			fmt.Fprintf(w, "  %s: %s takes %.2f × a commit behind a round trip, target %.1f\n",
				verdict(x <= mostAtOne), way, x, mostAtOne)
		}
	}
}

func verdict(reached bool) string {
	if reached {
		return "reached"
	}
	return strings.ToUpper("missed")
}

// ratio is how many times the rate of b a has.
func ratio(a, b []sample) (float64, bool) {
	n := min(len(a), len(b))
	if n == 0 {
		return 0, false
	}
	all := make([]float64, n)
	for i := range n {
		all[i] = a[i].rate / b[i].rate
	}
	return median(all), true
}

// atOne is how many times as long as a commit and a round trip together one
// publish takes.
func atOne(publish, commit, trip []sample) (float64, bool) {
	n := min(len(publish), len(commit), len(trip))
	if n == 0 {
		return 0, false
	}
	all := make([]float64, n)
	for i := range n {
		all[i] = 1 / publish[i].rate / (1/commit[i].rate + 1/trip[i].rate)
	}
	return median(all), true
}

func medianOf(samples []sample, f func(sample) float64) float64 {
	all := make([]float64, len(samples))
	for i, s := range samples {
		all[i] = f(s)
	}
	return median(all)
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.SortFunc(all, cmp.Compare)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}
