// Package archtest holds the tests that keep the shape of the code: which
// package may import which. It has no code of its own.
package archtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/warrenmq/warren"

// mayImport is the import table: what each package may import of Warren, by
// pattern relative to the module ("." is the root; a * matches one element and
// a trailing /... any number of them). "Imports point downward only": a package
// stands below those that may import it. A package that is missing here fails
// the test, so that a new one gets a place when it is made.
//
// Small helpers in internal/pvec, internal/pmap and the like stand at the
// bottom, and need not be listed by those who use them: see utilities.
var mayImport = map[string][]string{
	"message": {},
	"reply":   {},
	"limiter": {},
	"confirm": {},

	"wire":  {"message", "reply"},
	"store": {"message", "reply"},
	"auth":  {"message", "reply"},

	"intercept":      {"message", "reply"},
	"store/msgstore": {"store", "message"},

	"policy":   {"message"},
	"exchange": {"message", "reply", "store", "limiter"},
	"queue":    {"message", "reply", "store", "limiter"},

	// No wire: the memory transport reaches a channel without frames.
	"channel":    {"exchange", "queue", "confirm", "limiter", "auth", "store", "message", "reply", "intercept"},
	"connection": {"channel", "intercept", "wire", "auth", "limiter", "queue", "message", "reply"},
	"transport":  {"channel", "intercept", "auth", "limiter", "queue", "message", "reply"},
	"amqp091":    {".", "transport", "channel", "message", "reply"},

	// The facade wires everything, but links neither a disk nor HTTP.
	".": {
		"transport", "connection", "channel", "intercept", "exchange", "queue", "confirm", "limiter",
		"auth", "policy", "wire", "store", "store/msgstore", "message", "reply",
	},

	// What stands beside or above the broker. Examples use it as anybody would;
	// the daemon also reads what belongs to users.
	"cmd/warren":              {".", "auth", "store/badgerstore"},
	"examples/*":              {"."},
	"queue/queuetest":         {"queue", "store", "message", "reply"},
	"store/badgerstore":       {"store"},
	"store/memstore":          {"store"},
	"store/storetest":         {"store"},
	"conformance":             {},
	"conformance/cmd/conform": {"conformance"},

	"internal/deadletter": {"message"},
	"wire/internal/...":   {},
	"internal/...":        {},

	// A test of the whole, as large as a program.
	"internal/crashtest":           {".", "auth", "queue", "store/badgerstore"},
	"internal/crashtest/cmd/crash": {},
}

// utilities stand at the bottom: everybody may import them.
const utilities = "internal/"

// pure packages decide and compute; only the packages around them talk to
// sockets and files.
var (
	pure         = []string{"message", "reply", "limiter", "confirm", "intercept", "exchange", "queue", "channel", "auth", "policy"}
	noneOfPure   = []string{"net/http", "os", "os/exec", "os/signal", "syscall"}
	testsOnly    = []string{"github.com/stretchr/testify", "go.uber.org/goleak"}
	amqp091      = "github.com/rabbitmq/amqp091-go"
	badger       = "github.com/dgraph-io/badger"
	badgerstore  = "store/badgerstore"
	examplesRoot = "examples/"
)

// pkg is what `go list -json` says about one package.
type pkg struct {
	ImportPath   string
	Name, Dir    string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// name gives the package's path inside the module, and "." for the root.
func (p pkg) name() string { return inModule(p.ImportPath) }

// inModule gives a path inside the module, or "" for a package of others.
func inModule(importPath string) string {
	if importPath == module {
		return "."
	}
	rel, ok := strings.CutPrefix(importPath, module+"/")
	if !ok {
		return ""
	}
	return rel
}

// listPackages gives all packages of the module as they are built with the
// tags.
func listPackages(t *testing.T, tags string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-tags", tags, "-json=ImportPath,Name,Dir,GoFiles,Imports,TestImports,XTestImports", module+"/...")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%s: %v\n%s", cmd, err, exit.Stderr)
	}
	require.NoError(t, err)
	var list []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return list
		}
		require.NoError(t, err)
		list = append(list, p)
	}
}

func TestImportsPointDownward(t *testing.T) {
	t.Parallel()
	for _, tags := range []string{"", "invariants"} {
		for _, p := range listPackages(t, tags) {
			for _, problem := range problems(p) {
				t.Errorf("%s (tags %q)", problem, tags)
			}
		}
	}
}

// A program that only tests with Warren must not carry badger along.
func TestTheBrokerDoesNotLinkBadger(t *testing.T) {
	t.Parallel()
	for _, name := range []string{module, module + "/amqp091", module + "/store", module + "/store/memstore"} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", name).Output()
		require.NoError(t, err)
		require.NotContains(t, string(out), badger, name)
	}
}

