package queue

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// What stands in a pool outlives a broker and may be found by another: it must
// not point to anything.

// It looks at batches that are in the pool, so that no other test may run meanwhile and
// take them out.
func TestABatchIsRecycledEmpty(t *testing.T) {
	b, more := new(Batch), new(Batch)
	for range 3 {
		b.Publish(Publish{Msg: new(message.Message)})
		more.Settle(Settle{ID: 1})
		more.Publish(Publish{Msg: new(message.Message)})
		more.control(func(bool) {})
	}
	b.take(more)
	require.Equal(t, 12, b.Len())
	require.Equal(t, []run{
		{runPublish, 3}, {runSettle, 1}, {runPublish, 1}, {runControl, 1}, {runSettle, 1},
		{runPublish, 1}, {runControl, 1}, {runSettle, 1}, {runPublish, 1}, {runControl, 1},
	}, b.runs)
	requireEmpty(t, more)
	b.free()
	requireEmpty(t, b)
}

func requireEmpty(t *testing.T, b *Batch) {
	t.Helper()
	require.Zero(t, b.Len())
	require.Empty(t, b.runs)
	for _, p := range b.publishes[:cap(b.publishes)] {
		require.Zero(t, p)
	}
	for _, s := range b.settles[:cap(b.settles)] {
		require.Zero(t, s)
	}
	for _, c := range b.controls[:cap(b.controls)] {
		require.Nil(t, c)
	}
}

func TestBatchesOfOneKindJoin(t *testing.T) {
	t.Parallel()
	b, more := new(Batch), new(Batch)
	b.Publish(Publish{})
	more.Publish(Publish{})
	more.Publish(Publish{})
	b.take(more)
	require.Equal(t, []run{{runPublish, 3}}, b.runs)
}

func TestAWorkspaceIsRecycledEmpty(t *testing.T) {
	t.Parallel()
	consumers := map[message.ConsumerID]*attached{}
	for id := range message.ConsumerID(3) {
		in := &inbox{t: t, id: id}
		consumers[id] = &attached{id: id, sink: in, lane: new(lane)}
	}
	w := new(workspace)
	for i := range 9 {
		m := message.New("", "", nil, 0)
		w.out.Deliver = append(w.out.Deliver, Delivery{Consumer: message.ConsumerID(i % 3), Msg: m})
		w.out.Got = append(w.out.Got, GetReply{Msg: m})
		w.out.Confirm = append(w.out.Confirm, message.PublishRef{By: &answers{}})
		w.out.Reject = append(w.out.Reject, message.PublishRef{By: &answers{}})
		w.out.DeadLetter = append(w.out.DeadLetter, Dead{Msg: m})
	}
	w.handOut(w.out.Deliver, func(id message.ConsumerID) *attached { return consumers[id] },
		func(a *attached, ds []Delivery) { a.sink.Deliver(ds) })
	w.empty()
	for id, a := range consumers {
		require.Len(t, a.sink.(*inbox).take(), 3, "consumer %d", id)
	}
	o := &w.out
	require.Zero(t, len(o.Got)+len(o.Deliver)+len(o.Confirm)+len(o.Reject)+len(o.DeadLetter)+len(w.to)+len(w.touched)+len(w.sorted))
	for i := range 3 {
		require.Nil(t, w.to[:9][i])
		require.Nil(t, w.touched[:3][i])
		require.Zero(t, w.sorted[:9][i])
		require.Zero(t, o.Got[:9][i])
		require.Zero(t, o.Deliver[:9][i])
		require.Zero(t, o.Confirm[:9][i])
		require.Zero(t, o.Reject[:9][i])
		require.Zero(t, o.DeadLetter[:9][i])
	}
}

func TestABurstOfUnansweredPublishesKeepsNoMemory(t *testing.T) {
	t.Parallel()
	a := pendingAnswers{stored: true}
	by := &answers{t: t, verdicts: map[uint64]bool{}}
	var in []Publish
	var refs []message.PublishRef
	for seq := range uint64(maxKept + 1) {
		ref := message.PublishRef{By: by, Seq: seq}
		in = append(in, Publish{Ref: ref})
		refs = append(refs, ref)
	}
	a.expect(in)
	a.given(refs[1:])
	require.Len(t, a.late.early, maxKept, "they were answered before the first one")
	a.given(refs[:1])
	require.Zero(t, a.late.len())
	require.Zero(t, cap(a.late.items))
	require.Nil(t, a.late.early)
	a.expect(in[:3])
	a.given(refs[1:2])
	a.rejectAll()
	by.want(nil, []uint64{0, 2})
}
