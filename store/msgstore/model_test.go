package msgstore

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// history is a random run of several queues against a store, and a record of
// what was asked for and answered, by which any crash image can be judged.
type history struct {
	t   testing.TB
	rnd *rand.Rand
	kv  *fakeKV
	s   *Store

	mu      sync.Mutex
	queues  []*histQueue
	images  []image
	answers []answered // by queue
	failed  int        // submits that were answered with an error
}

// histQueue is one queue of a history. Its ops are in the order of submission.
type histQueue struct {
	id      uint64
	log     store.Log
	ops     []histOp
	next    uint64
	live    map[uint64]string // what was appended and not removed
	dropped bool
	order   []int // of the callbacks
}

type histOp struct {
	kind   store.OpKind
	seq    uint64
	body   string
	atom   *store.Atom
	submit int
}

// image is what was on the medium after an Apply, and what was known then.
type image struct {
	m    map[string][]byte
	asks []int          // ops submitted, by queue
	done []map[int]bool // submits answered with nil, by queue
	gone []bool         // dropped
}

type answered struct {
	done map[int]bool
}

func newHistory(t testing.TB, seed uint64, kv *fakeKV, o Options) *history {
	h := &history{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), kv: kv}
	s, err := Open(kv, o)
	require.NoError(t, err)
	h.s = s
	for id := range 4 {
		h.queues = append(h.queues, &histQueue{id: uint64(id + 1), log: s.Log(uint64(id + 1)), live: map[uint64]string{}})
	}
	done := make([]answered, len(h.queues))
	for i := range done {
		done[i].done = map[int]bool{}
	}
	h.answers = done
	kv.image = func(m map[string][]byte) {
		h.mu.Lock()
		defer h.mu.Unlock()
		im := image{m: m}
		for i, q := range h.queues {
			im.asks = append(im.asks, len(q.ops))
			im.done = append(im.done, maps.Clone(h.answers[i].done))
			im.gone = append(im.gone, q.dropped)
		}
		h.images = append(h.images, im)
	}
	return h
}

// step submits something at random.
func (h *history) step() {
	if h.rnd.IntN(4) > 0 {
		h.submit(h.rnd.IntN(len(h.queues)), nil, nil)
		return
	}
	// An atom of some queues, or a message for some queues.
	members := h.rnd.Perm(len(h.queues))[:1+h.rnd.IntN(len(h.queues))]
	var m *message.Message
	if h.rnd.IntN(2) == 0 {
		m = msg(fmt.Sprintf("shared %d %s", h.rnd.Uint32(), strings.Repeat("s", 30+h.rnd.IntN(300))))
	}
	var a *store.Atom
	if h.rnd.IntN(3) > 0 {
		a = newAtom(len(members))
	}
	for _, i := range members {
		h.submit(i, a, m)
		if h.rnd.IntN(4) == 0 {
			h.submit(i, a, nil)
		}
		if h.rnd.IntN(4) == 0 {
			h.submit(h.rnd.IntN(len(h.queues)), nil, nil) // behind it, or beside
		}
		if a != nil {
			a.Leave(nil)
		}
	}
	if m != nil {
		m.Release()
	}
}

