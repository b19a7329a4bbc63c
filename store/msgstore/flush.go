package msgstore

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/warrenmq/warren/store"
)

// flush writes the group, tells everybody what became of it, and starts another.
// No lock is held.
func (g *group) flush() {
	err := g.failing
	if err == nil {
		g.sealShared()
		g.putStates()
		g.putShared()
		err = g.write()
		if err == nil {
			g.succeed()
		}
	}
	if err != nil {
		g.fail(err)
	}
	g.tell(err)
	g.reset()
	if !g.last && g.failing == nil {
		g.retry()
	}
}

// putStates adds the state of every pack that changed, or deletes a dead one.
func (g *group) putStates() {
	for _, d := range g.dirty {
		p := d.p
		if p.gone {
			continue
		}
		if p.live > 0 {
			st := p.state()
			var value []byte
			g.finalBuf, value = appendState(g.finalBuf, &st)
			g.addFinal(func(b []byte) []byte { return appendEntryKey(b, keyState, d.q.id, p.id) }, value)
			g.final[len(g.final)-1].Shrinks = true
			continue
		}
		for part := range int(p.parts) {
			g.delete(func(b []byte) []byte { return appendPackKey(b, d.q.id, p.id, part) })
		}
		g.delete(func(b []byte) []byte { return appendEntryKey(b, keyIndex, d.q.id, p.id) })
		if p.is(packStated) {
			g.delete(func(b []byte) []byte { return appendEntryKey(b, keyState, d.q.id, p.id) })
		}
	}
}

// putShared deletes the shared packs that nobody refers to any more. Their
// references must not come back, so it is for the last group of a round, and
// waits until no change of a pack's state is left behind.
func (g *group) putShared() {
	s := g.s
	if !g.last || len(s.unsaved) > 0 {
		return
	}
	for _, p := range s.touched {
		if p.live > 0 || p.gone || g.full(sharedKeyLen*int64(p.parts)) ||
			g.changes+int(p.parts)+1 > g.limit.MaxChanges {
			continue
		}
		for part := range int(p.parts) {
			g.delete(func(b []byte) []byte { return appendSharedKey(b, p.id, part) })
		}
		g.delete(func(b []byte) []byte { return appendInfoKey(b, p.id) })
		g.changes += int(p.parts) + 1
		g.bytes += int64(infoKeyLen + sharedKeyLen*int(p.parts))
		g.deleted = append(g.deleted, p)
	}
}

func (g *group) delete(key func([]byte) []byte) {
	from := len(g.finalBuf)
	g.finalBuf = key(g.finalBuf)
	g.final = append(g.final, store.Change{Key: g.finalBuf[from:len(g.finalBuf):len(g.finalBuf)], Delete: true})
}

// write applies the group: at once if it fits, else its packs first.
func (g *group) write() error {
	limits := g.s.limits
	early, final := sizeOf(g.early), sizeOf(g.final)
	switch {
	case len(g.early)+len(g.final) == 0:
		return nil
	case early+final <= limits.MaxBytes && len(g.early)+len(g.final) <= limits.MaxChanges:
		g.early = append(g.early, g.final...)
		err := g.s.kv.Apply(g.early)
		g.early = g.early[:len(g.early)-len(g.final)]
		return err
	case final > limits.MaxBytes || len(g.final) > limits.MaxChanges:
		g.tooLarge, g.spares = true, !g.defines
		return ErrTooLarge
	}
	if err := g.writeEarly(); err != nil {
		return err
	}
	return g.s.kv.Apply(g.final)
}

func sizeOf(changes []store.Change) (n int64) {
	for _, c := range changes {
		n += int64(len(c.Key) + len(c.Value))
	}
	return n
}

// writeEarly applies the packs of the group in as many steps as it takes.
func (g *group) writeEarly() error {
	limits := g.s.limits
	for rest := g.early; len(rest) > 0; {
		n, bytes := 0, int64(0)
		for n < len(rest) && n < limits.MaxChanges {
			size := int64(len(rest[n].Key) + len(rest[n].Value))
			if n > 0 && bytes+size > limits.MaxBytes {
				break
			}
			bytes += size
			n++
		}
		if err := g.s.kv.Apply(rest[:n]); err != nil {
			return err
		}
		for _, c := range rest[:n] {
			g.written = append(g.written, slices.Clone(c.Key))
		}
		rest = rest[n:]
	}
	return nil
}

