package connection

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/warrenmq/warren/wire"
)

// heartbeats watches both directions of a connection (contract 02 §7). It has no
// goroutine: its timers run when they are due.
//
// Every half interval, what was sent is compared with the time before; if
// nothing was, a heartbeat goes out. Every interval, what was received is
// compared: two equal readings in a row mean that the client is gone, so that it
// is noticed after two to three intervals. Any octet counts. A client is not
// blamed while nobody listens to it: when the broker itself stopped reading, or
// is closing the connection.
type heartbeats struct {
	listening     atomic.Bool // the reader waits for the client
	mu            sync.Mutex
	sender, check *time.Timer
	begun         bool // the first heartbeat was sent
	stopped       bool
	sent, seen    uint64
	silent        int // readings in a row that showed nothing new
}

func (c *Conn) startHeartbeats() {
	if c.heartbeat == 0 {
		return
	}
	every := time.Duration(c.heartbeat) * time.Second
	b := &c.beats
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sender = time.AfterFunc(every/2, func() { c.sendHeartbeat(every / 2) })
	b.check = time.AfterFunc(every, func() { c.checkHeartbeat(every) })
}

func (c *Conn) sendHeartbeat(every time.Duration) {
	b := &c.beats
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return
	}
	now := c.sent.Load()
	if (!b.begun || now == b.sent) && c.out.heartbeat() {
		now += wire.FrameOverhead // the heartbeat itself does not put off the next
	}
	b.begun, b.sent = true, now
	b.sender.Reset(every)
}

func (c *Conn) checkHeartbeat(every time.Duration) {
	b := &c.beats
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return
	}
	now := c.received.Load()
	if now != b.seen || !b.listening.Load() {
		b.seen, b.silent = now, 0
	} else if b.silent++; b.silent >= 2 {
		c.missed.Store(true)
		c.Abort()
		return
	}
	b.check.Reset(every)
}

func (b *heartbeats) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	if b.sender != nil {
		b.sender.Stop()
		b.check.Stop()
	}
}
