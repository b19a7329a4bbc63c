package msgstore

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
)

// TestQueuesWorkAtOnce has several goroutines publish, deliver, acknowledge,
// load and drop while packs are compacted.
func TestQueuesWorkAtOnce(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	kv.limits = store.Limits{MaxBytes: 50_000, MaxChanges: 1000}
	s := open(t, kv, Options{PackSize: 3000, ShareFrom: 100, CompactFrom: 1, Readers: 2})
	const queues, rounds = 6, 150
	var wg sync.WaitGroup
	var answers, asked atomic.Int64
	left := make([][]string, queues)
	for id := range queues {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(id)))
			l := s.Log(uint64(id))
			live := map[uint64]string{}
			next := uint64(0)
			for range rounds {
				var ops []store.Op
				for range 1 + rnd.IntN(20) {
					next++
					body := fmt.Sprint(id, "/", next, strings.Repeat("x", rnd.IntN(200)))
					ops = append(ops, appendOp(next, body))
					live[next] = body
				}
				for seq := range live {
					if rnd.IntN(3) == 0 && len(live) > 5 {
						ops = append(ops, deliveredOp(seq), removeOp(seq))
						delete(live, seq)
					}
				}
				asked.Add(1)
				l.Submit(ops, func(err error) {
					answers.Add(1)
					if err != nil {
						t.Error(err)
					}
				})
				if rnd.IntN(3) == 0 {
					from := rnd.Uint64N(next)
					got, err := tryLoad(l, from, from+30)
					if err != nil {
						t.Error(err)
					}
					there := strings.Join(got, " ")
					for seq, body := range live {
						if seq >= from && seq <= from+30 && !strings.Contains(there, fmt.Sprint(seq, ":", body)) {
							t.Errorf("message %d of queue %d is missing", seq, id)
						}
					}
				}
				if rnd.IntN(20) == 0 {
					gone := s.Log(uint64(1000*id) + next)
					gone.Submit([]store.Op{appendOp(1, "gone")}, func(error) {})
					gone.Drop()
				}
			}
			for seq := range next + 1 {
				if body, ok := live[seq]; ok {
					left[id] = append(left[id], fmt.Sprint(seq, ":", body))
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, s.Sync(t.Context()))
	require.Equal(t, asked.Load(), answers.Load())
	compacted(t, s)
	require.NoError(t, s.Close())
	r, err := Check(kv, func(err error) { t.Error(err) })
	require.NoError(t, err)
	require.Zero(t, r.Orphans)
	s = open(t, kv, Options{})
	require.Len(t, s.Queues(), queues)
	for id := range queues {
		require.Equal(t, left[id], load(t, s.Log(uint64(id)), 0, 1<<60))
	}
}

// TestAFanOutFromManyGoroutines shares messages between queues whose submits
// come from different goroutines, as hosts' do.
func TestAFanOutFromManyGoroutines(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{PackSize: 3000, ShareFrom: 100, CompactFrom: 1})
	const queues, n = 4, 300
	posts := make([]chan store.Op, queues)
	var wg sync.WaitGroup
	for id := range queues {
		posts[id] = make(chan store.Op, 16)
		wg.Go(func() {
			l := s.Log(uint64(id))
			for op := range posts[id] {
				l.Submit([]store.Op{op}, func(error) {})
				if op.Seq%uint64(id+2) != 0 {
					l.Submit([]store.Op{removeOp(op.Seq)}, func(error) {})
				}
			}
		})
	}
	for seq := range uint64(n) {
		m := msg(fmt.Sprint(seq, strings.Repeat("f", 200)))
		m.Retain(queues - 1)
		for _, p := range posts {
			p <- store.Op{Kind: store.Append, Seq: seq, Msg: m}
		}
	}
	for _, p := range posts {
		close(p)
	}
	wg.Wait()
	compacted(t, s)
	require.NoError(t, s.Close())
	_, err := Check(kv, func(err error) { t.Error(err) })
	require.NoError(t, err)
	s = open(t, kv, Options{})
	for id := range queues {
		got := load(t, s.Log(uint64(id)), 0, n)
		require.Len(t, got, (n+id+1)/(id+2))
	}
}

func TestAFailureIsToldToThoseBehindAnAtom(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{})
	a := newAtom(1)
	errs := make(chan error, 2)
	tell := func(err error) { errs <- err }
	s.Log(1).Submit([]store.Op{in(a, appendOp(1, "atom"))}, tell)
	s.Log(1).Submit([]store.Op{appendOp(2, "behind")}, tell)
	require.NoError(t, s.Sync(t.Context()))
	kv.before = func(int) error { return errMedium }
	require.ErrorIs(t, wait(s.Log(2), appendOp(1, "x")), errMedium)
	require.ErrorIs(t, <-errs, errMedium)
	require.ErrorIs(t, <-errs, errMedium)
	require.ErrorIs(t, wait(s.Log(1), appendOp(3, "later")), errMedium)
	require.ErrorIs(t, s.Sync(t.Context()), errMedium)
	a.Leave(nil)
	require.ErrorIs(t, s.Close(), errMedium)
}

func TestCloseTellsThatRemovalsWereLost(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	s := open(t, kv, Options{})
	require.NoError(t, wait(s.Log(1), appendOp(1, "a"), appendOp(2, "b")))
	full := true
	kv.before = func(int) error {
		if full {
			return store.ErrNoSpace
		}
		return nil
	}
	require.ErrorIs(t, wait(s.Log(1), removeOp(1), appendOp(3, "c")), store.ErrNoSpace)
	require.NoError(t, s.Failed())
	require.Equal(t, []string{"2:b"}, load(t, s.Log(1), 0, 9), "it is removed, if not yet on the medium")
	require.ErrorIs(t, s.Close(), store.ErrNoSpace)
	full = false
	s = open(t, kv, Options{})
	require.Equal(t, []string{"1:a", "2:b"}, load(t, s.Log(1), 0, 9))
}

func TestEveryReferenceIsGivenBack(t *testing.T) {
	t.Parallel()
	kv := smallKV()
	s := open(t, kv, Options{PackSize: 500, ShareFrom: 10})
	m := msg(strings.Repeat("m", 100))
	op := func(seq uint64, a *store.Atom) store.Op {
		m.Retain(1)
		return store.Op{Kind: store.Append, Seq: seq, Msg: m, Atom: a}
	}
	a, open := newAtom(1), newAtom(1)
	require.NoError(t, wait(s.Log(1), op(1, nil), op(2, nil), removeOp(2)))
	s.Log(1).Submit([]store.Op{op(3, a)}, func(error) {})
	s.Log(2).Submit([]store.Op{op(3, a), op(4, nil)}, func(error) {})
	a.Leave(nil)
	require.NoError(t, s.Sync(t.Context()))
	kv.before = func(int) error { return store.ErrNoSpace }
	require.Error(t, wait(s.Log(1), op(5, nil)))
	b := newAtom(1)
	s.Log(1).Submit([]store.Op{op(6, b)}, func(error) {}) // is carried, and lost by Close
	b.Leave(nil)
	s.Log(2).Submit([]store.Op{op(6, open)}, func(error) {})
	s.Log(3).Submit([]store.Op{op(1, open)}, func(error) {})
	require.Error(t, wait(s.Log(1), op(7, nil)))
	s.Log(3).Drop()
	require.Error(t, s.Close())
	require.Equal(t, int32(1), m.Refs())
}
