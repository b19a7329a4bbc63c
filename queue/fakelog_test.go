package queue

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// fakeLog is a store.Log that keeps everything in memory and answers when the
// test says so: late, and in whatever groups it likes.
type fakeLog struct {
	mu      sync.Mutex
	submits []fakeSubmit // not yet answered
	loads   []fakeLoad
	kept    map[uint64]fakeKept
	// journal is what was asked for, in order, as "kind seq".
	journal []string
	// submitted and loaded count the calls; failSubmit and failLoad name those
	// that fail, from 1.
	submitted, loaded    int
	failSubmit, failLoad map[int]error
	recover              func([]store.Entry)
	recovered            func(error)
	dropped              bool
	// asked, if set, is told that there is something to answer.
	asked chan struct{}
}

var _ store.Log = (*fakeLog)(nil)

type fakeKept struct {
	msg         *message.Message
	redelivered bool
	transient   bool
	deliveries  uint32
	expiry      int64
}

type fakeSubmit struct {
	number int
	ops    []store.Op
	done   func(error)
}

type fakeLoad struct {
	number int
	r      store.Range
	done   func([]store.Loaded, error)
}

func newFakeLog() *fakeLog {
	return &fakeLog{kept: map[uint64]fakeKept{}, failSubmit: map[int]error{}, failLoad: map[int]error{}}
}

// with says that a queue has the log, and is durable.
func (l *fakeLog) with(s *Spec, env *HostEnv) {
	s.Durable = true
	env.Log = l
}

