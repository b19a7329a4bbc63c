package crashtest

import (
	"log/slog"

	"github.com/warrenmq/warren"
)

// openBroker makes the broker of a child.
func openBroker(dir string, log *slog.Logger) (*warren.Broker, error) {
	return warren.New(warren.Options{Logger: log})
}
