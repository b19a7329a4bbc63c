package msgstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
)

func in(a *store.Atom, op store.Op) store.Op {
	op.Atom = a
	return op
}

func TestAnAtomWaitsForItsParticipantsAndOtherQueuesDoNot(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{})
	one, two, three := s.Log(1), s.Log(2), s.Log(3)
	a := newAtom(3)
	var c collector
	one.Submit([]store.Op{appendOp(1, "before"), in(a, appendOp(2, "atom")), appendOp(3, "behind")}, c.done("one"))
	a.Leave(nil)
	one.Submit([]store.Op{appendOp(4, "behind")}, c.done("one again"))
	require.NoError(t, wait(three, appendOp(1, "other")))
	require.NoError(t, wait(two, appendOp(1, "other")))
	require.NoError(t, s.Sync(context.Background()))
	image := kv.reopen(kv.m)
	require.Empty(t, c.got)

	two.Submit([]store.Op{in(a, removeOp(1))}, c.done("two"))
	a.Leave(nil)
	require.NoError(t, s.Sync(context.Background()))
	require.Empty(t, c.got)
	a.Leave(nil) // the third adds nothing: it refused, or was deleted
	require.NoError(t, s.Sync(context.Background()))
	require.ElementsMatch(t, []string{"one", "one again", "two"}, c.got)
	require.Equal(t, []string{"1:before", "2:atom", "3:behind", "4:behind"}, load(t, one, 0, 9))
	require.Empty(t, load(t, two, 0, 9))

	s = open(t, image, Options{})
	require.Equal(t, "1", seqs(recovered(t, s.Log(1))))
	require.Equal(t, "1", seqs(recovered(t, s.Log(2))))
}

func TestAtomsThatCrossEachOtherAreWrittenAsOne(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{})
	a, b := newAtom(2), newAtom(2)
	var c collector
	s.Log(1).Submit([]store.Op{in(a, appendOp(1, "a")), in(b, appendOp(2, "b"))}, c.done("1"))
	s.Log(2).Submit([]store.Op{in(b, appendOp(1, "b")), in(a, appendOp(2, "a"))}, c.done("2"))
	var images []map[string][]byte
	kv.image = func(m map[string][]byte) { images = append(images, m) }
	b.Leave(nil)
	b.Leave(nil)
	require.NoError(t, s.Sync(context.Background()))
	require.Empty(t, images, "b is complete, but behind a")
	a.Leave(nil)
	a.Leave(nil)
	require.NoError(t, s.Sync(context.Background()))
	require.Equal(t, []string{"1", "2"}, c.got)
	require.Len(t, images, 1)
}

func TestADroppedQueueDoesNotHoldAnAtom(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{})
	a := newAtom(2)
	s.Log(1).Submit([]store.Op{in(a, appendOp(1, "gone"))}, func(error) { t.Error("a callback after Drop") })
	done := make(chan error, 1)
	s.Log(2).Submit([]store.Op{in(a, appendOp(1, "stays"))}, func(err error) { done <- err })
	s.Log(1).Drop()
	a.Leave(nil)
	a.Leave(nil)
	require.NoError(t, <-done)
	require.NoError(t, s.Close())
	s = open(t, kv, Options{})
	require.Equal(t, []uint64{2}, s.Queues())
}

func TestCloseDoesNotWaitForAtomsThatAreNotComplete(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{})
	a := newAtom(2)
	errs := make(chan error, 2)
	s.Log(1).Submit([]store.Op{in(a, appendOp(1, "atom"))}, func(err error) { errs <- err })
	s.Log(1).Submit([]store.Op{appendOp(2, "behind")}, func(err error) { errs <- err })
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-errs, ErrClosed)
	require.NoError(t, <-errs)
	s.Log(1).Submit([]store.Op{appendOp(3, "late")}, func(err error) { errs <- err })
	require.ErrorIs(t, <-errs, ErrClosed)
	s = open(t, kv, Options{})
	require.Equal(t, "2", seqs(recovered(t, s.Log(1))))
}

