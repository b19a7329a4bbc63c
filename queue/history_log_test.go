package queue

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store/memstore"
	"github.com/warrenmq/warren/store/msgstore"
)

// historyLog is the store of a queue in a history.
type historyLog interface {
	// with gives it to the queue.
	with(*Spec, *HostEnv)
	// settle returns when everything is answered and nothing more happens.
	settle()
	// restart ends it and gives what the next run of the broker finds.
	restart() historyLog
	// end is for when the queue is gone.
	end()
}

func newHistoryLog(t testing.TB, kind logKind, rnd *rand.Rand) historyLog {
	switch kind {
	case pageLog, lateLog:
		return &lateHistoryLog{fakeLog: newFakeLog(), durable: kind == lateLog, rnd: rnd}
	case realLog:
		return openHistoryLog(t, memstore.NewDisk())
	}
	return noHistoryLog{}
}

// noHistoryLog is for a queue in memory, which does what it does at once.
type noHistoryLog struct{}

func (noHistoryLog) with(*Spec, *HostEnv) {}
func (noHistoryLog) settle()              {}
func (noHistoryLog) restart() historyLog  { return noHistoryLog{} }
func (noHistoryLog) end()                 {}

// lateHistoryLog answers in random groups and in a random order.
type lateHistoryLog struct {
	*fakeLog
	durable bool
	rnd     *rand.Rand
}

func (l *lateHistoryLog) with(s *Spec, env *HostEnv) {
	s.Durable = l.durable
	env.Log = l.fakeLog
}

func (l *lateHistoryLog) settle() {
	synctest.Wait()
	l.settleAll(l.rnd)
}

func (l *lateHistoryLog) restart() historyLog {
	next := &lateHistoryLog{fakeLog: l.crash(), durable: l.durable, rnd: l.rnd}
	if !l.durable {
		next.clear()
	}
	return next
}

func (l *lateHistoryLog) end() {}

// realHistoryLog is what a durable queue has in a broker.
type realHistoryLog struct {
	t    testing.TB
	disk *memstore.Disk
	kv   *memstore.Store
	ms   *msgstore.Store
}

func openHistoryLog(t testing.TB, disk *memstore.Disk) *realHistoryLog {
	kv, err := disk.Open()
	require.NoError(t, err)
	// Small packs and an eager compaction, so that there is something to compact.
	ms, err := msgstore.Open(kv, msgstore.Options{PackSize: 64, CompactFrom: 1})
	require.NoError(t, err)
	return &realHistoryLog{t, disk, kv, ms}
}

func (l *realHistoryLog) with(s *Spec, env *HostEnv) {
	s.Durable = true
	env.Log = l.ms.Log(1)
}

func (l *realHistoryLog) settle() { synctest.Wait() }

// restart leaves the old store as it is, which is what a crash does, or closes it in
// order; what was answered is there either way.
func (l *realHistoryLog) restart() historyLog {
	image := l.disk.Crash()
	l.end()
	return openHistoryLog(l.t, image)
}

func (l *realHistoryLog) end() {
	require.NoError(l.t, l.ms.Close())
	require.NoError(l.t, l.kv.Close())
}
