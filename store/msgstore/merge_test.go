package msgstore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
)

// one appends a message that its publisher waits for.
func one(t *testing.T, l store.Log, seq uint64, change func(*store.Op)) {
	op := appendOp(seq, fmt.Sprint("message ", seq, strings.Repeat(".", int(seq%7))))
	if change != nil {
		change(&op)
	}
	require.NoError(t, wait(l, op))
}

// TestMessagesPublishedOneByOneShareAPack keeps all that is known of the messages, and
// does not keep a pack for each.
func TestMessagesPublishedOneByOneShareAPack(t *testing.T) {
	t.Parallel()
	const n = 3000
	kv := newFakeKV()
	s := open(t, kv, Options{})
	l := s.Log(1)
	want := []store.Entry{}
	for i := range uint64(n) {
		seq := i + i/100*3 // gaps
		one(t, l, seq, func(op *store.Op) {
			op.Expiry = int64(i % 5 * 1000)
			op.Msg.SetAttributes(true, uint8(i%3))
		})
		e := store.Entry{Seq: seq, Size: len(fmt.Sprint("message ", seq)) + int(seq%7), Expiry: int64(i % 5 * 1000), Priority: uint8(i % 3)}
		switch {
		case i%10 == 7:
			require.NoError(t, wait(l, removeOp(seq)))
			continue
		case i%10 == 3:
			e.Deliveries, e.Redelivered = 4, true
			require.NoError(t, wait(l, store.Op{Kind: store.Delivered, Seq: seq, Deliveries: 4}))
		}
		want = append(want, e)
	}
	compacted(t, s)
	require.LessOrEqual(t, kv.count(keyIndex), s.opts.MergeFrom+n/mostMerged)
	require.Less(t, len(s.logs[1].index.packs), 2*kv.count(keyIndex)+2)
	require.Len(t, load(t, l, 0, 2*n), len(want))
	require.NoError(t, s.Close())
	report, err := Check(kv, func(err error) { t.Error(err) })
	require.NoError(t, err)
	require.Equal(t, len(want), report.Messages)

	s = open(t, kv, Options{})
	l = s.Log(1)
	require.Equal(t, want, recovered(t, l))
	for i, body := range load(t, l, 0, 2*n) {
		seq := want[i].Seq
		require.Equal(t, fmt.Sprint(seq, ":message ", seq, strings.Repeat(".", int(seq%7))), body)
	}
	all := removeOp(0)
	all.To = 2 * n
	require.NoError(t, wait(l, all))
	require.Zero(t, s.bytes)
	require.Zero(t, s.dead)
	require.Zero(t, kv.count(keyPack)+kv.count(keyIndex)+kv.count(keyState))
}

// TestALoadFollowsAMerge begins a Load before packs are merged, and reads them after.
func TestALoadFollowsAMerge(t *testing.T) {
	t.Parallel()
	const n = 40
	kv := newFakeKV()
	held := &heldGets{Store: kv}
	s := open(t, held, Options{MergeFrom: n})
	l := s.Log(1)
	for i := range uint64(n - 1) {
		one(t, l, i, nil)
	}
	// The first message of the range is read only when the others are in another pack.
	reading, merged := make(chan struct{}), make(chan struct{})
	once := func() {
		close(reading)
		<-merged
	}
	held.next.Store(&once)
	got := make(chan []string, 1)
	go func() { got <- load(t, l, 0, n-2) }()
	<-reading
	one(t, l, n-1, nil)
	compacted(t, s)
	require.Less(t, kv.count(keyIndex), n)
	close(merged)
	all := <-got
	require.Len(t, all, n-1)
	require.Equal(t, "0:message 0", all[0])
}

// lateApply returns from an Apply that replaces packs when it is let, though what it
// writes can be read before that, as with a medium that has still to sync.
type lateApply struct {
	store.Store
	let chan struct{}
}

func (l *lateApply) Apply(changes []store.Change) error {
	err := l.Store.Apply(changes)
	replaces := func(deletes bool) bool {
		return slices.ContainsFunc(changes, func(c store.Change) bool { return c.Key[0] == keyPack && c.Delete == deletes })
	}
	if replaces(true) && replaces(false) {
		<-l.let
	}
	return err
}

// TestALoadDuringAMergeWaitsForIt loads messages whose old packs are deleted already,
// while the store does not know yet that the new one is written.
func TestALoadDuringAMergeWaitsForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 40
		late := &lateApply{newFakeKV(), make(chan struct{})}
		s := open(t, late, Options{MergeFrom: n})
		l := s.Log(1)
		for i := range uint64(n) {
			one(t, l, i, nil)
		}
		synctest.Wait() // until the merge is in its Apply
		type result struct {
			all []string
			err error
		}
		got := make(chan result, 1)
		go func() {
			all, err := tryLoad(l, 0, n-1)
			got <- result{all, err}
		}()
		synctest.Wait()
		close(late.let)
		r := <-got
		require.NoError(t, r.err)
		require.Len(t, r.all, n)
	})
}

// TestWhatHappensDuringAMergeCounts removes and marks messages between the choice of
// the packs and the writing of the merged one.
func TestWhatHappensDuringAMergeCounts(t *testing.T) {
	t.Parallel()
	const packs = 40
	for name, during := range map[string]struct {
		ops  []store.Op
		left string
	}{
		"a message is removed":   {[]store.Op{removeOp(3)}, "0 1 2 4 5 6"},
		"a message is delivered": {[]store.Op{{Kind: store.Delivered, Seq: 3, Deliveries: 7}}, "0 1 2 3! 4 5"},
		"a pack is removed":      {[]store.Op{removeOp(3), removeOp(2), deliveredOp(4)}, "0 1 4! 5 6 7"},
	} {
		for _, read := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", read before: ", read), func(t *testing.T) {
				t.Parallel()
				kv := newFakeKV()
				held := &heldGets{Store: kv}
				s := open(t, held, Options{MergeFrom: packs})
				l := s.Log(1)
				// The merge is held up before it reads the first pack, or the last one.
				reads, stop := 1, 1
				if read {
					stop = packs // an index and a pack of half of them
				}
				waiting, over := make(chan struct{}), make(chan struct{})
				var each func()
				each = func() {
					if reads < stop {
						reads++
						held.next.Store(&each)
						return
					}
					close(waiting)
					<-over
				}
				held.next.Store(&each)
				for i := range uint64(packs) {
					require.NoError(t, wait(l, appendOp(2*i, "even"), appendOp(2*i+1, "odd")))
				}
				<-waiting
				before := kv.count(keyIndex)
				require.NoError(t, wait(l, during.ops...))
				close(over)
				compacted(t, s)
				require.Less(t, kv.count(keyIndex), before-1)
				require.NoError(t, wait(l, removeOp(2*packs-1)))
				require.NoError(t, s.Close())
				s = open(t, kv, Options{})
				got := recovered(t, s.Log(1))
				require.Equal(t, during.left, seqs(got[:6]))
				require.Len(t, load(t, s.Log(1), 0, 2*packs), len(got))
			})
		}
	}
}
