package queuetest

import (
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/store"
)

// log is a store that does what it was asked when the test says so.
type log struct {
	ops   []store.Op // asked for and not yet answered
	loads []store.Range
	kept  map[uint64]*message.Message
	// memory is what the queue was told to keep in memory.
	memory queue.Bounds
}

// fill puts messages of an earlier run into the log, with gaps between their
// positions; every second one had been delivered before.
func (l *log) fill(d *driver, bodies []string) []store.Entry {
	l.kept = map[uint64]*message.Message{}
	var entries []store.Entry
	for i, b := range bodies {
		seq := uint64(100 + i + i/10)
		l.kept[seq] = d.message(b, true)
		entries = append(entries, store.Entry{Seq: seq, Size: len(b), Redelivered: i%2 == 1, Priority: l.kept[seq].Priority()})
	}
	return entries
}

// store carries out the n oldest operations and tells the queue.
func (d *driver) store(n int) {
	for _, op := range d.log.ops[:n] {
		switch op.Kind {
		case store.Append:
			d.log.kept[op.Seq] = op.Msg
		case store.Remove:
			for seq := op.Seq; seq <= max(op.Seq, op.To); seq++ {
				if m := d.log.kept[seq]; m != nil {
					m.Release()
					delete(d.log.kept, seq)
				}
			}
		}
	}
	d.log.ops = d.log.ops[n:]
	d.event(queue.Event{Kind: queue.Stored, Ops: n})
}

// storeAll answers what is asked, and what is asked because of that.
func (d *driver) storeAll() {
	for len(d.log.ops) > 0 {
		d.store(len(d.log.ops))
	}
}

// fail refuses the n oldest operations.
func (d *driver) fail(n int, err error) {
	for _, op := range d.log.ops[:n] {
		if op.Kind == store.Append {
			op.Msg.Release()
		}
	}
	d.log.ops = d.log.ops[n:]
	d.event(queue.Event{Kind: queue.Stored, Ops: n, Err: err})
}

// load answers the oldest request for messages.
func (d *driver) load() {
	r := d.log.loads[0]
	d.log.loads = d.log.loads[1:]
	var ls []store.Loaded
	for seq := r.From; seq <= r.To; seq++ {
		if m := d.log.kept[seq]; m != nil {
			m.Retain(1)
			ls = append(ls, store.Loaded{Seq: seq, Msg: m})
		}
	}
	d.event(queue.Event{Kind: queue.LoadDone, Loaded: ls})
}

// drop gives back what the log holds.
func (l *log) drop() {
	for _, op := range l.ops {
		if op.Kind == store.Append {
			op.Msg.Release()
		}
	}
	for _, m := range l.kept {
		m.Release()
	}
	l.ops, l.kept = nil, nil
}
