package queue

import (
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

var errDisk = errors.New("the disk is broken")

// rig is a host with everything around it that a broker would have.
type rig struct {
	t       testing.TB
	h       *Host
	env     HostEnv
	running sync.WaitGroup // the goroutines the host started
	started atomic.Int32   // how many they were

	mu   sync.Mutex
	made []*message.Message // each with a reference of the rig's own
	ends []error            // what Gone was called with

	answers *answers
	seq     uint64
	// priorityOf gives the priority of a message by its body; nil is 0.
	priorityOf func(body string) uint8
}

// newRig hosts a queue of a type. change, which may be nil, sees the spec and
// the environment before.
func newRig(t testing.TB, typ Type, change func(*Spec, *HostEnv)) *rig {
	t.Helper()
	r := &rig{t: t, answers: &answers{t: t, verdicts: map[uint64]bool{}}}
	r.env = HostEnv{
		Go: func(f func()) bool {
			r.started.Add(1)
			r.running.Go(f)
			return true
		},
		Gone: func(_ *Host, err error) {
			r.mu.Lock()
			r.ends = append(r.ends, err)
			r.mu.Unlock()
		},
	}
	s := Spec{Name: "q", VHost: "/", Type: typ.Name()}
	if change != nil {
		change(&s, &r.env)
	}
	h, err := NewHost(typ, s, r.env)
	require.NoError(t, err)
	r.h = h
	t.Cleanup(r.running.Wait)
	return r
}

// inline runs what the host starts on the goroutine that starts it, so that a
// test of one goroutine is deterministic.
func inline(_ *Spec, env *HostEnv) {
	env.Go = func(f func()) bool {
		f()
		return true
	}
}

// message makes a message with a reference for the queue and one that the rig
// keeps, to look at the balance later.
func (r *rig) message(body string, persistent bool) *message.Message {
	m := message.New("", "q", []byte{0, 0}, len(body))
	m.AppendBody([]byte(body))
	priority := uint8(0)
	if r.priorityOf != nil {
		priority = r.priorityOf(body)
	}
	m.SetAttributes(persistent, priority)
	m.Retain(1)
	r.mu.Lock()
	r.made = append(r.made, m)
	r.mu.Unlock()
	return m
}

// publish gives the next publish, which wants an answer.
func (r *rig) publish(body string, persistent bool) Publish {
	r.seq++
	return Publish{Msg: r.message(body, persistent), Ref: message.PublishRef{By: r.answers, Seq: r.seq}}
}

// post publishes transient messages in one batch.
func (r *rig) post(bodies ...string) {
	b := NewBatch()
	for _, body := range bodies {
		b.Publish(r.publish(body, false))
	}
	r.h.Post(b)
}

// postStored publishes persistent messages in one batch.
func (r *rig) postStored(bodies ...string) {
	b := NewBatch()
	for _, body := range bodies {
		b.Publish(r.publish(body, true))
	}
	r.h.Post(b)
}

// settle settles deliveries in one batch.
func (r *rig) settle(o Outcome, ds ...received) {
	b := NewBatch()
	for _, d := range ds {
		b.Settle(Settle{ID: d.id, Consumer: d.consumer, Outcome: o})
	}
	r.h.Post(b)
}

// consume adds a consumer that records what it gets.
func (r *rig) consume(c Consumer) *inbox {
	r.t.Helper()
	in := &inbox{t: r.t}
	require.NoError(r.t, r.h.Consume(c, in, in.attach, func() {}))
	return in
}

// get takes one message and gives its reference back.
func (r *rig) get(noAck bool) (got received, reply GetReply) {
	r.h.Get(noAck, func(g GetReply) {
		reply = g
		if g.Msg != nil {
			got = received{body: string(g.Msg.Body()), id: g.ID, redelivered: g.Redelivered}
			g.Msg.Release()
		}
	})
	return got, reply
}

// ask asks for a message and does not wait: the answer may have to wait for a load, and
// answered is closed after it.
func (r *rig) ask(noAck bool, answer func(GetReply)) (answered <-chan struct{}) {
	b, done := NewBatch(), make(chan struct{})
	b.control(r.h.getter(noAck, answer, done))
	r.h.Post(b)
	return done
}

func (r *rig) stat() Stat {
	r.t.Helper()
	s, err := r.h.Stat()
	require.NoError(r.t, err)
	return s
}

// gone gives what the host reported of its end; the test fails unless it did so
// exactly once.
func (r *rig) gone() error {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Len(r.t, r.ends, 1, "Gone must be called once")
	return r.ends[0]
}

// deleteAndBalance deletes the queue and checks that nobody holds a message.
func (r *rig) deleteAndBalance() {
	r.t.Helper()
	require.NoError(r.t, r.h.Delete(false, false, nil))
	r.running.Wait()
	r.balance()
}

// balance checks that every message was released by all but the rig.
func (r *rig) balance() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.made {
		if n := m.Refs(); n != 1 {
			r.t.Errorf("message %q has %d references left", m.Body(), n-1)
		}
		m.Release()
	}
	r.made = nil
}

