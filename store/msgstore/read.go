package msgstore

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store"
)

// read is something a reader does for a queue: a Load or a Recover.
type read struct {
	q         *queue
	r         store.Range
	loaded    func([]store.Loaded, error)
	batch     func([]store.Entry)
	recovered func(error)
}

// readers are a few goroutines that read, and exist while there is something to
// read. The reads of one queue come one after the other, those of different
// queues in turn.
type readers struct {
	mu      sync.Mutex
	queues  []*queue // with reads and nobody at work on them
	running int
	most    int
	closed  bool
	wg      sync.WaitGroup
}

func (rs *readers) add(r read) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.closed {
		go r.refuse()
		return
	}
	q := r.q
	q.reads = append(q.reads, r)
	if q.reading || len(q.reads) > 1 {
		return
	}
	rs.queues = append(rs.queues, q)
	if rs.running < rs.most {
		rs.running++
		rs.wg.Go(rs.run)
	}
}

func (rs *readers) run() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for len(rs.queues) > 0 {
		q := rs.queues[0]
		rs.queues[0] = nil
		rs.queues = rs.queues[1:]
		r := q.reads[0]
		q.reads[0] = read{}
		q.reads = q.reads[1:]
		q.reading = true
		closed := rs.closed
		rs.mu.Unlock()
		switch {
		case closed:
			r.refuse()
		case r.loaded != nil:
			q.load(r)
		default:
			q.recover(r)
		}
		rs.mu.Lock()
		q.reading = false
		if len(q.reads) > 0 {
			rs.queues = append(rs.queues, q)
		} else {
			q.reads = nil
		}
	}
	rs.running--
}

// wait ends the readers; what was not read is refused.
func (rs *readers) wait() {
	rs.mu.Lock()
	rs.closed = true
	rs.mu.Unlock()
	rs.wg.Wait()
}

func (r *read) refuse() {
	switch {
	case r.q.dropped.Load():
	case r.loaded != nil:
		r.loaded(nil, ErrClosed)
	default:
		r.recovered(ErrClosed)
	}
}

// wanted is a message that is to be read.
type wanted struct {
	seq  uint64
	slot uint32 // in the value it is in
	m    *message.Message
}

// place is a value and what is wanted of it; indices into the list of all.
type place struct {
	key   []byte
	parts int
	want  []int
	pack  *pack // of the queue, which may refer to a shared one
}

func (q *queue) load(r read) {
	loaded, err := q.read(r.r)
	if q.dropped.Load() {
		for _, l := range loaded {
			l.Msg.Release()
		}
		return
	}
	if err != nil {
		err = fmt.Errorf("msgstore: queue %d: %w", q.id, err)
	}
	r.loaded(loaded, err)
}

// errMoved is what fetch gives for messages that are in another pack meanwhile.
var errMoved = errors.New("msgstore: moved")

// read reads a range.
func (q *queue) read(r store.Range) ([]store.Loaded, error) {
	list, err := q.tryRead(r)
	for errors.Is(err, errMoved) {
		list, err = q.tryRead(r)
	}
	if err != nil {
		return nil, err
	}
	loaded := make([]store.Loaded, 0, len(list))
	for _, w := range list {
		if w.m != nil {
			loaded = append(loaded, store.Loaded{Seq: w.seq, Msg: w.m})
		}
	}
	return loaded, nil
}

// tryRead reads a range, or nothing of it.
func (q *queue) tryRead(r store.Range) ([]wanted, error) {
	list, places := q.locate(r)
	var names reader
	for i := range places {
		err := q.fetch(&places[i], list, &names)
		if err == nil {
			continue
		}
		for _, w := range list {
			if w.m != nil {
				w.m.Release()
			}
		}
		return nil, err
	}
	return list, nil
}

