package warren_test

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/memstore"
)

// ownType is a queue type of a user's own.
type ownType struct{ queue.Type }

func (ownType) Name() string { return "own" }

// fragile is a queue type that fails when it is given the body "break".
type fragile struct{ queue.Type }

func (fragile) Name() string { return "x-fragile" }

func (f fragile) Open(s queue.Spec, e queue.Env) (queue.Queue, error) {
	q, err := f.Type.Open(s, e)
	return fragileQueue{q}, err
}

type fragileQueue struct{ queue.Queue }

func (q fragileQueue) Enqueue(in []queue.Publish, out *queue.Actions) {
	for _, p := range in {
		if string(p.Msg.Body()) == "break" {
			panic("it breaks")
		}
	}
	q.Queue.Enqueue(in, out)
}

// A restart brings a queue back that failed, unless somebody deletes it before that. One
// that takes its name has nothing of it, also after a restart, and the log says so.
func TestAQueueThatFailedComesBackUnlessItIsDeletedOrDeclaredAnew(t *testing.T) {
	t.Parallel()
	var log journal
	o := warren.Options{QueueTypes: []queue.Type{fragile{queue.Classic()}}, Logger: log.logger()}
	d := memstore.NewDisk()
	b, _ := brokerOn(t, d, o)
	ctx := t.Context()
	declare := func(b *warren.Broker, name string) {
		_, err := native(t, b).DeclareQueue(ctx, name, warren.Durable(), warren.Arg("x-queue-type", "x-fragile"))
		require.NoError(t, err)
	}
	ch := native(t, b)
	for _, q := range []string{"a", "b", "c"} {
		declare(b, q)
		require.NoError(t, ch.BindQueue(ctx, q, "amq.direct", "k"))
		for _, body := range []string{"1", "2"} {
			require.NoError(t, ch.PublishConfirmed(ctx, "", q, persistent(body)))
		}
		require.Error(t, ch.PublishConfirmed(ctx, "", q, persistent("break")))
	}
	require.Empty(t, queueNames(t, b, "/"))
	declare(b, "a")
	require.Contains(t, log.String(), `"a queue that failed is declared anew: what the store has of it is deleted" vhost=/ queue=a`)
	require.NoError(t, ch.PublishConfirmed(ctx, "", "a", persistent("3")))
	_, err := ch.DeleteQueue(ctx, "c")
	require.NoError(t, err)
	require.NoError(t, b.Close())
	for range 2 {
		b, _ = brokerOn(t, d, o)
		require.Equal(t, []string{"a", "b"}, queueNames(t, b, "/"))
		all := definitionsOf(t, b).Bindings["/"]
		require.Len(t, all, 1)
		require.Equal(t, "b", all[0].Destination)
		for q, want := range map[string]int{"a": 1, "b": 2} {
			info, err := b.Queue("/", q)
			require.NoError(t, err)
			require.Equal(t, want, info.Ready)
		}
		require.NoError(t, b.Close())
	}
	require.Equal(t, 1, strings.Count(log.String(), "declared anew"))
}

// Who changes something while the broker closes hears of that, and not of its store.
func TestAChangeOfABrokerThatClosesIsErrClosed(t *testing.T) {
	t.Parallel()
	b, _ := durableBroker(t)
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Auth().AddUser("late", "p"), warren.ErrClosed)
	require.ErrorIs(t, b.AddVHost("late"), warren.ErrClosed)
}

