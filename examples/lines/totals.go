package main

import (
	"fmt"
	"hash/fnv"
	"io"
)

// sum counts lines and their octets, with a checksum that does not depend on
// their order.
type sum struct {
	lines, octets int
	checksum      uint64
}

func (s *sum) add(size int, checksum uint64) {
	s.lines++
	s.octets += size
	// A sum and not an exclusive or, under which a line that came twice would be
	// as good as one that did not come.
	s.checksum += checksum
}

func checksum(body []byte) uint64 {
	h := fnv.New64a()
	h.Write(body) // never fails (package hash)
	return h.Sum64()
}

// receipt is one line that a consumer got.
type receipt struct {
	queue, size int
	sum         uint64
}

// totals is what happened to the lines.
type totals struct {
	sent                        sum
	confirmed, nacked, returned int
	received                    [len(queues)]sum
	left                        int // in the queues at the end
}

// all is what the consumers received together.
func (t *totals) all() (s sum) {
	for _, r := range t.received {
		s.lines += r.lines
		s.octets += r.octets
		s.checksum += r.checksum
	}
	return s
}

// check says what does not agree.
func (t *totals) check() error {
	switch {
	case t.confirmed != t.sent.lines:
		return fmt.Errorf("%d lines were sent and %d confirmed", t.sent.lines, t.confirmed)
	case t.nacked > 0 || t.returned > 0:
		return fmt.Errorf("%d lines were refused and %d returned", t.nacked, t.returned)
	case t.all() != t.sent:
		return fmt.Errorf("what was received is not what was sent: %v, %v", t.all(), t.sent)
	case t.left > 0:
		return fmt.Errorf("%d lines are left in the queues", t.left)
	}
	return nil
}

func (t *totals) print(w io.Writer) {
	row := func(what string, s sum) {
		fmt.Fprintf(w, "%-12s %7d lines %9d octets   checksum %016x\n", what, s.lines, s.octets, s.checksum)
	}
	row("sent", t.sent)
	fmt.Fprintf(w, "%-12s %7d lines, %d refused, %d returned\n", "confirmed", t.confirmed, t.nacked, t.returned)
	row("received", t.all())
	for i, r := range t.received {
		row("  by "+queues[i].name, r)
	}
	fmt.Fprintf(w, "%-12s %7d lines\n", "left", t.left)
	if t.check() == nil {
		fmt.Fprintln(w, "all agree")
	}
}
