package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/store/badgerstore"
)

// called is what a call of warren store did.
type called struct {
	code           int
	stdout, stderr string
}

func callStore(stdin string, args ...string) called {
	var stdout, stderr bytes.Buffer
	code := runStore(args, strings.NewReader(stdin), &stdout, &stderr)
	return called{code, stdout.String(), stderr.String()}
}

// busy gives a broker on a data directory, with two messages in a queue.
func busy(t *testing.T) (b *warren.Broker, dir string) {
	t.Helper()
	dir = t.TempDir()
	s, err := badgerstore.Open(dir, badgerstore.Options{Unsafe: true})
	require.NoError(t, err)
	b, err = warren.New(warren.Options{Store: s})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	ch, err := b.Channel(t.Context())
	require.NoError(t, err)
	_, err = ch.DeclareQueue(t.Context(), "q", warren.Durable())
	require.NoError(t, err)
	require.NoError(t, ch.DeclareExchange(t.Context(), "x", "fanout", warren.Durable()))
	require.NoError(t, ch.BindQueue(t.Context(), "q", "x", ""))
	for range 2 {
		m := warren.Message{Body: make([]byte, 5000), Properties: warren.Properties{DeliveryMode: 2}}
		require.NoError(t, ch.PublishConfirmed(t.Context(), "x", "", m))
	}
	return b, dir
}

// image copies a directory that is in use, as a crash would leave it.
func image(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(to, e.Name()), data, 0o600))
	}
	return to
}

const counts = `virtual hosts        1
users                1
permissions          1
topic permissions    0
exchanges            1
queues               1
bindings             1
policies             0
messages             2
octets of messages   10000
packs of messages    2
orphans of a crash   0
`

func TestStoreCheckCounts(t *testing.T) {
	t.Parallel()
	b, dir := busy(t)
	inUse := callStore("", "check", dir)
	require.Equal(t, 1, inUse.code)
	require.Equal(t, "warren store check: badgerstore: "+dir+": another process has it open: end that process, or name another directory\n", inUse.stderr)

	crashed := image(t, dir)
	require.NoError(t, b.Close())
	sound := callStore("", "check", dir)
	require.Equal(t, 0, sound.code, sound.stderr)
	require.Empty(t, sound.stderr)
	require.True(t, strings.HasPrefix(sound.stdout, counts), sound.stdout)
	require.Regexp(t, `\nrecords              \d+\noctets of records    1\d{4}\ndamaged              0\n$`, sound.stdout)

	before := names(t, crashed)
	temp := t.TempDir()
	after := callStore("", "check", "-temp", temp, crashed)
	require.Equal(t, 0, after.code, after.stderr)
	require.True(t, strings.HasPrefix(after.stdout, counts), after.stdout)
	require.Regexp(t, `^\S+ was not closed in an orderly way; it stays as it is, and a copy in \S+ is read\n$`, after.stderr)
	require.Equal(t, before, names(t, crashed))
	require.Empty(t, names(t, temp), "the copy is removed")
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestStoreCheckTellsOfDamage(t *testing.T) {
	t.Parallel()
	b, dir := busy(t)
	require.NoError(t, b.Close())
	logs, err := filepath.Glob(filepath.Join(dir, "*.vlog"))
	require.NoError(t, err)
	data, err := os.ReadFile(logs[0])
	require.NoError(t, err)
	data[len(data)/2] ^= 0x55
	require.NoError(t, os.WriteFile(logs[0], data, 0o600))
	got := callStore("", "check", dir)
	require.Equal(t, 1, got.code)
	require.Contains(t, got.stderr, dir+" is damaged (key ")
	require.Contains(t, got.stdout, "\ndamaged              1\n")
}

func TestStoreBackupAndRestore(t *testing.T) {
	t.Parallel()
	b, dir := busy(t)
	require.NoError(t, b.Close())
	file := filepath.Join(t.TempDir(), "backup")
	got := callStore("", "backup", dir, file)
	require.Equal(t, called{}, got)
	again := callStore("", "backup", dir, file)
	require.Equal(t, 1, again.code)
	require.Contains(t, again.stderr, file+": file exists")
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(data), callStore("", "backup", dir, "-").stdout)

	fromFile, fromInput := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	require.Equal(t, called{}, callStore("", "restore", file, fromFile))
	require.Equal(t, called{}, callStore(string(data), "restore", "-", fromInput))
	for _, d := range []string{fromFile, fromInput} {
		checked := callStore("", "check", d)
		require.Equal(t, 0, checked.code, checked.stderr)
		require.True(t, strings.HasPrefix(checked.stdout, counts), checked.stdout)
	}
	full := callStore("", "restore", file, fromFile)
	require.Equal(t, 1, full.code)
	require.Contains(t, full.stderr, "restore into an empty directory")
	half := filepath.Join(t.TempDir(), "half")
	cut := callStore(string(data[:len(data)/2]), "restore", "-", half)
	require.Equal(t, 1, cut.code)
	require.Contains(t, cut.stderr, "not a whole backup")
	require.Empty(t, names(t, half))
}

func TestStoreMisuseGetsOneClearLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"", "warren store: a command is missing: check, backup or restore (see warren store -h)"},
		{"chek x", `warren store: "chek" is none of check, backup and restore (see warren store -h)`},
		{"check", "warren store check: it takes DIR (see warren store check -h)"},
		{"check a b", "warren store check: it takes DIR (see warren store check -h)"},
		{"check -nope a", "warren store check: flag provided but not defined: -nope (see warren store check -h)"},
		{"backup a", "warren store backup: it takes DIR FILE (see warren store backup -h)"},
		{"restore -temp x a b", "warren store restore: flag provided but not defined: -temp (see warren store restore -h)"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			require.Equal(t, 2, run(t.Context(), append([]string{"store"}, strings.Fields(c.args)...), &stdout, &stderr))
			require.Equal(t, c.want+"\n", stderr.String())
			require.Empty(t, stdout.String())
		})
	}
	missing := filepath.Join(t.TempDir(), "missing")
	require.Equal(t, 1, callStore("", "check", missing).code)
	require.NoDirExists(t, missing, "a check makes nothing")
}

func TestStoreHelp(t *testing.T) {
	t.Parallel()
	help := callStore("", "-h")
	require.Equal(t, 0, help.code)
	for _, c := range storeCommands {
		require.Contains(t, help.stderr, "\n  "+c.name+" "+c.arguments+" ")
		own := callStore("", c.name, "-h")
		require.Equal(t, 0, own.code)
		require.Contains(t, own.stderr, "Usage: warren store "+c.name+" [flags] "+c.arguments+"\n")
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"1": 1, "10B": 10, "2kB": 2000, "8MiB": 8 << 20, "50MB": 50_000_000, "2GB": 2e9, "3TiB": 3 << 40,
		"": 0, "0": 0, "-1": 0, "MiB": 0, "1.5GB": 0, "1 MB": 0, "9999999TiB": 0, "5Mb": 0,
	} {
		got, err := parseSize(text)
		require.Equal(t, want, got, text)
		require.Equal(t, want == 0, err != nil, text)
	}
}

func TestWhatIsNotSafeIsSaid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := start(t, "-data", dir, "-unsafe-no-fsync", "-queue-memory", "100,1MiB", "-memory-limit", "8GiB", "-free-disk-limit", "1MB")
	require.Contains(t, d.stdout.String(), "\n  data           "+dir+"\n  UNSAFE         nothing is synced: a crash of the machine loses confirmed messages\n")
	d.use(t, "guest", "guest", "/")
}