// What New cannot restore it refuses; the store stays as it is, and the caller's.
func TestNewRefusesWhatItCannotRestore(t *testing.T) {
	t.Parallel()
	var blind atomic.Bool
	all := warren.Options{QueueTypes: []queue.Type{ownType{queue.Classic()}}, ExchangeTypes: []exchange.Type{bySize{&blind}}}
	made := memstore.NewDisk()
	b, _ := brokerOn(t, made, all)
	ch := native(t, b)
	durableQueue(t, ch, "classic", "1", "2", "3")
	_, err := ch.DeclareQueue(t.Context(), "owned", warren.Durable(), warren.Arg("x-queue-type", "own"))
	require.NoError(t, err)
	require.NoError(t, ch.DeclareExchange(t.Context(), "sized", "x-size", warren.Durable(), warren.Arg("limit", 1)))
	before := definitionsOf(t, b)
	require.NoError(t, b.Close())

	set := func(c store.Change) func(*testing.T, store.Store) {
		return func(t *testing.T, s store.Store) { require.NoError(t, s.Apply([]store.Change{c})) }
	}
	// each changes the first definition of a kind.
	each := func(kind byte, change func(store.Change) store.Change) func(*testing.T, store.Store) {
		return func(t *testing.T, s store.Store) {
			var c store.Change
			require.NoError(t, s.Scan([]byte{'D', kind}, []byte{'D', kind + 1}, false, func(key, value []byte) error {
				c = change(store.Change{Key: bytes.Clone(key), Value: bytes.Clone(value)})
				return nil
			}))
			require.NoError(t, s.Apply([]store.Change{c}))
		}
	}
	cut := func(c store.Change) store.Change { return store.Change{Key: c.Key, Value: c.Value[:len(c.Value)-1]} }
	gone := func(c store.Change) store.Change { return store.Change{Key: c.Key, Delete: true} }
	empty := func(c store.Change) store.Change { return store.Change{Key: c.Key} }
	for name, tt := range map[string]struct {
		o      warren.Options
		change func(*testing.T, store.Store)
		want   string
	}{
		"a queue type": {warren.Options{ExchangeTypes: all.ExchangeTypes}, nil,
			`queue 'owned' in vhost '/': it is of type "own", which Options.QueueTypes lacks`},
		"an exchange type": {warren.Options{QueueTypes: all.QueueTypes}, nil,
			`exchange 'sized' in vhost '/': it is of type "x-size", which Options.ExchangeTypes lacks`},
		"a newer kind of definition": {all, set(store.Change{Key: []byte("DZkey")}),
			`there is a definition of the unknown kind 'Z': it was written by a newer Warren; use that one`},
		"another's data":     {all, set(store.Change{Key: []byte("F"), Value: []byte("else")}), "restore the store from a backup"},
		"a damaged index":    {all, set(store.Change{Key: []byte("Iqqqqqqqqpppppppp"), Value: []byte("else")}), "a backup helps"},
		"a damaged queue":    {all, each('q', cut), "the definition q "},
		"an empty exchange":  {all, each('x', empty), "is damaged: its field"},
		"a damaged user":     {all, each('u', cut), "restore the store from a backup"},
		"a damaged vhost":    {all, each('v', cut), "restore the store from a backup"},
		"a damaged counter":  {all, each('c', cut), "restore the store from a backup"},
		"no counter":         {all, each('c', gone), "restore the store from a backup"},
		"a damaged right":    {all, each('p', empty), "restore the store from a backup"},
		"options":            {warren.Options{FrameMax: 1}, nil, "Options.FrameMax"},
		"a negative reserve": {warren.Options{FreeDiskLimit: -1}, nil, "Options.FreeDiskLimit"},
		"a negative bound":   {warren.Options{QueueMemory: queue.Bounds{Octets: -1}}, nil, "Options.QueueMemory"},
	} {
		t.Run(name, func(t *testing.T) {
			d := made.Crash()
			s, err := d.Open()
			require.NoError(t, err)
			if tt.change != nil {
				tt.change(t, s)
			}
			there := dump(t, s)
			tt.o.Store = located{s}
			_, err = warren.New(tt.o)
			require.ErrorContains(t, err, tt.want)
			if !strings.HasPrefix(tt.want, "Options.") {
				require.ErrorContains(t, err, "Options.Store in /some/where: ")
			}
			require.Equal(t, there, dump(t, s), "it changed nothing, and did not close the store")
			require.NoError(t, s.Close())
			if tt.change == nil {
				b, _ := brokerOn(t, d, all)
				require.Equal(t, before, definitionsOf(t, b))
				require.Equal(t, []string{"1", "2", "3"}, drained(t, native(t, b), "classic"))
			}
		})
	}
}

