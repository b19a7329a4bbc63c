package queue

import (
	"flag"
	"fmt"
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
	const together = 10
	for first := *historySeed; first < *historySeed+uint64(*histories); first += together {
		t.Run(fmt.Sprint("seeds from ", first), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(together) {
				agrees(t, Classic(), randomHistory(first+seed, *historySize, classicWorld))
			}
		})
	}
}

// Whatever happens to a quorum queue it does exactly what its model does. The flags are
// those of TestRandomHistoriesAgreeWithTheModel.
func TestRandomHistoriesOfQuorumQueuesAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	const together = 10
	for first := *historySeed; first < *historySeed+uint64(*histories); first += together {
		t.Run(fmt.Sprint("seeds from ", first), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(together) {
				agrees(t, Quorum(), randomHistory(first+seed, *historySize, quorumWorld))
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

// historiesThatFailed once did, as the shrinker left them.
func historiesThatFailed() []history {
	return []history{}
}

func TestHistoriesThatFailedOnceDoNoMore(t *testing.T) {
	t.Parallel()
	for _, h := range historiesThatFailed() {
		t.Run(fmt.Sprint("seed ", h.seed), func(t *testing.T) {
			t.Parallel()
			agrees(t, Classic(), h)
		})
	}
}