// received is a delivery as its consumer sees it.
type received struct {
	body        string
	id          uint64
	consumer    message.ConsumerID
	redelivered bool
	count       uint32 // of a queue that counts
}

// inbox is a Sink that records.
type inbox struct {
	t  testing.TB
	id message.ConsumerID
	// onDeliver, if set, is called before a delivery is recorded.
	onDeliver func([]Delivery)

	mu        sync.Mutex
	got       []received
	calls     int // of Deliver
	cancelled int
	credit    []string // what it was told of it
}

func (in *inbox) attach(id message.ConsumerID) { in.id = id }

func (in *inbox) Deliver(ds []Delivery) {
	if in.onDeliver != nil {
		in.onDeliver(ds)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.calls++
	for i := range ds {
		d := &ds[i]
		if d.Consumer != in.id {
			in.t.Errorf("consumer %d was given a delivery for consumer %d", in.id, d.Consumer)
		}
		if in.cancelled > 0 {
			in.t.Errorf("consumer %d was given a delivery after its end", in.id)
		}
		in.got = append(in.got, received{string(d.Msg.Body()), d.ID, d.Consumer, d.Redelivered, d.Count})
		d.Msg.Release()
	}
}

func (in *inbox) Cancelled() {
	in.mu.Lock()
	in.cancelled++
	in.mu.Unlock()
}

// take gives what was delivered since the last time.
func (in *inbox) take() []received {
	in.mu.Lock()
	defer in.mu.Unlock()
	got := in.got
	in.got = nil
	return got
}

// want takes what was delivered and compares the bodies.
func (in *inbox) want(bodies ...string) []received {
	in.t.Helper()
	got := in.take()
	require.Equal(in.t, bodies, bodiesOf(got))
	return got
}

func (in *inbox) cancels() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.cancelled
}

func bodiesOf(ds []received) []string {
	var bodies []string
	for _, d := range ds {
		bodies = append(bodies, d.body)
	}
	return bodies
}

// answers is a Confirmer that takes one answer for each publish.
type answers struct {
	t        testing.TB
	mu       sync.Mutex
	verdicts map[uint64]bool // true is confirmed
	calls    []string        // of Confirm, as "from-to"
}

func (a *answers) Confirm(from, to uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, strconv.FormatUint(from, 10)+"-"+strconv.FormatUint(to, 10))
	for seq := from; seq <= to; seq++ {
		a.put(seq, true)
	}
}

func (a *answers) Reject(seq uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.put(seq, false)
}

func (a *answers) put(seq uint64, ok bool) {
	if before, twice := a.verdicts[seq]; twice {
		a.t.Errorf("publish %d was answered twice: confirmed is %v, then %v", seq, before, ok)
	}
	a.verdicts[seq] = ok
}

// given gives the publishes answered so far that were confirmed and rejected.
func (a *answers) given() (confirmed, rejected []uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for seq, ok := range a.verdicts {
		if ok {
			confirmed = append(confirmed, seq)
		} else {
			rejected = append(rejected, seq)
		}
	}
	slices.Sort(confirmed)
	slices.Sort(rejected)
	return confirmed, rejected
}

// confirmedAll reports whether the publishes 1 to n were confirmed and no others
// were answered.
func (a *answers) confirmedAll(n uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for seq := uint64(1); seq <= n; seq++ {
		if !a.verdicts[seq] {
			return false
		}
	}
	return len(a.verdicts) == int(n)
}

// want compares the answers given so far.
func (a *answers) want(confirmed, rejected []uint64) {
	a.t.Helper()
	c, r := a.given()
	require.Equal(a.t, confirmed, c, "confirmed")
	require.Equal(a.t, rejected, r, "rejected")
}

// seqs gives the numbers from..to.
func seqs(from, to uint64) []uint64 {
	var s []uint64
	for ; from <= to; from++ {
		s = append(s, from)
	}
	return s
}

// numbered gives n bodies, the numbers from 1 on.
func bodies1to(n int) []string {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = strconv.Itoa(i + 1)
	}
	return bodies
}
