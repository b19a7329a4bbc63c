package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// publishes keeps the sequence numbers of one channel in confirm mode.
type publishes struct {
	next uint64 // number of the next publish; 0 outside confirm mode
	open map[uint64]bool
}

// publishes gives the publishes of a channel.
func (p *player) publishes(c *conn, ch uint16) *publishes {
	k := c.label(ch)
	if p.pubs[k] == nil {
		p.pubs[k] = &publishes{open: map[uint64]bool{}}
	}
	return p.pubs[k]
}

// confirm begins confirm mode; a second time it changes nothing.
func (s *publishes) confirm() { s.next = max(s.next, 1) }

// sent counts one publish.
func (s *publishes) sent() {
	if s.next > 0 {
		s.open[s.next] = true
		s.next++
	}
}

// settle takes the publishes that a confirm settles off the open ones and
// gives them; nil if the event confirms nothing that is open.
func (p *player) settle(c *conn, e *event) []uint64 {
	if !isConfirm(e) || p.pubs[c.label(e.ch)] == nil {
		return nil
	}
	s, tag := p.pubs[c.label(e.ch)], e.f.num("delivery-tag")
	var tags []uint64
	for t := range s.open {
		if t == tag || e.f["multiple"] == true && (t < tag || tag == 0) {
			tags = append(tags, t)
			delete(s.open, t)
		}
	}
	return tags
}

func isConfirm(e *event) bool { return e.is("basic.ack") || e.is("basic.nack") }

// confirmsStep waits until n more publishes are confirmed and records which,
// whatever way the broker grouped them.
func (p *player) confirmsStep(k *call) error {
	n, err := k.words.num("n", 1)
	if err := errors.Join(err, k.words.done()); err != nil {
		return err
	}
	got := map[string][]uint64{}
	confirmOrAnswer := func(e *event) bool { return isConfirm(e) || answer(e) }
	deadline := time.Now().Add(k.timeout)
	for count := 0; count < int(n); {
		e := k.c.next(k.ch, confirmOrAnswer, time.Until(deadline))
		if e == nil {
			p.say(k.c, k.ch, "TIMEOUT after acks=%s nacks=%s", ranges(got["basic.ack"]), ranges(got["basic.nack"]))
			return errWaited
		}
		if !isConfirm(e) {
			p.record(k.c, e, style{})
			break
		}
		tags := p.settle(k.c, e)
		if tags == nil {
			p.say(k.c, k.ch, "%s for unknown or settled tag %d", e.method.name, e.f.num("delivery-tag"))
			count++
		}
		got[e.method.name] = append(got[e.method.name], tags...)
		count += len(tags)
	}
	p.say(k.c, k.ch, "confirms acks=%s nacks=%s", ranges(got["basic.ack"]), ranges(got["basic.nack"]))
	return nil
}

// ranges prints numbers in order, neighbours as a range: 1-3,5.
func ranges(tags []uint64) string {
	if len(tags) == 0 {
		return "none"
	}
	slices.Sort(tags)
	var parts []string
	for i := 0; i < len(tags); {
		j := i
		for j+1 < len(tags) && tags[j+1] == tags[j]+1 {
			j++
		}
		if i == j {
			parts = append(parts, fmt.Sprint(tags[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", tags[i], tags[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}
