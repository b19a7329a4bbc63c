package badgerstore_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/badgerstore"
	"github.com/warrenmq/warren/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// long has the tests use larger volumes and try more places: see docs/testing.md.
var long = os.Getenv("BADGERSTORE_LONG") != ""

// usuallyOr gives the one, or the other for a long run.
func usuallyOr[T any](usual, other T) T {
	if long {
		return other
	}
	return usual
}

// open opens dir and closes the store when the test ends.
func open(t testing.TB, dir string, o badgerstore.Options) *badgerstore.Store {
	t.Helper()
	s, err := badgerstore.Open(dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// medium shows a directory to the suite.
type medium struct {
	dir     string
	options badgerstore.Options
}

func (m medium) Open(t testing.TB) store.Store {
	s, err := badgerstore.Open(m.dir, m.options)
	require.NoError(t, err)
	return s
}

func (m medium) Crash(t testing.TB) storetest.Medium {
	return medium{crashImage(t, m.dir), m.options}
}

// crashImage copies the files of a directory that is in use. Badger may make and
// remove tables meanwhile, so that the copy is made again until nothing changed.
func crashImage(t testing.TB, dir string) string {
	t.Helper()
	for {
		image := t.TempDir()
		before := listing(t, dir)
		for _, name := range before.names {
			if name != "LOCK" {
				copyFile(t, filepath.Join(dir, name), filepath.Join(image, name))
			}
		}
		if after := listing(t, dir); slices.Equal(before.names, after.names) && before.manifest == after.manifest {
			return image
		}
	}
}

// files is what crashImage looks at to see whether something changed.
type files struct {
	names    []string
	manifest string
}

func listing(t testing.TB, dir string) files {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var f files
	for _, e := range entries {
		f.names = append(f.names, e.Name())
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "MANIFEST"))
	require.NoError(t, err)
	f.manifest = string(manifest)
	return f
}

// copyFile copies a file and leaves out its empty parts. A file that goes away is
// nothing: badger removes what it does not need any more.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	require.NoError(t, err)
	defer in.Close()
	info, err := in.Stat()
	require.NoError(t, err)
	out, err := os.Create(to)
	require.NoError(t, err)
	defer out.Close()
	require.NoError(t, out.Truncate(info.Size()))
	buf, zeros := make([]byte, 1<<16), make([]byte, 1<<16)
	for at := int64(0); ; {
		n, err := in.ReadAt(buf, at)
		if !bytes.Equal(buf[:n], zeros[:n]) {
			_, err := out.WriteAt(buf[:n], at)
			require.NoError(t, err)
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]badgerstore.Options{
		"durable":                         {},
		"encrypted, compressed, not safe": {EncryptionKey: []byte("0123456789abcdef"), Compress: true, Unsafe: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t testing.TB) storetest.Medium { return medium{t.TempDir(), o} })
		})
	}
}
