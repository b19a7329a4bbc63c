package channel

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
)

// unackedEntry is one delivery that the client has not settled.
type unackedEntry struct {
	tag  uint64
	host *queue.Host // nil once it is settled
	id   uint64
	by   *consumer // whose it is; nil for basic.get
}

// consumer gives the queue's number for the consumer, 0 for basic.get.
func (e *unackedEntry) consumer() message.ConsumerID {
	if e.by == nil {
		return 0
	}
	return e.by.id
}

// inOrder sorts entries as RabbitMQ settles those of one method: by the names of the
// queues, then those of basic.get before those of consumers, these by their tags, and
// each one's as they were delivered (rabbit_channel:foreach_per_queue/3).
func inOrder(es []unackedEntry) {
	for i := 1; i < len(es); i++ {
		if es[i].by != es[0].by || es[i].host != es[0].host {
			slices.SortFunc(es, compareUnacked)
			return
		}
	}
}

// byWord sorts entries as RabbitMQ's quorum queues take back those of a channel that is
// gone: one consumer's after the other's in the order of their tags, among which a
// basic.get stands with its delivery tag in digits, so that 10 comes before 2
// (rabbit_fifo:handle_down/3). The other queues have a place for each message, and
// the order is all the same to them.
func byWord(es []unackedEntry) {
	slices.SortFunc(es, func(a, b unackedEntry) int {
		return cmp.Or(compareWords(&a, &b), cmp.Compare(a.tag, b.tag))
	})
}

func compareWords(a, b *unackedEntry) int {
	if a.by != nil && b.by != nil {
		return cmp.Compare(a.by.tag, b.by.tag)
	}
	var as, bs [32]byte // for any number, so that a sort of very many allocates nothing
	return bytes.Compare(a.appendWord(as[:0]), b.appendWord(bs[:0]))
}

func (e *unackedEntry) appendWord(to []byte) []byte {
	if e.by == nil {
		return strconv.AppendUint(to, e.tag, 10)
	}
	return append(to, e.by.tag...)
}

func compareUnacked(a, b unackedEntry) int {
	switch {
	case a.host != b.host:
		// One of the same name may have been deleted since.
		return cmp.Or(cmp.Compare(a.host.Spec().Name, b.host.Spec().Name), cmp.Compare(a.tag, b.tag))
	case a.by == b.by:
		return cmp.Compare(a.tag, b.tag)
	case a.by == nil:
		return -1
	case b.by == nil:
		return 1
	}
	return cmp.Or(cmp.Compare(a.by.tag, b.by.tag), cmp.Compare(a.tag, b.tag))
}

// unacked are the unsettled deliveries of a channel in the order of their tags,
// in a ring: they come at the end and mostly leave at the front. Its memory
// follows the number of the unsettled: one that is never settled does not keep
// what is settled behind it.
type unacked struct {
	ring []unackedEntry // its length is a power of two
	head int
	n    int // entries in the ring, settled ones in the middle included
	live int // entries not settled
}

func (u *unacked) at(i int) *unackedEntry { return &u.ring[(u.head+i)&(len(u.ring)-1)] }

func (u *unacked) push(e unackedEntry) {
	if u.n == len(u.ring) {
		u.rebuild()
	}
	u.n++
	u.live++
	*u.at(u.n - 1) = e
}

// keptRing is how long a ring may be that has far more room than it needs.
const keptRing = 1024

// rebuild drops the settled entries from the middle too, into a ring that is
// half full at the most.
func (u *unacked) rebuild() {
	size := 16
	for size < 2*u.live {
		size *= 2
	}
	ring := make([]unackedEntry, 0, size)
	for i := range u.n {
		if e := u.at(i); e.host != nil {
			ring = append(ring, *e)
		}
	}
	u.ring, u.head, u.n = ring[:size], 0, len(ring)
}

// find gives the place of a tag, or of the first one above it.
func (u *unacked) find(tag uint64) int {
	lo, hi := 0, u.n
	if u.n > 0 && u.at(0).tag == tag {
		return 0
	}
	for lo < hi {
		if m := (lo + hi) / 2; u.at(m).tag < tag {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// take settles one tag.
func (u *unacked) take(tag uint64) (e unackedEntry, ok bool) {
	i := u.find(tag)
	if i == u.n || u.at(i).tag != tag || u.at(i).host == nil {
		return e, false
	}
	e = *u.at(i)
	u.at(i).host = nil
	u.live--
	u.trim()
	return e, true
}

// takeUpTo settles all up to a tag that must be unsettled itself, and appends
// them to es.
func (u *unacked) takeUpTo(tag uint64, es []unackedEntry) ([]unackedEntry, bool) {
	i := u.find(tag)
	if i == u.n || u.at(i).tag != tag || u.at(i).host == nil {
		return es, false
	}
	return u.takeFront(i+1, es), true
}

// takeAll settles all and appends them to es.
func (u *unacked) takeAll(es []unackedEntry) []unackedEntry { return u.takeFront(u.n, es) }

func (u *unacked) takeFront(n int, es []unackedEntry) []unackedEntry {
	for i := range n {
		if e := u.at(i); e.host != nil {
			es = append(es, *e)
			e.host = nil
			u.live--
		}
	}
	u.trim()
	return es
}

// takeConsumer settles all of one consumer and appends them to es.
func (u *unacked) takeConsumer(h *queue.Host, id message.ConsumerID, es []unackedEntry) []unackedEntry {
	for i := range u.n {
		if e := u.at(i); e.host == h && e.consumer() == id {
			es = append(es, *e)
			e.host = nil
			u.live--
		}
	}
	u.trim()
	return es
}

// restore puts settled ones back, for a transaction that was rolled back. es is
// in the order of tags.
func (u *unacked) restore(es []unackedEntry) {
	old := u.takeAll(nil)
	for len(old) > 0 || len(es) > 0 {
		if len(es) == 0 || len(old) > 0 && old[0].tag < es[0].tag {
			u.push(old[0])
			old = old[1:]
		} else {
			u.push(es[0])
			es = es[1:]
		}
	}
}

// trim drops settled entries from the front, and the memory of a burst once most
// of it is settled.
func (u *unacked) trim() {
	for u.n > 0 && u.at(0).host == nil {
		u.head = (u.head + 1) & (len(u.ring) - 1)
		u.n--
	}
	if len(u.ring) > keptRing && u.live <= len(u.ring)/8 {
		u.rebuild()
	}
}
