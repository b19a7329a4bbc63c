package queuetest

import (
	"slices"
	"testing"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
)

// driver stands in for the host of one queue. After every call it takes the
// queue's actions and checks what must hold at any time: deliveries go to
// consumers that are there and have room, a publish is answered once, nothing
// is asked of a store that is not there. At the end of the test it deletes the
// queue and checks that every message was released.
type driver struct {
	t    *testing.T
	q    queue.Queue
	caps queue.Capabilities
	out  queue.Actions
	log  *log // nil for a queue without a store
	// priorities says that the queue has levels, and messages priorities by their
	// bodies.
	priorities bool

	made      []*message.Message
	published uint64
	// answers are true for confirmed and false for rejected publishes.
	answers   map[uint64]bool
	consumers map[message.ConsumerID]*consumer
	lastID    message.ConsumerID
	gets      queue.GetRef
	got       map[queue.GetRef]reply
	gone      bool
	deleted   bool
	// watch is told of every delivery and every message got, in order.
	watch func(c *consumer, d delivery)
}

// consumer is one consumer and what it was delivered.
type consumer struct {
	d *driver
	queue.Consumer
	gate  *gate
	inbox []delivery // since the last take
	held  int
}

// delivery is a message as its consumer, or who asked for it, got it.
type delivery struct {
	consumer    *consumer // nil for a get
	id          uint64
	body        string
	redelivered bool
}

// gate lets a number of deliveries through.
type gate struct{ room int }

func (g *gate) TryTake(int) bool {
	if g.room == 0 {
		return false
	}
	g.room--
	return true
}

// nobody is the Confirmer of all publishes; a queue must not call it.
type nobody struct{ t *testing.T }

func (n nobody) Confirm(uint64, uint64) { n.t.Error("the queue called a Confirmer") }
func (n nobody) Reject(uint64)          { n.t.Error("the queue called a Confirmer") }

func newDriver(t *testing.T, typ queue.Type, change func(*queue.Spec)) *driver {
	t.Helper()
	return open(t, typ, nil, change)
}

// newStored gives a durable queue with a store that holds the given messages
// from an earlier run. They have been recovered.
func newStored(t *testing.T, typ queue.Type, kept ...string) *driver {
	t.Helper()
	return newBounded(t, typ, queue.Bounds{}, kept...)
}

// newBounded is newStored for a queue that should keep little in memory.
func newBounded(t *testing.T, typ queue.Type, b queue.Bounds, kept ...string) *driver {
	t.Helper()
	d := open(t, typ, &log{memory: b}, func(s *queue.Spec) { s.Durable = true })
	return d.recover(kept)
}

// recover gives the queue messages from an earlier run.
func (d *driver) recover(kept []string) *driver {
	entries := d.log.fill(d, kept)
	for len(entries) > 0 {
		n := min(2, len(entries))
		d.event(queue.Event{Kind: queue.Recovered, Entries: entries[:n]})
		entries = entries[n:]
	}
	d.event(queue.Event{Kind: queue.RecoverDone})
	return d
}

func open(t *testing.T, typ queue.Type, l *log, change func(*queue.Spec)) *driver {
	t.Helper()
	caps := typ.Capabilities()
	spec := queue.Spec{Name: "q", VHost: "/", Type: typ.Name(), Durable: !caps.Transient}
	if change != nil {
		change(&spec)
	}
	env := queue.Env{Stored: l != nil}
	if l != nil {
		env.Memory = l.memory
	}
	q, err := typ.Open(spec, env)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	d := &driver{t: t, q: q, caps: caps, log: l,
		answers:   map[uint64]bool{},
		consumers: map[message.ConsumerID]*consumer{},
		got:       map[queue.GetRef]reply{},
	}
	_, d.priorities = spec.Arguments.Get(argMaxPriority)
	t.Cleanup(d.finish)
	return d
}

// finish deletes the queue and checks the balance of references.
func (d *driver) finish() {
	if d.t.Failed() {
		return
	}
	if !d.deleted {
		d.delete(false, false)
	}
	if d.log != nil {
		d.log.drop()
	}
	for seq := uint64(1); seq <= d.published; seq++ {
		if _, ok := d.answers[seq]; !ok {
			d.t.Errorf("publish %d was never answered", seq)
		}
	}
	for _, m := range d.made {
		if n := m.Refs(); n != 1 {
			d.t.Errorf("message %q has %d references left", m.Body(), n-1)
		}
		m.Release()
	}
}

