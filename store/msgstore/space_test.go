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

// A crash must not bring a queue back of which the messages are gone, whatever there is
// no room for.
func TestAQueueLeavesAFullMediumWithItsMessagesOrNotAtAll(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{})
	defined := func(name string) Definition {
		return Definition{Kind: 'q', Key: []byte(name), Value: []byte("a queue")}
	}
	s.Define([]Definition{defined("1")}, nil)
	require.NoError(t, wait(s.Log(1), appendOp(1, "a"), appendOp(2, "b")))
	require.NoError(t, wait(s.Log(1), appendOp(3, "c")))
	kv.setFull(true)
	require.ErrorIs(t, wait(s.Log(2), appendOp(1, "no room")), store.ErrNoSpace)

	var images []map[string][]byte
	kv.image = func(m map[string][]byte) { images = append(images, m) }
	let := kv.holdUp(s) // needs room, too
	gone := defined("1")
	gone.Delete = true
	answers := make(chan error, 2)
	s.Define([]Definition{gone}, func(err error) { answers <- err })
	s.Log(1).Drop()
	s.Define([]Definition{defined("2")}, func(err error) { answers <- err })
	let()
	<-answers
	<-answers
	for range 3 {
		s.Retry()
		_ = s.Sync(t.Context())
	}
	require.NotEmpty(t, images)
	for i, m := range images {
		at := kv.reopen(m)
		_, there := m["Dq1"]
		if packs := at.count(keyPack); there {
			require.Equal(t, 2, packs, "image %d", i)
		}
	}
	require.Zero(t, kv.count(keyPack), "deleting gives room back, so that it is not held up")
	require.NotContains(t, kv.m, "Dq1")
}
