package connection

import (
	"errors"
	"fmt"
	"io"

	"github.com/warrenmq/warren/reply"
)

const (
	clientGone = "client unexpectedly closed TCP connection"
	cutOff     = "the broker closed it"
)

func (c *Conn) missedHeartbeats() string {
	return fmt.Sprintf("missed heartbeats from client, timeout: %ds", c.heartbeat)
}

// reason says why an open connection ended without the close handshake, in the
// words of the log. err ended the reader.
func (c *Conn) reason(err error) reply.Reason {
	switch {
	case c.missed.Load():
		return reply.Reason{By: reply.ByNetwork, Text: c.missedHeartbeats(), Err: err}
	case c.aborted():
		return reply.Reason{By: reply.ByBroker, Text: cutOff}
	case errors.Is(err, io.EOF) || isReset(err):
		return reply.Reason{By: reply.ByNetwork, Text: clientGone, Err: err}
	}
	return reply.Reason{By: reply.ByNetwork, Text: fmt.Sprintf("{inet_error,%v}", err), Err: err}
}