// ahead writes the packs of an atomic group, to make room for more. They count
// only when the rest is written.
func (g *group) ahead() {
	if err := g.writeEarly(); err != nil {
		g.fail(err)
	}
	g.earlyBytes = 0
	clear(g.early)
	g.early, g.earlyBuf = g.early[:0], keep(g.earlyBuf)
}

// succeed takes notice that the group is durable.
func (g *group) succeed() {
	s := g.s
	g.atomsWritten = g.atomic
	for _, d := range g.fresh {
		s.bytes += int64(d.p.bytes)
		d.q.mu.Lock()
		d.p.fresh = false
		d.q.mu.Unlock()
		s.noteSmall(d)
	}
	for _, d := range g.dirty {
		p := d.p
		p.flags &^= packListed
		if p.gone {
			continue
		}
		if p.live > 0 {
			p.flags |= packStated
			s.count(p)
			if p.isSparse() {
				s.sparse = append(s.sparse, sparse{q: d.q, p: p})
			}
			continue
		}
		s.bytes -= int64(p.bytes)
		if p.more != nil {
			s.dead -= int64(p.more.counted)
		}
		d.q.mu.Lock()
		d.q.index.drop(p)
		d.q.mu.Unlock()
	}
	for _, p := range g.sharedPacks {
		s.bytes += p.bytes
	}
	for _, p := range g.deleted {
		p.gone = true
		s.bytes -= p.bytes
		s.dead -= p.counted
	}
	if g.last && len(s.unsaved) == 0 {
		s.touched = slices.DeleteFunc(s.touched, func(p *sharedPack) bool {
			if !p.gone {
				s.dead += p.bytes - p.alive - p.counted
				p.counted = p.bytes - p.alive
				if p.live == 0 {
					return false // there was no room to delete it
				}
				if p.isSparse() {
					s.sparse = append(s.sparse, sparse{shared: p})
				}
			}
			p.flags &^= packListed
			return true
		})
	}
	if s.noSpace && (needsRoom(g.early) || needsRoom(g.final)) {
		s.hasRoom()
	}
}

// needsRoom reports whether there are changes that a medium with little room
// refuses.
func needsRoom(changes []store.Change) bool {
	return slices.ContainsFunc(changes, func(c store.Change) bool { return !c.Delete && !c.Shrinks })
}

// count brings the weight of the dead up to date.
func (s *Store) count(p *pack) {
	if p.more != nil {
		s.dead += p.dead() - int64(p.more.counted)
		p.more.counted = uint32(p.dead())
	}
}

// fail takes the index back to where it was, except for removals and marks that
// are tried again.
func (g *group) fail(err error) {
	s := g.s
	g.abandonShared()
	for _, u := range slices.Backward(g.undo) {
		u.q.mu.Lock()
		switch {
		case u.p.gone:
		case u.deliver:
			u.p.deliver(u.slot, u.before)
		default:
			u.p.restore(u.slot)
		}
		u.q.mu.Unlock()
	}
	for _, d := range g.fresh {
		d.q.mu.Lock()
		d.p.forget()
		d.q.index.drop(d.p)
		d.q.mu.Unlock()
	}
	for _, d := range g.dirty {
		d.p.flags &^= packListed
		if d.q.discarded {
			s.dropping = append(s.dropping, d)
		} else if !d.p.gone && !d.p.is(packUnsaved) {
			d.p.flags |= packUnsaved
			s.unsaved = append(s.unsaved, d)
		}
	}
	for _, key := range g.written {
		// A pack that was rewritten is still in the index, and has all that lives.
		if !slices.ContainsFunc(g.rewrites, func(r rewrite) bool { return bytes.Equal(r.key, key) }) {
			s.garbage = append(s.garbage, key)
		}
	}
	s.garbage = append(s.garbage, g.deletes...)
	for _, r := range g.rewrites {
		r.takeBack()
		s.sparse = append(s.sparse, r.sparse)
	}
	clear(g.rewrites)
	clear(g.undo)
	clear(g.fresh)
	clear(g.dirty)
	g.undo, g.fresh, g.dirty, g.rewrites = g.undo[:0], g.fresh[:0], g.dirty[:0], g.rewrites[:0]
	g.written, g.deletes = nil, nil
	if g.failing != nil {
		return
	}
	g.failing = err
	switch {
	case errors.Is(err, store.ErrNoSpace):
		s.fullUp(err)
	case !g.tooLarge:
		s.breakDown(err)
	}
}

