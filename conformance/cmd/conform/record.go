package main

import (
	"fmt"
	"sync"

	"github.com/warrenmq/warren/conformance"
)

// record plays the scenarios several times, and keeps those transcripts in
// which all plays agree and no step waited in vain.
func (a *app) record() (int, error) {
	list, err := a.load()
	if err != nil {
		return exitUsage, err
	}
	r, err := a.runner()
	if err != nil {
		return exitUsage, err
	}
	var mu sync.Mutex
	first := map[string]conformance.Transcript{}
	bad := map[string]string{}
	for range max(1, a.repeat) {
		conformance.PlayAll(list, a.jobs, func(s *conformance.Scenario) {
			t, why := a.play(r, s)
			mu.Lock()
			defer mu.Unlock()
			switch before, again := first[s.Name]; {
			case bad[s.Name] != "":
			case why != "":
				bad[s.Name] = why
			case !again:
				first[s.Name] = t
			default:
				if v, diff := conformance.Compare(before, t); v != conformance.Pass {
					bad[s.Name] = "not the same on each play:\n" + diff
				}
			}
		})
	}
	for _, s := range list {
		if why := bad[s.Name]; why != "" {
			fmt.Fprintf(a.out, "NOT KEPT %s: %s\n", s.Name, why)
			continue
		}
		if err := conformance.Corpus(a.corpus).WriteGolden(s, first[s.Name]); err != nil {
			return exitUsage, err
		}
	}
	fmt.Fprintf(a.out, "%d of %d recorded in %s\n", len(list)-len(bad), len(list), a.corpus)
	if len(bad) > 0 {
		return exitBad, nil
	}
	return exitOK, nil
}

// play gives a transcript, or why there is none to keep.
func (a *app) play(r *conformance.Runner, s *conformance.Scenario) (conformance.Transcript, string) {
	if need := a.skipped(s); need != "" {
		return nil, "skipped: needs " + need
	}
	t, err := r.Play(s)
	if err != nil {
		return nil, err.Error()
	}
	if t.TimedOut() {
		return nil, "a step waited in vain:\n" + t.String()
	}
	return t, ""
}
