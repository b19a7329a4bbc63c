package channel

import (
	"sync/atomic"
	"time"

	"github.com/warrenmq/warren/limiter"
	"github.com/warrenmq/warren/queue"
)

const (
	// pacedReplies is how many octets of replies may wait for a requester before
	// those who reply wait for it, too.
	pacedReplies = 1 << 20
	// maxReplies is how many may wait at all, though one may that is larger. What
	// comes on top of them is dropped: the replies of many responders who did not
	// know of each other, or of some who have lost patience.
	maxReplies = 8 << 20
	// replyPatience is for how long who replies waits for a requester that reads
	// nothing. Nobody waits for it again before it has read something, so that one
	// that is stuck does not hold up the others who are served by the same channel.
	replyPatience = 200 * time.Millisecond
)

// pace is how those who reply keep step with a requester. There is no queue between
// them that could hold what the requester has not read, as RabbitMQ's memory does
// without a bound. It is guarded by its channel's mu.
type pace struct {
	behind  atomic.Bool   // Written has to look; may be read without the lock
	owed    int           // octets of replies that are not written yet, at the most
	room    chan struct{} // closed when the wait is over; nil while nobody waits
	timer   *time.Timer   // while there is room
	moved   bool          // since the timer was set
	stalled bool
}

// take asks for the room that a reply costs. It is taken out of the channel's window
// too, which a reply does not wait for: the window's room is given back without a
// word of whether it was a reply's.
func (p *pace) take(w *limiter.Window, cost int) bool {
	p.owed = min(p.owed, w.Used())
	if p.owed > 0 && p.owed+cost > maxReplies {
		return false
	}
	p.owed += cost
	w.Take(cost)
	return true
}

// wait says whether to wait for the requester after a reply.
func (p *pace) wait(ch *Channel) queue.Wait {
	if p.owed <= pacedReplies || p.stalled {
		return queue.Wait{}
	}
	if p.room == nil {
		room := make(chan struct{})
		p.room, p.moved = room, false
		p.timer = time.AfterFunc(replyPatience, func() { ch.losePatience(room) })
		p.behind.Store(true)
	}
	w := queue.Wait{C: p.room}
	// All may have been written before anybody could see that it is waited for.
	p.check(ch.window)
	return w
}

// check ends the wait when the requester has caught up.
func (p *pace) check(w *limiter.Window) {
	if p.owed = min(p.owed, w.Used()); p.owed <= pacedReplies/2 {
		p.open()
	}
}

// open ends the wait.
func (p *pace) open() {
	p.stalled = false
	p.behind.Store(false)
	p.release()
}

func (p *pace) release() {
	if p.room != nil {
		p.timer.Stop()
		close(p.room)
		p.room, p.timer = nil, nil
	}
}

// catchUp is called when a requester that is behind has read something.
func (ch *Channel) catchUp() {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.pace.moved, ch.pace.stalled = true, false
	ch.pace.check(ch.window)
}

// losePatience looks after a requester that others wait for until room is closed.
func (ch *Channel) losePatience(room chan struct{}) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	p := &ch.pace
	switch {
	case p.room != room: // it caught up meanwhile
	case p.moved:
		p.moved = false
		p.timer.Reset(replyPatience)
	default:
		p.stalled = true
		p.release()
	}
}
