package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// The model of a queue is compared with one whose store has answered. What
// can go wrong in between is that a message is lost, or comes twice: that is what a
// storm looks for. Everything happens while the store has not answered, which fails
// now and then, and the broker dies now and then. As the queue has a dead-letter
// exchange, whatever goes is seen to go.
type storm struct {
	*rig
	t    *judge
	rnd  *rand.Rand
	log  *fakeLog
	typ  Type
	args message.Table
	next int

	// all are the messages of this life, and what became of them.
	all  map[string]*stormMessage
	held []received
	open []*inbox
	// purged is how many the queue says that were purged.
	purged int
}

// stormMessage is one message and where it is.
type stormMessage struct {
	persistent bool
	seq        uint64 // of its publish, 0 if it was recovered
	place      stormPlace
}

type stormPlace int

const (
	// inQueue is ready, or on its way to the dead-letter exchange.
	inQueue stormPlace = iota
	// inHand is held by a consumer, inGrave was discarded by one.
	inHand
	inGrave
	// perhapsPurged was in the queue at a purge. If it was on its way to the
	// dead-letter exchange, it will come there.
	perhapsPurged
	// over is acknowledged, delivered without an acknowledgement, or dead-lettered.
	over
)

func TestNothingIsLostOrDoubledWhateverTheStoreDoes(t *testing.T) {
	t.Parallel()
	for _, typ := range []Type{Classic(), Quorum()} {
		for first := uint64(0); first < uint64(*histories); first += 10 {
			t.Run(fmt.Sprint(typ.Name(), " seeds from ", first), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(10) {
					synctest.Test(t, func(t *testing.T) {
						playStorm(t, typ, *historySeed+first+seed)
					})
				}
			})
		}
	}
}

func playStorm(t *testing.T, typ Type, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 79))
	s := &storm{t: &judge{TB: t}, rnd: rnd, typ: typ, all: map[string]*stormMessage{}}
	w := classicWorld(rnd)
	for _, f := range w.arguments {
		known := slices.Contains(typ.Capabilities().Arguments, f.Name)
		if known && f.Name != "x-expires" && f.Name != argDeadLetterExchange && f.Name != "x-dead-letter-routing-key" {
			s.args = append(s.args, f)
		}
	}
	s.args = append(s.args, args(argDeadLetterExchange, "d")...)
	if s.quorum() && rnd.IntN(2) == 0 {
		s.args = append(s.args, args(argDeliveryLimit, int32(rnd.IntN(4)))...)
	}
	defer func() {
		if v := recover(); v != nil && s.t.err == nil {
			panic(v)
		}
		if s.t.err != nil {
			t.Errorf("%s, seed %d, %v: %v", typ.Name(), seed, s.args, s.t.err)
		}
	}()
	s.begin(newFakeLog(), Bounds{Messages: 1 + rnd.IntN(4)})
	failing := rnd.IntN(3) == 0
	for range 400 {
		s.rage(failing)
	}
	s.abate(failing)
}

func (s *storm) quorum() bool { return s.typ.Name() == "quorum" }

// begin begins a life with what a log holds.
func (s *storm) begin(log *fakeLog, b Bounds) {
	s.log = log
	s.held, s.open, s.purged = nil, nil, 0
	s.rig = newRig(s.t, s.typ, func(spec *Spec, env *HostEnv) {
		inline(spec, env)
		spec.Arguments = s.args
		log.with(spec, env)
		env.Memory, env.DeadLetter = b, s.died
	})
	before := s.all
	s.all = map[string]*stormMessage{}
	for _, body := range log.left() {
		m := before[body]
		if m == nil || !m.persistent {
			s.t.stop("%s is in the store", body)
		}
		s.all[body] = &stormMessage{persistent: true}
	}
	log.recoverIn(1+s.rnd.IntN(7), nil)
}

// rage does something to the queue at random. It is called in a bubble.
func (s *storm) rage(failing bool) {
	rnd := s.rnd
	switch n := rnd.IntN(200); {
	case n < 50:
		s.publishSome()
	case n < 90:
		s.settleSome()
	case n < 98 && len(s.open) < 4:
		s.consume(Consumer{Prefetch: rnd.IntN(5), NoAck: rnd.IntN(6) == 0})
	case n < 103 && len(s.open) > 0:
		i := rnd.IntN(len(s.open))
		s.h.Cancel(s.open[i].id)
		s.open = slices.Delete(s.open, i, i+1)
	case n < 104:
		s.purge()
	case n < 106:
		s.crash()
	case n < 114:
		s.get(rnd.IntN(2) == 0)
	case n < 117 && failing:
		s.log.failSubmit[s.log.submitted+1] = errDisk
	case n < 120 && failing:
		s.log.failLoad[s.log.loaded+1] = errDisk
	case n < 140:
		time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond)
		synctest.Wait()
	default:
		s.log.step(rnd)
	}
	synctest.Wait() // a timer may be due
	s.mu.Lock()
	ends := len(s.ends)
	s.mu.Unlock()
	if ends > 0 {
		s.t.stop("the queue is gone: %v", s.ends)
	}
	s.h.do(func() { // in the queue's turn, so that the next timer knows of what is here
		checkMemory(s.t, s.h)
	})
	if s.t.err != nil {
		s.t.FailNow()
	}
}

