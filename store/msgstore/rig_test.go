package msgstore

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

func open(t testing.TB, kv store.Store, o Options) *Store {
	t.Helper()
	s, err := Open(kv, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func msg(body string) *message.Message {
	m := message.New("ex", "key", []byte{0x10, 0, 2}, len(body))
	m.AppendBody([]byte(body))
	m.SetAttributes(true, 0)
	return m
}

func appendOp(seq uint64, body string) store.Op {
	return store.Op{Kind: store.Append, Seq: seq, Msg: msg(body)}
}

func removeOp(seq uint64) store.Op    { return store.Op{Kind: store.Remove, Seq: seq} }
func deliveredOp(seq uint64) store.Op { return store.Op{Kind: store.Delivered, Seq: seq} }

// wait submits ops and gives what became of them.
func wait(l store.Log, ops ...store.Op) error {
	done := make(chan error, 1)
	l.Submit(ops, func(err error) { done <- err })
	return <-done
}

// load gives the bodies of a range as "seq:body".
func load(t testing.TB, l store.Log, from, to uint64) []string {
	t.Helper()
	got, err := tryLoad(l, from, to)
	require.NoError(t, err)
	return got
}

func tryLoad(l store.Log, from, to uint64) (got []string, err error) {
	done := make(chan struct{})
	l.Load(store.Range{From: from, To: to}, func(ls []store.Loaded, e error) {
		for _, l := range ls {
			got = append(got, fmt.Sprintf("%d:%s", l.Seq, l.Msg.Body()))
			l.Msg.Release()
		}
		err = e
		close(done)
	})
	<-done
	return got, err
}

// recovered gives the entries of a log.
func recovered(t testing.TB, l store.Log) (entries []store.Entry) {
	t.Helper()
	done := make(chan error, 1)
	l.Recover(func(es []store.Entry) { entries = append(entries, es...) }, func(err error) { done <- err })
	require.NoError(t, <-done)
	return entries
}

// seqs gives the positions of entries, with a ! for those delivered.
func seqs(entries []store.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, " %d", e.Seq)
		if e.Redelivered {
			b.WriteByte('!')
		}
	}
	return strings.TrimPrefix(b.String(), " ")
}

// collector counts what callbacks say.
type collector struct {
	mu  sync.Mutex
	got []string
}

func (c *collector) done(name string) func(error) {
	return func(err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if err != nil {
			name += " failed"
		}
		c.got = append(c.got, name)
	}
}

// compacted waits until everything submitted is durable and nothing is being
// compacted.
func compacted(t testing.TB, s *Store) {
	t.Helper()
	for {
		require.NoError(t, s.Sync(t.Context()))
		c := &s.compactor
		c.mu.Lock()
		idle := !c.running && len(c.jobs) == 0 && c.waiting == 0
		c.mu.Unlock()
		if idle {
			return
		}
		runtime.Gosched()
	}
}

// newAtom makes an atom that so many have to leave.
func newAtom(participants int) *store.Atom {
	a := store.NewAtom()
	a.Join(participants - 1)
	return a
}
