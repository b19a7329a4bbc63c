package queue

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
)

// How much is played can be said on the command line, for a long run:
//
//	go test ./queue -run 'RandomHistories|NothingIsLost' -histories 20000 -history-seed 1000
var (
	histories   = flag.Int("histories", 150, "how many random histories to play")
	historySeed = flag.Uint64("history-seed", 0, "the seed of the first of them")
	historySize = flag.Int("history-steps", 300, "how many steps they have")
)

// Whatever happens to a classic queue, however it is declared and whatever it has
// for a store, it does exactly what its model does, message by message and consumer
// by consumer.
func TestRandomHistoriesAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	randomHistoriesAgree(t, Classic(), classicWorld)
}

// Whatever happens to a quorum queue it does exactly what its model does. The flags are
// those of TestRandomHistoriesAgreeWithTheModel.
func TestRandomHistoriesOfQuorumQueuesAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	randomHistoriesAgree(t, Quorum(), quorumWorld)
}

func randomHistoriesAgree(t *testing.T, typ Type, randomWorld func(*rand.Rand) world) {
	const together = 10
	for first := *historySeed; first < *historySeed+uint64(*histories); first += together {
		t.Run(fmt.Sprint("seeds from ", first), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(together) {
				agrees(t, typ, randomHistory(first+seed, *historySize, randomWorld))
			}
		})
	}
}

// agrees plays a history and, if that fails, the smallest one it can find that does.
func agrees(t *testing.T, typ Type, h history) {
	t.Helper()
	play := func(h history) error {
		_, err := playHistory(t, typ, h)
		return err
	}
	if err := play(h); err != nil {
		h, err = shrink(h, err, play)
		notes, _ := playHistory(t, typ, h)
		t.Errorf("%v\n%s", err, h.show(notes))
	}
}