// problems gives the broken rules of one package, in words.
func problems(p pkg) []string {
	name := p.name()
	allowed, listed := lookup(name)
	if !listed {
		return []string{fmt.Sprintf("%s stands nowhere in the import table of internal/archtest: give it a place", name)}
	}
	var out []string
	for _, path := range p.Imports {
		if rel := inModule(path); rel != "" {
			if !strings.HasPrefix(rel, utilities) && !under(rel, name) && !matchesAny(allowed, rel) {
				out = append(out, fmt.Sprintf("%s imports %s; of Warren it may import only [%s] and %s",
					name, rel, strings.Join(allowed, " "), utilities))
			}
			continue
		}
		if why := foreign(name, path); why != "" {
			out = append(out, fmt.Sprintf("%s imports %s: %s", name, path, why))
		}
	}
	for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
		if rel := inModule(path); strings.HasPrefix(rel, "cmd/") {
			out = append(out, fmt.Sprintf("a test of %s imports %s: nothing imports commands", name, rel))
		}
	}
	return out
}

// foreign says what is wrong with importing a package of others, or "".
func foreign(name, importPath string) string {
	isOf := func(mod string) bool { return importPath == mod || strings.HasPrefix(importPath, mod+"/") }
	switch {
	case slices.ContainsFunc(testsOnly, isOf) && !strings.HasSuffix(name, "test"):
		return "it is for tests only"
	case isOf(amqp091) && name != "amqp091" && name != "internal/crashtest" && !strings.HasPrefix(name, examplesRoot):
		return "the official client is for package amqp091, tests and examples only"
	case isOf(badger) && name != badgerstore:
		return "only " + badgerstore + " may link badger"
	case slices.Contains(pure, name) && slices.Contains(noneOfPure, importPath):
		return "this package does no I/O"
	}
	return ""
}

// lookup finds a package's row in the table.
func lookup(name string) ([]string, bool) {
	if allowed, ok := mayImport[name]; ok {
		return allowed, true
	}
	for pattern, allowed := range mayImport {
		if matches(pattern, name) {
			return allowed, true
		}
	}
	return nil, false
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

func matches(pattern, name string) bool {
	if root, ok := strings.CutSuffix(pattern, "/..."); ok {
		return strings.HasPrefix(name, root+"/")
	}
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// under says whether rel is an internal package of the package name itself.
func under(rel, name string) bool { return strings.HasPrefix(rel, name+"/internal/") }

// What a program links that imports a package, its dependencies' own included. A
// broker in memory is the standard library and Warren.
func TestAProgramWithABrokerLinksNothingElse(t *testing.T) {
	t.Parallel()
	for root, want := range map[string][]string{
		module:              {module},
		module + "/amqp091": {module, amqp091},
	} {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", root)
		out, err := cmd.Output()
		require.NoError(t, err, cmd.String())
		modules := strings.Fields(string(out))
		slices.Sort(modules)
		slices.Sort(want)
		require.Equal(t, want, slices.Compact(modules), root)
	}
}

func TestABrokenRuleIsNamed(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]pkg{
		"channel imports wire; of Warren it may import only [exchange":        {ImportPath: module + "/channel", Imports: []string{module + "/wire"}},
		"message imports .; of Warren it may import only []":                  {ImportPath: module + "/message", Imports: []string{module}},
		"brandnew stands nowhere in the import table":                         {ImportPath: module + "/brandnew"},
		"it is for tests only":                                                {ImportPath: module + "/queue", Imports: []string{"github.com/stretchr/testify/require"}},
		"the official client is for package amqp091, tests and examples only": {ImportPath: module, Imports: []string{amqp091}},
		"only store/badgerstore may link badger":                              {ImportPath: module, Imports: []string{badger + "/v4"}},
		"queue imports os: this package does no I/O":                          {ImportPath: module + "/queue", Imports: []string{"os"}},
		"a test of queue imports cmd/warren: nothing imports commands":        {ImportPath: module + "/queue", XTestImports: []string{module + "/cmd/warren"}},
		"examples/lines imports queue; of Warren it may import only [.]":      {ImportPath: module + "/examples/lines", Imports: []string{module + "/queue"}},
		"internal/pmap imports message; of Warren it may import only [] ":     {ImportPath: module + "/internal/pmap", Imports: []string{module + "/message"}},
	} {
		got := problems(p)
		require.Len(t, got, 1, want)
		require.Contains(t, got[0], want)
	}
}

func TestWhatIsAllowedIsNotNamed(t *testing.T) {
	t.Parallel()
	for _, p := range []pkg{
		{ImportPath: module, Imports: []string{"net", module + "/transport", module + "/internal/pmap"}},
		{ImportPath: module + "/examples/lines", Imports: []string{module, amqp091}},
		{ImportPath: module + "/wire", Imports: []string{module + "/wire/internal/gen", module + "/reply"}},
		{ImportPath: module + "/queue", TestImports: []string{"os", "github.com/stretchr/testify/require"}},
	} {
		require.Empty(t, problems(p))
	}
}