// TestAnAtomLargerThanAnApplyIsAllOrNothing crashes after each Apply of a large
// atom that removes messages of one queue and appends to two others.
func TestAnAtomLargerThanAnApplyIsAllOrNothing(t *testing.T) {
	t.Parallel()
	for fail := 0; fail <= 12; fail++ {
		t.Run(fmt.Sprint(fail), func(t *testing.T) {
			t.Parallel()
			kv := newFakeKV()
			kv.limits.MaxBytes = 20_000
			s := open(t, kv, Options{PackSize: 4000})
			var ops []store.Op
			for i := range 200 {
				ops = append(ops, appendOp(uint64(i), "old"))
			}
			require.NoError(t, wait(s.Log(1), ops...))
			let := kv.holdUp(s)
			images := []map[string][]byte{}
			kv.image = func(m map[string][]byte) { images = append(images, m) }
			a := newAtom(3)
			removes, twos, threes := []store.Op{}, []store.Op{}, []store.Op{}
			for i := range 200 {
				removes = append(removes, in(a, removeOp(uint64(i))))
				m := msg(strings.Repeat("n", 700))
				m.Retain(1)
				twos = append(twos, store.Op{Kind: store.Append, Seq: uint64(i), Msg: m, Atom: a})
				threes = append(threes, store.Op{Kind: store.Append, Seq: uint64(i), Msg: m, Atom: a}, in(a, appendOp(uint64(1000+i), "x")))
			}
			errs := make(chan error, 3)
			for i, ops := range [][]store.Op{removes, twos, threes} {
				s.Log(uint64(i+1)).Submit(ops, func(err error) { errs <- err })
				a.Leave(nil)
			}
			start := kv.applies + 1
			kv.before = func(n int) error {
				if fail > 0 && n == start+fail {
					return fmt.Errorf("wrapped: %w", store.ErrNoSpace)
				}
				return nil
			}
			let()
			failed := false
			for range 3 {
				if err := <-errs; err != nil {
					require.ErrorIs(t, err, store.ErrNoSpace)
					failed = true
				}
			}
			if failed {
				require.Len(t, load(t, s.Log(1), 0, 999), 200)
				require.Empty(t, load(t, s.Log(2), 0, 999))
				s.Retry() // and now the whole atom, though it was reported as failed
			}
			require.NoError(t, s.Close())
			images = append(images, kv.m)
			require.GreaterOrEqual(t, len(images), 8)
			done := 0
			for i, m := range images {
				s := open(t, kv.reopen(m), Options{})
				one, two, three := len(recovered(t, s.Log(1))), len(recovered(t, s.Log(2))), len(recovered(t, s.Log(3)))
				if one == 0 {
					done++
					require.Equal(t, []int{200, 400}, []int{two, three}, i)
					require.Len(t, load(t, s.Log(2), 0, 999), 200)
				} else {
					require.Equal(t, []int{200, 0, 0}, []int{one, two, three}, i)
				}
				require.NoError(t, s.Close())
				if one > 0 {
					require.Equal(t, 0, s.kv.(*fakeKV).count(keyShared), "orphans are swept")
				}
			}
			require.Positive(t, done)
		})
	}
}

func TestAnAtomWhoseIndexDoesNotFitFailsAlone(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	kv.limits = store.Limits{MaxBytes: 2000, MaxChanges: 20}
	s := open(t, kv, Options{PackSize: 100})
	a := newAtom(1)
	var ops []store.Op
	for i := range 1000 {
		ops = append(ops, in(a, appendOp(uint64(i), strings.Repeat("x", i%50))))
	}
	done := make(chan error, 1)
	s.Log(1).Submit(ops, func(err error) { done <- err })
	a.Leave(nil)
	require.ErrorIs(t, <-done, ErrTooLarge)
	require.NoError(t, wait(s.Log(1), appendOp(2000, "fine")))
	require.NoError(t, s.Close())
	require.Equal(t, 1, kv.count(keyPack))
	require.False(t, errors.Is(s.Failed(), ErrTooLarge))
}

