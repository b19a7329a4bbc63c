package queuetest

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/warrenmq/warren/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClassic(t *testing.T) {
	t.Parallel()
	Run(t, queue.Classic())
}
