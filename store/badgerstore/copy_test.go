package badgerstore_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/badgerstore"
)

func TestACopyOfWhatACrashLeftCanBeOpened(t *testing.T) {
	t.Parallel()
	dir := crashed(t, 3, badgerstore.Options{})
	before := snapshot(t, dir)
	_, err := badgerstore.Open(dir, badgerstore.Options{ReadOnly: true})
	require.ErrorIs(t, err, badgerstore.ErrNeedsWriting)

	to := filepath.Join(t.TempDir(), "made", "here")
	require.NoError(t, badgerstore.Copy(dir, to))
	requireBatches(t, open(t, to, unsynced(badgerstore.Options{})), 3)
	require.Equal(t, before, snapshot(t, dir))
	require.ErrorIs(t, badgerstore.Copy(dir, to), store.ErrNotEmpty)
}

func TestOnlyAStoreThatNobodyHasOpenIsCopied(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), badgerstore.Options{})
	to := filepath.Join(t.TempDir(), "to")
	require.ErrorContains(t, badgerstore.Copy(s.Dir(), to), s.Dir()+": another process has it open")
	require.ErrorContains(t, badgerstore.Copy(t.TempDir(), to), "there is no store")
	require.NoFileExists(t, to)
	require.NoError(t, s.Apply(set("a", "1")))
}
