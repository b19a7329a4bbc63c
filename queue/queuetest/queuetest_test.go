package queuetest

import (
	"math"
	"testing"

	"go.uber.org/goleak"

	"github.com/warrenmq/warren/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClassic(t *testing.T) {
	t.Parallel()
	Run(t, queue.Classic())
}

// What a quorum queue does differently has tests of its own in package queue.
func TestQuorum(t *testing.T) {
	t.Parallel()
	Run(t, queue.Quorum(queue.DeliveryLimit(math.MaxInt32)),
		// Those who hold something are consumers.
		"a got message is held until it is settled",
		"a cancelled consumer gets nothing and keeps what it holds",
		"random histories agree with a sorted list",
		"random histories with a late store agree with a sorted list",
		// What comes back has an order of its own.
		"messages requeued together return to their places",
		"messages requeued out of order return to their places",
		"a message that was loaded is requeued to its place",
		// Nothing is confirmed before the store has it.
		"purge and delete answer who waits for the store",
		"a message that left before it was stored is confirmed",
		// A consumer is never alone, and a delete has no conditions.
		"an exclusive consumer is alone",
		"a refused delete leaves the queue as it was",
	)
}
