package badgerstore_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/badgerstore"
)

// snapshot gives names and contents of a directory.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		out[e.Name()] = string(data)
	}
	return out
}

// requireRefused expects Open to refuse with words, and to change nothing.
func requireRefused(t testing.TB, dir string, o badgerstore.Options, words ...string) {
	t.Helper()
	before := snapshot(t, dir)
	_, err := badgerstore.Open(dir, o)
	var refused *badgerstore.OpenError
	var damaged *badgerstore.DamagedError
	require.True(t, errors.As(err, &refused) || errors.As(err, &damaged), "%T: %v", err, err)
	for _, w := range append(words, dir) {
		require.ErrorContains(t, err, w)
	}
	require.Equal(t, before, snapshot(t, dir), "something was written")
}

// made gives a closed store with something in it: a table and a value log.
func made(t testing.TB, o badgerstore.Options) string {
	t.Helper()
	dir := t.TempDir()
	s, err := badgerstore.Open(dir, o)
	require.NoError(t, err)
	require.NoError(t, s.Apply(set("small", "1")))
	require.NoError(t, s.Apply(set("large", strings.Repeat("x", 100_000))))
	require.NoError(t, s.Close())
	return dir
}

// theFile finds the one file of a kind.
func theFile(t testing.TB, dir, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	return names[0]
}

// change changes a file's contents.
func change(t testing.TB, path string, how func(data []byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, how(data), 0o600))
}

func TestADirectoryThatIsNotAStoreIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "letter.txt"), []byte("dear"), 0o600))
	requireRefused(t, dir, badgerstore.Options{}, "no store of Warren's")

	_, err := badgerstore.Open(filepath.Join(dir, "letter.txt"), badgerstore.Options{})
	require.ErrorContains(t, err, "letter.txt: it is not a directory")
	_, err = badgerstore.Open("", badgerstore.Options{})
	require.ErrorContains(t, err, "name of the directory is empty")
	_, err = badgerstore.Open(t.TempDir(), badgerstore.Options{EncryptionKey: []byte("short")})
	require.ErrorContains(t, err, "an encryption key of 5 octets")
}

func TestADirectoryIsMade(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, dir, badgerstore.Options{})
	require.NoError(t, s.Apply(set("a", "1")))
	text, err := os.ReadFile(filepath.Join(dir, "WARREN"))
	require.NoError(t, err)
	require.Equal(t, "warren store, format 1\n", string(text))
}

func TestADirectoryInUseIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, badgerstore.Options{})
	for _, o := range []badgerstore.Options{{}, {ReadOnly: true}} {
		_, err := badgerstore.Open(dir, o)
		require.ErrorContains(t, err, dir+": another process has it open: end that process")
	}
	require.NoError(t, s.Apply(set("a", "1")))
}

func TestANewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	dir := made(t, badgerstore.Options{})
	change(t, filepath.Join(dir, "WARREN"), func([]byte) []byte { return []byte("warren store, format 2\n") })
	requireRefused(t, dir, badgerstore.Options{}, "format 2", "use the version that wrote it")
	change(t, filepath.Join(dir, "WARREN"), func([]byte) []byte { return []byte("wrong") })
	requireRefused(t, dir, badgerstore.Options{}, "WARREN is damaged")
}

func TestAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	key, other := []byte("0123456789abcdef"), []byte("fedcba9876543210")
	plain, secret := made(t, badgerstore.Options{}), made(t, badgerstore.Options{EncryptionKey: key})
	requireRefused(t, plain, badgerstore.Options{EncryptionKey: key}, "another encryption key")
	requireRefused(t, secret, badgerstore.Options{EncryptionKey: other}, "another encryption key")
	requireRefused(t, secret, badgerstore.Options{}, "another encryption key")
	require.Equal(t, "1", get(t, open(t, secret, badgerstore.Options{EncryptionKey: key}), "small"))
	for name, data := range snapshot(t, secret) {
		require.NotContains(t, data, "xxxxxxxx", name)
	}
}

func TestPermissionIsNamed(t *testing.T) {
	t.Parallel()
	err := badgerstore.OpenFailed(t.TempDir(), &fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission})
	require.ErrorContains(t, err, "permission is denied")
	require.ErrorContains(t, err, "give this user the right")
	require.ErrorIs(t, err, fs.ErrPermission)
}

func TestDamageIsNamedBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	flip := func(at int) func([]byte) []byte {
		return func(data []byte) []byte {
			data = bytes.Clone(data)
			data[(at+len(data))%len(data)] ^= 0x55
			return data
		}
	}
	for _, test := range []struct {
		name, file string
		how        func([]byte) []byte
	}{
		{"a table's data", "*.sst", flip(0)},
		{"a table's index", "*.sst", flip(-60)},
		{"a table's end", "*.sst", flip(-1)},
		{"an empty table", "*.sst", func([]byte) []byte { return nil }},
		{"the manifest", "MANIFEST", flip(12)},
		{"the key registry", "KEYREGISTRY", flip(20)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := made(t, badgerstore.Options{})
			change(t, theFile(t, dir, test.file), test.how)
			requireRefused(t, dir, badgerstore.Options{})
		})
	}
	t.Run("a missing table", func(t *testing.T) {
		t.Parallel()
		dir := made(t, badgerstore.Options{})
		require.NoError(t, os.Remove(theFile(t, dir, "*.sst")))
		requireRefused(t, dir, badgerstore.Options{}, ".sst is damaged")
	})
}

func TestADamagedValueIsAnErrorAndNotEmpty(t *testing.T) {
	t.Parallel()
	dir := made(t, badgerstore.Options{})
	change(t, theFile(t, dir, "*.vlog"), func(data []byte) []byte {
		data[len(data)/2] ^= 0x55
		return data
	})
	s := open(t, dir, badgerstore.Options{})
	var damaged *badgerstore.DamagedError
	require.ErrorAs(t, s.Get([]byte("large"), func([]byte) error {
		t.Error("a damaged value was used")
		return nil
	}), &damaged)
	require.ErrorContains(t, damaged, "restore a backup")
	require.ErrorAs(t, s.Scan(nil, nil, false, func(k, _ []byte) error { return nil }), &damaged)
	require.NoError(t, s.Scan(nil, nil, true, func(k, _ []byte) error { return nil }))
	require.Equal(t, "1", get(t, s, "small"))
	report, err := s.Verify()
	require.ErrorAs(t, err, &damaged)
	require.Equal(t, badgerstore.Report{Records: 2, Damaged: 1, Octets: 6}, report)
}

func TestVerifyCounts(t *testing.T) {
	t.Parallel()
	s := open(t, made(t, badgerstore.Options{}), badgerstore.Options{})
	require.NoError(t, s.Apply(set("empty", "")))
	report, err := s.Verify()
	require.NoError(t, err)
	require.Equal(t, badgerstore.Report{Records: 3, Octets: 5 + 1 + 5 + 100_000 + 5}, report)
}

func TestReadOnlyWritesNothing(t *testing.T) {
	t.Parallel()
	dir := made(t, badgerstore.Options{})
	before := snapshot(t, dir)
	s, err := badgerstore.Open(dir, badgerstore.Options{ReadOnly: true})
	require.NoError(t, err)
	again, err := badgerstore.Open(dir, badgerstore.Options{ReadOnly: true})
	require.NoError(t, err, "several may read")
	require.Equal(t, "1", get(t, again, "small"))
	require.NoError(t, again.Close())
	require.ErrorIs(t, s.Apply(set("a", "1")), badgerstore.ErrReadOnly)
	_, err = s.Verify()
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.Equal(t, before, snapshot(t, dir))

	empty := t.TempDir()
	requireRefused(t, empty, badgerstore.Options{ReadOnly: true}, "there is no store")
}

func TestABackupIsRestoredIntoAnEmptyDirectory(t *testing.T) {
	t.Parallel()
	s := open(t, made(t, badgerstore.Options{}), badgerstore.Options{})
	var backup bytes.Buffer
	require.NoError(t, s.Backup(&backup))
	require.NoError(t, s.Apply(set("later", "1")))

	dir := filepath.Join(t.TempDir(), "restored")
	key := badgerstore.Options{EncryptionKey: []byte("0123456789abcdef")}
	require.NoError(t, badgerstore.Restore(dir, key, bytes.NewReader(backup.Bytes())))
	restored := open(t, dir, key)
	require.Equal(t, get(t, s, "large"), get(t, restored, "large"))
	require.ErrorIs(t, restored.Get([]byte("later"), nil), store.ErrNotFound)

	require.ErrorIs(t, badgerstore.Restore(dir, key, bytes.NewReader(backup.Bytes())), store.ErrNotEmpty)
	half := filepath.Join(t.TempDir(), "half")
	require.ErrorIs(t, badgerstore.Restore(half, key, bytes.NewReader(backup.Bytes()[:backup.Len()/2])), store.ErrBadBackup)
	require.Empty(t, snapshot(t, half))
}
