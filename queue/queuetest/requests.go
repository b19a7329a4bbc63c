package queuetest

import (
	"errors"
	"testing"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
)

// requests are about get, purge, delete and the counts.
func requests() []behaviour {
	return []behaviour{
		{"get takes the first message and counts the rest", getTakes},
		{"get of an empty queue says so", getEmpty},
		{"a got message is held until it is settled", getHolds},
		{"get without acknowledgement takes the message for good", getNoAck},
		{"get is not stopped by consumers that are full", getBesidesConsumers},
		{"purge drops what is ready and leaves alone what is held", purge},
		{"a purged queue works on", purgeThenWork},
		{"a refused delete leaves the queue as it was", deleteRefused},
		{"delete releases everything", deleteReleases},
		{"the counts follow", counts},
		{"a policy that asks for nothing changes nothing", policyOfNothing},
	}
}

func getTakes(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	d.publish("1", "2", "3")
	d.wantGet("1", 2)
	d.wantGet("2", 1)
	d.publish("4")
	d.wantGet("3", 1)
	d.wantGet("4", 0)
	d.wantGet("", 0)
}

func getEmpty(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	d.wantGet("", 0)
	c := d.consume(queue.Consumer{})
	d.publish("1")
	c.take("1")
	d.wantGet("", 0)
	d.publish("2")
	c.take("2")
}

func getHolds(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	d.publish("1", "2")
	first := d.wantGet("1", 1)
	d.wantStat(1, 1, 0)
	d.settle(queue.Requeue, first)
	again := d.wantGet("1", 1)
	if first.redelivered || !again.redelivered {
		t.Errorf("redelivered is %v, then %v", first.redelivered, again.redelivered)
	}
	d.settle(queue.Ack, again)
	d.wantStat(1, 0, 0)
	d.settle(queue.Ack, again) // settled before
	d.wantStat(1, 0, 0)
}

func getNoAck(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	d.publish("1", "2")
	d.checkGot(d.get(true), "1", 1)
	d.wantStat(1, 0, 0)
	d.checkGot(d.get(true), "2", 0)
	d.checkGot(d.get(true), "", 0)
}

func getBesidesConsumers(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	full, shut := d.consume(queue.Consumer{Prefetch: 1}), d.consume(queue.Consumer{Gate: &gate{}})
	d.publish("1", "2", "3")
	full.take("1")
	d.wantGet("2", 1)
	shut.take()
}

func purge(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	c := d.consume(queue.Consumer{Prefetch: 2})
	d.publish("1", "2", "3", "4", "5")
	held := c.take("1", "2")
	if n := d.purge(); n != 3 {
		t.Errorf("purged %d, want 3", n)
	}
	d.wantStat(0, 2, 1)
	d.settle(queue.Requeue, held[0])
	again := c.take("1")
	d.settle(queue.Ack, again[0], held[1])
	d.wantStat(0, 0, 1)
}

func purgeThenWork(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	d.publish("1", "2", "3")
	held := d.wantGet("1", 2)
	if n := d.purge(); n != 2 {
		t.Errorf("purged %d, want 2", n)
	}
	d.publish("4", "5")
	d.settle(queue.Requeue, held)
	d.wantGet("1", 2)
	d.wantGet("4", 1)
	d.wantGet("5", 0)
	if n := d.purge(); n != 0 {
		t.Errorf("purged %d of an empty queue", n)
	}
}

func deleteRefused(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	c := d.consume(queue.Consumer{Prefetch: 1})
	d.publish("1", "2")
	refused := func(ifUnused, ifEmpty bool, want error) {
		t.Helper()
		if _, err := d.delete(ifUnused, ifEmpty); !errors.Is(err, want) {
			t.Fatalf("Delete gave %v, want %v", err, want)
		}
	}
	refused(true, false, queue.ErrInUse)
	refused(false, true, queue.ErrNotEmpty)
	refused(true, true, queue.ErrNotEmpty)
	d.wantStat(1, 1, 1)

	d.settle(queue.Ack, c.take("1")...)
	held := c.take("2")
	d.publish("3")
	d.settle(queue.Ack, held...)
	c.take("3")
	d.cancel(c)
	// What is held does not count as content.
	if n, err := d.delete(true, true); n != 0 || err != nil {
		t.Errorf("Delete gave %d, %v", n, err)
	}
}

func deleteReleases(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	c := d.consume(queue.Consumer{Prefetch: 2})
	d.publish("1", "2", "3", "4", "5")
	c.take("1", "2")
	d.wantGet("3", 2)
	if n, err := d.delete(false, false); n != 2 || err != nil {
		t.Errorf("Delete gave %d, %v; want 2", n, err)
	}
}

func counts(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	wantBytes := func(want int64) {
		t.Helper()
		if got := d.q.Stat().ReadyBytes; got != want {
			t.Errorf("%d octets ready, want %d", got, want)
		}
	}
	d.publish("1", "22", "333")
	wantBytes(6)
	held := d.wantGet("1", 2)
	wantBytes(5)
	d.settle(queue.Requeue, held)
	wantBytes(6)
	c := d.consume(queue.Consumer{Prefetch: 1})
	d.wantStat(2, 1, 1)
	wantBytes(5)
	d.settle(queue.Ack, c.take("1")...)
	wantBytes(3)
	d.purge()
	wantBytes(0)
	d.wantStat(0, 1, 1)
}

// policyOfNothing gives a queue policies that no type obeys, while messages are held,
// ready and waited for.
func policyOfNothing(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	change := func() {
		d.event(queue.Event{Kind: queue.PolicyChanged, Policy: message.Table{{Name: "alternate-exchange", Value: "x"}}})
		d.event(queue.Event{Kind: queue.PolicyChanged})
	}
	change()
	d.publish("1", "2", "3")
	change()
	first := d.wantGet("1", 2)
	change()
	if s := d.q.Stat(); s.Ready != 2 || s.Unacked != 1 {
		t.Fatalf("ready %d, unacked %d; want 2, 1", s.Ready, s.Unacked)
	}
	d.settle(queue.Requeue, first)
	c := d.consume(queue.Consumer{Prefetch: 1})
	change()
	held := c.take("1")
	d.settle(queue.Ack, held...)
	change()
	held = c.take("2")
	d.settle(queue.Ack, held...)
	c.take("3")
	d.wantStat(0, 1, 1)
}
