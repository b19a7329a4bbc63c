package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGeneratedFileIsUpToDate(t *testing.T) {
	t.Parallel()
	want, err := generateFile(filepath.Join("..", "..", "methods.spec"))
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join("..", "..", "methods_gen.go"))
	require.NoError(t, err)
	require.True(t, string(want) == string(got), "methods_gen.go is stale: run go generate in wire/")
}

func TestRunWritesItsOutput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	spec, output := filepath.Join(dir, "a.spec"), filepath.Join(dir, "a.go")
	require.NoError(t, os.WriteFile(spec, []byte("class 1 a\n 2 b C x:u8 # comment\n"), 0o600))
	require.NoError(t, run(spec, output))
	source, err := os.ReadFile(output)
	require.NoError(t, err)
	require.Contains(t, string(source), "type AB struct {\n\tX uint8\n}")
	require.Error(t, run(filepath.Join(dir, "missing"), output))
}

// A run of more than eight bits takes another octet, and any other argument
// ends the run.
func TestBitsShareOctets(t *testing.T) {
	t.Parallel()
	classes, err := parse(strings.NewReader("class 1 a\n1 b C " + strings.Repeat("x:bit ", 9) + "y:u8 z:bit"))
	require.NoError(t, err)
	source, err := generate(classes)
	require.NoError(t, err)
	require.Equal(t, 4, strings.Count(string(source), "r.u8()"))
	require.Equal(t, 3, strings.Count(string(source), "w.bits("))
}

func TestBadDescriptionsAreRefusedWithTheirLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"1 a C":                    "line 1: a method before the first class",
		"class 1":                  "line 1: want: class ID NAME",
		"class x a":                "line 1: strconv",
		"class 1 a\n\n1 b":         "line 3: want: ID NAME SENDERS",
		"class 1 a\nx b C":         "line 2: strconv",
		"class 1 a\n1 b X":         "line 2: senders",
		"class 1 a\n1 b C q":       `line 2: argument "q" is not NAME:TYPE`,
		"class 1 a\n1 b C q:float": `argument "q:float"`,
		"class 1 a\n1 b C :u8":     `argument ":u8"`,
	} {
		_, err := parse(strings.NewReader(text))
		require.ErrorContains(t, err, want)
	}
}