// abandonShared forgets the shared packs of a group that failed.
func (g *group) abandonShared() {
	for _, m := range g.sharedMsgs {
		m.Release()
	}
	clear(g.sharedMsgs)
	g.sharedMsgs, g.sharedSize = g.sharedMsgs[:0], 0
	for _, p := range g.sharedPacks {
		p.gone = true
	}
	if g.shared != nil {
		g.shared.gone = true
	}
	g.shared, g.sharedPacks = nil, nil
}

// fullUp takes notice that the medium is full.
func (s *Store) fullUp(err error) {
	if s.noSpace {
		return
	}
	s.noSpace = true
	if s.opts.OnNoSpace != nil {
		s.opts.OnNoSpace(err)
	}
}

// hasRoom takes notice that the medium is not full any more.
func (s *Store) hasRoom() {
	s.noSpace = false
	if s.opts.OnNoSpace != nil {
		s.opts.OnNoSpace(nil)
	}
}

// probe finds out whether the medium is still full, by writing what is there
// already: there may be nothing else to write that would tell.
func (s *Store) probe() {
	switch err := s.kv.Apply([]store.Change{{Key: []byte{keyFormat}, Value: appendFormat(nil)}}); {
	case err == nil:
		s.hasRoom()
	case !errors.Is(err, store.ErrNoSpace):
		s.breakDown(err)
	}
}

// relieve writes on their own the removals that failed and the deletions that wait,
// while the medium is full: they give room back, and nothing that needs room may
// take them down with it. With dropped, what is left of dropped queues goes as well.
func (g *group) relieve(dropped bool) {
	for g.failing == nil {
		if dropped {
			g.bury()
		}
		g.sweep()
		if g.changes == 0 {
			return
		}
		g.flush()
	}
}

// breakDown takes notice that nothing can be stored any more.
func (s *Store) breakDown(err error) {
	s.mu.Lock()
	s.failed = err
	s.in.retry = true // for those who wait behind an atom
	s.mu.Unlock()
	if s.opts.OnError != nil {
		s.opts.OnError(err)
	}
}

// tell answers everybody whose changes were in the group.
func (g *group) tell(err error) {
	s := g.s
	s.mu.Lock()
	s.pace.answered()
	for _, c := range g.calls {
		if !c.appends {
			continue
		}
		if c.q.appends--; c.q.appends == 0 {
			c.q.lowest = noAppends
		}
	}
	s.mu.Unlock()
	for _, c := range g.calls {
		switch {
		case c.done == nil || c.q != nil && c.q.dropped.Load():
		case c.q == nil && g.spares:
			c.done(c.err)
		default:
			c.done(cmp.Or(c.err, err))
		}
	}
	clear(g.calls)
	g.calls = g.calls[:0]
}

// bury adds the packs of queues that were dropped, as far as there is room.
func (g *group) bury() {
	s := g.s
	if g.failing != nil {
		return
	}
	for len(s.dropping) > 0 {
		last := len(s.dropping) - 1
		d := s.dropping[last]
		if g.full(d.p.stateSize()+packKeyLen*int64(d.p.parts)) || g.changes > g.limit.MaxChanges/2 && g.changes > 0 {
			return
		}
		s.dropping[last] = dirtyPack{}
		s.dropping = s.dropping[:last]
		if !d.p.gone {
			d.q.mu.Lock()
			d.p.forget()
			d.q.mu.Unlock()
			g.listDirty(d.q, d.p)
		}
	}
	s.dropping = nil
}

// sweep adds what is to be deleted because nothing refers to it, as far as there is
// room.
func (g *group) sweep() {
	s := g.s
	if g.failing != nil {
		return
	}
	for len(s.garbage) > 0 {
		last := len(s.garbage) - 1
		key := s.garbage[last]
		if g.full(int64(len(key))) {
			return
		}
		s.garbage = s.garbage[:last]
		g.deletes = append(g.deletes, key)
		g.final = append(g.final, store.Change{Key: key, Delete: true})
		g.changes++
		g.bytes += int64(len(key))
	}
	s.garbage = nil
}
