package confirm

import "slices"

// Drain appends to dst what the publisher has to be told now, in the order in
// which it has to be sent, and forgets it. Only one goroutine may drain at a
// time.
//
// The rule is RabbitMQ's (contract 06 §6). A single ack goes out alone. Several
// become one cumulative ack for all that are below every unsettled publish and
// below every nack of this batch; the rest go out one by one, ascending. The
// nacks follow by the same rule with the roles exchanged, except that even a
// single one is cumulative where it may be.
//
// A cumulative answer may thus reach across publishes that were answered otherwise
// in an earlier Drain: it is for those that have no answer yet.
func (t *Tracker) Drain(dst []Answer) []Answer {
	t.mu.Lock()
	if !t.drainable() {
		t.mu.Unlock()
		return dst
	}
	acks, nacks := t.acks, t.nacks
	t.acks, t.nacks = t.drainedAcks, t.drainedNacks
	unsettled := t.waiting.smallest()
	if t.closed {
		t.waiting = newWindow(t.next)
	}
	t.mu.Unlock()

	acks.sort()
	nacks.sort()
	ackCutoff := min(unsettled, nacks.first(unsettled))
	nackCutoff := min(unsettled, acks.first(unsettled))
	if len(acks) == 1 && acks[0].from == acks[0].to {
		dst = append(dst, Answer{Tag: acks[0].from})
	} else {
		dst = acks.answer(dst, false, ackCutoff)
	}
	dst = nacks.answer(dst, true, nackCutoff)

	t.drainedAcks, t.drainedNacks = acks.reset(), nacks.reset()
	return dst
}

// span is a run of numbers, both ends included.
type span struct{ from, to uint64 }

// spans is a set of numbers, none of them twice. Runs that are added in order
// take one entry.
type spans []span

// maxIdleSpans is how much of a slice is kept for reuse.
const maxIdleSpans = 1024

func (s *spans) add(seq uint64) {
	if n := len(*s); n > 0 && (*s)[n-1].to+1 == seq {
		(*s)[n-1].to = seq
		return
	}
	*s = append(*s, span{seq, seq})
}

func (s spans) sort() {
	slices.SortFunc(s, func(a, b span) int {
		if a.from < b.from {
			return -1
		}
		return 1
	})
}

// first is the smallest number of a sorted set, or otherwise if it is empty.
func (s spans) first(otherwise uint64) uint64 {
	if len(s) == 0 {
		return otherwise
	}
	return s[0].from
}

// answer appends the answers for a sorted set: one for all below cutoff, and one
// for each of the rest. It uses the set up.
func (s spans) answer(dst []Answer, nack bool, cutoff uint64) []Answer {
	var below uint64 // the last number below cutoff; 0 is none
	for i, run := range s {
		if run.from >= cutoff {
			break
		}
		below = min(run.to, cutoff-1)
		s[i].from = below + 1
	}
	if below > 0 {
		dst = append(dst, Answer{Tag: below, Multiple: true, Nack: nack})
	}
	for _, run := range s {
		for seq := run.from; seq <= run.to; seq++ {
			dst = append(dst, Answer{Tag: seq, Nack: nack})
		}
	}
	return dst
}

// reset empties the slice for reuse, or drops it if it is large.
func (s spans) reset() spans {
	if cap(s) > maxIdleSpans {
		return nil
	}
	return s[:0]
}
