// Conform plays the conformance scenarios against any AMQP 0-9-1 broker. It
// compares what comes back with what RabbitMQ 3.10.8 answered, or records new
// transcripts from a real RabbitMQ.
//
//	conform compare -uri amqp://guest:guest@127.0.0.1:5672
//	conform record  -uri amqp://guest:guest@127.0.0.1:5673 -mgmt http://guest:guest@127.0.0.1:15673 -run AREA/NAME
//	conform check
//
// The exit status is 0 if all is well, 1 if a scenario failed (or was not
// recorded, or has no fitting transcript), and 2 on a mistake of usage.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/warrenmq/warren/conformance"
)

const usage = `usage: conform compare|record|check [flags]

  compare   play scenarios and compare with the transcripts
  record    play scenarios against a real RabbitMQ and write the transcripts
  check     read all scenarios, and look for their transcripts

flags:
`

// exit statuses
const (
	exitOK    = 0
	exitBad   = 1
	exitUsage = 2
)

// app is one call of the command.
type app struct {
	out io.Writer

	uri, mgmt, corpus, run     string
	transcripts, skip, ignore  string
	jobs, repeat               int
	timeout                    time.Duration
	strict, quiet, showsPassed bool
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main with its surroundings as arguments.
func run(args []string, stdout, stderr io.Writer) int {
	a := &app{out: stdout}
	fs := flag.NewFlagSet("conform", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, usage)
		fs.PrintDefaults()
	}
	fs.StringVar(&a.uri, "uri", "amqp://guest:guest@127.0.0.1:5672/", "broker to play against")
	fs.StringVar(&a.mgmt, "mgmt", "", "management API for set-up steps, such as http://guest:guest@127.0.0.1:15672; without it scenarios that need set-up are skipped")
	fs.StringVar(&a.corpus, "corpus", "conformance/testdata", "folder with scenarios/ and golden/")
	fs.StringVar(&a.run, "run", "", "regular expression over AREA/NAME")
	fs.StringVar(&a.transcripts, "out", "", "compare: keep the transcripts got in this folder")
	fs.StringVar(&a.skip, "skip", "", "comma-separated needs to skip, such as stream,quorum,consistent-hash,random,setup")
	fs.StringVar(&a.ignore, "ignore", "", "compare: comma-separated fields that do not count, such as message-count")
	fs.IntVar(&a.jobs, "j", conformance.DefaultJobs, "scenarios at a time")
	fs.IntVar(&a.repeat, "n", 3, "record: plays that must agree")
	fs.DurationVar(&a.timeout, "timeout", conformance.DefaultTimeout, "per step, not below 4s")
	fs.BoolVar(&a.strict, "strict-text", false, "compare: a differing reply text fails")
	fs.BoolVar(&a.quiet, "q", false, "compare: no diffs")
	fs.BoolVar(&a.showsPassed, "v", false, "compare: name scenarios that pass, too")

	commands := map[string]func() (int, error){
		"compare": a.compare, "record": a.record, "check": a.check,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		fs.Usage()
		return exitUsage
	}
	if err := fs.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "conform: unknown argument %q\n", fs.Arg(0))
		return exitUsage
	}
	code, err := commands[args[0]]()
	if err != nil {
		fmt.Fprintln(stderr, "conform:", err)
		return exitUsage
	}
	return code
}

// load reads the scenarios that are asked for.
func (a *app) load() ([]*conformance.Scenario, error) {
	match, err := regexp.Compile(a.run)
	if err != nil {
		return nil, err
	}
	list, err := conformance.Corpus(a.corpus).Scenarios(match)
	if err == nil && len(list) == 0 {
		err = errors.New("no scenarios")
	}
	return list, err
}

// runner makes the runner for the broker that is asked for.
func (a *app) runner() (*conformance.Runner, error) {
	target, err := conformance.ParseTarget(a.uri)
	if err != nil {
		return nil, err
	}
	r := &conformance.Runner{Target: target, Timeout: a.timeout}
	if a.mgmt != "" {
		if r.Admin, err = conformance.NewManagementAPI(a.mgmt); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// skipped gives the need that keeps a scenario from being played, or "".
func (a *app) skipped(s *conformance.Scenario) string {
	for _, need := range s.Needs {
		if need == "setup" && a.mgmt == "" || slices.Contains(strings.Split(a.skip, ","), need) {
			return need
		}
	}
	return ""
}

// check names the scenarios whose transcript is missing or out of date.
func (a *app) check() (int, error) {
	match, err := regexp.Compile(a.run)
	if err != nil {
		return exitUsage, err
	}
	all, stale, err := conformance.Corpus(a.corpus).Check(match)
	if err != nil {
		return exitUsage, err
	}
	for _, name := range stale {
		fmt.Fprintln(a.out, "no fitting transcript, record it:", name)
	}
	fmt.Fprintf(a.out, "%d scenarios, %d without a fitting transcript\n", all, len(stale))
	if len(stale) > 0 {
		return exitBad, nil
	}
	return exitOK, nil
}
