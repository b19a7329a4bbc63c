package crashtest

import (
	"maps"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// story is a history written by hand, and what is found at its end.
type story struct {
	*testing.T
	l       *Ledger
	q, dead *Queue
	c       *Chan // that publishes
	other   *Chan // that consumes
	seq     uint64
}

func newStory(t *testing.T) *story {
	s := &story{T: t, l: NewLedger()}
	s.q, s.dead = s.l.AddQueue("q", QueueOptions{}), s.l.AddQueue("dead", QueueOptions{Unruly: true})
	s.c, s.other = s.l.Chan("c"), s.l.Chan("other")
	return s
}

// id gives the id of the next message.
func (s *story) id(persistent bool) ID {
	s.seq++
	return ID{"c", s.seq, persistent}
}

// confirmed publishes a persistent message to queue q and has it confirmed.
func (s *story) confirmed() ID {
	id := s.id(true)
	s.l.Confirmed(s.c.Publish(id, s.q))
	return id
}

// ranked is confirmed for the next message of a priority.
func (s *story) ranked(priority uint8) ID {
	for ; ; s.seq++ {
		if next := (ID{"c", s.seq + 1, true}); next.Content().Priority == priority {
			return s.confirmed()
		}
	}
}

// deliver delivers a message of queue q.
func (s *story) deliver(id ID, redelivered bool) *Copy {
	d := came(id, redelivered)
	return s.l.Delivered(s.q, "other", &d)
}

// came is a message as it comes out of a queue.
func came(id ID, redelivered bool) amqp.Delivery {
	p := id.Content()
	return amqp.Delivery{
		Headers: p.Headers, ContentType: p.ContentType, ContentEncoding: p.ContentEncoding, DeliveryMode: p.DeliveryMode,
		Priority: p.Priority, CorrelationId: p.CorrelationId, ReplyTo: p.ReplyTo, Expiration: p.Expiration,
		MessageId: p.MessageId, Timestamp: p.Timestamp, Type: p.Type, AppId: p.AppId, Body: p.Body, Redelivered: redelivered,
	}
}

// found ends the story: there was a crash, and this is in queue q, and nothing in
// queue dead.
func (s *story) found(found ...amqp.Delivery) { s.foundBoth(found, nil) }

func (s *story) foundBoth(found, dead []amqp.Delivery) {
	s.l.Crash("killed")
	k := s.l.NewChecker()
	k.Queue(s.q, found)
	k.Queue(s.dead, dead)
	k.Finish()
}

func TestTheLedgerJudgesHistories(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tell func(s *story)
		want string // part of the only violation; none if empty
	}{
		"a confirmed message is there": {func(s *story) { s.found(came(s.confirmed(), false)) }, ""},
		"a confirmed message is lost":  {func(s *story) { s.confirmed(); s.found() }, "message c/1/p is not in queue q, but must be"},
		"a confirmed message is there twice": {func(s *story) {
			id := s.confirmed()
			s.found(came(id, false), came(id, false))
		}, "is in queue q twice"},
		"an unconfirmed message is there":     {func(s *story) { id := s.id(true); s.c.Publish(id, s.q); s.found(came(id, false)) }, ""},
		"an unconfirmed message is not there": {func(s *story) { s.c.Publish(s.id(true), s.q); s.found() }, ""},
		"an unconfirmed message is there twice": {func(s *story) {
			id := s.id(true)
			s.c.Publish(id, s.q)
			s.found(came(id, false), came(id, false))
		}, "twice"},
		"a refused message is not there":  {func(s *story) { s.l.Nacked(s.c.Publish(s.id(true), s.q)); s.found() }, ""},
		"a message that nobody ever sent": {func(s *story) { s.found(came(s.id(true), false)) }, "was never put there"},
		"a transient message is gone":     {func(s *story) { s.l.Confirmed(s.c.Publish(s.id(false), s.q)); s.found() }, ""},
		"a transient message comes back":  {func(s *story) { id := s.id(false); s.c.Publish(id, s.q); s.found(came(id, false)) }, "it is transient"},
		"messages are in order":           {func(s *story) { s.found(came(s.confirmed(), false), came(s.confirmed(), false)) }, ""},
		"messages are out of order":       {func(s *story) { a, b := s.confirmed(), s.confirmed(); s.found(came(b, false), came(a, false)) }, "comes after number 2"},
		"higher priorities come first": {func(s *story) {
			s.q.levels = true
			low, high := s.ranked(1), s.ranked(2)
			s.found(came(high, false), came(low, false))
		}, ""},
		"a priority is lost": {func(s *story) {
			s.q.levels = true
			low, high := s.ranked(1), s.ranked(2)
			s.found(came(low, false), came(high, false))
		}, "comes after one of priority 1"},
		"a body is damaged":                 {func(s *story) { d := came(s.confirmed(), false); d.Body[5]++; s.found(d) }, "came out changed: a body of"},
		"a body is cut":                     {func(s *story) { d := came(s.confirmed(), false); d.Body = d.Body[:7]; s.found(d) }, "came out changed: a body of 7"},
		"a property is lost":                {func(s *story) { d := came(s.confirmed(), false); d.Priority = 9; s.found(d) }, "priority is 9"},
		"a message has no id":               {func(s *story) { d := came(s.confirmed(), false); d.MessageId = "x"; s.found(d) }, "none of this test's"},
		"an acked message is gone":          {func(s *story) { s.other.Ack(s.deliver(s.confirmed(), false)); s.found() }, ""},
		"an acked message is there":         {func(s *story) { id := s.confirmed(); s.other.Ack(s.deliver(id, false)); s.found(came(id, true)) }, ""},
		"a delivered message is there":      {func(s *story) { id := s.confirmed(); s.deliver(id, false); s.found(came(id, true)) }, ""},
		"a delivered message is lost":       {func(s *story) { s.deliver(s.confirmed(), false); s.found() }, "is not in queue q"},
		"a requeued message is lost":        {func(s *story) { s.other.Requeue(s.deliver(s.confirmed(), false)); s.found() }, "is not in queue q"},
		"a mark may be lost":                {func(s *story) { id := s.confirmed(); s.deliver(id, false); s.found(came(id, false)) }, ""},
		"a mark from nowhere":               {func(s *story) { s.found(came(s.confirmed(), true)) }, "nobody ever took anything"},
		"a mark though somebody might have": {func(s *story) { done := s.l.Consuming(s.q); id := s.confirmed(); done(); s.found(came(id, true)) }, ""},
		"a durable mark is lost": {func(s *story) {
			a := s.confirmed()
			s.deliver(a, false)
			b := s.confirmed()
			s.found(came(a, false), came(b, false))
		}, "message c/1/p in queue q is not marked as redelivered"},
		"a mark may be lost though a later life confirmed something": {func(s *story) {
			a := s.confirmed()
			s.deliver(a, false)
			s.l.Crash("killed")
			b := s.confirmed()
			s.found(came(a, false), came(b, false))
		}, ""},
		"a mark may be lost if the later message was acked": {func(s *story) {
			a := s.confirmed()
			s.deliver(a, false)
			id := s.id(true)
			p := s.c.Publish(id, s.q)
			s.other.Ack(s.deliver(id, false))
			s.l.Confirmed(p)
			s.found(came(a, false))
		}, ""},
		"an ack that is known to be durable": {func(s *story) {
			a := s.confirmed()
			s.c.Ack(s.deliver(a, false)) // the same channel
			b := s.confirmed()
			s.found(came(a, true), came(b, false))
		}, "message c/1/p is in queue q, but must not be: it was acked, and a later publish"},
		"an ack of another channel may be lost": {func(s *story) {
			a := s.confirmed()
			s.other.Ack(s.deliver(a, false))
			b := s.confirmed()
			s.found(came(a, true), came(b, false))
		}, ""},
		"an ack after the publish may be lost": {func(s *story) {
			a := s.confirmed()
			m := s.deliver(a, false)
			id := s.id(true)
			p := s.c.Publish(id, s.q)
			s.c.Ack(m)
			s.l.Confirmed(p)
			s.found(came(a, true), came(id, false))
		}, ""},
		"a message comes again after its ack": {func(s *story) { id := s.confirmed(); s.other.Ack(s.deliver(id, false)); s.deliver(id, true); s.found() }, "which was settled"},
		"a message comes again while it is held": {func(s *story) {
			id := s.confirmed()
			s.deliver(id, false)
			s.deliver(id, true)
			s.found(came(id, true))
		}, "somebody has already"},
		"a message comes again without its mark": {func(s *story) {
			id := s.confirmed()
			s.other.Requeue(s.deliver(id, false))
			s.deliver(id, false)
			s.found(came(id, true))
		}, "without saying so"},
		"a message comes again with its mark": {func(s *story) {
			id := s.confirmed()
			s.other.Requeue(s.deliver(id, false))
			s.deliver(id, true)
			s.found(came(id, true))
		}, ""},
		"a rejected message is dead-lettered": {func(s *story) { id := s.reject(); s.foundBoth(nil, []amqp.Delivery{came(id, false)}) }, ""},
		"a rejected message is not yet":       {func(s *story) { id := s.reject(); s.foundBoth([]amqp.Delivery{came(id, true)}, nil) }, ""},
		"a rejected message is lost":          {func(s *story) { s.reject(); s.found() }, "is neither in queue q nor in dead"},
		"a rejected message is in both": {func(s *story) {
			id := s.reject()
			s.foundBoth([]amqp.Delivery{came(id, true)}, []amqp.Delivery{came(id, false)})
		}, "in queue dead as well"},
		"a deleted queue's message in a namesake": {func(s *story) {
			id := s.confirmed()
			s.l.RemoveQueue(s.q)
			s.q = s.l.AddQueue("q", QueueOptions{})
			s.found(came(id, false))
		}, "or known to be gone"},
		"a deleted queue's messages are gone": {func(s *story) {
			s.confirmed()
			s.l.RemoveQueue(s.q)
			s.q = s.l.AddQueue("q", QueueOptions{})
			s.found()
		}, ""},
		"a message of a lossy queue is gone": {func(s *story) { s.q = s.l.AddQueue("q", QueueOptions{Lossy: true}); s.confirmed(); s.found() }, ""},
		"a message that was seen to be gone": {func(s *story) {
			id := s.confirmed()
			s.other.Ack(s.deliver(id, false))
			s.found()
			s.found(came(id, true))
		}, "or known to be gone"},
		"a message that was seen must stay": {func(s *story) {
			id := s.id(true)
			s.c.Publish(id, s.q)
			s.found(came(id, false))
			s.found()
		}, "is not in queue q, but must be"},
		"a mark that was seen must stay": {func(s *story) {
			id := s.confirmed()
			s.deliver(id, false)
			s.found(came(id, true))
			s.found(came(id, false))
		}, "is not marked as redelivered"},
		"a mark may be lost that a consumer saw, who was not the first perhaps": {func(s *story) {
			id := s.confirmed()
			s.l.Crash("killed")
			s.l.Consuming(s.q)
			s.deliver(id, true)
			s.found(came(id, false))
		}, ""},
		"a crash that nobody looked after": {func(s *story) {
			id := s.confirmed()
			s.l.Crash("killed")
			s.other.Ack(s.deliver(id, false))
			s.found()
		}, ""},
		"a transient message comes to a consumer": {func(s *story) {
			id := s.id(false)
			s.c.Publish(id, s.q)
			s.l.Crash("killed")
			s.deliver(id, false)
		}, "it is transient"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			c.tell(s)
			s.requireViolation(c.want)
		})
	}
}

