package msgstore

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

func TestWhatIsStoredComesBack(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{})
	l := s.Log(7)
	m := message.New("exchange", "routing.key", []byte{1, 2, 3}, 4)
	m.AppendBody([]byte("body"))
	m.SetAttributes(true, 9)
	require.NoError(t, wait(l,
		store.Op{Kind: store.Append, Seq: 5, Msg: m, Expiry: 1234},
		appendOp(6, ""), appendOp(7, "seven"), appendOp(100, "hundred")))
	require.NoError(t, wait(l, store.Op{Kind: store.Delivered, Seq: 6, Deliveries: 3}, removeOp(7), deliveredOp(100)))
	want := []store.Entry{
		{Seq: 5, Size: 4, Priority: 9, Expiry: 1234},
		{Seq: 6, Deliveries: 3, Redelivered: true},
		{Seq: 100, Size: 7, Deliveries: 1, Redelivered: true},
	}
	require.Equal(t, want, recovered(t, l))
	for range 2 {
		require.NoError(t, s.Close())
		s = open(t, kv, Options{})
		l = s.Log(7)
		require.Equal(t, []uint64{7}, s.Queues())
		require.Equal(t, want, recovered(t, l))
		require.Equal(t, []string{"5:body", "6:", "100:hundred"}, load(t, l, 0, 1000))
		require.Equal(t, []string{"6:"}, load(t, l, 6, 99))
	}
	done := make(chan struct{})
	l.Load(store.Range{From: 5, To: 5}, func(ls []store.Loaded, err error) {
		defer close(done)
		m := ls[0].Msg
		require.Equal(t, "exchange routing.key", m.Exchange()+" "+m.RoutingKey())
		require.Equal(t, []byte{1, 2, 3}, m.Props())
		require.Equal(t, uint8(9), m.Priority())
		require.True(t, m.Persistent())
		m.Release()
	})
	<-done
	require.NoError(t, wait(l, removeOp(5), removeOp(6), removeOp(100)))
	require.Equal(t, 1, len(kv.m), "only the format is left")
}

func TestPublishAndAckInOneRoundNeverTouchesTheDisk(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{})
	l := s.Log(1)
	let := kv.holdUp(s)
	var c collector
	l.Submit([]store.Op{appendOp(1, "kept")}, c.done("first"))
	big := strings.Repeat("x", 100_000)
	for i := range 30 { // more than one group's worth
		l.Submit([]store.Op{appendOp(uint64(10+i), big)}, c.done("append"))
	}
	for i := range 30 {
		l.Submit([]store.Op{deliveredOp(uint64(10 + i)), removeOp(uint64(10 + i))}, c.done("remove"))
	}
	let()
	require.NoError(t, s.Sync(context.Background()))
	require.Len(t, c.got, 61)
	require.NotContains(t, strings.Join(c.got, " "), "failed")
	require.Less(t, kv.written, int64(1000))
	require.Equal(t, []string{"1:kept"}, load(t, l, 0, 100))
}

func TestCallbacksComeInOrderAndAfterDurability(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	kv.limits.MaxBytes = 5000
	s := open(t, kv, Options{PackSize: 1000})
	l := s.Log(1)
	var c collector
	var want []string
	for i := range 100 {
		name := fmt.Sprint(i)
		l.Submit([]store.Op{appendOp(uint64(2*i), strings.Repeat("x", i*10)), appendOp(uint64(2*i+1), "y")}, c.done(name))
		want = append(want, name)
	}
	require.NoError(t, s.Sync(context.Background()))
	require.Equal(t, want, c.got)
	require.Len(t, load(t, l, 0, 1000), 200)
	require.Len(t, load(t, l, 51, 60), 10)
}

func TestALoadFindsWhatIsNotDurableYet(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{})
	l := s.Log(1)
	let := kv.holdUp(s)
	l.Submit([]store.Op{appendOp(1, "a"), appendOp(2, "b")}, func(error) {})
	got := make(chan []store.Loaded, 1)
	l.Load(store.Range{From: 1, To: 5}, func(ls []store.Loaded, err error) { got <- ls })
	let()
	ls := <-got
	require.Len(t, ls, 2)
	for _, l := range ls {
		l.Msg.Release()
	}
}

