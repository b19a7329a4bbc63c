package connection

import (
	"errors"
	"io"
	"syscall"
)

// isReset reports that the client's side of the socket went without an orderly
// end.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}