// reject rejects a message of queue q.
func (s *story) reject() ID {
	id := s.confirmed()
	s.other.Reject(s.deliver(id, false), s.dead)
	return id
}

func (s *story) requireViolation(want string) {
	s.Helper()
	got := s.l.Violations()
	if want == "" {
		require.Empty(s, got)
		return
	}
	require.NotEmpty(s, got)
	require.Contains(s, got[0].What, want)
	// A message without an id is missed as well.
	require.Len(s, got, 1+strings.Count(want, "none of this test's"))
}

func TestTheLedgerJudgesTransactions(t *testing.T) {
	t.Parallel()
	// In each story message 1 is acked in a transaction that publishes 2 and 3.
	for name, c := range map[string]struct {
		end   func(tx *Tx)
		found []int
		want  string
	}{
		"all of an unanswered commit":      {(*Tx).Commit, []int{2, 3}, ""},
		"nothing of an unanswered commit":  {(*Tx).Commit, []int{1}, ""},
		"a publish without the ack":        {(*Tx).Commit, []int{1, 2, 3}, "was carried out in part"},
		"the ack without the publishes":    {(*Tx).Commit, nil, "was carried out in part"},
		"one of two publishes":             {(*Tx).Commit, []int{3}, "was carried out in part"},
		"all of an answered commit":        {committed, []int{2, 3}, ""},
		"an answered commit's publish":     {committed, []int{2}, "message c/3/p is not in queue q, but must be"},
		"an answered commit's ack":         {committed, []int{1, 2, 3}, "acked in a transaction whose commit was answered"},
		"nothing of one never committed":   {func(*Tx) {}, []int{1}, ""},
		"a publish of one never committed": {func(*Tx) {}, []int{1, 2}, "its transaction was not committed"},
		"the ack of one never committed":   {func(*Tx) {}, []int{}, "is not in queue q, but must be"},
		"nothing of one rolled back":       {(*Tx).RolledBack, []int{1}, ""},
		"a publish of one rolled back":     {(*Tx).RolledBack, []int{1, 3}, "or known to be gone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			ids := []ID{{}, s.confirmed(), s.id(true), s.id(true)}
			tx := s.c.Begin(1)
			tx.Ack(s.deliver(ids[1], false))
			tx.Publish(ids[2], s.q)
			tx.Publish(ids[3], s.q)
			c.end(tx)
			var messages []amqp.Delivery
			for _, i := range c.found {
				messages = append(messages, came(ids[i], i == 1))
			}
			s.found(messages...)
			s.requireViolation(c.want)
		})
	}
}