// message makes a message with one reference for its receiver and one that the
// driver keeps to its end.
func (d *driver) message(body string, persistent bool) *message.Message {
	m := message.New("", "q", []byte{0, 0}, len(body))
	m.AppendBody([]byte(body))
	priority := uint8(0)
	if d.priorities {
		priority = priorityOf(body)
	}
	m.SetAttributes(persistent, priority)
	m.Retain(1)
	d.made = append(d.made, m)
	return m
}

// publish posts messages in one batch; all want an answer. It gives the number
// of the first; the others follow it.
func (d *driver) publish(bodies ...string) (first uint64) {
	first = d.published + 1
	in := make([]queue.Publish, len(bodies))
	for i, b := range bodies {
		d.published++
		in[i] = queue.Publish{
			Msg: d.message(b, d.log != nil),
			Ref: message.PublishRef{By: nobody{d.t}, Seq: d.published},
		}
	}
	d.q.Enqueue(in, &d.out)
	d.take()
	return first
}

// consume adds a consumer.
func (d *driver) consume(c queue.Consumer) *consumer {
	d.t.Helper()
	con, err := d.tryConsume(c)
	if err != nil {
		d.t.Fatalf("Consume: %v", err)
	}
	return con
}

func (d *driver) tryConsume(c queue.Consumer) (*consumer, error) {
	d.lastID++
	c.ID = d.lastID
	con := &consumer{d: d, Consumer: c}
	if c.Gate != nil {
		con.gate = c.Gate.(*gate)
	}
	d.consumers[c.ID] = con
	err := d.q.Consume(c, &d.out)
	if err != nil {
		delete(d.consumers, c.ID)
	}
	d.take()
	return con, err
}

func (d *driver) cancel(c *consumer) {
	delete(d.consumers, c.ID)
	d.q.Cancel(c.ID, queue.ByClient, &d.out)
	d.take()
}

// resume gives a consumer's gate room and tells the queue.
func (d *driver) resume(c *consumer, room int) {
	c.gate.room += room
	d.event(queue.Event{Kind: queue.Resume, Consumer: c.ID})
}

func (d *driver) event(ev queue.Event) {
	d.q.Event(ev, &d.out)
	d.take()
}

// settle carries out one outcome for deliveries, in one batch.
func (d *driver) settle(o queue.Outcome, ds ...delivery) {
	in := make([]queue.Settle, len(ds))
	for i, x := range ds {
		in[i] = queue.Settle{ID: x.id, Outcome: o}
		if x.consumer != nil {
			in[i].Consumer = x.consumer.ID
			x.consumer.held--
		}
	}
	d.q.Settle(in, &d.out)
	d.take()
}

// ask asks for one message; the answer may come later.
func (d *driver) ask(noAck bool) queue.GetRef {
	d.gets++
	d.q.Get(d.gets, noAck, &d.out)
	d.take()
	return d.gets
}

// reply is a GetReply and the body of its message, which may be one of its own and
// gone when the reply is looked at.
type reply struct {
	queue.GetReply
	body string
}

// get asks for one message that is in memory, or for none.
func (d *driver) get(noAck bool) reply {
	d.t.Helper()
	ref := d.ask(noAck)
	r, ok := d.got[ref]
	if !ok {
		d.t.Fatal("a get was not answered")
	}
	return r
}

// wantGet gets a message and checks its body; an empty one wants no message.
func (d *driver) wantGet(body string, remaining int) delivery {
	d.t.Helper()
	return d.checkGot(d.get(false), body, remaining)
}

func (d *driver) checkGot(r reply, body string, remaining int) delivery {
	d.t.Helper()
	got := delivery{id: r.ID, redelivered: r.Redelivered, body: r.body}
	if got.body != body || r.Remaining != remaining || r.Err != nil {
		d.t.Fatalf("got %q with %d left (%v), want %q with %d left", got.body, r.Remaining, r.Err, body, remaining)
	}
	return got
}

func (d *driver) purge() int {
	n := d.q.Purge(&d.out)
	d.take()
	return n
}

func (d *driver) delete(ifUnused, ifEmpty bool) (int, error) {
	n, err := d.q.Delete(ifUnused, ifEmpty, &d.out)
	d.deleted = err == nil
	d.take()
	return n, err
}