// What is in a round with an atom does not fail because the atom does, nor does an atom
// because the rest of the round leaves no room for it.
func TestAnAtomAndTheRestOfItsRoundAreNoBurdenToEachOther(t *testing.T) {
	t.Parallel()
	for _, size := range []int{20, 1000} {
		kv := newFakeKV()
		kv.limits = store.Limits{MaxBytes: 8000, MaxChanges: 100}
		s := open(t, kv, Options{PackSize: 500})
		let := kv.holdUp(s)
		var c collector
		for i := range uint64(40) {
			s.Log(10+i).Submit([]store.Op{appendOp(1, "plain")}, c.done("plain"))
		}
		a := newAtom(1)
		var ops []store.Op
		for i := range size {
			ops = append(ops, in(a, appendOp(uint64(2*i), strings.Repeat("x", i%50))))
		}
		atom := make(chan error, 1)
		s.Log(1).Submit(ops, func(err error) { atom <- err })
		a.Leave(nil)
		s.Define([]Definition{{Kind: 'q', Key: []byte("name"), Value: []byte("a queue")}}, c.done("definition"))
		let()
		if err := <-atom; size > 100 {
			require.ErrorIs(t, err, ErrTooLarge)
		} else {
			require.NoError(t, err)
		}
		require.NoError(t, s.Close())
		require.NotContains(t, strings.Join(c.got, " "), "failed")
		require.Len(t, c.got, 41)
		require.Contains(t, kv.m, "Dqname")
		s = open(t, kv, Options{})
		for i := range uint64(40) {
			require.Len(t, recovered(t, s.Log(10+i)), 1)
		}
	}
}

// TestManyAtomsAtOnceAreMoreThanOneGroup has more atoms complete in one round
// than fit into an Apply, one after the other and across each other.
func TestManyAtomsAtOnceAreMoreThanOneGroup(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{})
	var ops []store.Op
	for i := range 400 {
		ops = append(ops, appendOp(uint64(i), strings.Repeat("o", i)))
		if i%4 == 3 {
			require.NoError(t, wait(s.Log(1), ops...))
			ops = nil
		}
	}
	require.NoError(t, s.Close())
	kv = kv.reopen(kv.m)
	kv.limits = store.Limits{MaxBytes: 3000, MaxChanges: 100}
	s = open(t, kv, Options{PackSize: 500})
	let := kv.holdUp(s)
	var c collector
	var atoms []*store.Atom
	for i := range uint64(400) {
		a := newAtom(2)
		atoms = append(atoms, a)
		s.Log(1).Submit([]store.Op{in(a, removeOp(i))}, c.done("1"))
		s.Log(2).Submit([]store.Op{in(a, appendOp(i, "moved"))}, c.done("2"))
	}
	// These two cannot be parted.
	a, b := newAtom(2), newAtom(2)
	s.Log(1).Submit([]store.Op{in(a, appendOp(1000, "a")), in(b, appendOp(1001, "b"))}, c.done("1"))
	s.Log(2).Submit([]store.Op{in(b, appendOp(1000, "b")), in(a, appendOp(1001, "a"))}, c.done("2"))
	for _, a := range append(atoms, b, a) {
		a.Leave(nil)
		a.Leave(nil)
	}
	let()
	require.NoError(t, s.Close())
	require.Len(t, c.got, 802)
	require.NotContains(t, strings.Join(c.got, " "), "failed")
	s = open(t, kv, Options{})
	require.Len(t, recovered(t, s.Log(1)), 2)
	require.Len(t, recovered(t, s.Log(2)), 402)
}
