package crashtest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/store/memstore"
)

// modelMessage is one message of a queue of the model.
type modelMessage struct {
	body       string
	persistent bool
	priority   uint8 // for a queue that has priorities
	position   int
	delivered  bool
	// recently says that it was delivered, or removed, after what is known to be
	// durable.
	recently bool
}

type modelQueue struct {
	durable bool
	levels  bool // it has priorities
	next    int
	ready   []*modelMessage // in their order
	// ghosts were removed, and are back if the machine stops before that is
	// durable.
	ghosts []*modelMessage
}

func (q *modelQueue) put(m *modelMessage) {
	i, _ := slices.BinarySearchFunc(q.ready, m, q.compare)
	q.ready = slices.Insert(q.ready, i, m)
}

// compare says which message comes first.
func (q *modelQueue) compare(a, b *modelMessage) int {
	if q.levels && a.priority != b.priority {
		return cmp.Compare(b.priority, a.priority)
	}
	return cmp.Compare(a.position, b.position)
}

// flushed says that all there was before is durable.
func (q *modelQueue) flushed() {
	q.ghosts = nil
	for _, m := range q.ready {
		m.recently = false
	}
}

// modelHeld is a delivery that was not settled.
type modelHeld struct {
	queue string
	m     *modelMessage
	d     warren.Delivery
	inTx  bool // it was acked in the transaction under way
}

type modelBinding struct{ queue, exchange, key string }

// model does the same things to a broker and to what a broker should be.
type model struct {
	*testing.T
	r    *rand.Rand
	disk *memstore.Disk
	b    *warren.Broker
	ch   *warren.Channel // publishes and gets
	tx   *warren.Channel // does so in transactions

	queues    map[string]*modelQueue
	exchanges map[string]bool // durable?
	bindings  map[modelBinding]bool
	held      []*modelHeld
	heldTx    []*modelHeld
	published []modelPublish // in the transaction under way
	count     int
	log       []string
}

// modelPublish is a message and the names of the queues it was routed to: what is
// published in a transaction goes to those that have these names at the commit.
type modelPublish struct {
	queues []string
	m      modelMessage
}

func (m *model) did(format string, args ...any) { m.log = append(m.log, fmt.Sprintf(format, args...)) }

// open opens a broker on the disk.
func (m *model) open() {
	s, err := m.disk.Open()
	require.NoError(m, err)
	m.b, err = warren.New(warren.Options{Store: s, QueueMemory: smallMemory})
	require.NoError(m, err)
	m.ch, err = m.b.Channel(m.Context())
	require.NoError(m, err)
	m.tx, err = m.b.Channel(m.Context())
	require.NoError(m, err)
	require.NoError(m, m.tx.TxSelect(m.Context()))
}

// restart ends the broker and begins another one, which gets what a stop in order
// has left, or what a stop of the machine would have left.
func (m *model) restart(crash bool) {
	m.did("restart, crash %v", crash)
	image := m.disk
	if crash {
		image = m.disk.Crash()
	}
	require.NoError(m, m.b.Shutdown(m.Context()))
	m.disk = image
	m.open()
	for _, h := range append(m.held, m.heldTx...) {
		h.m.delivered = true
		m.queues[h.queue].put(h.m)
	}
	m.held, m.heldTx, m.published = nil, nil, nil
	for name, q := range m.queues {
		if !q.durable {
			m.deleteQueue(name)
			continue
		}
		if !crash {
			q.flushed()
		}
		q.ready = slices.DeleteFunc(q.ready, func(m *modelMessage) bool { return !m.persistent })
		q.ghosts = slices.DeleteFunc(q.ghosts, func(m *modelMessage) bool { return !m.persistent })
	}
	for name, durable := range m.exchanges {
		if !durable {
			m.deleteExchange(name)
		}
	}
	m.compare()
}

func (m *model) deleteQueue(name string) {
	delete(m.queues, name)
	for b := range m.bindings {
		if b.queue == name {
			delete(m.bindings, b)
		}
	}
	gone := func(h *modelHeld) bool { return h.queue == name }
	m.held, m.heldTx = slices.DeleteFunc(m.held, gone), slices.DeleteFunc(m.heldTx, gone)
}

func (m *model) deleteExchange(name string) {
	delete(m.exchanges, name)
	for b := range m.bindings {
		if b.exchange == name {
			delete(m.bindings, b)
		}
	}
}

