package queuetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/store"
)

var errDisk = errors.New("queuetest: the disk is broken")

// stored are about a durable queue with a store that answers late.
func stored(caps queue.Capabilities) []behaviour {
	all := []behaviour{
		{"a persistent publish is confirmed when it is stored", confirmAfterStored},
		{"a persistent publish is confirmed in whatever groups it is stored", confirmInGroups},
		{"a message that left before it was stored is confirmed", confirmAfterAck},
		{"a publish that could not be stored is rejected", storeFails},
		{"what leaves the queue leaves the store", storeForgets},
		{"purge and delete answer who waits for the store", purgeAndDeleteAnswer},
		{"what was recovered comes in order with its redelivered flag", recovered},
		{"what was recovered comes before what is published", recoveredFirst},
		{"messages are loaded in ranges", loadsInRanges},
		{"deliveries stay in order while a load is late", lateLoad},
		{"a get waits for the load", getWaits},
		{"a get whose load failed says so, and the next one tries again", loadFails},
		{"purge drops what is not in memory", purgeUnloaded},
		{"a purge or delete during a load is no surprise", purgeWhileLoading},
		{"a message that was loaded is requeued to its place", requeueLoaded},
		{"random histories with a late store agree with a sorted list", storedHistories},
	}
	if caps.Transient {
		all = append(all, behaviour{"a transient message of a durable queue is not stored", transientNotStored})
	}
	return all
}

// usesStore finds out whether durable queues of the type ask anything of a store.
func usesStore(t *testing.T, typ queue.Type) bool {
	t.Helper()
	probe := newStored(t, typ)
	probe.publish("probe")
	return len(probe.log.ops) > 0
}

func confirmAfterStored(t *testing.T, typ queue.Type) {
	d := newStored(t, typ)
	d.publish("1")
	c := d.consume(queue.Consumer{})
	c.take("1")
	d.wantConfirmed()
	d.storeAll()
	d.wantConfirmed(1)
}

func confirmInGroups(t *testing.T, typ queue.Type) {
	d := newStored(t, typ)
	d.publish("1", "2")
	d.publish("3")
	if n := len(d.log.ops); n != 3 {
		t.Fatalf("%d operations for 3 messages", n)
	}
	d.store(1)
	d.wantConfirmed(1)
	d.publish("4")
	d.store(2)
	d.wantConfirmed(1, 2, 3)
	d.storeAll()
	d.wantConfirmed(1, 2, 3, 4)
}

func confirmAfterAck(t *testing.T, typ queue.Type) {
	d := newStored(t, typ)
	d.publish("1", "2", "3")
	d.settle(queue.Ack, d.wantGet("1", 2))
	d.wantConfirmed(1)
	d.checkGot(d.get(true), "2", 1)
	d.wantConfirmed(1, 2)
	d.storeAll()
	d.wantConfirmed(1, 2, 3)
}

func storeFails(t *testing.T, typ queue.Type) {
	d := newStored(t, typ)
	d.publish("1", "2", "3")
	d.store(1)
	d.fail(1, errDisk)
	d.storeAll()
	for seq, want := range map[uint64]bool{1: true, 2: false, 3: true} {
		if got, ok := d.answers[seq]; !ok || got != want {
			t.Errorf("publish %d: answered %v, confirmed %v, want %v", seq, ok, got, want)
		}
	}
}

func transientNotStored(t *testing.T, typ queue.Type) {
	d := newStored(t, typ)
	d.q.Enqueue([]queue.Publish{{Msg: d.message("1", false)}}, &d.out)
	d.take()
	d.settle(queue.Ack, d.wantGet("1", 0))
	if n := len(d.log.ops); n != 0 {
		t.Errorf("%d operations for a transient message", n)
	}
}

func storeForgets(t *testing.T, typ queue.Type) {
	d := newStored(t, typ, "a")
	d.publish("1", "2", "3", "4", "5")
	d.ask(true)
	d.storeAll()
	d.load()
	d.settle(queue.Ack, d.wantGet("1", 4))
	d.settle(queue.Discard, d.wantGet("2", 3))
	d.storeAll()
	d.wantGet("3", 2)
	d.purge()
	d.storeAll()
	var left []string
	for _, m := range d.log.kept {
		left = append(left, string(m.Body()))
	}
	if !slices.Equal(left, []string{"3"}) {
		t.Errorf("the store keeps %v, want what is held", left)
	}
}

func purgeAndDeleteAnswer(t *testing.T, typ queue.Type) {
	d := newStored(t, typ)
	d.publish("1", "2")
	d.wantGet("1", 1)
	if n := d.purge(); n != 1 {
		t.Errorf("purged %d", n)
	}
	d.wantConfirmed(2)
	d.publish("3")
	d.delete(false, false)
	d.wantConfirmed(1, 2, 3)
}

// drain answers loads and operations until nothing is asked any more.
func (d *driver) drain() {
	for len(d.log.loads)+len(d.log.ops) > 0 {
		if len(d.log.loads) > 0 {
			d.load()
		}
		d.storeAll()
	}
}

