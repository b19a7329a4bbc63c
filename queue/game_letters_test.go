package queue

import (
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// targets are the queues that a quorum queue's letters go to which are sent at least
// once. Others go nowhere: that they are sent is all there is to see of them.
type targets struct {
	g       *game
	hosts   map[string]*rig
	slowLog *fakeLog

	mu   sync.Mutex // for a store that answers by itself
	sent []string   // "body reason exchange key"
}

// open opens the targets of one life of the broker.
func (ts *targets) open(g *game) {
	ts.g, ts.sent, ts.slowLog = g, nil, newFakeLog()
	ready, _ := newRuled(g.t, nil, named(targetReady))
	full, _ := newRuled(g.t, args("x-max-length", int32(0), "x-overflow", "reject-publish"), named(targetFull))
	gone, _ := newRuled(g.t, nil, named(targetGone))
	require.NoError(g.t, gone.h.Delete(false, false, nil))
	slow := newQuorum(g.t, ts.slowLog, nil, named(targetSlow))
	ts.hosts = map[string]*rig{targetReady: ready, targetSlow: slow, targetFull: full, targetGone: gone}
}

// take is the dead-letter exchange.
func (ts *targets) take(h *Host, d *Dead) (*message.Message, []*Host) {
	if d.Letter == 0 {
		return ts.g.dead.take(h, d)
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.sent = append(ts.sent, fmt.Sprint(string(d.Msg.Body()), " ", d.Reason, " ", d.Exchange, " ", d.RoutingKey))
	var to []*Host
	for _, name := range ts.g.model.(*quorumModel).letters.to {
		to = append(to, ts.hosts[name].h)
	}
	if len(to) == 0 {
		return nil, nil
	}
	return ts.hosts[targetReady].message(string(d.Msg.Body()), d.Msg.Persistent()), to
}

// taken gives what was sent since somebody looked.
func (ts *targets) taken() []string {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	sent := ts.sent
	ts.sent = nil
	return sent
}

// answer has the slow target answer all that it was sent.
func (ts *targets) answer() {
	for ts.slowLog.commit(1) > 0 {
		ts.g.log.settle()
	}
}

// end ends the targets: the queue is gone.
func (ts *targets) end() {
	ts.answer()
	ts.hosts[targetReady].drain()
	ts.hosts[targetSlow].drain()
	ts.answer()
	for _, name := range []string{targetSlow, targetFull, targetReady} { // which made the letters
		ts.hosts[name].deleteAndBalance()
	}
}

// compareLetters compares what became of letters.
func (g *game) compareLetters() {
	l := &g.model.(*quorumModel).letters
	g.same(l.sent, g.targets.taken(), "letters that were sent")
	l.sent = nil
	for _, name := range []string{targetReady, targetSlow} {
		g.same(l.got[name], g.targets.hosts[name].drain(), "what the queue %q got", name)
	}
	clear(l.got)
}

func (g *game) performLetters(s step) string {
	m := g.model.(*quorumModel)
	switch s.kind {
	case stepTargets:
		m.letters.to = nil
		for _, to := range []struct {
			name string
			one  bool
		}{{targetReady, s.a%2 == 1}, {targetSlow, s.a/2%2 == 1}, {targetFull, s.b%4 == 1}, {targetGone, s.c%5 == 1}} {
			if to.one {
				m.letters.to = append(m.letters.to, to.name)
			}
		}
		return fmt.Sprint("letters go to ", m.letters.to)
	case stepAnswer:
		m.slowAnswers()
		g.targets.answer()
		return "the slow target answers"
	}
	if m.retry().IsZero() {
		return "nothing is sent again"
	}
	g.letTimePass(13) // all that may expire
	until := time.Now().Add(retryLetter)
	for !m.gone {
		next := m.retry()
		if next.IsZero() || next.After(until) {
			break
		}
		g.pass(time.Until(next))
	}
	return "wait until letters are sent again"
}

// publisher is a publisher of several, whose answers go to the same place.
type publisher struct{ *answers }

// refOf gives the name of a publish of a publisher, whose own would be ref.
func (g *game) refOf(by int, ref message.PublishRef) message.PublishRef {
	switch by {
	case 0:
		return ref
	case byNobody:
		return message.PublishRef{}
	case byDeath:
		return deadLetterRef
	}
	for len(g.publishers) < by {
		g.publishers = append(g.publishers, &publisher{g.answers})
	}
	return message.PublishRef{By: g.publishers[by-1], Seq: ref.Seq}
}
