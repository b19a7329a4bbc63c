package queue

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// naivePositions is what positions should be: a sorted list of the ready, and a
// set of the held.
type naivePositions struct {
	ready []uint64
	held  []uint64
	size  map[uint64]int
	again map[uint64]bool
}

func TestPositionsAgreeWithASortedList(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 7))
			var p positions
			n := naivePositions{size: map[uint64]int{}, again: map[uint64]bool{}}
			// Some histories begin with what was recovered, with gaps.
			if seed%2 == 1 {
				p.cursor = uint64(rnd.IntN(1000))
				for seq := p.cursor; len(n.ready) < 100; seq += 1 + uint64(rnd.IntN(1<<rnd.IntN(30))) {
					n.add(seq, rnd.IntN(100))
					p.put(seq, n.size[seq], 0)
				}
			}
			grow := rnd.IntN(60)
			for range 5000 {
				switch i := rnd.IntN(100); {
				case i < 10+grow/2:
					size := rnd.IntN(100)
					seq, s := p.push(nil, size)
					require.True(t, s.is(slotReady))
					n.add(seq, size)
				case i < 60 && len(n.ready) > 0:
					seq, s := p.head()
					require.Equal(t, n.ready[0], seq)
					require.Equal(t, n.again[seq], s.is(redelivered))
					require.Equal(t, n.size[seq], s.size())
					n.ready = n.ready[1:]
					if rnd.IntN(4) == 0 {
						p.dropHead(seq, s)
						break
					}
					p.hold(seq, s)
					n.held = append(n.held, seq)
				case i < 62 && len(n.ready) > 0:
					j := rnd.IntN(len(n.ready))
					p.lose(n.ready[j], p.at(n.ready[j]))
					n.ready = slices.Delete(n.ready, j, j+1)
				case i == 62 && rnd.IntN(50) == 0:
					p.loseReady()
					n.ready = nil
				case len(n.held) > 0:
					j := rnd.IntN(len(n.held))
					seq := n.held[j]
					n.held = slices.Delete(n.held, j, j+1)
					if rnd.IntN(2) == 0 {
						p.drop(seq, p.at(seq))
						break
					}
					p.giveBack(seq, p.at(seq))
					n.again[seq] = true
					k, _ := slices.BinarySearch(n.ready, seq)
					n.ready = slices.Insert(n.ready, k, seq)
				}
				n.compare(t, &p)
			}
			n.compareAll(t, &p)
		})
	}
}

func (n *naivePositions) add(seq uint64, size int) {
	n.ready = append(n.ready, seq)
	n.size[seq] = size
}

func (n *naivePositions) compare(t *testing.T, p *positions) {
	t.Helper()
	if p.ready != len(n.ready) || p.held != len(n.held) {
		t.Fatalf("%d ready and %d held, want %d and %d", p.ready, p.held, len(n.ready), len(n.held))
	}
}

func (n *naivePositions) compareAll(t *testing.T, p *positions) {
	t.Helper()
	all := slices.Concat(n.ready, n.held)
	slices.Sort(all)
	var found []uint64
	var octets int64
	p.each(func(seq uint64, s slot) {
		found = append(found, seq)
		require.Equal(t, s, p.at(seq))
		if s.is(slotReady) {
			octets += int64(s.size())
		}
	})
	require.Equal(t, all, found)
	require.Equal(t, octets, p.bytes)
	for _, seq := range []uint64{p.next, p.next + 1, p.next + segSize, 1 << 63} {
		require.True(t, p.at(seq).gone())
	}
}

// A consumer that keeps one message for ever must not make the queue remember
// everything that went by since.
func TestOneHeldMessageDoesNotPinWhatFollows(t *testing.T) {
	t.Parallel()
	var p positions
	hold := func() uint64 {
		p.push(nil, 1)
		seq, s := p.head()
		p.hold(seq, s)
		return seq
	}
	kept := []uint64{hold()}
	for i := range 100_000 {
		seq := hold()
		if i%10_000 == 9_999 {
			kept = append(kept, seq)
			continue
		}
		p.drop(seq, p.at(seq))
	}
	require.Equal(t, len(kept), p.held)
	require.LessOrEqual(t, cap(p.segs), 100)
	for _, seq := range kept {
		p.giveBack(seq, p.at(seq))
	}
	for _, want := range kept {
		seq, s := p.head()
		require.Equal(t, want, seq)
		p.dropHead(seq, s)
	}
	require.Zero(t, p.ready+p.held)
	require.LessOrEqual(t, len(p.segs), 1)
}

