package badgerstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/badgerstore"
)

func get(t testing.TB, s store.Store, key string) string {
	t.Helper()
	var value string
	require.NoError(t, s.Get([]byte(key), func(v []byte) error {
		value = string(v)
		return nil
	}))
	return value
}

func set(key, value string) []store.Change {
	return []store.Change{{Key: []byte(key), Value: []byte(value)}}
}

// A batch of as many values as there may be, each just below what goes to the
// value log, is far beyond badger's transaction.
func TestABatchBeyondBadgersTransactionIsOneBatch(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), badgerstore.Options{Unsafe: true})
	for _, size := range []int{badgerstore.SmallValue - 1, badgerstore.SmallValue, 500, badgerstore.Threshold - badgerstore.MaxKey - 1} {
		var changes []store.Change
		for i := range s.Limits().MaxChanges {
			key := fmt.Sprintf("%0*d", badgerstore.MaxKey, i)
			changes = append(changes, set(key, strings.Repeat(string(rune('a'+i%26)), size))...)
		}
		require.NoError(t, s.Apply(changes), "values of %d octets", size)
		for _, c := range changes {
			require.Equal(t, string(c.Value), get(t, s, string(c.Key)))
		}
	}
	require.ErrorContains(t, s.Apply(set(strings.Repeat("k", badgerstore.MaxKey+1), "")), "a key of 129 octets")
	require.NoError(t, s.Apply(set("k", "")), "a batch that is refused for its size does no harm")
}

func TestApplyRefusesWithoutRoom(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), badgerstore.Options{Unsafe: true, Reserve: 1000})
	free := int64(1000)
	s.SetFree(func() (int64, error) { return free, nil })
	require.NoError(t, s.Apply(set("a", "1")))
	free = 999
	err := s.Apply(set("b", "1"))
	require.ErrorIs(t, err, store.ErrNoSpace)
	require.ErrorContains(t, err, s.Dir())
	require.ErrorIs(t, s.Get([]byte("b"), nil), store.ErrNotFound)
	sp, err := s.Space()
	require.NoError(t, err)
	require.Equal(t, int64(999), sp.Free)
	require.Equal(t, int64(1000), sp.Reserve)
	require.Positive(t, sp.Used)

	// How room comes back.
	del, note := store.Change{Key: []byte("a"), Delete: true}, store.Change{Key: []byte("n"), Value: []byte("1"), Shrinks: true}
	free = 750
	require.NoError(t, s.Apply([]store.Change{del, note}))
	require.ErrorIs(t, s.Apply(append(set("b", "1"), del, note)), store.ErrNoSpace)
	free = 749
	require.ErrorIs(t, s.Apply([]store.Change{del}), store.ErrNoSpace)
	require.ErrorIs(t, s.Apply([]store.Change{note}), store.ErrNoSpace)
	free = 1000
	require.NoError(t, s.Apply(set("b", "1")), "work goes on when there is room again")
}

func TestAfterAnErrorApplyFailsForEver(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken disk")
	s := open(t, t.TempDir(), badgerstore.Options{Unsafe: true})
	require.NoError(t, s.Apply(set("a", "1")))
	var free error = broken
	s.SetFree(func() (int64, error) { return 1 << 40, free })
	require.ErrorIs(t, s.Apply(set("b", "1")), broken)
	free = nil
	require.ErrorIs(t, s.Apply(set("b", "1")), broken)
	require.Equal(t, "1", get(t, s, "a"), "what is there can be read")
}

func TestAFailedSyncIsAnError(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), badgerstore.Options{Unsafe: true})
	s.BadgerSyncFails(errors.New("input/output error"))
	require.ErrorContains(t, s.Apply(set("a", "1")), "input/output error")
}

func TestAClosedStoreSaysSo(t *testing.T) {
	t.Parallel()
	s, err := badgerstore.Open(t.TempDir(), badgerstore.Options{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Apply(set("a", "1")), badgerstore.ErrClosed)
	require.ErrorIs(t, s.Get(nil, nil), badgerstore.ErrClosed)
	require.ErrorIs(t, s.Scan(nil, nil, false, nil), badgerstore.ErrClosed)
	_, err = s.Space()
	require.ErrorIs(t, err, badgerstore.ErrClosed)
	_, err = s.Verify()
	require.ErrorIs(t, err, badgerstore.ErrClosed)
}
