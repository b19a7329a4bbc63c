package warren_test

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/memstore"
)

func args(pairs ...any) amqp.Table {
	t := amqp.Table{}
	for i := 0; i < len(pairs); i += 2 {
		t[pairs[i].(string)] = pairs[i+1]
	}
	return t
}

// declareWith declares a durable queue with arguments.
func declareWith(t testing.TB, ch *amqp.Channel, name string, a amqp.Table) {
	t.Helper()
	_, err := ch.QueueDeclare(name, true, false, false, false, a)
	require.NoError(t, err)
}

func ready(t testing.TB, ch *amqp.Channel, name string) int {
	t.Helper()
	q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
	require.NoError(t, err)
	return q.Messages
}

// onDisk gives a broker on what is on a disk.
func onDisk(t testing.TB, d *memstore.Disk) *warren.Broker {
	t.Helper()
	s, err := d.Open()
	require.NoError(t, err)
	b, err := warren.New(warren.Options{Store: s})
	require.NoError(t, err)
	return b
}

// The retry topology: what a consumer rejects waits half an hour and comes back,
// with the number of attempts in x-death.
func TestBubbleARetryComesBackAfterHalfAnHour(t *testing.T) {
	inBubble(t, func(t *testing.T, b *warren.Broker) {
		conn := dialBubble(t, b, 0)
		defer conn.Close()
		ch := channel(t, conn)
		declareWith(t, ch, "work", args("x-dead-letter-exchange", "", "x-dead-letter-routing-key", "wait"))
		declareWith(t, ch, "wait", args("x-dead-letter-exchange", "", "x-dead-letter-routing-key", "work",
			"x-message-ttl", int32(30*60*1000)))
		publish(t, ch, "", "work", "job")
		in, err := ch.Consume("work", "", false, false, false, false, nil)
		require.NoError(t, err)
		for attempt := range int64(4) {
			start := time.Now()
			d := <-in
			if attempt > 0 {
				require.Equal(t, 30*time.Minute, time.Since(start))
				deaths := d.Headers["x-death"].([]any)
				require.Len(t, deaths, 2)
				for _, e := range deaths {
					require.Equal(t, attempt, e.(amqp.Table)["count"])
				}
			}
			require.NoError(t, d.Nack(false, false))
			synctest.Wait()
		}
		require.Equal(t, 1, ready(t, ch, "wait"))
	})
}

func TestBubbleMessagesExpireAtTheHeadOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, b *warren.Broker) {
		conn := dialBubble(t, b, 0)
		defer conn.Close()
		ch := channel(t, conn)
		declareWith(t, ch, "q", nil)
		for i, ttl := range []string{"1000", "", "1000", "3600000"} {
			require.NoError(t, ch.Publish("", "q", false, false, amqp.Publishing{Expiration: ttl, Body: []byte(strconv.Itoa(i))}))
		}
		require.Equal(t, 4, ready(t, ch, "q"))
		time.Sleep(1001 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 3, ready(t, ch, "q"), "the first is gone, the third stands behind one that stays")
		m, _, err := ch.Get("q", true)
		require.NoError(t, err)
		require.Equal(t, "1", string(m.Body))
		require.Equal(t, 1, ready(t, ch, "q"))
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Zero(t, ready(t, ch, "q"))
	})
}