// submit submits some ops to a queue, some of them in the atom.
func (h *history) submit(i int, a *store.Atom, shared *message.Message) {
	q := h.queues[i]
	if q.dropped {
		return
	}
	var ops []store.Op
	h.mu.Lock()
	number := len(q.ops)
	add := func(op store.Op, body string) {
		if a != nil && (shared != nil || h.rnd.IntN(3) > 0) {
			op.Atom = a
		}
		ops = append(ops, op)
		q.ops = append(q.ops, histOp{op.Kind, op.Seq, body, op.Atom, number})
	}
	if shared != nil {
		shared.Retain(1)
		q.next++
		body := string(shared.Body())
		q.live[q.next] = body
		add(store.Op{Kind: store.Append, Seq: q.next, Msg: shared}, body)
	}
	for range h.rnd.IntN(8) {
		switch r := h.rnd.IntN(10); {
		case r < 5:
			q.next += 1 + uint64(h.rnd.IntN(10))/9*uint64(h.rnd.IntN(50))
			seq := q.next
			body := fmt.Sprintf("%d/%d %s", q.id, seq, strings.Repeat("b", h.rnd.IntN(2)*h.rnd.IntN(200)))
			if h.rnd.IntN(200) == 0 {
				body = strings.Repeat("large", 500)
			}
			q.live[seq] = body
			add(appendOp(seq, body), body)
		case r < 9 && len(q.live) > 0 && h.rnd.IntN(30) == 0: // a range, with gaps
			op := removeOp(h.pick(q))
			op.To = op.Seq + 1 + h.rnd.Uint64N(40)
			for _, seq := range slices.Sorted(maps.Keys(q.live)) {
				if seq < op.Seq || seq > op.To {
					continue
				}
				delete(q.live, seq)
				if seq == op.Seq {
					add(op, "")
				} else {
					q.ops = append(q.ops, histOp{store.Remove, seq, "", ops[len(ops)-1].Atom, number})
				}
			}
		case r < 9 && len(q.live) > 0:
			seq := h.pick(q)
			delete(q.live, seq)
			add(removeOp(seq), "")
		default:
			if len(q.live) > 0 {
				add(deliveredOp(h.pick(q)), "")
			}
		}
	}
	h.mu.Unlock()
	if len(ops) == 0 {
		return
	}
	q.log.Submit(ops, func(err error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		q.order = append(q.order, number)
		if err == nil {
			h.answers[i].done[number] = true
		} else {
			h.failed++
		}
	})
}

// pick gives a live message, mostly an old one.
func (h *history) pick(q *histQueue) uint64 {
	seqs := slices.Sorted(maps.Keys(q.live))
	return seqs[min(h.rnd.IntN(len(seqs)), h.rnd.IntN(len(seqs)))]
}

// check judges an image: what was confirmed and not removed is there, what was
// removed for sure is not, and nothing else is. With exact, each queue is what
// some number of its ops make of it, and atoms are in all queues or in none.
func (h *history) check(n int, im image, exact, bodies bool) {
	t := h.t
	kv := h.kv.reopen(im.m)
	s, err := Open(kv, Options{})
	require.NoError(t, err, "image %d", n)
	atoms := map[*store.Atom][2]bool{} // in for sure, out for sure
	for i, q := range h.queues {
		if im.gone[i] {
			continue
		}
		ops, done := q.ops[:im.asks[i]], im.done[i]
		actual := map[uint64]store.Entry{}
		last := uint64(0)
		for _, e := range recovered(t, s.Log(q.id)) {
			require.Greater(t, e.Seq, last)
			last = e.Seq
			actual[e.Seq] = e
		}
		h.checkSafe(n, q, ops, done, actual)
		if exact {
			h.checkPrefix(n, q, ops, done, actual, atoms)
		}
		if bodies {
			want := []string{}
			for _, seq := range slices.Sorted(maps.Keys(actual)) {
				want = append(want, fmt.Sprintf("%d:%s", seq, bodyOf(ops, seq)))
			}
			got := load(t, s.Log(q.id), 0, 1<<62)
			require.Equal(t, want, append([]string{}, got...), "image %d", n)
		}
	}
	for _, sure := range atoms {
		require.False(t, sure[0] && sure[1], "image %d: an atom is in one queue and not in another", n)
	}
	require.NoError(t, s.Close())
	again, err := Open(kv, Options{})
	require.NoError(t, err, "after the sweep of image %d", n)
	require.NoError(t, again.Close())
}

func bodyOf(ops []histOp, seq uint64) string {
	for _, op := range ops {
		if op.kind == store.Append && op.seq == seq {
			return op.body
		}
	}
	return "?"
}

func (h *history) checkSafe(n int, q *histQueue, ops []histOp, done map[int]bool, actual map[uint64]store.Entry) {
	appended, removed := map[uint64]bool{}, map[uint64]bool{}
	for _, op := range ops {
		switch op.kind {
		case store.Append:
			appended[op.seq] = done[op.submit]
		case store.Remove:
			removed[op.seq] = removed[op.seq] || done[op.submit]
		}
	}
	for seq, sure := range appended {
		_, there := actual[seq]
		_, gone := removed[seq]
		require.False(h.t, sure && !gone && !there, "image %d: queue %d lost message %d", n, q.id, seq)
	}
	for seq, e := range actual {
		_, known := appended[seq]
		require.True(h.t, known, "image %d: queue %d has a message %d that was never appended", n, q.id, seq)
		require.False(h.t, removed[seq], "image %d: queue %d still has message %d", n, q.id, seq)
		require.Equal(h.t, len(bodyOf(ops, seq)), e.Size)
	}
}

