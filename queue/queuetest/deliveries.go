package queuetest

import (
	"errors"
	"testing"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
)

// deliveries are about consumers.
func deliveries(caps queue.Capabilities) []behaviour {
	all := []behaviour{
		{"messages are delivered in their order", inOrder},
		{"waiting messages are delivered in their order", backlogInOrder},
		{"consumers are served in turn", roundRobin},
		{"a consumer at its prefetch is passed over", prefetchBlocks},
		{"a consumer resumes when it settles", prefetchResumes},
		{"no-ack needs no settling", noAck},
		{"a requeued message returns to its place", requeueOne},
		{"messages requeued out of order return to their places", requeueOutOfOrder},
		{"messages requeued together return to their places", requeueMultiple},
		{"a message is redelivered only if it was delivered", redeliveredFlag},
		{"unknown settles are ignored", unknownSettles},
		{"a discarded message is gone", discard},
		{"a cancelled consumer gets nothing and keeps what it holds", cancelKeepsHeld},
		{"what a cancelled consumer requeues goes to others", cancelThenRequeue},
		{"a shut gate holds deliveries back until it resumes", gateHolds},
		{"a shut gate stops nobody else", gatePassesOver},
		{"a resume without a reason is harmless", needlessResume},
		{"an exclusive consumer is alone", exclusive},
		{"every publish is answered once", confirms},
		{"a publish that wants no answer gets none", unwantedAnswers},
		{"random histories agree with a sorted list", histories},
	}
	if caps.AutoDelete {
		all = append(all, behaviour{"an auto-delete queue ends with its last consumer", autoDelete})
	}
	return all
}

func inOrder(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	c := d.consume(queue.Consumer{})
	d.publish("1", "2")
	d.publish("3")
	c.take("1", "2", "3")
	d.wantStat(0, 3, 1)
}

func backlogInOrder(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	d.publish("1", "2", "3")
	d.wantStat(3, 0, 0)
	c := d.consume(queue.Consumer{})
	c.take("1", "2", "3")
}

func roundRobin(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	a, b, c := d.consume(queue.Consumer{}), d.consume(queue.Consumer{NoAck: true}), d.consume(queue.Consumer{})
	d.publish("1", "2", "3", "4")
	d.publish("5", "6")
	a.take("1", "4")
	b.take("2", "5")
	c.take("3", "6")
}

func prefetchBlocks(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	a, b := d.consume(queue.Consumer{Prefetch: 1}), d.consume(queue.Consumer{Prefetch: 3})
	d.publish("1", "2", "3", "4", "5", "6")
	a.take("1")
	b.take("2", "3", "4")
	d.wantStat(2, 4, 2)
}

func prefetchResumes(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	c := d.consume(queue.Consumer{Prefetch: 2})
	d.publish("1", "2", "3", "4", "5", "6")
	held := c.take("1", "2")
	d.settle(queue.Ack, held[0])
	next := c.take("3")
	d.settle(queue.Discard, held[1], next[0])
	c.take("4", "5")
	d.wantStat(1, 2, 1)
}

func noAck(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	d.publish("1", "2")
	c := d.consume(queue.Consumer{NoAck: true, Prefetch: 1})
	d.publish("3")
	c.take("1", "2", "3")
	d.wantStat(0, 0, 1)
}

func requeueOne(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	c := d.consume(queue.Consumer{Prefetch: 2})
	d.publish("1", "2", "3", "4")
	held := c.take("1", "2")
	d.cancel(c)
	d.settle(queue.Requeue, held[1])
	d.wantGet("2", 2)
	d.wantGet("3", 1)
}

func requeueOutOfOrder(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	c := d.consume(queue.Consumer{Prefetch: 4})
	d.publish("1", "2", "3", "4", "5")
	held := c.take("1", "2", "3", "4")
	d.cancel(c)
	d.settle(queue.Requeue, held[1])
	for _, i := range []int{2, 0, 3} {
		d.settle(queue.Requeue, held[i])
	}
	for i, body := range []string{"1", "2", "3", "4", "5"} {
		got := d.wantGet(body, 4-i)
		if got.redelivered != (i < 4) {
			t.Errorf("message %s: redelivered is %v", body, got.redelivered)
		}
	}
}

func requeueMultiple(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	c := d.consume(queue.Consumer{Prefetch: 3})
	d.publish("1", "2", "3", "4")
	held := c.take("1", "2", "3")
	d.settle(queue.Requeue, held[2], held[0], held[1])
	again := c.take("1", "2", "3")
	d.settle(queue.Ack, again[0])
	c.take("4")
}

func redeliveredFlag(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	c := d.consume(queue.Consumer{Prefetch: 1})
	d.publish("1", "2")
	first := c.take("1")[0]
	d.settle(queue.Requeue, first)
	second := c.take("1")[0]
	d.settle(queue.Ack, second)
	third := c.take("2")[0]
	if first.redelivered || !second.redelivered || third.redelivered {
		t.Errorf("redelivered is %v, %v, %v", first.redelivered, second.redelivered, third.redelivered)
	}
}

func unknownSettles(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	c := d.consume(queue.Consumer{Prefetch: 1})
	d.publish("1", "2", "3")
	held := c.take("1")
	d.q.Settle([]queue.Settle{
		{ID: held[0].id + 1<<40, Consumer: c.ID, Outcome: queue.Ack},
		{ID: held[0].id + 1, Consumer: c.ID, Outcome: queue.Requeue}, // a ready one, if anything
		{ID: held[0].id + 1<<50, Outcome: queue.Discard},
	}, &d.out)
	d.take()
	c.take()
	d.wantStat(2, 1, 1)

	d.settle(queue.Ack, held[0])
	c.take("2")
	d.q.Settle([]queue.Settle{{ID: held[0].id, Consumer: c.ID, Outcome: queue.Requeue}}, &d.out)
	d.take()
	c.take()
	d.wantStat(1, 1, 1)
}