// Conformance scenarios dlx/multiple-by-consumer and dlx/multiple-by-queue.
func TestBubbleOneMethodRejectsByQueueAndConsumer(t *testing.T) {
	inBubble(t, func(t *testing.T, b *warren.Broker) {
		conn := dialBubble(t, b, 0)
		defer conn.Close()
		ch, other := channel(t, conn), channel(t, conn)
		declareWith(t, ch, "dead", nil)
		for _, q := range []string{"x", "y"} {
			declareWith(t, ch, q, args("x-dead-letter-exchange", "", "x-dead-letter-routing-key", "dead"))
		}
		publish(t, other, "", "y", "got")
		synctest.Wait()
		_, ok, err := ch.Get("y", false)
		require.NoError(t, err)
		require.True(t, ok)
		for _, c := range []struct{ tag, queue string }{{"z", "y"}, {"b", "x"}, {"a", "y"}} {
			_, err := ch.Consume(c.queue, c.tag, false, false, false, false, nil)
			require.NoError(t, err)
		}
		for i, q := range []string{"y", "y", "x", "y", "x"} {
			publish(t, other, "", q, strconv.Itoa(i))
			synctest.Wait()
		}
		require.NoError(t, ch.Nack(0, true, false))
		synctest.Wait()
		var died []string
		for m, ok, err := other.Get("dead", true); ok; m, ok, err = other.Get("dead", true) {
			require.NoError(t, err)
			died = append(died, string(m.Body))
		}
		require.Equal(t, []string{"2", "4", "got", "1", "0", "3"}, died)
	})
}

func TestBubbleAnUnusedQueueExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, b *warren.Broker) {
		conn := dialBubble(t, b, 0)
		defer conn.Close()
		ch := channel(t, conn)
		const hour = 3600 * 1000
		declareWith(t, ch, "idle", args("x-expires", int32(hour)))
		declareWith(t, ch, "asked", args("x-expires", int32(hour)))
		declareWith(t, ch, "consumed", args("x-expires", int32(hour)))
		_, err := ch.Consume("consumed", "c", true, false, false, false, nil)
		require.NoError(t, err)
		time.Sleep(40 * time.Minute)
		require.Zero(t, ready(t, ch, "asked"))
		publish(t, ch, "", "idle", "is no use of it")
		time.Sleep(40 * time.Minute)
		synctest.Wait()
		_, err = channel(t, conn).QueueDeclarePassive("idle", true, false, false, false, nil)
		requireCode(t, err, amqp.NotFound, "NOT_FOUND - no queue 'idle' in vhost '/'")
		require.Zero(t, ready(t, ch, "consumed"))
		require.NoError(t, ch.Cancel("c", false))
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		_, err = channel(t, conn).QueueDeclarePassive("asked", true, false, false, false, nil)
		requireCode(t, err, amqp.NotFound, "NOT_FOUND - no queue 'asked' in vhost '/'")
		require.Zero(t, ready(t, ch, "consumed"))
	})
}

// When a message expires is known after a restart, and so is how it died.
func TestBubbleExpiryAndDeathsSurviveARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := memstore.NewDisk()
		b := onDisk(t, disk)
		conn := dialBubble(t, b, 0)
		ch := channel(t, conn)
		declareWith(t, ch, "dead", nil)
		declareWith(t, ch, "q", args("x-dead-letter-exchange", "", "x-dead-letter-routing-key", "dead"))
		declareWith(t, ch, "again", args("x-dead-letter-exchange", "amq.direct"))
		require.NoError(t, ch.QueueBind("dead", "hidden", "amq.direct", false, nil))
		require.NoError(t, ch.Confirm(false))
		send := func(key string, p amqp.Publishing) {
			p.DeliveryMode = amqp.Persistent
			d, err := ch.PublishWithDeferredConfirm("", key, false, false, p)
			require.NoError(t, err)
			require.True(t, d.Wait())
		}
		send("q", amqp.Publishing{Body: []byte("hour"), Expiration: "3600000"})
		send("again", amqp.Publishing{Body: []byte("bcc"), Headers: amqp.Table{"BCC": []any{"hidden"}}})
		restart := func() {
			require.NoError(t, conn.Close())
			require.NoError(t, b.Close())
			b = onDisk(t, disk)
			conn = dialBubble(t, b, 0)
			ch = channel(t, conn)
		}
		time.Sleep(40 * time.Minute)
		restart()
		m, _, err := ch.Get("again", false)
		require.NoError(t, err)
		require.NoError(t, m.Reject(false))
		synctest.Wait()
		m, ok, err := ch.Get("dead", true)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "bcc", string(m.Body), "its hidden key was kept")
		require.Equal(t, 1, ready(t, ch, "q"))
		time.Sleep(19 * time.Minute)
		synctest.Wait()
		require.Equal(t, 1, ready(t, ch, "q"))
		time.Sleep(61 * time.Second)
		synctest.Wait()
		require.Zero(t, ready(t, ch, "q"))
		restart()
		m, _, err = ch.Get("dead", true)
		require.NoError(t, err)
		require.Equal(t, "hour", string(m.Body))
		require.Empty(t, m.Expiration)
		require.Equal(t, "3600000", m.Headers["x-death"].([]any)[0].(amqp.Table)["original-expiration"])
		require.Equal(t, "q", m.Headers["x-first-death-queue"])
		require.NoError(t, conn.Close())
		require.NoError(t, b.Close())
		synctest.Wait()
	})
}