// compare takes all there is out of all queues and gives it back.
func (m *model) compare() {
	for i := range modelQueues {
		name := fmt.Sprintf("q%d", i)
		q := m.queues[name]
		ch, err := m.b.Channel(m.Context())
		require.NoError(m, err)
		info, err := ch.DeclareQueue(m.Context(), name, warren.Passive())
		if q == nil {
			require.Error(m, err, "queue %s should not be there", name)
			continue
		}
		require.NoError(m, err)
		allowed := slices.Concat(q.ready, q.ghosts)
		slices.SortFunc(allowed, q.compare)
		ghosts := q.ghosts
		q.ready, q.ghosts = nil, nil
		n := 0
		for ; ; n++ {
			d, ok, err := ch.Get(m.Context(), name)
			require.NoError(m, err)
			if !ok {
				break
			}
			for len(allowed) > 0 && allowed[0].body != string(d.Body) && slices.Contains(ghosts, allowed[0]) {
				allowed = allowed[1:]
			}
			require.NotEmpty(m, allowed, "queue %s has %q too much", name, d.Body)
			want := allowed[0]
			allowed = allowed[1:]
			require.Equal(m, want.body, string(d.Body), "queue %s", name)
			if !want.recently {
				require.Equal(m, want.delivered, d.Redelivered, "queue %s, message %q: redelivered", name, d.Body)
			}
			want.delivered, want.recently = true, true
			q.put(want)
		}
		for _, left := range allowed {
			require.Contains(m, ghosts, left, "queue %s lacks %q", name, left.body)
		}
		require.Equal(m, info.Messages, n)
		require.NoError(m, ch.Close())
	}
}

const (
	modelQueues    = 4
	modelExchanges = 2
	modelLevels    = 3
)

// step does one random thing.
func (m *model) step() {
	ctx := m.Context()
	name, exchange := fmt.Sprintf("q%d", m.r.IntN(modelQueues)), fmt.Sprintf("x%d", m.r.IntN(modelExchanges))
	q := m.queues[name]
	switch k := m.r.IntN(100); {
	case q == nil:
		var options []warren.QueueOption
		q = &modelQueue{durable: m.r.IntN(4) > 0, levels: m.r.IntN(3) == 0}
		if q.durable {
			options = append(options, warren.Durable())
		}
		if q.levels {
			options = append(options, warren.Arg("x-max-priority", modelLevels))
		}
		m.did("declare %s, durable %v, with priorities %v", name, q.durable, q.levels)
		_, err := m.ch.DeclareQueue(ctx, name, options...)
		require.NoError(m, err)
		m.queues[name] = q
	case k < 2:
		m.did("delete %s", name)
		_, err := m.ch.DeleteQueue(ctx, name)
		require.NoError(m, err)
		m.deleteQueue(name)
	case k < 4:
		m.did("purge %s", name)
		n, err := m.ch.PurgeQueue(ctx, name)
		require.NoError(m, err)
		require.Equal(m, len(q.ready), n)
		q.ghosts, q.ready = append(q.ghosts, q.ready...), nil
	case k < 10:
		m.bind(name, exchange)
	case k < 50:
		m.publish(ctx, name, exchange)
	case k < 65:
		m.get(m.ch, name, &m.held)
	case k < 72:
		m.get(m.tx, name, &m.heldTx)
	case k < 85:
		m.settle()
	case k < 97:
		m.transact(name, exchange)
	default:
		m.restart(m.r.IntN(2) == 0)
	}
}

func (m *model) bind(queue, exchange string) {
	ctx := m.Context()
	_, ok := m.exchanges[exchange]
	key := fmt.Sprint(m.r.IntN(2))
	b := modelBinding{queue, exchange, key}
	switch {
	case !ok:
		durable := m.r.IntN(3) > 0
		var options []warren.ExchangeOption
		if durable {
			options = append(options, warren.Durable())
		}
		m.did("declare exchange %s, durable %v", exchange, durable)
		require.NoError(m, m.ch.DeclareExchange(ctx, exchange, "direct", options...))
		m.exchanges[exchange] = durable
	case m.r.IntN(10) == 0:
		m.did("delete exchange %s", exchange)
		require.NoError(m, m.ch.DeleteExchange(ctx, exchange))
		m.deleteExchange(exchange)
	case m.bindings[b]:
		m.did("unbind %v", b)
		require.NoError(m, m.ch.UnbindQueue(ctx, queue, exchange, key))
		delete(m.bindings, b)
	default:
		m.did("bind %v", b)
		require.NoError(m, m.ch.BindQueue(ctx, queue, exchange, key))
		m.bindings[b] = true
	}
}

// message makes a message and where it goes: to the queue, or through the
// exchange to those that are bound to it.
func (m *model) message(queue, exchange string) (warren.Message, modelPublish, string, string) {
	m.count++
	p := modelPublish{[]string{queue}, modelMessage{
		body: fmt.Sprint(m.count, " "), persistent: m.r.IntN(4) > 0, priority: uint8(m.r.IntN(modelLevels + 1)),
	}}
	p.m.body += strings.Repeat(".", m.r.IntN(1<<m.r.IntN(12)))
	msg := warren.Message{Body: []byte(p.m.body)}
	msg.Priority = p.m.priority
	if p.m.persistent {
		msg.DeliveryMode = 2
	}
	if _, ok := m.exchanges[exchange]; !ok || m.r.IntN(3) == 0 {
		return msg, p, "", queue
	}
	key := fmt.Sprint(m.r.IntN(2))
	p.queues = nil
	for b := range m.bindings {
		if b.exchange == exchange && b.key == key {
			p.queues = append(p.queues, b.queue)
		}
	}
	return msg, p, exchange, key
}