func discard(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	c := d.consume(queue.Consumer{Prefetch: 1})
	d.publish("1", "2")
	d.settle(queue.Discard, c.take("1")...)
	c.take("2")
	d.wantStat(0, 1, 1)
}

func cancelKeepsHeld(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	c := d.consume(queue.Consumer{})
	d.publish("1", "2")
	held := c.take("1", "2")
	d.cancel(c)
	d.publish("3")
	d.wantStat(1, 2, 0)
	d.settle(queue.Ack, held[0])
	d.wantStat(1, 1, 0)
	if d.gone {
		t.Error("a queue that is not auto-delete wants to go")
	}
}

func cancelThenRequeue(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	a := d.consume(queue.Consumer{})
	d.publish("1", "2")
	held := a.take("1", "2")
	b := d.consume(queue.Consumer{})
	d.cancel(a)
	d.settle(queue.Requeue, held...)
	b.take("1", "2")
	d.cancel(&consumer{Consumer: queue.Consumer{ID: a.ID}}) // cancelled already
	d.wantStat(0, 2, 1)
}

func gateHolds(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	c := d.consume(queue.Consumer{Gate: &gate{room: 2}})
	d.publish("1", "2", "3", "4", "5")
	held := c.take("1", "2")

	c.gate.room = 5
	d.publish("6")
	d.settle(queue.Ack, held...)
	c.take()

	c.gate.room = 0
	d.resume(c, 2)
	c.take("3", "4")
	if c.gate.room != 0 {
		t.Errorf("%d deliveries' room was asked for and not used, or the other way round", c.gate.room)
	}
	d.resume(c, 9)
	c.take("5", "6")
	if c.gate.room != 7 {
		t.Errorf("the gate was passed %d times for 2 deliveries", 9-c.gate.room)
	}
}

func gatePassesOver(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	shut := d.consume(queue.Consumer{Gate: &gate{}})
	free := d.consume(queue.Consumer{})
	d.publish("1", "2")
	shut.take()
	free.take("1", "2")
	d.resume(shut, 1)
	d.publish("3", "4")
	if len(shut.inbox) != 1 || len(free.inbox) != 1 {
		t.Errorf("%v and %v instead of one each", bodiesOf(shut.inbox), bodiesOf(free.inbox))
	}
}

func needlessResume(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	a, b := d.consume(queue.Consumer{Prefetch: 1, Gate: &gate{room: 9}}), d.consume(queue.Consumer{Gate: &gate{room: 9}})
	d.publish("1")
	a.take("1")
	d.resume(a, 1)
	d.resume(b, 1)
	d.event(queue.Event{Kind: queue.Resume, Consumer: 99})
	d.publish("2", "3", "4")
	a.take()
	b.take("2", "3", "4")
	d.cancel(a)
	d.event(queue.Event{Kind: queue.Resume, Consumer: a.ID})
	d.publish("5")
	b.take("5")
}

func exclusive(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	a := d.consume(queue.Consumer{})
	refused := func(c queue.Consumer) {
		t.Helper()
		if _, err := d.tryConsume(c); !errors.Is(err, queue.ErrExclusiveUse) {
			t.Fatalf("Consume gave %v", err)
		}
	}
	refused(queue.Consumer{Exclusive: true})
	d.cancel(a)
	b := d.consume(queue.Consumer{Exclusive: true})
	refused(queue.Consumer{})
	refused(queue.Consumer{Exclusive: true})
	d.publish("1")
	b.take("1")
	d.publish("2")
	b.take("2")
	d.wantStat(0, 2, 1)
	d.cancel(b)
	d.consume(queue.Consumer{})
	d.consume(queue.Consumer{})
}

func autoDelete(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, func(s *queue.Spec) { s.AutoDelete = true })
	d.publish("1", "2")
	d.wantGet("1", 1)
	if d.gone {
		t.Fatal("a queue that never had a consumer wants to go")
	}
	a, b := d.consume(queue.Consumer{}), d.consume(queue.Consumer{})
	a.take("2")
	d.cancel(a)
	if d.gone {
		t.Fatal("a queue with a consumer wants to go")
	}
	d.cancel(b)
	if !d.gone {
		t.Fatal("the last consumer went and the queue stays; unacknowledged messages must not keep it")
	}
}

func confirms(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	d.publish("1", "2")
	c := d.consume(queue.Consumer{NoAck: true})
	d.publish("3")
	d.cancel(c)
	d.publish("4")
	d.purge()
	d.publish("5")
	c.take("1", "2", "3")
	d.wantConfirmed(1, 2, 3, 4, 5)
}

func unwantedAnswers(t *testing.T, typ queue.Type) {
	d := newDriver(t, typ, nil)
	d.q.Enqueue([]queue.Publish{{Msg: d.message("1", true)}, {Msg: d.message("2", false)}}, &d.out)
	d.take()
	c := d.consume(queue.Consumer{})
	d.q.Enqueue([]queue.Publish{{Msg: d.message("3", false), Ref: message.PublishRef{}}}, &d.out)
	d.take()
	c.take("1", "2", "3")
}
