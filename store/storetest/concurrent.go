package storetest

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
)

// counterKeys are keys that a batch gives the same number, so that a reader
// that sees two numbers saw a part of a batch.
var counterKeys = []string{"a", "b", "c", "d"}

// counterBatch gives all counterKeys the number i, with values of several sizes.
func counterBatch(i int) []store.Change {
	var changes []store.Change
	for n, k := range counterKeys {
		value := make([]byte, 8+n*20_000)
		binary.BigEndian.PutUint64(value, uint64(i))
		changes = append(changes, store.Change{Key: []byte(k), Value: value})
	}
	return changes
}

func testReadersSeeWholeBatches(t *testing.T, b *bench) {
	b.apply(counterBatch(0)...)
	var done atomic.Bool
	var readers sync.WaitGroup
	failures := make(chan error, 4)
	for range cap(failures) {
		readers.Go(func() { failures <- watchCounters(b.Store, &done) })
	}
	for i := 1; i <= 100; i++ {
		b.apply(counterBatch(i)...)
	}
	done.Store(true)
	readers.Wait()
	for range cap(failures) {
		require.NoError(t, <-failures)
	}
}

// watchCounters reads until done, and complains about a mixture of batches and
// about numbers that go back.
func watchCounters(s store.Store, done *atomic.Bool) error {
	var last uint64
	for !done.Load() {
		var seen []uint64
		if err := s.Scan(nil, nil, false, func(_, v []byte) error {
			seen = append(seen, binary.BigEndian.Uint64(v))
			return nil
		}); err != nil {
			return err
		}
		if len(seen) != len(counterKeys) {
			return fmt.Errorf("a scan saw %d keys, not %d", len(seen), len(counterKeys))
		}
		for _, n := range seen {
			if n != seen[0] {
				return fmt.Errorf("a scan saw parts of batches: %d", seen)
			}
		}
		var got uint64
		if err := s.Get([]byte(counterKeys[3]), func(v []byte) error {
			got = binary.BigEndian.Uint64(v)
			return nil
		}); err != nil {
			return err
		}
		if got < seen[0] || seen[0] < last {
			return fmt.Errorf("time went back: %d, then %d, then %d", last, seen[0], got)
		}
		last = got
	}
	return nil
}

func testScanIsSnapshot(t *testing.T, b *bench) {
	b.apply(counterBatch(1)...)
	var seen []uint64
	require.NoError(t, b.Scan(nil, nil, false, func(_, v []byte) error {
		seen = append(seen, binary.BigEndian.Uint64(v))
		if len(seen) == 1 {
			written := make(chan error, 1)
			go func() { written <- b.Apply(counterBatch(2)) }()
			return <-written
		}
		return nil
	}))
	require.Equal(t, []uint64{1, 1, 1, 1}, seen)
}

func testCloseWaits(t *testing.T, b *bench) {
	b.apply(set("a", "1"), set("b", "2"))
	inside, leave := make(chan struct{}), make(chan struct{})
	read := make(chan []string, 1)
	go func() {
		var keys []string
		err := b.Scan(nil, nil, false, func(k, _ []byte) error {
			if len(keys) == 0 {
				close(inside)
				<-leave
			}
			keys = append(keys, string(k))
			return nil
		})
		if err != nil {
			keys = append(keys, err.Error())
		}
		read <- keys
	}()
	<-inside
	closed := make(chan error, 1)
	s := b.Store
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		t.Fatalf("Close returned %v while a scan was running", err)
	default:
	}
	close(leave)
	require.Equal(t, []string{"a", "b"}, <-read)
	require.NoError(t, <-closed)
	b.Store = nil
}