// take carries out the queue's actions.
func (d *driver) take() {
	d.t.Helper()
	o := &d.out
	for _, r := range o.Got {
		d.takeReply(r)
	}
	for _, x := range o.Deliver {
		d.takeDelivery(x)
	}
	for _, ref := range o.Confirm {
		d.takeAnswer(ref, true)
	}
	for _, ref := range o.Reject {
		d.takeAnswer(ref, false)
	}
	for _, dead := range o.DeadLetter {
		dead.Msg.Release()
	}
	for _, a := range o.Atoms {
		a.Leave(nil)
	}
	bury := o.Bury
	if d.log == nil && (len(o.Store) > 0 || len(o.Load) > 0) {
		d.t.Fatal("the queue asks for a store that is not there")
	}
	if d.log != nil {
		d.log.ops = append(d.log.ops, o.Store...)
		d.log.loads = append(d.log.loads, o.Load...)
	}
	d.gone = d.gone || o.Gone
	// The queue must have kept nothing of it.
	clear(o.Got)
	clear(o.Deliver)
	clear(o.Confirm)
	clear(o.Reject)
	clear(o.DeadLetter)
	clear(o.Store)
	*o = queue.Actions{
		Got: o.Got[:0], Deliver: o.Deliver[:0], Confirm: o.Confirm[:0], Reject: o.Reject[:0],
		DeadLetter: o.DeadLetter[:0], Store: o.Store[:0], Load: o.Load[:0],
	}
	if bury {
		d.event(queue.Event{Kind: queue.Buried})
	}
}

func (d *driver) takeReply(r queue.GetReply) {
	d.t.Helper()
	if _, ok := d.got[r.Ref]; ok || r.Ref == 0 || r.Ref > d.gets {
		d.t.Fatalf("an answer to get %d, which was answered or never asked", r.Ref)
	}
	kept := reply{GetReply: r}
	if r.Msg != nil {
		kept.body = string(r.Msg.Body())
	}
	d.got[r.Ref] = kept
	if r.Msg == nil {
		return
	}
	if d.watch != nil {
		d.watch(nil, delivery{id: r.ID, body: string(r.Msg.Body()), redelivered: r.Redelivered})
	}
	r.Msg.Release()
}

func (d *driver) takeDelivery(x queue.Delivery) {
	d.t.Helper()
	c := d.consumers[x.Consumer]
	if c == nil {
		d.t.Fatalf("a delivery for consumer %d, which is not there", x.Consumer)
	}
	got := delivery{consumer: c, id: x.ID, body: string(x.Msg.Body()), redelivered: x.Redelivered}
	x.Msg.Release()
	c.inbox = append(c.inbox, got)
	if !c.NoAck {
		c.held++
		if c.Prefetch > 0 && c.held > c.Prefetch {
			d.t.Fatalf("consumer %d holds %d with a prefetch of %d", c.ID, c.held, c.Prefetch)
		}
	}
	if d.watch != nil {
		d.watch(c, got)
	}
}

func (d *driver) takeAnswer(ref message.PublishRef, confirmed bool) {
	d.t.Helper()
	if !ref.Wanted() {
		d.t.Fatal("an answer to a publish that wants none")
	}
	if _, ok := d.answers[ref.Seq]; ok {
		d.t.Fatalf("publish %d was answered twice", ref.Seq)
	}
	d.answers[ref.Seq] = confirmed
}

// wantConfirmed checks which publishes were confirmed so far; the others must not
// have been answered.
func (d *driver) wantConfirmed(want ...uint64) {
	d.t.Helper()
	for seq := uint64(1); seq <= d.published; seq++ {
		confirmed, answered := d.answers[seq]
		switch {
		case slices.Contains(want, seq) && !confirmed:
			d.t.Fatalf("publish %d was not confirmed", seq)
		case !slices.Contains(want, seq) && answered:
			d.t.Fatalf("publish %d was answered", seq)
		}
	}
}

// take checks which bodies the consumer got since the last time.
func (c *consumer) take(bodies ...string) []delivery {
	c.d.t.Helper()
	got := c.inbox
	c.inbox = nil
	if !slices.EqualFunc(got, bodies, func(x delivery, body string) bool { return x.body == body }) {
		c.d.t.Fatalf("consumer %d got %v, want %v", c.ID, bodiesOf(got), bodies)
	}
	return got
}

func bodiesOf(ds []delivery) []string {
	bodies := make([]string, len(ds))
	for i, x := range ds {
		bodies[i] = x.body
	}
	return bodies
}

func (d *driver) wantStat(ready, unacked, consumers int) {
	d.t.Helper()
	s := d.q.Stat()
	if s.Ready != ready || s.Unacked != unacked || s.Consumers != consumers {
		d.t.Fatalf("ready %d, unacked %d, consumers %d; want %d, %d, %d",
			s.Ready, s.Unacked, s.Consumers, ready, unacked, consumers)
	}
}
