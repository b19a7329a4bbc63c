package msgstore

import (
	"sync"

	"github.com/warrenmq/warren/store"
)

// Compaction: when much of what is kept was removed and stands among living
// messages, packs are rewritten without it. A queue that moves on needs none of
// that, since its packs die whole; so it begins only when the dead weigh
// Options.CompactFrom and more than the living.
//
// The committer chooses the packs when their state is durable, a goroutine reads
// them and copies what lives, and the committer writes the result with its next
// group. What is removed meanwhile is in it, and is dead.

const (
	// minSparse is the least weight of a pack that is worth rewriting.
	minSparse = 1 << 10
	// maxRewrites bounds the octets of rewritten packs that wait for the committer.
	maxRewrites = 4 << 20
)

// sparse is a pack of which little is alive: one of a queue or a shared one.
type sparse struct {
	q      *queue
	p      *pack
	shared *sharedPack
}

// rewrite is a rewritten pack.
type rewrite struct {
	sparse
	key    []byte
	keep   bitmap
	value  []byte // nil if it could not be made
	weight int64
	before int64 // the weight until then
	held   int64 // state.held until then
}

func (p *pack) isSparse() bool {
	return p.live > 0 && p.parts == 1 && p.bytes >= minSparse && p.alive*2 < p.bytes && !p.is(packRewriting)
}

func (p *sharedPack) isSparse() bool {
	return p.live > 0 && p.parts == 1 && p.bytes >= minSparse && p.alive*2 < p.bytes && !p.is(packRewriting)
}

// compact gives packs to the compactor if it is time to. taken says that the
// committer took what the compactor had made.
func (s *Store) compact(taken bool) {
	c := &s.compactor
	var jobs []job
	if len(s.unsaved) == 0 && !s.noSpace && s.failed == nil {
		dead := s.dead
		for len(s.sparse) > 0 && dead > s.opts.CompactFrom && dead*2 > s.bytes {
			r := &rewrite{sparse: s.sparse[0]}
			s.sparse[0] = sparse{}
			s.sparse = s.sparse[1:]
			if r.choose() {
				dead -= r.before - r.weight
				jobs = append(jobs, r)
			}
		}
		s.prune()
		jobs = append(jobs, s.merges()...)
	}
	if len(jobs) > 0 || taken {
		c.add(s, jobs, taken)
	}
}

// prune takes packs off the list that are not sparse any more, or gone.
func (s *Store) prune() {
	if len(s.sparse) < 2*s.pruned+64 {
		return
	}
	kept := make([]sparse, 0, len(s.sparse)/2)
	seen := make(map[sparse]struct{}, len(s.sparse)/2)
	for _, x := range s.sparse {
		if _, again := seen[x]; again || !x.still() {
			continue
		}
		seen[x] = struct{}{}
		kept = append(kept, x)
	}
	s.sparse, s.pruned = kept, len(kept)
}

// still says that a pack is worth rewriting.
func (x sparse) still() bool {
	if x.shared != nil {
		return !x.shared.gone && x.shared.isSparse()
	}
	return !x.p.gone && x.p.isSparse()
}

// choose fixes what is to be kept and reports whether the pack is to be
// rewritten.
func (r *rewrite) choose() bool {
	if !r.still() {
		return false
	}
	if p := r.shared; p != nil {
		r.key = appendSharedKey(nil, p.id, 0)
		r.keep = makeBitmap(uint32(len(p.refs)))
		for slot, refs := range p.refs {
			if refs > 0 {
				r.keep.set(uint32(slot))
			}
		}
		r.weight, r.before = p.alive, p.bytes
		p.flags |= packRewriting
		return true
	}
	p := r.p
	r.weight, r.before = int64(p.alive), int64(p.bytes)
	r.key = appendPackKey(nil, r.q.id, p.id, 0)
	r.keep = makeBitmap(p.n)
	for slot := range p.n {
		if !p.removed(slot) && p.ref(slot).from == 0 {
			r.keep.set(slot)
		}
	}
	p.flags |= packRewriting
	return true
}