func (h *history) checkPrefix(n int, q *histQueue, ops []histOp, done map[int]bool, actual map[uint64]store.Entry, atoms map[*store.Atom][2]bool) {
	removedAt, markedLast := map[uint64]int{}, map[uint64]bool{}
	least := 0
	for k, op := range ops {
		if op.kind == store.Remove {
			removedAt[op.seq] = k
		}
		if op.kind == store.Delivered {
			markedLast[op.seq] = true
		}
		if done[op.submit] {
			least = k + 1
		}
	}
	first, last := -1, -1
	alive, marked := map[uint64]bool{}, map[uint64]bool{}
	fits := func() bool {
		for seq, e := range actual {
			if !alive[seq] || marked[seq] && !e.Redelivered || e.Redelivered && !markedLast[seq] {
				return false
			}
		}
		for seq := range alive {
			_, there := actual[seq]
			_, later := removedAt[seq]
			if !there && !later {
				return false
			}
		}
		return true
	}
	for k := 0; ; k++ {
		if k >= least && fits() {
			if first < 0 {
				first = k
			}
			last = k
		}
		if k == len(ops) {
			break
		}
		switch op := ops[k]; op.kind {
		case store.Append:
			alive[op.seq] = true
		case store.Remove:
			delete(alive, op.seq)
		case store.Delivered:
			marked[op.seq] = true
		}
	}
	require.GreaterOrEqual(h.t, first, 0, "image %d: queue %d is not what a number of its ops make of it", n, q.id)
	for k, op := range ops {
		if op.atom == nil || op.kind == store.Delivered {
			continue
		}
		sure := atoms[op.atom]
		sure[0] = sure[0] || k < first
		sure[1] = sure[1] || k >= last
		atoms[op.atom] = sure
	}
}

// order checks that callbacks came in the order of the calls.
func (h *history) order() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, q := range h.queues {
		require.True(h.t, slices.IsSorted(q.order), "queue %d", q.id)
	}
}

func smallKV() *fakeKV {
	kv := newFakeKV()
	kv.limits = store.Limits{MaxBytes: 6000, MaxChanges: 300}
	return kv
}

// smallOptions make packs of a group, or groups of which packs are merged.
func smallOptions(seed uint64) Options {
	if seed%2 == 0 {
		return Options{PackSize: 600, ShareFrom: 40, CompactFrom: 1}
	}
	return Options{PackSize: 12_000, ShareFrom: 200, CompactFrom: 1, MergeFrom: 4}
}

func TestEveryCrashLeavesWhatANumberOfOpsMake(t *testing.T) {
	t.Parallel()
	for seed := range seeds(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			kv := smallKV()
			h := newHistory(t, seed, kv, smallOptions(seed))
			for i := range 400 {
				h.step()
				if h.rnd.IntN(20) == 0 {
					require.NoError(t, h.s.Sync(t.Context()))
				}
				if seed%3 == 2 && i == 200 {
					h.mu.Lock()
					h.queues[3].dropped = true
					h.mu.Unlock()
					h.queues[3].log.Drop()
				}
			}
			require.NoError(t, h.s.Close())
			h.order()
			require.Zero(t, h.failed)
			require.NotEmpty(t, h.images)
			for n, im := range h.images {
				if n%5 == int(seed%5) || n > len(h.images)-3 {
					h.check(n, im, true, n%2 == 0)
				}
			}
			final := h.images[len(h.images)-1]
			s := open(t, kv.reopen(final.m), Options{})
			for _, q := range h.queues {
				if q.dropped {
					continue
				}
				var got []uint64
				for _, e := range recovered(t, s.Log(q.id)) {
					got = append(got, e.Seq)
				}
				require.Equal(t, slices.Sorted(maps.Keys(q.live)), got)
			}
		})
	}
}

var errMedium = errors.New("medium failed")

func TestAnErrorAtAnyApplyConfirmsNothingThatIsNotThere(t *testing.T) {
	t.Parallel()
	for fail := 2; fail < 60; fail++ {
		var told []error
		kv := smallKV()
		o := smallOptions(uint64(fail))
		o.OnError = func(err error) { told = append(told, err) }
		h := newHistory(t, 99, kv, o)
		kv.before = func(n int) error {
			if n >= fail {
				return errMedium
			}
			return nil
		}
		for range 150 {
			h.step()
			if h.rnd.IntN(5) == 0 {
				_ = h.s.Sync(t.Context())
			}
		}
		err := h.s.Close()
		h.order()
		if kv.applies < fail {
			require.NoError(t, err)
			break
		}
		require.ErrorIs(t, err, errMedium)
		require.ErrorIs(t, h.s.Failed(), errMedium)
		require.Len(t, told, 1)
		kv.image(maps.Clone(kv.m))
		h.check(fail, h.images[len(h.images)-1], true, true)
	}
}

