package queue

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// newRefusing gives a quorum queue that refuses what is too much. With a log it keeps
// one body in memory.
func newRefusing(t *testing.T, log *fakeLog, limit int32) *rig {
	t.Helper()
	return newQuorum(t, log, args("x-max-length", limit, "x-overflow", "reject-publish"), func(_ *Spec, env *HostEnv) {
		if log != nil {
			env.Memory = Bounds{Messages: 1}
		}
	})
}

func TestAFullQuorumQueueRefusesUntilItIsUnderFourFifths(t *testing.T) {
	t.Parallel()
	r := newRefusing(t, nil, 5)
	r.post(bodies1to(8)...)
	r.answers.want(seqs(1, 6), seqs(7, 8))
	r.get(true)
	r.post("9")
	r.answers.want(seqs(1, 6), seqs(7, 9))

	other := &answers{t: t, verdicts: map[uint64]bool{}}
	b := NewBatch()
	b.Publish(Publish{Msg: r.message("new", false), Ref: message.PublishRef{By: other, Seq: 1}})
	b.Publish(Publish{Msg: r.message("new again", false), Ref: message.PublishRef{By: other, Seq: 2}})
	b.Publish(Publish{Msg: r.message("dead letter", false), Ref: deadLetterRef})
	r.h.Post(b)
	other.want(seqs(1, 1), seqs(2, 2))
	require.Equal(t, 7, r.stat().Ready)

	for range 2 {
		r.get(true)
	}
	r.post("10")
	r.answers.want(seqs(1, 6), seqs(7, 10))
	r.get(true)
	r.post("11")
	r.answers.want(append(seqs(1, 6), 11), seqs(7, 10))
	r.deleteAndBalance()
}

// What goes back to a consumer at once never was too much, though it has to be loaded.
func TestAFullQuorumQueueDoesNotRefuseForWhatIsLoadedForAConsumer(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 1))
	log := newFakeLog()
	r := newRefusing(t, log, 2)
	in := r.consume(Consumer{Prefetch: 2})
	r.post(bodies1to(4)...)
	log.settleAll(rnd)
	held := in.want("1", "2")
	r.settle(Return, held...)
	log.settleAll(rnd)
	in.want("1", "2")
	r.post("5")
	log.settleAll(rnd)
	r.post("6")
	log.settleAll(rnd)
	r.answers.want(seqs(1, 5), []uint64{6})
	r.deleteAndBalance()
}

// What a client requeues was there all the time, though it has to be loaded.
func TestAFullQuorumQueueRefusesWhileItLoadsWhatIsRequeued(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 1))
	log := newFakeLog()
	r := newRefusing(t, log, 10)
	r.post(bodies1to(11)...)
	log.settleAll(rnd)
	in := r.consume(Consumer{Prefetch: 2})
	log.settleAll(rnd)
	held := in.want("1", "2")
	r.settle(Requeue, held[1])
	require.Equal(t, Stat{Ready: 9, Unacked: 2, ReadyBytes: 11, Consumers: 1}, r.stat())
	log.settleAll(rnd)
	in.want("3")
	r.post("12")
	log.settleAll(rnd)
	r.answers.want(seqs(1, 11), []uint64{12})
	r.deleteAndBalance()
}

// RabbitMQ looks how full the queue is after what each consumer settled.
func TestAFullQuorumQueueTakesMoreBetweenWhatTwoConsumersSettle(t *testing.T) {
	t.Parallel()
	r := newRefusing(t, nil, 5)
	in := r.consume(Consumer{Prefetch: 1})
	r.post(bodies1to(7)...)
	got, _ := r.get(false)
	require.Equal(t, "2", got.body)
	held := in.want("1")
	b := NewBatch()
	b.Settle(Settle{ID: held[0].id, Consumer: held[0].consumer, Outcome: Ack})
	b.Settle(Settle{ID: got.id, Outcome: Requeue})
	r.h.Post(b)
	require.Equal(t, 5, r.stat().Ready)
	r.post("8")
	r.post("9")
	r.answers.want(seqs(1, 8), []uint64{9})
	r.deleteAndBalance()
}

func TestAQuorumQueueRemembersNoMorePublishersThanItNeeds(t *testing.T) {
	t.Parallel()
	r := newRefusing(t, nil, 5)
	q := r.h.q.(*quorum)
	for range 2 * maxPublishers {
		r.publishAs(&answers{t: t, verdicts: map[uint64]bool{}}, "m")
	}
	require.Len(t, q.publishers.refused, maxPublishers)
	_, err := r.h.Purge()
	require.NoError(t, err)
	require.Empty(t, q.publishers.refused, "most of them will be gone")
	r.publishAs(r.answers, "m")
	require.Len(t, q.publishers.refused, 1)
	r.deleteAndBalance()
}

// publishAs publishes a message whose answer goes to somebody.
func (r *rig) publishAs(by message.Confirmer, body string) {
	b := NewBatch()
	b.Publish(Publish{Msg: r.message(body, false), Ref: message.PublishRef{By: by, Seq: 1}})
	r.h.Post(b)
}

// Whoever published to the queue while it was nearly empty is refused like others.
func TestAFullQuorumQueueRefusesAnEarlierPublisher(t *testing.T) {
	t.Parallel()
	r := newRefusing(t, nil, 5)
	early, late := &answers{t: t, verdicts: map[uint64]bool{}}, &answers{t: t, verdicts: map[uint64]bool{}}
	r.publishAs(early, "1")
	clear(early.verdicts)
	r.post("2", "3", "4", "5", "6")
	r.get(true)
	require.Equal(t, 5, r.stat().Ready)
	r.publishAs(early, "refused")
	early.want(nil, seqs(1, 1))
	r.publishAs(late, "7")
	late.want(seqs(1, 1), nil)
	r.deleteAndBalance()
}

// Nothing is allocated for a publish of one that is known.
func TestAPublisherIsKnownWithoutAllocating(t *testing.T) {
	var p publishers
	var known, nobody message.Confirmer = &answers{t: t}, nil
	p.blocks(known, false)
	p.blocks(nobody, false)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		p.blocks(known, true)
		p.blocks(nobody, true)
	}))
	require.Len(t, p.refused, 2)
}

// brief is a Confirmer of one publish of a channel.
type brief struct{ *answers }

func (b brief) Publisher() any { return weak.Make(b.answers) }

// A channel that is new is nobody who was refused before, though it may stand in the
// memory of one that is gone.
func TestAPublisherThatIsGoneIsForgottenWithItsPlaceInMemory(t *testing.T) {
	t.Parallel()
	var p publishers
	for range 20 {
		for range maxPublishers / 40 {
			require.False(t, p.blocks(brief{&answers{t: t}}, false), "it is new")
		}
		p.stop()
		runtime.GC()
	}
	lasting := &answers{t: t}
	require.False(t, p.blocks(brief{lasting}, false))
	p.stop()
	require.True(t, p.blocks(brief{lasting}, false), "it is known by its next publish")
}