// lateBinding is an exchange type that sends everything everywhere. A binding takes a
// second of a bubble's time: all that goes on beside the start of a broker goes on
// before its bindings are there.
type lateBinding struct{ to []*exchange.Destination }

func (lateBinding) Name() string                                          { return "x-late" }
func (lateBinding) Description() string                                   { return "a fanout whose bindings take their time" }
func (lateBinding) Validate(exchange.Spec) error                          { return nil }
func (lateBinding) ValidateBinding(exchange.Spec, exchange.Binding) error { return nil }
func (lateBinding) RoutesByKey(exchange.Spec) bool                        { return true }
func (lateBinding) New(exchange.Spec) exchange.Router                     { return lateBinding{} }
func (r lateBinding) Unbind(exchange.Binding) exchange.Router             { return lateBinding{} }

func (r lateBinding) Bind(b exchange.Binding) exchange.Router {
	time.Sleep(time.Second)
	return lateBinding{append(slices.Clone(r.to), b.Destination)}
}

func (r lateBinding) Route(_ *exchange.Subject, to []*exchange.Destination) []*exchange.Destination {
	return append(to, r.to...)
}

// What expires while nobody is there to see it dies when its queue is back, and that
// is not before the bindings are: of two queues, each is once the one that is restored
// first.
func TestBubbleWhatExpiresWhileTheBrokerIsDownIsDeadLetteredOnce(t *testing.T) {
	t.Parallel()
	const n = 10
	all := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
	for _, c := range []struct {
		name string
		dead amqp.Table
		to   string // the dead-letter exchange
		want []string
	}{
		{"all arrive", nil, "dlx", all},
		{"all arrive in a priority queue", args("x-max-priority", int32(3)), "dlx", all},
		{"their queue keeps the latest", args("x-max-length", int32(3)), "dlx", all[n-3:]},
		{"their queue is full", args("x-max-length", int32(3), "x-overflow", "reject-publish"), "dlx", all[:3]},
		{"nothing is bound", nil, "amq.fanout", nil},
		{"their exchange is not there", nil, "none", nil},
	} {
		for _, names := range [][2]string{{"a", "b"}, {"b", "a"}} {
			t.Run(c.name+" from "+names[0], func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					q, dead := names[0], names[1]
					disk := memstore.NewDisk()
					var b *warren.Broker
					var conn *amqp.Connection
					var ch *amqp.Channel
					start := func() {
						s, err := disk.Open()
						require.NoError(t, err)
						b, err = warren.New(warren.Options{Store: s, ExchangeTypes: []exchange.Type{lateBinding{}}})
						require.NoError(t, err)
						synctest.Wait()
						conn = dialBubble(t, b, 0)
						ch = channel(t, conn)
					}
					restart := func() {
						require.NoError(t, conn.Close())
						require.NoError(t, b.Close())
						time.Sleep(time.Hour)
						start()
					}
					start()
					require.NoError(t, ch.ExchangeDeclare("dlx", "x-late", true, false, false, false, nil))
					declareWith(t, ch, q, args("x-dead-letter-exchange", c.to, "x-message-ttl", int32(2000)))
					declareWith(t, ch, dead, c.dead)
					require.NoError(t, ch.QueueBind(dead, q, "dlx", false, nil))
					require.NoError(t, ch.Confirm(false))
					for i, body := range all {
						p := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(body)}
						if i%2 == 0 {
							p.Expiration = "1000"
						}
						d, err := ch.PublishWithDeferredConfirm("", q, false, false, p)
						require.NoError(t, err)
						require.True(t, d.Wait())
					}
					require.Equal(t, n, ready(t, ch, q))
					for range 2 { // they die after the first restart and only then
						restart()
						require.Zero(t, ready(t, ch, q))
						require.Equal(t, len(c.want), ready(t, ch, dead))
					}
					for i, body := range c.want {
						m, ok, err := ch.Get(dead, true)
						require.NoError(t, err)
						require.True(t, ok)
						require.Equal(t, body, string(m.Body), "number %d", i)
						require.Equal(t, "dlx", m.Exchange)
						require.Empty(t, m.Expiration)
						require.Equal(t, []any{q, "expired", ""}, []any{
							m.Headers["x-first-death-queue"], m.Headers["x-first-death-reason"], m.Headers["x-first-death-exchange"]})
						deaths := m.Headers["x-death"].([]any)
						require.Len(t, deaths, 1)
						death := deaths[0].(amqp.Table)
						require.Equal(t, []any{int64(1), "expired", q, ""}, []any{
							death["count"], death["reason"], death["queue"], death["exchange"]})
						require.WithinDuration(t, time.Now().Add(-time.Hour), death["time"].(time.Time), 2*time.Second)
					}
					require.NoError(t, conn.Close())
					require.NoError(t, b.Close())
					synctest.Wait()
				})
			})
		}
	}
}