func (s *storm) publishSome() {
	b := NewBatch()
	for range 1 + s.rnd.IntN(6) {
		s.next++
		body := fmt.Sprintf("%06d", s.next)
		p := s.publish(body, s.rnd.IntN(4) > 0)
		p.Msg.SetAttributes(p.Msg.Persistent(), uint8(s.rnd.IntN(7)))
		if s.rnd.IntN(3) == 0 {
			p.Msg.SetTTL(int64(s.rnd.IntN(4) * 10))
		}
		s.all[body] = &stormMessage{persistent: s.quorum() || p.Msg.Persistent(), seq: p.Ref.Seq}
		b.Publish(p)
	}
	s.h.Post(b)
}

func (s *storm) consume(c Consumer) *inbox {
	in := &inbox{t: s.t}
	in.onDeliver = func(ds []Delivery) {
		for i := range ds {
			s.delivered(string(ds[i].Msg.Body()), ds[i].ID, ds[i].Consumer, c.NoAck)
		}
	}
	require.NoError(s.t, s.h.Consume(c, in, in.attach, func() {}))
	s.open = append(s.open, in)
	return in
}

// get asks for a message, which may come later.
func (s *storm) get(noAck bool) {
	s.ask(noAck, func(r GetReply) {
		if r.Msg != nil {
			s.delivered(string(r.Msg.Body()), r.ID, 0, noAck)
			r.Msg.Release()
		}
	})
}

func (s *storm) delivered(body string, id uint64, to message.ConsumerID, noAck bool) {
	m := s.all[body]
	if m == nil || m.place != inQueue {
		s.t.Errorf("%s is delivered, which is %v", body, m)
		return
	}
	m.place = inHand
	if noAck {
		m.place = over
		return
	}
	s.held = append(s.held, received{body: body, id: id, consumer: to})
}

// died is the dead-letter exchange.
func (s *storm) died(_ *Host, d *Dead) (*message.Message, []*Host) {
	body := string(d.Msg.Body())
	m := s.all[body]
	if m == nil || (m.place == inGrave) != (d.Reason == Rejected) || m.place == inHand || m.place == over {
		s.t.Errorf("%s is dead, %s, which is %v", body, d.Reason, m)
		return nil, nil
	}
	m.place = over
	return nil, nil
}

func (s *storm) settleSome() {
	if len(s.held) == 0 {
		return
	}
	s.rnd.Shuffle(len(s.held), func(i, j int) { s.held[i], s.held[j] = s.held[j], s.held[i] })
	n := 1 + s.rnd.IntN(len(s.held))
	batch := slices.Clone(s.held[:n])
	s.held = slices.Clone(s.held[n:])
	b := NewBatch()
	for _, d := range batch {
		o := []Outcome{Ack, Requeue, Discard, Return}[s.rnd.IntN(4)]
		s.all[d.body].place = [...]stormPlace{Ack: over, Requeue: inQueue, Discard: inGrave, Return: inQueue}[o]
		b.Settle(Settle{ID: d.id, Consumer: d.consumer, Outcome: o})
	}
	s.h.Post(b)
}

func (s *storm) purge() {
	n, err := s.h.Purge()
	require.NoError(s.t, err)
	s.purged += n
	for _, m := range s.all {
		if m.place == inQueue {
			m.place = perhapsPurged
		}
	}
}

// crash ends a life without any order, and begins the next.
func (s *storm) crash() {
	s.h.StopTimer()
	confirmed, _ := s.answers.given()
	next := s.log.crash()
	left := next.left()
	for body, m := range s.all {
		_, safe := slices.BinarySearch(confirmed, m.seq)
		safe = m.persistent && (safe || m.seq == 0)
		if safe && (m.place == inQueue || m.place == inHand) && !slices.Contains(left, body) {
			s.t.stop("%s was confirmed, and is not there after a crash", body)
		}
	}
	s.begin(next, s.env.Memory)
}

// abate lets everything come to its end.
func (s *storm) abate(failing bool) {
	clear(s.log.failSubmit)
	clear(s.log.failLoad)
	for _, in := range s.open {
		s.h.Cancel(in.id)
	}
	s.publishSome() // the store works again: it hears of what it did not take before
	s.settleDown()
	for len(s.held) > 0 {
		s.settleSome()
	}
	s.settleDown()
	s.consume(Consumer{NoAck: true})
	s.settleDown()
	require.Equal(s.t, Stat{Consumers: 1}, s.stat())
	confirmed, rejected := s.answers.given()
	require.Equal(s.t, int(s.seq), len(confirmed)+len(rejected), "every publish is answered")
	purged := 0
	for body, m := range s.all {
		_, refused := slices.BinarySearch(rejected, m.seq)
		switch {
		case m.place == over || refused:
		case m.place == perhapsPurged:
			purged++
		default:
			s.t.Errorf("%s is lost, which is %v", body, m)
		}
	}
	if purged > s.purged {
		s.t.Errorf("%d messages are lost in a purge of %d", purged-s.purged, s.purged)
	}
	if !failing {
		// What belongs to an atom a real store tries again by itself.
		require.Empty(s.t, s.log.left())
	}
	s.deleteAndBalance()
}

// settleDown lets the store answer, and time pass until nobody waits to try again. It is
// called in a bubble.
func (s *storm) settleDown() {
	for range 4 {
		s.log.settleAll(s.rnd)
		time.Sleep(retryLoad)
		synctest.Wait()
	}
}
