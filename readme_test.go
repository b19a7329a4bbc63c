package warren_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// readme is the file, its lines joined to one.
func readme(t *testing.T) (raw, flowing string) {
	t.Helper()
	b, err := os.ReadFile("README.md")
	require.NoError(t, err)
	return string(b), strings.Join(strings.Fields(string(b)), " ")
}

// entries counts the lines of a list that are neither empty nor comments.
func entries(t *testing.T, name string) (n int) {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n
}

func TestTheNumbersInTheReadmeAreTrue(t *testing.T) {
	t.Parallel()
	scenarios := 0
	require.NoError(t, filepath.WalkDir("conformance/testdata/scenarios", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".scn" {
			scenarios++
		}
		return err
	}))
	pending := entries(t, "conformance/pending.txt")
	_, text := readme(t)
	require.Contains(t, text, fmt.Sprintf("holds %d scripted conversations", scenarios))
	require.Contains(t, text, fmt.Sprintf("%d of them agree; the other %d need", scenarios-pending, pending))
	require.Contains(t, text, fmt.Sprintf("but for %d that need", entries(t, "conformance/amqp091_exceptions.txt")))

	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	client := regexp.MustCompile(`amqp091-go v(\S+)`).FindSubmatch(mod)
	require.Contains(t, text, "amqp091-go) "+string(client[1])+":")
}

func TestTheReadmeNamesAllClientsAndExamples(t *testing.T) {
	t.Parallel()
	raw, text := readme(t)
	scripts, err := filepath.Glob(".ci/clients.d/*")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	for _, script := range scripts {
		if client, ext, _ := strings.Cut(filepath.Base(script), "."); ext != "md" {
			require.Contains(t, text, client)
		}
	}
	examples, err := filepath.Glob("examples/*/main.go")
	require.NoError(t, err)
	require.NotEmpty(t, examples)
	for _, example := range examples {
		require.Contains(t, raw, "]("+filepath.ToSlash(example)+")")
	}
}

func TestTheLinksInTheReadmeLeadSomewhere(t *testing.T) {
	t.Parallel()
	raw, _ := readme(t)
	for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(raw, -1) {
		require.FileExists(t, m[1])
	}
}

// importsOf gives the imports of a test in the README, which shows none.
func importsOf(code string) string {
	var b strings.Builder
	for name, path := range map[string]string{
		"amqp": "github.com/rabbitmq/amqp091-go", "net": "net", "testing": "testing",
		"warren": "github.com/warrenmq/warren", "errors": "errors",
		"badgerstore": "github.com/warrenmq/warren/store/badgerstore",
	} {
		if strings.Contains(code, name+".") {
			fmt.Fprintf(&b, "import %s %q\n", name, path)
		}
	}
	return b.String()
}

// The code in the README is built, all of it, as packages that are laid over the module, so
// that nothing is written into it.
func TestTheCodeInTheReadmeBuilds(t *testing.T) {
	t.Parallel()
	raw, _ := readme(t)
	root, err := os.Getwd()
	require.NoError(t, err)
	overlay := map[string]string{}
	var builds [][]string
	for i, m := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(raw, -1) {
		code, name, build := m[1], "main.go", []string{"build"}
		if !strings.HasPrefix(code, "package ") {
			name, build = "some_test.go", []string{"test", "-c", "-vet=off"}
			code = "package some\n\n" + importsOf(code) + code
		}
		file := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(file, []byte(code), 0o644))
		dir := "internal/readme" + strconv.Itoa(i)
		overlay[filepath.Join(root, dir, name)] = file
		builds = append(builds, append(build, "./"+dir))
	}
	require.Len(t, builds, 6)
	require.Equal(t, strings.Count(raw, "```go\n")+strings.Count(raw, "```sh\n"), strings.Count(raw, "```")/2, "a block of neither Go nor commands")
	program := filepath.Join(t.TempDir(), "program")
	list, err := json.Marshal(map[string]any{"Replace": overlay})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "overlay.json")
	require.NoError(t, os.WriteFile(file, list, 0o644))
	for i, build := range builds {
		args := slices.Insert(build, len(build)-1, "-overlay", file, "-o", program+strconv.Itoa(i))
		out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	// The first is a whole program that ends by itself.
	out, err := exec.CommandContext(t.Context(), program+"0").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "hello\n", string(out))
}

func TestTheReadmesCommandsHaveSomethingToRun(t *testing.T) {
	t.Parallel()
	raw, _ := readme(t)
	commands := regexp.MustCompile(`go (?:run|test) (\./[\w/]+)`).FindAllStringSubmatch(raw, -1)
	require.NotEmpty(t, commands)
	for _, m := range commands {
		require.DirExists(t, m[1])
	}
}
