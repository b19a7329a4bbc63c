package connection

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/reply"
	"github.com/warrenmq/warren/wire"
)

// What the methods do is tested in package channel; here it is which answer each
// has, and that nowait leaves it out.
func TestEachMethodHasItsAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ ask, answer wire.Method }{
		{&wire.ChannelFlow{Active: true}, &wire.ChannelFlowOK{Active: true}},
		{&wire.AccessRequest{Realm: "/"}, &wire.AccessRequestOK{Ticket: 1}},
		{&wire.ExchangeDeclare{Exchange: "x", Type: "direct"}, &wire.ExchangeDeclareOK{}},
		{&wire.ExchangeDeclare{Exchange: "y", Type: "direct", NoWait: true}, nil},
		{&wire.ExchangeBind{Destination: "amq.topic", Source: "amq.fanout"}, &wire.ExchangeBindOK{}},
		{&wire.ExchangeBind{Destination: "amq.topic", Source: "amq.direct", NoWait: true}, nil},
		{&wire.ExchangeUnbind{Destination: "x", Source: "amq.fanout"}, &wire.ExchangeUnbindOK{}},
		{&wire.ExchangeUnbind{Destination: "x", Source: "amq.direct", NoWait: true}, nil},
		{&wire.ExchangeDelete{Exchange: "x"}, &wire.ExchangeDeleteOK{}},
		{&wire.ExchangeDelete{Exchange: "y", NoWait: true}, nil},
		{&wire.QueueDeclare{Queue: "p"}, &wire.QueueDeclareOK{Queue: "p"}},
		{&wire.QueueDeclare{Queue: "r", NoWait: true}, nil},
		{&wire.QueueDeclare{Queue: "q", Passive: true}, &wire.QueueDeclareOK{Queue: "q", MessageCount: 1}},
		{&wire.QueueBind{Queue: "q", Exchange: "amq.fanout"}, &wire.QueueBindOK{}},
		{&wire.QueueBind{Queue: "q", Exchange: "amq.direct", NoWait: true}, nil},
		{&wire.QueueUnbind{Queue: "q", Exchange: "amq.fanout"}, &wire.QueueUnbindOK{}},
		{&wire.BasicQos{PrefetchCount: 9}, &wire.BasicQosOK{}},
		{&wire.BasicConsume{Queue: "p", ConsumerTag: "a"}, &wire.BasicConsumeOK{ConsumerTag: "a"}},
		{&wire.BasicConsume{Queue: "p", ConsumerTag: "b", NoWait: true}, nil},
		{&wire.BasicCancel{ConsumerTag: "a"}, &wire.BasicCancelOK{ConsumerTag: "a"}},
		{&wire.BasicCancel{ConsumerTag: "b", NoWait: true}, nil},
		{&wire.BasicGet{Queue: "p"}, &wire.BasicGetEmpty{}},
		{&wire.BasicRecover{Requeue: true}, &wire.BasicRecoverOK{}},
		{&wire.BasicRecoverAsync{Requeue: true}, nil},
		{&wire.QueuePurge{Queue: "q"}, &wire.QueuePurgeOK{MessageCount: 1}},
		{&wire.QueuePurge{Queue: "q", NoWait: true}, nil},
		{&wire.QueueDelete{Queue: "q"}, &wire.QueueDeleteOK{MessageCount: 1}},
		{&wire.QueueDelete{Queue: "p", NoWait: true}, nil},
		{&wire.ConfirmSelect{}, &wire.ConfirmSelectOK{}},
		{&wire.ConfirmSelect{NoWait: true}, nil},
	} {
		t.Run(c.ask.ID().String(), func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil).open().channel(1).declare(1, "p").declare(1, "q")
				cl.publish(1, "q", []byte("x"))
				cl.send(1, c.ask)
				if c.answer != nil {
					cl.expect(1, c.answer)
				}
				cl.nothing()
				cl.close()
			})
		})
	}
}

func TestMethodsOfATransaction(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		cl := b.dial(t, nil).open().channel(1).declare(1, "q")
		cl.send(1, &wire.TxSelect{})
		cl.expect(1, &wire.TxSelectOK{})
		cl.publish(1, "q", []byte("dropped"))
		cl.send(1, &wire.TxRollback{})
		cl.expect(1, &wire.TxRollbackOK{})
		cl.publish(1, "q", []byte("kept"))
		cl.nothing()
		require.Zero(t, b.ready(t, "q"))
		cl.send(1, &wire.TxCommit{})
		cl.expect(1, &wire.TxCommitOK{})
		require.Equal(t, 1, b.ready(t, "q"))
		cl.close()
	})
}

func TestSettlingMethods(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settle wire.Method
		left   int
	}{
		"ack":                  {&wire.BasicAck{DeliveryTag: 1}, 1},
		"ack of all":           {&wire.BasicAck{Multiple: true}, 0},
		"nack":                 {&wire.BasicNack{DeliveryTag: 2}, 1},
		"nack with requeue":    {&wire.BasicNack{DeliveryTag: 2, Multiple: true, Requeue: true}, 2},
		"reject":               {&wire.BasicReject{DeliveryTag: 2}, 1},
		"reject with requeue":  {&wire.BasicReject{DeliveryTag: 2, Requeue: true}, 2},
		"ack of what is not":   {&wire.BasicAck{DeliveryTag: 3}, -1},
		"nack of what is not":  {&wire.BasicNack{DeliveryTag: 0}, -1},
		"reject of what is no": {&wire.BasicReject{DeliveryTag: 9}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				cl := b.dial(t, nil).open().channel(1).declare(1, "q")
				for range 2 {
					cl.publish(1, "q", []byte("x"))
					cl.send(1, &wire.BasicGet{Queue: "q"})
					await[*wire.BasicGetOK](cl, 1)
					cl.content(1)
				}
				cl.send(1, c.settle)
				if c.left < 0 {
					m := await[*wire.ChannelClose](cl, 1)
					require.EqualValues(t, reply.PreconditionFailed, m.ReplyCode)
					require.Equal(t, c.settle.ID(), wire.MakeID(m.ClassID, m.MethodID))
					cl.close()
					return
				}
				cl.nothing()
				cl.send(1, &wire.ChannelClose{}) // gives back what is not settled
				cl.expect(1, &wire.ChannelCloseOK{})
				require.Equal(t, c.left, b.ready(t, "q"))
				cl.close()
			})
		})
	}
}