func (l *fakeLog) Submit(ops []store.Op, done func(error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, op := range ops {
		kind := [...]string{store.Append: "append", store.Remove: "remove", store.Delivered: "delivered"}[op.Kind]
		if op.Transient {
			kind = "page out"
		}
		l.journal = append(l.journal, fmt.Sprint(kind, " ", op.Seq))
	}
	l.submitted++
	l.submits = append(l.submits, fakeSubmit{l.submitted, ops, done})
	l.ask()
}

func (l *fakeLog) Load(r store.Range, done func([]store.Loaded, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loaded++
	l.loads = append(l.loads, fakeLoad{l.loaded, r, done})
	l.ask()
}

func (l *fakeLog) Recover(batch func([]store.Entry), done func(error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recover, l.recovered = batch, done
	l.ask()
}

func (l *fakeLog) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped = true
	l.clear()
}

func (l *fakeLog) ask() {
	if l.asked != nil {
		select {
		case l.asked <- struct{}{}:
		default:
		}
	}
}

// clear gives every reference back and forgets who waits.
func (l *fakeLog) clear() {
	for _, s := range l.submits {
		releaseAppends(s.ops)
	}
	for _, k := range l.kept {
		k.msg.Release()
	}
	l.submits, l.loads, l.recovered = nil, nil, nil
	clear(l.kept)
}

func releaseAppends(ops []store.Op) {
	for _, op := range ops {
		if op.Kind == store.Append {
			op.Msg.Release()
		}
	}
}

// put keeps a message as if an earlier run had stored it.
func (l *fakeLog) put(seq uint64, m *message.Message, redelivered bool) {
	k := fakeKept{msg: m, redelivered: redelivered}
	if redelivered {
		k.deliveries = 1
	}
	l.kept[seq] = k
}

// commit answers the n oldest submits as one group and reports how many there
// were.
func (l *fakeLog) commit(n int) int {
	l.mu.Lock()
	n = min(n, len(l.submits))
	group := slices.Clone(l.submits[:n])
	l.submits = l.submits[n:]
	for _, s := range group {
		l.carryOut(s)
	}
	l.mu.Unlock()
	for _, s := range group {
		s.done(l.failSubmit[s.number])
	}
	return n
}

func (l *fakeLog) carryOut(s fakeSubmit) {
	if l.failSubmit[s.number] != nil {
		releaseAppends(s.ops)
		return
	}
	for _, op := range s.ops {
		k, ok := l.kept[op.Seq]
		switch op.Kind {
		case store.Append:
			l.kept[op.Seq] = fakeKept{
				msg: op.Msg, transient: op.Transient, expiry: op.Expiry,
				deliveries: op.Deliveries, redelivered: op.Deliveries > 0,
			}
		case store.Remove:
			for seq := op.Seq; seq <= max(op.Seq, op.To); seq++ {
				if k, ok := l.kept[seq]; ok {
					k.msg.Release()
					delete(l.kept, seq)
				}
			}
		case store.Delivered:
			if ok {
				k.redelivered = true
				k.deliveries = max(k.deliveries, op.Deliveries, 1)
				l.kept[op.Seq] = k
			}
		}
	}
}

// load answers the oldest load and reports whether there was one.
func (l *fakeLog) load() bool {
	l.mu.Lock()
	if len(l.loads) == 0 {
		l.mu.Unlock()
		return false
	}
	next := l.loads[0]
	l.loads = l.loads[1:]
	err := l.failLoad[next.number]
	var ls []store.Loaded
	if err == nil {
		for _, seq := range slices.Sorted(maps.Keys(l.kept)) {
			if seq >= next.r.From && seq <= next.r.To {
				m := l.kept[seq].msg
				m.Retain(1)
				ls = append(ls, store.Loaded{Seq: seq, Msg: m})
			}
		}
	}
	l.mu.Unlock()
	next.done(ls, err)
	return true
}

// recoverIn reports what is kept in batches of at most n entries.
func (l *fakeLog) recoverIn(n int, err error) {
	l.mu.Lock()
	var entries []store.Entry
	for _, seq := range slices.Sorted(maps.Keys(l.kept)) {
		k := l.kept[seq]
		entries = append(entries, store.Entry{Seq: seq, Size: k.msg.Size(), Redelivered: k.redelivered, Deliveries: k.deliveries, Priority: k.msg.Priority(), Expiry: k.expiry})
	}
	batch, done := l.recover, l.recovered
	l.recovered = nil
	l.mu.Unlock()
	for es := range slices.Chunk(entries, n) {
		batch(es)
	}
	done(err)
}

// loadsSoFar is how many loads were asked for.
func (l *fakeLog) loadsSoFar() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.loaded
}

// step answers something of what is waited for and reports whether there was
// anything.
func (l *fakeLog) step(rnd *rand.Rand) bool {
	l.mu.Lock()
	recovering := l.recovered != nil
	submits, loads := len(l.submits), len(l.loads)
	l.mu.Unlock()
	switch {
	case recovering:
		l.recoverIn(1+rnd.IntN(5), nil)
	case submits > 0 && (loads == 0 || rnd.IntN(2) == 0):
		l.commit(1 + rnd.IntN(submits))
	default:
		return l.load()
	}
	return true
}

// settleAll answers everything, and what is asked because of that.
func (l *fakeLog) settleAll(rnd *rand.Rand) {
	for l.step(rnd) {
	}
}

// serve answers until stop is closed: late, in random groups, from a goroutine
// of its own, as a real store would.
func (l *fakeLog) serve(rnd *rand.Rand, stop <-chan struct{}) {
	for {
		l.settleAll(rnd)
		select {
		case <-l.asked:
		case <-stop:
			return
		}
	}
}

// crash gives the log that a next run finds: what was not carried out is lost,
// and what was transient.
func (l *fakeLog) crash() *fakeLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := newFakeLog()
	for seq, k := range l.kept {
		if k.transient {
			k.msg.Release()
		} else {
			next.kept[seq] = k
		}
	}
	for _, s := range l.submits {
		releaseAppends(s.ops)
	}
	l.submits, l.loads = nil, nil
	clear(l.kept)
	return next
}

// left gives the bodies of what is kept, in order.
func (l *fakeLog) left() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var bodies []string
	for _, seq := range slices.Sorted(maps.Keys(l.kept)) {
		bodies = append(bodies, string(l.kept[seq].msg.Body()))
	}
	return bodies
}