func recovered(t *testing.T, typ queue.Type) {
	d := newStored(t, typ, "a", "b", "c", "d", "e")
	d.wantStat(5, 0, 0)
	if n := d.q.Stat().ReadyBytes; n != 5 {
		t.Errorf("%d octets ready, want 5", n)
	}
	c := d.consume(queue.Consumer{})
	d.drain()
	for i, x := range c.take("a", "b", "c", "d", "e") {
		if x.redelivered != (i%2 == 1) {
			t.Errorf("%s: redelivered is %v", x.body, x.redelivered)
		}
	}
}

func recoveredFirst(t *testing.T, typ queue.Type) {
	d := newStored(t, typ, "a", "b")
	d.publish("1", "2")
	c := d.consume(queue.Consumer{Prefetch: 3})
	d.publish("3")
	c.take()
	d.drain()
	d.settle(queue.Ack, c.take("a", "b", "1")...)
	d.drain()
	c.take("2", "3")
}

func loadsInRanges(t *testing.T, typ queue.Type) {
	const n = 500
	d := newStored(t, typ, numbered(n)...)
	c := d.consume(queue.Consumer{NoAck: true})
	loads := 0
	for len(d.log.loads) > 0 {
		loads += len(d.log.loads)
		for range d.log.loads {
			d.load()
		}
	}
	c.take(numbered(n)...)
	if loads > n/5 {
		t.Errorf("%d loads for %d messages", loads, n)
	}
}

func numbered(n int) []string {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = fmt.Sprint("r", i)
	}
	return bodies
}

func lateLoad(t *testing.T, typ queue.Type) {
	d := newStored(t, typ, "a", "b", "c")
	x, y := d.consume(queue.Consumer{Prefetch: 2}), d.consume(queue.Consumer{Prefetch: 2})
	d.publish("1", "2")
	d.storeAll()
	x.take()
	y.take()
	d.wantConfirmed(1, 2)
	for len(d.log.loads) > 0 {
		d.load()
	}
	held := x.take("a", "c")
	y.take("b", "1")
	d.settle(queue.Requeue, held[0])
	x.take("a")
	d.wantStat(1, 4, 2)
}

func getWaits(t *testing.T, typ queue.Type) {
	d := newStored(t, typ, "a", "b")
	first, second, third := d.ask(true), d.ask(false), d.ask(false)
	if len(d.got) != 0 {
		t.Fatal("a get was answered before the message was loaded")
	}
	c := d.consume(queue.Consumer{})
	d.drain()
	d.checkGot(d.got[first], "a", 1)
	d.checkGot(d.got[second], "b", 0)
	d.checkGot(d.got[third], "", 0)
	c.take()
	d.publish("1")
	c.take("1")
}

func loadFails(t *testing.T, typ queue.Type) {
	d := newStored(t, typ, "a")
	ref := d.ask(false)
	d.log.loads = d.log.loads[1:]
	d.event(queue.Event{Kind: queue.LoadDone, Err: errDisk})
	if r, ok := d.got[ref]; !ok || !errors.Is(r.Err, errDisk) || r.Msg != nil {
		t.Fatalf("the get was answered with %+v", r)
	}
	d.wantStat(1, 0, 0)
	ref = d.ask(false)
	d.drain()
	d.checkGot(d.got[ref], "a", 0)
}

func purgeUnloaded(t *testing.T, typ queue.Type) {
	d := newStored(t, typ, "a", "b")
	if n := d.purge(); n != 2 {
		t.Errorf("purged %d, want 2", n)
	}
	d.storeAll()
	if n := len(d.log.kept); n != 0 {
		t.Errorf("the store keeps %d messages", n)
	}
	d.publish("1")
	d.wantGet("1", 0)
}

func purgeWhileLoading(t *testing.T, typ queue.Type) {
	d := newStored(t, typ, "a", "b")
	c := d.consume(queue.Consumer{})
	d.purge()
	d.publish("1")
	d.drain()
	c.take("1")

	e := newStored(t, typ, "a", "b")
	ref := e.ask(false)
	late := e.log.loads
	if _, err := e.delete(false, false); err != nil {
		t.Fatal(err)
	}
	if r, ok := e.got[ref]; !ok || r.Msg != nil {
		t.Errorf("a get of a deleted queue was answered with %+v, %v", r, ok)
	}
	for range late {
		e.load()
	}
	for _, op := range e.log.ops {
		if op.Kind == store.Append {
			t.Error("a deleted queue stores")
		}
	}
}

func requeueLoaded(t *testing.T, typ queue.Type) {
	d := newStored(t, typ, "a", "b", "c")
	c := d.consume(queue.Consumer{Prefetch: 2})
	d.drain()
	held := c.take("a", "b")
	d.cancel(c)
	d.settle(queue.Requeue, held[1])
	d.settle(queue.Requeue, held[0])
	last := d.consume(queue.Consumer{})
	d.drain()
	for i, x := range last.take("a", "b", "c") {
		if x.redelivered != (i < 2) {
			t.Errorf("%s: redelivered is %v", x.body, x.redelivered)
		}
	}
}