// locate finds out where the live messages of a range are. The list is in order. What
// is just being written is left out: Load has waited for all that came before it.
func (q *queue) locate(r store.Range) (list []wanted, places []place) {
	q.mu.Lock()
	defer q.mu.Unlock()
	x := &q.index
	end := x.upper(r.To)
	begin := end
	for begin > 0 && x.packs[begin-1].reach >= r.From {
		begin--
	}
	ordered := true
	for _, p := range x.packs[begin:end] {
		if p.gone || p.fresh || p.live == 0 || p.last < r.From {
			continue
		}
		own := place{key: appendPackKey(nil, q.id, p.id, 0), parts: int(p.parts)}
		var shared []place
		for slot := p.from(r.From); slot < p.n && p.seq(slot) <= r.To; slot++ {
			if p.removed(slot) {
				continue
			}
			w := wanted{seq: p.seq(slot), slot: slot}
			if ref := p.ref(slot); ref.from == 0 {
				own.want = append(own.want, len(list))
			} else {
				w.slot = uint32(ref.slot)
				if shared == nil {
					shared = make([]place, len(p.more.shared))
				}
				at := &shared[ref.from-1]
				at.want = append(at.want, len(list))
				if at.key == nil {
					s := p.more.shared[ref.from-1]
					at.key, at.parts = appendSharedKey(nil, s.id, 0), int(s.parts)
				}
			}
			ordered = ordered && (len(list) == 0 || list[len(list)-1].seq < w.seq)
			list = append(list, w)
		}
		for _, at := range append(shared, own) {
			if len(at.want) > 0 {
				at.pack = p
				places = append(places, at)
			}
		}
	}
	if ordered {
		return list, places
	}
	return sortWanted(list, places)
}

// sortWanted puts the list into the order of the positions.
func sortWanted(list []wanted, places []place) ([]wanted, []place) {
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if list[a].seq < list[b].seq {
			return -1
		}
		return 1
	})
	sorted := make([]wanted, len(list))
	to := make([]int, len(list))
	for i, from := range order {
		sorted[i], to[from] = list[from], i
	}
	for _, at := range places {
		for i := range at.want {
			at.want[i] = to[at.want[i]]
		}
	}
	return sorted, places
}

// fetch reads what is wanted of one value.
func (q *queue) fetch(at *place, list []wanted, names *reader) error {
	use := func(value []byte) error {
		b, err := openBundle(value)
		if err != nil {
			return err
		}
		i := 0
		for _, k := range at.want {
			if i == b.len() || b.slot(i) > list[k].slot {
				i = 0 // queues may have shared messages in different orders
			}
			var ok bool
			if i, ok = b.find(list[k].slot, i); !ok {
				// A slot that was removed before the pack was rewritten.
				if stays, err := q.stays(at.pack, list[k].seq); stays || err != nil {
					return cmp.Or(err, damaged("message %d is missing", list[k].slot))
				}
				continue
			}
			record, err := b.record(i)
			if err == nil {
				list[k].m, err = names.message(record)
			}
			if err != nil {
				return err
			}
			i++
		}
		return nil
	}
	err := whole(q.s.kv, at.key, at.parts, use)
	if errors.Is(err, store.ErrNotFound) {
		for _, k := range at.want {
			if stays, moved := q.stays(at.pack, list[k].seq); stays || moved != nil {
				return cmp.Or(moved, fmt.Errorf("key %x: %w", at.key, err))
			}
		}
		return nil // all of it was removed meanwhile
	}
	if err != nil {
		return fmt.Errorf("key %x: %w", at.key, err)
	}
	return nil
}

// stays reports whether a message is still alive in a pack; errMoved says that it may
// be so in another one. A merge that is being written is waited for: what it deletes
// may be missing already, and the index does not say so yet.
func (q *queue) stays(p *pack, seq uint64) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if over := q.replacing; over != nil {
		q.mu.Unlock()
		<-over
		q.mu.Lock()
	}
	if p.moved {
		return false, errMoved
	}
	if p.gone {
		return false, nil
	}
	slot := p.from(seq)
	return slot < p.n && p.seq(slot) == seq && !p.removed(slot), nil
}

// whole calls use with a pack, put together if it has several parts.
func whole(kv store.Store, key []byte, parts int, use func([]byte) error) error {
	if parts == 1 {
		return kv.Get(key, use)
	}
	var value []byte
	for part := range parts {
		binary.BigEndian.PutUint16(key[len(key)-2:], uint16(part))
		err := kv.Get(key, func(v []byte) error {
			value = append(value, v...)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return use(value)
}