func TestAMessageThatCameAndWentSaysNothingOfATransaction(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	stays := s.confirmed()
	brief := s.id(true)
	p := s.c.Publish(brief, s.q)
	tx := s.other.Begin(1)
	tx.Ack(s.deliver(stays, false), s.deliver(brief, false))
	tx.Commit()
	s.l.Confirmed(p) // because it was acked
	s.found(came(stays, true))
	s.requireViolation("")
}

func committed(tx *Tx) {
	tx.Commit()
	tx.Committed()
}

func TestAnIDSaysAllAboutAMessage(t *testing.T) {
	t.Parallel()
	smallest, largest := maxBody, 0
	for seq := range uint64(3000) {
		id := ID{"life1.publisher2.1", seq + 1, seq%3 > 0}
		d := came(id, false)
		got, err := Check(&d)
		require.NoError(t, err)
		require.Equal(t, id, got)
		smallest, largest = min(smallest, len(d.Body)), max(largest, len(d.Body))
	}
	require.Equal(t, minBody, smallest)
	require.Greater(t, largest, maxBody/2)
}

func TestDefinitionsAreThoseBeforeOrAfterTheLastChange(t *testing.T) {
	t.Parallel()
	q := func(names ...string) *world {
		w := newWorld()
		for _, name := range names {
			w.queues[name] = queueDef{durable: true}
		}
		return w
	}
	for name, c := range map[string]struct {
		found *world
		bad   bool
	}{
		"before the last change":       {q("a"), false},
		"after the last change":        {q("a", "b"), false},
		"before one that was answered": {q(), true},
		"something else":               {q("a", "c"), true},
		"only the last change":         {q("b"), true},
		"the transient one is back":    {&world{queues: map[string]queueDef{"a": {durable: true}, "t": {}}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := NewLedger()
			b := books[*world]{now: newWorld()}
			with := q("a")
			with.queues["t"] = queueDef{}
			b.begin("declare a and t", with)
			b.done()
			after := with.clone()
			after.queues["b"] = queueDef{durable: true}
			b.begin("declare b", after)
			require.Equal(t, !c.bad, b.crashed(c.found, (*world).survivors, l, "somebody"))
			require.Equal(t, c.bad, len(l.Violations()) > 0)
		})
	}
}

