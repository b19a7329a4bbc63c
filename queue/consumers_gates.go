package queue

import "github.com/warrenmq/warren/message"

// family is the consumers of one channel, or one consumer that is on none. It is there
// while there are any.
type family struct {
	place   any
	members int
	blocked circle // those that left their rings, in order
	gated   int    // how many of them wait for Resume
}

// familyOf gives the family of a channel's consumers.
func (c *consumers) familyOf(place any) *family {
	if place == nil {
		return new(family)
	}
	if c.home != nil && c.home.place == place {
		return c.home
	}
	if f := c.families[place]; f != nil {
		return f
	}
	f := &family{place: place}
	if c.home == nil {
		c.home = f
		return f
	}
	if c.families == nil {
		c.families = map[any]*family{}
	}
	c.families[place] = f
	return f
}

// forget takes a family out that has no members any more.
func (c *consumers) forget(f *family) {
	if f == c.home {
		c.home = nil
	} else {
		delete(c.families, f.place)
	}
}

// leave puts it at the end of those of its channel that are out of turn.
func (t *taker) leave() { t.moveTo(&t.family.blocked) }

// block takes a consumer whose gate is shut out of its ring.
func (c *consumers) block(t *taker) {
	t.leave()
	t.gated, t.asked = true, true
	t.family.gated++
}

// resume lets a consumer whose gate was shut try again, and with it those of its
// channel.
func (c *consumers) resume(id message.ConsumerID) {
	if t := c.byID[id]; t != nil && t.gated {
		t.family.open()
	}
}

// open lets those try again that wait for Resume.
func (f *family) open() {
	for t := range f.blocked.all() {
		if t.gated {
			t.gated, t.asked = false, false
			t.join()
		}
	}
	f.gated = 0
}

// orphaned lets those try again that wait for the Resume of a consumer that is gone,
// and reports whether there are any.
func (c *consumers) orphaned(gone *taker) bool {
	f := gone.family
	if !gone.asked || f.gated == 0 {
		return false
	}
	for t := range f.blocked.all() {
		if t.asked {
			return false // they wait for its Resume as well
		}
	}
	f.open()
	return true
}

// freed lets a consumer out of its ring try again that has room itself, unless its
// channel's gate was found shut.
func (c *consumers) freed(t *taker) {
	f := t.family
	switch {
	case t.gated:
	case f.gated == 0 || c.fifo || t.full():
		t.join()
	default:
		t.gated = true
		f.gated++
		for x := range f.blocked.all() {
			if x.gated {
				x.moveTo(nil)
				x.leave()
			}
		}
	}
}
