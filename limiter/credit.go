package limiter

import "time"

// CreditSpec says how much credit a sender starts with and how much its receiver
// grants at a time, both in messages. Values below 1 count as 1.
type CreditSpec struct{ Initial, More int }

// DefaultCredit is RabbitMQ's: at most 400 messages are under way, and the first
// grant comes when 200 of them were handled (contract 07 §1).
func DefaultCredit() CreditSpec { return CreditSpec{Initial: 400, More: 200} }

// FlowHold is how long a party still reports Flow after it was blocked, so that
// somebody who looks only now and then can see it.
const FlowHold = time.Second

// FlowState is what a party reports of itself.
type FlowState uint8

const (
	// Running parties are not held up, and were not within FlowHold.
	Running FlowState = iota
	// Flow says that the party is blocked, or became so less than FlowHold ago.
	Flow
)

// Party is one that sends, receives or both: a reader, a channel, a queue. It is
// blocked while any of those it sends to has no credit left for it; as long as
// it is blocked it holds back the grants it owes, and so the pressure travels
// upstream one hop at a time. The zero Party is ready and running.
//
// Being blocked is a request to stop, not a lock: whoever ignores it goes into
// debt, and stays blocked for as much longer.
//
// A Party is used by one goroutine at a time, and so is each side of a Credit:
// see there.
type Party struct {
	blockers  int
	blockedAt time.Time
	deferred  []Grant
}

// Blocked reports whether somebody this party sends to has no credit for it.
func (p *Party) Blocked() bool { return p.blockers > 0 }

// State reports Flow if the party is blocked, or became so less than FlowHold
// before now.
func (p *Party) State(now time.Time) FlowState {
	switch {
	case p.Blocked():
		return Flow
	case p.blockedAt.IsZero() || now.Sub(p.blockedAt) >= FlowHold:
		return Running
	default:
		return Flow
	}
}

func (p *Party) block(now time.Time) {
	if p.blockers == 0 {
		p.blockedAt = now
	}
	p.blockers++
}

// unblock takes one blocker away. With the last one gone it gives the grants
// that were held back.
func (p *Party) unblock() []Grant {
	p.blockers--
	if p.blockers > 0 {
		return nil
	}
	flushed := p.deferred
	p.deferred = nil
	return flushed
}

// Grant is credit on its way from the receiver of a Credit to its sender. The
// sender's goroutine makes it count with Credit.Bump.
type Grant struct {
	Credit *Credit
	N      int
}

// Credit is the credit of one sender towards one receiver (contract 07 §1).
//
// Send, Bump, Down and Left belong to the sender: they are called where the
// sending Party is used. Ack belongs to the receiver. The two sides share
// nothing, so they may be different goroutines; all that passes between them are
// messages one way and Grants the other, by whatever means their users have.
type Credit struct {
	spec CreditSpec

	sender *Party
	left   int
	down   bool

	receiver *Party
	until    int // messages to handle until the next grant
}

// NewCredit makes the credit between two parties who meet for the first time.
func NewCredit(spec CreditSpec, sender, receiver *Party) *Credit {
	spec.Initial, spec.More = max(spec.Initial, 1), max(spec.More, 1)
	return &Credit{
		spec:     spec,
		sender:   sender,
		left:     spec.Initial,
		receiver: receiver,
		until:    spec.More,
	}
}

// Send counts one message sent. It reports whether the sender became blocked by
// it; the message is to be sent all the same.
func (c *Credit) Send(now time.Time) (blocked bool) {
	if c.down {
		return false
	}
	c.left--
	if c.left != 0 {
		return false
	}
	c.sender.block(now)
	return true
}

// Ack counts one message that the receiver has handled. If a grant is due and
// the receiver is not blocked itself, ok is true and g has to be taken to the
// sender.
func (c *Credit) Ack() (g Grant, ok bool) {
	c.until--
	if c.until > 0 {
		return Grant{}, false
	}
	c.until = c.spec.More
	g = Grant{Credit: c, N: c.spec.More}
	if c.receiver.Blocked() {
		c.receiver.deferred = append(c.receiver.deferred, g)
		return Grant{}, false
	}
	return g, true
}

// Bump adds n granted messages. If that leaves the sender with nobody to block
// it, it gives the grants that the sender held back: they have to be taken to
// whom they are for. A debt is paid first: credit of 0 or less still blocks.
func (c *Credit) Bump(n int) (flushed []Grant) {
	if c.down {
		return nil
	}
	before := c.left
	c.left += n
	if before <= 0 && c.left > 0 {
		return c.sender.unblock()
	}
	return nil
}

// Down says that the receiver is gone: it blocks the sender no longer, and
// grants that are still on their way count no more. Parties who meet again
// start with a new Credit. The grants it gives are as with Bump.
func (c *Credit) Down() (flushed []Grant) {
	if c.down {
		return nil
	}
	c.down = true
	if c.left <= 0 {
		return c.sender.unblock()
	}
	return nil
}

// Left is how many messages may be sent before the sender is blocked; 0 or less
// if it is.
func (c *Credit) Left() int { return c.left }