// rewrite adds a rewritten pack to the group.
func (g *group) rewrite(r rewrite) {
	if p := r.shared; p != nil {
		p.flags &^= packRewriting
		if p.gone || p.live == 0 || r.value == nil || g.failing != nil {
			return
		}
	} else {
		r.p.flags &^= packRewriting
		if r.p.gone || r.p.live == 0 || r.value == nil || g.failing != nil {
			return
		}
	}
	if g.full(int64(len(r.value))) {
		g.flush()
		if g.failing != nil {
			g.s.sparse = append(g.s.sparse, r.sparse)
			return
		}
	}
	size := int64(len(r.key) + len(r.value))
	g.early = append(g.early, store.Change{Key: r.key, Value: r.value})
	g.earlyBytes += size
	g.bytes += size
	g.changes++
	if p := r.shared; p != nil {
		p.bytes = r.weight
		var value []byte
		g.finalBuf, value = appendInfo(g.finalBuf, p.info())
		g.addFinal(func(b []byte) []byte { return appendInfoKey(b, p.id) }, value)
		g.bytes += infoKeyLen + int64(len(value))
		g.changes++
		p.list()
	} else {
		r.q.mu.Lock()
		m := r.p.extend()
		r.q.mu.Unlock()
		r.held = m.held
		m.held, r.p.bytes = max(r.weight, 1), uint32(r.weight)
		g.listDirty(r.q, r.p)
	}
	g.s.bytes -= r.before - r.weight
	g.rewrites = append(g.rewrites, r)
}

// takeBack is for a group that failed.
func (r *rewrite) takeBack() {
	if r.shared != nil {
		r.shared.bytes = r.before
		r.shared.store.bytes += r.before - r.weight
		return
	}
	r.p.bytes = uint32(r.before)
	r.q.s.bytes += r.before - r.weight
	if r.p.more != nil {
		r.p.more.held = r.held
	}
}

// job is something that the compactor makes and the committer then takes.
type job interface {
	// make makes it of what is on the medium, of which octets are kept in memory.
	make(kv store.Store)
	octets() int
	// hand gives it to the committer.
	hand(in *inbox)
}

func (r *rewrite) octets() int { return len(r.value) }

func (r *rewrite) hand(in *inbox) { in.rewrites = append(in.rewrites, *r) }

// compactor makes rewritten and merged packs, in a goroutine that exists while there
// is something to do.
type compactor struct {
	mu      sync.Mutex
	jobs    []job
	running bool
	waiting int // octets that the committer has not taken
	closed  bool
	wg      sync.WaitGroup
}

// add adds jobs; taken says that the committer took what was ready.
func (c *compactor) add(s *Store, jobs []job, taken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs = append(c.jobs, jobs...)
	if taken {
		c.waiting = 0
	}
	if len(c.jobs) > 0 && !c.running && !c.closed {
		c.running = true
		c.wg.Go(func() { c.run(s) })
	}
}

func (c *compactor) run(s *Store) {
	for {
		c.mu.Lock()
		if len(c.jobs) == 0 || c.waiting >= maxRewrites || c.closed {
			c.running = false
			if len(c.jobs) == 0 {
				c.jobs = nil
			}
			c.mu.Unlock()
			return
		}
		j := c.jobs[0]
		c.jobs[0] = nil
		c.jobs = c.jobs[1:]
		c.mu.Unlock()
		j.make(s.kv)
		c.mu.Lock()
		c.waiting += j.octets()
		c.mu.Unlock()
		s.mu.Lock()
		j.hand(&s.in)
		s.work.Signal()
		s.mu.Unlock()
	}
}

// wait ends the compactor.
func (c *compactor) wait() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.wg.Wait()
}

// make implements job: it reads the pack and copies what lives. A pack that cannot be read stays as
// it is: it was deleted meanwhile, or who loads a message from it is told.
func (r *rewrite) make(kv store.Store) {
	err := kv.Get(r.key, func(value []byte) error {
		b, err := openBundle(value)
		if err != nil {
			return err
		}
		var slots []uint32
		var records [][]byte
		size := 0
		for i := range b.len() {
			if !r.keep.has(b.slot(i)) {
				continue
			}
			record, err := b.record(i)
			if err != nil {
				return err
			}
			slots = append(slots, b.slot(i))
			records = append(records, record)
			size += bundleRow + len(record)
		}
		w := newBundle(nil, len(slots), size)
		for i, record := range records {
			w.copy(slots[i], record)
		}
		_, r.value = w.finish()
		return nil
	})
	if err != nil {
		r.value = nil
	}
}