func TestAFullMediumForgetsAppendsAndNothingElse(t *testing.T) {
	t.Parallel()
	for fail := 2; fail < 60; fail++ {
		var told []bool
		kv := smallKV()
		o := smallOptions(uint64(fail))
		o.OnNoSpace = func(err error) { told = append(told, err != nil) }
		h := newHistory(t, 7, kv, o)
		kv.before = func(n int) error {
			if n >= fail && n < fail+1+fail%4 {
				return fmt.Errorf("wrapped: %w", store.ErrNoSpace)
			}
			return nil
		}
		for range 150 {
			h.step()
			if h.rnd.IntN(5) == 0 {
				if err := h.s.Sync(t.Context()); err != nil {
					require.ErrorIs(t, err, store.ErrNoSpace)
				}
			}
		}
		for range 5 {
			h.s.Retry()
			_ = h.s.Sync(t.Context())
		}
		require.NoError(t, h.s.Close())
		h.order()
		if h.failed > 0 {
			require.Equal(t, []bool{true, false}, told[:2])
		}
		for n, im := range h.images {
			if n%7 == 0 {
				h.check(n, im, false, true)
			}
		}
		h.checkFinal(fmt.Sprint("fail ", fail))
	}
}

// seeds is how many histories a test tries: MSGSTORE_SEEDS, or n without it.
func seeds(n uint64) uint64 {
	if v, err := strconv.ParseUint(os.Getenv("MSGSTORE_SEEDS"), 10, 64); err == nil {
		return v
	}
	return n
}

// TestAMediumThatIsFullNowAndThen lets groups fail at random, drops queues
// meanwhile, and looks at all that is left.
func TestAMediumThatIsFullNowAndThen(t *testing.T) {
	t.Parallel()
	for seed := range seeds(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			kv := smallKV()
			h := newHistory(t, seed+1000, kv, smallOptions(seed))
			fate := rand.New(rand.NewPCG(seed, 2))
			full := false
			kv.before = func(int) error {
				if fate.IntN(8) == 0 {
					full = !full
				}
				if full {
					return store.ErrNoSpace
				}
				return nil
			}
			for i := range 300 {
				h.step()
				if h.rnd.IntN(10) == 0 {
					_ = h.s.Sync(t.Context())
				}
				if i == 200 {
					h.mu.Lock()
					h.queues[0].dropped = true
					h.mu.Unlock()
					h.queues[0].log.Drop()
				}
			}
			_ = h.s.Sync(t.Context())
			kv.mu.Lock()
			kv.before = nil
			kv.mu.Unlock()
			h.s.Retry()
			compacted(t, h.s)
			require.NoError(t, h.s.Close())
			h.order()
			for n, im := range h.images {
				if n%9 == 0 || n == len(h.images)-1 {
					h.check(n, im, false, true)
				}
			}
			h.checkFinal(fmt.Sprint("seed ", seed))
			r, err := Check(kv, func(err error) { t.Error(err) })
			require.NoError(t, err)
			require.Zero(t, r.Orphans)
		})
	}
}

// checkFinal checks that all was carried out in the end, but for appends that
// failed.
func (h *history) checkFinal(what string) {
	t := h.t
	s := open(t, h.kv.reopen(h.kv.m), Options{})
	for i, q := range h.queues {
		if q.dropped {
			require.Empty(t, recovered(t, s.Log(q.id)), what)
			continue
		}
		got := map[uint64]bool{}
		for _, e := range recovered(t, s.Log(q.id)) {
			require.Contains(t, q.live, e.Seq, "%s: queue %d", what, q.id)
			got[e.Seq] = true
		}
		for _, op := range q.ops {
			_, live := q.live[op.seq]
			if op.kind == store.Append && live && (op.atom != nil || h.answers[i].done[op.submit]) {
				require.True(t, got[op.seq], "%s: queue %d lost %d", what, q.id, op.seq)
			}
		}
	}
}
