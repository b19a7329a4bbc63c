package msgstore

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
)

// indexKV keeps everything but the bodies, so that a queue of ten million
// messages fits into a test.
type indexKV struct{ *fakeKV }

func (kv indexKV) Apply(changes []store.Change) error {
	for i, c := range changes {
		if c.Key[0] == keyPack && !c.Delete {
			changes[i].Value = nil
		}
	}
	return kv.fakeKV.Apply(changes)
}

// TestALongQueue shows what the index of a long queue costs, in memory and in
// time to open. MSGSTORE_LONG is the number of messages; 200 000 without it.
func TestALongQueue(t *testing.T) {
	n := 200_000
	if v := os.Getenv("MSGSTORE_LONG"); v != "" {
		var err error
		n, err = strconv.Atoi(v)
		require.NoError(t, err)
	}
	kv := indexKV{newFakeKV()}
	kv.limits.MaxBytes = 9 << 20
	s := open(t, kv, Options{})
	const group = 100
	before := heap()
	start := time.Now()
	ms := benchMessages(group, 1024)
	for i, m := range ms {
		m.AppendBody(make([]byte, i)) // sizes differ
	}
	for seq := 0; seq < n; seq += group {
		ops := make([]store.Op, group)
		for i := range ops {
			ms[i].Retain(1)
			ops[i] = store.Op{Kind: store.Append, Seq: uint64(seq + i), Msg: ms[i]}
		}
		require.NoError(t, wait(s.Log(1), ops...))
	}
	filled := time.Since(start)
	held := 0
	for _, v := range kv.m {
		held += len(v)
	}
	perMessage := float64(heap()-before-int64(held)) / float64(n)
	require.NoError(t, s.Close())
	s = nil

	kv.keys = nil
	_ = kv.Scan(nil, []byte{0}, true, nil) // sort the keys: not ours to count
	before = heap()
	start = time.Now()
	s = open(t, kv, Options{})
	opened := time.Since(start)
	index := float64(heap()-before) / float64(n)
	entries := 0
	done := make(chan error, 1)
	s.Log(1).Recover(func(es []store.Entry) { entries += len(es) }, func(err error) { done <- err })
	require.NoError(t, <-done)
	t.Logf("%d messages in groups of %d: filled in %v, opened in %v, recovered in %v; index %.1f octets a message (with the map of the test, at first, %.1f)",
		n, group, filled, opened, time.Since(start)-opened, index, perMessage)
	require.Equal(t, n, entries)
	require.Less(t, index, 10.0)
}