// A burst of requeues must not keep its memory.
func TestReturnedPositionsComeInOrderAndLeaveNothing(t *testing.T) {
	t.Parallel()
	var h minHeap
	rnd := rand.New(rand.NewPCG(1, 1))
	values := rnd.Perm(10_000)
	for _, v := range values {
		h.push(uint64(v))
	}
	for want := range uint64(len(values)) {
		require.Equal(t, want, h[0])
		h.pop()
	}
	require.Zero(t, cap(h))
}

// naiveRing is the consumers in turn as a plain list, whatever their priorities:
// of equal ones, whose turn it is comes first. Those that are not in turn stand in
// another one.
type naiveRing struct {
	turn, blocked []message.ConsumerID
	all           map[message.ConsumerID]*naiveTaker
}

type naiveTaker struct {
	place          any
	priority       int64
	held, prefetch int

	noAck, gated, asked bool
}

func (x *naiveTaker) full() bool { return !x.noAck && x.prefetch > 0 && x.held >= x.prefetch }

func (n *naiveRing) leave(id message.ConsumerID) {
	n.turn = slices.DeleteFunc(n.turn, func(x message.ConsumerID) bool { return x == id })
	n.blocked = slices.DeleteFunc(n.blocked, func(x message.ConsumerID) bool { return x == id })
}

func (n *naiveRing) join(id message.ConsumerID) {
	if !slices.Contains(n.turn, id) {
		n.leave(id)
		n.turn = append(n.turn, id)
	}
}

func (n *naiveRing) block(id message.ConsumerID) {
	n.leave(id)
	n.blocked = append(n.blocked, id)
}

// family gives those of a consumer's place that are out of turn.
func (n *naiveRing) family(id message.ConsumerID, x *naiveTaker) (ids []message.ConsumerID) {
	for _, b := range n.blocked {
		if b == id || x.place != nil && n.all[b].place == x.place {
			ids = append(ids, b)
		}
	}
	return ids
}

// gated gives those that wait for Resume together with one: those of its place.
func (n *naiveRing) gated(x *naiveTaker) (ids []message.ConsumerID) {
	for _, id := range n.blocked {
		if y := n.all[id]; y == x || y.gated && x.place != nil && y.place == x.place {
			ids = append(ids, id)
		}
	}
	return ids
}

func (n *naiveRing) open(ids []message.ConsumerID) {
	for _, id := range ids {
		n.all[id].gated, n.all[id].asked = false, false
		n.join(id)
	}
}

// freed lets a consumer join, or wait with those of its place, behind those that are
// full.
func (n *naiveRing) freed(id message.ConsumerID, x *naiveTaker) {
	others := slices.DeleteFunc(n.gated(x), func(y message.ConsumerID) bool { return y == id })
	switch {
	case x.gated || slices.Contains(n.turn, id):
	case len(others) == 0 || x.full():
		n.join(id)
	default:
		x.gated = true
		for _, y := range n.gated(x) {
			n.block(y)
		}
	}
}

// byPriority gives the consumers in turn, the highest priority first.
func (n *naiveRing) byPriority() []message.ConsumerID {
	return slices.SortedStableFunc(slices.Values(n.turn), func(a, b message.ConsumerID) int {
		return cmp.Compare(n.all[b].priority, n.all[a].priority)
	})
}

// front gives the first one that is not full, 0 if there is none; those before it
// leave.
func (n *naiveRing) front() message.ConsumerID {
	for _, id := range n.byPriority() {
		if !n.all[id].full() {
			return id
		}
		n.block(id)
	}
	return 0
}

