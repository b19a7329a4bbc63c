package warren_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/store/memstore"
)

func TestPrioritiesSurviveARestart(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	disk := memstore.NewDisk()
	run := func(f func(ch *warren.Channel)) {
		s, err := disk.Open()
		require.NoError(t, err)
		b, err := warren.New(warren.Options{Store: s})
		require.NoError(t, err)
		ch, err := b.Channel(ctx)
		require.NoError(t, err)
		_, err = ch.DeclareQueue(ctx, "q", warren.Durable(), warren.Arg("x-max-priority", 9))
		require.NoError(t, err)
		f(ch)
		require.NoError(t, b.Close())
	}
	publish := func(ch *warren.Channel, body string, priority uint8) {
		m := warren.Message{Body: []byte(body)}
		m.Priority, m.DeliveryMode = priority, message.Persistent
		require.NoError(t, ch.PublishConfirmed(ctx, "", "q", m))
	}
	run(func(ch *warren.Channel) {
		for _, m := range []struct {
			body     string
			priority uint8
		}{{"low", 1}, {"high", 9}, {"none", 0}, {"above", 200}, {"low too", 1}} {
			publish(ch, m.body, m.priority)
		}
	})
	run(func(ch *warren.Channel) {
		publish(ch, "middle", 5)
		for _, want := range []string{"high", "above", "middle", "low", "low too", "none"} {
			d, ok, err := ch.Get(ctx, "q", warren.NoAck())
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, want, string(d.Body))
		}
	})
}
