package connection

import "github.com/warrenmq/warren/wire"

// What Info.State says of an open connection during an alarm (contract 02 §1).
const (
	// StateBlocking: the connection has not published since, and is served.
	StateBlocking = "blocking"
	// StateBlocked: it has published, and is not read until the alarm clears.
	StateBlocked = "blocked"
)

// maxReason is the length of AMQP's short strings. Alarms may have any name.
const maxReason = 255

// block holds a connection that sent a frame of a content during an alarm until
// no alarm is left (contract 07 §3, §6). What it sent so far is carried out, and
// everything after it waits unread, in the socket's buffers and then at the
// client, be it acks or a close. The broker goes on to write, deliveries and
// heartbeats, and does not blame the client for its silence.
//
// A client that goes meanwhile is noticed by a write that fails.
func (c *Conn) block() error {
	reason, over := c.Alarms.Episode()
	if over == nil {
		c.alarmed = false // it has cleared since the last read
		return nil
	}
	if c.caps.connectionBlocked {
		c.send(&wire.ConnectionBlocked{Reason: reason[:min(len(reason), maxReason)]})
	}
	c.view.show(func(i *Info) { i.State = StateBlocked })
	c.flush()
	for clear := false; !clear; {
		select {
		case <-over:
			clear = true
		case <-c.attention:
			c.closeOverdue()
		case err := <-c.broken:
			return err
		case why := <-c.forced:
			return c.endForced(why)
		case <-c.kill:
			return errAborted
		}
	}
	if c.caps.connectionBlocked {
		c.send(&wire.ConnectionUnblocked{})
	}
	c.enter(stateRunning)
	c.alarmed = c.Alarms.Any() // another one may have come
	return nil
}
