package crashtest

import (
	"log/slog"
	"math/rand/v2"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/store/badgerstore"
)

// smallMemory lets a queue keep so little in memory that nearly all that waits is
// on the disk only.
var smallMemory = queue.Bounds{Messages: 64, Octets: 32 << 10}

// openBroker makes the broker of a child, on a directory or, without one, in
// memory. Every other one keeps next to nothing of its messages in memory.
func openBroker(dir string, log *slog.Logger) (*warren.Broker, error) {
	o := warren.Options{Logger: log}
	if dir == "" {
		return warren.New(o)
	}
	s, err := badgerstore.Open(dir, badgerstore.Options{Logger: log})
	if err != nil {
		return nil, err
	}
	o.Store = s
	if rand.IntN(2) == 0 {
		o.QueueMemory = smallMemory
	}
	return warren.New(o)
}
