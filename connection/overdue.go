package connection

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/warrenmq/warren/reply"
)

// overdue is a channel with a delivery that was not settled in time (contract 03
// §11).
type overdue struct {
	s           *session
	consumerTag string
	why         *reply.Error
}

// TimedOut implements channel.Out. The reader, to whom the channel belongs, is
// made to look.
func (s *session) TimedOut(consumerTag string, why *reply.Error) {
	c := s.c
	c.interrupt.Lock()
	defer c.interrupt.Unlock()
	if c.released {
		return
	}
	c.overdue = append(c.overdue, overdue{s, consumerTag, why})
	select {
	case c.attention <- struct{}{}:
	default:
	}
	c.nc.SetReadDeadline(past)
}

// closeOverdue closes the channels that are overdue, unless they ended meanwhile.
func (c *Conn) closeOverdue() {
	for _, o := range c.takeOverdue() {
		if c.sessions[o.s.number] != o.s || o.s.closing {
			continue
		}
		c.log(slog.LevelWarn, fmt.Sprintf("Consumer '%s' on channel %d has timed out waiting for delivery acknowledgement. Connection (%s)",
			o.consumerTag, o.s.number, c.place()))
		c.closeChannel(o.s, o.why)
	}
}

// takeOverdue empties the list, and lets the reader wait for the client again
// unless it is wanted for something else.
func (c *Conn) takeOverdue() []overdue {
	c.interrupt.Lock()
	defer c.interrupt.Unlock()
	if !c.aborted() && len(c.forced) == 0 && len(c.broken) == 0 {
		c.nc.SetReadDeadline(time.Time{})
	}
	list := c.overdue
	c.overdue = nil
	return list
}
