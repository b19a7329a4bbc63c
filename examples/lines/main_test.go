package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree makes a directory with the given files.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return root
}

func TestTheLinesOfTheToolchainArriveUnharmed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, "", 3000), out.String())
	require.Contains(t, out.String(), "confirmed       3000 lines, 0 refused, 0 returned\n")
	require.Contains(t, out.String(), "left               0 lines\nall agree\n")
}

func TestEveryLineReachesTheConsumerOfItsKind(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 100_000)
	root := tree(t, map[string]string{
		"doc/a.html":              "<p>\n\n</p>\n",
		"doc/deep/er/b.md":        "# b\r\nlast line without an end",
		"src/README":              "\x00\xff not even text \xfe\n" + long + "\n",
		"api/c.txt":               "same\nsame\nsame\n",
		"src/x.go":                "package x\n",
		"src/testdata/ignored.md": "ignored\n",
		"test/elsewhere.txt":      "ignored\n",
	})
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, root, 100), out.String())
	require.Contains(t, out.String(), "10 lines of 4 files under "+root)
	for _, want := range []string{"sent              10", "by web           3", "by notes         4", "by text          3", "all agree"} {
		require.Contains(t, out.String(), want)
	}
}

func TestALimitOnTheLines(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"doc/a.txt": "1\n2\n3\n", "doc/b.txt": "4\n", "api/c.txt": "5\n"})
	for limit, want := range map[int]int{1: 1, 3: 3, 4: 4, 5: 5, 6: 5} {
		got, err := readText(root, limit)
		require.NoError(t, err)
		require.Len(t, got.lines, want)
	}
	_, err := readText(t.TempDir(), 1)
	require.ErrorContains(t, err, "no documentation")
}

func TestAnEndOfPatienceIsAnError(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"doc/a.txt": "1\n"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, &bytes.Buffer{}, root, 1), context.Canceled)
}

func TestTotalsThatDoNotAgreeAreAnError(t *testing.T) {
	t.Parallel()
	good := func() totals {
		var t totals
		for i, body := range []string{"a", "b", "b"} {
			t.sent.add(len(body), checksum([]byte(body)))
			t.received[i].add(len(body), checksum([]byte(body)))
			t.confirmed++
		}
		return t
	}
	t.Run("agree", func(t *testing.T) {
		t.Parallel()
		got := good()
		require.NoError(t, got.check())
	})
	for want, spoil := range map[string]func(*totals){
		"3 lines were sent and 2 confirmed": func(t *totals) { t.confirmed-- },
		"1 lines were refused":              func(t *totals) { t.nacked++ },
		"1 returned":                        func(t *totals) { t.returned++ },
		"1 lines are left":                  func(t *totals) { t.left++ },
		"what was received is not what was sent: {3 3": func(t *totals) {
			t.received[1] = t.received[0] // a line twice, another one missing
		},
		"what was received is not what was sent: {2 2": func(t *totals) { t.received[1] = sum{} },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			got := good()
			spoil(&got)
			require.ErrorContains(t, got.check(), want)
		})
	}
}
