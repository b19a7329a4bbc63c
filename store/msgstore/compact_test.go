package msgstore

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
)

// heldGets is a store whose Get waits while a test holds mu, or the next one for
// something else.
type heldGets struct {
	store.Store
	mu   sync.RWMutex
	next atomic.Pointer[func()]
}

func (h *heldGets) Get(key []byte, use func([]byte) error) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if once := h.next.Swap(nil); once != nil {
		(*once)()
	}
	return h.Store.Get(key, use)
}

// TestARewrittenPackStaysWhenItsGroupFails has a pack rewritten in a group that is
// written in several steps, of which a later one finds no room.
func TestARewrittenPackStaysWhenItsGroupFails(t *testing.T) {
	t.Parallel()
	for fail := 1; fail < 8; fail++ {
		t.Run(fmt.Sprint("step ", fail), func(t *testing.T) {
			t.Parallel()
			kv := newFakeKV()
			kv.limits.MaxBytes = 20_000
			held := &heldGets{Store: kv}
			s := open(t, held, Options{CompactFrom: 1, PackSize: 8000})
			l := s.Log(1)
			var ops []store.Op
			for i := range uint64(10) {
				ops = append(ops, appendOp(i, strings.Repeat("x", 500)))
			}
			require.NoError(t, wait(l, ops...))

			// The compactor is to be taken together with a large atom.
			ops = nil
			for i := range uint64(8) {
				ops = append(ops, removeOp(i))
			}
			held.mu.Lock()
			require.NoError(t, wait(l, ops...))
			let := kv.holdUp(s)
			held.mu.Unlock()
			for made := false; !made; runtime.Gosched() {
				s.mu.Lock()
				made = len(s.in.rewrites) > 0
				s.mu.Unlock()
			}
			a := newAtom(1)
			ops = nil
			for i := range uint64(40) {
				ops = append(ops, in(a, appendOp(100+i, strings.Repeat("y", 700))))
			}
			answered := make(chan error, 1)
			l.Submit(ops, func(err error) { answered <- err })
			a.Leave(nil)
			start := kv.applies + 1 // the one that is held up
			kv.before = func(n int) error {
				if n == start+fail {
					return store.ErrNoSpace
				}
				return nil
			}
			let()
			if err := <-answered; err != nil {
				require.ErrorIs(t, err, store.ErrNoSpace)
			}
			for range 3 {
				s.Retry()
				_ = s.Sync(t.Context())
			}
			compacted(t, s)
			require.Len(t, load(t, l, 0, 99), 2)
			require.NoError(t, s.Close())
			s = open(t, kv, Options{})
			require.Len(t, load(t, s.Log(1), 0, 999), 42)
		})
	}
}