// dlxImaging is a store that remembers its disk as it is after each batch.
type dlxImaging struct {
	*memstore.Store
	disk   *memstore.Disk
	mu     sync.Mutex
	images []*memstore.Disk
}

func (s *dlxImaging) Apply(changes []store.Change) error {
	err := s.Store.Apply(changes)
	s.mu.Lock()
	s.images = append(s.images, s.disk.Crash())
	s.mu.Unlock()
	return err
}

// Whenever the machine stops, a confirmed message that dies on its way through
// durable queues is in exactly one of them.
func TestACrashNeitherLosesNorDoublesADeadLetter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		work amqp.Table // beside the dead-letter exchange
		die  func(t *testing.T, ch *amqp.Channel, n int)
	}{
		{"rejected", nil, func(t *testing.T, ch *amqp.Channel, n int) {
			for range n {
				m, ok, err := ch.Get("work", false)
				require.NoError(t, err)
				require.True(t, ok)
				require.NoError(t, m.Reject(false))
			}
		}},
		{"in a transaction", nil, func(t *testing.T, ch *amqp.Channel, n int) {
			require.NoError(t, ch.Tx())
			for range n {
				m, _, err := ch.Get("work", false)
				require.NoError(t, err)
				require.NoError(t, m.Reject(false))
			}
			require.NoError(t, ch.TxCommit())
		}},
		{"expired", args("x-message-ttl", int32(20)), nil},
		{"maxlen", args("x-max-length", int32(3)), nil},
		{"refused", args("x-max-length", int32(3), "x-overflow", "reject-publish-dlx"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const n = 12
			disk := memstore.NewDisk()
			s, err := disk.Open()
			require.NoError(t, err)
			img := &dlxImaging{Store: s, disk: disk}
			b, err := warren.New(warren.Options{Store: img})
			require.NoError(t, err)
			conn, err := amqp.DialConfig("amqp://", amqp.Config{Dial: b.Dial})
			require.NoError(t, err)
			ch := channel(t, conn)
			topology := args("x-dead-letter-exchange", "amq.fanout")
			for k, v := range c.work {
				topology[k] = v
			}
			declareWith(t, ch, "dead", nil)
			declareWith(t, ch, "copy", nil)
			for _, q := range []string{"dead", "copy"} {
				require.NoError(t, ch.QueueBind(q, "", "amq.fanout", false, nil))
			}
			declareWith(t, ch, "work", topology)
			img.mu.Lock()
			set := len(img.images) // up
			img.mu.Unlock()
			confirmed := map[string]int{} // by the number of images there were
			require.NoError(t, ch.Confirm(false))
			for i := range n {
				body := fmt.Sprintf("%02d", i)
				d, err := ch.PublishWithDeferredConfirm("", "work", false, false, amqp.Publishing{
					Body: []byte(body), DeliveryMode: amqp.Persistent})
				require.NoError(t, err)
				if d.Wait() {
					img.mu.Lock()
					confirmed[body] = len(img.images)
					img.mu.Unlock()
				}
			}
			die := channel(t, conn)
			if c.die != nil {
				c.die(t, die, n)
			}
			left := 0
			if c.name == "maxlen" || c.name == "refused" {
				left = 3
			}
			require.Eventually(t, func() bool { return ready(t, ch, "dead") == n-left }, 5*time.Second, 5*time.Millisecond)
			require.NoError(t, conn.Close())
			require.NoError(t, b.Close())

			if c.name == "refused" {
				require.Len(t, confirmed, left)
			} else {
				require.Len(t, confirmed, n)
			}
			require.GreaterOrEqual(t, len(img.images), set+len(confirmed), "each was durable before the next one came")
			for i := set; i < len(img.images); i++ {
				image := img.images[i]
				in := contents(t, image)
				if c.name != "refused" { // what never was in a queue is stored by each as it can
					require.Equal(t, in["dead"], in["copy"], "image %d", i)
				}
				where := map[string]int{}
				for _, q := range []string{"work", "dead"} {
					for _, body := range in[q] {
						where[body]++
					}
				}
				for body, times := range where {
					require.Equal(t, 1, times, "%s in image %d: %v", body, i, in)
				}
				for body, from := range confirmed {
					if i+1 >= from {
						require.Equal(t, 1, where[body], "%s in image %d: %v", body, i, in)
					}
				}
			}
		})
	}
}