func TestWhatIsExclusiveGoesBeforeAnOrderlyStop(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.queues["q"] = queueDef{durable: true, exclusive: true}
	w.queues["kept"] = queueDef{durable: true}
	w.exchanges["x"] = exchangeDef{kind: "direct", durable: true, autoDelete: true}
	w.exchanges["y"] = exchangeDef{kind: "direct", durable: true, autoDelete: true}
	w.bindings[bindingDef{source: "x", key: "k", destination: "q"}] = true
	w.bindings[bindingDef{source: "y", key: "k", destination: "kept"}] = true
	require.Equal(t, []string{"x", "y"}, slices.Sorted(maps.Keys(w.survivors().exchanges)))
	require.Equal(t, []string{"y"}, slices.Sorted(maps.Keys(w.stopped().exchanges)))
	require.Len(t, w.queues, 2, "the world itself stays")
	l := NewLedger()
	l.Crash(stoppedInOrder)
	require.Equal(t, stoppedInOrder, l.howEnded())
	l.Crash("killed")
	require.Equal(t, "killed", l.howEnded())
}

func TestBindingsGoWithTheirEnds(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.queues["a"], w.queues["t"] = queueDef{durable: true}, queueDef{}
	w.exchanges["x"], w.exchanges["brief"] = exchangeDef{durable: true}, exchangeDef{}
	w.exchanges["auto"] = exchangeDef{durable: true, autoDelete: true}
	w.bindings[bindingDef{"x", "k", "a", false}] = true
	w.bindings[bindingDef{"x", "k", "t", false}] = true
	w.bindings[bindingDef{"brief", "k", "a", false}] = true
	w.bindings[bindingDef{"auto", "k", "a", false}] = true

	require.Equal(t, "binding auto -k-> queue a\nbinding x -k-> queue a\n"+
		"exchange auto {kind: durable:true autoDelete:true}\nexchange x {kind: durable:true autoDelete:false}\n"+
		"queue a {durable:true autoDelete:false exclusive:false lazy:false}", w.survivors().String())
	w.deleteQueue("a")
	require.Equal(t, "binding x -k-> queue t", w.String()[:len("binding x -k-> queue t")])
	require.NotContains(t, w.exchanges, "auto")
}