// arrived puts what was published, and confirmed, into the model's queues.
func (m *model) arrived(p modelPublish) {
	for _, name := range p.queues {
		q := m.queues[name]
		if q == nil {
			continue // deleted after it was routed
		}
		if p.m.persistent && q.durable {
			q.flushed()
		}
		msg := p.m
		q.next++
		msg.position = q.next
		q.put(&msg)
	}
}

func (m *model) publish(ctx context.Context, queue, exchange string) {
	for range 1 + m.r.IntN(20) {
		msg, p, x, key := m.message(queue, exchange)
		m.did("publish %.8q to %v, persistent %v", p.m.body, p.queues, p.m.persistent)
		err := m.ch.PublishConfirmed(ctx, x, key, msg)
		if len(p.queues) > 0 {
			require.NoError(m, err)
		}
		m.arrived(p)
	}
}

func (m *model) get(ch *warren.Channel, name string, held *[]*modelHeld) {
	q := m.queues[name]
	for range 1 + m.r.IntN(10) {
		d, ok, err := ch.Get(m.Context(), name)
		require.NoError(m, err)
		require.Equal(m, len(q.ready) > 0, ok)
		if !ok {
			return
		}
		msg := q.ready[0]
		q.ready = q.ready[1:]
		m.did("get %.8q from %s", msg.body, name)
		require.Equal(m, msg.body, string(d.Body))
		if !msg.recently {
			require.Equal(m, msg.delivered, d.Redelivered)
		}
		msg.delivered, msg.recently = true, true
		*held = append(*held, &modelHeld{name, msg, d, false})
	}
}

func (m *model) settle() {
	for range 1 + m.r.IntN(10) {
		if len(m.held) == 0 {
			return
		}
		i := m.r.IntN(len(m.held))
		h := m.held[i]
		m.held = slices.Delete(m.held, i, i+1)
		q := m.queues[h.queue]
		switch m.r.IntN(4) {
		case 0:
			m.did("requeue %.8q to %s", h.m.body, h.queue)
			require.NoError(m, h.d.Nack(true))
			q.put(h.m)
		case 1:
			m.did("reject %.8q of %s", h.m.body, h.queue)
			require.NoError(m, h.d.Reject(false))
			q.ghosts = append(q.ghosts, h.m)
		default:
			m.did("ack %.8q of %s", h.m.body, h.queue)
			require.NoError(m, h.d.Ack())
			q.ghosts = append(q.ghosts, h.m)
		}
	}
}

// transact adds to the transaction under way, and perhaps ends it.
func (m *model) transact(queue, exchange string) {
	ctx := m.Context()
	for range m.r.IntN(5) {
		msg, p, x, key := m.message(queue, exchange)
		m.did("publish %.8q to %v in the transaction", p.m.body, p.queues)
		require.NoError(m, m.tx.Publish(ctx, x, key, msg))
		m.published = append(m.published, p)
	}
	for _, h := range m.heldTx {
		if !h.inTx && m.r.IntN(3) == 0 {
			m.did("ack %.8q of %s in the transaction", h.m.body, h.queue)
			require.NoError(m, h.d.Ack())
			h.inTx = true
		}
	}
	switch m.r.IntN(4) {
	case 0:
		m.did("roll back")
		require.NoError(m, m.tx.TxRollback(ctx))
		for _, h := range m.heldTx {
			h.inTx = false
		}
		m.published = nil
	case 1:
		m.did("commit")
		require.NoError(m, m.tx.TxCommit(ctx))
		for _, p := range m.published {
			m.arrived(p)
		}
		m.published = nil
		// An answered commit is durable, acknowledgements included.
		m.heldTx = slices.DeleteFunc(m.heldTx, func(h *modelHeld) bool { return h.inTx })
	}
}

// testModel plays a history, and prints it if the broker differs.
func testModel(t *testing.T, seed uint64, steps int) {
	m := &model{
		T: t, r: rand.New(rand.NewPCG(seed, 0)), disk: memstore.NewDisk(),
		queues: map[string]*modelQueue{}, exchanges: map[string]bool{}, bindings: map[modelBinding]bool{},
	}
	m.open()
	defer func() {
		if t.Failed() {
			t.Logf("seed %d:", seed)
			for _, line := range m.log {
				t.Log(line)
			}
		}
		_ = m.b.Close()
	}()
	for range steps {
		m.step()
	}
	m.restart(false)
}

func TestABrokerDoesWhatTheModelDoes(t *testing.T) {
	t.Parallel()
	for range 5 {
		seed := rand.Uint64N(1_000_000)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			testModel(t, seed, 400)
		})
	}
}