func TestTheConsumerRingsAgreeWithAList(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 11))
			c := consumers{byID: map[message.ConsumerID]*taker{}}
			n := naiveRing{all: map[message.ConsumerID]*naiveTaker{}}
			var ids []message.ConsumerID
			last := message.ConsumerID(0)
			front := func() *taker {
				f := c.front()
				if want := n.front(); want == 0 {
					require.Nil(t, f)
				} else {
					require.Equal(t, want, f.ID)
				}
				return f
			}
			for range 3000 {
				var id message.ConsumerID
				if len(ids) > 0 {
					id = ids[rnd.IntN(len(ids))]
				}
				x := n.all[id]
				switch i := rnd.IntN(100); {
				case i < 5 && len(ids) < 8:
					last++
					y := &naiveTaker{prefetch: rnd.IntN(4), noAck: rnd.IntN(4) == 0, priority: int64(rnd.IntN(3) - 1)}
					if place := rnd.IntN(3); place > 0 {
						y.place = place
					}
					spec := Consumer{ID: last, Prefetch: y.prefetch, NoAck: y.noAck, Place: y.place}
					if y.priority != 0 {
						spec.Arguments = args(argConsumerPriority, int8(y.priority))
					}
					require.NoError(t, c.add(spec))
					require.ErrorIs(t, c.add(Consumer{ID: 1 << 40, Exclusive: true}), ErrExclusiveUse)
					ids = append(ids, last)
					n.all[last] = y
					n.join(last)
				case i < 8 && x != nil:
					gone := c.remove(id)
					require.NotNil(t, gone)
					require.Nil(t, c.remove(id))
					ids = slices.DeleteFunc(ids, func(x message.ConsumerID) bool { return x == id })
					n.leave(id)
					orphans := n.gated(x)
					if !x.asked || slices.ContainsFunc(orphans, func(y message.ConsumerID) bool { return n.all[y].asked }) {
						orphans = nil
					}
					require.Equal(t, len(orphans) > 0, c.orphaned(gone))
					n.open(orphans)
					delete(n.all, id)
					c.returned(id) // late settles of a consumer that is gone
					c.resume(id)
				case i < 15:
					if f := front(); f != nil {
						f.Gate = &countedGate{}
						require.False(t, f.admits(1))
						c.block(f)
						f.Gate = nil
						n.all[f.ID].gated, n.all[f.ID].asked = true, true
						n.block(f.ID)
					}
				case i < 30 && x != nil:
					c.resume(id)
					if x.gated {
						n.open(n.gated(x))
					}
				case i < 70: // a delivery
					if f := front(); f != nil {
						y := n.all[f.ID]
						n.leave(f.ID)
						n.join(f.ID)
						if !y.noAck {
							f.held++
							y.held++
						}
						c.rotate(f)
					}
				case x != nil && x.held > 0:
					c.returned(id)
					x.held--
					n.freed(id, x)
				}
				if !slices.Equal(n.byPriority(), inTurn(&c)) {
					t.Fatalf("the rings are %v, want %v", inTurn(&c), n.byPriority())
				}
				for id, x := range n.all {
					want := n.family(id, x)
					var blocked []message.ConsumerID
					f, gated := c.byID[id].family, 0
					for y := range f.blocked.all() {
						blocked = append(blocked, y.ID)
						if y.gated {
							gated++
						}
					}
					require.True(t, slices.Equal(want, blocked), "blocked are %v, want %v", blocked, want)
					require.Equal(t, gated, f.gated)
				}
			}
			for _, id := range ids {
				c.remove(id)
			}
			require.Empty(t, c.rings)
			require.Nil(t, c.home)
			require.Empty(t, c.families)
		})
	}
}

// inTurn lists the consumers in turn, highest priority first and each ring from
// its front on, and checks that they are rings.
func inTurn(c *consumers) []message.ConsumerID {
	ids := []message.ConsumerID{}
	for i, r := range c.rings {
		if i > 0 && c.rings[i-1].priority <= r.priority || r.members == 0 {
			return nil
		}
		for x := r.first; x != nil; {
			if !x.inTurn() || x.ring != r || x.next.prev != x || len(ids) > len(c.byID) {
				return nil
			}
			ids = append(ids, x.ID)
			if x = x.next; x == r.first {
				break
			}
		}
	}
	return ids
}
