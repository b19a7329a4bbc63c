package queue

import "sync"

// Batch is what one poster has for one queue, in its order. It is filled by one
// goroutine and handed over whole with Host.Post.
type Batch struct {
	publishes []Publish
	settles   []Settle
	controls  []control
	runs      []run
}

// control is a request that is not a publish or a settle. It is called once by
// the goroutine that runs the queue, with gone set if the queue is no more.
type control func(gone bool)

type runKind uint8

const (
	runPublish runKind = iota
	runSettle
	runControl
)

// run is a number of entries of one kind in a row.
type run struct {
	kind runKind
	n    int
}

// maxKept is how many entries a batch may have room for and still be used again.
const maxKept = 4096

// batches holds empty batches. A batch in it holds no pointer.
var batches = sync.Pool{New: func() any { return new(Batch) }}

// NewBatch gives an empty batch.
func NewBatch() *Batch { return batches.Get().(*Batch) }

// Publish adds a message; the batch takes over the caller's reference.
func (b *Batch) Publish(p Publish) {
	// Field by field: a copy of all at once waits for the fields just written.
	b.publishes = append(b.publishes, Publish{})
	to := &b.publishes[len(b.publishes)-1]
	to.Msg, to.Ref.By, to.Ref.Seq, to.Atom = p.Msg, p.Ref.By, p.Ref.Seq, p.Atom
	b.count(runPublish)
}

// Settle adds an acknowledgement.
func (b *Batch) Settle(s Settle) {
	b.settles = append(b.settles, Settle{}) // and field by field, as above
	to := &b.settles[len(b.settles)-1]
	to.ID, to.Consumer, to.Outcome, to.First, to.Atom = s.ID, s.Consumer, s.Outcome, s.First, s.Atom
	b.count(runSettle)
}

func (b *Batch) control(c control) {
	b.controls = append(b.controls, c)
	b.count(runControl)
}

func (b *Batch) count(k runKind) {
	if n := len(b.runs); n > 0 && b.runs[n-1].kind == k {
		b.runs[n-1].n++
		return
	}
	b.runs = append(b.runs, run{k, 1})
}

// Len is the number of entries.
func (b *Batch) Len() int { return len(b.publishes) + len(b.settles) + len(b.controls) }

// take appends everything of o to b and empties o.
func (b *Batch) take(o *Batch) {
	b.publishes = append(b.publishes, o.publishes...)
	b.settles = append(b.settles, o.settles...)
	b.controls = append(b.controls, o.controls...)
	runs := o.runs
	if n := len(b.runs); n > 0 && len(runs) > 0 && b.runs[n-1].kind == runs[0].kind {
		b.runs[n-1].n += runs[0].n
		runs = runs[1:]
	}
	b.runs = append(b.runs, runs...)
	o.free()
}

// free empties the batch and puts it where NewBatch finds it.
func (b *Batch) free() {
	if cap(b.publishes) > maxKept || cap(b.settles) > maxKept || cap(b.controls) > maxKept {
		return
	}
	clear(b.publishes)
	clear(b.settles)
	clear(b.controls)
	b.publishes, b.settles, b.controls, b.runs = b.publishes[:0], b.settles[:0], b.controls[:0], b.runs[:0]
	batches.Put(b)
}