// What came after the Load is not on the medium when the Load is carried out, and is
// none of its business.
func TestALoadDoesNotTripOverWhatCameAfterIt(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{Readers: 1})
	require.NoError(t, wait(s.Log(2), appendOp(1, "other")))
	require.NoError(t, wait(s.Log(1), appendOp(1, "a"), appendOp(3, "c")))

	// The only reader is kept busy, so that the Load is carried out later.
	busy, free := make(chan struct{}), make(chan struct{})
	s.Log(2).Load(store.Range{From: 1, To: 1}, func(ls []store.Loaded, err error) {
		ls[0].Msg.Release()
		close(busy)
		<-free
	})
	<-busy
	loaded := make(chan []string, 1)
	s.Log(1).Load(store.Range{From: 1, To: 3}, func(ls []store.Loaded, err error) {
		var got []string
		for _, l := range ls {
			got = append(got, string(l.Msg.Body()))
			l.Msg.Release()
		}
		if err != nil {
			got = append(got, err.Error())
		}
		loaded <- got
	})
	kv.gate, kv.entered = make(chan struct{}), make(chan struct{}, 1)
	done := make(chan error, 1)
	s.Log(1).Submit([]store.Op{appendOp(2, "b")}, func(err error) { done <- err })
	<-kv.entered
	close(free)
	got := <-loaded
	close(kv.gate)
	require.Equal(t, []string{"a", "c"}, got)
	require.NoError(t, <-done)
	require.Len(t, load(t, s.Log(1), 1, 3), 3)
}

func TestAMessageLargerThanAnApplyIsCutUp(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	kv.limits.MaxBytes = 2000
	s := open(t, kv, Options{PackSize: 1000})
	body := strings.Repeat("0123456789", 1000)
	require.NoError(t, wait(s.Log(1), appendOp(1, "a"), appendOp(2, body), appendOp(3, "c")))
	require.NoError(t, s.Close())
	s = open(t, kv, Options{})
	require.Equal(t, []string{"1:a", "2:" + body, "3:c"}, load(t, s.Log(1), 1, 3))
	require.NoError(t, wait(s.Log(1), removeOp(2), removeOp(1), removeOp(3)))
	require.Len(t, kv.m, 1)
}

func TestMessagesOutOfOrderAreFoundInOrder(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{})
	l := s.Log(1)
	require.NoError(t, wait(l, appendOp(10, "10"), appendOp(30, "30"), appendOp(50, "50")))
	require.NoError(t, wait(l, appendOp(60, "60")))
	require.NoError(t, wait(l, appendOp(40, "40"), appendOp(20, "20"), appendOp(5, "5")))
	require.NoError(t, wait(l, removeOp(30), removeOp(999)))
	want := []string{"5:5", "10:10", "20:20", "40:40", "50:50", "60:60"}
	require.Equal(t, want, load(t, l, 0, 100))
	require.Equal(t, "5 10 20 40 50 60", seqs(recovered(t, l)))
	require.NoError(t, s.Close())
	s = open(t, kv, Options{})
	require.Equal(t, "5 10 20 40 50 60", seqs(recovered(t, s.Log(1))))
	require.Equal(t, want, load(t, s.Log(1), 0, 100))
}

func TestTransientMessagesDoNotComeBack(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{})
	l := s.Log(1)
	paged := appendOp(2, "paged")
	paged.Transient = true
	paged.Deliveries = 1
	require.NoError(t, wait(l, appendOp(1, "kept"), paged, appendOp(3, "kept")))
	require.Equal(t, []string{"1:kept", "2:paged", "3:kept"}, load(t, l, 0, 9))
	require.NoError(t, s.Close())
	s = open(t, kv, Options{})
	require.Equal(t, "1 3", seqs(recovered(t, s.Log(1))))
	require.NoError(t, s.Close())
	require.Equal(t, 2, kv.count(keyPack), "swept")
}

