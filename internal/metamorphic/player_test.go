package metamorphic

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
)

// transcript is what a player saw.
type transcript struct {
	steps []step
	// sent has, for each time that the player waited, how many events each
	// connection had been sent by then.
	sent [][]int
}

// step is what was seen of one operation.
type step struct {
	op   string
	seen []string
}

func (s step) String() string { return s.op + "\n\t" + strings.Join(s.seen, "\n\t") + "\n" }

// player plays one history.
type player struct {
	testing.TB
	h       *history
	way     way
	broker  *testBroker
	address string
	// like is the transcript of who has played before, nil for the first one.
	like     *transcript
	patience time.Duration

	peers  []peer
	slots  []*slot
	named  []string // names that the broker made up
	asking []string // addresses of direct replies, as they were seen
	script transcript
	seen   []string // of the step
	stuck  bool     // something did not come, and there is no use in going on
}

// slot is the place of a channel, which is opened anew when it has ended.
type slot struct {
	number, peer int
	session      session
	tx           bool
	confirms     bool
	consumers    map[string]bool // whether they acknowledge, by tag
	replies      string          // the tag of the consumer of direct replies
	held         []held          // deliveries to settle, by tag
	uncommitted  []held          // settled in a transaction
}

// held is a delivery that is not settled.
type held struct {
	tag    uint64
	stream string // empty for one that was got
}

// play plays a history, and stops where it gets different from like.
func play(t testing.TB, h *history, w way, like *transcript, patience time.Duration) *transcript {
	t.Helper()
	p := &player{TB: t, h: h, way: w, like: like, patience: patience}
	var end func()
	p.broker, p.address, end = newBroker(t, w.listens)
	defer end()
	p.peers = make([]peer, len(h.users))
	for i, peer := range h.slots {
		p.slots = append(p.slots, &slot{number: i, peer: peer})
	}
	defer func() {
		for _, peer := range p.peers {
			if peer.end() == nil {
				require.NoError(t, peer.close())
			}
		}
	}()
	p.reopen()
	for _, o := range h.ops {
		p.step(o)
		if n := len(p.script.steps); p.stuck || like != nil && !slices.Equal(like.steps[n-1].seen, p.script.steps[n-1].seen) {
			break
		}
	}
	return &p.script
}

// see notes something about the step.
func (p *player) see(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	line = replyAddress.ReplaceAllStringFunc(line, func(address string) string {
		i := slices.Index(p.asking, address)
		if i < 0 {
			i = len(p.asking)
			p.asking = append(p.asking, address)
		}
		return fmt.Sprintf("<address %d>", i)
	})
	for i, name := range p.named {
		line = strings.ReplaceAll(line, name, fmt.Sprintf("<made up %d>", i))
	}
	p.seen = append(p.seen, madeUpName.ReplaceAllString(line, "<made up>"))
}

// replyAddress is where to send a direct reply.
var replyAddress = regexp.MustCompile(`amq\.rabbitmq\.reply-to(\.[\w-]+){2}`)

// madeUpName is a name that the broker made up for a queue that it then refused.
var madeUpName = regexp.MustCompile(`amq\.gen-[\w-]{22}`)

// result notes what a method gave. A refusal is noted where it ends something, as
// methods without an answer do not give it.
func (p *player) result(s *slot, err error, results ...any) {
	var e *amqp.Error
	switch {
	case err == nil:
		if len(results) > 0 {
			p.see("%v", results)
		}
	case !errors.As(err, &e):
		p.see("error %v", err)
	case s.session.end() == nil:
		p.see("an error, and the channel is open: %v", err)
	case e.Recover == refusalIsHard(e.Code):
		p.see("an error of the wrong kind: %#v", e)
	case s.session.end().Error() != refusal(e.Code, e.Reason).Error():
		p.see("error %v", err)
	}
}

// refusalIsHard says whether a code ends the connection.
func refusalIsHard(code int) bool {
	return code >= 500 || code == amqp.ConnectionForced
}

// step plays one operation, and waits until nothing is under way any more.
func (p *player) step(o op) {
	s := p.slots[o.slot]
	p.seen = nil
	o.run(p, s)
	p.quiesce(s.peer)
	for p.ended() {
		p.reopen()
		p.quiesce(s.peer)
	}
	p.state()
	p.script.steps = append(p.script.steps, step{o.text, p.seen})
}

// ended notes what the step has ended. It reports whether there was anything.
func (p *player) ended() (any bool) {
	for i, peer := range p.peers {
		if why := peer.end(); why != nil {
			p.see("connection %d ended: %v", i, why)
			any = true
			for _, s := range p.slots {
				if s.peer == i {
					s.session = nil
				}
			}
		}
	}
	for _, s := range p.slots {
		if s.session == nil {
			any = true
			continue
		}
		why := s.session.end()
		if why == nil {
			continue
		}
		any = true
		p.see("channel %d ended: %v", s.number, why)
		s.session = nil
		if p.h.alone {
			require.NoError(p, p.peers[s.peer].close())
		}
	}
	return any
}

