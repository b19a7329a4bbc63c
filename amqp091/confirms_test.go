package amqp091

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
)

func TestConfirmsAreToldInOrderAndResolvedAtOnce(t *testing.T) {
	t.Parallel()
	c := confirms{first: 1}
	require.Nil(t, c.add(true), "not in confirm mode")
	c.begin()
	c.listen()
	var ds []*amqp.DeferredConfirmation
	for range 6 {
		ds = append(ds, c.add(true))
	}
	require.EqualValues(t, 7, c.next())

	c.settle([]channel.Answer{{Tag: 3, Nack: true}, {Tag: 5}})
	require.False(t, ds[2].Wait())
	require.True(t, ds[4].Wait())
	require.Empty(t, c.take())

	c.settle([]channel.Answer{{Tag: 4, Multiple: true}})
	require.Equal(t, []amqp.Confirmation{
		{DeliveryTag: 1, Ack: true}, {DeliveryTag: 2, Ack: true}, {DeliveryTag: 3}, {DeliveryTag: 4, Ack: true}, {DeliveryTag: 5, Ack: true},
	}, c.take())
	require.True(t, ds[0].Wait())
	require.False(t, ds[2].Acked(), "answered before")
	require.Empty(t, c.take())

	c.close()
	require.False(t, ds[5].Wait())
}

func TestConfirmsKeepOnlyWhatWaits(t *testing.T) {
	t.Parallel()
	c := confirms{first: 1}
	c.begin()
	const n = 10_000
	for tag := range uint64(n) {
		c.add(false)
		if tag >= 4 {
			c.settle([]channel.Answer{{Tag: tag - 3}})
		}
	}
	require.Less(t, cap(c.waiting), 32)
	require.Empty(t, c.take(), "nobody listens")
}