func TestDefinitions(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{})
	s.Define([]Definition{{Kind: 'q', Key: []byte("b"), Value: []byte("1")}, {Kind: 'q', Key: []byte("a"), Value: []byte("2")}}, nil)
	s.Define([]Definition{{Kind: 'e', Key: nil, Value: []byte("3")}, {Kind: 'q', Key: []byte("b"), Delete: true}}, nil)
	require.NoError(t, s.Sync(context.Background()))
	var got []string
	require.NoError(t, s.Definitions(func(kind byte, k, v []byte) error {
		got = append(got, fmt.Sprintf("%c%s=%s", kind, k, v))
		return nil
	}))
	require.Equal(t, []string{"e=3", "qa=2"}, got)
}

func TestADroppedQueueLeavesNothing(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	kv.limits = store.Limits{MaxBytes: 4000, MaxChanges: 50}
	s := open(t, kv, Options{PackSize: 100})
	l := s.Log(1)
	for i := range 200 {
		require.NoError(t, wait(l, appendOp(uint64(i), strings.Repeat("x", 60))))
	}
	require.NoError(t, wait(s.Log(2), appendOp(1, "other")))
	l.Submit([]store.Op{appendOp(500, "late")}, func(error) {})
	l.Drop()
	l.Submit([]store.Op{appendOp(501, "later")}, func(error) { t.Error("a callback after Drop") })
	require.NoError(t, s.Close())
	require.Equal(t, 1, kv.count(keyPack))
	require.Equal(t, 1, kv.count(keyIndex))
	s = open(t, kv, Options{})
	require.Equal(t, []uint64{2}, s.Queues())
	require.Equal(t, []uint64{2}, s.Forget(func(uint64) bool { return false }))
	require.NoError(t, s.Close())
	require.Len(t, kv.m, 1)
}

func TestASharedMessageIsStoredOnce(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{CompactFrom: 1})
	let := kv.holdUp(s)
	body := strings.Repeat("s", 1000)
	for i := range 10 {
		m := msg(body)
		for id := uint64(1); id <= 3; id++ {
			m.Retain(1)
			s.Log(id).Submit([]store.Op{{Kind: store.Append, Seq: uint64(i), Msg: m}, appendOp(uint64(i)+100, "own")}, func(error) {})
		}
		m.Release()
	}
	let()
	require.NoError(t, s.Sync(context.Background()))
	require.Equal(t, 1, kv.count(keyShared))
	require.Less(t, kv.written, int64(15000))
	require.NoError(t, s.Close())
	s = open(t, kv, Options{CompactFrom: 1})
	for id := uint64(1); id <= 3; id++ {
		require.Len(t, recovered(t, s.Log(id)), 20)
		got := load(t, s.Log(id), 0, 200)
		require.Len(t, got, 20)
		require.Equal(t, "9:"+body, got[9])
	}
	// Nine of ten go from all queues: the shared pack is rewritten.
	for i := range 9 {
		for id := uint64(1); id <= 3; id++ {
			require.NoError(t, wait(s.Log(id), removeOp(uint64(i)), removeOp(uint64(i)+100)))
		}
	}
	compacted(t, s)
	require.NoError(t, s.Close())
	for k, v := range kv.m {
		if k[0] == keyShared {
			require.Less(t, len(v), 2000)
		}
	}
	s = open(t, kv, Options{})
	for id := uint64(1); id <= 3; id++ {
		require.Equal(t, []string{"9:" + body, "109:own"}, load(t, s.Log(id), 0, 200))
		require.NoError(t, wait(s.Log(id), removeOp(9)))
	}
	require.Zero(t, kv.count(keyShared))
	require.Zero(t, kv.count(keySharedInfo))
}

func TestASparsePackIsRewritten(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{CompactFrom: 1})
	l := s.Log(1)
	var ops []store.Op
	for i := range 100 {
		ops = append(ops, appendOp(uint64(i), strings.Repeat("x", 500)))
	}
	require.NoError(t, wait(l, ops...))
	ops = nil
	for i := range 99 {
		ops = append(ops, removeOp(uint64(i)))
	}
	require.NoError(t, wait(l, ops...))
	compacted(t, s)
	require.NoError(t, s.Close())
	for k, v := range kv.m {
		if k[0] == keyPack {
			require.Less(t, len(v), 1000)
		}
	}
	s = open(t, kv, Options{CompactFrom: 1})
	require.Equal(t, "99", seqs(recovered(t, s.Log(1))))
	require.Len(t, load(t, s.Log(1), 0, 200), 1)
	require.Zero(t, s.dead)
}