// reopen opens what is not open.
func (p *player) reopen() {
	for i, peer := range p.peers {
		if peer == nil || peer.end() != nil {
			p.connected(i)
			var err error
			p.peers[i], err = p.way.dial(p.broker, p.address, p.h.users[i])
			require.NoError(p, err)
		}
	}
	for _, s := range p.slots {
		if s.session == nil {
			var err error
			*s = slot{number: s.number, peer: s.peer, consumers: map[string]bool{}}
			s.session, err = p.peers[s.peer].open(s.number)
			require.NoError(p, err)
		}
	}
}

// connected waits until the broker knows of the end of connections.
func (p *player) connected(except int) {
	want := 0
	for i, peer := range p.peers {
		if i != except && peer != nil {
			want += peer.connections()
		}
	}
	p.until(func() bool { return len(p.broker.Connections()) == want })
}

// until waits for a condition that nobody tells of.
func (p *player) until(condition func() bool) {
	late := time.After(patience)
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-late:
			require.FailNow(p, "it did not come to this")
		}
	}
}

// quiesce waits until nothing is under way any more.
func (p *player) quiesce(acting int) {
	// What was sent has reached the queues,
	p.peers[acting].roundTrip()
	p.connected(-1)
	// and they have had their turns. An answer is given within a turn, and the
	// second one comes after the end of that.
	p.queues()
	p.queues()
	// What came of it has been received.
	var sent []int
	waited := len(p.script.sent)
	for i, peer := range p.peers {
		if peer.end() != nil {
			sent = append(sent, 0)
			continue
		}
		peer.roundTrip()
		n, ok := peer.sent()
		if !ok {
			n = p.like.sent[waited][i]
		}
		if !peer.events().await(n, p.patience) {
			p.see("%d events of %d have come on connection %d", peer.events().added(), n, i)
			p.stuck = true
		}
		sent = append(sent, n)
	}
	p.script.sent = append(p.script.sent, sent)
	for _, peer := range p.peers {
		p.events(peer.events().take())
	}
}

// events notes what has come. What comes on different streams has no order, and to
// the native API each consumer has an end of its own. Of consumers without names
// it is not known which is which.
func (p *player) events(es []event) {
	slices.SortStableFunc(es, func(a, b event) int {
		order := cmp.Or(cmp.Compare(a.slot, b.slot), cmp.Compare(a.stream, b.stream))
		switch {
		case order != 0:
			return order
		case a.stream == cancelled && !p.h.wide:
			return cmp.Compare(a.text, b.text)
		case a.stream == cancelled && (a.text == nameless) != (b.text == nameless):
			if a.text == nameless {
				return 1
			}
			return -1
		case a.stream == "to "+nameless:
			return cmp.Compare(a.tag, b.tag)
		}
		return 0
	})
	for _, e := range es {
		s := p.slots[e.slot]
		if s.session == nil || s.session.end() != nil {
			continue // nobody receives on a channel that has ended
		}
		if e.tag != 0 {
			p.see("on %d %s: %d %s", e.slot, e.stream, e.tag, e.text)
		} else {
			p.see("on %d %s: %s", e.slot, e.stream, e.text)
		}
		if e.stream == cancelled {
			s.gone(e.text)
		}
		if e.tag != 0 && s.consumers[strings.TrimPrefix(e.stream, "to ")] {
			s.hold(e.tag, e.stream)
		}
	}
}

// gone forgets a consumer.
func (s *slot) gone(tag string) {
	delete(s.consumers, tag)
	if s.replies == tag {
		s.replies = ""
	}
}

func (s *slot) hold(tag uint64, stream string) {
	s.held = append(s.held, held{tag, stream})
	slices.SortFunc(s.held, func(a, b held) int { return cmp.Compare(a.tag, b.tag) })
}

// settled takes what is settled from what is held.
func (s *slot) settled(yes func(held) bool) {
	for _, d := range s.held {
		if s.tx && yes(d) {
			s.uncommitted = append(s.uncommitted, d)
		}
	}
	s.held = slices.DeleteFunc(s.held, yes)
}

// rolledBack holds again what was settled in the transaction.
func (s *slot) rolledBack() {
	for _, d := range s.uncommitted {
		s.hold(d.tag, d.stream)
	}
	s.uncommitted = nil
}

func (p *player) queues() []warren.QueueInfo {
	qs, err := p.broker.Queues(vhost)
	require.NoError(p, err)
	return qs
}

// state notes what is in the broker.
func (p *player) state() {
	begin := len(p.seen)
	for _, q := range p.queues() {
		p.see("queue %s %s durable=%t exclusive=%t auto-delete=%t args=%s %+v", q.Name, q.Type, q.Durable, q.Exclusive, q.AutoDelete,
			showValue(clientTable(q.Arguments)), q.Info)
	}
	xs, err := p.broker.Exchanges(vhost)
	require.NoError(p, err)
	for _, x := range xs {
		if x.Name != "" && !strings.HasPrefix(x.Name, "amq.") {
			p.see("exchange %s %s durable=%t auto-delete=%t internal=%t args=%s", x.Name, x.Type, x.Durable, x.AutoDelete, x.Internal,
				showValue(clientTable(x.Arguments)))
		}
	}
	bs, err := p.broker.Bindings(vhost)
	require.NoError(p, err)
	for _, b := range bs {
		p.see("binding %s -> %s (exchange: %t) key=%q args=%s", b.Source, b.Destination, b.ToExchange, b.RoutingKey, showValue(clientTable(b.Arguments)))
	}
	slices.Sort(p.seen[begin:])
}
