package queue

import (
	"fmt"
	"slices"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

func (g *game) perform(s step) (note string) {
	switch s.kind {
	case stepPublish:
		return g.publishSome(s)
	case stepSettle:
		return g.settleSome(s)
	case stepConsume:
		return g.consumeOne(s)
	case stepCancel:
		return g.cancelOne(s)
	case stepGet:
		return g.getOne(s.a%3 == 1)
	case stepResume:
		return g.resumeOne(s.a, s.b%4)
	case stepWait:
		return g.letTimePass(1 + s.a%8)
	case stepDeclare:
		_, err := g.h.Declared()
		require.NoError(g.t, err)
		g.model.declared()
		return "declare"
	case stepPurge:
		n, err := g.h.Purge()
		require.NoError(g.t, err)
		g.same(g.model.purge(), n, "purged")
		return fmt.Sprint("purge ", n)
	case stepRestart:
		g.h.StopTimer()
		g.model.restart()
		g.open(g.log.restart())
		return "restart"
	case stepPolicy:
		g.policy = policyOf(s)
		g.model.obey(g.world.arguments, g.policy)
		g.h.SetPolicy(g.policy)
		return fmt.Sprint("policy ", g.policy)
	case stepTargets, stepAnswer, stepRetry:
		if g.quorum() {
			return g.performLetters(s)
		}
		return "nothing for a classic queue"
	}
	return g.delete(s.a%4 == 1, s.b%4 == 1)
}

// policyOf makes a policy of a step's numbers.
func policyOf(s step) (p message.Table) {
	for i, f := range []message.Field{
		{Name: "message-ttl", Value: int64([]int{0, 10, 30, 60}[s.b%4])},
		{Name: "expires", Value: int64([]int{102, 302}[s.b/4%2])},
		{Name: "max-length", Value: int64(s.c % 9)},
		{Name: "max-length-bytes", Value: int64(s.b % 60)},
		{Name: "overflow", Value: []string{"drop-head", "reject-publish", "reject-publish-dlx"}[s.c/9%3]},
		{Name: "dead-letter-exchange", Value: "e"},
		{Name: "dead-letter-routing-key", Value: "l"},
		{Name: policyDeliveryLimit, Value: int64(s.b / 8 % 4)},
		{Name: "dead-letter-strategy", Value: "at-least-once"},
	} {
		// Mostly one at a time; none is the end of the policy.
		if s.a%10 == i+1 || s.a >= 512 && s.a>>i&1 == 1 {
			p = append(p, f)
		}
	}
	return p
}

// publishSome publishes a few messages in one batch.
func (g *game) publishSome(s step) (note string) {
	m := g.model.state()
	if m.waiting && g.world.log != noLog {
		// What a successor is owed is loaded first and comes a little later, which the
		// rules of a limited queue do not wait for. That is nothing to compare.
		g.resumeOne(0, 0)
		g.log.settle()
	}
	b := NewBatch()
	for i := range 1 + s.a%4 {
		m.next++
		v := s.b + i*s.c
		x := modelMessage{
			body:       fmt.Sprintf("%06d%*s", m.next, v%3*4, ""),
			priority:   v % 7,
			ttl:        [...]int{-1, 0, 10, 30, 60, -1, -1, -1}[v/7%8],
			persistent: v/56%2 == 0,
		}
		p := g.publish(x.body, x.persistent)
		if g.quorum() {
			x.by = [...]int{0, 0, 0, 1, 1, 2, byNobody, byDeath}[v/112%8]
			p.Ref = g.refOf(x.by, p.Ref)
		}
		p.Msg.SetAttributes(x.persistent, uint8(x.priority))
		if x.ttl >= 0 {
			p.Msg.SetTTL(int64(x.ttl))
		}
		b.Publish(p)
		taken := g.model.publish(x)
		if p.Ref.Wanted() {
			g.want[p.Ref.Seq] = taken
		}
		if x.by != 0 {
			note += fmt.Sprint("by ", x.by, " ")
		}
		note += fmt.Sprintf("%q priority %d ttl %d persistent %v; ", x.body, x.priority, x.ttl, x.persistent)
	}
	g.h.Post(b)
	return "publish " + note
}

// settleSome settles some of what is held in one batch.
func (g *game) settleSome(s step) (note string) {
	held := g.model.state().held
	if len(held) == 0 {
		return "nothing to settle"
	}
	batch := slices.Concat(held[s.a%len(held):], held[:s.a%len(held)])
	batch = batch[:1+s.b%len(held)]
	if s.b/len(held)%2 == 1 {
		slices.Reverse(batch)
	}
	if g.world.log != noLog {
		// What one consumer requeues is delivered before the next one's comes back, but
		// a body that has to be loaded first is not.
		batch = sameConsumer(batch)
	}
	b := NewBatch()
	var outcomes []Outcome
	for i, d := range batch {
		o := [...]Outcome{Ack, Requeue, Discard}[(s.c+s.c/3%2*i)%3]
		if g.quorum() && s.c/6%4 == 1 {
			o = Return // which comes of the end of a channel, and not with something else
		}
		if g.quorum() && g.world.log != noLog && slices.Contains(outcomes, Requeue) {
			// A quorum queue reads what it is given back before it gives it a new place, as
			// RabbitMQ does, and settles what came after it meanwhile.
			o = Requeue
		}
		outcomes = append(outcomes, o)
		x := Settle{ID: d.id, Outcome: o}
		if d.to != nil {
			x.Consumer = g.sinks[d.to].id
		}
		b.Settle(x)
		note += fmt.Sprintf("%s %q; ", [...]string{Ack: "ack", Requeue: "requeue", Discard: "discard", Return: "return"}[o], d.body)
	}
	g.model.settle(batch, outcomes)
	g.h.Post(b)
	return note
}

// sameConsumer gives the first deliveries, as far as they were to the same consumer.
func sameConsumer(ds []*modelDelivery) []*modelDelivery {
	other := slices.IndexFunc(ds, func(d *modelDelivery) bool { return d.to != ds[0].to })
	if other < 0 {
		return ds
	}
	return ds[:other]
}

func (g *game) consumeOne(s step) (note string) {
	g.named++
	c := &modelConsumer{
		name: g.named, prefetch: s.a % 5, noAck: s.b%5 == 1, exclusive: s.c%16 == 1,
		priority: (s.a/5+1)%3 - 1, gate: s.b/5%3 == 1,
	}
	in := &activeInbox{inbox: inbox{t: g.t}}
	if g.quorum() {
		in.onDeliver = func(ds []Delivery) {
			for i := range ds {
				g.showsCount(ds[i].Msg, ds[i].Count, ds[i].Count > 0)
			}
		}
	}
	spec := Consumer{Tag: fmt.Sprint("c", c.name), Prefetch: c.prefetch, NoAck: c.noAck, Exclusive: c.exclusive}
	if c.priority != 0 {
		spec.Arguments = args(argConsumerPriority, int32(c.priority))
	}
	if c.gate {
		c.room = s.c / 16 % 4
		g.gates[c] = &countedGate{room: c.room}
		spec.Gate = g.gates[c]
	}
	taken := g.model.consume(c)
	err := g.h.Consume(spec, in, in.attach, func() {})
	if !taken {
		require.ErrorIs(g.t, err, ErrExclusiveUse)
		return "consume is refused"
	}
	require.NoError(g.t, err)
	g.sinks[c] = in
	return fmt.Sprintf("consumer %d, prefetch %d, no-ack %v, priority %d, gate %v", c.name, c.prefetch, c.noAck, c.priority, c.gate)
}

func (g *game) cancelOne(s step) string {
	m := g.model.state()
	if len(m.all) == 0 {
		return "nobody to cancel"
	}
	c := m.all[s.a%len(m.all)]
	if g.quorum() && s.b%2 == 1 {
		g.endChannel(c)
		return fmt.Sprint("the channel of consumer ", c.name, " ends")
	}
	g.model.cancel(c, false)
	g.h.Cancel(g.sinks[c].id)
	return fmt.Sprint("cancel consumer ", c.name)
}

// endChannel ends a consumer together with its channel, which returns what it holds.
func (g *game) endChannel(c *modelConsumer) {
	g.model.cancel(c, true)
	g.h.CancelEnded(g.sinks[c].id)
	b := NewBatch()
	var its []*modelDelivery
	var outcomes []Outcome
	for _, d := range g.model.state().held {
		if d.to == c {
			its, outcomes = append(its, d), append(outcomes, Return)
			b.Settle(Settle{ID: d.id, Consumer: g.sinks[c].id, Outcome: Return})
		}
	}
	if len(its) > 0 {
		g.model.settle(its, outcomes)
		g.h.Post(b)
	}
}

func (g *game) getOne(noAck bool) string {
	if g.quorum() && g.model.state().rules.single {
		_, got := g.get(noAck)
		require.Error(g.t, got.Err)
		return "get is refused"
	}
	var got GetReply
	answered := g.ask(noAck, func(r GetReply) { got = r })
	want, remaining := g.model.get(noAck)
	g.log.settle()
	select {
	case <-answered:
	default:
		g.t.stop("a basic.get is not answered")
	}
	require.NoError(g.t, got.Err)
	if want == nil {
		g.same((*message.Message)(nil), got.Msg, "got of an empty queue")
		return "get nothing"
	}
	if got.Msg == nil {
		g.t.stop("got nothing where %q was next", want.body)
	}
	body := string(got.Msg.Body())
	if g.quorum() {
		g.showsCount(got.Msg, got.Count, true)
	}
	got.Msg.Release()
	g.same(want.body, body, "got")
	g.same(want.redelivered, got.Redelivered, "redelivered")
	g.same(want.count, int(got.Count), "count")
	g.same(remaining, got.Remaining, "remaining")
	want.id = got.ID
	return fmt.Sprintf("get %q, no-ack %v", body, noAck)
}

// showsCount checks the header that says how often a message came back.
func (g *game) showsCount(m *message.Message, count uint32, shown bool) {
	props, err := m.Properties()
	require.NoError(g.t, err)
	n, ok := props.Headers.Get("x-delivery-count")
	g.same(shown, ok, "there is an x-delivery-count")
	if ok {
		g.same(int64(count), n, "x-delivery-count")
	}
}

// resumeOne gives a consumer's gate more room.
func (g *game) resumeOne(a, room int) string {
	m := g.model.state()
	if len(m.all) == 0 {
		return "nobody to resume"
	}
	c := m.all[a%len(m.all)]
	if c.gate {
		g.gates[c].room += room
	}
	g.model.resume(c, room)
	g.h.Resume(g.sinks[c].id, false)
	return fmt.Sprintf("resume consumer %d with room for %d", c.name, room)
}

// tickTime divides all times in a history.
const tickTime = 5 * time.Millisecond

// letTimePass waits for some ticks.
func (g *game) letTimePass(ticks int) string {
	for range ticks {
		if g.pass(tickTime); g.model.state().gone {
			break
		}
	}
	return fmt.Sprintf("wait %v", time.Duration(ticks)*tickTime)
}

// pass lets so much time pass, in which the model does something at its end only.
func (g *game) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
	g.log.settle()
	g.model.tick()
	g.compare()
}

// delete deletes the queue, or is refused.
func (g *game) delete(ifUnused, ifEmpty bool) string {
	m, ready := g.model.state(), g.model.stat().Ready
	if g.quorum() {
		ifUnused, ifEmpty = false, false // there are no conditions
	}
	var want error
	switch {
	case ifEmpty && ready > 0:
		want = ErrNotEmpty
	case ifUnused && len(m.all) > 0:
		want = ErrInUse
	}
	n := -1
	err := g.h.Delete(ifUnused, ifEmpty, func(ready int) { n = ready })
	require.ErrorIs(g.t, err, want)
	if want != nil {
		return "delete is refused"
	}
	g.same(ready, n, "deleted")
	m.gone = true
	return "delete"
}
