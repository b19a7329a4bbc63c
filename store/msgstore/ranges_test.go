package msgstore

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
)

func TestARangeIsRemovedWhereverItsMessagesAre(t *testing.T) {
	t.Parallel()
	for _, inAtom := range []bool{false, true} {
		t.Run(fmt.Sprint("in an atom ", inAtom), func(t *testing.T) {
			t.Parallel()
			kv := newFakeKV()
			s := open(t, kv, Options{PackSize: 64})
			l := s.Log(1)
			var all []store.Op
			for seq := uint64(1); seq <= 60; seq++ {
				if seq%7 != 0 { // there are gaps
					all = append(all, appendOp(seq, "m"))
				}
				if seq == 20 || seq == 40 {
					require.NoError(t, wait(l, all...))
					all = nil
				}
			}
			require.NoError(t, wait(l, removeOp(30)))
			purge := store.Op{Kind: store.Remove, Seq: 5, To: 57}
			if inAtom {
				require.NoError(t, wait(l, all...))
				all = nil
				a := store.NewAtom()
				purge.Atom = a
				a.Leave(nil)
			}
			require.NoError(t, wait(l, append(all, purge)...))
			const left = "1 2 3 4 58 59 60"
			require.Equal(t, "[1:m 2:m 3:m 4:m 58:m 59:m 60:m]", fmt.Sprint(load(t, l, 0, 100)))
			require.NoError(t, s.Close())
			s = open(t, kv, Options{})
			require.Equal(t, left, seqs(recovered(t, s.Log(1))))
			require.NoError(t, wait(s.Log(1), store.Op{Kind: store.Remove, Seq: 1, To: 1 << 40}))
			require.NoError(t, s.Close())
			require.Empty(t, open(t, kv, Options{}).Queues())
		})
	}
}

func TestAnAtomThatFailedChangesNothing(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{})
	one, two := s.Log(1), s.Log(2)
	require.NoError(t, wait(one, appendOp(1, "old")))
	a := newAtom(2)
	errs := make(chan error, 3)
	one.Submit([]store.Op{in(a, removeOp(1)), in(a, appendOp(2, "new"))}, func(err error) { errs <- err })
	two.Submit([]store.Op{in(a, appendOp(1, "new"))}, func(err error) { errs <- err })
	one.Submit([]store.Op{appendOp(3, "behind")}, func(err error) { errs <- err })
	failed := errors.New("a participant failed")
	a.Leave(failed)
	a.Leave(nil)
	var got []error
	for range 3 {
		got = append(got, <-errs)
	}
	require.ElementsMatch(t, []error{failed, failed, nil}, got)
	require.Equal(t, []string{"1:old", "3:behind"}, load(t, one, 0, 9))
	require.Empty(t, load(t, two, 0, 9))
}

func TestLoadsAreAnsweredInTheirOrder(t *testing.T) {
	t.Parallel()
	s := open(t, newFakeKV(), Options{})
	l := s.Log(1)
	require.NoError(t, wait(l, appendOp(1, "a"), appendOp(2, "b")))
	a := newAtom(1)
	l.Submit([]store.Op{in(a, appendOp(3, "c"))}, func(error) {})
	answers := make(chan uint64, 3)
	for _, seq := range []uint64{3, 1, 2} { // the first has to wait for the atom
		l.Load(store.Range{From: seq, To: seq}, func(ls []store.Loaded, err error) {
			for _, m := range ls {
				answers <- m.Seq
				m.Msg.Release()
			}
		})
	}
	require.Empty(t, answers)
	a.Leave(nil)
	require.Equal(t, []uint64{3, 1, 2}, []uint64{<-answers, <-answers, <-answers})
}
