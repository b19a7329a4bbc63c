package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// contents gives all that is in a store.
func contents(t testing.TB, s store.Store) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, s.Scan(nil, nil, false, func(k, v []byte) error {
		out[string(k)] = string(v)
		return nil
	}))
	return out
}

// backupOf gives a backup of a store with n entries, and the entries.
func backupOf(t testing.TB, n int) ([]byte, map[string]string) {
	t.Helper()
	s := memstore.New()
	for i := range n {
		require.NoError(t, s.Apply([]store.Change{{Key: fmt.Appendf(nil, "k%d", i), Value: bytes.Repeat([]byte{byte(i)}, i*100)}}))
	}
	var out bytes.Buffer
	require.NoError(t, store.Backup(s, &out))
	return out.Bytes(), contents(t, s)
}

func TestABackupIsRestored(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 500} {
		backup, want := backupOf(t, n)
		s := memstore.New()
		require.NoError(t, store.Restore(s, iotest.OneByteReader(bytes.NewReader(backup))))
		require.Equal(t, want, contents(t, s))
	}
}

func TestABackupGoesToAnEmptyStoreOnly(t *testing.T) {
	t.Parallel()
	backup, _ := backupOf(t, 3)
	s := memstore.New()
	require.NoError(t, s.Apply([]store.Change{{Key: []byte("a")}}))
	require.ErrorIs(t, store.Restore(s, bytes.NewReader(backup)), store.ErrNotEmpty)
}

func TestACutOrDamagedBackupIsRefused(t *testing.T) {
	t.Parallel()
	backup, _ := backupOf(t, 4)
	for n := range backup {
		require.ErrorIs(t, store.Restore(memstore.New(), bytes.NewReader(backup[:n])), store.ErrBadBackup, "cut off at %d", n)
		bad := bytes.Clone(backup)
		bad[n] ^= 0x41
		require.ErrorIs(t, store.Restore(memstore.New(), bytes.NewReader(bad)), store.ErrBadBackup, "changed at %d", n)
	}
}

func TestAnErrorOfTheReaderOrWriterIsReturned(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	require.ErrorIs(t, store.Restore(memstore.New(), iotest.ErrReader(broken)), broken)
	require.ErrorIs(t, store.Backup(memstore.New(), failingWriter{broken}), broken)
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func FuzzRestore(f *testing.F) {
	for _, n := range []int{0, 1, 4} {
		backup, _ := backupOf(f, n)
		f.Add(backup)
	}
	f.Fuzz(func(t *testing.T, backup []byte) {
		s := memstore.New()
		if err := store.Restore(s, bytes.NewReader(backup)); err != nil {
			return
		}
		// What was taken can be written and read again.
		var out bytes.Buffer
		require.NoError(t, store.Backup(s, &out))
		again := memstore.New()
		require.NoError(t, store.Restore(again, &out))
		require.Equal(t, contents(t, s), contents(t, again))
	})
}
