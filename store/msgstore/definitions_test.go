package msgstore

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/memstore"
	"github.com/warrenmq/warren/store/storetest"
)

// define waits until changes are durable.
func define(s *Store, changes ...Definition) error {
	done := make(chan error, 1)
	s.Define(changes, func(err error) { done <- err })
	return <-done
}

func put(key, value string) Definition {
	return Definition{Kind: 'q', Key: []byte(key), Value: []byte(value)}
}

// definitions gives all definitions on a disk as it is now.
func definitions(t testing.TB, d *memstore.Disk) map[string]string {
	t.Helper()
	kv, err := d.Crash().Open()
	require.NoError(t, err)
	defer kv.Close()
	s := open(t, kv, Options{})
	defer s.Close()
	all := map[string]string{}
	require.NoError(t, s.Definitions(func(_ byte, key, value []byte) error {
		all[string(key)] = string(value)
		return nil
	}))
	return all
}

// faulty opens a new disk that can fail.
func faulty(t testing.TB, o Options) (*Store, *storetest.Faulty, *memstore.Disk) {
	t.Helper()
	d := memstore.NewDisk()
	kv, err := d.Open()
	require.NoError(t, err)
	t.Cleanup(func() { _ = kv.Close() })
	f := storetest.NewFaulty(kv)
	return open(t, f, o), f, d
}

// What was defined while the medium was full must be there before any message of
// the queue that it defines is.
func TestDefinitionsThatFailedAreWrittenBeforeTheNextMessage(t *testing.T) {
	t.Parallel()
	s, f, d := faulty(t, Options{})
	f.SetSpace(&store.Space{Free: 1, Reserve: 2})
	require.ErrorIs(t, define(s, put("a", "1"), put("b", "1")), store.ErrNoSpace)
	require.ErrorIs(t, define(s, put("a", "2")), store.ErrNoSpace)
	require.ErrorIs(t, define(s, Definition{Kind: 'q', Key: []byte("b"), Delete: true}), store.ErrNoSpace)
	require.ErrorIs(t, define(s), store.ErrNoSpace, "who asks hears that they are still not durable")
	f.SetSpace(nil)
	require.NoError(t, wait(s.Log(1), appendOp(1, "m")))
	require.Equal(t, map[string]string{"a": "2"}, definitions(t, d))
	require.NoError(t, define(s))
	require.NoError(t, s.Close())
}

func TestCloseTellsThatDefinitionsWereLost(t *testing.T) {
	t.Parallel()
	s, f, d := faulty(t, Options{})
	f.FailApply(1, store.ErrNoSpace, false)
	require.ErrorIs(t, define(s, put("a", "1")), store.ErrNoSpace)
	require.NoError(t, s.Close(), "Close tries once more")
	require.Equal(t, map[string]string{"a": "1"}, definitions(t, d))

	s, f, _ = faulty(t, Options{})
	f.SetSpace(&store.Space{Free: 1, Reserve: 2})
	require.ErrorIs(t, define(s, put("a", "1")), store.ErrNoSpace)
	require.ErrorIs(t, s.Close(), store.ErrNoSpace)
}

func TestMoreDefinitionsThanAnApplyTakesAreWrittenInTheirOrder(t *testing.T) {
	t.Parallel()
	s, f, d := faulty(t, Options{})
	n := f.Limits().MaxChanges*2 + 100
	changes := make([]Definition, n)
	for i := range changes {
		changes[i] = put(fmt.Sprintf("%06d", i), "x")
	}
	f.FailApply(2, errors.New("broken"), false)
	require.Error(t, define(s, changes...))
	there := definitions(t, d)
	require.NotEmpty(t, there)
	for i := range there {
		require.Less(t, i, fmt.Sprintf("%06d", len(there)), "the first ones are there")
	}

	s, _, d = faulty(t, Options{})
	require.NoError(t, define(s, changes...))
	require.Len(t, definitions(t, d), n)
}

func TestADefinitionThatIsTooLargeFailsAlone(t *testing.T) {
	t.Parallel()
	s, f, d := faulty(t, Options{})
	f.Hold()
	first := make(chan error, 3)
	s.Define([]Definition{put("a", "1")}, func(err error) { first <- err })
	f.AwaitHeld()
	large := make(chan error, 1)
	s.Define([]Definition{put("big", string(make([]byte, f.Limits().MaxBytes)))}, func(err error) { large <- err })
	s.Define([]Definition{put("b", "1")}, func(err error) { first <- err })
	s.Log(1).Submit([]store.Op{appendOp(1, "m")}, func(err error) { first <- err })
	f.Release()
	for range 3 {
		require.NoError(t, <-first)
	}
	require.ErrorIs(t, <-large, ErrTooLarge)
	require.Equal(t, map[string]string{"a": "1", "b": "1"}, definitions(t, d))
}

func TestRetryFindsOutThatThereIsSpaceAgain(t *testing.T) {
	t.Parallel()
	told := make(chan error, 4)
	s, f, _ := faulty(t, Options{OnNoSpace: func(err error) { told <- err }})
	f.FailApply(1, store.ErrNoSpace, false)
	require.ErrorIs(t, wait(s.Log(1), appendOp(1, "m")), store.ErrNoSpace)
	require.ErrorIs(t, <-told, store.ErrNoSpace)
	s.Retry()
	require.NoError(t, <-told, "although nothing waits to be written")
	require.NoError(t, s.Sync(t.Context()))
	require.Empty(t, told)
}
