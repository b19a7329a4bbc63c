package queue

import (
	"slices"
	"sync"
	"time"

	"github.com/warrenmq/warren/message"
)

// workspace is the memory that a host needs while it runs. An idle host has
// none, so that many queues that were busy once do not add up.
type workspace struct {
	out Actions
	// What follows is for handing out deliveries to several consumers: on which
	// lane each goes, which lanes there are, and the deliveries sorted by lane.
	to, touched []*lane
	sorted      []Delivery
}

// attached is a consumer and where its deliveries go.
type attached struct {
	id    message.ConsumerID
	tag   string
	sink  Sink
	noAck bool
	lane  *lane
}

// lane is the way of deliveries to consumers that must see them in order: those
// of one place, or a single one.
type lane struct {
	place     any
	consumers int
	// n counts its deliveries while they are sorted; at is where the next goes.
	n, at int
}

// workspaces holds empty workspaces. What they point to was cleared.
var workspaces = sync.Pool{New: func() any { return new(workspace) }}

func newWorkspace() *workspace { return workspaces.Get().(*workspace) }

// free puts an empty workspace where newWorkspace finds it, unless it grew
// beyond reason.
func (w *workspace) free() {
	if max(cap(w.out.Deliver), cap(w.out.Confirm), cap(w.out.Reject), cap(w.out.Got), cap(w.out.DeadLetter), cap(w.sorted)) <= maxKept {
		workspaces.Put(w)
	}
}

// empty makes out ready for the next call. Store is not kept: it is the Log's.
func (w *workspace) empty() {
	o := &w.out
	o.Deliver, o.Confirm = emptied(o.Deliver), emptied(o.Confirm)
	if len(o.Got)+len(o.Credit)+len(o.Reject)+len(o.DeadLetter)+len(o.Atoms)+len(o.Load) > 0 {
		o.Got, o.Credit, o.Reject = emptied(o.Got), emptied(o.Credit), emptied(o.Reject)
		o.DeadLetter, o.Atoms, o.Load = emptied(o.DeadLetter), emptied(o.Atoms), emptied(o.Load)
	}
	// Field by field, as that costs a message less than another Actions does.
	if o.Store != nil {
		o.Store = nil
	}
	o.Active, o.Gone, o.Bury = 0, false, false
	if !o.Wake.IsZero() {
		o.Wake = time.Time{}
	}
}

// emptied takes out what is in a slice and leaves its memory.
func emptied[T any](s []T) []T {
	clear(s)
	return s[:0]
}

// handOut gives the deliveries to their consumers: lane by lane, and in a lane in
// the order of the queue, as many at once as follow each other.
func (w *workspace) handOut(ds []Delivery, find func(message.ConsumerID) *attached, give func(*attached, []Delivery)) {
	for i := range ds {
		l := find(ds[i].Consumer).lane
		if l.n == 0 {
			w.touched = append(w.touched, l)
		}
		l.n++
		w.to = append(w.to, l)
	}
	w.sort(ds)
	for _, l := range w.touched {
		l.n = 0
	}
	for rest := w.sorted; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Consumer == rest[0].Consumer {
			n++
		}
		give(find(rest[0].Consumer), rest[:n])
		rest = rest[n:]
	}
	clear(w.to)
	clear(w.touched)
	clear(w.sorted)
	w.to, w.touched, w.sorted = w.to[:0], w.touched[:0], w.sorted[:0]
}

// sort puts the deliveries of one lane next to each other.
func (w *workspace) sort(ds []Delivery) {
	w.sorted = slices.Grow(w.sorted, len(ds))[:len(ds)]
	at := 0
	for _, l := range w.touched {
		l.at = at
		at += l.n
	}
	for i, l := range w.to {
		w.sorted[l.at] = ds[i]
		l.at++
	}
}
