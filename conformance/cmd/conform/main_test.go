package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/warrenmq/warren/conformance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const corpus = "../../testdata"

func call(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(args, &out, &err)
	return code, out.String(), err.String()
}

func TestMistakesOfUsageExitWith2(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"no command":       {},
		"unknown command":  {"dance"},
		"unknown flag":     {"check", "-x"},
		"unknown argument": {"check", "-corpus", corpus, "x"},
		"bad pattern":      {"check", "-corpus", corpus, "-run", "("},
		"no such corpus":   {"check", "-corpus", "nowhere"},
		"no scenario":      {"compare", "-corpus", corpus, "-run", "nothing like this"},
		"bad address":      {"compare", "-corpus", corpus, "-uri", "http://localhost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, _, stderr := call(args...)
			require.Equal(t, 2, code)
			require.NotEmpty(t, stderr)
		})
	}
	code, _, stderr := call("compare", "-h")
	require.Zero(t, code)
	require.Contains(t, stderr, "usage: conform")
}

func TestCheckFindsStaleTranscripts(t *testing.T) {
	t.Parallel()
	code, stdout, _ := call("check", "-corpus", corpus)
	require.Zero(t, code)
	require.Contains(t, stdout, " 0 without a fitting transcript")

	dir := t.TempDir()
	scn := filepath.Join(dir, "scenarios", "a", "b.scn")
	require.NoError(t, os.MkdirAll(filepath.Dir(scn), 0o755))
	require.NoError(t, os.WriteFile(scn, []byte("@title x\nsleep 1ms\n"), 0o644))
	code, stdout, _ = call("check", "-corpus", dir)
	require.Equal(t, 1, code)
	require.Contains(t, stdout, "a/b")

	list, err := conformance.Corpus(dir).Scenarios(nil)
	require.NoError(t, err)
	require.NoError(t, conformance.Corpus(dir).WriteGolden(list[0], conformance.Transcript{"> sleep 1ms"}))
	code, _, _ = call("check", "-corpus", dir)
	require.Zero(t, code)
}

// A corpus that needs no broker shows recording and comparing from end to end.
func TestRecordAndCompare(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, src := range map[string]string{
		"a/sleeps": "@title x\nsleep 1ms\n",
		"a/fails":  "@title x\n@note a quirk\nsleep soon\n",
		"b/needs":  "@title x\n@needs setup\nsetup vhost ~v\n",
	} {
		path := filepath.Join(dir, "scenarios", name+".scn")
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(src), 0o644))
	}
	code, stdout, _ := call("record", "-corpus", dir)
	require.Equal(t, 1, code)
	require.Contains(t, stdout, "NOT KEPT a/fails")
	require.Contains(t, stdout, "NOT KEPT b/needs: skipped: needs setup")
	require.Contains(t, stdout, "1 of 3 recorded")

	got := filepath.Join(dir, "got")
	code, stdout, _ = call("compare", "-corpus", dir, "-out", got, "-v")
	require.Zero(t, code)
	require.Contains(t, stdout, "PASS a/sleeps")
	require.Contains(t, stdout, "SKIP a/fails")
	require.FileExists(t, filepath.Join(got, "a", "sleeps.txt"))

	golden := filepath.Join(dir, "golden", "a", "sleeps.txt")
	require.NoError(t, os.WriteFile(golden, []byte("> sleep 1ms\n< c EOF\n"), 0o644))
	code, stdout, _ = call("compare", "-corpus", dir)
	require.Equal(t, 1, code)
	require.Contains(t, stdout, "- c EOF")
}