// contents gives what a broker finds in its queues, as it was before anything in
// it expires.
func contents(t *testing.T, d *memstore.Disk) map[string][]string {
	t.Helper()
	in := map[string][]string{}
	synctest.Test(t, func(t *testing.T) { // where it is the year 2000
		b := onDisk(t, d)
		synctest.Wait() // it may be in the middle of something
		conn := dialBubble(t, b, 0)
		for _, q := range []string{"work", "dead", "copy"} {
			ch := channel(t, conn)
			for {
				m, ok, err := ch.Get(q, false)
				if err != nil || !ok {
					break
				}
				in[q] = append(in[q], string(m.Body))
			}
		}
		require.NoError(t, conn.Close())
		require.NoError(t, b.Close())
		synctest.Wait()
	})
	return in
}

// However many queues a publish has, and the channel has something for, what dies at once
// in one of them comes after the publish in the others.
func TestWhatDiesInOneOfManyQueuesComesAfterThePublish(t *testing.T) {
	t.Parallel()
	for _, queues := range []int{12, 40} {
		_, ch := nativePair(t)
		ctx := t.Context()
		name := func(i int) string { return fmt.Sprintf("q%02d", i) }
		last := name(queues - 1)
		_, err := ch.DeclareQueue(ctx, name(0), warren.Arg("x-max-length", 0),
			warren.Arg("x-dead-letter-exchange", ""), warren.Arg("x-dead-letter-routing-key", last))
		require.NoError(t, err)
		var batch []warren.Publishing
		for i := 1; i < queues; i++ {
			filled(t, ch, name(i))
			batch = append(batch, warren.Publishing{RoutingKey: fmt.Sprint("other", i%8)})
			filled(t, ch, batch[i-1].RoutingKey)
		}
		for i := range queues {
			require.NoError(t, ch.BindQueue(ctx, name(i), "amq.fanout", ""))
		}
		require.NoError(t, ch.PublishBatch(ctx, append(batch, batchTo("amq.fanout", "", "a")...)))
		for _, dead := range []bool{false, true} {
			d, ok, err := ch.Get(ctx, last, warren.NoAck())
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, dead, len(d.Properties().Headers) > 0, "%d queues", queues)
		}
	}
}
