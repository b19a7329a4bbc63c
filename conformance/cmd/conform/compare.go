package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/warrenmq/warren/conformance"
)

// result is what became of one scenario.
type result struct {
	scenario *conformance.Scenario
	verdict  conformance.Verdict
	detail   string
	took     time.Duration
}

// compare plays the scenarios and prints what differs.
func (a *app) compare() (int, error) {
	list, err := a.load()
	if err != nil {
		return exitUsage, err
	}
	r, err := a.runner()
	if err != nil {
		return exitUsage, err
	}
	var mu sync.Mutex
	var results []result
	var firstErr error
	start := time.Now()
	conformance.PlayAll(list, a.jobs, func(s *conformance.Scenario) {
		res, err := a.compareOne(r, s)
		mu.Lock()
		defer mu.Unlock()
		if err != nil && firstErr == nil {
			firstErr = err
		}
		a.print(res)
		results = append(results, res)
	})
	if firstErr != nil {
		return exitUsage, firstErr
	}
	return a.summary(results, time.Since(start)), nil
}

// compareOne plays one scenario; an error means that its transcript could not
// be kept.
func (a *app) compareOne(r *conformance.Runner, s *conformance.Scenario) (result, error) {
	res := result{scenario: s, verdict: conformance.Skip}
	if need := a.skipped(s); need != "" {
		res.detail = "needs " + need
		return res, nil
	}
	want, err := conformance.Corpus(a.corpus).Golden(s)
	if err != nil {
		res.detail = "no transcript"
		return res, nil
	}
	start := time.Now()
	got, err := r.Play(s)
	res.took = time.Since(start)
	if err != nil {
		res.verdict, res.detail = conformance.Fail, err.Error()
	} else {
		var ignored []string
		if a.ignore != "" {
			ignored = strings.Split(a.ignore, ",")
		}
		res.verdict, res.detail = conformance.Compare(want.Blank(ignored...), got.Blank(ignored...))
	}
	if a.transcripts == "" {
		return res, nil
	}
	return res, conformance.WriteTranscript(a.transcripts, s, got)
}

// print shows one result that is not a plain pass.
func (a *app) print(r result) {
	if r.verdict == conformance.Pass && !a.showsPassed {
		return
	}
	fmt.Fprintf(a.out, "%-4s %s (%.1fs)\n", r.verdict, r.scenario.Name, r.took.Seconds())
	if a.quiet {
		return
	}
	if r.verdict == conformance.Text || r.verdict == conformance.Fail {
		for _, note := range r.scenario.Notes {
			fmt.Fprintln(a.out, "     note:", note)
		}
	}
	if r.detail != "" {
		fmt.Fprintf(a.out, "     %s\n", strings.ReplaceAll(strings.TrimSuffix(r.detail, "\n"), "\n", "\n     "))
	}
}

// summary prints a table by area and gives the exit status.
func (a *app) summary(results []result, took time.Duration) int {
	areas := map[string]map[conformance.Verdict]int{"total": {}}
	var names []string
	for _, r := range results {
		area := r.scenario.Area()
		if areas[area] == nil {
			areas[area] = map[conformance.Verdict]int{}
			names = append(names, area)
		}
		areas[area][r.verdict]++
		areas["total"][r.verdict]++
	}
	slices.Sort(names)
	verdicts := []conformance.Verdict{conformance.Pass, conformance.Text, conformance.Fail, conformance.Skip}
	fmt.Fprintf(a.out, "\n%-22s %5s", "area", "all")
	for _, v := range verdicts {
		fmt.Fprintf(a.out, " %5s", v)
	}
	fmt.Fprintln(a.out)
	for _, name := range append(names, "total") {
		all := 0
		for _, n := range areas[name] {
			all += n
		}
		fmt.Fprintf(a.out, "%-22s %5d", name, all)
		for _, v := range verdicts {
			fmt.Fprintf(a.out, " %5d", areas[name][v])
		}
		fmt.Fprintln(a.out)
	}
	total := areas["total"]
	played := len(results) - total[conformance.Skip]
	if played > 0 {
		alike := total[conformance.Pass] + total[conformance.Text]
		fmt.Fprintf(a.out, "%.1f%% alike (%.1f%% with texts) of %d played, %.1fs\n",
			100*float64(alike)/float64(played), 100*float64(total[conformance.Pass])/float64(played), played, took.Seconds())
	}
	if total[conformance.Fail] > 0 || a.strict && total[conformance.Text] > 0 {
		return exitBad
	}
	return exitOK
}