// located is a store that tells where it is.
type located struct{ store.Store }

func (located) Dir() string { return "/some/where" }

func dump(t *testing.T, s store.Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, s.Scan(nil, nil, false, func(k, v []byte) error {
		all[string(k)] = string(v)
		return nil
	}))
	return all
}

func TestABrokerOnAStoreIsClosedAtOnceByMany(t *testing.T) {
	t.Parallel()
	d := memstore.NewDisk()
	b, _ := brokerOn(t, d, warren.Options{})
	ch := native(t, b)
	durableQueue(t, ch, "q")
	require.NoError(t, ch.Publish(t.Context(), "", "q", persistent("1")))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if i%2 == 0 {
				require.NoError(t, b.Close())
			} else {
				require.NoError(t, b.Shutdown(context.Background()))
			}
		})
	}
	all.Wait()
	require.NoError(t, b.Close())
	require.Equal(t, []string{"1"}, readyAfterCrash(t, d, "q"), "what was published is kept, with or without a confirm")
	// What is asked of a closed broker is answered.
	require.Error(t, b.Auth().AddUser("late", ""))
	require.ErrorIs(t, b.AddVHost("late"), warren.ErrClosed)
	require.Error(t, b.DeleteVHost("/"))
	require.Error(t, b.Backup(&bytes.Buffer{}))
	var asked sync.WaitGroup
	for range 50 {
		asked.Go(func() { require.Error(t, b.Auth().SetTags("guest")) })
	}
	asked.Wait()
	require.Equal(t, []string{"/"}, afterCrash(t, d).VHosts())
}

// The promise of docs/concurrency.md holds for a broker on a memstore.Disk, too.
func TestBubbleBrokerOnAStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := memstore.NewDisk()
		for run := range 3 {
			b, s := brokerOn(t, d, warren.Options{QueueMemory: queue.Bounds{Messages: 2}})
			conn := dialBubble(t, b, 10*time.Second)
			ch, err := conn.Channel()
			require.NoError(t, err)
			require.NoError(t, ch.Confirm(false))
			q, err := ch.QueueDeclare("q", true, false, false, false, nil)
			require.NoError(t, err)
			require.Equal(t, run*20, q.Messages)
			time.Sleep(time.Hour)
			for range 20 {
				c, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{DeliveryMode: 2})
				require.NoError(t, err)
				require.True(t, c.Wait())
			}
			// A full disk is looked at again and again.
			s.SetSpace(&store.Space{Free: 1, Reserve: 2})
			own := native(t, b)
			require.Error(t, own.PublishConfirmed(t.Context(), "", "q", persistent("m")))
			synctest.Wait()
			require.ErrorIs(t, b.Health(), store.ErrNoSpace)
			time.Sleep(time.Hour)
			require.Len(t, b.Alarms(), 1)
			s.SetSpace(nil)
			time.Sleep(time.Second)
			require.NoError(t, b.Health())
			require.Empty(t, b.Alarms())
			require.NoError(t, conn.Close())
			require.NoError(t, b.Close())
			synctest.Wait()
		}
	})
}

// A New that fails leaves no goroutine behind, however much was about to recover.
func TestNewThatFailsEndsWhatItBegan(t *testing.T) {
	b, d := durableBroker(t)
	ch := native(t, b)
	for _, q := range []string{"a", "b", "c", "d"} {
		durableQueue(t, ch, q, "1", "2")
	}
	require.NoError(t, b.Close())
	s, err := d.Open()
	require.NoError(t, err)
	require.NoError(t, s.Apply([]store.Change{{Key: []byte("DxZ"), Value: []byte("\x04namS\x00\x00\x00\x00")}}))
	before := runtime.NumGoroutine()
	for range 20 {
		_, err := warren.New(warren.Options{Store: s})
		require.Error(t, err)
	}
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		require.True(t, time.Now().Before(end), "goroutines are left")
	}
	require.NoError(t, s.Close())
}