// historiesThatFailed once did, as the shrinker left them: those of classic queues
// and those of quorum queues. The comment before one says what was wrong.
func historiesThatFailed() (classic, quorum []history) {
	return nil, []history{
		// What a client requeued did not count while its body was loaded.
		{seed: 201, world: world{arguments: args("x-max-length-bytes", int32(29), "x-overflow", "reject-publish"), log: pageLog, memory: 1}, steps: []step{
			{stepPublish, 2, 0, 0},  // publish "000001"; "000002"; "000003"
			{stepConsume, 3, 5, 16}, // consumer 1, prefetch 3, gate true
			{stepResume, 0, 3, 0},   // resume consumer 1 with room for 3
			{stepPublish, 2, 1, 0},  // publish "000004    "; "000005    "; "000006    "
			{stepSettle, 0, 1, 3},   // ack "000001"; requeue "000002"
			{stepPublish, 0, 0, 0},  // publish "000007"
		}},
		// What was loaded for a consumer made the queue too full.
		{seed: 236, world: world{arguments: args("x-delivery-limit", int32(2), "x-max-length-bytes", int32(14), "x-overflow", "reject-publish"), log: pageLog, memory: 1}, steps: []step{
			{stepPublish, 0, 0, 0}, // publish "000001"
			{stepPublish, 0, 0, 0}, // publish "000002"
			{stepConsume, 4, 0, 0}, // consumer 1, prefetch 4
			{stepPublish, 2, 2, 0}, // publish "000003        "; "000004        "; "000005        "
			{stepSettle, 0, 1, 1},  // requeue "000001"; requeue "000002"
			{stepPublish, 0, 0, 0}, // publish "000006"
		}},
		// What came back was dropped while it was loaded for a consumer.
		{seed: 381, world: world{log: pageLog, memory: 1}, steps: []step{
			{stepPolicy, 3, 0, 0},  // policy [{max-length 0}]
			{stepConsume, 0, 0, 0}, // consumer 1
			{stepPublish, 1, 0, 0}, // publish "000001"; "000002"
			{stepSettle, 0, 1, 6},  // return "000001"; return "000002"
		}},
		// The same, and what was never delivered went out in its place.
		{seed: 343, world: world{arguments: args("x-max-length-bytes", int32(14)), log: pageLog, memory: 3}, steps: []step{
			{stepPublish, 0, 0, 0}, // publish "000001"
			{stepConsume, 4, 0, 0}, // consumer 1, prefetch 4
			{stepPublish, 2, 0, 0}, // publish "000002"; "000003"; "000004"
			{stepPublish, 0, 1, 0}, // publish "000005    "
			{stepSettle, 3, 0, 6},  // return "000004"
		}},
		// What came back to a full queue died in another order.
		{seed: 383, world: world{arguments: args("x-dead-letter-exchange", "d")}, steps: []step{
			{stepConsume, 0, 0, 0}, // consumer 1
			{stepPublish, 1, 0, 0}, // publish "000001"; "000002"
			{stepPolicy, 3, 0, 0},  // policy [{max-length 0}]
			{stepCancel, 0, 1, 0},  // the channel of consumer 1 ends
		}},
		// Looking whether somebody could take what is loaded cost a full consumer its turn.
		{seed: 15401, world: world{arguments: args("x-message-ttl", int32(10), "x-max-length", int32(3)), log: pageLog, memory: 3}, steps: []step{
			{stepConsume, 3, 0, 0}, // consumer 1, prefetch 3
			{stepPublish, 2, 0, 0}, // publish "000001"; "000002"; "000003"
			{stepPublish, 0, 0, 0}, // publish "000004"
			{stepPublish, 1, 0, 0}, // publish "000005"; "000006"
			{stepWait, 0, 0, 0},    // wait 5ms
			{stepConsume, 0, 0, 0}, // consumer 2, prefetch 2000
			{stepSettle, 0, 2, 0},  // ack "000001"; ack "000002"; ack "000003"
			{stepPublish, 3, 0, 0}, // publish "000007"; "000008"; "000009"; "000010"
			{stepPublish, 1, 0, 0}, // publish "000011"; "000012"
			{stepWait, 0, 0, 0},    // wait 5ms
			{stepSettle, 5, 16, 1}, // requeue "000007"; requeue "000006"; requeue "000005"; requeue "000004"
			{stepSettle, 0, 0, 0},  // ack "000008"
			{stepPublish, 0, 0, 0}, // publish "000013"
		}},
		// Two that came back made room for two before the first of them was too much.
		{seed: 101972, world: world{log: pageLog, memory: 1}, steps: []step{
			{stepPolicy, 4, 6, 0},  // policy [{max-length-bytes 6}]
			{stepPublish, 0, 0, 0}, // publish "000001"
			{stepConsume, 2, 0, 0}, // consumer 1, prefetch 2
			{stepPublish, 0, 1, 0}, // publish "000002    "
			{stepPublish, 0, 0, 0}, // publish "000003"
			{stepSettle, 0, 3, 1},  // requeue "000002    "; requeue "000001"
		}},
		// What came back expired was too much before it was at the head.
		{seed: 105687, world: world{arguments: args("x-max-length", int32(0)), log: pageLog, memory: 3}, steps: []step{
			{stepConsume, 0, 0, 0}, // consumer 1, prefetch 2000
			{stepPublish, 2, 5, 1}, // publish "000001        "; "000002"; "000003    " ttl 0
			{stepPublish, 2, 0, 0}, // publish "000004"; "000005"; "000006"
			{stepPublish, 2, 0, 0}, // publish "000007"; "000008"; "000009"
			{stepPublish, 3, 0, 0}, // publish "000010"; "000011"; "000012"; "000013"
			{stepCancel, 0, 0, 0},  // cancel consumer 1
			{stepPolicy, 6, 0, 0},  // policy [{dead-letter-exchange e}]
			{stepSettle, 3, 12, 1}, // requeue all, from "000004" on
		}},
		// Who published while the queue was nearly empty was not refused.
		{seed: 99, world: world{arguments: args("x-max-length", int32(5), "x-overflow", "reject-publish")}, steps: []step{
			{stepPublish, 0, 336, 0}, // publish by 1 "000001"
			{stepPublish, 3, 0, 0},   // publish "000002"; "000003"; "000004"; "000005"
			{stepPublish, 0, 0, 0},   // publish "000006"
			{stepGet, 0, 0, 0},       // get "000001"
			{stepPublish, 0, 336, 0}, // publish by 1 "000007"
		}},
	}
}

func TestHistoriesThatFailedOnceDoNoMore(t *testing.T) {
	t.Parallel()
	classic, quorum := historiesThatFailed()
	replay := func(typ Type, failed []history) {
		for i, h := range failed {
			t.Run(fmt.Sprint(typ.Name(), " ", i, " seed ", h.seed), func(t *testing.T) {
				t.Parallel()
				agrees(t, typ, h)
			})
		}
	}
	replay(Classic(), classic)
	replay(Quorum(), quorum)
}
