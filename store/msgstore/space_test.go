package msgstore

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
)

// fullStore is a store that has two packs of a queue and says what it is told of room.
func fullStore(t *testing.T) (kv *fakeKV, s *Store, told chan bool) {
	t.Helper()
	kv = newFakeKV()
	told = make(chan bool, 10)
	s = open(t, kv, Options{OnNoSpace: func(err error) { told <- err == nil }})
	for _, first := range []uint64{1, 11} {
		require.NoError(t, wait(s.Log(1), appendOp(first, "a"), appendOp(first+1, "b")))
	}
	kv.setFull(true)
	return kv, s, told
}

// Acknowledgements must reach a full medium, or nothing ever leaves it.
func TestRemovalsAreWrittenWhileTheMediumIsFull(t *testing.T) {
	t.Parallel()
	kv, s, told := fullStore(t)
	l := s.Log(1)
	require.NoError(t, wait(l, removeOp(11)), "a note that a part of a pack was removed")
	require.Empty(t, told)
	require.ErrorIs(t, wait(l, removeOp(1), appendOp(21, "no room"), removeOp(2)), store.ErrNoSpace)
	require.False(t, <-told)
	require.Equal(t, 2, kv.count(keyPack), "the round failed as a whole")

	// The next one begins with the removals, whatever else it brings.
	require.ErrorIs(t, wait(l, appendOp(22, "no room")), store.ErrNoSpace)
	require.Equal(t, 1, kv.count(keyPack))
	require.NoError(t, wait(l, removeOp(12)))
	require.Zero(t, kv.count(keyPack)+kv.count(keyIndex)+kv.count(keyState))
	require.Empty(t, told, "that removals were written does not say that there is room")

	kv.setFull(false)
	require.NoError(t, wait(l, appendOp(23, "room")))
	require.True(t, <-told)
}

func TestADroppedQueueLeavesAFullMedium(t *testing.T) {
	t.Parallel()
	kv, s, told := fullStore(t)
	s.Log(1).Drop()
	require.ErrorIs(t, wait(s.Log(2), appendOp(1, "no room")), store.ErrNoSpace)
	require.False(t, <-told)
	s.Retry()
	require.NoError(t, s.Sync(t.Context()))
	require.Zero(t, kv.count(keyPack))
}

func TestRetryFindsOutThatThereIsRoomAgainWithNothingToWrite(t *testing.T) {
	t.Parallel()
	kv, s, told := fullStore(t)
	require.ErrorIs(t, wait(s.Log(1), appendOp(21, "no room")), store.ErrNoSpace)
	require.False(t, <-told)
	for range 3 {
		s.Retry()
		require.NoError(t, s.Sync(t.Context()))
	}
	require.Empty(t, told)
	kv.setFull(false)
	s.Retry()
	require.True(t, <-told)
	require.NoError(t, wait(s.Log(1), appendOp(22, "room")))
}

func TestAnErrorOfRetryIsFinal(t *testing.T) {
	t.Parallel()
	kv, s, told := fullStore(t)
	require.ErrorIs(t, wait(s.Log(1), appendOp(21, "no room")), store.ErrNoSpace)
	require.False(t, <-told)
	broken := errors.New("broken")
	kv.mu.Lock()
	kv.before = func(int) error { return broken }
	kv.mu.Unlock()
	s.Retry()
	_ = s.Sync(t.Context()) // it may be in the same round, before Retry
	require.ErrorIs(t, s.Sync(t.Context()), broken)
	require.ErrorIs(t, s.Failed(), broken)
}
